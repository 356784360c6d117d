//! Bad peers that dial: what each does to a seeder or a fetcher that takes its connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use socket2::SockRef;

use super::ground::Stage::{self, Dialled, Greeted, Unchoked};
use super::ground::{Ground, fall_silent, noise};
use crate::house::peer::{
    BITFIELD, CANCEL, CHOKE, EXTENDED, HAVE, INTERESTED, NOT_INTERESTED, PIECE, REQUEST, Request, UNCHOKE, Wire, frame,
    handshake,
};
use crate::house::seeding_peer::full_bitfield;

const BLOCK: u32 = 16 * 1024;

/// What a bad peer does on a connection once it has come so far.
pub type Act = fn(&mut Wire, &Ground) -> io::Result<()>;

/// Every kind there is.
pub const VISITORS: [(&str, Stage, Act); 48] = [
    ("scans the port", Dialled, |_, _| Ok(())),
    ("scans the port and resets", Dialled, |wire, _| SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO))),
    ("says nothing", Dialled, |wire, ground| said(wire, ground, &[])),
    ("stops within the handshake", Dialled, |wire, ground| {
        let half = handshake(&ground.bytes.torrent.info_hash, [7; 20]);
        said(wire, ground, &half[..47])
    }),
    ("says a byte of the handshake a second", Dialled, |wire, ground| {
        drip(wire, ground, &handshake(&ground.bytes.torrent.info_hash, [7; 20]))
    }),
    ("speaks HTTP", Dialled, |wire, ground| said(wire, ground, b"GET /announce HTTP/1.1\r\nHost: peer\r\n\r\n")),
    ("speaks TLS", Dialled, |wire, ground| {
        said(wire, ground, &[&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 505]].concat())
    }),
    ("wants encryption", Dialled, |wire, ground| said(wire, ground, &noise(96))),
    ("says a byte of an encrypted handshake a second", Dialled, |wire, ground| drip(wire, ground, &noise(600))),
    ("exchanges keys and is silent", Dialled, |wire, ground| {
        wire.stream.write_all(&noise(96))?;
        wire.stream.read_exact(&mut [0; 96])?;
        said(wire, ground, &noise(40))
    }),
    ("exchanges keys and sends noise", Dialled, |wire, ground| ground.flood(wire, &noise(4096))),
    ("exchanges keys all the time", Dialled, |_, ground| {
        for _ in 0..50 {
            ground.dial(Ipv4Addr::new(127, 3, 0, 2))?.stream.write_all(&noise(96))?;
        }
        Ok(())
    }),
    ("floods the UDP port with uTP", Dialled, |_, ground| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 3, 0, 3), 0))?;
        let syn = [&[0x41, 2][..], &[7; 18], &[0, 8], &[0; 8]].concat();
        while ground.pause(Duration::from_millis(10)) {
            for length in (0..syn.len()).chain([syn.len(); 20]) {
                // A port that is closed by now says so, which is of no matter.
                let _ = socket.send_to(&syn[..length], ground.target);
            }
        }
        Ok(())
    }),
    ("asks for another torrent", Dialled, |wire, ground| said(wire, ground, &handshake(&[0x5a; 20], [7; 20]))),
    ("comes with our own peer id", Dialled, |wire, ground| {
        let info_hash = &ground.bytes.torrent.info_hash;
        wire.stream.write_all(&handshake(info_hash, [7; 20]))?;
        let theirs = wire.read_greeting()?;
        said(&mut ground.dial(Ipv4Addr::new(127, 3, 0, 1))?, ground, &handshake(info_hash, theirs))
    }),
    ("is silent after the handshake", Greeted, |wire, ground| said(wire, ground, &[])),
    ("hears, and cannot be heard any more", Greeted, |wire, ground| {
        fall_silent(wire)?;
        ground.linger(wire);
        Ok(())
    }),
    ("sends a byte a second", Greeted, |wire, ground| drip(wire, ground, &frame(PIECE, &[0; 16_392]))),
    ("sends noise", Greeted, |wire, ground| ground.flood(wire, &noise(4096))),
    ("sends a frame of 4 GiB", Greeted, |wire, ground| ground.flood(wire, &[0xff; 4096])),
    ("sends unknown messages", Greeted, |wire, ground| ground.flood(wire, &frame(200, &[0; 9_000]))),
    ("sends a bitfield with a spare bit", Greeted, |wire, ground| spoiled_bitfield(wire, ground, |bits| bits.push(1))),
    ("sends a bitfield that is too short", Greeted, |wire, ground| {
        spoiled_bitfield(wire, ground, |bits| _ = bits.pop())
    }),
    ("sends no bitfield's worth of bitfield", Greeted, |wire, ground| spoiled_bitfield(wire, ground, Vec::clear)),
    ("sends bitfields that contradict each other", Greeted, |wire, ground| {
        let full = full_bitfield(ground.bytes.torrent.pieces());
        let parts = [0xaa, 0x55, 0x00, 0xf0].map(|mask| full.iter().map(|byte| byte & mask).collect::<Vec<_>>());
        let all: Vec<_> = parts.iter().flat_map(|bits| frame(BITFIELD, bits)).collect();
        ground.flood(wire, &all)
    }),
    ("has a piece that there is not", Greeted, |wire, ground| {
        said(wire, ground, &frame(HAVE, &ground.bytes.torrent.pieces().to_be_bytes()))
    }),
    ("has everything, again and again", Greeted, |wire, ground| {
        // Never all of it: a seeder has no use for those that have everything, and hangs up on them anyway.
        let haves = (1..ground.bytes.torrent.pieces()).flat_map(|piece| frame(HAVE, &piece.to_be_bytes()));
        ground.flood(wire, &haves.collect::<Vec<_>>())
    }),
    ("chokes and unchokes", Greeted, |wire, ground| {
        ground.flood(wire, &[frame(CHOKE, &[]), frame(UNCHOKE, &[])].concat())
    }),
    ("wants and does not want", Greeted, |wire, ground| {
        ground.flood(wire, &[frame(INTERESTED, &[]), frame(NOT_INTERESTED, &[])].concat())
    }),
    ("keeps alive", Greeted, |wire, ground| ground.flood(wire, &[0; 4])),
    ("cancels what it never asked", Greeted, |wire, ground| {
        let cancels = (0..ground.bytes.torrent.pieces()).flat_map(|piece| frame(CANCEL, &first_block(piece)));
        ground.flood(wire, &cancels.collect::<Vec<_>>())
    }),
    ("asks and cancels", Unchoked, |wire, ground| {
        let asked = first_block(0);
        ground.flood(wire, &[frame(REQUEST, &asked), frame(CANCEL, &asked)].concat())
    }),
    ("asks before it may", Greeted, |wire, ground| ground.flood(wire, &frame(REQUEST, &first_block(0)))),
    ("asks and does not read", Unchoked, |wire, ground| said(wire, ground, &requests(400))),
    ("asks too much and does not read", Unchoked, |wire, ground| said(wire, ground, &requests(20_000))),
    ("reads a byte a second", Unchoked, |wire, ground| {
        wire.stream.write_all(&requests(400))?;
        SockRef::from(&wire.stream).set_recv_buffer_size(2048)?;
        while ground.pause(Duration::from_secs(1)) {
            wire.stream.read_exact(&mut [0])?;
        }
        Ok(())
    }),
    ("asks byte by byte", Unchoked, |wire, ground| {
        let asked = (0..64).flat_map(|begin| frame(REQUEST, &Request { piece: 0, begin, length: 1 }.payload()));
        ground.flood(wire, &asked.collect::<Vec<_>>())
    }),
    ("asks beyond the end", Unchoked, |wire, ground| {
        said(wire, ground, &frame(REQUEST, &Request { piece: 0, begin: u32::MAX - 5, length: BLOCK }.payload()))
    }),
    ("asks for 4 GiB", Unchoked, |wire, ground| {
        said(wire, ground, &frame(REQUEST, &Request { piece: 0, begin: 0, length: u32::MAX }.payload()))
    }),
    ("asks for nothing", Unchoked, |wire, ground| {
        ground.flood(wire, &frame(REQUEST, &Request { piece: 0, begin: 0, length: 0 }.payload()))
    }),
    ("sends blocks that nobody asked for", Greeted, |wire, ground| {
        ground.flood(wire, &frame(PIECE, &[&[0; 8][..], &[0x55; BLOCK as usize]].concat()))
    }),
    ("sends blocks without bytes", Greeted, |wire, ground| ground.flood(wire, &frame(PIECE, &[0; 8]))),
    ("sends blocks without a place", Greeted, |wire, ground| ground.flood(wire, &frame(PIECE, &[0; 5]))),
    ("sends blocks that are too long", Greeted, |wire, ground| {
        ground.flood(wire, &frame(PIECE, &[0; 8 + 1 + (1 << 17)]))
    }),
    ("introduces itself ten thousand levels deep", Greeted, |wire, ground| {
        said(wire, ground, &frame(EXTENDED, &[&[0][..], &[b'l'; 10_000], &[b'e'; 10_000]].concat()))
    }),
    ("introduces itself with a mebibyte", Greeted, |wire, ground| {
        said(wire, ground, &frame(EXTENDED, &[&b"\0d1:v1048576:"[..], &[b'x'; 1 << 20], b"e"].concat()))
    }),
    ("introduces itself all the time", Greeted, |wire, ground| {
        ground.flood(wire, &frame(EXTENDED, b"\0d1:md6:ut_pexi1ee1:pi6881e4:reqqi1e1:v4:evile"))
    }),
    ("sends garbage for peers", Greeted, |wire, ground| {
        wire.stream.write_all(&frame(EXTENDED, b"\0d1:md6:ut_pexi1eee"))?;
        ground.flood(wire, &frame(EXTENDED, &[&b"\x01d5:added6000:"[..], &noise(6_000), b"e"].concat()))
    }),
];

/// Says this once, and stays.
pub fn said(wire: &mut Wire, ground: &Ground, bytes: &[u8]) -> io::Result<()> {
    wire.stream.write_all(bytes)?;
    ground.linger(wire);
    Ok(())
}

/// Says this at a byte a second.
pub fn drip(wire: &mut Wire, ground: &Ground, bytes: &[u8]) -> io::Result<()> {
    bytes
        .iter()
        .take_while(|_| ground.pause(Duration::from_secs(1)))
        .try_for_each(|byte| wire.stream.write_all(&[*byte]))
}

fn spoiled_bitfield(wire: &mut Wire, ground: &Ground, spoil: fn(&mut Vec<u8>)) -> io::Result<()> {
    let mut bits = full_bitfield(ground.bytes.torrent.pieces());
    spoil(&mut bits);
    said(wire, ground, &frame(BITFIELD, &bits))
}

fn first_block(piece: u32) -> Vec<u8> {
    Request { piece, begin: 0, length: BLOCK }.payload()
}

/// As many requests for one block.
fn requests(count: usize) -> Vec<u8> {
    frame(REQUEST, &first_block(0)).repeat(count)
}
