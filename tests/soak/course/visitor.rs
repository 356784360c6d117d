//! One who comes, fetches a file, and goes; and what may happen to it meanwhile.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::place::Place;
use super::{FASHION, Notes};
use crate::house::clients::Client;
use crate::house::process::{MINITORRENT, Process};
use crate::house::torrent::Torrent;
use crate::house::{chance, wait_until};

/// How long one run of ours may take, faults of its own and of the tracker in it.
const LIMIT: Duration = Duration::from_secs(400);

/// The same for others. Transmission asks a tracker that was away twice again after five minutes, then after fifteen.
const LIMIT_OF_OTHERS: Duration = Duration::from_secs(1500);

/// The longest that something ails a visitor, and the longest until it begins, in milliseconds.
const AILING_MS: u64 = 8000;
const ONSET_MS: u64 = 3000;

/// The longest that one of ours serves on when it has everything, in seconds.
const SERVES_ON: u64 = 15;

/// What happens to a visitor while it fetches.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Peace,
    Killed,
    /// Stopped in its tracks for a while, without a goodbye.
    Paused(Duration),
    /// Its link is cut for a while.
    CutOff(Duration),
}

/// A seat that one client after the other takes.
pub struct Visitor<'a> {
    place: &'a Place,
    notes: &'a Notes,
    seat: usize,
    client: Client,
    start: Instant,
    /// How long others may go on after the end.
    grace: Duration,
}

impl<'a> Visitor<'a> {
    pub fn new(place: &'a Place, notes: &'a Notes, seat: usize, start: Instant, grace: Duration) -> Visitor<'a> {
        Visitor { place, notes, seat, client: place.visitors[seat], start, grace }
    }

    /// One visit after the other, with rests of at most so many seconds, until it is over.
    pub fn come_and_go(&self, rest: u64) {
        while !self.notes.is_over() {
            let fashion = self.start.elapsed().as_secs() / FASHION.as_secs();
            let torrent = self.place.choose(fashion);
            let came = Instant::now();
            match self.visit(torrent) {
                Ok(false) => self.notes.strike("sent away at the end"),
                Ok(true) => self.notes.finish(self.client, torrent.content.length(), came.elapsed()),
                Err(why) => self.notes.find(format!("{}: {}: {why}", self.client.name(), torrent.content.name)),
            }
            self.tidy();
            let rested = Instant::now() + Duration::from_millis(chance(1 + rest * 1000));
            while Instant::now() < rested && !self.notes.is_over() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Fetches a file, however often that is cut short, and compares it. False when it was sent away before it was done.
    fn visit(&self, torrent: &Torrent) -> Result<bool, String> {
        let out = self.place.folder_for(self.seat).join("out");
        loop {
            let mut process = self.fetch(torrent);
            if self.befall(&mut process) {
                // Ours goes on from where it was killed. How others do is not for us to test, so they begin anew.
                if self.client != Client::Ours {
                    self.tidy();
                }
                continue;
            }
            let limit = if self.client == Client::Ours { LIMIT } else { LIMIT_OF_OTHERS };
            wait_until(limit, || !process.is_running() || self.is_dismissed());
            let status = process.wait(Duration::ZERO);
            if status.is_none() && self.is_dismissed() {
                return Ok(false);
            }
            let said = format!("it said: {}", last_words(&process));
            if process.stderr().contains("panicked") {
                return Err(format!("it panicked; {said}"));
            }
            match status {
                None => return Err(format!("it is not done after {limit:?}; {said}")),
                Some(status) if self.client == Client::Ours && !status.success() => {
                    return Err(format!("it ended with {status}; {said}"));
                }
                Some(_) => {}
            }
            let compared = self.client.compare(&torrent.content, &out);
            return compared.map(|()| true).map_err(|why| format!("WRONG FILE: {why}; {said}"));
        }
    }

    /// Whether nobody waits for it any more. Everybody waits for ours.
    fn is_dismissed(&self) -> bool {
        self.client != Client::Ours && self.notes.over_for().is_some_and(|time| time > self.grace)
    }

    fn fetch(&self, torrent: &Torrent) -> Process {
        let folder = self.place.folder_for(self.seat);
        let out = folder.join("out");
        fs::create_dir_all(&out).unwrap();
        let host = self.place.host(self.place.host_of(self.seat));
        let port = self.place.peer_port();
        if self.client != Client::Ours {
            return self.client.fetch_and_end(&host, torrent, &out, port, &folder);
        }
        let serves_on = if self.notes.is_over() { 0 } else { chance(SERVES_ON) };
        let mut command = host.command(MINITORRENT);
        command.args(["fetch", "--seed-for", &serves_on.to_string(), "--port", &port.to_string(), "--out"]);
        command.arg(&out).arg(&torrent.path);
        Process::start(command, &folder, "fetch")
    }

    /// Lets its fate strike, and tells whether that ended it.
    fn befall(&self, process: &mut Process) -> bool {
        let fate = self.fate();
        if matches!(fate, Fate::Peace) || process.wait(Duration::from_millis(chance(ONSET_MS))).is_some() {
            return false;
        }
        match fate {
            Fate::Peace => {}
            Fate::Killed => {
                self.notes.strike("kill -9");
                process.signal(Signal::KILL);
                return process.wait(LIMIT).is_some();
            }
            Fate::Paused(time) => {
                self.notes.strike("pause");
                process.signal(Signal::STOP);
                process.wait(time);
                process.signal(Signal::CONT);
            }
            Fate::CutOff(time) => {
                self.notes.strike("link cut");
                let host = self.place.host_of(self.seat);
                self.place.plug_link(host, false);
                process.wait(time);
                self.place.plug_link(host, true);
            }
        }
        false
    }

    fn fate(&self) -> Fate {
        let time = Duration::from_millis(chance(AILING_MS));
        match chance(6) {
            _ if self.notes.is_over() => Fate::Peace,
            0 => Fate::Killed,
            1 => Fate::Paused(time),
            2 if self.place.has_links() => Fate::CutOff(time),
            _ => Fate::Peace,
        }
    }

    /// Throws everything away that it has left.
    fn tidy(&self) {
        let folder = self.place.folder_for(self.seat);
        if let Err(error) = fs::remove_dir_all(&folder) {
            self.notes.find(format!("{}: {error}", folder.display()));
        }
    }
}

/// The end of what a process said.
fn last_words(process: &Process) -> String {
    let text = process.stdout() + &process.stderr();
    let mut lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(4).collect();
    lines.reverse();
    lines.join(" / ")
}
