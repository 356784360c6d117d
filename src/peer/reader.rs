//! The reading half of a session: what comes from the socket, judged and passed on.
//!
//! It may wait for its coordinator and for the hash workers, which is what slows a peer down that sends faster than we
//! can hash or write; it never waits for its own writer.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{End, Event, Handle, Host, Order, Payload, desk::Expected, inlet::Inlet, piece::Home, share::Traffic};
use crate::{
    bitfield::Bitfield,
    metainfo::Block,
    wire::{self, EXTENDED_HANDSHAKE, ExtendedHandshake, Limits, Message, RawBlock, Step},
};

/// Blocks that nobody asked for which a session may send before it ends: what a confused but honest peer may come to.
const MAX_UNASKED: u32 = 16;

/// The longest a rate limit keeps the reader from looking whether it is to end.
const MAX_NAP: Duration = Duration::from_millis(200);

/// Reads until the session ends, and says why.
pub fn run(host: &Host, handle: &Handle) -> End {
    let inlet = match Inlet::new(handle.socket().clone()) {
        Ok(inlet) => inlet,
        Err(error) => return error.into(),
    };
    let count = handle.share.geometry().piece_count();
    let judge = Judge { host, handle, theirs: Bitfield::empty(count), spoke: false, unasked: 0 };
    let Err(end) = read(inlet, judge, Limits::for_pieces(count));
    end
}

/// Never returns but with an error: a session has no other end.
fn read(mut inlet: Inlet, mut judge: Judge<'_>, limits: Limits) -> Result<std::convert::Infallible, End> {
    loop {
        match wire::decode(inlet.filled(), limits)? {
            Step::Need(total) => inlet.fill(total)?,
            Step::Message(message, used) => {
                judge.message(message)?;
                inlet.consume(used);
            }
            Step::Piece { block, used } => {
                inlet.consume(used);
                judge.block(block, &mut inlet)?;
            }
            Step::Skip { used, length } => {
                inlet.consume(used);
                inlet.skip(length)?;
            }
        }
    }
}

/// Judges what one peer says against what it said before.
struct Judge<'a> {
    host: &'a Host,
    handle: &'a Handle,
    theirs: Bitfield,
    /// Whether it has said anything about what it has.
    spoke: bool,
    unasked: u32,
}

impl Judge<'_> {
    fn message(&mut self, message: Message<'_>) -> Result<(), End> {
        let id = self.handle.id();
        match message {
            Message::KeepAlive => Ok(()),
            Message::Choke => {
                let pieces = self.handle.desk().choke();
                self.tell(Event::Choked(id, pieces))
            }
            Message::Unchoke => {
                let appetite = self.handle.desk().unchoke();
                self.tell(Event::Unchoked(id, appetite))
            }
            Message::Interested => self.tell(Event::Interested(id, true)),
            Message::NotInterested => self.tell(Event::Interested(id, false)),
            Message::Have(index) => self.have(index),
            Message::Bitfield(bytes) => self.bitfield(bytes),
            Message::Request(raw) => {
                let block = self.checked(raw)?;
                if !self.handle.share.have.has(block.piece) {
                    return Err(End::PieceNotHere(raw.index));
                }
                Ok(self.handle.mailbox.post(Order::Give(block))?)
            }
            Message::Cancel(raw) => {
                let block = self.checked(raw)?;
                Ok(self.handle.mailbox.post(Order::Forget(block))?)
            }
            Message::Extended(EXTENDED_HANDSHAKE, payload) => self.introduction(payload),
            // We have named no extension, so nothing else has a meaning here.
            Message::Extended(..) => Ok(()),
        }
    }

    fn have(&mut self, index: u32) -> Result<(), End> {
        let piece = self.handle.share.geometry().piece(index).ok_or(End::NoSuchPiece(index))?;
        self.spoke = true;
        if self.theirs.set(index) { self.tell(Event::Gained(self.handle.id(), piece)) } else { Ok(()) }
    }

    /// The first is what the peer begins with. A later one, which BEP 3 does not foresee, counts for what it adds:
    /// aria2 sends one instead of many `have`s.
    fn bitfield(&mut self, bytes: &[u8]) -> Result<(), End> {
        let said = Bitfield::from_bytes(bytes, self.theirs.len()).map_err(End::Bitfield)?;
        if self.spoke {
            let known = self.theirs.clone();
            return said.iter().filter(|index| !known.get(*index)).try_for_each(|index| self.have(index));
        }
        self.spoke = true;
        self.theirs = said;
        self.tell(Event::Has(self.handle.id(), self.theirs.clone()))
    }

    fn introduction(&mut self, payload: &[u8]) -> Result<(), End> {
        let said = ExtendedHandshake::from_bytes(payload).map_err(End::Extension)?;
        if let Some(open) = said.request_queue {
            self.handle.desk().limit_window(open);
        }
        self.tell(Event::Introduced { session: self.handle.id(), port: said.port, client: said.client })
    }

    /// A block comes: into its buffer, into its place.
    fn block(&mut self, raw: RawBlock, inlet: &mut Inlet) -> Result<(), End> {
        let expected = self.handle.desk().expects(raw);
        let (block, home) = match expected {
            Expected::Yes(block, home) => (block, home),
            Expected::NoLonger => {
                self.count(u64::from(raw.length), |traffic| &traffic.wasted);
                return inlet.skip(raw.length as usize);
            }
            Expected::Never if self.unasked < MAX_UNASKED => {
                self.unasked += 1;
                return inlet.skip(raw.length as usize);
            }
            Expected::Never => return Err(End::Unasked(raw)),
        };
        let mut buffer = self.host.buffers.take(block.length);
        inlet.read_into(&mut buffer)?;
        self.count(u64::from(block.length), |traffic| &traffic.downloaded);
        let payload = match home {
            Home::Memory => Payload::Held(buffer),
            Home::Disk => {
                let offset = self.handle.share.geometry().block_offset(block);
                let written = self.handle.share.store.write(offset, &[std::io::IoSlice::new(&buffer)]);
                if let Err(error) = written {
                    return self.storage_failed(error);
                }
                Payload::Stored
            }
        };
        self.place(block, payload)?;
        self.rest(self.host.download.spend(u64::from(block.length)));
        Ok(())
    }

    fn place(&mut self, block: Block, payload: Payload) -> Result<(), End> {
        let placed = self.handle.desk().place(block, payload, Instant::now());
        self.handle.request(placed.requests);
        if let Some(piece) = placed.finished {
            let to = self.handle.share.finished.as_ref().expect("only who fetches has pieces on a desk");
            to.send(piece).map_err(|_| End::ClosedByUs)?;
        }
        if let Some((block, payload)) = placed.errand {
            self.tell(Event::Errand(self.handle.remote.clone(), block, payload))?;
        }
        if let Some(appetite) = placed.hungry {
            self.tell(Event::Hungry(self.handle.id(), appetite))?;
        }
        Ok(())
    }

    fn storage_failed(&self, error: crate::storage::Error) -> Result<(), End> {
        self.tell(Event::StorageFailed(Arc::new(error)))?;
        Err(End::ClosedByUs)
    }

    fn checked(&self, raw: RawBlock) -> Result<Block, End> {
        self.handle.share.geometry().block(raw.index, raw.begin, raw.length).ok_or(End::NoSuchBlock(raw))
    }

    fn tell(&self, event: Event) -> Result<(), End> {
        self.handle.share.events.send(event).map_err(|_| End::ClosedByUs)
    }

    fn count(&self, bytes: u64, of: impl Fn(&Traffic) -> &std::sync::atomic::AtomicU64) {
        of(&self.handle.traffic).fetch_add(bytes, Ordering::Relaxed);
        of(&self.handle.share.traffic).fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits as long as the rate limit says, while nobody ends the session.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.handle.mailbox.is_closed() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(MAX_NAP));
        }
    }
}
