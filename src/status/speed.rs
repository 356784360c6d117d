//! How fast a count grows: the mean of the last seconds, and the most that was seen. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A rate is the mean over this time.
const SPAN: Duration = Duration::from_secs(3);

/// The peak is the highest mean over about this time: long enough that it is a link's rate and no buffer's, short enough that
/// a tick of a second that comes early still makes one.
const PEAK_SPAN: Duration = Duration::from_millis(900);

/// A count of bytes that is looked at now and then.
#[derive(Debug)]
pub struct Speed {
    /// When it was looked at, and what it was then.
    samples: VecDeque<(Instant, u64)>,
    peak: f64,
}

impl Speed {
    /// It is `total` now.
    pub fn new(total: u64, now: Instant) -> Speed {
        Speed { samples: VecDeque::from([(now, total)]), peak: 0.0 }
    }

    /// It is `total` now.
    pub fn note(&mut self, total: u64, now: Instant) {
        while self.samples.len() > 1 && now.saturating_duration_since(self.samples[0].0) > SPAN {
            self.samples.pop_front();
        }
        let age = |sample: &&(Instant, u64)| now.saturating_duration_since(sample.0);
        if let Some(then) = self.samples.iter().rev().find(|sample| age(sample) >= PEAK_SPAN) {
            self.peak = self.peak.max(per_second(*then, (now, total)));
        }
        self.samples.push_back((now, total));
    }

    /// Bytes a second, over the last seconds.
    pub fn rate(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) if first.0 < last.0 => per_second(*first, *last),
            _ => 0.0,
        }
    }

    /// The most bytes a second that were seen over about a second; 0 before a second has passed.
    pub fn peak(&self) -> f64 {
        self.peak
    }
}

fn per_second(then: (Instant, u64), now: (Instant, u64)) -> f64 {
    now.1.saturating_sub(then.1) as f64 / now.0.saturating_duration_since(then.0).as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds_and_the_peak_stays() {
        let start = Instant::now();
        let (mut speed, mut total) = (Speed::new(500, start), 500);
        assert_eq!((speed.rate(), speed.peak()), (0.0, 0.0));
        for second in 1..=10u64 {
            total += if second <= 5 { 1000 } else { 100 };
            speed.note(total, start + Duration::from_secs(second));
        }
        assert_eq!((speed.rate().round(), speed.peak().round()), (100.0, 1000.0));
    }

    #[test]
    fn a_burst_shorter_than_a_second_is_no_peak_of_its_own() {
        let start = Instant::now();
        let mut speed = Speed::new(0, start);
        for quarter in 1..=8u64 {
            let total = if quarter < 4 { 0 } else { 1_000_000 };
            speed.note(total, start + Duration::from_millis(250 * quarter));
        }
        assert_eq!(speed.peak(), 1_000_000.0);
    }

    #[test]
    fn few_samples_are_kept_however_often_it_is_looked_at_for_however_long() {
        let start = Instant::now();
        let mut speed = Speed::new(0, start);
        (1..10_000).for_each(|tenth| speed.note(tenth, start + Duration::from_millis(100 * tenth)));
        assert!(speed.samples.len() <= 32, "{}", speed.samples.len());
    }
}
