//! Threads that UPLOAD: the listener and a thread for each connection, routing by info hash, the coordinator of all torrents that
//! are only seeded.
//!
//! `seed_thread` does what `policy` decides: who is unchoked, what is shown to whom, who is dialled; `seats` is the pure
//! decision of `admission`. A fetch stands on the same listener and registry.

mod admission;
mod coordinator;
mod file_watch;
mod listener;
mod registry;
mod seats;
mod seed_thread;

pub use admission::Admission;
pub use coordinator::SeedCoordinator;
pub use file_watch::FileWatch;
pub use listener::Listener;
pub use registry::TorrentRegistry;
