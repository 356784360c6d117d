//! How long it took until everyone had a file (pure), beside the shortest time that the links allow, and beside one server that sends
//! every copy itself.
//!
//! A round begins with the first machine that fetches and ends when nobody fetches any more; a machine that comes an hour later
//! begins another one. The bound is Kumar and Ross's ("Peer-Assisted File Distribution: The Minimum Distribution Time", 2006): for
//! `F` bytes, a source that sends `u_s` bytes a second and `N` fetchers that receive `d_i` and send `u_i`, no scheme takes less than
//! `max(F / u_s, F / d_min, N·F / (u_s + Σ u_i))`. A term of which a rate is not known is left out; what remains is a bound still.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::machine::Machine;
use crate::{metainfo::PeerId, text::Time};

/// Rounds that are remembered of a file.
const MAX_PAST: usize = 10;

/// Rates of the source that are remembered of a round, one a second: an hour.
const MAX_RATES: usize = 3600;

/// How often a rate is noted at most.
const RATE_EVERY: Duration = Duration::from_millis(900);

/// A source's rate that was measured longer ago tells nothing of now.
const RATE_TIME: Duration = Duration::from_secs(15);

/// A comparison below this factor says nothing.
const LEAST_FACTOR: f64 = 1.1;

/// The rounds of one file.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    past: VecDeque<RoundRecord>,
    running: Option<Measure>,
    /// Rates of the fastest source, in bytes a second, one for each second of the round that runs.
    rates: Vec<f32>,
    /// When the last of them was noted.
    rated: Duration,
}

/// A round that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundRecord {
    /// How it went.
    pub measure: Measure,
}

/// How a round went, or goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// When the first machine began, on the clock of all sightings.
    pub began: Duration,
    /// From then to the last machine's end, or until now.
    pub elapsed: Duration,
    /// Machines that fetch or have fetched in it.
    pub machines: usize,
    /// Bytes that they lacked when they began.
    pub bytes: u64,
    /// The least time that the links allow.
    pub bound: Option<Duration>,
    /// What one server, the fastest source, would need to send every copy itself.
    pub alone: Option<Duration>,
    /// Whether anybody still fetches.
    pub is_running: bool,
}

/// One machine in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fetcher {
    began: Duration,
    lacked: u64,
    finished: Option<Duration>,
    peak_down: Option<f64>,
    peak_up: Option<f64>,
}

impl Rounds {
    /// The rounds that are over, the newest last.
    pub fn past(&self) -> impl Iterator<Item = &RoundRecord> {
        self.past.iter()
    }

    /// The round that runs, or else the last one.
    pub fn shown(&self) -> Option<Measure> {
        self.running.or_else(|| self.past.back().map(|record| record.measure))
    }

    /// Measures the newest round; to be called about once a second. Tells whether one runs.
    pub fn measure(
        &mut self,
        machines: &HashMap<PeerId, Machine>,
        length: u64,
        now: Duration,
        present: &HashSet<PeerId>,
    ) -> bool {
        let mut fetchers = Vec::new();
        let mut source = None;
        for (id, machine) in machines {
            let is_here = present.contains(id) || machine.is_live(now);
            if machine.is_source() && is_here {
                source = source.into_iter().chain(machine.given.rate_within(RATE_TIME, now)).reduce(f64::max);
            }
            let Some((began, lacked)) = machine.fetched() else { continue };
            // Whoever left without everything took part in nothing that could end.
            if machine.finished().is_none() && !is_here {
                continue;
            }
            let (peak_down, peak_up) = (machine.peak_down(), machine.peak_up());
            fetchers.push(Fetcher { began, lacked, finished: machine.finished(), peak_down, peak_up });
        }
        let round = newest(&mut fetchers, now);
        let is_running = round.iter().any(|one| one.finished.is_none());
        if is_running && self.running.is_none() {
            self.rates.clear();
        }
        if let Some(rate) = source.filter(|rate| *rate >= 1.0)
            && self.rates.len() < MAX_RATES
            && is_running
            && now.saturating_sub(self.rated) >= RATE_EVERY
        {
            self.rates.push(rate as f32);
            self.rated = now;
        }
        let measure = measure(round, length, sustained(&self.rates), now);
        self.running = measure.filter(|_| is_running);
        if let Some(measure) = measure.filter(|_| !is_running) {
            self.record(measure);
        }
        is_running
    }

    /// Notes a round that is over. One that overlaps the last is the same: with more machines, or with fewer, when some of them are
    /// forgotten.
    fn record(&mut self, measure: Measure) {
        match self.past.back_mut() {
            Some(last) if measure.began <= last.measure.began + last.measure.elapsed => {
                if measure.machines >= last.measure.machines && measure.elapsed >= last.measure.elapsed {
                    last.measure = measure;
                }
            }
            _ => {
                if self.past.len() == MAX_PAST {
                    self.past.pop_front();
                }
                self.past.push_back(RoundRecord { measure });
            }
        }
    }
}

/// The last round of those whose times overlap.
fn newest(fetchers: &mut [Fetcher], now: Duration) -> &[Fetcher] {
    fetchers.sort_by_key(|one| one.began);
    let (mut first, mut end) = (0, Duration::ZERO);
    for (at, one) in fetchers.iter().enumerate() {
        if one.began > end {
            first = at;
        }
        end = end.max(one.finished.unwrap_or(now));
    }
    &fetchers[first..]
}

fn measure(round: &[Fetcher], length: u64, source: Option<f64>, now: Duration) -> Option<Measure> {
    let began = round.first()?.began;
    let end = round.iter().map(|one| one.finished.unwrap_or(now)).max()?;
    let bytes: u64 = round.iter().map(|one| one.lacked).sum();
    Some(Measure {
        began,
        elapsed: end.saturating_sub(began),
        machines: round.len(),
        bytes,
        bound: bound(length as f64, source, round),
        alone: source.and_then(|rate| time(bytes as f64, rate)),
        is_running: round.iter().any(|one| one.finished.is_none()),
    })
}

/// What a source goes on sending at while it is asked for more than it can send: the median of its rates, without those of seconds in which
/// it had less to send. A burst at the beginning counts as one second.
fn sustained(rates: &[f32]) -> Option<f64> {
    let mut rates = rates.to_vec();
    rates.sort_by(f32::total_cmp);
    let high = *rates.get(rates.len().saturating_sub(1) * 9 / 10)?;
    let busy: Vec<f32> = rates.into_iter().filter(|rate| *rate >= 0.7 * high).collect();
    busy.get(busy.len() / 2).map(|rate| f64::from(*rate))
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

impl Measure {
    /// How many times faster than one server it was or, at this moment, is.
    pub fn factor(&self) -> Option<f64> {
        let factor = self.alone?.as_secs_f64() / self.elapsed.as_secs_f64().max(0.001);
        (self.machines > 1 && factor >= LEAST_FACTOR).then_some(factor)
    }

    /// For people; nothing where there is nothing to compare.
    pub fn sentence(&self) -> Option<String> {
        let elapsed = Time(self.elapsed);
        match (self.is_running, self.machines, self.factor()) {
            (_, ..=1, _) | (true, _, None) => None,
            (true, _, Some(_)) => Some(format!("{elapsed} so far. One server alone would need {}.", Time(self.alone?))),
            (false, _, None) => Some(format!("Everyone has it after {elapsed}.")),
            (false, _, Some(factor)) => {
                Some(format!("Everyone has it after {elapsed}: {factor:.1} times faster than one server."))
            }
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
        let (began, finished, lacked) = (at(began), finished.map(at), 100 * MIB);
        Fetcher { began, lacked, finished, peak_down: rate(down), peak_up: rate(up) }
    }

    fn measured(source_mib: f64, fetchers: &[Fetcher], now: u64) -> Option<Measure> {
        let mut fetchers = fetchers.to_vec();
        measure(newest(&mut fetchers, at(now)), 100 * MIB, Some(source_mib * MIB as f64), at(now))
    }

    #[test]
    fn each_term_of_the_bound_holds_where_it_is_the_longest() {
        // Three fetchers: 100 / 5; 100 / 4; 300 / (12 + 3).
        for (source, down, up, bound) in [(5.0, 50.0, 50.0, 20), (50.0, 4.0, 50.0, 25), (12.0, 50.0, 1.0, 20)] {
            let one = measured(source, &[fetcher(10, Some(50), down, up); 3], 60).unwrap();
            assert_eq!((one.elapsed, one.bound, one.is_running), (at(40), Some(at(bound)), false));
            assert_eq!(one.alone, Some(Duration::from_secs_f64(300.0 / source)));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out_and_never_made_up() {
        assert_eq!(measured(5.0, &[], 9), None);
        let blank = Fetcher { peak_down: None, peak_up: None, ..fetcher(0, Some(9), 1.0, 1.0) };
        let one = measured(50.0, &[blank, fetcher(0, Some(9), 1.0, 1.0)], 9).unwrap();
        assert_eq!((one.bound, one.alone), (Some(at(2)), Some(at(4))));
        let one = measure(&[blank], 100, None, at(9)).unwrap();
        assert_eq!((one.bound, one.alone, one.sentence()), (None, None, None));
    }

    #[test]
    fn a_round_ends_when_nobody_fetches_and_the_next_is_measured_by_itself() {
        let first = [fetcher(0, Some(10), 9.0, 9.0), fetcher(5, Some(12), 9.0, 9.0)];
        let late = fetcher(3600, None, 9.0, 9.0);
        assert_eq!(measured(5.0, &first, 99).unwrap().elapsed, at(12));
        let second = measured(5.0, &[first[0], first[1], late], 3603).unwrap();
        assert_eq!((second.elapsed, second.is_running, second.machines), (at(3), true, 1));
    }

    #[test]
    fn a_machine_that_had_half_of_it_needs_only_the_other_half_from_a_server() {
        let half = Fetcher { lacked: 50 * MIB, ..fetcher(0, Some(20), 9.0, 9.0) };
        assert_eq!(measured(5.0, &[half, half], 20).unwrap().alone, Some(at(20)));
    }

    #[test]
    fn a_source_is_as_fast_as_it_goes_on_sending_and_not_as_its_best_second() {
        let rates = |rates: &[f32]| sustained(rates);
        assert_eq!(rates(&[]), None);
        assert_eq!(
            rates(&[150.0, 100.0, 100.0, 100.0, 99.0, 101.0, 100.0, 100.0, 98.0, 100.0, 100.0, 100.0]),
            Some(100.0)
        );
        assert_eq!(rates(&[100.0, 100.0, 100.0, 10.0, 5.0, 0.5, 100.0]), Some(100.0), "it had less to send");
        assert_eq!(rates(&[7.0]), Some(7.0));
    }

    #[test]
    fn it_is_said_in_a_sentence() {
        let (began, elapsed, bytes) = (at(0), at(57), 1);
        let alone = Some(at(120));
        let measure = Measure { began, elapsed, machines: 3, bytes, bound: None, alone, is_running: false };
        let sentence = |measure: Measure| measure.sentence().unwrap_or_default();
        assert_eq!(sentence(measure), "Everyone has it after 57 s: 2.1 times faster than one server.");
        let running = Measure { is_running: true, elapsed: at(12), ..measure };
        assert_eq!(sentence(running), "12 s so far. One server alone would need 2 min 0 s.");
        assert_eq!(sentence(Measure { machines: 1, ..measure }), "", "there is nothing to compare");
        assert_eq!(sentence(Measure { alone: Some(at(60)), ..measure }), "Everyone has it after 57 s.");
        assert_eq!(sentence(Measure { alone: Some(at(60)), is_running: true, ..measure }), "");
    }

    #[test]
    fn a_round_that_is_over_stays_when_its_machines_are_forgotten() {
        let mut rounds = Rounds::default();
        let measure = measured(5.0, &[fetcher(0, Some(10), 9.0, 9.0), fetcher(5, Some(12), 9.0, 9.0)], 20).unwrap();
        rounds.record(measure);
        rounds.record(measured(5.0, &[fetcher(5, Some(12), 9.0, 9.0)], 21).unwrap());
        assert_eq!(rounds.shown(), Some(measure));
        (1..30).for_each(|hour| rounds.record(Measure { began: at(3600 * hour), ..measure }));
        assert_eq!(rounds.past().count(), MAX_PAST);
    }
}
