//! The ledger of one torrent: the only writer of piece bytes, and what is known to be on the disk.
//!
//! Invariant: a piece is noted in the resume log before its first byte is written, and marked as safe only after a sync that
//! began when its last byte had been written. It holds for a piece that is written whole from memory and for one that comes
//! block by block; there is no other way to the disk.

use std::{
    collections::BTreeSet,
    io::IoSlice,
    mem, slice,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Instant,
};

use crossbeam_channel::Sender;

use super::{Begun, ResumeLog, Stamps, StorageError, Store};
use crate::metainfo::{Block, PieceIndex};

/// Bytes that follow one another in a piece: where they begin in it, and the blocks that they are.
pub type Run<'a> = (u32, Vec<IoSlice<'a>>);

/// What is written of one torrent: its files, its resume log, and the pieces that are not surely on the disk.
pub struct Ledger {
    store: Arc<Store>,
    log: ResumeLog,
    pending: Mutex<Pending>,
    /// The files as they were when all of the torrent was right and on the disk.
    settled: Arc<OnceLock<Stamps>>,
    orders: Sender<LedgerOrder>,
}

#[derive(Default)]
struct Pending {
    /// Pieces that are written block by block and noted in the log.
    noted: BTreeSet<PieceIndex>,
    /// Pieces whose bytes were written and not synced.
    pieces: Vec<u32>,
    /// Whether the journal knows of them.
    told: bool,
    /// Why the last sync failed, until somebody has heard.
    failure: Option<StorageError>,
}

/// What ledgers ask of the journal's thread.
pub(super) enum LedgerOrder {
    /// Pieces wait since then.
    Sync(Arc<Ledger>, Instant),
    /// Every piece is committed.
    Settle(Arc<Ledger>),
    Close(Arc<Ledger>, Sender<Result<(), StorageError>>),
    End,
}

impl Ledger {
    pub(super) fn new(begun: Begun, orders: Sender<LedgerOrder>) -> Arc<Ledger> {
        let Begun { store, log, have: _, whole } = begun;
        let settled = Arc::new(whole.map_or_else(OnceLock::new, OnceLock::from));
        Arc::new(Ledger { store, log, pending: Mutex::default(), settled, orders })
    }

    /// A ledger that no journal reads: pieces stay hints unless [`Ledger::sync`] is called, as after a kill.
    #[cfg(test)]
    pub(crate) fn without_journal(begun: Begun) -> Arc<Ledger> {
        Ledger::new(begun, crossbeam_channel::bounded(0).0)
    }

    /// Writes a block of a piece that is not kept in memory, before the piece is known to be right. Nobody else may write to
    /// the piece meanwhile.
    pub fn write_block(&self, block: Block, bytes: &[u8]) -> Result<(), StorageError> {
        let is_noted = self.pending().noted.contains(&block.piece);
        if !is_noted {
            self.log.note_written(block.piece)?;
            self.pending().noted.insert(block.piece);
        }
        self.write(block.piece, slice::from_ref(&(block.begin, vec![IoSlice::new(bytes)])))
    }

    /// Writes what is not written yet of a piece whose hash is right, all of it where it was in memory, and counts the piece.
    ///
    /// Also fails, once, if the disk did not take pieces that were committed before; this one is then written all the same.
    pub fn commit(self: &Arc<Ledger>, piece: PieceIndex, rest: &[Run<'_>]) -> Result<(), StorageError> {
        let is_noted = self.pending().noted.remove(&piece);
        if !is_noted {
            self.log.note_written(piece)?;
        }
        self.write(piece, rest)?;
        self.pend(piece)
    }

    /// Writes to a piece that is noted: a run within one file is one system call.
    fn write(&self, piece: PieceIndex, runs: &[Run<'_>]) -> Result<(), StorageError> {
        let start = self.store.metainfo().geometry().offset(piece);
        runs.iter().try_for_each(|(begin, blocks)| self.store.write(start + u64::from(*begin), blocks))
    }

    /// Says that every piece is committed: once all is on the disk, the files are to stay as they are then. False when the
    /// journal has too much to do; the next attempt may succeed.
    pub fn complete(self: &Arc<Ledger>) -> bool {
        self.settled.get().is_some() || self.orders.try_send(LedgerOrder::Settle(self.clone())).is_ok()
    }

    /// The files as they were when all was right and on the disk, once that is so.
    pub fn settled(&self) -> &Arc<OnceLock<Stamps>> {
        &self.settled
    }

    /// Where the pieces lie.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Brings every piece committed so far to the disk and marks it, without waiting for the journal's turn.
    pub fn sync(&self) -> Result<(), StorageError> {
        let mut pieces = {
            let mut pending = self.pending();
            pending.told = false;
            mem::take(&mut pending.pieces)
        };
        if pieces.is_empty() {
            return Ok(());
        }
        // If this fails the pieces stay hints: after a failed sync nobody knows what the disk has.
        self.store.sync()?;
        pieces.sort_unstable();
        self.log.note_synced(&pieces)
    }

    /// Brings everything to the disk and notes how the files look then: from now on a change of them shows, after a kill
    /// as well.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        self.sync()?;
        self.store.is_undisturbed()?;
        let stamps = Stamps::of(&self.store)?;
        self.log.note_clean(&stamps)?;
        // Only the journal settles, and once.
        let _ = self.settled.set(stamps);
        Ok(())
    }

    fn pend(self: &Arc<Ledger>, piece: PieceIndex) -> Result<(), StorageError> {
        let mut pending = self.pending();
        pending.pieces.push(piece.get());
        if !pending.told {
            // If the queue is full the next piece tries again. If the journal has ended its pieces stay hints.
            pending.told = self.orders.try_send(LedgerOrder::Sync(self.clone(), Instant::now())).is_ok();
        }
        pending.failure.take().map_or(Ok(()), Err)
    }

    pub(super) fn sync_in_turn(&self) {
        if let Err(failure) = self.sync() {
            log::warn!("{failure}");
            self.pending().failure = Some(failure);
        }
    }

    pub(super) fn settle_in_turn(&self) {
        if self.settled.get().is_none()
            && let Err(failure) = self.settle()
        {
            log::warn!("{failure}");
            self.pending().failure = Some(failure);
        }
    }

    /// Whether pieces wait for their sync.
    #[cfg(test)]
    pub(super) fn is_pending(&self) -> bool {
        !self.pending().pieces.is_empty()
    }

    /// The last sync, and the mark of an orderly end. What was complete must still be as it was then.
    pub(super) fn close(&self) -> Result<(), StorageError> {
        if let Some(stamps) = self.settled.get() {
            return stamps.check(&self.store);
        }
        self.sync()?;
        match self.pending().failure.take() {
            Some(failure) => Err(failure),
            None => self.log.note_clean(&Stamps::of(&self.store)?),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it holds the pending pieces")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Torrent, *};
    use crate::storage::{Writing, begin};

    /// How many pieces are there, and how many were hashed to know that.
    fn look(torrent: &Torrent, dir: &std::path::Path) -> (Arc<Ledger>, u32, u32) {
        let hashed = std::sync::atomic::AtomicU32::new(0);
        let count = |_, of| hashed.store(of, std::sync::atomic::Ordering::Relaxed);
        let begun = begin(&torrent.metainfo, dir, Writing::default(), 1, &count).unwrap();
        let here = begun.have.count();
        (Ledger::without_journal(begun), here, hashed.into_inner())
    }

    #[test]
    fn a_piece_that_comes_block_by_block_is_found_after_a_kill_before_its_hash_was_known() {
        let (torrent, dir) = (Torrent::of_one_file(40_000, "a", 80_000), tempfile::tempdir().unwrap());
        let geometry = torrent.metainfo.geometry();
        let (ledger, ..) = look(&torrent, dir.path());
        let piece = geometry.piece(0).unwrap();
        for number in 0..geometry.block_count(piece) {
            let block = geometry.nth_block(piece, number);
            let bytes = &torrent.piece(piece)[block.begin as usize..][..block.length as usize];
            ledger.write_block(block, bytes).unwrap();
        }
        drop(ledger);
        let (_, here, hashed) = look(&torrent, dir.path());
        assert_eq!((here, hashed), (1, 1));
    }

    #[test]
    fn a_piece_is_noted_once_whichever_way_it_comes() {
        let (torrent, dir) = (Torrent::of_one_file(40_000, "a", 120_000), tempfile::tempdir().unwrap());
        let geometry = torrent.metainfo.geometry();
        let (ledger, ..) = look(&torrent, dir.path());
        let log = || {
            let records = crate::storage::Records::find(dir.path()).unwrap().unwrap();
            std::fs::metadata(records.path_of(&format!("{}.resume", torrent.metainfo.info_hash()))).unwrap().len()
        };
        let [first, second] = [0, 1].map(|index| geometry.piece(index).unwrap());
        let before = log();
        ledger.commit(first, &[(0, vec![IoSlice::new(torrent.piece(first))])]).unwrap();
        let record = log() - before;
        // The last block was a helper's, and waited in memory for the hash.
        let bytes = torrent.piece(second);
        for number in 0..2 {
            let block = geometry.nth_block(second, number);
            ledger.write_block(block, &bytes[block.begin as usize..][..block.length as usize]).unwrap();
        }
        let last = geometry.nth_block(second, 2).begin;
        ledger.commit(second, &[(last, vec![IoSlice::new(&bytes[last as usize..])])]).unwrap();
        assert_eq!(log() - before, 2 * record);
        ledger.sync().unwrap();
        drop(ledger);
        let (_, here, hashed) = look(&torrent, dir.path());
        assert_eq!((here, hashed), (2, 0));
    }
}
