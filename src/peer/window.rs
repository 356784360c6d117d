//! How many requests a session keeps open: enough for its rate times the time an answer may take, and no more.
//!
//! Too few and the link idles while requests travel; too many and a slow peer sits on work that others would have done.

use std::time::{Duration, Instant};

use crate::metainfo::BLOCK_LENGTH;

/// Open requests at the start and at the least, in blocks: 256 KiB fill a 100 Mbit/s link for 20 ms.
const MIN_BLOCKS: usize = 16;

/// Open requests at the most, in blocks: 4 MiB. What a session may come to hold in memory.
const MAX_BLOCKS: usize = 256;

/// Open requests at the most where the other side names no limit of its own, in blocks.
/// The smallest default among real clients' queues is 250.
const UNSAID_LIMIT: usize = 250;

/// The time that open requests should last at the rate seen. Covers the 100 to 200 ms that a full queue in a router takes.
const HORIZON: Duration = Duration::from_millis(400);

/// How often the rate is taken.
const PERIOD: Duration = Duration::from_millis(100);

/// The number of requests to keep open, from the rate at which blocks come.
#[derive(Debug)]
pub struct Window {
    blocks: usize,
    limit: usize,
    since: Instant,
    bytes: u64,
    rate: Option<f64>,
}

impl Window {
    /// The smallest window; no rate has been seen.
    pub fn new(now: Instant) -> Window {
        Window { blocks: MIN_BLOCKS, limit: UNSAID_LIMIT, since: now, bytes: 0, rate: None }
    }

    /// Open requests allowed now, in blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// The rate seen last; `None` before the first period has passed.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.rate.filter(|rate| *rate > 0.0)
    }

    /// The other side holds at most that many requests open.
    pub fn limit(&mut self, blocks: usize) {
        self.limit = blocks.clamp(1, MAX_BLOCKS);
        self.blocks = self.blocks.min(self.limit);
    }

    /// Bytes of a block that was asked for have come. At most doubles the window once a period.
    pub fn arrived(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < PERIOD {
            return;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        let target = rate * HORIZON.as_secs_f64() / f64::from(BLOCK_LENGTH);
        self.blocks = (target as usize).clamp(MIN_BLOCKS, self.blocks * 2).min(self.limit);
        self.rate = Some(rate);
        self.bytes = 0;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(window: &mut Window, start: Instant, periods: u32, bytes_a_period: u64) -> usize {
        for period in 1..=periods {
            window.arrived(bytes_a_period, start + PERIOD * period);
        }
        window.blocks()
    }

    #[test]
    fn a_fast_link_opens_it_by_doubling_to_the_limit() {
        let start = Instant::now();
        let mut window = Window::new(start);
        assert_eq!(after(&mut window, start, 1, 100 << 20), 2 * MIN_BLOCKS);
        assert_eq!(after(&mut window, start + PERIOD, 10, 100 << 20), UNSAID_LIMIT);
        window.limit(10_000);
        assert_eq!(after(&mut window, start + PERIOD * 11, 10, 100 << 20), MAX_BLOCKS);
        window.limit(5);
        assert_eq!(window.blocks(), 5);
    }

    #[test]
    fn a_slow_link_keeps_it_at_the_least() {
        let start = Instant::now();
        assert_eq!(after(&mut Window::new(start), start, 10, 16 << 10), MIN_BLOCKS);
    }

    #[test]
    fn between_the_two_it_lasts_for_the_horizon() {
        let start = Instant::now();
        let mut window = Window::new(start);
        let blocks = after(&mut window, start, 10, 625_000); // 50 Mbit/s
        assert_eq!(blocks as u64, 625_000 * 4 / u64::from(BLOCK_LENGTH));
    }
}
