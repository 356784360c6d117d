//! The reading half of a session: what comes from the socket is decoded, held against what the peer may say, and passed on.
//! It touches no file.
//!
//! It may wait for its coordinator and for the hash workers, which is what slows a peer down that sends faster than we
//! can hash or write; it never waits for its own writer.

use std::{mem, sync::atomic::Ordering, thread, time::Instant};

use crate::{
    bitfield::Bitfield,
    metainfo::{BLOCK_LENGTH, Block},
    policy::{PeerEvent, SendOrder},
    session::{
        End, LocalPeer, MAX_OPEN_REQUESTS, SessionHandle,
        incoming::{arrival, chatter::ChatterBudget, requests::Expected, socket::SocketReader},
        limiter::{MAX_NAP, RateLimiters},
    },
    wire::{self, DecodeStep, EXTENDED_HANDSHAKE, ExtendedHandshake, Message, MessageLimits, RawBlock},
};

/// Blocks that nobody asked for which a session may send before it ends: what a confused but honest peer may come to.
const MAX_UNASKED: u64 = 16;

/// Reads until the session ends, and says why.
pub fn run(host: &LocalPeer, handle: &SessionHandle, reader: SocketReader) -> End {
    let count = handle.share.geometry().piece_count();
    let protocol = Protocol {
        host,
        handle,
        theirs: Bitfield::empty(count),
        spoke: false,
        wants: false,
        unasked: 0,
        asked: 0,
        chatter: ChatterBudget::new(Instant::now()),
    };
    let Err(end) = read(reader, protocol, MessageLimits::for_pieces(count));
    end
}

/// Never returns but with an error: a session has no other end.
fn read(
    mut reader: SocketReader,
    mut protocol: Protocol<'_>,
    limits: MessageLimits,
) -> Result<std::convert::Infallible, End> {
    loop {
        match wire::decode(reader.filled(), limits)? {
            DecodeStep::Need(total) => reader.fill(total)?,
            DecodeStep::Message(message, used) => {
                protocol.message(message)?;
                reader.consume(used);
            }
            DecodeStep::Piece { block, used } => {
                reader.consume(used);
                protocol.block(block, &mut reader)?;
            }
            DecodeStep::Skip { used, length } => {
                protocol.idle_message(length)?;
                reader.consume(used);
                reader.skip(length)?;
            }
        }
    }
}

/// Holds what one peer says against what it said before.
struct Protocol<'a> {
    host: &'a LocalPeer,
    handle: &'a SessionHandle,
    theirs: Bitfield,
    /// Whether it has said anything about what it has.
    spoke: bool,
    /// Whether it has said that it is interested, or shown it by asking for blocks.
    wants: bool,
    unasked: u64,
    /// Bytes it has asked us for, those left out that it must know to be forgotten.
    asked: u64,
    chatter: ChatterBudget,
}

impl Protocol<'_> {
    fn message(&mut self, message: Message<'_>) -> Result<(), End> {
        let id = self.handle.id();
        match message {
            Message::KeepAlive => self.idle_message(0),
            Message::Choke => {
                self.idle_message(0)?;
                let pieces = self.handle.requests().choke();
                self.handle.tell(PeerEvent::Choked(id, pieces))
            }
            Message::Unchoke => {
                self.idle_message(0)?;
                let bytes = self.handle.requests().unchoke();
                self.handle.tell(PeerEvent::Unchoked(id, bytes))
            }
            Message::Interested | Message::NotInterested => {
                self.idle_message(0)?;
                self.wants = message == Message::Interested;
                self.handle.tell(PeerEvent::Interested(id, self.wants))
            }
            Message::Have(index) => self.have(index),
            Message::Bitfield(bytes) => self.bitfield(bytes),
            Message::Request(raw) => {
                let block = self.checked(raw)?;
                if !self.handle.share.have.has(block.piece) {
                    return Err(End::PieceNotHere(raw.index));
                }
                self.charge_request(block)?;
                if !mem::replace(&mut self.wants, true) {
                    self.handle.tell(PeerEvent::Interested(id, true))?;
                }
                Ok(self.handle.outgoing.push(SendOrder::Upload(block))?)
            }
            Message::Cancel(raw) => {
                self.idle_message(0)?;
                let block = self.checked(raw)?;
                Ok(self.handle.outgoing.push(SendOrder::CancelUpload(block))?)
            }
            Message::Extended(EXTENDED_HANDSHAKE, payload) => self.extended_handshake(payload),
            // We have named no extension, so nothing else has a meaning here.
            Message::Extended(_, payload) => self.idle_message(payload.len()),
        }
    }

    /// A message that moves nothing.
    fn idle_message(&mut self, bytes: usize) -> Result<(), End> {
        let traffic = &self.handle.traffic;
        let moved = traffic.uploaded.load(Ordering::Relaxed) + traffic.downloaded.load(Ordering::Relaxed);
        self.chatter.spend(bytes, moved, Instant::now())
    }

    /// A request is free if it is for a whole block and may still be answered: one beyond those that can be open was forgotten
    /// when we choked the peer, or withdrawn by itself.
    fn charge_request(&mut self, block: Block) -> Result<(), End> {
        let ends_piece = block.begin + block.length == self.handle.share.geometry().length_of(block.piece);
        let open = MAX_OPEN_REQUESTS as u64 * u64::from(BLOCK_LENGTH);
        let uploaded = self.handle.traffic.uploaded.load(Ordering::Relaxed);
        let forgotten = self.asked + u64::from(block.length) > uploaded + open;
        if !forgotten {
            self.asked += u64::from(block.length);
        }
        if forgotten || (block.length < BLOCK_LENGTH && !ends_piece) { self.idle_message(0) } else { Ok(()) }
    }

    fn have(&mut self, index: u32) -> Result<(), End> {
        let piece = self.handle.share.geometry().piece(index).ok_or(End::NoSuchPiece(index))?;
        self.spoke = true;
        if self.theirs.set(index) {
            self.handle.tell(PeerEvent::Gained(self.handle.id(), piece))
        } else {
            self.idle_message(0)
        }
    }

    /// The first is what the peer begins with. A later one, which BEP 3 does not foresee, counts for what it adds:
    /// aria2 sends one instead of many `have`s.
    fn bitfield(&mut self, bytes: &[u8]) -> Result<(), End> {
        let said = Bitfield::from_bytes(bytes, self.theirs.len()).map_err(End::Bitfield)?;
        if self.spoke {
            self.idle_message(bytes.len())?;
            let known = self.theirs.clone();
            return said.iter().filter(|index| !known.get(*index)).try_for_each(|index| self.have(index));
        }
        self.spoke = true;
        self.theirs = said;
        self.handle.tell(PeerEvent::Has(self.handle.id(), self.theirs.clone()))
    }

    fn extended_handshake(&mut self, payload: &[u8]) -> Result<(), End> {
        self.idle_message(payload.len())?;
        let said = ExtendedHandshake::from_bytes(payload).map_err(End::Extension)?;
        if let Some(open) = said.request_queue {
            self.handle.requests().limit_pipeline(open);
        }
        self.handle.tell(PeerEvent::ExtensionHandshake {
            session: self.handle.id(),
            port: said.port,
            client: said.client,
            name: said.name,
            upload_only: said.upload_only,
        })
    }

    /// A block comes: into its buffer, if it is one that was requested.
    fn block(&mut self, raw: RawBlock, reader: &mut SocketReader) -> Result<(), End> {
        let expected = self.handle.requests().expects(raw);
        let (block, home) = match expected {
            Expected::Yes(block, home) => (block, home),
            Expected::Never if self.unasked >= self.most_unasked() => return Err(End::Unasked(raw)),
            Expected::Never | Expected::NoLonger => {
                self.unasked += u64::from(expected == Expected::Never);
                self.handle.count(raw.length, |traffic| &traffic.wasted);
                reader.skip(raw.length as usize)?;
                self.wait_for_rate(raw.length, reader);
                return Ok(());
            }
        };
        let mut buffer = self.host.buffers.take(block.length);
        reader.read_into(&mut buffer)?;
        self.handle.count(block.length, |traffic| &traffic.downloaded);
        arrival::arrived(self.handle, block, home, buffer)?;
        self.wait_for_rate(block.length, reader);
        Ok(())
    }

    /// How many blocks that nobody asked for it may have sent: some, and one for each that we did ask for. There are peers that send
    /// each twice.
    fn most_unasked(&self) -> u64 {
        MAX_UNASKED + self.handle.traffic.downloaded.load(Ordering::Relaxed) / u64::from(BLOCK_LENGTH)
    }

    fn checked(&self, raw: RawBlock) -> Result<Block, End> {
        self.handle.share.geometry().block(raw.index, raw.begin, raw.length).ok_or(End::NoSuchBlock(raw))
    }

    /// Counts bytes against the rate limits and waits as long as they say, while nobody ends the session. What the peer
    /// could not send meanwhile is not held against it.
    fn wait_for_rate(&self, bytes: u32, reader: &mut SocketReader) {
        let limits = RateLimiters([&self.host.download, &self.handle.share.download]);
        let due = limits.spend(u64::from(bytes));
        let mut wait = limits.wait(due);
        if !wait.is_zero() {
            self.handle.requests().rest(true, Instant::now());
            while !wait.is_zero() && !self.handle.outgoing.is_closed() {
                thread::sleep(wait.min(MAX_NAP));
                wait = limits.wait(due);
            }
            self.handle.requests().rest(false, Instant::now());
        }
        reader.forgive(Instant::now());
    }
}
