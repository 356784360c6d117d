//! The tracker over HTTP.

pub mod door;
