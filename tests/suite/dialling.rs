//! A seeder dials the leechers that its tracker names, so that one that cannot come by itself is served too.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;

use crate::house::content::Content;
use crate::house::peer::{BITFIELD, INTERESTED, PIECE, REQUEST, Request, UNCHOKE, handshake, listen};
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::full_bitfield;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

/// How long anything may take that should happen within a second, on a machine that has other work.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_seeder_dials_the_leechers_that_its_tracker_names_and_a_seeder_only_once() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 1024 * 1024);
    let stub = TrackerStub::start(Answer::Peers(vec![]));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[stub.announce_url()]);
    let (served, blocks) = unbounded();
    let info_hash = torrent.info_hash;
    let leecher = listen(Ipv4Addr::LOCALHOST, move |mut wire| {
        wire.read_greeting()?;
        wire.stream.write_all(&handshake(&info_hash, [7; 20]))?;
        wire.send(INTERESTED, &[])?;
        wire.await_message(UNCHOKE)?;
        wire.send(REQUEST, &Request { piece: 0, begin: 0, length: 16 * 1024 }.payload())?;
        served.send(wire.await_message(PIECE)?.payload).unwrap();
        wire.await_message(PIECE).map(drop)
    });
    let (came, visits) = unbounded();
    let pieces = torrent.pieces();
    let seeder = listen(Ipv4Addr::LOCALHOST, move |mut wire| {
        came.send(()).unwrap();
        wire.read_greeting()?;
        wire.stream.write_all(&handshake(&info_hash, [8; 20]))?;
        wire.send(BITFIELD, &full_bitfield(pieces))?;
        wire.await_message(PIECE).map(drop)
    });
    let port = free_port();
    // Ourselves, and nobody: neither keeps the others from being dialled.
    let own = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    stub.answer(Answer::Peers(vec![own, seeder, leecher]));
    let mut command = Command::new(MINITORRENT);
    command.args(["seed", "--port", &port.to_string(), "--dir"]).arg(&content.root).arg(&torrent.path);
    let start = Instant::now();
    let seeding = Process::start(command, work.path(), "seeder");
    let block = blocks.recv_timeout(LIMIT);
    let block = block.unwrap_or_else(|_| panic!("the leecher is not dialled: {}", seeding.stderr()));
    assert_eq!(block.len(), 8 + 16 * 1024);
    assert!(start.elapsed() < LIMIT);
    visits.recv_timeout(LIMIT).expect("the seeder is dialled once");
    // What it is named as again changes nothing.
    let announces = stub.queries().len();
    wait_until(Duration::from_secs(5), || stub.queries().len() > announces + 1);
    assert!(visits.is_empty(), "a seeder is dialled again");
}

#[test]
fn a_leecher_that_announces_to_a_trackers_page_is_dialled_by_its_seeder_at_once() {
    let work = folder();
    let port = free_port();
    let mut command = Command::new(MINITORRENT);
    command.args(["tracker", "--port", &port.to_string(), "--seed-port", "0", "--data"]).arg(work.path().join("data"));
    let tracker = Process::start(command, work.path(), "tracker");
    let ask = |request: &str, body: &[u8]| -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let length = body.len();
        write!(stream, "{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n")?;
        write!(stream, "Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    assert!(wait_until(LIMIT, || ask("GET /healthz", b"").is_ok()), "it never listens: {}", tracker.stderr());
    let saved = ask("PUT /uploads/it.bin", &[7; 100_000]).unwrap();
    let (_, hash) = saved.split_once("\"info_hash\":\"").unwrap_or_else(|| panic!("{saved}"));
    let escaped: String =
        hash.as_bytes()[..40].chunks(2).map(|hex| format!("%{}", str::from_utf8(hex).unwrap())).collect();
    // From now on its seeder has no reason of its own to ask for five minutes.
    let complete = format!("GET /scrape?info_hash={escaped}");
    let is_seeded = || ask(&complete, b"").is_ok_and(|answer| answer.contains("8:completei1e"));
    assert!(wait_until(LIMIT, is_seeded), "it is never announced: {}", tracker.stderr());
    let (came, visits) = unbounded();
    let leecher = listen(Ipv4Addr::LOCALHOST, move |mut wire| {
        came.send(wire.read_greeting().is_ok()).unwrap();
        Ok(())
    });
    let peer = format!("peer_id=-XX0000-000000000000&port={}&uploaded=0&downloaded=0&left=100000", leecher.port());
    let begun = Instant::now();
    let answer = ask(&format!("GET /announce?info_hash={escaped}&{peer}&event=started"), b"").unwrap();
    assert!(answer.contains("5:peers"), "{answer}");
    assert_eq!(visits.recv_timeout(LIMIT), Ok(true), "{}", tracker.stderr());
    println!("dialled {:?} after its announce", begun.elapsed());
}
