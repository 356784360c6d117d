//! Turns at the uplink: a few sessions send blocks at a time, each a piece's worth, and then others.
//!
//! Twenty sessions that share an uplink evenly all complete a piece after the time of twenty; one after the other they
//! complete the first after the time of one, and its receiver has it to give while the rest still wait. A session that
//! does not get its turn in time goes ahead without, so that a slow peer with a turn holds up nobody for long.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Sessions that send at a time: enough that the uplink is busy when one of them is slow to take what it is sent.
const AT_ONCE: usize = 8;

/// How long a session waits for its turn at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of blocks sent in one turn: a usual piece.
pub const TURN: u64 = 256 * 1024;

/// The turns of one process.
#[derive(Debug)]
pub struct Turns {
    free: Mutex<usize>,
    bell: Condvar,
}

/// A turn, given back when it is dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a Turns);

impl Default for Turns {
    fn default() -> Turns {
        Turns { free: Mutex::new(AT_ONCE), bell: Condvar::new() }
    }
}

impl Turns {
    /// Waits for a turn; `None` when that takes too long.
    pub fn take(&self) -> Option<Turn<'_>> {
        let deadline = Instant::now() + PATIENCE;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            free = self.bell.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_turns_and_each_comes_back() {
        let turns = Turns::default();
        let mut taken: Vec<_> = (0..AT_ONCE).map(|_| turns.take().unwrap()).collect();
        let begun = Instant::now();
        assert!(turns.take().is_none() && begun.elapsed() >= PATIENCE);
        taken.pop();
        assert!(turns.take().is_some());
    }
}
