//! The links: what leaves a host goes through its uplink, one block or message of a connection at a time, and through the downlink
//! of the host it goes to.

use std::collections::VecDeque;

use super::plan::{ACKNOWLEDGING, FRAMING};
use crate::metainfo::Block;

/// Bytes that may be under way on one connection: what TCP and the queues on the way hold.
pub(super) const WINDOW: u64 = 192 * 1024;

/// Bytes of headers for each write of control messages.
const HEADERS: u64 = 66;

/// One end of a connection, by its number in the room. The other end of `n` is `n ^ 1`.
pub(super) type EndId = usize;

/// Nanoseconds since the room was opened.
pub(super) type Nanos = u64;

/// What travels.
#[derive(Debug)]
pub(super) enum Segment {
    /// Messages, encoded.
    Control(Vec<u8>),
    /// A block.
    Block(Block),
}

impl Segment {
    /// Bytes of the stream.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Segment::Control(bytes) => bytes.len() as u64,
            Segment::Block(block) => u64::from(block.length) + 13,
        }
    }

    /// How long it takes at a rate in bits a second.
    pub(super) fn time_at(&self, bits_a_second: f64) -> Nanos {
        (self.on_link() * 8e9 / bits_a_second) as Nanos
    }

    fn on_link(&self) -> f64 {
        match self {
            Segment::Control(bytes) => (bytes.len() as u64 + HEADERS) as f64,
            Segment::Block(_) => self.bytes() as f64 * FRAMING,
        }
    }
}

/// The link of one host, each way at the same rate.
#[derive(Debug)]
pub(super) struct Link {
    /// Bytes a nanosecond.
    rate: f64,
    /// The connections that have something to send, the next one first.
    pub(super) ready: VecDeque<EndId>,
    /// The one whose segment is on its way out.
    pub(super) sending: Option<EndId>,
    /// Bytes of acknowledgements that are to go out with the next segment.
    acknowledgements: f64,
    /// When the downlink will have brought everything that has been sent to it.
    down_free: Nanos,
    /// Nanoseconds for which the uplink was busy.
    pub(super) busy: Nanos,
}

impl Link {
    pub(super) fn new(bits_a_second: f64) -> Link {
        Link {
            rate: bits_a_second / 8e9,
            ready: VecDeque::new(),
            sending: None,
            acknowledgements: 0.0,
            down_free: 0,
            busy: 0,
        }
    }

    /// How long a segment takes to go out.
    pub(super) fn send(&mut self, segment: &Segment) -> Nanos {
        let bytes = segment.on_link() + std::mem::take(&mut self.acknowledgements);
        let time = (bytes / self.rate) as Nanos;
        self.busy += time;
        time
    }

    /// When a segment is here of which the first byte comes at `begins` and the last cannot come before `ends`.
    pub(super) fn receive(&mut self, segment: &Segment, begins: Nanos, ends: Nanos) -> Nanos {
        let bytes = segment.on_link();
        self.down_free = self.down_free.max(begins) + (bytes / self.rate) as Nanos;
        self.acknowledgements += bytes * ACKNOWLEDGING;
        self.down_free.max(ends)
    }
}
