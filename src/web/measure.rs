//! How well a swarm does (pure): its time beside the shortest that its links allow, and beside a server that sends every
//! copy itself.
//!
//! The bound is Kumar and Ross's ("Peer-Assisted File Distribution: The Minimum Distribution Time", 2006): for a file of `F`
//! bytes, a source that sends `u_s` bytes a second and `N` fetchers that take `d_i` and give `u_i`, no scheme takes less
//! than `max(F / u_s, F / d_min, N·F / (u_s + Σ u_i))`. Link rates are the highest that were seen of each machine. A term of
//! which a rate is not known is left out; what remains is a bound still.

use std::time::Duration;

use crate::text::Time;

/// One machine that fetches or has fetched, on any clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fetcher {
    /// When it was first seen.
    pub began: Duration,
    /// When it had everything.
    pub finished: Option<Duration>,
    /// Whether it is still here.
    pub is_here: bool,
    /// The highest rate it was seen to take at, in bytes a second.
    pub peak_down: Option<f64>,
    /// The highest rate it was seen to give at, in bytes a second.
    pub peak_up: Option<f64>,
}

/// What is known of a swarm.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmFigures {
    /// Bytes of the file.
    pub length: u64,
    /// The highest rate that the sources were seen to give at, all together, in bytes a second.
    pub source_up: Option<f64>,
    /// All that fetch or have fetched.
    pub fetchers: Vec<Fetcher>,
}

/// How the last round of a swarm went, or goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// From the first machine's begin to the last one's end, or until now.
    pub elapsed: Duration,
    /// The least time that the links allow.
    pub bound: Option<Duration>,
    /// What the source would need to send every copy itself.
    pub alone: Option<Duration>,
    /// Whether anybody still fetches.
    pub is_running: bool,
}

/// The last round: those whose times overlap, so that a machine that comes an hour later begins another one. Nothing when
/// nobody has fetched.
pub fn measure(swarm: &SwarmFigures, now: Duration) -> Option<Measure> {
    let mut fetchers: Vec<Fetcher> = swarm.fetchers.iter().copied().filter(Fetcher::counts).collect();
    fetchers.sort_by_key(|one| one.began);
    let (mut first, mut end) = (0, fetchers.first()?.end(now));
    for (at, one) in fetchers.iter().enumerate() {
        if one.began > end {
            first = at;
        }
        end = end.max(one.end(now));
    }
    let round = &fetchers[first..];
    let copies = round.len() as f64 * swarm.length as f64;
    let source = swarm.source_up.filter(|rate| *rate > 0.0);
    Some(Measure {
        elapsed: end.saturating_sub(round[0].began),
        bound: bound(swarm.length as f64, source, round),
        alone: source.and_then(|rate| time(copies, rate)),
        is_running: round.iter().any(|one| one.finished.is_none()),
    })
}

fn bound(length: f64, source: Option<f64>, round: &[Fetcher]) -> Option<Duration> {
    let source = source?;
    let slowest = round.iter().map(|one| one.peak_down.filter(|rate| *rate > 0.0)).reduce(|a, b| Some(a?.min(b?)));
    let given = round.iter().map(|one| one.peak_up).reduce(|a, b| Some(a? + b?)).flatten();
    let terms = [
        time(length, source),
        slowest.flatten().and_then(|slowest| time(length, slowest)),
        given.and_then(|given| time(round.len() as f64 * length, source + given)),
    ];
    terms.into_iter().flatten().max()
}

fn time(bytes: f64, rate: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(bytes / rate).ok()
}

impl Fetcher {
    /// Whoever left without everything took part in nothing that could end.
    fn counts(&self) -> bool {
        self.is_here || self.finished.is_some()
    }

    fn end(&self, now: Duration) -> Duration {
        self.finished.unwrap_or(now)
    }
}

impl Measure {
    /// For people: `done in 12 s; this machine alone would need 1 min 26 s`. `source` says who gives.
    pub fn sentence(&self, source: &str) -> String {
        let elapsed = Time(self.elapsed);
        let time = if self.is_running { format!("{elapsed} so far") } else { format!("done in {elapsed}") };
        match self.alone {
            Some(alone) => format!("{time}; {source} alone would need {}", Time(alone)),
            None => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fetcher(began: u64, finished: Option<u64>, down: f64, up: f64) -> Fetcher {
        let rate = |mib: f64| Some(mib * MIB as f64);
        let (began, finished) = (at(began), finished.map(at));
        Fetcher { began, finished, is_here: true, peak_down: rate(down), peak_up: rate(up) }
    }

    fn swarm(source_mib: f64, fetchers: Vec<Fetcher>) -> SwarmFigures {
        SwarmFigures { length: 100 * MIB, source_up: Some(source_mib * MIB as f64), fetchers }
    }

    #[test]
    fn each_term_of_the_bound_holds_where_it_is_the_longest() {
        // Three fetchers: 100 / 5; 100 / 4; 300 / (12 + 3).
        for (source, down, up, bound) in [(5.0, 50.0, 50.0, 20), (50.0, 4.0, 50.0, 25), (12.0, 50.0, 1.0, 20)] {
            let swarm = swarm(source, vec![fetcher(10, Some(50), down, up); 3]);
            let alone = Duration::from_secs_f64(300.0 / source);
            let want = Measure { elapsed: at(40), bound: Some(at(bound)), alone: Some(alone), is_running: false };
            assert_eq!(measure(&swarm, at(60)), Some(want));
        }
    }

    #[test]
    fn the_slowest_link_down_counts_and_not_the_mean() {
        let fetchers = vec![fetcher(0, Some(9), 50.0, 50.0), fetcher(0, Some(9), 2.0, 50.0)];
        assert_eq!(measure(&swarm(50.0, fetchers), at(9)).unwrap().bound, Some(at(50)));
    }

    #[test]
    fn what_is_not_known_is_left_out_and_never_made_up() {
        assert_eq!(measure(&swarm(5.0, Vec::new()), at(9)), None);
        let blank = Fetcher { peak_down: None, peak_up: None, ..fetcher(0, Some(9), 1.0, 1.0) };
        let one = measure(&swarm(50.0, vec![blank, fetcher(0, Some(9), 1.0, 1.0)]), at(9)).unwrap();
        assert_eq!((one.bound, one.alone), (Some(at(2)), Some(at(4))));
        let unknown = SwarmFigures { source_up: None, ..swarm(1.0, vec![blank]) };
        let one = measure(&unknown, at(9)).unwrap();
        assert_eq!((one.bound, one.alone, one.sentence("it")), (None, None, "done in 9.0 s".to_owned()));
    }

    #[test]
    fn a_round_ends_when_nobody_fetches_and_the_next_is_measured_by_itself() {
        let first = [fetcher(0, Some(10), 9.0, 9.0), fetcher(5, Some(12), 9.0, 9.0)];
        let late = Fetcher { finished: None, ..fetcher(3600, None, 9.0, 9.0) };
        let all = |more: &[Fetcher]| swarm(5.0, [&first, more].concat());
        assert_eq!(measure(&all(&[]), at(99)).unwrap().elapsed, at(12));
        let second = measure(&all(&[late]), at(3603)).unwrap();
        assert_eq!((second.elapsed, second.is_running, second.alone), (at(3), true, Some(at(20))));
        let gave_up = Fetcher { is_here: false, ..late };
        assert_eq!(measure(&all(&[gave_up]), at(3603)).unwrap().elapsed, at(12));
    }

    #[test]
    fn it_is_said_in_a_sentence() {
        let measure = Measure { elapsed: at(12), bound: None, alone: Some(at(86)), is_running: false };
        assert_eq!(measure.sentence("this machine"), "done in 12 s; this machine alone would need 1 min 26 s");
        let running = Measure { is_running: true, ..measure };
        assert_eq!(running.sentence("the seeder"), "12 s so far; the seeder alone would need 1 min 26 s");
    }
}
