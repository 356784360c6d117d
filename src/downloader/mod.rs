//! Threads that TAKE: one torrent, from many peers at once, onto the disk.
//!
//! `coordinator` decides, purely; `fetch` is the thread around it; `roster` knows whom to dial; `dialler` is the pool
//! of download workers, `hash` the pool of hash workers. A fetcher serves as well: it stands on `seeder` for listening,
//! announcing and upload slots.

mod dialler;
mod fetch;

pub use fetch::{Fetch, Outcome, Plan, View};
