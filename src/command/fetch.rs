//! `fetch`: get what a metainfo describes.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select, tick};

use super::{check_folder, page, peers, say_some, signals, source};
use crate::{
    announce::client::TrackerReach,
    cli,
    downloader::{FetchOutcome, View},
    metainfo::Metainfo,
    net::PortChoice,
    node::{
        Failure, Node, NodeOptions, Sources,
        process::{ENDING, cores},
    },
    policy::{DEFAULT_UPLOAD_SLOTS, FetchSettings},
    status::fetch::FetchReport,
    storage::{self, Begun, Writing},
    terminal::{self, Progress},
    text::{Rate, Size, Time},
    web::Kind,
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
pub fn run(arguments: cli::FetchArguments) -> Result<ExitCode, Failure> {
    let interrupts = signals::listen(INTERRUPTED)?;
    check_folder(&arguments.out, "--out")?;
    let peers = peers::resolve(&arguments.peer)?;
    let metainfo = Arc::new(source::read(&arguments.meta)?);
    say_renamed(&metainfo);
    let begun = Instant::now();
    let out = arguments.out.as_path();
    let writing = Writing { preallocate: arguments.preallocate, overwrite: arguments.overwrite };
    let begun_with = begin(&metainfo, out, writing, arguments.json)?;
    let store = begun_with.store.clone();
    say_some(&store.make_links(), "links are left out");
    let node = open_node(&arguments)?;
    arguments.name.clone().into_iter().for_each(|name| node.host().set_name(name));
    let page = {
        let (address, password) = (arguments.page.as_deref(), arguments.password_file.as_deref());
        page::open_if_asked(address, password, Kind::Fetch, &node, arguments.json)?
    };
    let signals = interrupts.end_in_order();
    let finding = Finding {
        has_tracker: !(metainfo.trackers().is_empty() && arguments.tracker.is_empty()),
        is_local: !arguments.no_announce && !metainfo.is_private(),
        has_peers: !peers.is_empty(),
    };
    let sources = Sources {
        trackers: trackers(&metainfo, &arguments.tracker),
        reach: TrackerReach::on_command_line(&arguments.tracker, source::url(&arguments.meta)),
        peers,
    };
    let view = node.download(begun_with, sources)?;
    if let Some(sentence) = finding.sentence().filter(|_| !arguments.json) {
        terminal::say(format_args!("{} {sentence}", arguments.meta.display()));
    }
    match &page {
        Some(page) if arguments.json => {
            _ = terminal::print_json(serde_json::json!({ "page": page.url(), "control": page.control() }));
        }
        Some(page) => page.say(),
        None => {}
    }

    let watch = FetchProgress {
        view: &view,
        signals: &signals,
        begun,
        json: arguments.json,
        name: metainfo.name(),
        finding,
        has_page: page.is_some(),
    };
    let ending = watch.until_complete().and_then(|ending| match ending {
        FetchEnding::Complete => store.is_undisturbed().map(|()| ending).map_err(Failure::from),
        FetchEnding::Interrupted | FetchEnding::Removed => Ok(ending),
    });
    let took = begun.elapsed();
    if let Ok(FetchEnding::Complete) = ending {
        node.hurry();
        watch.say_complete(out);
        watch.serve_on(arguments.seed_for.map(|seconds| Duration::from_secs(seconds.into())));
    } else if !matches!(ending, Ok(FetchEnding::Interrupted)) {
        watch.stay(ending.as_ref().err());
    }
    let report = view.report();
    drop(page);
    node.end(ENDING);
    if arguments.json {
        summary(&metainfo, &report, took, matches!(ending, Ok(FetchEnding::Complete)));
    }
    match ending? {
        FetchEnding::Complete | FetchEnding::Removed => Ok(ExitCode::SUCCESS),
        FetchEnding::Interrupted => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// What will not be found under the name that the torrent gives it.
fn say_renamed(metainfo: &Metainfo) {
    metainfo.renaming().into_iter().for_each(terminal::say);
    let files = metainfo.renamed_files().into_iter();
    let lines: Vec<_> = files.map(|(asked, path)| format!("{asked} is saved as {}", path.display())).collect();
    say_some(&lines, "files get other names");
}

fn open_node(arguments: &cli::FetchArguments) -> Result<Arc<Node>, Failure> {
    super::open_node(NodeOptions {
        upload_limit: arguments.upload_limit,
        download_limit: arguments.download_limit,
        // Half of all connections are kept for those we make ourselves: whoever floods our port cannot keep us from a
        // seeder.
        max_peers: arguments.max_peers.div_ceil(2),
        fetching: FetchSettings {
            max_peers: arguments.max_peers,
            upload_slots: DEFAULT_UPLOAD_SLOTS,
            memory: u64::from(arguments.memory) << 20,
        },
        port: arguments.port.map_or(PortChoice::From(PORT), PortChoice::Asked),
        local_discovery: !arguments.no_announce,
        own_tracker: None,
        folder: arguments.out.clone(),
        memory: None,
    })
}

/// How watching a fetch ended.
enum FetchEnding {
    Complete,
    Interrupted,
    /// From the page: nobody waits for it any more.
    Removed,
}

struct FetchProgress<'a> {
    view: &'a View,
    signals: &'a Receiver<i32>,
    begun: Instant,
    json: bool,
    name: &'a str,
    finding: Finding,
    has_page: bool,
}

/// How peers are found.
#[derive(Debug, Clone, Copy)]
struct Finding {
    has_tracker: bool,
    is_local: bool,
    has_peers: bool,
}

impl Finding {
    /// What a person should know from the start, where there is no tracker; it follows the name of the metainfo.
    fn sentence(self) -> Option<&'static str> {
        match self {
            Finding { has_tracker: true, .. } => None,
            Finding { is_local: true, .. } => Some("names no tracker: peers are found by local discovery"),
            Finding { has_peers: true, .. } => {
                Some("names no tracker: only --peer, and peers that connect here, can help")
            }
            _ => Some("names no tracker: only peers that connect here can help"),
        }
    }
}

impl FetchProgress<'_> {
    fn until_complete(&self) -> Result<FetchEnding, Failure> {
        let ticks = tick(REFRESH);
        let mut progress = Progress::new(self.json);
        let mut moved = (Instant::now(), 0);
        loop {
            select! {
                recv(self.view.outcome()) -> outcome => {
                    progress.clear();
                    return match outcome {
                        Ok(FetchOutcome::Complete) => Ok(FetchEnding::Complete),
                        Ok(FetchOutcome::StorageFailed(error)) => Err(Failure::new(match *error {
                            storage::StorageError::Disturbed { .. } => {
                                format!("{error}; the same command checks what is left and fetches the rest")
                            }
                            _ => format!("{error}; what was verified is kept, and the same command goes on from there"),
                        })),
                        Err(_) if self.has_page => Ok(FetchEnding::Removed),
                        Err(_) => Err(Failure::new("the coordinator ended before its time")),
                    };
                },
                recv(self.signals) -> _ => {
                    progress.clear();
                    self.say_interrupted();
                    return Ok(FetchEnding::Interrupted);
                },
                recv(ticks) -> _ => {
                    let report = self.view.report();
                    if report.downloaded != moved.1 {
                        moved = (Instant::now(), report.downloaded);
                    }
                    let note = (moved.0.elapsed() > QUIET).then(|| why_quiet(&report, self.finding));
                    progress.fetch(&report, note.as_deref());
                },
            }
        }
    }

    /// Gives to others: for as long as was asked, or while somebody needs it. Whoever leaves at once still hands on what
    /// nobody else has: a swarm must not wait for its source to send a piece again because its only holder has left.
    fn serve_on(&self, asked: Option<Duration>) {
        let handed_on = Instant::now() + HAND_ON_AT_MOST;
        while self.view.report().last_holder && Instant::now() < handed_on && self.signals.is_empty() {
            std::thread::sleep(REFRESH / 10);
        }
        if self.has_page && asked.is_none() {
            return self.stay(None);
        }
        let ticks = tick(REFRESH);
        let until = Instant::now() + asked.unwrap_or(SERVE_AT_MOST);
        let mut needed = Instant::now();
        while Instant::now() < until {
            select! {
                recv(self.signals) -> _ => return,
                recv(ticks) -> _ => {
                    let report = self.view.report();
                    if report.is_withdrawn {
                        return;
                    }
                    if report.needed {
                        needed = Instant::now();
                    } else if asked.is_none() && needed.elapsed() > UNNEEDED {
                        return;
                    }
                },
            }
        }
    }

    /// Whoever serves a page does so until it is stopped, whatever came of this torrent: there may be others.
    fn stay(&self, failure: Option<&Failure>) {
        if self.has_page {
            failure.inspect(|failure| terminal::say(format_args!("minitorrent: {failure}")));
            // The sender lives as long as the process.
            let _ = self.signals.recv();
        }
    }

    fn say_complete(&self, out: &Path) {
        if self.json {
            return;
        }
        let (report, time) = (self.view.report(), self.begun.elapsed());
        let path = out.join(self.name);
        let (path, size) = (path.display(), Size(report.length));
        terminal::print(if report.downloaded == 0 {
            format!("{path} is complete: {size}, here already")
        } else {
            let rate = Rate(report.downloaded as f64 / time.as_secs_f64().max(0.001));
            format!("{path} is complete: {size} in {}, {rate}", Time(time))
        });
    }

    fn say_interrupted(&self) {
        let report = self.view.report();
        if !self.json {
            terminal::say(format_args!(
                "stopped with {} of {}; the same command goes on from there",
                Size(report.verified),
                Size(report.length)
            ));
        }
    }
}

/// What a fetch without progress is waiting for.
fn why_quiet(report: &FetchReport, finding: Finding) -> String {
    match (&report.tracker_trouble, report.peers, report.unavailable) {
        (Some(trouble), 0, _) => format!("no peers; {trouble}"),
        (None, 0, _) if report.banned > 0 => {
            format!("no peers but {} that gave wrong pieces; waiting for others", report.banned)
        }
        (None, 0, _) if finding.has_tracker => "no peers yet; the tracker knows of none that can be reached".to_owned(),
        (None, 0, _) if finding.has_peers => "no peers yet; those that were named do not answer".to_owned(),
        (None, 0, _) if finding.is_local => {
            "no peers yet; local discovery has found none, and there is no tracker to ask".to_owned()
        }
        (None, 0, _) => "no peers yet, and no tracker to ask for any; --tracker names one".to_owned(),
        (_, _, 0) => "waiting for peers to answer".to_owned(),
        (_, _, pieces) => format!("no peer has {pieces} of the missing pieces; waiting for one that has"),
    }
}

/// Finds out what is here already, with progress, and gets the right to write the rest.
fn begin(metainfo: &Arc<Metainfo>, out: &Path, writing: Writing, quiet: bool) -> Result<Begun, Failure> {
    let progress = Mutex::new(Progress::new(quiet));
    let begun = storage::begin(metainfo, out, writing, cores(), &|done, total| {
        let text = "of the pieces that may be here are checked";
        progress.lock().unwrap_or_else(PoisonError::into_inner).show(u64::from(done), u64::from(total), text);
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(begun?)
}

fn trackers(metainfo: &Metainfo, more: &[String]) -> Vec<Vec<String>> {
    let asked = more.iter().map(|url| vec![url.clone()]);
    asked.chain(metainfo.trackers().iter().cloned()).collect()
}

fn summary(metainfo: &Metainfo, report: &FetchReport, took: Duration, complete: bool) {
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
    terminal::print_json(line);
}
