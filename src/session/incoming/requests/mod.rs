//! The half of a session that downloads: which pieces it is filling, which blocks are requested, how many may be.
//!
//! Invariant: every missing block of every piece that is assigned is either requested or waiting to be, and none is both.
//! While the other side chokes us nothing is assigned. Pure: `now` is an argument. The coordinator assigns pieces, the
//! reader puts blocks in their places; each holds the lock for one call.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    metainfo::{BLOCK_LENGTH, Block, Geometry, PieceIndex},
    policy::{Home, Payload, PieceInFlight, Remote},
    session::incoming::pipeline::Pipeline,
    wire::RawBlock,
};

/// Requests that were withdrawn and may still be answered, as far as they are remembered.
const MAX_WITHDRAWN: usize = 1024;

/// The pieces and requests of one session.
#[derive(Debug)]
pub struct Requests {
    geometry: Geometry,
    uploader: Arc<Remote>,
    choked: bool,
    pieces: Vec<PieceInFlight>,
    /// Single blocks of pieces that other sessions own, requested here as well (endgame).
    endgame: Vec<Block>,
    waiting: VecDeque<Block>,
    asked: VecDeque<Block>,
    withdrawn: VecDeque<Block>,
    /// A block that is being written to disk. Until it is placed its piece stays, so that nobody else writes there.
    being_written: Option<Block>,
    pipeline: Pipeline,
    told_bytes_wanted: bool,
    /// The reader takes a rest for the sake of a rate limit, so nothing can come.
    resting: bool,
    /// When the last block came, or when the first of those now asked for was asked.
    progress: Instant,
}

/// What a block that arrives is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It was asked for, and is to be put there.
    Yes(Block, Home),
    /// It was asked for, but has been withdrawn since: an honest answer that comes late.
    NoLonger,
    /// It never was.
    Never,
}

/// What came of a block that arrived.
#[derive(Debug, Default)]
pub struct Placed {
    /// What to ask for next; empty more often than not, because requests go out in batches.
    pub requests: Vec<Block>,
    /// The piece that this block completed.
    pub finished: Option<PieceInFlight>,
    /// There will soon be nothing left to request, and that many bytes more are wanted; said once until a piece comes.
    pub bytes_wanted: Option<u64>,
    /// The block belongs to a piece that another session owns.
    pub endgame_block: Option<(Block, Payload)>,
}

impl Requests {
    /// None, and choked, as every session begins (BEP 3).
    pub fn new(geometry: &Geometry, uploader: Arc<Remote>, now: Instant) -> Requests {
        Requests {
            geometry: *geometry,
            uploader,
            choked: true,
            pieces: Vec::new(),
            endgame: Vec::new(),
            waiting: VecDeque::new(),
            asked: VecDeque::new(),
            withdrawn: VecDeque::new(),
            being_written: None,
            pipeline: Pipeline::new(now),
            told_bytes_wanted: false,
            resting: false,
            progress: now,
        }
    }

    /// The other side answers requests from now on: how many bytes of pieces are wanted.
    pub fn unchoke(&mut self) -> u64 {
        self.choked = false;
        self.told_bytes_wanted = true;
        self.bytes_wanted()
    }

    /// The other side has forgotten all requests; the pieces go back.
    pub fn choke(&mut self) -> Vec<PieceInFlight> {
        self.choked = true;
        self.waiting.clear();
        let asked = mem::take(&mut self.asked);
        self.withdraw(asked);
        self.endgame.clear();
        self.being_written = None;
        mem::take(&mut self.pieces)
    }

    /// How many requests the other side says it holds open (BEP 10, `reqq`).
    pub fn limit_pipeline(&mut self, blocks: u32) {
        self.pipeline.limit(blocks as usize);
    }

    /// Bytes of pieces that may still be assigned before there are enough for the rate.
    pub fn bytes_wanted(&self) -> u64 {
        let stock = self.waiting.len() + self.asked.len();
        let wanted = if self.choked { 0 } else { self.pipeline.blocks() + self.lead() };
        wanted.saturating_sub(stock) as u64 * u64::from(BLOCK_LENGTH)
    }

    /// Takes a piece and says what to request now. If it was choked meanwhile it hands the piece back.
    pub fn assign(&mut self, piece: PieceInFlight, now: Instant) -> Result<Vec<Block>, PieceInFlight> {
        if self.choked {
            return Err(piece);
        }
        self.told_bytes_wanted = false;
        self.waiting.extend(piece.missing_blocks());
        self.pieces.push(piece);
        Ok(self.due(now))
    }

    /// Requests a single block of a piece that another session owns, where that can be done here; says what to request now.
    pub fn request_endgame_block(&mut self, block: Block, now: Instant) -> Vec<Block> {
        if self.choked || self.endgame_position(block).is_some() || self.position(block.piece).is_some() {
            return Vec::new();
        }
        self.endgame.push(block);
        self.waiting.push_back(block);
        self.due(now)
    }

    /// What the block of this name is to us.
    pub fn expects(&mut self, raw: RawBlock) -> Expected {
        let Some(block) = self.geometry.block(raw.index, raw.begin, raw.length) else { return Expected::Never };
        if self.asked.contains(&block) {
            // A block of another session's piece stays in memory: only the owner of a piece writes to it.
            let home = self.position(block.piece).map_or(Home::Memory, |at| self.pieces[at].home());
            return Expected::Yes(block, home);
        }
        match self.withdrawn.iter().position(|withdrawn| *withdrawn == block) {
            Some(at) => {
                self.withdrawn.remove(at);
                Expected::NoLonger
            }
            None => Expected::Never,
        }
    }

    /// Whether a block whose bytes have come may be written to its place on disk: nobody has withdrawn it meanwhile, or
    /// will before it is placed.
    pub fn claim(&mut self, block: Block) -> bool {
        self.being_written = self.asked.contains(&block).then_some(block);
        self.being_written.is_some()
    }

    /// Puts a block that this session brought in its place.
    pub fn place(&mut self, block: Block, payload: Payload, now: Instant) -> Placed {
        self.being_written = None;
        let Some(at) = self.asked.iter().position(|asked| *asked == block) else {
            return Placed::default();
        };
        self.asked.remove(at);
        self.pipeline.arrived(u64::from(block.length), now);
        self.progress = now;
        let mut placed = match self.endgame_position(block) {
            Some(at) => {
                self.endgame.swap_remove(at);
                Placed { endgame_block: Some((block, payload)), ..Placed::default() }
            }
            None => Placed { finished: self.fill(block, payload, self.uploader.clone()), ..Placed::default() },
        };
        placed.requests = self.next_requests(now);
        if !self.told_bytes_wanted && self.waiting.len() < self.lead() {
            self.told_bytes_wanted = true;
            placed.bytes_wanted = Some(self.bytes_wanted());
        }
        placed
    }

    /// Puts a block that another session brought in its place: the piece if that completed it, and whether this
    /// session had asked for the block and is to cancel that.
    pub fn receive(&mut self, block: Block, payload: Payload, uploader: Arc<Remote>) -> (Option<PieceInFlight>, bool) {
        if self.being_written == Some(block) {
            return (None, false);
        }
        self.waiting.retain(|waiting| *waiting != block);
        let asked = self.asked.iter().position(|asked| *asked == block);
        if let Some(at) = asked {
            self.asked.remove(at);
            self.withdraw([block]);
        }
        (self.fill(block, payload, uploader), asked.is_some())
    }

    /// Gives up a piece, or the endgame requests for it; also says which requests are to be cancelled. A piece that a
    /// block is just being written to stays: it is no longer stuck.
    pub fn recall(&mut self, piece: PieceIndex) -> (Option<PieceInFlight>, Vec<Block>) {
        if self.being_written.is_some_and(|block| block.piece == piece) {
            return (None, Vec::new());
        }
        self.waiting.retain(|block| block.piece != piece);
        self.endgame.retain(|block| block.piece != piece);
        let cancelled: Vec<_> = self.asked.iter().copied().filter(|block| block.piece == piece).collect();
        self.asked.retain(|block| block.piece != piece);
        self.withdraw(cancelled.iter().copied());
        (self.position(piece).map(|at| self.pieces.swap_remove(at)), cancelled)
    }

    /// The last missing blocks of a piece, last first: what helpers may bring.
    pub fn last_missing(&self, piece: PieceIndex, count: usize) -> Vec<Block> {
        let Some(at) = self.position(piece) else { return Vec::new() };
        let missing: Vec<_> = self.pieces[at].missing_blocks().collect();
        missing.into_iter().rev().take(count.min(self.pieces[at].room_for_help())).collect()
    }

    /// The last piece of which no block has been requested or has come.
    pub fn spare(&self) -> Option<PieceIndex> {
        let last = self.pieces.last().filter(|piece| piece.is_blank())?.piece();
        let begun = self.asked.iter().any(|block| block.piece == last);
        (!begun).then_some(last)
    }

    /// What to ask for next, once half of the pipeline is free: requests go out in batches. To be asked whenever
    /// requests were withdrawn, since then no block may come that would.
    pub fn next_requests(&mut self, now: Instant) -> Vec<Block> {
        if self.asked.len() <= self.pipeline.blocks() / 2 { self.due(now) } else { Vec::new() }
    }

    /// Whether nothing is asked for and nothing waits to be.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// How long a block that was asked for has kept us waiting; zero when none was, or when we take a rest ourselves.
    pub fn waited(&self, now: Instant) -> Duration {
        let nothing_due = self.asked.is_empty() || self.resting;
        if nothing_due { Duration::ZERO } else { now.saturating_duration_since(self.progress) }
    }

    /// The reader begins or ends a rest.
    pub fn rest(&mut self, resting: bool, now: Instant) {
        self.resting = resting;
        self.progress = now;
    }

    /// The rate at which blocks come; `None` before it has been seen.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.pipeline.bytes_per_second()
    }

    /// How long the pieces that are assigned will take at the rate seen; `None` before there is a rate.
    pub fn time_left(&self) -> Option<Duration> {
        let blocks = (self.waiting.len() + self.asked.len()) as f64;
        let rate = self.bytes_per_second()?;
        Some(Duration::from_secs_f64(blocks * f64::from(BLOCK_LENGTH) / rate))
    }

    /// Blocks that should be waiting when more are asked of the coordinator, whose answer takes a moment.
    fn lead(&self) -> usize {
        self.pipeline.blocks().div_ceil(2)
    }

    fn endgame_position(&self, block: Block) -> Option<usize> {
        self.endgame.iter().position(|other| *other == block)
    }

    fn withdraw(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.withdrawn.extend(blocks);
        let excess = self.withdrawn.len().saturating_sub(MAX_WITHDRAWN);
        self.withdrawn.drain(..excess);
    }

    fn position(&self, piece: PieceIndex) -> Option<usize> {
        self.pieces.iter().position(|one| one.piece() == piece)
    }

    fn fill(&mut self, block: Block, payload: Payload, uploader: Arc<Remote>) -> Option<PieceInFlight> {
        let at = self.position(block.piece)?;
        self.pieces[at].place(block, payload, &uploader);
        self.pieces[at].is_complete().then(|| self.pieces.swap_remove(at))
    }

    fn due(&mut self, now: Instant) -> Vec<Block> {
        if self.asked.is_empty() {
            self.progress = now;
            self.pipeline.begin_turn(now);
        }
        let room = self.pipeline.blocks().saturating_sub(self.asked.len());
        let due: Vec<_> = self.waiting.drain(..room.min(self.waiting.len())).collect();
        self.asked.extend(&due);
        due
    }
}

#[cfg(test)]
mod tests;
