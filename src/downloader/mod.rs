//! Threads that DOWNLOAD: one torrent, from many peers at once, onto the disk.
//!
//! `policy::coordinator` decides, purely; `fetch_thread` is the thread around it, `fetch` how the node holds it; `dialler` is the
//! pool of download workers. A fetch uploads as well: it stands on `seeder` for its listener.

mod dialler;
mod fetch;
mod fetch_thread;
mod plan;

pub use fetch::{Fetch, View};
pub use fetch_thread::FetchOutcome;
pub use plan::FetchPlan;
