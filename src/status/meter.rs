//! How fast a count of bytes grows that is looked at now and then (pure): a session's four times a second, what a peer announces every few
//! seconds. One meter for all that is shown, of a size that does not depend on how often anybody looks.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::session::Traffic;

/// A rate is the mean since a look that lies at least so long back, and at most twice that or one look: smooth for an eye, and at rest three
/// seconds after nothing has come.
const SPAN: Duration = Duration::from_millis(1500);

/// Two looks that lie closer together tell no rate: a piece that was just finished would look like a fast link. Short enough that a tick of
/// a second that comes early still tells one.
const LEAST_SPAN: Duration = Duration::from_millis(900);

/// A growth of more bytes a second is no link of a room but a false account; it is left out.
const MOST_BELIEVED: f64 = 12.5e9;

/// A count, and how fast it grows. What is kept of many machines is small: times in milliseconds, rates in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateMeter {
    /// What the rate is measured from, and what it will be measured from next.
    marks: Option<[Mark; 2]>,
    rate: Option<f32>,
    peak: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    millis: u64,
    count: u64,
}

impl RateMeter {
    /// Notes what the count is at `now`, on any clock. A count that went back begins anew: its program did, too.
    pub fn look(&mut self, count: u64, now: Duration) {
        let now = Mark { millis: now.as_millis() as u64, count };
        // A look that comes late tells nothing new.
        if self.marks.is_some_and(|[_, newer]| now.millis < newer.millis) {
            return;
        }
        let Some([mut older, mut newer]) = self.marks.filter(|[_, newer]| count >= newer.count) else {
            (self.marks, self.rate) = (Some([now; 2]), None);
            return;
        };
        if now.since(newer) >= SPAN {
            (older, newer) = (newer, now);
        }
        self.marks = Some([older, newer]);
        let span = now.since(older);
        if span >= LEAST_SPAN {
            let rate = (count - older.count) as f64 / span.as_secs_f64();
            self.rate = (rate <= MOST_BELIEVED).then_some(rate as f32);
            self.peak = self.peak.into_iter().chain(self.rate).reduce(f32::max);
        }
    }

    /// Bytes a second over the last looks, once that can be told.
    pub fn rate(&self) -> Option<f64> {
        self.rate.map(f64::from)
    }

    /// The same; nothing where the last look was longer ago than that.
    pub fn rate_within(&self, time: Duration, now: Duration) -> Option<f64> {
        let [_, newer] = self.marks?;
        self.rate().filter(|_| now.saturating_sub(Duration::from_millis(newer.millis)) <= time)
    }

    /// The highest rate there was.
    pub fn peak(&self) -> Option<f64> {
        self.peak.map(f64::from)
    }
}

impl Mark {
    fn since(self, before: Mark) -> Duration {
        Duration::from_millis(self.millis.saturating_sub(before.millis))
    }
}

/// The two rates of a session or a torrent; 0 while they cannot be told.
#[derive(Debug)]
pub struct TrafficMeter {
    began: Instant,
    down: RateMeter,
    up: RateMeter,
}

impl TrafficMeter {
    /// What has passed until now counts for no rate.
    pub fn new(traffic: &Traffic, now: Instant) -> TrafficMeter {
        let mut meter = TrafficMeter { began: now, down: RateMeter::default(), up: RateMeter::default() };
        meter.look(traffic, now);
        meter
    }

    /// Notes what has passed.
    pub fn look(&mut self, traffic: &Traffic, now: Instant) {
        let now = now.saturating_duration_since(self.began);
        self.down.look(traffic.downloaded.load(Ordering::Relaxed), now);
        self.up.look(traffic.uploaded.load(Ordering::Relaxed), now);
    }

    /// Bytes a second, down and up.
    pub fn rates(&self) -> (f64, f64) {
        (self.down.rate().unwrap_or(0.0), self.up.rate().unwrap_or(0.0))
    }

    /// The most of each that there was.
    pub fn peaks(&self) -> (f64, f64) {
        (self.down.peak().unwrap_or(0.0), self.up.peak().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn after(looks: impl IntoIterator<Item = (u64, f64)>) -> RateMeter {
        let mut meter = RateMeter::default();
        looks.into_iter().for_each(|(count, at)| meter.look(count, seconds(at)));
        meter
    }

    #[test]
    fn of_looks_that_lie_far_apart_a_rate_is_what_came_between_the_last_two_and_the_highest_is_kept() {
        let meter = after([(100, 10.0)]);
        assert_eq!((meter.rate(), meter.peak()), (None, None), "one look tells no rate");
        let meter = after([(100, 10.0), (600, 15.0), (700, 17.0)]);
        assert_eq!((meter.rate(), meter.peak()), (Some(50.0), Some(100.0)));
    }

    #[test]
    fn looks_that_lie_close_together_count_as_one() {
        assert_eq!(after([(0, 0.0), (1000, 0.5)]).rate(), None);
        assert_eq!(after([(0, 0.0), (1000, 0.5), (1000, 1.0)]).rate(), Some(1000.0));
    }

    #[test]
    fn of_many_looks_a_rate_is_the_mean_of_the_last_seconds_and_at_rest_three_seconds_after_nothing_comes() {
        // Four times a second, 1000 a second for ten, then nothing.
        let count = |quarter: u32| 250 * u64::from(quarter.min(40));
        let at = |last: u32| after((0..=last).map(|quarter| (count(quarter), f64::from(quarter) / 4.0)));
        assert_eq!((at(40).rate(), at(40).peak()), (Some(1000.0), Some(1000.0)));
        assert!(at(44).rate().is_some_and(|rate| (300.0..700.0).contains(&rate)), "{:?}", at(44));
        assert_eq!((at(53).rate(), at(53).peak()), (Some(0.0), Some(1000.0)));
        let slower = after((0..=40).map(|quarter| (count(quarter), f64::from(quarter) / 4.0)).chain([
            (10_100, 11.0),
            (10_200, 12.0),
            (10_300, 13.0),
            (10_400, 14.0),
        ]));
        assert_eq!(slower.rate(), Some(100.0));
    }

    #[test]
    fn a_burst_shorter_than_a_second_is_no_peak_of_its_own() {
        let total = |quarter: u32| if quarter < 4 { 0 } else { 1_000_000 };
        let meter = after((0..=8).map(|quarter| (total(quarter), f64::from(quarter) / 4.0)));
        assert_eq!(meter.peak(), Some(1_000_000.0));
    }

    #[test]
    fn a_count_that_goes_back_or_leaps_beyond_belief_tells_nothing() {
        assert_eq!(after([(900, 0.0), (100, 5.0)]).rate(), None);
        let meter = after([(900, 0.0), (100, 5.0), (u64::MAX, 6.0)]);
        assert_eq!((meter.rate(), meter.peak()), (None, None));
    }
}
