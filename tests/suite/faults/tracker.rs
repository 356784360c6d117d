//! Trackers that go away and come back on another address: behind their name, or as another one that the metainfo names.
//!
//! Nothing in a swarm needs its tracker but newcomers, and those who are there look for it again once a minute at the least.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{CALM, START, start_fetch, start_seed};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, say, wait_until};

const LENGTH: u64 = 16 * 1024 * 1024 + 7;

/// What the tracker is called, and the port that it has on every host of a lab.
const NAME: &str = "tracker.room";
const PORT: u16 = 6969;

/// How long the tracker's machine is away: seconds, unless the environment asks for more. `AWAY=3600` is the hour.
const AWAY: Duration = Duration::from_secs(20);

/// By when everybody has found it again: the longest wait between two tries, and what a try takes that nobody answers.
const FOUND_AGAIN: Duration = Duration::from_secs(60 + 10);

#[test]
fn a_tracker_whose_machine_is_away_and_whose_name_then_leads_elsewhere_is_found_again_by_everybody() {
    let Some(lab) = Lab::or_skip("a tracker that comes back behind its name", 5) else { return };
    let away = env::var("AWAY").ok().and_then(|seconds| seconds.parse().ok()).map_or(AWAY, Duration::from_secs);
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let names = work.path().join("hosts");
    let leads_to = |host: &Host| fs::write(&names, format!("127.0.0.1 localhost\n{} {NAME}\n", host.address)).unwrap();
    let url = format!("http://{NAME}:{PORT}/announce");
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[url]);

    leads_to(lab.host(0));
    let before = Tracker::Ours.start(lab.host(0), &torrent, &work.path().join("before"));
    let resident = |host: &Host, command: &str, rest: &[&Path]| {
        let mut line = knowing_names(host, &names);
        line.args([command, "--port", "6881"]).args(rest).arg(&torrent.path);
        Process::start(line, work.path(), &format!("{command}-{}", host.address))
    };
    let seed =
        resident(lab.host(2), "seed", &["--upload-limit".as_ref(), "2M".as_ref(), "--dir".as_ref(), &content.root]);
    assert!(wait_until(START, || Tracker::Ours.seeders(lab.host(0), &torrent) == 1), "{}", seed.stderr());
    let fetch = |number: usize, out: &Path| {
        resident(lab.host(number), "fetch", &["--seed-for".as_ref(), "86400".as_ref(), "--out".as_ref(), out])
    };
    let (first, second) = (work.path().join("first"), work.path().join("second"));
    let early = fetch(3, &first);
    let has_begun = || fs::metadata(first.join(&content.name)).is_ok_and(|file| file.len() > 0);
    assert!(wait_until(START, has_begun), "{}", early.stderr());

    // The machine is switched off: whoever asks for it hears nothing at all.
    lab.plug_link(0, false);
    drop(before);
    let gone = Instant::now();
    let is_complete = |fetch: &Process| fetch.stdout().contains("is complete");
    assert!(wait_until(CALM, || is_complete(&early)), "without its tracker: {}", early.stderr());
    content.compare(&first).unwrap();
    let late = fetch(4, &second);
    assert!(wait_until(START, || late.stderr().contains("no peers; ")), "it said: {}", late.stderr());
    thread::sleep(away.saturating_sub(gone.elapsed()));
    assert!(!is_complete(&late), "it found its peers without a tracker");

    leads_to(lab.host(1));
    let _after = Tracker::Ours.start(lab.host(1), &torrent, &work.path().join("after"));
    let (away, back) = (gone.elapsed(), Instant::now());
    let known = || Tracker::Ours.seeders(lab.host(1), &torrent) + Tracker::Ours.fetchers(lab.host(1), &torrent);
    assert!(wait_until(FOUND_AGAIN, || known() == 3), "{} know it again: {}", known(), seed.stderr());
    let found = back.elapsed();
    assert!(wait_until(CALM, || is_complete(&late)), "{}", late.stderr());
    content.compare(&second).unwrap();
    say(&format!(
        "faults, the tracker's machine was away for {:.0} s and its name then led elsewhere: a fetch under way had ended right; all \
         three were back {:.1} s after it ({} s are promised), and the newcomer had the file after {:.1} s",
        away.as_secs_f64(),
        found.as_secs_f64(),
        FOUND_AGAIN.as_secs(),
        back.elapsed().as_secs_f64()
    ));
}

/// The program on a host where names are looked up in this file.
fn knowing_names(host: &Host, names: &Path) -> Command {
    let mut command = host.command("sh");
    command.arg("-c").arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"").arg(names).arg(MINITORRENT);
    command
}

#[test]
fn where_one_tracker_is_gone_a_newcomer_waits_for_the_other_that_the_metainfo_names() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let [first, second] = [free_port(), free_port()];
    let urls = [first, second].map(|port| format!("http://127.0.0.1:{port}/announce"));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let start_tracker = |port: u16| {
        let mut command = Command::new(MINITORRENT);
        command.args(["tracker", "--no-web", "--port", &port.to_string(), "--data"]).arg(work.path());
        Process::start(command, work.path(), &format!("tracker-{port}"))
    };
    let before = start_tracker(first);
    assert!(wait_until(START, || is_listening(first)), "{}", before.stderr());
    let seed = start_seed(&Host::here(), &torrent, free_port(), "2M", work.path());
    assert!(wait_until(START, || seed.stdout().contains("seeding on port")), "{}", seed.stderr());
    let (out, later) = (work.path().join("out"), work.path().join("later"));
    let running = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path());
    let has_begun = || fs::metadata(out.join(&content.name)).is_ok_and(|file| file.len() > 0);
    assert!(wait_until(START, has_begun), "{}", running.stderr());
    drop(before);

    // Who has met its peers needs no tracker.
    let ended = running.ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    // A newcomer waits, says for what, and goes on when there is one again.
    let waiting = start_fetch(&Host::here(), &torrent, free_port(), &later, work.path());
    let says_so = || waiting.stderr().contains("no peers; ");
    assert!(wait_until(Duration::from_secs(20), says_so), "it said: {}", waiting.stderr());
    let sentence =
        waiting.stderr().lines().last().unwrap_or_default().rsplit("; ").next().unwrap_or_default().to_owned();
    let _after = start_tracker(second);
    let back = Instant::now();
    let ended = waiting.ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&later).unwrap();
    say(&format!(
        "faults, the tracker goes: a fetch under way ended right without it; a newcomer said \"{sentence}\", and had the file {:.1} s \
         after the tracker was back on another address",
        back.elapsed().as_secs_f64()
    ));
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
