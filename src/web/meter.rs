//! How fast a count of bytes grows that is looked at now and then (pure): an announce every few seconds, a session's
//! report four times a second.

use std::time::Duration;

/// Two looks that lie closer together tell no rate: a piece that was just finished would look like a fast link.
const LEAST_SPAN: Duration = Duration::from_secs(1);

/// A growth of more bytes a second is no link of a room but a false account; it is left out.
const MOST_BELIEVED: f64 = 12.5e9;

/// A count, and how fast it has grown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateMeter {
    from: Option<(Duration, u64)>,
    rate: Option<f64>,
    peak: Option<f64>,
}

impl RateMeter {
    /// Notes what the count is at `now`. A count that went back begins anew: its program did, too.
    pub fn look(&mut self, count: u64, now: Duration) {
        let Some((at, before)) = self.from else {
            self.from = Some((now, count));
            return;
        };
        let span = now.saturating_sub(at);
        if count < before {
            (self.from, self.rate) = (Some((now, count)), None);
        } else if span >= LEAST_SPAN {
            self.from = Some((now, count));
            let rate = (count - before) as f64 / span.as_secs_f64();
            self.rate = Some(rate).filter(|rate| *rate <= MOST_BELIEVED);
            self.peak = self.peak.into_iter().chain(self.rate).reduce(f64::max);
        }
    }

    /// Bytes a second between the last two looks.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// The highest rate there was.
    pub fn peak(&self) -> Option<f64> {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_rate_is_what_came_between_two_looks_and_the_highest_is_kept() {
        let mut meter = RateMeter::default();
        meter.look(100, seconds(10.0));
        assert_eq!((meter.rate(), meter.peak()), (None, None), "one look tells no rate");
        meter.look(600, seconds(15.0));
        meter.look(700, seconds(17.0));
        assert_eq!((meter.rate(), meter.peak()), (Some(50.0), Some(100.0)));
    }

    #[test]
    fn looks_that_lie_too_close_together_count_as_one() {
        let mut meter = RateMeter::default();
        for (count, at) in [(0, 0.0), (1000, 0.5), (1000, 1.0)] {
            meter.look(count, seconds(at));
        }
        assert_eq!(meter.rate(), Some(1000.0));
    }

    #[test]
    fn a_count_that_goes_back_or_leaps_beyond_belief_tells_nothing() {
        let mut meter = RateMeter::default();
        for (count, at) in [(900, 0.0), (100, 5.0)] {
            meter.look(count, seconds(at));
        }
        assert_eq!(meter.rate(), None);
        meter.look(u64::MAX, seconds(6.0));
        assert_eq!((meter.rate(), meter.peak()), (None, None));
    }
}
