//! A fetch that starts before its seeder, at a tracker that wants to be asked every half hour.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use crate::house::content::Content;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

const LIMIT: Duration = Duration::from_secs(40);

#[test]
fn a_fetch_before_its_seeder_asks_again_and_tells_all_that_happened_however_soon_it_ends() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 1_000_000);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let tracker = TrackerStub::start(half_hour(&[]));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let out = work.path().join("out");
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--port", &free_port().to_string()]);
    command.arg(&torrent.path).arg("--out").arg(&out);
    let fetch = Process::start(command, work.path(), "fetch");
    assert!(wait_until(LIMIT, || tracker.queries().len() >= 2), "it asked no second time: {}", fetch.stderr());

    let seeder = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 2), &unannounced, Duration::ZERO, || ());
    tracker.answer(half_hour(&[seeder.address]));
    let ended = fetch.ended(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    let queries = tracker.queries();
    let events: Vec<_> =
        queries.iter().filter_map(|query| Some(query.split_once("&event=")?.1.split('&').next()?.to_owned())).collect();
    assert_eq!(events, ["started", "completed", "stopped"], "{queries:?}");
    assert!(queries.last().is_some_and(|query| query.contains("event=stopped")), "{queries:?}");
}

/// An answer of these peers with an interval of half an hour, and no shorter one that would be allowed.
fn half_hour(peers: &[SocketAddrV4]) -> Answer {
    let compact: Vec<u8> =
        peers.iter().flat_map(|peer| [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat()).collect();
    let body = [format!("d8:intervali1800e5:peers{}:", compact.len()).as_bytes(), &compact, b"e"].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Answer::Raw([head.as_bytes(), &body].concat())
}
