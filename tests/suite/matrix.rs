//! The matrix of real clients, as their users have them: {aria2, transmission, libtorrent, rqbit} × {we seed, we seed and it is behind
//! a firewall, it seeds, mixed swarm} × {a file of 64 MB, a folder} × {our tracker, opentracker}, each compared with the original
//! byte for byte.
//!
//! Every case has a lab of its own, because Transmission refuses peers on loopback.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, panic, thread};

use crate::house::clients::{Client, Setup};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::Process;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, say, skip, wait_until};

/// Cases at a time. Real clients wait more than they work, so more than there are cores.
const AT_ONCE: usize = 3;

/// How long the seeders may take to check their files and announce.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(40);

/// How long the fetchers of one case may take. Some ask a choked peer again only after half a minute.
const FETCH_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
struct Case {
    client: Client,
    way: Way,
    shape: Shape,
    tracker: Tracker,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    WeSeed,
    /// Whatever begins from outside is dropped before it reaches the fetcher.
    WeSeedItIsWalled,
    ItSeeds,
    /// We and it seed; we and every real client fetch.
    Mixed,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    File,
    Folder,
}

enum Verdict {
    Passed(Duration),
    Skipped(String),
    Failed(String),
}

#[test]
fn every_real_client_shares_with_us_in_every_way() {
    let cases = all_cases();
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = case.judge();
                    say(&format!("matrix: {case}: {verdict}"));
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((case, verdict));
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap();
    let skipped = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Skipped(_))).count();
    say(&format!("matrix: {} ran, {skipped} skipped", cases.len() - skipped));
    for (case, verdict) in &verdicts {
        if let Verdict::Skipped(reason) = verdict {
            skip(&case.to_string(), reason);
        }
    }
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    let list: String = failed.iter().map(|(case, verdict)| format!("{case}: {verdict}\n")).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{list}", failed.len(), cases.len());
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for client in Client::REAL {
        for way in [Way::WeSeed, Way::WeSeedItIsWalled, Way::ItSeeds, Way::Mixed] {
            for shape in [Shape::File, Shape::Folder] {
                cases.extend(Tracker::ALL.map(|tracker| Case { client, way, shape, tracker }));
            }
        }
    }
    cases
}

impl Case {
    fn judge(self) -> Verdict {
        if let Err(reason) = self.can_run() {
            return Verdict::Skipped(reason);
        }
        let start = Instant::now();
        match panic::catch_unwind(|| self.run()) {
            Ok(Ok(())) => Verdict::Passed(start.elapsed()),
            Ok(Err(reason)) => Verdict::Failed(reason),
            Err(panic) => Verdict::Failed(panic.downcast_ref::<String>().cloned().unwrap_or("it panicked".into())),
        }
    }

    fn can_run(self) -> Result<(), String> {
        Lab::available()?;
        self.tracker.available()?;
        self.seeders().into_iter().chain(self.fetchers()).try_for_each(Client::available)
    }

    /// As its users have it; without uTP where Transmission 3.00 would have to come to us by itself after a uTP that is turned down: behind
    /// the firewall, and where the tracker names it to our seeder half an hour later.
    fn setup(self) -> Setup {
        let alone = matches!(self.way, Way::WeSeedItIsWalled)
            || matches!(self.way, Way::WeSeed) && self.tracker == Tracker::Opentracker;
        if self.client == Client::Transmission && alone { Setup::WithoutUtp } else { Setup::Defaults }
    }

    fn seeders(self) -> Vec<Client> {
        match self.way {
            Way::WeSeed | Way::WeSeedItIsWalled => vec![Client::Ours],
            Way::ItSeeds => vec![self.client],
            Way::Mixed => vec![Client::Ours, self.client],
        }
    }

    fn fetchers(self) -> Vec<Client> {
        match self.way {
            Way::WeSeed | Way::WeSeedItIsWalled => vec![self.client],
            Way::ItSeeds => vec![Client::Ours],
            Way::Mixed => [&[Client::Ours][..], &Client::REAL].concat(),
        }
    }

    fn run(self) -> Result<(), String> {
        let (seeders, fetchers) = (self.seeders(), self.fetchers());
        let lab = Lab::new(1 + seeders.len() + fetchers.len());
        let work = folder();
        let content = self.shape.content(&work.path().join("source"));
        let urls = [self.tracker.announce_url(lab.host(0))];
        let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
        let _tracker = self.tracker.start(lab.host(0), &torrent, work.path());

        let seed = |(number, client): (usize, &Client)| {
            let dir = work.path().join(format!("seeder-{number}"));
            content.copy_to(&dir);
            client.seed_as(Setup::Defaults, lab.host(1 + number), &torrent, &dir, port(number), work.path())
        };
        let mut seeding: Vec<Process> = seeders.iter().enumerate().map(seed).collect();
        let announced = || self.tracker.seeders(lab.host(0), &torrent) >= seeders.len() as i64;
        let all_live = |seeding: &mut [Process]| seeding.iter_mut().all(Process::is_running);
        wait_until(ANNOUNCE_LIMIT, || announced() || !all_live(&mut seeding));
        if !announced() {
            return Err(format!("not every seeder announced itself; they said: {}", outputs(&seeding)));
        }

        let first = 1 + seeders.len();
        if matches!(self.way, Way::WeSeedItIsWalled) {
            lab.host(first).drop_incoming();
        }
        let fetch = |(number, client): (usize, &Client)| {
            Fetch::start(*client, self.setup(), lab.host(first + number), &torrent, port(first + number), work.path())
        };
        let mut fetches: Vec<Fetch> = fetchers.iter().enumerate().map(fetch).collect();
        wait_until(FETCH_LIMIT, || {
            fetches.iter_mut().all(|fetch| fetch.is_finished(&content)) || fetches.iter_mut().any(Fetch::has_given_up)
        });
        fetches.iter().find(|fetch| !fetch.finished).map_or(Ok(()), |fetch| Err(fetch.complaint(&content)))
    }
}

/// One client that fetches, and whether it has been seen to have everything.
struct Fetch {
    client: Client,
    process: Process,
    out: PathBuf,
    finished: bool,
}

impl Fetch {
    fn start(client: Client, setup: Setup, host: &Host, torrent: &Torrent, port: u16, work: &Path) -> Fetch {
        let out = work.join(format!("out-{port}"));
        let process = client.fetch_as(setup, host, torrent, &out, port, work);
        Fetch { client, process, out, finished: false }
    }

    fn is_finished(&mut self, content: &Content) -> bool {
        self.finished = self.finished || self.client.compare(content, &self.out).is_ok();
        self.finished
    }

    fn has_given_up(&mut self) -> bool {
        !self.finished && !self.process.is_running()
    }

    fn complaint(&self, content: &Content) -> String {
        let difference = self.client.compare(content, &self.out);
        format!("{} did not get it: {difference:?}; it said: {}", self.client.name(), outputs([&self.process]))
    }
}

impl Shape {
    fn content(self, root: &Path) -> Content {
        match self {
            Shape::File => Content::file(root, "a file.bin", 64_000_000),
            Shape::Folder => Content::folder(root),
        }
    }
}

/// Each client listens on a port of its own, though each has a host of its own as well.
fn port(number: usize) -> u16 {
    6881 + number as u16
}

/// The last words of some processes.
fn outputs<'a>(processes: impl IntoIterator<Item = &'a Process>) -> String {
    let tail = |text: String| text.lines().rev().take(5).map(|line| format!("\n    {line}")).collect::<String>();
    processes.into_iter().map(|process| tail(process.stdout()) + &tail(process.stderr())).collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client.name();
        match self.way {
            Way::WeSeed => write!(f, "we seed, {client} fetches")?,
            Way::WeSeedItIsWalled => write!(f, "we seed, {client} fetches behind a firewall")?,
            Way::ItSeeds => write!(f, "{client} seeds, we fetch")?,
            Way::Mixed => write!(f, "we and {client} seed, all five fetch")?,
        }
        let shape = match self.shape {
            Shape::File => "a file",
            Shape::Folder => "a folder",
        };
        let setup = if self.setup() == Setup::WithoutUtp { ", without uTP" } else { "" };
        write!(f, ", {shape}, {}{setup}", self.tracker.name())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed(time) => write!(f, "right, after {:.1} s", time.as_secs_f64()),
            Verdict::Skipped(reason) => write!(f, "skipped: {reason}"),
            Verdict::Failed(reason) => write!(f, "FAILED: {reason}"),
        }
    }
}
