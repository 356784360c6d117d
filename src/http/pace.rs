//! Least rate: a deadline that moved bytes push away.
//!
//! Every byte is worth `1 / least_rate` seconds, and no more than the grace can be saved up: whoever was fast for an
//! hour may still not stand still for longer than one grace.

use std::time::{Duration, Instant};

use super::limits::DoorLimits;

/// How long one body or answer may still take, as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    deadline: Instant,
    grace: Duration,
    least_rate: u64,
}

impl Pace {
    /// The whole grace, from `now` on.
    pub fn new(limits: &DoorLimits, now: Instant) -> Pace {
        Pace { deadline: now + limits.grace, grace: limits.grace, least_rate: limits.least_rate }
    }

    /// `bytes` have moved.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        let earned = Duration::from_secs_f64(bytes as f64 / self.least_rate as f64);
        self.deadline = (self.deadline + earned).min(now + self.grace);
    }

    /// When it is too slow, if nothing more moves.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_ends_after_the_grace_and_the_least_rate_never_does() {
        let limits = DoorLimits::for_descriptors(1024);
        let start = Instant::now();
        let ends = |bytes_a_second: usize| {
            let mut pace = Pace::new(&limits, start);
            (1..1000).find(|second| {
                let now = start + Duration::from_secs(*second);
                let late = now > pace.deadline();
                pace.moved(bytes_a_second, now);
                late
            })
        };
        assert_eq!(ends(1), Some(11));
        assert_eq!(ends(4096), Some(20));
        assert_eq!(ends(8192), None);
    }

    #[test]
    fn speed_cannot_be_saved_up() {
        let limits = DoorLimits::for_descriptors(1024);
        let start = Instant::now();
        let mut pace = Pace::new(&limits, start);
        pace.moved(1 << 40, start);
        assert_eq!(pace.deadline(), start + limits.grace);
    }
}
