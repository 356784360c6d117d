//! Many connections to one seeder, all open at once, each served.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use super::line;
use crate::house::clients::Client;
use crate::house::lab::Host;
use crate::house::peer::{BITFIELD, CHOKE, HAVE, INTERESTED, PIECE, REQUEST, Request, UNCHOKE, Wire};
use crate::house::process::{Usage, free_port};
use crate::house::torrent::Torrent;
use crate::house::wait_until;
use crate::room;
use crate::table::{Limit, Line};
use crate::workplace::Workplace;

const CONNECTIONS: usize = 200;

/// Bytes of a block, and blocks that each asks for: a piece's worth.
const BLOCK: u32 = 16 * 1024;
const BLOCKS: u32 = 16;

/// How long the seeder may take to serve all, and to be as it was before.
const LIMIT: Duration = Duration::from_secs(60);

pub fn measure(place: &Workplace) -> Result<Vec<Line>, String> {
    let torrent = room::torrent(place, 64);
    let logs = tempfile::tempdir_in(place.path()).map_err(|error| error.to_string())?;
    let port = free_port();
    let seeder = Client::Ours.seed(&Host::here(), &torrent, &torrent.content.root, port, logs.path());
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    if !wait_until(LIMIT, || Wire::dial(address).is_ok()) {
        return Err(format!("the seeder does not listen; it said: {}", seeder.stderr()));
    }
    let at_rest = |before: Usage| {
        let now = seeder.usage();
        now.threads <= before.threads && now.descriptors <= before.descriptors
    };
    // One connection first: what is started once and stays is no leak.
    fetch_a_piece(&torrent, address, Ipv4Addr::new(127, 2, 0, 1)).map_err(|error| error.to_string())?;
    thread::sleep(Duration::from_secs(2));
    let before = seeder.usage();

    let everybody = Arc::new(Barrier::new(CONNECTIONS + 1));
    let (served, counted) = mpsc::channel();
    for number in 0..CONNECTIONS {
        let (torrent, everybody, served) = (torrent.clone(), everybody.clone(), served.clone());
        thread::spawn(move || {
            let own = Ipv4Addr::new(127, 3, 0, 1 + number as u8);
            let connection = fetch_a_piece(&torrent, address, own);
            let _ = served.send(connection.is_ok());
            everybody.wait();
        });
    }
    drop(served);
    let served = (0..CONNECTIONS).filter(|_| counted.recv_timeout(LIMIT) == Ok(true)).count();
    let during = seeder.usage();
    everybody.wait();
    wait_until(LIMIT, || at_rest(before));
    let after = seeder.usage();
    let left = |now: usize, then: usize| now.saturating_sub(then) as f64;
    let what = |what: &str| format!("{CONNECTIONS} connections to a seeder: {what}");
    Ok(vec![
        line(what("served"), served as f64, Limit::AtLeast(CONNECTIONS as f64), true),
        line(what("memory, MiB"), during.peak_kib as f64 / 1024.0, Limit::AtMost(48.0), true),
        line(what("threads left after"), left(after.threads, before.threads), Limit::AtMost(0.0), true),
        line(what("descriptors left after"), left(after.descriptors, before.descriptors), Limit::AtMost(0.0), true),
    ])
}

/// Connects from an address of its own, takes a piece that is offered, says so, and stays.
fn fetch_a_piece(torrent: &Torrent, seeder: SocketAddrV4, own: Ipv4Addr) -> std::io::Result<Wire> {
    let mut wire = Wire::dial_from(own, seeder)?;
    wire.greet(&torrent.info_hash)?;
    wire.send(INTERESTED, &[])?;
    let (mut offered, mut unchoked, mut asked, mut come) = (None, false, false, 0);
    while come < BLOCKS {
        let message = wire.receive()?;
        match message.id {
            UNCHOKE => unchoked = true,
            // There are fewer upload slots than connections; what was asked for is forgotten (BEP 3).
            CHOKE => (unchoked, asked, come) = (false, false, 0),
            BITFIELD => offered = first_of(&message.payload),
            HAVE => offered = offered.or(message.payload.try_into().ok().map(u32::from_be_bytes)),
            PIECE => come += 1,
            _ => {}
        }
        if let (Some(piece), true, false) = (offered, unchoked, asked) {
            asked = true;
            for block in 0..BLOCKS {
                wire.send(REQUEST, &Request { piece, begin: block * BLOCK, length: BLOCK }.payload())?;
            }
        }
    }
    if let Some(piece) = offered {
        wire.send(HAVE, &piece.to_be_bytes())?;
    }
    Ok(wire)
}

/// The first piece of a bitfield.
fn first_of(bits: &[u8]) -> Option<u32> {
    let (at, byte) = (0..).zip(bits).find(|(_, byte)| **byte != 0)?;
    Some(at * 8 + byte.leading_zeros())
}
