//! Control over HTTP of real processes: a pause stops the bytes on the link, a resume ends with the right file, a limit holds
//! from one second to the next.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// How soon a change must have taken effect.
const SOON: Duration = Duration::from_secs(1);

/// What a quiet link may carry within [`SOON`], in bytes: announces, and acknowledgements of what was on its way.
const QUIET: u64 = 30_000;

const PAGE: &str = "http://127.0.0.1:8080";

/// A seeder and a fetcher on hosts of their own, each with a page, and a tracker between them.
struct Room {
    lab: Lab,
    content: Content,
    hash: String,
    work: tempfile::TempDir,
    _processes: [Process; 3],
}

impl Room {
    /// `mbit` is the rate of the seeder's link.
    fn or_skip(test: &str, length: u64, mbit: u32) -> Option<Room> {
        let lab = Lab::or_skip(test, 3)?;
        lab.limit_link(0, mbit);
        let work = folder();
        let content = Content::file(&work.path().join("source"), "it.bin", length);
        let tracker = format!("http://{}:5000/announce", lab.host(2).address);
        let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[tracker]);
        let (file, source) = (torrent.path.display().to_string(), content.root.display().to_string());
        let out = work.path().join("out").display().to_string();
        let start = |host: usize, arguments: &[&str]| {
            let mut command = lab.host(host).command(MINITORRENT);
            command.args(arguments);
            Process::start(command, work.path(), arguments[0])
        };
        let tracker = start(2, &["tracker", "--no-web"]);
        let healthy = || lab.host(2).run("curl -s --fail http://127.0.0.1:5000/healthz").is_ok();
        assert!(wait_until(LIMIT, healthy), "no tracker: {}", tracker.stderr());
        let seed = start(0, &["seed", &file, "--dir", &source, "--page", "8080"]);
        assert!(wait_until(LIMIT, || is_served(lab.host(0))), "no page: {}", seed.stderr());
        let fetch = start(1, &["fetch", &file, "--out", &out, "--page", "8080"]);
        assert!(wait_until(LIMIT, || is_served(lab.host(1))), "no page: {}", fetch.stderr());
        let hash = torrent.info_hash_hex();
        for (host, process) in [(0, &seed), (1, &fetch)] {
            assert!(wait_until(LIMIT, || process.control_link().is_some()), "no link: {}", process.stdout());
            lab.host(host).open_control_link(&process.control_link().unwrap(), &jar(&work, host));
        }
        Some(Room { lab, content, hash, work, _processes: [tracker, seed, fetch] })
    }

    /// Has the page of a host do something about the torrent.
    fn order(&self, host: usize, verb: &str, body: &str) {
        let url = format!("{PAGE}/api/files/{}/{verb}", self.hash);
        post(self.lab.host(host), &jar(&self.work, host), &url, body);
    }

    /// Bytes that the seeder's host sends within [`SOON`].
    fn sent_soon(&self) -> u64 {
        let before = self.lab.host(0).sent();
        wait_until(SOON, || false);
        self.lab.host(0).sent() - before
    }

    fn activity(&self, host: usize) -> String {
        state(self.lab.host(host))["files"][0]["activity"].as_str().unwrap_or_default().to_owned()
    }

    fn is_whole(&self) -> bool {
        self.content.compare(&self.work.path().join("out")).is_ok()
    }
}

#[test]
fn a_pause_at_either_end_stops_the_bytes_on_the_link_and_a_resume_ends_with_the_right_file() {
    let Some(room) = Room::or_skip("pause and resume", 30_000_001, 32) else { return };
    let begun = room.lab.host(0).sent();
    for (host, running) in [(1, "fetching"), (0, "seeding")] {
        assert!(wait_until(LIMIT, || room.sent_soon() > 1_000_000), "nothing passes before host {host} is paused");
        room.order(host, "pause", "");
        assert_eq!(room.activity(host), "paused");
        // What the kernels hold of it may still pass, for as long as a change may take.
        wait_until(SOON, || false);
        let sent = room.sent_soon();
        assert!(sent < QUIET, "{sent} bytes passed within {SOON:?}, though host {host} was paused");
        assert!(!room.is_whole(), "there was nothing left to pause");
        room.order(host, "resume", "");
        assert_eq!(room.activity(host), running);
    }
    assert!(wait_until(LIMIT, || room.activity(1) == "seeding"), "it never ended");
    room.content.compare(&room.work.path().join("out")).unwrap();
    let sent = room.lab.host(0).sent() - begun;
    assert!(sent < room.content.length() * 5 / 4, "{sent} bytes were sent for a file of {}", room.content.length());
}

#[test]
fn a_limit_holds_within_a_second_for_one_file_and_for_all() {
    let Some(room) = Room::or_skip("limits", 100_000_001, 160) else { return };
    let all = format!("{PAGE}/api/limits");
    let seeder = room.lab.host(0).clone();
    assert!(wait_until(LIMIT, || room.sent_soon() > 5_000_000), "the link is not used");
    for (what, set) in [
        (
            "all",
            &(|rate: u64| post(&seeder, &jar(&room.work, 0), &all, &format!("{{\"upload\":{rate}}}"))) as &dyn Fn(u64),
        ),
        ("one file", &|rate| room.order(0, "limits", &format!("{{\"upload\":{rate}}}"))),
    ] {
        set(400_000);
        wait_until(SOON, || false);
        let sent = room.sent_soon() + room.sent_soon();
        assert!((400_000..1_100_000).contains(&sent), "{what}: {sent} bytes in two seconds at 400 kB/s");
        set(1_500_000);
        wait_until(SOON, || false);
        let sent = room.sent_soon() + room.sent_soon();
        assert!((2_000_000..3_800_000).contains(&sent), "{what}: {sent} bytes in two seconds at 1.5 MB/s");
        set(0);
    }
    assert!(wait_until(LIMIT, || room.activity(1) == "seeding"), "it never ended");
    room.content.compare(&room.work.path().join("out")).unwrap();
}

#[test]
fn a_tracker_hears_of_a_pause_and_of_what_comes_after() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "it.bin", 1_000_000);
    let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let mut command = Command::new(MINITORRENT);
    command.arg("seed").arg(&torrent.path).arg("--dir").arg(&content.root);
    command.args(["--port", "0", "--page", "0", "--json"]);
    let seed = Process::start(command, work.path(), "seed");
    assert!(wait_until(LIMIT, || seed.stdout().contains('\n')), "it never began: {}", seed.stderr());
    let said: Value = serde_json::from_str(&seed.stdout()).unwrap();
    let page = said["page"].as_str().expect("it says where its page is").trim_end_matches('/').to_owned();
    let file = format!("{page}/api/files/{}", torrent.info_hash_hex());
    let jar = jar(&work, 0);
    Host::here().open_control_link(said["control"].as_str().expect("it says what gives control"), &jar);

    let told = |event: &str| {
        let event = format!("event={event}");
        tracker.queries().iter().filter(|query| query.contains(&event)).count()
    };
    assert!(wait_until(LIMIT, || told("started") == 1), "it never announced: {}", seed.stderr());
    post(&Host::here(), &jar, &format!("{file}/pause"), "");
    assert!(wait_until(LIMIT, || told("stopped") == 1), "the tracker heard {:?}", tracker.queries());
    post(&Host::here(), &jar, &format!("{file}/resume"), "");
    assert!(wait_until(LIMIT, || told("started") == 2), "the tracker heard {:?}", tracker.queries());
    post(&Host::here(), &jar, &format!("{file}/remove"), "");
    assert!(wait_until(LIMIT, || told("stopped") == 2), "the tracker heard {:?}", tracker.queries());
    assert!(Path::new(&content.root).join("it.bin").is_file(), "what a person shares stays where it is");
}

fn is_served(host: &Host) -> bool {
    host.run(&format!("curl -s --fail {PAGE}/healthz")).is_ok()
}

fn state(host: &Host) -> Value {
    serde_json::from_slice(&host.run(&format!("curl -sS --fail {PAGE}/api/state")).unwrap()).unwrap()
}

/// The cookies of a host.
fn jar(work: &tempfile::TempDir, host: usize) -> PathBuf {
    work.path().join(format!("cookies-{host}"))
}

/// Posts JSON as somebody at that host who has opened the control link.
fn post(host: &Host, jar: &Path, url: &str, body: &str) {
    let body = if body.is_empty() { "{}" } else { body };
    let fields = "-H Accept:application/json -H Content-Type:application/json";
    host.run(&format!("curl -sS --fail-with-body {fields} --data {body} -b {} {url}", jar.display())).unwrap();
}
