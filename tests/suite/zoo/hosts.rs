//! Bad peers that are dialled: the tracker names them to a fetcher as if they had the file.

use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::SockRef;

use super::ground::{Ground, noise};
use super::visitors::{Act, drip, said};
use crate::house::peer::{BITFIELD, CHOKE, INTERESTED, PIECE, Request, UNCHOKE, Wire, frame, handshake};
use crate::house::seeding_peer::full_bitfield;

/// What a bad peer takes over each block, so that the bad ones do not outrun the honest one and end the test early.
const PACE: Duration = Duration::from_millis(100);

/// One of so many pieces is given with wrong bytes by the peer that lies now and then.
const ONE_LIE_IN: u32 = 100;

/// How far such a peer behaves before it shows what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It takes the connection.
    Taken,
    /// It has read the handshake.
    Listened,
    /// It has answered the handshake, and claims to have everything.
    Claimed,
    /// It has let the other side ask.
    Unchoked,
}

use Manners::{Claimed, Listened, Taken, Unchoked};

/// Every kind there is, besides the visitors that need no more than a handshake.
pub const HOSTS: [(&str, Manners, Act); 22] = [
    ("says nothing", Taken, |wire, ground| said(wire, ground, &[])),
    ("hangs up", Taken, |_, _| Ok(())),
    ("resets", Taken, |wire, _| SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO))),
    ("answers in HTTP", Listened, |wire, ground| said(wire, ground, b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    ("answers with noise", Listened, |wire, ground| ground.flood(wire, &noise(4096))),
    ("answers a byte a second", Listened, |wire, ground| {
        drip(wire, ground, &handshake(&ground.bytes.torrent.info_hash, [7; 20]))
    }),
    ("answers for another torrent", Listened, |wire, ground| said(wire, ground, &handshake(&[0x5a; 20], [7; 20]))),
    ("claims everything and never unchokes", Claimed, |wire, ground| said(wire, ground, &[])),
    ("claims everything and hangs up", Claimed, |_, _| Ok(())),
    ("lets ask and never answers", Unchoked, |wire, ground| said(wire, ground, &[])),
    ("lets ask and answers a byte a second", Unchoked, |wire, ground| {
        let asked = next_request(wire, ground)?;
        drip(wire, ground, &frame(PIECE, &ground.bytes.piece_payload(asked)))
    }),
    ("lies about one piece of a hundred", Unchoked, |wire, ground| {
        answer(wire, ground, |asked, payload| lie(payload, asked.piece % ONE_LIE_IN == 0))
    }),
    ("lies about every piece", Unchoked, |wire, ground| answer(wire, ground, |_, payload| lie(payload, true))),
    ("lies in one byte of a block", Unchoked, |wire, ground| {
        answer(wire, ground, |_, payload| payload.last_mut().into_iter().for_each(|byte| *byte ^= 1))
    }),
    ("answers for other blocks", Unchoked, |wire, ground| answer(wire, ground, |_, payload| payload[5] ^= 1)),
    ("answers for pieces that there are not", Unchoked, |wire, ground| {
        answer(wire, ground, |_, payload| payload[0] = 0x7f)
    }),
    ("answers too briefly", Unchoked, |wire, ground| answer(wire, ground, |_, payload| payload.truncate(100))),
    ("answers too much", Unchoked, |wire, ground| answer(wire, ground, |_, payload| payload.extend([0; 100]))),
    ("answers twice", Unchoked, |wire, ground| {
        loop {
            let asked = next_request(wire, ground)?;
            (0..2).try_for_each(|_| wire.send(PIECE, &ground.bytes.piece_payload(asked)))?;
            ground.pause(PACE);
        }
    }),
    ("hangs up after each block", Unchoked, |wire, ground| {
        let asked = next_request(wire, ground)?;
        wire.send(PIECE, &ground.bytes.piece_payload(asked))
    }),
    ("chokes whenever it is asked", Unchoked, |wire, ground| {
        loop {
            next_request(wire, ground)?;
            wire.send(CHOKE, &[])?;
            wire.send(UNCHOKE, &[])?;
        }
    }),
    ("chokes and unchokes as fast as it can", Unchoked, |wire, ground| {
        ground.flood(wire, &[frame(CHOKE, &[]), frame(UNCHOKE, &[])].concat())
    }),
];

/// Behaves that far on a connection that it has taken.
pub fn behave(manners: Manners, wire: &mut Wire, ground: &Ground) -> io::Result<()> {
    if manners == Taken {
        return Ok(());
    }
    wire.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    wire.stream.read_exact(&mut [0; 68])?;
    if manners == Listened {
        return Ok(());
    }
    let mut id = *b"-ZO0002-............";
    id[8..].copy_from_slice(&noise(12));
    wire.stream.write_all(&handshake(&ground.bytes.torrent.info_hash, id))?;
    wire.send(BITFIELD, &full_bitfield(ground.bytes.torrent.pieces()))?;
    if manners == Unchoked {
        wire.await_message(INTERESTED)?;
        wire.send(UNCHOKE, &[])?;
    }
    Ok(())
}

/// Answers every request, with a payload that `spoil` has had.
fn answer(wire: &mut Wire, ground: &Ground, spoil: fn(Request, &mut Vec<u8>)) -> io::Result<()> {
    loop {
        let asked = next_request(wire, ground)?;
        let mut payload = ground.bytes.piece_payload(asked);
        spoil(asked, &mut payload);
        wire.send(PIECE, &payload)?;
        ground.pause(PACE);
    }
}

fn lie(payload: &mut [u8], really: bool) {
    if really {
        payload[8..].iter_mut().for_each(|byte| *byte ^= 0xff);
    }
}

/// What it is asked for next; an error when it is not asked any more, or the zoo closes.
fn next_request(wire: &mut Wire, ground: &Ground) -> io::Result<Request> {
    while !ground.is_over() {
        if let Some(asked) = wire.receive_within(super::ground::GLANCE)?.and_then(|message| message.as_request()) {
            return Ok(asked);
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}
