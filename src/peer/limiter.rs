//! Rate limits: a token bucket, pure, and the form of it that threads share.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How much may pass at once after a pause, as time at the full rate: short enough that a rate looks steady.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket that may go into debt: what passes is counted, and whoever passed waits until the debt is paid.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes that may pass; negative after more has passed.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Counts `bytes` that pass, and says how long to wait before the next.
    fn spend(&mut self, bytes: u64, rate: u64, now: Instant) -> Duration {
        let rate = rate as f64;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(rate * BURST.as_secs_f64()) - bytes as f64;
        self.at = now;
        Duration::from_secs_f64((-self.tokens / rate).max(0.0))
    }
}

/// A limit that many sessions share. No limit costs nothing.
#[derive(Debug)]
pub struct Limiter {
    bytes_per_second: u64,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    /// At most that many bytes a second; 0 for no limit.
    pub fn new(bytes_per_second: u64) -> Limiter {
        let bucket = Bucket { tokens: 0.0, at: Instant::now() };
        Limiter { bytes_per_second, bucket: Mutex::new(bucket) }
    }

    /// Counts `bytes` that pass, and says how long to wait before passing more.
    pub fn spend(&self, bytes: u64) -> Duration {
        match self.bytes_per_second {
            0 => Duration::ZERO,
            rate => {
                let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
                bucket.spend(bytes, rate, Instant::now())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_the_rate_is_what_was_set() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: 0.0, at: start };
        let (mut now, mut passed) = (start, 0);
        while now < start + Duration::from_secs(10) {
            passed += 16_384;
            now += bucket.spend(16_384, 1_000_000, now);
        }
        assert!((9_900_000..=10_150_000).contains(&passed), "{passed} bytes");
    }

    #[test]
    fn a_long_pause_earns_no_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: 0.0, at: start };
        let later = start + Duration::from_secs(60);
        assert_eq!(bucket.spend(100_000, 1_000_000, later), Duration::ZERO);
        assert_eq!(bucket.spend(500_000, 1_000_000, later), Duration::from_millis(500));
    }

    #[test]
    fn no_limit_lets_everything_pass() {
        let limiter = Limiter::new(0);
        assert!((0..1000).all(|_| limiter.spend(u64::MAX).is_zero()));
        assert!(Limiter::new(1).spend(100) > Duration::from_secs(90));
    }
}
