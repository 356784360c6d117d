//! Peers that break the protocol: a fetch ends with the right file beside each of them, a seeder hangs up and serves on.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::house::content::Content;
use crate::house::peer::{self, BITFIELD, HAVE, INTERESTED, PIECE, REQUEST, Request, UNCHOKE, Wire};
use crate::house::process::{MINITORRENT, Process, Usage, free_port};
use crate::house::seeding_peer::{Bytes, SeedingPeer, full_bitfield};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

/// 21 pieces, so that the bitfield's last byte has three spare bits.
const LENGTH: u64 = 20 * PIECE_LENGTH as u64 + 1_000;
const PIECES: u32 = 21;

/// More than a fetch of this file ever needs, and less than any frame of 4 GiB.
const MEMORY_LIMIT_KIB: u64 = 64 * 1024;

/// What a peer does that no peer may do.
type Misdeed = fn(&mut Wire, &Torrent) -> io::Result<()>;

/// Misdeeds that either side of a connection may commit.
const MISDEEDS: [(&str, Misdeed); 9] = [
    ("a wrong info hash", |wire, _| wire.greet(&[0x5a; 20])),
    ("something that is no handshake", |wire, _| wire.stream.write_all(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")),
    ("a frame of 4 GiB", |wire, torrent| {
        wire.greet(&torrent.info_hash)?;
        wire.stream.write_all(&[&[0xff; 4][..], &[PIECE], &[0; 65_536]].concat())
    }),
    ("a bitfield with a spare bit", |wire, torrent| {
        wire.greet(&torrent.info_hash)?;
        wire.send(BITFIELD, &[0xff, 0xff, 0xff])
    }),
    ("a bitfield that is too short", |wire, torrent| {
        wire.greet(&torrent.info_hash)?;
        wire.send(BITFIELD, &[0xff, 0xff])
    }),
    ("a bitfield that is too long", |wire, torrent| {
        wire.greet(&torrent.info_hash)?;
        wire.send(BITFIELD, &[0xff, 0xff, 0xf8, 0])
    }),
    ("a have beyond the last piece", |wire, torrent| {
        greet_well(wire, torrent)?;
        wire.send(HAVE, &PIECES.to_be_bytes())
    }),
    ("a request out of range", |wire, torrent| {
        greet_well(wire, torrent)?;
        wire.send(INTERESTED, &[])?;
        wire.send(REQUEST, &Request { piece: 0, begin: PIECE_LENGTH - 1, length: 16_384 }.payload())
    }),
    ("a piece that nobody asked for", |wire, torrent| {
        greet_well(wire, torrent)?;
        wire.send(PIECE, &[&[0; 8][..], &[0x55; 16_384]].concat())
    }),
];

/// What a seeder may forgive: it needs no blocks, so what it never asked for can do no harm.
const FORGIVEN_BY_A_SEEDER: &str = "a piece that nobody asked for";

#[test]
fn a_fetch_ends_right_beside_a_peer_that_breaks_the_protocol() {
    for (name, misdeed) in MISDEEDS {
        let work = folder();
        let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
        let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
        let done = Arc::new(AtomicBool::new(false));
        let bad = start_bad_peer(&unannounced, misdeed, done.clone());
        // The honest one waits, so that the fetch cannot end before it has met the other.
        let was_bad = move || assert!(wait_until(Duration::from_secs(30), || done.load(Ordering::Relaxed)));
        let honest = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 3), &unannounced, Duration::ZERO, was_bad);
        let tracker = TrackerStub::start(Answer::Peers(vec![bad, honest.address]));
        let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);

        let out = work.path().join("out");
        let mut command = Command::new(MINITORRENT);
        command.args(["fetch", "--seed-for", "600", "--port", &free_port().to_string(), "--out"]).arg(&out);
        command.arg(&torrent.path);
        let mut fetch = Process::start(command, work.path(), "fetch");
        let finished = wait_until(Duration::from_secs(60), || content.compare(&out).is_ok());
        assert!(finished, "beside {name}: {:?}; it said: {}", content.compare(&out), fetch.stderr());
        assert!(fetch.is_running(), "{name} ended the fetch: {}", fetch.stderr());
        let peak = fetch.usage().peak_kib;
        assert!(peak < MEMORY_LIMIT_KIB, "beside {name} it took {peak} KiB");
        assert!(!fetch.stderr().contains("panicked"), "{name}: {}", fetch.stderr());
    }
}

#[test]
fn a_fetch_uses_the_only_peer_that_has_it_however_wastefully_that_gives() {
    // How many blocks it gives on a connection, and how often it sends each.
    for (blocks, times) in [(20, 1), (usize::MAX, 2), (20, 2), (60, 3)] {
        let work = folder();
        let content = Content::file(&work.path().join("source"), "a file.bin", 8 * u64::from(PIECE_LENGTH) + 100);
        let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
        let bytes = Bytes::read(&unannounced);
        let address = peer::listen(Ipv4Addr::new(127, 0, 0, 2), move |mut wire| {
            bytes.greet(&mut wire)?;
            wire.await_message(INTERESTED)?;
            wire.send(UNCHOKE, &[])?;
            for _ in 0..blocks {
                let request = loop {
                    if let Some(request) = wire.receive()?.as_request() {
                        break request;
                    }
                };
                (0..times).try_for_each(|_| bytes.give(&mut wire, request))?;
            }
            Ok(())
        });
        let tracker = TrackerStub::start(Answer::Peers(vec![address]));
        let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
        let out = work.path().join("out");
        let mut command = Command::new(MINITORRENT);
        command.args(["fetch", "-v", "--seed-for", "0", "--port", &free_port().to_string(), "--out"]).arg(&out);
        command.arg(&torrent.path);
        let fetch = Process::start(command, work.path(), "fetch");
        let finished = wait_until(Duration::from_secs(60), || content.compare(&out).is_ok());
        assert!(finished, "{blocks} blocks at a time, each {times} times; it said: {}", fetch.stderr());
    }
}

#[test]
fn a_seeder_hangs_up_on_a_peer_that_breaks_the_protocol_and_serves_on() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
    let urls = [tracker.announce_url()];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let port = free_port();
    let mut command = Command::new(MINITORRENT);
    command.args(["seed", "--port", &port.to_string(), "--dir"]).arg(&content.root).arg(&torrent.path);
    let mut seed = Process::start(command, work.path(), "seed");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let serves = || ask_for_a_block(address, &torrent).is_ok_and(|block| block.len() == 8 + 16_384);
    assert!(wait_until(Duration::from_secs(20), serves), "it never served: {}", seed.stderr());

    let before = seed.usage();
    for (number, (name, misdeed)) in MISDEEDS.into_iter().enumerate() {
        let mut wire = Wire::dial_from(Ipv4Addr::new(127, 0, 1, number as u8), address).unwrap();
        // It may hang up before all of it is said.
        let _ = misdeed(&mut wire, &torrent);
        // What begins like no handshake may become an encrypted one, for which it has 5 s.
        let hung_up = wire.is_hung_up_within(Duration::from_secs(10));
        assert!(hung_up || name == FORGIVEN_BY_A_SEEDER, "it talks on after {name}");
        assert!(seed.is_running(), "{name} ended the seeder: {}", seed.stderr());
    }
    assert!(serves(), "it no longer serves: {}", seed.stderr());
    let is_as_before = |usage: Usage| usage.threads <= before.threads && usage.descriptors <= before.descriptors;
    let settled = wait_until(Duration::from_secs(10), || is_as_before(seed.usage()));
    assert!(settled, "threads or descriptors stay: {before:?}, then {:?}", seed.usage());
    let peak = seed.usage().peak_kib;
    assert!(peak < MEMORY_LIMIT_KIB, "it took {peak} KiB");
    assert!(!seed.stderr().contains("panicked"), "{}", seed.stderr());
}

fn greet_well(wire: &mut Wire, torrent: &Torrent) -> io::Result<()> {
    wire.greet(&torrent.info_hash)?;
    wire.send(BITFIELD, &full_bitfield(PIECES))
}

/// A peer that commits its misdeed on every connection, says so in `done`, and then waits to be hung up on.
fn start_bad_peer(torrent: &Torrent, misdeed: Misdeed, done: Arc<AtomicBool>) -> SocketAddrV4 {
    let torrent = torrent.clone();
    peer::listen(Ipv4Addr::new(127, 0, 0, 2), move |mut wire| {
        let said = misdeed(&mut wire, &torrent);
        done.store(true, Ordering::Relaxed);
        wire.is_hung_up_within(Duration::from_secs(60));
        said
    })
}

fn ask_for_a_block(address: SocketAddrV4, torrent: &Torrent) -> io::Result<Vec<u8>> {
    let mut wire = Wire::dial(address)?;
    wire.greet(&torrent.info_hash)?;
    wire.send(INTERESTED, &[])?;
    wire.await_message(UNCHOKE)?;
    wire.send(REQUEST, &Request { piece: 0, begin: 0, length: 16_384 }.payload())?;
    wire.await_message(PIECE).map(|message| message.payload)
}
