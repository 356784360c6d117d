//! What a person is told of a torrent: one board for all torrents of the process, filled by the coordinators.

pub mod fetch;
mod meter;
pub mod report;
mod writer;

pub use meter::{RateMeter, TrafficMeter};
pub use writer::StatusWriter;
