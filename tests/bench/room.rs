//! A source and some fetchers, each a host with a link of its own, and a tracker beside them: one transfer, measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::process::Process;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::wait_until;
use crate::meter::Meter;
use crate::workplace::Workplace;

/// Who is where: the tracker, the source, then the fetchers.
const TRACKER: usize = 0;
const SOURCE: usize = 1;

/// How long a source may take to check its file and announce itself.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A source is at rest when it has used less than this, in seconds of CPU, between two looks.
const REST: f64 = 0.02;
const REST_LOOKS: Duration = Duration::from_millis(400);

/// How often the fetchers are looked at; what a time is exact to.
const LOOKS: Duration = Duration::from_millis(10);

/// Everybody listens on this port, each on a host of its own.
const PORT: u16 = 6881;

/// What is moved, and over which links.
pub struct Room<'a> {
    pub place: &'a Workplace,
    pub torrent: &'a Torrent,
    /// The source's link and then each fetcher's, in Mbit/s each way; `None` is as fast as the machine.
    pub links: Vec<Option<u32>>,
    /// When to give up.
    pub limit: Duration,
}

/// What one transfer took.
#[derive(Debug)]
pub struct Outcome {
    /// Seconds from the start of the first fetcher until the last has ended.
    pub last: f64,
    /// The same until each has ended, in the order of their numbers.
    pub ends: Vec<f64>,
    /// CPU seconds of the source meanwhile, and the mean of the fetchers'.
    pub source_cpu: f64,
    pub fetch_cpu: f64,
    /// The most memory of the source, and of the largest fetcher, in MiB.
    pub source_peak: f64,
    pub fetch_peak: f64,
    /// Bytes that left the source's interface meanwhile, headers and all ÷ the file's length.
    pub copies: f64,
}

/// A file of so many MiB in the workplace, and its torrent that names the tracker of every room.
pub fn torrent(place: &Workplace, mebibytes: u64) -> Torrent {
    let content = Content::file(&place.path().join("source"), &format!("{mebibytes}.bin"), mebibytes << 20);
    let lab = Lab::new(1);
    let trackers = [Tracker::Ours.announce_url(lab.host(TRACKER))];
    Torrent::write(&place.path().join(format!("{mebibytes}.torrent")), &content, PIECE_LENGTH, &trackers)
}

/// One fetcher under way.
struct Fetch {
    client: Client,
    process: Process,
    meter: Meter,
    /// Seconds after the start, once it has ended.
    end: Option<f64>,
}

impl Room<'_> {
    /// Moves the torrent from one client to as many as there are links for; `fetchers` come round. The fetched files are
    /// compared with the original byte for byte.
    pub fn run(&self, source_client: Client, fetchers: &[Client]) -> Result<Outcome, String> {
        let work = tempfile::tempdir_in(self.place.path()).unwrap();
        let work = work.path();
        let lab = Lab::new(SOURCE + self.links.len());
        for (number, mbit) in self.links.iter().enumerate().filter_map(|(number, mbit)| Some((number, (*mbit)?))) {
            lab.limit_link(SOURCE + number, mbit);
        }
        let _tracker = Tracker::Ours.start(lab.host(TRACKER), self.torrent, work);
        let source = lab.host(SOURCE);
        let mut seeder =
            source_client.seed(source, self.torrent, &self.torrent.content.root, PORT, &folder(work, "source"));
        let mut seeding = Meter::of(&seeder);
        let is_ready = || Tracker::Ours.seeders(lab.host(TRACKER), self.torrent) > 0;
        wait_until(READY_LIMIT, || is_ready() || !seeder.is_running());
        if !is_ready() {
            return Err(format!("it does not seed; it said: {}", last_words(&seeder)));
        }
        wait_for_rest(&mut seeding);

        let (cpu_before, sent_before) = (seeding.cpu, source.sent());
        let start = Instant::now();
        let mut fetches: Vec<Fetch> = Vec::new();
        for (number, client) in (1..self.links.len()).zip(fetchers.iter().cycle()) {
            let (out, logs) = (out(work, number), folder(work, &format!("fetch-{number}")));
            let host = lab.host(SOURCE + number);
            let process = client.fetch_and_end(host, self.torrent, &out, PORT, &logs);
            let meter = Meter::of(&process);
            fetches.push(Fetch { client: *client, process, meter, end: None });
        }
        while look_at_all(&mut fetches, start) && start.elapsed() < self.limit {
            thread::sleep(LOOKS);
        }
        let last = start.elapsed();
        seeding.look();
        let copies = (source.sent() - sent_before) as f64 / self.torrent.content.length() as f64;

        for (number, fetch) in (1..).zip(&fetches) {
            let verdict = match fetch.end {
                None => Err(format!("no end in {} s", self.limit.as_secs())),
                Some(_) => fetch.client.compare(&self.torrent.content, &out(work, number)),
            };
            verdict.map_err(|why| format!("fetcher {number}: {why}; it said: {}", last_words(&fetch.process)))?;
        }
        Ok(Outcome {
            last: last.as_secs_f64(),
            ends: fetches.iter().filter_map(|fetch| fetch.end).collect(),
            source_cpu: seeding.cpu - cpu_before,
            fetch_cpu: fetches.iter().map(|fetch| fetch.meter.cpu).sum::<f64>() / fetches.len() as f64,
            source_peak: seeding.peak,
            fetch_peak: fetches.iter().map(|fetch| fetch.meter.peak).fold(0.0, f64::max),
            copies,
        })
    }
}

/// Looks at every fetcher, notes who has ended, and tells whether any still runs.
fn look_at_all(fetches: &mut [Fetch], start: Instant) -> bool {
    for fetch in fetches.iter_mut().filter(|fetch| fetch.end.is_none()) {
        if !fetch.meter.look() {
            fetch.end = Some(start.elapsed().as_secs_f64());
        }
    }
    fetches.iter().any(|fetch| fetch.end.is_none())
}

/// Waits until a source no longer works on its own account.
fn wait_for_rest(seeding: &mut Meter) {
    let start = Instant::now();
    while start.elapsed() < READY_LIMIT {
        let before = seeding.cpu;
        thread::sleep(REST_LOOKS);
        seeding.look();
        if seeding.cpu - before < REST {
            return;
        }
    }
}

fn out(work: &Path, fetcher: usize) -> PathBuf {
    work.join(format!("out-{fetcher}"))
}

fn folder(work: &Path, name: &str) -> PathBuf {
    let folder = work.join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn last_words(process: &Process) -> String {
    let text = process.stdout() + &process.stderr();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned()
}
