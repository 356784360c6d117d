//! One end of a connection: the queues of its session, and what the writing thread does with them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::link::{Nanos, Segment};
use crate::{
    bitfield::Bitfield,
    metainfo::{Block, PieceIndex},
    policy::Remote,
    session::{
        Requests,
        outgoing::{
            backlog::{self, Backlog},
            outbox::Outbox,
        },
    },
};

/// One end of a connection.
pub(super) struct ConnectionEnd {
    pub(super) host: usize,
    pub(super) remote: Arc<Remote>,
    pub(super) requests: Requests,
    pub(super) outbox: Outbox,
    pub(super) is_over: bool,
    pub(super) writing: WriterState,
    /// Written and not sent.
    pub(super) kernel: VecDeque<Segment>,
    pub(super) unsent: u64,
    /// Sent and not arrived.
    pub(super) under_way: u64,
    /// Whether it waits for room in the window.
    pub(super) is_blocked: bool,
    /// When `have`s may go out again on their own.
    pub(super) haves_from: Nanos,
    pub(super) has_haves_timer: bool,
    /// Its turn at the uplink, and the bytes that are left of it.
    pub(super) turn: Option<u64>,
    pub(super) left_of_turn: u64,
    pub(super) backlog: Backlog,
    pub(super) max_unsent: u64,
    /// How many bytes were sent of pieces of which not all were.
    pub(super) begun: BTreeMap<PieceIndex, u64>,
    /// What the other side has said of itself.
    pub(super) theirs: Bitfield,
    pub(super) spoke: bool,
    pub(super) wants: bool,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
}

/// What the writing thread is doing.
#[derive(Debug)]
pub(super) enum WriterState {
    /// It waits for something to send.
    Nothing,
    /// It has blocks to send and waits for a turn, at most until then.
    Waiting { run: VecDeque<Block>, until: Nanos },
    /// It writes blocks, as far as the kernel takes them.
    Run { run: VecDeque<Block>, bytes: u64, piece: PieceIndex },
}

impl ConnectionEnd {
    pub(super) fn new(
        host: usize,
        remote: Arc<Remote>,
        requests: Requests,
        pieces: u32,
        now: Instant,
    ) -> ConnectionEnd {
        ConnectionEnd {
            host,
            remote,
            requests,
            outbox: Outbox::default(),
            is_over: false,
            writing: WriterState::Nothing,
            kernel: VecDeque::new(),
            unsent: 0,
            under_way: 0,
            is_blocked: false,
            haves_from: 0,
            has_haves_timer: false,
            turn: None,
            left_of_turn: 0,
            backlog: Backlog::new(now),
            max_unsent: u64::from(backlog::FIRST),
            begun: BTreeMap::new(),
            theirs: Bitfield::empty(pieces),
            spoke: false,
            wants: false,
            downloaded: 0,
            uploaded: 0,
        }
    }

    /// Hands a segment to the kernel.
    pub(super) fn write(&mut self, segment: Segment) {
        self.unsent += segment.bytes();
        self.kernel.push_back(segment);
    }

    /// Notes blocks of a piece as sent; whether that was the last of it.
    pub(super) fn note_sent(&mut self, piece: PieceIndex, bytes: u64, length: u64) -> bool {
        self.uploaded += bytes;
        let sent = self.begun.entry(piece).or_default();
        *sent += bytes;
        let is_whole = *sent >= length;
        if is_whole {
            self.begun.remove(&piece);
        }
        is_whole
    }
}
