//! Ctrl-C and SIGTERM: two seconds, the right exit code, and the tracker is told.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::house::content::Content;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

const SIGNALS: [Signal; 2] = [Signal::INT, Signal::TERM];

/// The promise.
const END_LIMIT: Duration = Duration::from_secs(2);

const START_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_tracker_ends_with_0() {
    for signal in SIGNALS {
        let work = folder();
        let port = free_port();
        let tracker = start(&["tracker", "--port", &port.to_string(), "--data"], work.path(), work.path());
        assert!(wait_until(START_LIMIT, || is_listening(port)), "it never listened: {}", tracker.stderr());
        assert_ends(tracker, signal, 0);
    }
}

#[test]
fn a_seeder_ends_with_0_and_tells_the_tracker() {
    for signal in SIGNALS {
        let work = folder();
        let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
        let torrent = a_torrent(work.path(), 1_000_000, &tracker);
        let arguments = ["seed", &path(&torrent.path), "--port", &free_port().to_string(), "--dir"];
        let seed = start(&arguments, &torrent.content.root, work.path());
        assert!(wait_until(START_LIMIT, || told(&tracker, "started")), "it never announced: {}", seed.stderr());
        assert_ends(seed, signal, 0);
        assert!(told(&tracker, "stopped"), "the tracker heard {:?}", tracker.queries());
    }
}

#[test]
fn a_fetch_ends_with_130_tells_the_tracker_and_goes_on_from_there() {
    for signal in SIGNALS {
        let work = folder();
        let content = Content::file(&work.path().join("source"), "a file.bin", 8_000_000);
        let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
        let pace = Duration::from_millis(10);
        let seeder = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 2), &unannounced, pace, || ());
        let tracker = TrackerStub::start(Answer::Peers(vec![seeder.address]));
        let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
        let (out, file, port) = (work.path().join("out"), path(&torrent.path), free_port().to_string());
        let arguments = ["fetch", &file, "--seed-for", "0", "--port", &port, "--out"];

        let fetch = start(&arguments, &out, work.path());
        let half = || seeder.given().len() as u64 * 16_384 > content.length() / 2;
        assert!(wait_until(START_LIMIT, half), "it never got half: {}", fetch.stderr());
        assert_ends(fetch, signal, 130);
        assert!(told(&tracker, "stopped"), "the tracker heard {:?}", tracker.queries());

        let ended = start(&arguments, &out, work.path()).ended(Duration::from_secs(30));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        content.compare(&out).unwrap();
        let given: u64 = seeder.given().iter().map(|given| u64::from(given.request.length)).sum();
        assert!(given < content.length() * 3 / 2, "{given} bytes were given for a file of {}", content.length());
    }
}

fn assert_ends(process: Process, signal: Signal, code: i32) {
    process.signal(signal);
    let ended = process.ended(END_LIMIT);
    assert_eq!(ended.code, Some(code), "after {signal:?} it said: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// Starts our binary, with a folder as the last argument.
fn start(arguments: &[&str], last: &Path, logs: &Path) -> Process {
    let mut command = Command::new(MINITORRENT);
    command.args(arguments).arg(last);
    Process::start(command, logs, arguments[0])
}

fn a_torrent(work: &Path, length: u64, tracker: &TrackerStub) -> Torrent {
    let content = Content::file(&work.join("source"), "a file.bin", length);
    Torrent::write(&work.join("it.torrent"), &content, PIECE_LENGTH, &[tracker.announce_url()])
}

fn told(tracker: &TrackerStub, event: &str) -> bool {
    tracker.queries().iter().any(|query| query.contains(&format!("event={event}")))
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
