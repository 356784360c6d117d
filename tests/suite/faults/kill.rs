//! `kill -9` of tracker, seeder and fetcher at random moments, each started again at once: the file arrives, and is right.
//! That no complete piece is fetched twice is shown in `kill9`, where the seeder keeps a book of what it gave.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{CALM, START, start_fetch, start_seed, times};
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::{chance, folder, say, wait_until};

const LENGTH: u64 = 24 * 1024 * 1024 + 4_321;

/// Slow enough that the file outlasts some kills; when it is complete it is fetched again into another folder.
const LINK: &str = "4M";

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Tracker,
    Seeder,
    Fetcher,
}

#[test]
fn whoever_is_killed_and_started_again_the_file_arrives() {
    let kills = times(5);
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let [tracker_port, seed_port, fetch_port] = [free_port(), free_port(), free_port()];
    let urls = [format!("http://127.0.0.1:{tracker_port}/announce")];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let here = Host::here();
    let start_tracker = || {
        let mut command = Command::new(MINITORRENT);
        command.args(["tracker", "--no-web", "--port", &tracker_port.to_string(), "--data"]).arg(work.path());
        let tracker = Process::start(command, work.path(), "tracker");
        let listens = || TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, tracker_port)).is_ok();
        assert!(wait_until(START, listens), "{}", tracker.stderr());
        tracker
    };
    let start_seeder = || {
        let seed = start_seed(&here, &torrent, seed_port, LINK, work.path());
        assert!(wait_until(START, || seed.stdout().contains("seeding on port")), "{}", seed.stderr());
        seed
    };
    let (mut tracker, mut seed) = (start_tracker(), start_seeder());
    let (mut files, mut out) = (0, work.path().join("out0"));
    let mut fetch = start_fetch(&here, &torrent, fetch_port, &out, work.path());
    let mut complete = |fetch: Process, out: &std::path::Path| {
        let ended = fetch.ended(CALM);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        content.compare(out).unwrap();
        files += 1;
        files
    };
    for victim in [Victim::Tracker, Victim::Seeder, Victim::Fetcher].repeat(kills) {
        thread::sleep(Duration::from_millis(50 + chance(700)));
        if !fetch.is_running() {
            let number = complete(fetch, &out);
            out = work.path().join(format!("out{}", number % 2));
            let _ = std::fs::remove_dir_all(&out);
            fetch = start_fetch(&here, &torrent, fetch_port, &out, work.path());
        }
        match victim {
            Victim::Tracker => {
                tracker.signal(Signal::KILL);
                assert!(tracker.wait(START).is_some());
                tracker = start_tracker();
            }
            Victim::Seeder => {
                seed.signal(Signal::KILL);
                assert!(seed.wait(START).is_some());
                seed = start_seeder();
            }
            Victim::Fetcher => {
                fetch.signal(Signal::KILL);
                assert!(fetch.wait(START).is_some());
                fetch = start_fetch(&here, &torrent, fetch_port, &out, work.path());
            }
        }
    }
    let files = complete(fetch, &out);
    say(&format!(
        "faults, kill -9: {kills} times each of tracker, seeder and fetcher; files that arrived, each right: {files}"
    ));
}
