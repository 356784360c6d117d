//! Threads that GIVE: the listener and a thread for each connection, routing by info hash, announcing, upload slots.
//!
//! `service` coordinates every torrent that is only seeded; `offer` and `slots` are its pure decisions, `places` is the
//! listener's. A fetch stands on the same parts: it listens, announces and gives slots through them. What torrents show of
//! themselves is `report`.

mod announcer;
mod candidates;
mod listener;
mod observer;
mod offer;
mod places;
mod registry;
pub mod report;
mod service;
mod slots;
mod speed;
mod utp;
mod watchman;

pub use announcer::{Announcer, OwnTracker, TrackerNews};
pub use listener::{Gate, Listener};
pub use observer::{Observer, Stance};
pub use registry::Registry;
pub use service::Service;
pub use slots::{Change, DEFAULT_SLOTS, Slots};
pub use speed::Speed;
pub use watchman::Watchman;
