//! `fetch`: get what a metainfo describes.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select, tick};

use super::{ENDING, Failure, chance, cores, new_peer_id, signals, source};
use crate::{
    chance::Chance,
    cli,
    downloader::{Fetch, Outcome, Plan, Settings, report::Report},
    metainfo::Metainfo,
    net::PortChoice,
    peer::Host,
    seeder::{Announcer, DEFAULT_SLOTS, Gate, Listener, Registry},
    storage::{self, Access, Journal, Ledger, Store, journal::Ending as Closing},
    terminal::{self, Progress, Rate, Time},
    text::Size,
    text::escape,
    tracker::client::Client,
};

/// The exit code after Ctrl-C; what has come stays, and the next run goes on from there.
const INTERRUPTED: u8 = 130;

/// Where a fetch takes connections unless told otherwise.
const PORT: u16 = 6882;

/// How often progress is shown.
const REFRESH: Duration = Duration::from_millis(200);

/// How long a complete fetch serves on at most, unless told otherwise, while somebody needs it.
const SERVE_AT_MOST: Duration = Duration::from_secs(60);

/// How long a complete fetch stays to hand on what nobody else has, even when it was asked to leave at once.
const HAND_ON_AT_MOST: Duration = Duration::from_secs(2);

/// How long nobody may need a complete fetch before it ends, unless told otherwise: a peer that is about to connect
/// has this long.
const UNNEEDED: Duration = Duration::from_secs(2);

/// Without a byte for so long a person is told what is being waited for.
const QUIET: Duration = Duration::from_secs(5);

/// Fetches until everything is here, serves on for a while, ends in order.
pub fn run(arguments: cli::Fetch) -> Result<ExitCode, Failure> {
    let interrupts = signals::listen(INTERRUPTED)?;
    let metainfo = Arc::new(source::read(&arguments.meta)?);
    let begun = Instant::now();
    let store =
        Store::open(metainfo.clone(), Path::new(&arguments.out), Access::Write { preallocate: arguments.preallocate })?;
    let store = Arc::new(store);
    let journal = Journal::start().map_err(|error| Failure::about("the journal", error))?;
    let (ledger, have) = resume(&store, &journal, arguments.json)?;
    let signals = interrupts.end_in_order();

    let host = Arc::new(Host::new(new_peer_id()?, arguments.upload_limit, arguments.download_limit));
    let registry = Arc::new(Registry::default());
    let choice = arguments.port.map_or(PortChoice::From(PORT), PortChoice::Asked);
    // Half of all connections are kept for those we make ourselves: whoever floods our port cannot keep us from a seeder.
    let gate = Arc::new(Gate::new(host.clone(), registry.clone(), arguments.max_peers.div_ceil(2)));
    let listener = open_listener(choice, &host, &gate)?;
    let fetch = Fetch::start(Plan {
        host: host.clone(),
        ledger: ledger.clone(),
        have,
        settings: Settings {
            max_peers: arguments.max_peers,
            slots: DEFAULT_SLOTS,
            memory: u64::from(arguments.memory) << 20,
        },
        hash_workers: cores(),
        seed: chance()?,
    });
    let fetch = fetch.map_err(|error| Failure::about("threads", error))?;
    registry.add(fetch.share().clone());
    let announcer = Announcer::new(Client::new(chance()? as u32), host.peer_id(), None);
    let trackers = trackers(&metainfo, &arguments.tracker);
    let mut chance = Chance::new(chance()?);
    announcer.add(fetch.share().clone(), &trackers, listener.port(), Some(fetch.news()), |bound| chance.below(bound));
    if trackers.is_empty() && !arguments.json {
        eprintln!("{} names no tracker: only peers that connect here can help", escape(&arguments.meta));
    }

    let watch = Watch {
        fetch: &fetch,
        signals: &signals,
        begun,
        json: arguments.json,
        name: metainfo.name(),
        has_tracker: !trackers.is_empty(),
    };
    let ending = watch.until_complete().and_then(|ending| match ending {
        Ending::Complete => store.is_undisturbed().map(|()| ending).map_err(Failure::from),
        Ending::Interrupted => Ok(ending),
    });
    let took = begun.elapsed();
    if let Ok(Ending::Complete) = ending {
        announcer.hurry(metainfo.info_hash());
        watch.say_complete(Path::new(&arguments.out));
        watch.serve_on(arguments.seed_for.map(|seconds| Duration::from_secs(seconds.into())));
    }
    let report = fetch.report();
    drop(listener);
    registry.remove(metainfo.info_hash());
    let deadline = Instant::now() + ENDING;
    announcer.say_goodbye();
    drop(fetch);
    close(journal, ledger, deadline);
    if store.is_undisturbed().is_err() {
        // What the log vouches for is no longer so; without it the next run checks everything.
        let _ = std::fs::remove_file(storage::resume::path(store.dir(), &metainfo.info_hash()));
    }
    announcer.wait(deadline);
    if arguments.json {
        summary(&metainfo, &report, took, matches!(ending, Ok(Ending::Complete)));
    }
    match ending? {
        Ending::Complete => Ok(ExitCode::SUCCESS),
        Ending::Interrupted => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// How watching a fetch ended.
enum Ending {
    Complete,
    Interrupted,
}

struct Watch<'a> {
    fetch: &'a Fetch,
    signals: &'a Receiver<i32>,
    begun: Instant,
    json: bool,
    name: &'a str,
    has_tracker: bool,
}

impl Watch<'_> {
    fn until_complete(&self) -> Result<Ending, Failure> {
        let ticks = tick(REFRESH);
        let mut progress = Progress::new(self.json);
        let mut moved = (Instant::now(), 0);
        loop {
            select! {
                recv(self.fetch.outcome()) -> outcome => {
                    progress.clear();
                    return match outcome {
                        Ok(Outcome::Complete) => Ok(Ending::Complete),
                        Ok(Outcome::StorageFailed(error)) => Err(Failure::new(match *error {
                            storage::Error::Disturbed { .. } => {
                                format!("{error}; the same command checks what is left and fetches the rest")
                            }
                            _ => format!("{error}; what was verified is kept, and the same command goes on from there"),
                        })),
                        Err(_) => Err(Failure::new("the coordinator ended before its time")),
                    };
                },
                recv(self.signals) -> _ => {
                    progress.clear();
                    self.say_interrupted();
                    return Ok(Ending::Interrupted);
                },
                recv(ticks) -> _ => {
                    let report = self.fetch.report();
                    if report.downloaded != moved.1 {
                        moved = (Instant::now(), report.downloaded);
                    }
                    let note = (moved.0.elapsed() > QUIET).then(|| why_quiet(&report, self.has_tracker));
                    progress.fetch(&report, note.as_deref());
                },
            }
        }
    }

    /// Gives to others: for as long as was asked, or while somebody needs it. Whoever leaves at once still hands on what
    /// nobody else has: a swarm must not wait for its source to send a piece again because its only holder has left.
    fn serve_on(&self, asked: Option<Duration>) {
        let handed_on = Instant::now() + HAND_ON_AT_MOST;
        while self.fetch.report().last_holder && Instant::now() < handed_on && self.signals.is_empty() {
            std::thread::sleep(REFRESH / 10);
        }
        let ticks = tick(REFRESH);
        let until = Instant::now() + asked.unwrap_or(SERVE_AT_MOST);
        let mut needed = Instant::now();
        while Instant::now() < until {
            select! {
                recv(self.signals) -> _ => return,
                recv(ticks) -> _ => {
                    if self.fetch.report().needed {
                        needed = Instant::now();
                    } else if asked.is_none() && needed.elapsed() > UNNEEDED {
                        return;
                    }
                },
            }
        }
    }

    fn say_complete(&self, out: &Path) {
        if self.json {
            return;
        }
        let (report, time) = (self.fetch.report(), self.begun.elapsed());
        let path = out.join(self.name);
        let (path, size) = (escape(&path.to_string_lossy()), Size(report.length));
        terminal::print(&if report.downloaded == 0 {
            format!("{path} is complete: {size}, here already\n")
        } else {
            let rate = Rate(report.downloaded as f64 / time.as_secs_f64().max(0.001));
            format!("{path} is complete: {size} in {}, {rate}\n", Time(time))
        });
    }

    fn say_interrupted(&self) {
        let report = self.fetch.report();
        if !self.json {
            eprintln!(
                "stopped with {} of {}; the same command goes on from there",
                Size(report.verified),
                Size(report.length)
            );
        }
    }
}

/// What a fetch without progress is waiting for.
fn why_quiet(report: &Report, has_tracker: bool) -> String {
    match (&report.tracker_trouble, report.peers, report.unavailable) {
        (Some(trouble), 0, _) => format!("no peers; {trouble}"),
        (None, 0, _) if report.banned > 0 => {
            format!("no peers but {} that gave wrong pieces; waiting for others", report.banned)
        }
        (None, 0, _) if !has_tracker => "no peers yet, and no tracker to ask for any; --tracker names one".to_owned(),
        (None, 0, _) => "no peers yet; the tracker knows of none that can be reached".to_owned(),
        (_, _, 0) => "waiting for peers to answer".to_owned(),
        (_, _, pieces) => format!("no peer has {pieces} of the missing pieces; waiting for one that has"),
    }
}

/// Finds out what is here already, with progress.
fn resume(
    store: &Arc<Store>,
    journal: &Journal,
    quiet: bool,
) -> Result<(Arc<Ledger>, crate::bitfield::Bitfield), Failure> {
    let progress = Mutex::new(Progress::new(quiet));
    let opened = storage::resume::open(store, cores(), &|done, total| {
        let text = "of the pieces that may be here are checked";
        progress.lock().unwrap_or_else(PoisonError::into_inner).show(u64::from(done), u64::from(total), text);
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).clear();
    let (log, have) = opened?;
    Ok((journal.attach(log, store.clone()), have))
}

/// Opens the port for peers; one that is not the first choice is said aloud.
pub fn open_listener(choice: PortChoice, host: &Host, gate: &Arc<Gate>) -> Result<Listener, Failure> {
    let (PortChoice::Asked(wanted) | PortChoice::From(wanted)) = choice;
    let listener = Listener::open(choice, gate.clone())
        .map_err(|error| Failure::about(format_args!("port {wanted} for peers"), error))?;
    if listener.port() != wanted && wanted != 0 {
        eprintln!("port {wanted} is taken; peers connect to {}", listener.port());
    }
    host.set_port(listener.port());
    Ok(listener)
}

fn trackers(metainfo: &Metainfo, more: &[String]) -> Vec<Vec<String>> {
    let asked = more.iter().map(|url| vec![url.clone()]);
    asked.chain(metainfo.trackers().iter().cloned()).collect()
}

fn close(journal: Journal, ledger: Arc<Ledger>, deadline: Instant) {
    match journal.close(ledger, deadline.saturating_duration_since(Instant::now())) {
        Ok(Closing::Clean) => {}
        Ok(Closing::Late) => {
            log::info!("the disk is slow; the last pieces will be checked at the next start");
            // Dropping it would wait for the disk.
            std::mem::forget(journal);
        }
        Err(error) => log::error!("{error}"),
    }
}

fn summary(metainfo: &Metainfo, report: &Report, took: Duration, complete: bool) {
    let line = serde_json::json!({
        "info_hash": metainfo.info_hash().to_string(),
        "complete": complete,
        "length": report.length,
        "verified": report.verified,
        "downloaded": report.downloaded,
        "wasted": report.wasted,
        "uploaded": report.uploaded,
        "seconds": took.as_secs_f64(),
    });
    terminal::print(&format!("{line}\n"));
}
