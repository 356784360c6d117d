//! What a person is told of a torrent: one board for all torrents of the process, filled by the coordinators.

pub mod fetch;
mod meter;
mod observer;
pub mod report;

pub use meter::{RateMeter, TrafficMeter};
pub use observer::StatusWriter;
