//! A fetch that is killed with -9 again and again ends with the right file, and no piece that was complete is fetched again.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::house::content::Content;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::{Given, SeedingPeer};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{chance, folder, wait_until};

const KILLS: usize = 20;
const LENGTH: u64 = 32 * 1024 * 1024 + 12_345;

/// Two seeders at this pace move some 3 MB/s, so that the file outlasts the kills.
const PACE_OF_A_BLOCK: Duration = Duration::from_millis(10);

/// A piece counts as complete when its last block was given this long before the kill: time to hash, write and note it.
const SETTLED: Duration = Duration::from_millis(100);

#[test]
fn a_fetch_killed_twenty_times_never_fetches_a_completed_piece_twice() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeders =
        [2, 3].map(|last| SeedingPeer::start(Ipv4Addr::new(127, 0, 0, last), &unannounced, PACE_OF_A_BLOCK, || ()));
    let tracker = TrackerStub::start(Answer::Peers(seeders.iter().map(|seeder| seeder.address).collect()));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let out = work.path().join("out");

    let mut settled_at_kill: HashMap<u32, Instant> = HashMap::new();
    for _ in 0..KILLS {
        let started = Instant::now();
        let fetch = start(&torrent, &out, work.path());
        let begun = || given(&seeders).iter().any(|given| given.at > started);
        assert!(wait_until(Duration::from_secs(20), begun), "no block was asked for: {}", fetch.stderr());
        thread::sleep(Duration::from_millis(100 + chance(400)));
        drop(fetch);
        let killed = Instant::now();
        for piece in settled_pieces(&torrent, &given(&seeders), started..killed) {
            settled_at_kill.entry(piece).or_insert(killed);
        }
    }
    let settled = settled_at_kill.len();
    assert!(settled > 0, "nothing was complete before the last kill, so nothing was shown");
    assert!(settled < torrent.pieces() as usize, "all was complete before the last kill, so nothing was left to fetch");

    let ended = start(&torrent, &out, work.path()).ended(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    for again in given(&seeders) {
        let piece = again.request.piece;
        let complete = settled_at_kill.get(&piece);
        assert!(complete.is_none_or(|since| again.at < *since), "piece {piece} was complete and was fetched again");
    }
}

fn start(torrent: &Torrent, out: &Path, work: &Path) -> Process {
    fs::create_dir_all(out).unwrap();
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--port", &free_port().to_string(), "--out"]).arg(out).arg(&torrent.path);
    Process::start(command, work, "fetch")
}

fn given(seeders: &[SeedingPeer]) -> Vec<Given> {
    seeders.iter().flat_map(SeedingPeer::given).collect()
}

/// The pieces all of whose bytes were given during one run, well before its end.
fn settled_pieces(torrent: &Torrent, given: &[Given], run: Range<Instant>) -> Vec<u32> {
    let mut blocks: HashMap<u32, HashMap<u32, u64>> = HashMap::new();
    for given in given.iter().filter(|given| given.at > run.start && given.at + SETTLED <= run.end) {
        blocks.entry(given.request.piece).or_default().insert(given.request.begin, given.request.length.into());
    }
    let is_whole = |piece: u32, got: &HashMap<u32, u64>| {
        let start = u64::from(piece) * u64::from(torrent.piece_length);
        got.values().sum::<u64>() == (torrent.content.length() - start).min(torrent.piece_length.into())
    };
    blocks.iter().filter(|(piece, got)| is_whole(**piece, got)).map(|(piece, _)| *piece).collect()
}
