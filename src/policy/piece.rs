//! A piece in flight: one value that says which of its blocks are present, where, and which peer sent each.
//!
//! It belongs to one session at a time. On choke, stall or end it goes back to the coordinator with all that it holds,
//! and on to the next session; only when every block is present does it go to be hashed. A piece that failed its hash
//! starts again, with the record of who sent what, so that the attempt that succeeds convicts the liars.

use std::{io::IoSlice, sync::Arc};

use crate::{
    metainfo::{Block, Geometry, PieceIndex},
    policy::{BlockBuffer, PieceState, PieceStep, Remote},
};

/// Records kept of failed attempts at one piece, in blocks: two attempts at the longest piece there is, and hundreds at
/// a usual one. More would let liars fill memory.
const MAX_RECORDS: usize = 64 * 1024;

/// Blocks that helpers may bring to a piece on disk. They wait in memory for its hash, since only the piece's owner
/// writes to it: 1 MiB.
const MAX_HELP: usize = 64;

/// One piece on its way.
#[derive(Debug)]
pub struct PieceInFlight {
    geometry: Geometry,
    piece: PieceIndex,
    home: Home,
    state: PieceState,
    blocks: Vec<BlockSlot>,
    missing: u32,
    record: Vec<Contribution>,
    failures: usize,
}

/// Where the blocks of a piece wait for its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In memory; written whole once verified.
    Memory,
    /// On disk, each written as it arrives and read back for the hash, so that memory does not depend on the piece length.
    /// The few that helpers bring wait in memory.
    Disk,
}

/// The bytes of a block that has arrived.
#[derive(Debug)]
pub enum Payload {
    /// In this buffer.
    Held(BlockBuffer),
    /// At its place on disk.
    Stored,
}

/// A peer sent this block, with these bytes, in an attempt that failed.
#[derive(Debug, Clone)]
pub struct Contribution {
    uploader: Arc<Remote>,
    block: u32,
    digest: [u8; 20],
}

#[derive(Debug)]
enum BlockSlot {
    Missing,
    Present(Payload, Arc<Remote>),
}

impl PieceInFlight {
    /// A missing piece that was picked.
    pub fn new(geometry: &Geometry, piece: PieceIndex, home: Home) -> PieceInFlight {
        let missing = geometry.block_count(piece);
        let blocks = (0..missing).map(|_| BlockSlot::Missing).collect();
        let mut piece = PieceInFlight {
            geometry: *geometry,
            piece,
            home,
            state: PieceState::Missing,
            blocks,
            missing,
            record: Vec::new(),
            failures: 0,
        };
        piece.step(PieceStep::Picked);
        piece
    }

    /// Where it stands.
    pub fn state(&self) -> PieceState {
        self.state
    }

    /// A partial piece was picked.
    pub fn picked(&mut self) {
        self.step(PieceStep::Picked);
    }

    /// It comes back from its session.
    pub fn returned(&mut self) {
        self.step(if self.is_blank() { PieceStep::ReturnedEmpty } else { PieceStep::Returned });
    }

    /// It was right, and is on the disk.
    pub fn verified(mut self) -> PieceIndex {
        self.step(PieceStep::Verified);
        self.piece
    }

    fn step(&mut self, step: PieceStep) {
        let next = self.state.after(step);
        debug_assert!(next.is_some(), "{step:?} happens to piece {}, which is {:?}", self.piece, self.state);
        self.state = next.unwrap_or(self.state);
    }

    /// Which piece it is.
    pub fn piece(&self) -> PieceIndex {
        self.piece
    }

    /// Where its blocks wait.
    pub fn home(&self) -> Home {
        self.home
    }

    /// Bytes of memory that it may come to hold.
    pub fn memory(&self) -> u64 {
        match self.home {
            Home::Memory => u64::from(self.geometry.length_of(self.piece)),
            Home::Disk => 0,
        }
    }

    /// Whether every block is present.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Whether no block is present and no attempt has failed: nothing is lost with it.
    pub fn is_blank(&self) -> bool {
        self.missing as usize == self.blocks.len() && self.record.is_empty()
    }

    /// Who should not be asked for it next: of those that sent blocks in attempts that failed, another one each time. Without
    /// the liar an attempt succeeds, and that convicts it.
    pub fn suspect(&self) -> Option<&Remote> {
        let mut uploaders: Vec<&Arc<Remote>> = Vec::new();
        for contribution in &self.record {
            if !uploaders.iter().any(|known| known.is_same_peer(&contribution.uploader)) {
                uploaders.push(&contribution.uploader);
            }
        }
        uploaders.get(self.failures % uploaders.len().max(1)).map(|uploader| &***uploader)
    }

    /// The blocks that are not present, in order.
    pub fn missing_blocks(&self) -> impl Iterator<Item = Block> + '_ {
        let missing = self.blocks.iter().enumerate().filter(|(_, slot)| matches!(slot, BlockSlot::Missing));
        missing.map(|(number, _)| self.geometry.nth_block(self.piece, number as u32))
    }

    /// Puts a block in its place; a block that is there already stays as it is.
    pub fn place(&mut self, block: Block, payload: Payload, uploader: &Arc<Remote>) {
        let number = block.number(&self.geometry).expect("blocks are asked for as they are cut") as usize;
        if matches!(self.blocks[number], BlockSlot::Missing) {
            self.blocks[number] = BlockSlot::Present(payload, uploader.clone());
            self.missing -= 1;
            if self.missing == 0 {
                self.step(PieceStep::Completed);
            }
        }
    }

    /// How many blocks helpers may bring.
    pub fn room_for_help(&self) -> usize {
        match self.home {
            Home::Memory => self.missing as usize,
            Home::Disk => MAX_HELP.saturating_sub(self.blocks.iter().filter_map(BlockSlot::held).count()),
        }
    }

    /// The blocks in order, with the bytes of those that are in memory.
    pub fn blocks(&self) -> impl Iterator<Item = (Block, Option<IoSlice<'_>>)> {
        let held = self.blocks.iter().map(BlockSlot::held).enumerate();
        held.map(|(number, held)| (self.geometry.nth_block(self.piece, number as u32), held))
    }

    /// What is in memory, as runs of blocks that follow one another: where each begins in the piece, and its bytes.
    pub fn held_runs(&self) -> Vec<(u32, Vec<IoSlice<'_>>)> {
        let mut runs: Vec<(u32, Vec<IoSlice<'_>>)> = Vec::new();
        let mut follows = false;
        for (block, held) in self.blocks() {
            match (held, runs.last_mut()) {
                (Some(bytes), Some((_, run))) if follows => run.push(bytes),
                (Some(bytes), _) => runs.push((block.begin, vec![bytes])),
                (None, _) => {}
            }
            follows = held.is_some();
        }
        runs
    }

    /// Empties a piece whose hash was wrong. When a single peer sent all of it, that peer is the liar and is returned;
    /// otherwise who sent what is recorded, `digests` being the SHA-1 of each block, until an attempt succeeds.
    pub fn reject(&mut self, digests: &[[u8; 20]]) -> Option<Arc<Remote>> {
        self.missing = self.blocks.len() as u32;
        self.failures += 1;
        let emptied = self.blocks.iter_mut().map(|slot| std::mem::replace(slot, BlockSlot::Missing));
        let sent = emptied.zip(digests).enumerate().filter_map(|(number, (slot, digest))| match slot {
            BlockSlot::Present(_, uploader) => Some(Contribution { uploader, block: number as u32, digest: *digest }),
            BlockSlot::Missing => None,
        });
        let sent: Vec<_> = sent.collect();
        let first = sent.first().map(|first| first.uploader.clone());
        let liar = first.filter(|first| sent.iter().all(|other| other.uploader.is_same_peer(first)));
        if liar.is_none() {
            self.record.extend(sent);
            // The newest attempts are kept whole; even the longest piece has fewer blocks than there is room for.
            let excess = self.record.len().saturating_sub(MAX_RECORDS);
            self.record.drain(..excess);
        }
        self.step(if self.is_blank() { PieceStep::FailedEmpty } else { PieceStep::Failed });
        liar
    }

    /// The peers that sent other bytes in an earlier attempt than the ones that have now proved right.
    pub fn liars(&self, digests: &[[u8; 20]]) -> Vec<Arc<Remote>> {
        let mut liars: Vec<Arc<Remote>> = Vec::new();
        for contribution in &self.record {
            let lied = digests.get(contribution.block as usize).is_some_and(|right| *right != contribution.digest);
            if lied && !liars.iter().any(|known| known.is_same_peer(&contribution.uploader)) {
                liars.push(contribution.uploader.clone());
            }
        }
        liars
    }
}

impl BlockSlot {
    fn held(&self) -> Option<IoSlice<'_>> {
        match self {
            BlockSlot::Present(Payload::Held(buffer), _) => Some(IoSlice::new(buffer)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Buffers;

    impl PieceInFlight {
        /// Who sent each block that is present.
        pub(crate) fn uploaders(&self) -> impl Iterator<Item = &Remote> {
            self.blocks.iter().filter_map(|slot| match slot {
                BlockSlot::Present(_, uploader) => Some(&**uploader),
                BlockSlot::Missing => None,
            })
        }
    }

    fn piece() -> (Geometry, PieceInFlight) {
        let geometry = Geometry::new(40_000, 40_000).unwrap();
        let piece = PieceInFlight::new(&geometry, geometry.piece(0).unwrap(), Home::Memory);
        (geometry, piece)
    }

    fn fill(piece: &mut PieceInFlight, uploaders: &[&Arc<Remote>], bytes: &[u8]) {
        let blocks: Vec<_> = piece.missing_blocks().collect();
        for ((block, uploader), byte) in blocks.into_iter().zip(uploaders).zip(bytes) {
            let mut buffer = Arc::new(Buffers::default()).take(block.length);
            buffer.fill(*byte);
            piece.place(block, Payload::Held(buffer), uploader);
        }
    }

    fn lengths(piece: &PieceInFlight) -> Vec<(u32, Vec<usize>)> {
        let run = |(begin, blocks): (u32, Vec<IoSlice<'_>>)| (begin, blocks.iter().map(|block| block.len()).collect());
        piece.held_runs().into_iter().map(run).collect()
    }

    #[test]
    fn a_piece_is_complete_when_its_last_block_is_there() {
        let (geometry, mut piece) = piece();
        let uploader = Remote::for_tests(1);
        assert!(piece.is_blank() && piece.held_runs().is_empty());
        fill(&mut piece, &[&uploader, &uploader], &[1, 2]);
        assert_eq!(piece.missing_blocks().collect::<Vec<_>>(), [geometry.nth_block(piece.piece(), 2)]);
        fill(&mut piece, &[&uploader], &[3]);
        assert!(piece.is_complete() && piece.state() == PieceState::Hashing);
        assert_eq!(lengths(&piece), [(0, vec![16_384, 16_384, 7_232])], "it is written at once");
    }

    #[test]
    fn a_peer_that_sent_the_whole_of_a_bad_piece_lied() {
        let (_, mut piece) = piece();
        let uploader = Remote::for_tests(1);
        fill(&mut piece, &[&uploader; 3], &[1, 2, 3]);
        let liar = piece.reject(&[[1; 20], [2; 20], [3; 20]]).unwrap();
        assert!(Arc::ptr_eq(&liar, &uploader) && piece.state() == PieceState::Missing);
    }

    #[test]
    fn among_several_uploaders_the_right_bytes_convict_exactly_the_liar() {
        let (_, mut piece) = piece();
        let uploaders = [1, 2, 3].map(Remote::for_tests);
        fill(&mut piece, &[&uploaders[0], &uploaders[1], &uploaders[2]], &[1, 9, 3]);
        assert!(piece.reject(&[[1; 20], [9; 20], [3; 20]]).is_none());
        assert!(piece.suspect().is_some() && !piece.is_complete() && piece.state() == PieceState::Partial);
        let liars = piece.liars(&[[1; 20], [2; 20], [3; 20]]);
        assert_eq!(liars.len(), 1);
        assert!(Arc::ptr_eq(&liars[0], &uploaders[1]));
    }

    #[test]
    fn what_is_in_memory_is_written_in_as_few_runs_as_the_disk_leaves_gaps() {
        let geometry = Geometry::new(5 * 16_384, 5 * 16_384).unwrap();
        let mut piece = PieceInFlight::new(&geometry, geometry.piece(0).unwrap(), Home::Disk);
        let owner = Remote::for_tests(1);
        for (number, block) in piece.missing_blocks().collect::<Vec<_>>().into_iter().enumerate() {
            let buffer = Arc::new(Buffers::default()).take(block.length);
            piece.place(block, if number == 2 { Payload::Stored } else { Payload::Held(buffer) }, &owner);
        }
        assert_eq!(lengths(&piece), [(0, vec![16_384; 2]), (3 * 16_384, vec![16_384; 2])]);
    }

    #[test]
    fn helpers_may_bring_all_of_a_piece_in_memory_and_a_little_of_one_on_disk() {
        let geometry = Geometry::new(100 * 16_384, 100 * 16_384).unwrap();
        let new = |home| PieceInFlight::new(&geometry, geometry.piece(0).unwrap(), home);
        assert_eq!(new(Home::Memory).room_for_help(), 100);
        let mut piece = new(Home::Disk);
        let (helper, owner) = (Remote::for_tests(1), Remote::for_tests(2));
        fill(&mut piece, &[&helper; 60], &[1; 60]);
        assert_eq!(piece.room_for_help(), 4);
        let rest: Vec<_> = piece.missing_blocks().collect();
        rest.into_iter().for_each(|block| piece.place(block, Payload::Stored, &owner));
        assert!(piece.is_complete() && piece.room_for_help() == 4);
        assert_eq!(lengths(&piece), [(0, vec![16_384; 60])]);
    }
}
