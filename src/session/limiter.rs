//! Rate limits that may be changed while sessions obey them: an account of bytes, pure, and the form of it that threads
//! share.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How much may pass at once after a pause, as time at the full rate: short enough that a rate looks steady.
const BURST: Duration = Duration::from_millis(100);

/// The longest that whoever waits for a limit may sleep before it looks again: the limit may be another by then, or the
/// session over.
pub const MAX_NAP: Duration = Duration::from_millis(200);

/// A token bucket that may go into debt, as an account that only grows: whoever passes bytes is told up to where the
/// account has to be earned before it may go on. That stays true when the rate changes meanwhile.
#[derive(Debug, Clone, Copy)]
struct Account {
    /// Bytes a second.
    rate: u64,
    /// Bytes that have passed, and those that were let go by unused.
    spent: f64,
    /// Bytes that were allowed to, so far.
    earned: f64,
    at: Instant,
}

/// What is to be earned before more may pass: a position in the account. Nothing, to begin with.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DueBytes(f64);

impl Account {
    fn advance(&mut self, now: Instant) {
        self.earned += now.saturating_duration_since(self.at).as_secs_f64() * self.rate as f64;
        self.at = now;
    }

    /// Counts `bytes` that pass.
    fn spend(&mut self, bytes: u64, now: Instant) -> DueBytes {
        self.advance(now);
        self.spent = self.spent.max(self.earned - self.rate as f64 * BURST.as_secs_f64()) + bytes as f64;
        DueBytes(self.spent)
    }

    /// How long until that is earned.
    fn wait(&mut self, due: DueBytes, now: Instant) -> Duration {
        self.advance(now);
        // Less than a hundred years, so that it stays a duration at any rate.
        Duration::from_secs_f64(((due.0 - self.earned) / self.rate.max(1) as f64).clamp(0.0, 3e9))
    }

    /// Another rate. What is due was due at the old one, and is forgiven.
    fn set(&mut self, rate: u64, now: Instant) {
        self.advance(now);
        self.earned = self.earned.max(self.spent);
        self.rate = rate;
    }
}

/// A limit that many sessions share. No limit costs nothing.
#[derive(Debug)]
pub struct Limiter {
    bytes_per_second: AtomicU64,
    account: Mutex<Account>,
}

/// The two limits that a session obeys at once: its process' and its torrent's.
#[derive(Debug, Clone, Copy)]
pub struct RateLimiters<'a>(pub [&'a Limiter; 2]);

impl Limiter {
    /// At most that many bytes a second; 0 for no limit.
    pub fn new(bytes_per_second: u64) -> Limiter {
        let account = Account { rate: bytes_per_second, spent: 0.0, earned: 0.0, at: Instant::now() };
        Limiter { bytes_per_second: AtomicU64::new(bytes_per_second), account: Mutex::new(account) }
    }

    /// Bytes a second; 0 for no limit.
    pub fn rate(&self) -> u64 {
        self.bytes_per_second.load(Ordering::Relaxed)
    }

    /// Another limit from now on; whoever waits notices within 0.2 s.
    pub fn set(&self, bytes_per_second: u64) {
        self.account().set(bytes_per_second, Instant::now());
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    fn spend(&self, bytes: u64) -> DueBytes {
        match self.rate() {
            0 => DueBytes::default(),
            _ => self.account().spend(bytes, Instant::now()),
        }
    }

    fn wait(&self, due: DueBytes) -> Duration {
        let is_free = due == DueBytes::default() || self.rate() == 0;
        if is_free { Duration::ZERO } else { self.account().wait(due, Instant::now()) }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RateLimiters<'_> {
    /// Counts `bytes` that pass, and says what is due before more may.
    pub fn spend(&self, bytes: u64) -> [DueBytes; 2] {
        self.0.map(|limiter| limiter.spend(bytes))
    }

    /// How long until that is earned, as things stand.
    pub fn wait(&self, due: [DueBytes; 2]) -> Duration {
        self.0[0].wait(due[0]).max(self.0[1].wait(due[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(rate: u64, at: Instant) -> Account {
        Account { rate, spent: 0.0, earned: 0.0, at }
    }

    #[test]
    fn over_ten_seconds_the_rate_is_what_was_set() {
        let start = Instant::now();
        let mut account = account(1_000_000, start);
        let (mut now, mut passed) = (start, 0);
        while now < start + Duration::from_secs(10) {
            passed += 16_384;
            let due = account.spend(16_384, now);
            now += account.wait(due, now);
        }
        assert!((9_900_000..=10_150_000).contains(&passed), "{passed} bytes");
    }

    #[test]
    fn a_long_pause_earns_no_more_than_the_burst() {
        let start = Instant::now();
        let mut account = account(1_000_000, start);
        let later = start + Duration::from_secs(60);
        let first = account.spend(100_000, later);
        assert_eq!(account.wait(first, later), Duration::ZERO);
        let second = account.spend(500_000, later);
        assert_eq!(account.wait(second, later), Duration::from_millis(500));
    }

    #[test]
    fn who_came_first_goes_on_first() {
        let now = Instant::now();
        let mut account = account(1000, now);
        let (one, two) = (account.spend(1000, now), account.spend(1000, now));
        let seconds = |due, account: &mut Account| account.wait(due, now).as_secs_f64().round();
        assert_eq!((seconds(one, &mut account), seconds(two, &mut account)), (1.0, 2.0));
    }

    #[test]
    fn whoever_waits_at_an_old_rate_goes_on_at_once_and_at_the_new_one() {
        let now = Instant::now();
        let mut account = account(1, now);
        let old = account.spend(64_000, now);
        assert!(account.wait(old, now) > Duration::from_secs(60_000));
        account.set(1000, now);
        assert_eq!(account.wait(old, now), Duration::ZERO);
        let new = account.spend(1000, now);
        assert_eq!(account.wait(new, now), Duration::from_secs(1));
    }

    #[test]
    fn of_two_limits_the_tighter_holds_and_no_limit_lets_everything_pass() {
        let (tight, loose, none) = (Limiter::new(10), Limiter::new(1000), Limiter::new(0));
        let wait = |limits: RateLimiters<'_>| limits.wait(limits.spend(1000));
        assert!((0..1000).all(|_| wait(RateLimiters([&none, &none])).is_zero()));
        assert!(wait(RateLimiters([&tight, &loose])) > Duration::from_secs(90));
        assert!(wait(RateLimiters([&none, &tight])) > Duration::from_secs(180));
        tight.set(0);
        assert!(wait(RateLimiters([&none, &tight])).is_zero());
    }
}
