//! Metainfo and trackers that are broken or forged: one sentence and an exit code, never a panic, a hang or much memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::house::content::Content;
use crate::house::process::{Ended, MINITORRENT, Process, free_port};
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

/// Address space, not only what is touched: nothing here needs more, and a forged length would.
const ADDRESS_SPACE: &str = "--as=2000000000";

/// How long a command may take to refuse.
const REFUSAL: Duration = Duration::from_secs(10);

#[test]
fn a_torrent_cut_off_anywhere_is_refused_with_a_sentence() {
    let work = folder();
    let whole = fs::read(a_torrent(work.path(), &[]).path).unwrap();
    for tenth in 0..10 {
        refused(work.path(), "cut.torrent", &whole[..whole.len() * tenth / 10]);
    }
}

#[test]
fn a_json_metainfo_cut_off_or_forged_is_refused_with_a_sentence() {
    let work = folder();
    let good = a_json_metainfo(work.path());
    let whole = good.to_string();
    for tenth in 0..10 {
        refused(work.path(), "cut.json", &whole.as_bytes()[..whole.len() * tenth / 10]);
    }
    let forgeries = [
        ("name", Value::Null),
        ("length", json!(-1)),
        ("length", json!(0)),
        ("length", json!(9_223_372_036_854_775_807_u64)),
        ("length", json!(18_446_744_073_709_551_615_u64)),
        ("length", json!(1e300)),
        ("piece_length", json!(0)),
        ("piece_length", json!(4_294_967_295_u64)),
        ("pieces", json!([])),
        ("pieces", json!(["zz"])),
        ("pieces", json!(vec!["00"; 3])),
        ("info_hash", json!("00".repeat(20))),
        ("info_hash", json!(7)),
        ("files", json!([{"path": "a", "length": 1}])),
    ];
    for (field, forged) in forgeries {
        let mut bad = good.clone();
        bad[field] = forged;
        refused(work.path(), "forged.json", bad.to_string().as_bytes());
    }
}

#[test]
fn nesting_ten_thousand_deep_is_refused_with_a_sentence() {
    let work = folder();
    let depth = 10_000;
    refused(work.path(), "deep.torrent", "l".repeat(depth).as_bytes());
    refused(work.path(), "deep.torrent", ["l".repeat(depth), "e".repeat(depth)].concat().as_bytes());
    refused(work.path(), "deep.torrent", ["d4:info".repeat(depth), "e".repeat(depth)].concat().as_bytes());
    refused(work.path(), "deep.json", ["[".repeat(depth), "]".repeat(depth)].concat().as_bytes());
    refused(work.path(), "deep.json", ["{\"files\":[".repeat(depth), "]}".repeat(depth)].concat().as_bytes());
}

#[test]
fn a_torrent_whose_numbers_lie_is_refused_with_a_sentence() {
    let work = folder();
    let max = i64::MAX;
    let hash = "12345678901234567890";
    let one_file = |length: i64, piece_length: i64, pieces: &str| {
        let (count, name) = (pieces.len(), "4:name1:a");
        format!("d4:infod6:lengthi{length}e{name}12:piece lengthi{piece_length}e6:pieces{count}:{pieces}ee")
    };
    let two_files = |length: i64| {
        let file = |name: char| format!("d6:lengthi{length}e4:pathl1:{name}ee");
        let files = [file('a'), file('b')].concat();
        format!("d4:infod5:filesl{files}e4:name1:d12:piece lengthi16384e6:pieces20:{hash}ee")
    };
    let forged = [
        one_file(max, 16_384, hash),
        one_file(max - 1, max, hash),
        one_file(-1, 16_384, hash),
        one_file(0, 16_384, ""),
        one_file(1, 0, hash),
        one_file(1, -16_384, hash),
        one_file(1, 16_384, ""),
        one_file(1, 16_384, "1234567890123456789"),
        one_file(16_385, 16_384, hash),
        two_files(max),
        two_files(max / 2 + 1),
        two_files(0),
        "d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces9223372036854775807:".into(),
        "d4:info9:not a dicte".into(),
        "de".into(),
        "i1e".into(),
    ];
    for bytes in forged {
        refused(work.path(), "forged.torrent", bytes.as_bytes());
    }
}

#[test]
fn what_is_no_metainfo_at_all_is_refused_with_a_sentence() {
    let work = folder();
    refused(work.path(), "empty.torrent", b"");
    refused(work.path(), "page.json", b"<!doctype html><title>404</title>");
    refused(work.path(), "noise.torrent", &[0xff; 4096]);
    let missing = show(work.path(), "missing.torrent");
    assert_eq!(missing.code, Some(1));
    assert_one_sentence(&missing, "missing.torrent");
}

#[test]
fn unsafe_names_never_leave_the_download_folder() {
    for (name, path) in [("../evil.bin", "../evil.bin"), ("d", "d/../../evil.bin")] {
        let work = folder();
        let source = Content::file(&work.path().join("source"), "evil.bin", 1_000_000);
        let root = source.root.join("deep");
        fs::create_dir_all(root.join("d")).unwrap();
        let evil = Content { root, name: name.into(), files: vec![(path.into(), source.length())] };
        let torrent = Torrent::write(&work.path().join("it.torrent"), &evil, PIECE_LENGTH, &[]);
        let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
        let tracker = TrackerStub::start(Answer::Peers(vec![seeder.address]));
        let torrent = Torrent::write(&torrent.path, &evil, PIECE_LENGTH, &[tracker.announce_url()]);

        let (out, around) = (work.path().join("around/out"), work.path().join("around"));
        fs::create_dir_all(&out).unwrap();
        let ended = start_fetch(&torrent, &out, work.path()).ended(Duration::from_secs(60));
        assert_eq!(ended.code, Some(0), "{path}: {}", ended.stderr);
        assert_eq!(names_in(&around), ["out"], "{path} left the folder");
        let whole = fs::read(source.root.join("evil.bin")).unwrap();
        assert!(
            files_below(&out).iter().any(|file| fs::read(file).unwrap() == whole),
            "{path} is nowhere in the folder"
        );
    }
}

#[test]
fn a_fetch_goes_past_a_tracker_that_answers_html_to_the_next() {
    let work = folder();
    let torrent = a_torrent(work.path(), &[]);
    let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
    let (html, good) = (TrackerStub::start(Answer::Html), TrackerStub::start(Answer::Peers(vec![seeder.address])));
    let torrent = a_torrent(work.path(), &[html.announce_url(), good.announce_url()]);
    let ended = start_fetch(&torrent, &work.path().join("out"), work.path()).ended(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&work.path().join("out")).unwrap();
    assert!(!html.queries().is_empty(), "the first tier was never asked");
}

#[test]
fn a_fetch_whose_only_tracker_is_broken_waits_in_little_memory_and_ends_when_told() {
    for answer in [Answer::Html, Answer::Silence] {
        let work = folder();
        let tracker = TrackerStub::start(answer.clone());
        let torrent = a_torrent(work.path(), &[tracker.announce_url()]);
        let mut fetch = start_fetch(&torrent, &work.path().join("out"), work.path());
        let asked = wait_until(Duration::from_secs(20), || !tracker.queries().is_empty());
        assert!(asked, "{answer:?}: the tracker was never asked: {}", fetch.stderr());
        assert!(fetch.wait(Duration::from_secs(2)).is_none(), "{answer:?}: it gave up: {}", fetch.stderr());
        assert!(fetch.usage().peak_kib < 64 * 1024, "{answer:?}: {:?}", fetch.usage());
        fetch.signal(Signal::INT);
        let ended = fetch.ended(Duration::from_secs(2));
        assert_eq!(ended.code, Some(130), "{answer:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{answer:?}: {}", ended.stderr);
    }
}

#[test]
fn no_strangers_text_reaches_a_terminal_or_the_log_as_it_came() {
    const EVIL: &str = "a\x1b[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\r\nerror: b\u{2028}c";
    let work = folder();
    let text = |text: &str| format!("{}:{text}", text.len());
    let evil = text(EVIL);
    let body = format!("d14:failure reason{}15:warning message{evil}e", text(&format!("reason {EVIL}")));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let tracker = TrackerStub::start(Answer::Raw((head + &body).into_bytes()));
    let file = |path: &str| format!("d6:lengthi5e4:pathl{}ee", text(path));
    let link = format!("d4:attr1:l6:lengthi0e4:pathl{}e12:symlink pathl2:..ee", text("link\x1b[2J"));
    let torrent = format!(
        "d8:announce{}7:comment{evil}10:created by{evil}4:infod5:filesl{}{}{link}e4:name{evil}\
         12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHHee",
        text(&tracker.announce_url()),
        file(EVIL),
        file(&format!("../{EVIL}")),
    );
    fs::write(work.path().join("evil.torrent"), torrent).unwrap();
    let mut said = Vec::new();
    for arguments in [&["show", "evil.torrent"][..], &["show", "evil.torrent", "--json"], &["verify", "evil.torrent"]] {
        let ended = bounded(work.path(), arguments).ended(REFUSAL);
        said.extend([ended.stdout, ended.stderr]);
    }
    let port = free_port().to_string();
    let fetch = bounded(work.path(), &["fetch", "-vv", "evil.torrent", "--out=out", "--port", &port]);
    let tells = |fetch: &Process| {
        let said = fetch.stderr();
        ["reason", "link", "is saved as", " %"].iter().all(|word| said.contains(word))
    };
    assert!(wait_until(Duration::from_secs(30), || tells(&fetch)), "it does not say all: {}", fetch.stderr());
    fetch.signal(Signal::INT);
    let ended = fetch.ended(Duration::from_secs(5));
    said.extend([ended.stdout, ended.stderr]);
    for said in said {
        let harm = said.chars().find(|c| *c != '\n' && (c.is_control() || minitorrent::text::is_deceptive(*c)));
        assert_eq!(harm, None, "{}", said.escape_debug());
        assert!(!said.lines().any(|line| line.starts_with("error: b")), "a forged line: {said}");
    }
}

/// Writes a broken metainfo and holds both who print it and who fetch it to a clear refusal.
fn refused(work: &Path, name: &str, bytes: &[u8]) {
    fs::write(work.join(name), bytes).unwrap();
    let fetch = bounded(work, &["fetch", name, "--port", &free_port().to_string()]).ended(REFUSAL);
    for ended in [show(work, name), fetch] {
        let start = bytes[..bytes.len().min(200)].escape_ascii();
        assert_eq!(ended.code, Some(1), "{name} ({start}) was taken: {}{}", ended.stdout, ended.stderr);
        assert_one_sentence(&ended, name);
    }
}

fn assert_one_sentence(ended: &Ended, names: &str) {
    let said = ended.stderr.trim();
    assert!(!said.is_empty() && said.lines().count() == 1, "not one sentence: {said:?}");
    assert!(said.contains(names), "it does not say which file: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

fn show(work: &Path, name: &str) -> Ended {
    bounded(work, &["show", name]).ended(REFUSAL)
}

/// Starts our binary in a folder, in a bounded address space.
fn bounded(work: &Path, arguments: &[&str]) -> Process {
    let mut command = Command::new("prlimit");
    command.args([ADDRESS_SPACE, MINITORRENT]).args(arguments).current_dir(work);
    Process::start(command, work, arguments[0])
}

fn start_fetch(torrent: &Torrent, out: &Path, logs: &Path) -> Process {
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--port", &free_port().to_string(), "--out"]).arg(out);
    command.arg(&torrent.path);
    Process::start(command, logs, "fetch")
}

fn a_torrent(work: &Path, trackers: &[String]) -> Torrent {
    let content = Content::file(&work.join("source"), "a file.bin", 1_000_000);
    Torrent::write(&work.join("it.torrent"), &content, PIECE_LENGTH, trackers)
}

/// What `create` makes of a file.
fn a_json_metainfo(work: &Path) -> Value {
    let content = Content::file(&work.join("source"), "a file.bin", 1_000_000);
    let file = content.root.join(&content.name).display().to_string();
    let created = bounded(work, &["create", &file, "--out", "good.json"]).ended(Duration::from_secs(20));
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    serde_json::from_slice(&fs::read(work.join("good.json")).unwrap()).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = names_in(folder).into_iter().map(|name| folder.join(name));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
