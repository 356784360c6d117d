//! A peer that has everything and keeps a book of what it was asked for: what the others cannot be made to tell.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{self, BITFIELD, INTERESTED, PIECE, Request, UNCHOKE, Wire};
use super::torrent::Torrent;

/// A block that was given, and when.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    pub request: Request,
    pub at: Instant,
}

/// A listening seeder. Its threads end with the test binary.
#[derive(Clone)]
pub struct SeedingPeer {
    pub address: SocketAddrV4,
    given: Arc<Mutex<Vec<Given>>>,
}

/// The bytes of a torrent, in memory.
#[derive(Clone)]
pub struct Bytes {
    bytes: Arc<Vec<u8>>,
    pub torrent: Torrent,
}

impl SeedingPeer {
    /// An honest seeder that unchokes once `opens` returns, and takes `pace` for each block.
    pub fn start(
        address: Ipv4Addr,
        torrent: &Torrent,
        pace: Duration,
        opens: impl Fn() + Clone + Send + 'static,
    ) -> SeedingPeer {
        let (bytes, given) = (Bytes::read(torrent), Arc::default());
        let book: Arc<Mutex<Vec<Given>>> = Arc::clone(&given);
        let address = peer::listen(address, move |mut wire| {
            bytes.greet(&mut wire)?;
            wire.await_message(INTERESTED)?;
            opens();
            wire.send(UNCHOKE, &[])?;
            loop {
                let Some(request) = wire.receive()?.as_request() else { continue };
                thread::sleep(pace);
                bytes.give(&mut wire, request)?;
                book.lock().unwrap().push(Given { request, at: Instant::now() });
            }
        });
        SeedingPeer { address, given }
    }

    /// Every block given so far, in order.
    pub fn given(&self) -> Vec<Given> {
        self.given.lock().unwrap().clone()
    }
}

impl Bytes {
    pub fn read(torrent: &Torrent) -> Bytes {
        let mut bytes = Vec::new();
        torrent.content.reader().read_to_end(&mut bytes).unwrap();
        Bytes { bytes: Arc::new(bytes), torrent: torrent.clone() }
    }

    /// Shakes hands, and says that it has every piece.
    pub fn greet(&self, wire: &mut Wire) -> io::Result<()> {
        wire.greet(&self.torrent.info_hash)?;
        wire.send(BITFIELD, &full_bitfield(self.torrent.pieces()))
    }

    /// Answers a request truly.
    pub fn give(&self, wire: &mut Wire, request: Request) -> io::Result<()> {
        wire.send(PIECE, &self.piece_payload(request))
    }

    /// What a `piece` message that answers this request holds.
    pub fn piece_payload(&self, request: Request) -> Vec<u8> {
        let start = u64::from(request.piece) * u64::from(self.torrent.piece_length) + u64::from(request.begin);
        let block = &self.bytes[start as usize..][..request.length as usize];
        [&request.piece.to_be_bytes()[..], &request.begin.to_be_bytes(), block].concat()
    }
}

/// A bitfield of so many pieces, all there, spare bits zero.
pub fn full_bitfield(pieces: u32) -> Vec<u8> {
    let mut bits = vec![0xff; pieces.div_ceil(8) as usize];
    if let (Some(last), spare @ 1..) = (bits.last_mut(), bits_over(pieces)) {
        *last = 0xff << spare;
    }
    bits
}

/// How many bits of the last byte belong to no piece.
fn bits_over(pieces: u32) -> u32 {
    pieces.next_multiple_of(8) - pieces
}
