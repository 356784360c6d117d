//! What a person is told of a torrent: one board for all torrents of the process, filled by the coordinators.

pub mod fetch;
mod observer;
pub mod report;
mod speed;

pub use observer::StatusWriter;
pub use speed::Speed;
