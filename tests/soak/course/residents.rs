//! The two who stay: the tracker with its files, and a seeder. They too are stopped, cut off and started again.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::Notes;
use super::place::{Place, SEEDER, TRACKER};
use super::vitals::{Resident, Vitals};
use crate::house::process::{MINITORRENT, Process, Usage};
use crate::house::{chance, wait_until};

/// How long a resident may take to start, and the tracker to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long they may take, once everybody has gone, to hold no more than before anybody came: longer than any
/// connection stays open without a word.
const RETURN_LIMIT: Duration = Duration::from_secs(180);

/// The file that the seeder gives as well.
const SEEDED: usize = 0;

/// The longest trouble, and the longest that the tracker is away, in milliseconds.
const TROUBLE_MS: u64 = 5000;
const AWAY_MS: u64 = 8000;

/// How long curl waits for an answer, in seconds.
const ANSWER_LIMIT: &str = "10";

pub struct Residents<'a> {
    place: &'a Place,
    notes: &'a Notes,
    tracker: Process,
    seeder: Process,
    /// How often the tracker has been started.
    life: u32,
    vitals: Vec<Vitals>,
    slowest_answer_ms: f64,
}

impl<'a> Residents<'a> {
    /// Starts both, and has every file uploaded.
    pub fn start(place: &'a Place, notes: &'a Notes) -> Residents<'a> {
        let tracker = start_tracker(place, 1);
        let upload = |name: &str| {
            let file = place.path().join("source").join(name);
            let answer = curl(place, &format!("-f -T {} {}/uploads/{name}", file.display(), place.tracker_url()));
            answer.unwrap_or_else(|why| panic!("{name} cannot be uploaded: {why}; {}", tracker.stderr()));
        };
        place.torrents.iter().for_each(|torrent| upload(&torrent.content.name));

        let torrent = &place.torrents[SEEDED];
        let mut command = place.host(SEEDER).command(MINITORRENT);
        command.args(["seed", "--port", &place.peer_port().to_string(), "--dir"]);
        command.arg(&torrent.content.root).arg(&torrent.path);
        let seeder = Process::start(command, place.path(), "seeder");
        assert!(wait_until(START_LIMIT, || seeder.stdout().contains("seeding on port")), "{}", seeder.stderr());
        Residents { place, notes, tracker, seeder, life: 1, vitals: Vec::new(), slowest_answer_ms: 0.0 }
    }

    /// What both hold once they do nothing but wait.
    pub fn settled(&self) -> [Usage; 2] {
        let usage = || [&self.tracker, &self.seeder].map(Process::usage);
        let mut before = usage();
        wait_until(START_LIMIT, || {
            thread::sleep(Duration::from_secs(1));
            let now = usage();
            let is_still = (0..2).all(|n| counts(&now[n]) == counts(&before[n]));
            before = now;
            is_still
        });
        before
    }

    /// Notes what both hold, and has the tracker answer.
    pub fn look(&mut self, at: Duration) {
        for (resident, process, life) in
            [(Resident::Tracker, &mut self.tracker, self.life), (Resident::Seeder, &mut self.seeder, 1)]
        {
            if process.is_running() {
                self.vitals.push(Vitals::new(at, resident, life, &process.usage()));
            } else {
                let said = process.stdout() + &process.stderr();
                self.notes.find(format!("the {resident} has ended by itself; it said: {said}"));
                self.notes.end();
            }
        }
        let url = format!("{}/healthz", self.place.tracker_url());
        match curl(self.place, &format!("-f -o /dev/null -w %{{time_total}} {url}")) {
            Ok(seconds) => {
                let ms = seconds.parse::<f64>().unwrap() * 1e3;
                self.slowest_answer_ms = self.slowest_answer_ms.max(ms);
            }
            Err(why) => self.notes.find(format!("the tracker does not answer: {why}")),
        }
    }

    /// Stops the tracker, without a word or in order, and starts it again after a while.
    pub fn restart_tracker(&mut self) {
        let (signal, kind) = match self.life % 2 {
            1 => (Signal::KILL, "tracker killed and started again"),
            _ => (Signal::TERM, "tracker stopped and started again"),
        };
        self.tracker.signal(signal);
        let status = self.tracker.wait(START_LIMIT);
        if signal == Signal::TERM && !status.is_some_and(|status| status.success()) {
            let said = self.tracker.stderr();
            self.notes.find(format!("the tracker was told to end, and ended with {status:?}: {said}"));
        }
        self.expect_no_panic();
        thread::sleep(Duration::from_millis(chance(AWAY_MS)));
        self.life += 1;
        self.tracker = start_tracker(self.place, self.life);
        self.notes.strike(kind);
    }

    /// Pauses one of the two, or cuts it off, for a while.
    pub fn trouble(&mut self) {
        let (process, host) = if chance(2) == 0 { (&self.tracker, TRACKER) } else { (&self.seeder, SEEDER) };
        let time = Duration::from_millis(chance(TROUBLE_MS));
        if self.place.has_links() && chance(2) == 0 {
            self.place.plug_link(host, false);
            thread::sleep(time);
            self.place.plug_link(host, true);
            self.notes.strike("link cut of tracker or seeder");
        } else {
            process.signal(Signal::STOP);
            thread::sleep(time);
            process.signal(Signal::CONT);
            self.notes.strike("pause of tracker or seeder");
        }
    }

    /// Threads and descriptors must be where they were, once everybody has gone. A file that was served stays open.
    pub fn expect_return(&self, idle: &[Usage; 2]) {
        let open_files = [self.place.torrents.len(), 1];
        for (number, process) in [&self.tracker, &self.seeder].into_iter().enumerate() {
            let most = (idle[number].threads, idle[number].descriptors + open_files[number]);
            let returned = || {
                let (threads, descriptors) = counts(&process.usage());
                threads <= most.0 && descriptors <= most.1
            };
            if !wait_until(RETURN_LIMIT, returned) {
                let (now, who) = (counts(&process.usage()), Resident::ALL[number]);
                let before = counts(&idle[number]);
                self.notes.find(format!("the {who} holds (threads, descriptors) {now:?}, and held {before:?} before"));
            }
        }
    }

    /// Ends both in order.
    pub fn leave(self) -> (Vec<Vitals>, f64) {
        self.expect_no_panic();
        for (process, who) in [(self.tracker, Resident::Tracker), (self.seeder, Resident::Seeder)] {
            process.signal(Signal::TERM);
            let ended = process.ended(START_LIMIT);
            if ended.code != Some(0) {
                self.notes.find(format!("the {who} ended with {:?}: {}", ended.code, ended.stderr));
            }
        }
        (self.vitals, self.slowest_answer_ms)
    }

    fn expect_no_panic(&self) {
        for (process, who) in [(&self.tracker, Resident::Tracker), (&self.seeder, Resident::Seeder)] {
            let said = process.stderr();
            if said.contains("panicked") {
                self.notes.find(format!("the {who} panicked: {said}"));
            }
        }
    }
}

fn counts(usage: &Usage) -> (usize, usize) {
    (usage.threads, usage.descriptors)
}

/// Starts the tracker where it was before, and waits until it answers.
fn start_tracker(place: &Place, life: u32) -> Process {
    let data: PathBuf = place.path().join("tracker");
    fs::create_dir_all(&data).unwrap();
    let mut command = place.host(TRACKER).command(MINITORRENT);
    command.args([
        "tracker",
        "--public-url",
        &place.tracker_url(),
        "--port",
        &place.tracker_port.to_string(),
        "--data",
    ]);
    let process = Process::start(
        {
            command.arg(data);
            command
        },
        place.path(),
        &format!("tracker-{life}"),
    );
    let answers = || curl(place, &format!("-f {}/healthz", place.tracker_url())).is_ok();
    assert!(wait_until(START_LIMIT, answers), "the tracker does not answer: {}", process.stderr());
    process
}

fn curl(place: &Place, arguments: &str) -> Result<String, String> {
    let said = place.host(TRACKER).run(&format!("curl -s -S --max-time {ANSWER_LIMIT} {arguments}"))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
