//! How much a peer may say that moves nothing: a budget for each session, so that a flood of small messages costs the
//! processor a moment and the peer its connection. Pure.
//!
//! What brings something new is free: a `have` for the first time, a request that is answered. Everything else costs. Who
//! moves blocks may say more, because every piece brings words with it that a busy session repeats a thousand times a second.

use std::time::Instant;

use crate::{metainfo::BLOCK_LENGTH, session::End};

/// Messages that a peer may say at once: the cancels of an endgame, the requests that cross a choke, several times over.
const BURST: f64 = 4096.0;

/// Messages a second that it may go on saying. Real clients say a few.
const REFILL: f64 = 100.0;

/// Messages more for every block that has passed: interest, choking and one `have` for pieces of a single block.
const FOR_A_BLOCK: f64 = 4.0;

/// Bytes of a payload that cost as much as a message does.
const PAYLOAD: usize = 256;

/// What is left of one session's budget.
#[derive(Debug)]
pub struct ChatterBudget {
    left: f64,
    since: Instant,
    moved: u64,
}

impl ChatterBudget {
    /// All of it.
    pub fn new(now: Instant) -> ChatterBudget {
        ChatterBudget { left: BURST, since: now, moved: 0 }
    }

    /// A message of that many bytes has moved nothing; `moved` bytes of blocks have passed on the session in all.
    pub fn spend(&mut self, bytes: usize, moved: u64, now: Instant) -> Result<(), End> {
        let rested = now.saturating_duration_since(self.since).as_secs_f64() * REFILL;
        let blocks = moved.saturating_sub(self.moved) as f64 / f64::from(BLOCK_LENGTH);
        (self.since, self.moved) = (now, moved);
        self.left = (self.left + rested + blocks * FOR_A_BLOCK).min(BURST);
        self.left -= 1.0 + (bytes / PAYLOAD) as f64;
        if self.left < 0.0 { Err(End::Chatter) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(budget: &mut ChatterBudget, bytes: usize, moved: u64, now: Instant) -> usize {
        (0..1_000_000).take_while(|_| budget.spend(bytes, moved, now).is_ok()).count()
    }

    #[test]
    fn a_flood_ends_with_the_burst_and_long_messages_sooner() {
        let now = Instant::now();
        assert_eq!(said(&mut ChatterBudget::new(now), 4, 0, now), 4096);
        assert_eq!(said(&mut ChatterBudget::new(now), 16_000, 0, now), 4096 / 63);
    }

    #[test]
    fn who_says_little_or_moves_blocks_may_go_on_for_ever() {
        let mut now = Instant::now();
        let (mut quiet, mut busy) = (ChatterBudget::new(now), ChatterBudget::new(now));
        for second in 1..600 {
            now += Duration::from_secs(1);
            assert!((0..100).all(|_| quiet.spend(4, 0, now).is_ok()));
            // 100 MB/s in pieces of a block, with three words for each.
            let moved = second * 6_000 * u64::from(BLOCK_LENGTH);
            assert!((0..18_000 / 10).all(|_| busy.spend(4, moved, now).is_ok()));
        }
        assert_eq!(said(&mut quiet, 4, 0, now + Duration::from_secs(3600)), 4096);
    }
}
