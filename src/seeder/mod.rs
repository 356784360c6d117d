//! Threads that GIVE: the listener and a thread for each connection, routing by info hash, announcing, upload slots.
//!
//! `service` coordinates every torrent that is only seeded; `offer` and `slots` are its pure decisions, `places` is the
//! listener's. A fetch stands on the same parts: it listens, announces and gives slots through them. What torrents show of
//! themselves is `report`.

mod listener;
mod places;
mod registry;
mod service;
mod watchman;

pub use listener::{Admission, Listener};
pub use registry::TorrentRegistry;
pub use service::SeedCoordinator;
pub use watchman::FileWatch;
