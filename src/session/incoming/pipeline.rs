//! How many requests a session keeps open: enough that the other side never runs out of them, and no more.
//!
//! Too few and the link idles while requests travel; too many and a slow peer sits on work that others would have done.
//! How long an answer takes cannot be known beforehand: a LAN takes a millisecond, a full queue in a router 200, and a
//! client that serves once a second takes a second. So the window doubles for as long as that makes blocks come faster,
//! and tries again now and then.

use std::time::{Duration, Instant};

use crate::metainfo::BLOCK_LENGTH;

/// Open requests at the start and at the least, in blocks. In a swarm each peer is asked by all others at once, and what is
/// asked of one that is busy waits there, while others could have given it sooner. Where more would bring more, the window
/// doubles within moments.
const MIN_BLOCKS: usize = 4;

/// Open requests at the most, in blocks: 4 MiB. What a session may come to hold in memory.
const MAX_BLOCKS: usize = 256;

/// Open requests at the most where the other side names no limit of its own, in blocks.
/// The smallest default among real clients' queues is 250.
const UNSAID_LIMIT: usize = 250;

/// The least time over which a rate is taken.
const PERIOD: Duration = Duration::from_millis(50);

/// The same for the first rate of all: on a fast link the smallest window costs a wake-up a block, here and there.
const FIRST_PERIOD: Duration = Duration::from_millis(10);

/// What the rate must gain from a doubled window to be worth it.
const WORTH: f64 = 1.25;

/// How long half of the open requests should last at the rate seen: longer than the queue in a busy router. What is asked for
/// beyond that only waits in line, where others could have fetched it sooner.
const HORIZON: Duration = Duration::from_millis(150);

/// How long the open requests should last at the least at the rate seen, whatever a larger window gained: with less, a thread
/// that is woken late, here or there, leaves the link idle.
const STOCK: Duration = Duration::from_millis(6);

/// The longest silence between two blocks that the window makes up for: some clients serve once a second.
const MAX_GAP: Duration = Duration::from_millis(1500);

/// How long a window is kept before a larger one is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// The number of requests to keep open, from the rate at which blocks come.
#[derive(Debug)]
pub struct Pipeline {
    blocks: usize,
    limit: usize,
    /// The turn that is being measured: as many blocks as the window holds, and at least [`PERIOD`].
    since: Instant,
    turn: usize,
    bytes: u64,
    /// The rate of the last turn, in bytes a second.
    rate: Option<f64>,
    last_arrival: Instant,
    /// The longest silence between two blocks lately.
    gap: Duration,
    phase: GrowthPhase,
}

#[derive(Debug, Clone, Copy)]
enum GrowthPhase {
    /// The window was larger for the last turn than before, when it was `from`.
    Trying { from: usize },
    /// It stays as it is for a while.
    Settled { until: Instant },
}

impl Pipeline {
    /// The smallest window; no rate has been seen.
    pub fn new(now: Instant) -> Pipeline {
        Pipeline {
            blocks: MIN_BLOCKS,
            limit: UNSAID_LIMIT,
            since: now,
            turn: 0,
            bytes: 0,
            rate: None,
            last_arrival: now,
            gap: Duration::ZERO,
            phase: GrowthPhase::Trying { from: MIN_BLOCKS },
        }
    }

    /// Open requests allowed now, in blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// The rate seen last; `None` before the first turn has passed.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.rate.filter(|rate| *rate > 0.0)
    }

    /// The other side holds at most that many requests open.
    pub fn limit(&mut self, blocks: usize) {
        self.limit = blocks.clamp(1, MAX_BLOCKS);
        self.blocks = self.blocks.min(self.limit);
    }

    /// Nothing was asked for until now, so a new turn begins.
    pub fn begin_turn(&mut self, now: Instant) {
        (self.since, self.turn, self.bytes) = (now, 0, 0);
        self.last_arrival = now;
    }

    /// Bytes of a block that was asked for have come.
    pub fn arrived(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.turn += 1;
        self.gap = self.gap.max(now.saturating_duration_since(self.last_arrival)).min(MAX_GAP);
        self.last_arrival = now;
        let elapsed = now.saturating_duration_since(self.since);
        let period = if self.rate.is_none() { FIRST_PERIOD } else { PERIOD };
        if self.turn < self.blocks || elapsed < period {
            return;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        self.size(rate, now);
        self.rate = Some(rate);
        self.begin_turn(now);
    }

    /// Opens it to so many blocks at once, as a fast link would.
    #[cfg(test)]
    pub fn open(&mut self, blocks: usize) {
        self.blocks = blocks;
    }

    fn size(&mut self, rate: f64, now: Instant) {
        let horizon = HORIZON.max(self.gap * 5 / 4);
        self.gap = self.gap * 3 / 4;
        let blocks_in = |time: Duration| (rate * time.as_secs_f64() / f64::from(BLOCK_LENGTH)) as usize;
        let largest = self.limit.min((2 * blocks_in(horizon)).max(MIN_BLOCKS));
        let least = blocks_in(STOCK).min(largest);
        let larger = (self.blocks * 2).min(largest);
        let (blocks, phase) = match self.phase {
            GrowthPhase::Settled { until } if until > now => (self.blocks, self.phase),
            GrowthPhase::Trying { from } if self.rate.is_some_and(|before| rate < before * WORTH) => {
                (from, GrowthPhase::Settled { until: now + RETRY })
            }
            _ if larger > self.blocks => (larger, GrowthPhase::Trying { from: self.blocks }),
            _ => (self.blocks, GrowthPhase::Settled { until: now + RETRY }),
        };
        (self.blocks, self.phase) = (blocks.min(largest).max(least), phase);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_LENGTH as u64;

    /// Plays a peer that answers each window's worth of requests after `latency`, at `rate` bytes a second at most.
    fn play(latency: Duration, rate: f64, time: Duration) -> Pipeline {
        let start = Instant::now();
        let mut window = Pipeline::new(start);
        let mut now = start;
        while now < start + time {
            let asked = window.blocks();
            let turn = latency.max(Duration::from_secs_f64(asked as f64 * BLOCK as f64 / rate));
            now += turn;
            (0..asked).for_each(|_| window.arrived(BLOCK, now));
        }
        window
    }

    #[test]
    fn a_fast_link_opens_it_and_no_further_than_the_limit() {
        let window = play(Duration::from_millis(10), 1e9, Duration::from_secs(2));
        assert_eq!(window.blocks(), UNSAID_LIMIT);
        let mut window = Pipeline::new(Instant::now());
        window.limit(3);
        assert_eq!(window.blocks(), 3);
        window.limit(100_000);
        assert_eq!(window.limit, MAX_BLOCKS);
    }

    #[test]
    fn a_peer_that_serves_once_a_second_is_asked_for_a_second_of_work() {
        let window = play(Duration::from_secs(1), 100e6, Duration::from_secs(20));
        assert!(window.blocks() >= 128, "{} blocks", window.blocks());
    }

    #[test]
    fn a_slow_link_keeps_it_at_the_least() {
        assert_eq!(steady(100e3).blocks(), MIN_BLOCKS);
    }

    #[test]
    fn on_the_fastest_link_a_thread_may_wake_milliseconds_late() {
        let blocks = steady(500e6).blocks();
        assert!(blocks as f64 * BLOCK as f64 >= 0.9 * 500e6 * STOCK.as_secs_f64(), "{blocks} blocks");
    }

    #[test]
    fn requests_never_wait_in_line_for_long() {
        let window = steady(1e6);
        assert!(window.blocks() as u64 * BLOCK <= 310_000, "{} blocks", window.blocks());
    }

    /// Plays a link that brings block after block, for a minute.
    fn steady(rate: f64) -> Pipeline {
        let start = Instant::now();
        let (mut window, mut now) = (Pipeline::new(start), start);
        while now < start + Duration::from_secs(60) {
            now += Duration::from_secs_f64(BLOCK as f64 / rate);
            window.arrived(BLOCK, now);
        }
        window
    }
}
