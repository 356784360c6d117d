//! A seeder dials the leechers that its tracker names, so that one that cannot come by itself is served too.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
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
