//! What a process of ours needs whatever it does: a name, chance, threads, an orderly end.

use super::Failure;
use crate::metainfo::PeerId;

/// How long the end of a process may take: goodbyes to trackers, and the last sync.
pub const ENDING: std::time::Duration = std::time::Duration::from_millis(1500);

/// Lines of one kind that are said one by one.
pub const MAX_SAID: usize = 10;

/// A peer id of our own (BEP 20).
pub fn new_peer_id() -> Result<PeerId, Failure> {
    let mut tail = [0; 12];
    getrandom::fill(&mut tail).map_err(|error| Failure::new(format!("the system has no random numbers: {error}")))?;
    Ok(PeerId::ours(tail))
}

/// A random number.
pub fn chance() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::new(format!("the system has no random numbers: {error}")))
}

/// How many threads to hash with.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
