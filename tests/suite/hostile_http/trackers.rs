//! Trackers, and servers of metainfos, that answer a fetcher with something else: it goes on to the next, or says in a sentence
//! why not, and asks for nothing but what http, https and udp lead to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::house::content::Content;
use crate::house::process::{Ended, MINITORRENT, Process, free_port};
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub, announce_answer};
use crate::house::{folder, say};

/// The most memory of a fetch, in KiB, whatever its trackers say.
const MOST_MEMORY: u64 = 64 * 1024;

fn response(status: &str, fields: &str, body: &[u8]) -> Answer {
    let length = if fields.contains("Length") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{length}{fields}\r\n");
    Answer::Raw([head.as_bytes(), body].concat())
}

fn redirect(to: &str) -> Answer {
    response("302 Found", &format!("Location: {to}\r\n"), b"")
}

/// A gzip file of a few hundred KiB that unpacks to 200 MiB of zeros.
fn bomb(work: &Path) -> Vec<u8> {
    let file = work.join("bomb.gz");
    let script = format!("head -c 200M /dev/zero | gzip -9 > '{}'", file.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    fs::read(file).unwrap()
}

/// What a tracker may answer instead of peers.
fn bad_answers(work: &Path) -> Vec<(&'static str, Answer)> {
    let secret = work.join("secret").display().to_string();
    fs::write(&secret, b"d5:peers0:e").unwrap();
    let elsewhere = TrackerStub::start(redirect("/announce")).announce_url();
    let deep = ["l".repeat(100_000), "e".repeat(100_000)].concat();
    let lengths = "d5:peers99999999999:".to_owned() + &"x".repeat(1000);
    let mut answers = vec![
        ("a redirect to itself", redirect("/announce")),
        ("a redirect to a loop elsewhere", redirect(&elsewhere)),
        ("a redirect to a file", redirect(&format!("file://{secret}"))),
        ("a redirect to a path that is a file", redirect(&secret)),
        ("a redirect without a place", response("301 Moved Permanently", "", b"")),
        ("a redirect to nonsense", redirect("http://[::1:::]:99999/\u{fffd}")),
        ("a bomb", response("200 OK", "Content-Encoding: gzip\r\n", &bomb(work))),
        ("a bomb in pieces", response("200 OK", "Content-Encoding: gzip, gzip, deflate\r\n", &bomb(work))),
        ("a body without end", Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\nd5:peers0:".to_vec())),
        (
            "a body of text without end",
            Answer::Endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<".to_vec()),
        ),
        ("a head without end", Answer::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec())),
        ("chunks without end", Answer::Endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())),
        ("a length that lies", response("200 OK", "Content-Length: 18446744073709551615\r\n", b"d5:peers0:e")),
        ("a length that is none", response("200 OK", "Content-Length: -1\r\n", b"d5:peers0:e")),
        ("two lengths", response("200 OK", "Content-Length: 3\r\nContent-Length: 9\r\n", b"d5:peers0:e")),
        ("lists within lists", response("200 OK", "", deep.as_bytes())),
        ("peers of 99 GB", response("200 OK", "", lengths.as_bytes())),
        ("a number of many digits", response("200 OK", "", format!("d8:intervali{}ee", "9".repeat(5000)).as_bytes())),
        ("an old protocol", Answer::Raw(b"d5:peers0:e".to_vec())),
        ("nothing", Answer::Raw(Vec::new())),
        ("status 999", response("999 Odd", "", b"")),
        ("status 100 for ever", Answer::Raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000))),
        ("a terminal's orders", response("200 OK", "", b"d14:failure reason12:\x1b[2J\x1b]0;x\x07\n\ne")),
    ];
    for scheme in ["ftp", "gopher", "data", "javascript", "udp", "wss", "ssh", "file"] {
        answers.push(("a redirect to another scheme", redirect(&format!("{scheme}://127.0.0.1:1/announce"))));
    }
    answers
}

#[test]
fn a_fetch_goes_past_every_bad_tracker_to_the_good_one() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 1_000_000);
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
    let good = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let answers = bad_answers(work.path());
    let bad: Vec<_> = answers.iter().map(|(what, answer)| (*what, TrackerStub::start(answer.clone()))).collect();
    let urls: Vec<String> = bad.iter().map(|(_, stub)| stub.announce_url()).chain([good.announce_url()]).collect();
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &urls);

    let out = work.path().join("out");
    let start = Instant::now();
    let (ended, peak) = fetch(&torrent.path, &out, work.path(), Duration::from_secs(90));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    for (what, stub) in &bad {
        let asked = stub.queries();
        assert!(!asked.is_empty(), "{what}: it was never asked");
        assert!(asked.len() <= 10, "{what}: it was asked {} times", asked.len());
    }
    assert!(!ended.stderr.contains('\x1b'), "a tracker writes to the terminal: {}", ended.stderr.escape_debug());
    say(&format!(
        "hostile trackers: {} bad answers, the file is right after {:.1?}, memory {:.1} MiB",
        bad.len(),
        start.elapsed(),
        peak as f64 / 1024.0
    ));
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

#[test]
fn urls_that_lead_elsewhere_are_not_asked_and_a_hundred_thousand_tiers_cost_nothing() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 1_000_000);
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
    let good = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let odd = [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "wss://127.0.0.1:1/announce",
        "ftp://127.0.0.1/announce",
        "gopher://127.0.0.1:1/",
        "data:text/plain,d5:peers0:e",
        "javascript:alert(1)",
        "http://",
        "http:///announce",
        "http://:80/",
        "http://user:pass@127.0.0.1:1/announce",
        "http://tracker.invalid/announce",
        "http://пример.invalid/announce",
        "http://127.0.0.1:99999/announce",
        "http://127.0.0.1:1/a b\r\nX: y",
        "udp://",
        "udp://127.0.0.1",
        "udp://127.0.0.1:0/announce",
        "udp://127.0.0.1:99999",
        "udp://user@127.0.0.1:1",
        "http://[fe80::1%25eth0]:1/",
        "http://0x7f.1:1/announce",
        "\u{202e}ptth://127.0.0.1/",
        "",
        " ",
        "\0",
        "://",
        "http",
        "unix:///run/docker.sock",
    ];
    let mut urls: Vec<String> = odd.map(str::to_owned).into();
    urls.push(good.announce_url());
    urls.extend((0..100_000).map(|number| format!("http://127.0.0.1:1/{number}")));
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &urls);
    let out = work.path().join("out");
    let start = Instant::now();
    let (ended, peak) = fetch(&torrent.path, &out, work.path(), Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    assert!(ended.stderr.len() < 100_000, "{} bytes of complaints", ended.stderr.len());
    say(&format!(
        "hostile trackers: {} odd URLs and 100,000 tiers, the file is right after {:.1?}, memory {:.1} MiB",
        odd.len(),
        start.elapsed(),
        peak as f64 / 1024.0
    ));
    assert!(peak < 2 * MOST_MEMORY, "{peak} KiB");
}

#[test]
fn of_this_machine_a_metainfo_has_trackers_asked_and_nothing_else_unless_the_user_names_it() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 100_000);
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
    let service = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let inside = service.announce_url().replace("/announce", "/admin?delete=all");
    let by_name = inside.replace("127.0.0.1", "localhost");
    let by_path = service.announce_url() + "/../admin";
    let redirecting = TrackerStub::start(redirect(&inside));
    let good = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let urls = [inside.clone(), by_name, by_path, redirecting.announce_url(), good.announce_url()];
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &urls);
    let (ended, _) = fetch(&torrent.path, &work.path().join("out"), work.path(), Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!((service.queries(), redirecting.queries().is_empty()), (vec![], false));

    // The last word is the user's: the very URL, or the server that the metainfo came from.
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &[]);
    let mut command = fetching(&work.path().join("typed"));
    command.args(["--tracker", &inside]).arg(&torrent.path);
    let typed = Process::start(command, work.path(), "typed").ended(Duration::from_secs(60));
    assert_eq!(typed.code, Some(0), "{}", typed.stderr);
    assert!(service.queries().iter().any(|asked| asked.starts_with("/admin?delete=all&info_hash=")));
    let from = TrackerStub::start(Answer::Html);
    let url = from.announce_url().replace("/announce", "/it");
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &[url.clone(), good.announce_url()]);
    from.answer(response("200 OK", "", &fs::read(&torrent.path).unwrap()));
    let (ended, _) = fetch(Path::new(&url), &work.path().join("from"), work.path(), Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(from.queries().iter().any(|asked| asked.starts_with("/it?info_hash=")), "{:?}", from.queries());
}

#[test]
fn ten_thousand_peers_that_are_none_do_not_hide_the_one_that_is() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 1_000_000);
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start([127, 0, 0, 2].into(), &torrent, Duration::ZERO, || ());
    let odd = [[0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1], [239, 1, 1, 1], [0, 1, 2, 3]].map(Ipv4Addr::from);
    let mut peers: Vec<SocketAddrV4> = odd.map(|ip| SocketAddrV4::new(ip, 6881)).into();
    peers.extend((1..200).map(|last| SocketAddrV4::new([127, 0, 9, last].into(), 0)));
    peers.extend((0..900).map(|number| SocketAddrV4::new([127, 1, (number >> 8) as u8, number as u8].into(), 1)));
    peers.push(seeder.address);
    peers.extend((0..9000).map(|number| SocketAddrV4::new([127, 2, (number >> 8) as u8, number as u8].into(), 1)));
    let tracker = TrackerStub::start(response("200 OK", "", &announce_answer(&peers)));
    let torrent = Torrent::write(&torrent.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let out = work.path().join("out");
    let start = Instant::now();
    let (ended, peak) = fetch(&torrent.path, &out, work.path(), Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    say(&format!(
        "hostile trackers: {} peers of which one is there, the file is right after {:.1?}, memory {:.1} MiB",
        peers.len(),
        start.elapsed(),
        peak as f64 / 1024.0
    ));
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

#[test]
fn a_server_of_metainfos_that_answers_something_else_is_refused_with_a_sentence() {
    let work = folder();
    let answers = bad_answers(work.path());
    // A metainfo may be long, so one without end is read to that limit; its memory is another row.
    let answers: Vec<_> = answers.iter().filter(|(_, answer)| !matches!(answer, Answer::Endless(_))).collect();
    for (what, answer) in &answers {
        let stub = TrackerStub::start(answer.clone());
        let meta = stub.announce_url();
        let (ended, peak) = fetch(Path::new(&meta), &work.path().join("out"), work.path(), Duration::from_secs(30));
        assert_eq!(ended.code, Some(1), "{what}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stderr.trim().lines().count(), 1, "{what}: {:?}", ended.stderr);
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains('\x1b'), "{what}: {:?}", ended.stderr);
        assert!(stub.queries().len() <= 4, "{what}: it was asked {} times", stub.queries().len());
        assert!(peak < MOST_MEMORY, "{what}: {peak} KiB");
    }
    for url in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/it.torrent",
        "data://text/plain,d",
        "http://",
        "gopher://127.0.0.1:1/",
        "udp://127.0.0.1:1/",
    ] {
        let (ended, _) = fetch(Path::new(url), &work.path().join("out"), work.path(), Duration::from_secs(30));
        assert_eq!((ended.code, ended.stderr.trim().lines().count()), (Some(1), 1), "{url}: {}", ended.stderr);
    }
    assert!(!work.path().join("out").exists(), "something was fetched");
    say(&format!(
        "hostile trackers: {} bad answers in the place of a metainfo, a sentence for each",
        answers.len() + 6
    ));
}

/// Fetches to the end; what it left, and the most memory that it was seen to hold, in KiB.
fn fetch(meta: &Path, out: &Path, logs: &Path, limit: Duration) -> (Ended, u64) {
    let mut command = fetching(out);
    command.arg(meta);
    let mut fetch = Process::start(command, logs, "fetch");
    let start = Instant::now();
    let mut peak = 0;
    while fetch.is_running() && start.elapsed() < limit {
        peak = peak.max(fetch.peak_kib().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    (fetch.ended(Duration::ZERO), peak)
}

fn fetching(out: &Path) -> Command {
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--port", &free_port().to_string(), "--out"]).arg(out);
    command
}
