//! Clocks that jump. What runs goes by a clock that never does; only dates of files are compared, and only with each other.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::{CALM, START, start_fetch, whole_pieces};
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, say, skip, wait_until};

const LENGTH: u64 = 16 * 1024 * 1024 + 11;

/// What one seeder gives a block in: 3 MB/s.
const PACE: Duration = Duration::from_millis(5);

/// A piece counts as complete when its last block was given this long before a kill.
const SETTLED: Duration = Duration::from_millis(200);

#[test]
fn while_the_clock_jumps_by_a_year_and_back_a_fetch_goes_on() {
    let Some(library) = faketime() else {
        return skip("a clock that jumps under a fetch", "libfaketime is not installed (package faketime)");
    };
    let work = folder();
    let (torrent, _seeder, _tracker) = a_seeded_torrent(work.path());
    let (out, clock) = (work.path().join("out"), work.path().join("clock"));
    fs::write(&clock, "+0").unwrap();
    let mut command = Command::new(MINITORRENT);
    command
        .args(["fetch", "--seed-for", "0", "--port", &free_port().to_string(), "--out"])
        .arg(&out)
        .arg(&torrent.path);
    // A clock that is set leaves the one alone that counts from the start of the machine, and so does this.
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let begun = Instant::now();
    let mut fetch = Process::start(command, work.path(), "fetch");
    let jumps = ["+365d", "-365d", "+30y", "+0"];
    for jump in jumps {
        std::thread::sleep(Duration::from_millis(700));
        assert!(fetch.is_running(), "it ended before {jump}: {}", fetch.stderr());
        fs::write(&clock, jump).unwrap();
    }
    let ended = fetch.ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&out).unwrap();
    say(&format!(
        "faults, clock: it jumped {} times by up to 30 years under a fetch, which ended right after {:.1} s",
        jumps.len(),
        begun.elapsed().as_secs_f64()
    ));
}

#[test]
fn after_a_kill_and_a_clock_that_was_set_back_or_ahead_no_complete_piece_is_fetched_again() {
    for (name, shift) in [("ahead", 1), ("back", -1)] {
        let work = folder();
        let (torrent, seeder, _tracker) = a_seeded_torrent(work.path());
        let out = work.path().join("out");
        let mut fetch = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path());
        let half = torrent.pieces() as usize / 2;
        let whole = || whole_pieces(&torrent, &seeder.given(), Instant::now() - SETTLED);
        assert!(wait_until(START, || whole().len() >= half), "{}", fetch.stderr());
        fetch.signal(Signal::KILL);
        fetch.wait(START);
        let (whole, killed) = (whole(), Instant::now());
        // The clock was a day off while the file was written, or while the log was.
        let day = Duration::from_secs(86_400);
        let date = if shift > 0 { SystemTime::now() + day } else { SystemTime::now() - day };
        File::options().write(true).open(out.join(&torrent.content.name)).unwrap().set_modified(date).unwrap();

        let ended = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path()).ended(CALM);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        torrent.content.compare(&out).unwrap();
        let given = seeder.given();
        let again = |piece: &u32| given.iter().any(|given| given.at > killed && given.request.piece == *piece);
        let again = whole.keys().filter(|piece| again(piece)).count();
        say(&format!(
            "faults, clock: a day {name} at a kill: {again} of {} complete pieces were fetched again",
            whole.len()
        ));
        assert_eq!(again, 0);
    }
}

/// Where Debian's package puts it.
fn faketime() -> Option<PathBuf> {
    let folders =
        fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|library| library.exists())
}

fn a_seeded_torrent(work: &Path) -> (Torrent, SeedingPeer, TrackerStub) {
    let content = Content::file(&work.join("source"), "a file.bin", LENGTH);
    let unannounced = Torrent::write(&work.join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 2), &unannounced, PACE, || ());
    let tracker = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    (torrent, seeder, tracker)
}
