//! The fault bench: processes that are killed, power that is cut, disks that fill up, files that change, links that lose packets
//! and addresses. Every run ends with the right file or a clear sentence, and resumes.
//!
//! `make faults COUNT=100` is the campaign; without a number each fault happens a few times, which is what `make test` does.
//! `AWAY=3600` has the tracker's machine away for an hour instead of 20 s.

mod clock;
mod disk;
mod kill;
mod link;
mod power;
mod swarm;
mod tracker;

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::house::lab::Host;
use crate::house::process::{MINITORRENT, Process};
use crate::house::seeding_peer::Given;
use crate::house::torrent::Torrent;

/// How long a process may take to start.
const START: Duration = Duration::from_secs(20);

/// How long a fetch may take to its end once nothing disturbs it any more.
const CALM: Duration = Duration::from_secs(90);

/// How often a fault is to happen: so often, unless the environment asks for more.
fn times(short: usize) -> usize {
    env::var("FAULTS").ok().and_then(|times| times.parse().ok()).unwrap_or(short)
}

/// Starts a fetch that ends as soon as it has everything.
fn start_fetch(host: &Host, torrent: &Torrent, port: u16, out: &Path, logs: &Path) -> Process {
    let mut command = host.command(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--port", &port.to_string(), "--out"]).arg(out).arg(&torrent.path);
    Process::start(command, logs, "fetch")
}

/// Starts a seeder of what the torrent was made of.
fn start_seed(host: &Host, torrent: &Torrent, port: u16, limit: &str, logs: &Path) -> Process {
    let mut command = host.command(MINITORRENT);
    command.args(["seed", "--upload-limit", limit, "--port", &port.to_string(), "--dir"]);
    command.arg(&torrent.content.root).arg(&torrent.path);
    Process::start(command, logs, "seed")
}

/// Runs a command line of the system to its end.
fn run(line: &str) -> Result<(), String> {
    Host::here().run(line).map(drop)
}

/// The pieces that were given whole by a moment, each with the moment at which its last block was.
fn whole_pieces(torrent: &Torrent, given: &[Given], until: Instant) -> HashMap<u32, Instant> {
    let mut blocks: HashMap<u32, HashSet<u32>> = HashMap::new();
    let mut whole = HashMap::new();
    for given in given.iter().filter(|given| given.at <= until) {
        let piece = given.request.piece;
        let have = blocks.entry(piece).or_default();
        have.insert(given.request.begin);
        let start = u64::from(piece) * u64::from(torrent.piece_length);
        let length = (torrent.content.length() - start).min(torrent.piece_length.into());
        if have.len() as u64 == length.div_ceil(16 * 1024) {
            whole.entry(piece).or_insert(given.at);
        }
    }
    whole
}
