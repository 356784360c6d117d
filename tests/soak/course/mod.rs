//! A tracker with many files, a seeder that stays, and peers of ours and of others that come and go, with faults on.
//!
//! `place` is where they are, `residents` are the tracker and the seeder, `visitor` is one who comes and goes, `vitals`
//! are what the residents hold over time. What goes wrong becomes a finding, a sentence; a run is good when it has none.

mod place;
mod residents;
mod visitor;
mod vitals;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::house::clients::Client;
use crate::house::process;
use crate::house::{chance, say};
use place::Place;
use residents::Residents;
use visitor::Visitor;
use vitals::{Growth, Vitals};

/// How often the residents are looked at.
const LOOKS: Duration = Duration::from_secs(2);

/// How often a long run says how it stands.
const NEWS: Duration = Duration::from_secs(300);

/// The residents meet with something about every so many looks.
const LOOKS_A_TROUBLE: u64 = 20;

/// Files that everybody wants at the moment, and for how long they do.
const FASHION: Duration = Duration::from_secs(30);

/// How much is going on.
pub struct Plan {
    /// New visits begin for so long; those under way then may finish, without faults.
    pub time: Duration,
    pub files: u64,
    /// A file has at most so many MiB, and at least one.
    pub largest_mib: u64,
    /// Peers at a time: of ours, and of every other client that there is.
    pub visitors: Vec<Client>,
    /// The rate of a visitor's link, where hosts have links of their own.
    pub mbit: u32,
    /// The longest rest between two visits, in seconds.
    pub rest: u64,
    /// How long others may take after the time, when nothing new begins. Some wait minutes to ask a tracker again.
    pub grace: Duration,
    /// When the tracker is stopped and started again, as parts of the time.
    pub restarts: Vec<f64>,
}

/// What came of a run.
#[derive(Serialize)]
pub struct Report {
    pub seconds: u64,
    pub files: u64,
    pub place: String,
    /// Visits that ended with the right file, and the bytes compared, by client.
    pub finished: BTreeMap<&'static str, Finished>,
    /// What struck while somebody was at work, by kind.
    pub struck: BTreeMap<&'static str, u64>,
    pub growth: Vec<Growth>,
    /// The longest that the tracker took to answer /healthz, in milliseconds.
    pub slowest_answer_ms: f64,
    /// From the last fault until the last visitor had gone, and until the residents held no more than before, in seconds.
    pub departure: [f64; 2],
    /// What went wrong, a sentence each.
    pub findings: Vec<String>,
    pub vitals: Vec<Vitals>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Finished {
    pub visits: u64,
    pub bytes: u64,
    /// The longest visit, what happened in it and all, in seconds.
    pub longest: f64,
}

/// What all threads of a run note down.
#[derive(Default)]
struct Notes {
    /// No new visits and no more faults.
    over: OnceLock<Instant>,
    finished: Mutex<BTreeMap<&'static str, Finished>>,
    struck: Mutex<BTreeMap<&'static str, u64>>,
    findings: Mutex<Vec<String>>,
}

impl Notes {
    fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// How long it has been over.
    fn over_for(&self) -> Option<Duration> {
        self.over.get().map(Instant::elapsed)
    }

    /// From now on.
    fn end(&self) {
        let _ = self.over.set(Instant::now());
    }

    fn finish(&self, client: Client, bytes: u64, time: Duration) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = finished.entry(client.name()).or_default();
        entry.visits += 1;
        entry.bytes += bytes;
        entry.longest = entry.longest.max(time.as_secs_f64());
    }

    fn strike(&self, kind: &'static str) {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    fn find(&self, finding: String) {
        say(&format!("soak: {finding}"));
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }
}

/// Runs it to its end.
pub fn run(plan: &Plan) -> Report {
    let place = Place::furnish(plan);
    let notes = Notes::default();
    let mut residents = Residents::start(&place, &notes);
    let idle = residents.settled();
    let start = Instant::now();
    thread::scope(|scope| {
        for seat in 0..place.visitors.len() {
            let (place, notes) = (&place, &notes);
            scope.spawn(move || {
                let visitor = Visitor::new(place, notes, seat, start, plan.grace);
                // Ctrl-C unwinds whoever starts a process; the others must hear of it.
                let stay = panic::catch_unwind(AssertUnwindSafe(|| visitor.come_and_go(plan.rest)));
                if stay.is_err() {
                    notes.find(format!("{}: the visitor's thread was unwound", place.visitors[seat].name()));
                    notes.end();
                }
            });
        }
        attend(plan, &mut residents, &notes, start);
        notes.end();
    });
    let departed = notes.over_for();
    residents.expect_return(&idle);
    let departure = [departed, notes.over_for()].map(|time| time.unwrap_or_default().as_secs_f64());
    let (vitals, slowest_answer_ms) = residents.leave();
    let growth = vitals::growth(&vitals, plan.time);
    for grown in &growth {
        grown.judge().unwrap_or_else(|finding| notes.find(finding));
    }
    Report {
        seconds: plan.time.as_secs(),
        files: plan.files,
        place: place.describe(plan),
        finished: notes.finished.into_inner().unwrap_or_else(PoisonError::into_inner),
        struck: notes.struck.into_inner().unwrap_or_else(PoisonError::into_inner),
        growth,
        slowest_answer_ms,
        departure,
        findings: notes.findings.into_inner().unwrap_or_else(PoisonError::into_inner),
        vitals,
    }
}

/// Looks at the residents, and gives them trouble, until the time is over.
fn attend(plan: &Plan, residents: &mut Residents, notes: &Notes, start: Instant) {
    let mut restarts = plan.restarts.iter().map(|part| plan.time.mul_f64(*part)).peekable();
    let mut news = NEWS;
    while start.elapsed() < plan.time && !notes.is_over() {
        thread::sleep(LOOKS);
        process::stop_if_ended();
        residents.look(start.elapsed());
        if restarts.next_if(|at| *at <= start.elapsed()).is_some() {
            residents.restart_tracker();
        } else if chance(LOOKS_A_TROUBLE) == 0 {
            residents.trouble();
        }
        if start.elapsed() >= news {
            news += NEWS;
            let finished = notes.finished.lock().unwrap_or_else(PoisonError::into_inner);
            let visits: u64 = finished.values().map(|finished| finished.visits).sum();
            say(&format!("soak: after {} s {visits} files finished and right", start.elapsed().as_secs()));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "soak: {} s, {} files; {}", self.seconds, self.files, self.place)?;
        write!(f, "finished and compared byte for byte:")?;
        for (client, finished) in &self.finished {
            let gib = finished.bytes as f64 / f64::from(1 << 30);
            write!(f, " {client} {} ({gib:.2} GiB, longest {:.0} s),", finished.visits, finished.longest)?;
        }
        write!(f, " {} findings\nwhat befell them:", self.findings.len())?;
        self.struck.iter().try_for_each(|(kind, count)| write!(f, " {kind} {count},"))?;
        writeln!(f, " nothing else\nslowest /healthz: {:.1} ms", self.slowest_answer_ms)?;
        let [departed, returned] = self.departure;
        writeln!(f, "the last visitor had gone after {departed:.0} s, all was as before after {returned:.0} s")?;
        self.growth.iter().try_for_each(|growth| writeln!(f, "{growth}"))?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "FINDING: {finding}"))
    }
}
