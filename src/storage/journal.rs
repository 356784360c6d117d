//! The thread that turns what is written into what is safe: it syncs the files, then says so in the resume log.
//!
//! One thread for the whole process, asleep while nothing is written. Whoever commits a piece only puts its number into
//! the torrent's [`Ledger`]; a torrent with new pieces is synced once [`SYNC_INTERVAL`] has passed. That order is the
//! invariant: a piece is marked only after a sync that began when its last byte had been written.

use std::{
    io::{self, IoSlice},
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Begun, ResumeLog, Stamps, StorageError, Store};
use crate::metainfo::PieceIndex;

/// How long a piece may wait for its sync to begin. At most two seconds may be lost in a power cut, and a sync takes its time.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Orders that may wait for the journal while it syncs: one for each torrent that is being fetched, and then some.
const MAX_ORDERS: usize = 256;

/// The journal's thread. Dropping it syncs what waits, and ends it.
pub struct Journal {
    orders: Sender<JournalOrder>,
    thread: Option<JoinHandle<()>>,
}

/// What is committed of one torrent: its files, its resume log, and the pieces that are not surely on the disk.
pub struct Ledger {
    store: Arc<Store>,
    log: ResumeLog,
    pending: Mutex<Pending>,
    /// The files as they were when all of the torrent was right and on the disk.
    settled: Arc<OnceLock<Stamps>>,
    orders: Sender<JournalOrder>,
}

/// How the closing of a ledger came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalEnding {
    /// Everything is on the disk; the next start trusts it without hashing.
    Clean,
    /// The disk was too slow; the next start hashes the pieces that were not synced.
    Late,
}

#[derive(Default)]
struct Pending {
    /// Pieces whose bytes were written and not synced.
    pieces: Vec<u32>,
    /// Whether the journal knows of them.
    told: bool,
    /// Why the last sync failed, until somebody has heard.
    failure: Option<StorageError>,
}

enum JournalOrder {
    /// Pieces wait since then.
    Sync(Arc<Ledger>, Instant),
    /// Every piece is committed.
    Settle(Arc<Ledger>),
    Close(Arc<Ledger>, Sender<Result<(), StorageError>>),
    End,
}

impl Journal {
    /// Starts the thread.
    pub fn start() -> io::Result<Journal> {
        let (orders, receiver) = bounded(MAX_ORDERS);
        let thread = thread::Builder::new().name("journal".into()).spawn(move || run(&receiver))?;
        Ok(Journal { orders, thread: Some(thread) })
    }

    /// Keeps the log of what has begun from now on.
    pub fn attach(&self, begun: Begun) -> Arc<Ledger> {
        Ledger::new(begun, self.orders.clone())
    }

    /// Syncs the ledger a last time and marks it as ended in order; waits no longer than `within`.
    ///
    /// Nobody may commit any more. The log is unlocked once every other holder of the ledger has let it go.
    pub fn close(&self, ledger: Arc<Ledger>, within: Duration) -> Result<JournalEnding, StorageError> {
        let deadline = Instant::now() + within;
        let (answer, answered) = bounded(1);
        if self.orders.send_deadline(JournalOrder::Close(ledger, answer), deadline).is_err() {
            return Ok(JournalEnding::Late);
        }
        match answered.recv_deadline(deadline) {
            Ok(closed) => closed.map(|()| JournalEnding::Clean),
            Err(_) => Ok(JournalEnding::Late),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // If either fails the thread has panicked, which it has told on its own.
        let _ = self.orders.send(JournalOrder::End);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Ledger {
    fn new(begun: Begun, orders: Sender<JournalOrder>) -> Arc<Ledger> {
        let Begun { store, log, have: _, whole } = begun;
        let settled = Arc::new(whole.map_or_else(OnceLock::new, OnceLock::from));
        Arc::new(Ledger { store, log, pending: Mutex::default(), settled, orders })
    }

    /// A ledger that no journal reads: pieces stay hints unless [`Ledger::sync`] is called, as after a kill.
    #[cfg(test)]
    pub(super) fn without_journal(begun: Begun) -> Arc<Ledger> {
        Ledger::new(begun, bounded(0).0)
    }

    /// Writes a piece whose hash is right: notes it in the log, writes its blocks, leaves the rest to the journal.
    ///
    /// Also fails, once, if the disk did not take pieces that were committed before; this one is then written all the same.
    pub fn commit(self: &Arc<Ledger>, piece: PieceIndex, blocks: &[IoSlice<'_>]) -> Result<(), StorageError> {
        self.log.note_written(piece)?;
        self.store.write(self.store.metainfo().geometry().offset(piece), blocks)?;
        self.pend(piece)
    }

    /// Counts a piece whose blocks were written to the store as they came, and whose hash, read back, is right.
    pub fn confirm(self: &Arc<Ledger>, piece: PieceIndex) -> Result<(), StorageError> {
        self.log.note_written(piece)?;
        self.pend(piece)
    }

    /// Says that every piece is committed: once all is on the disk, the files are to stay as they are then. False when the
    /// journal has too much to do; the next attempt may succeed.
    pub fn complete(self: &Arc<Ledger>) -> bool {
        self.settled.get().is_some() || self.orders.try_send(JournalOrder::Settle(self.clone())).is_ok()
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
            pending.told = self.orders.try_send(JournalOrder::Sync(self.clone(), Instant::now())).is_ok();
        }
        pending.failure.take().map_or(Ok(()), Err)
    }

    fn sync_in_turn(&self) {
        if let Err(failure) = self.sync() {
            log::warn!("{failure}");
            self.pending().failure = Some(failure);
        }
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

fn run(orders: &Receiver<JournalOrder>) {
    let mut waiting: Vec<Arc<Ledger>> = Vec::new();
    let mut due = None;
    loop {
        let order = match due {
            Some(due) => orders.recv_deadline(due),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(JournalOrder::Sync(ledger, since)) => {
                // What came while another sync was under way has waited for a part of its time already.
                due.get_or_insert(since + SYNC_INTERVAL);
                waiting.push(ledger);
            }
            Ok(JournalOrder::Settle(ledger)) => {
                if ledger.settled.get().is_none()
                    && let Err(failure) = ledger.settle()
                {
                    log::warn!("{failure}");
                    ledger.pending().failure = Some(failure);
                }
            }
            Ok(JournalOrder::Close(ledger, answer)) => {
                waiting.retain(|other| !Arc::ptr_eq(other, &ledger));
                let closed = ledger.close();
                drop(ledger); // Unlocks the log before anyone hears that it is closed.
                let _ = answer.send(closed); // Who asked may have lost patience.
            }
            Err(RecvTimeoutError::Timeout) => {
                waiting.drain(..).for_each(|ledger| ledger.sync_in_turn());
                due = None;
            }
            Ok(JournalOrder::End) | Err(RecvTimeoutError::Disconnected) => {
                return waiting.iter().for_each(|ledger| ledger.sync_in_turn());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Torrent, *};
    use crate::storage::{Writing, begin};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn attach(journal: &Journal, torrent: &Torrent, dir: &std::path::Path) -> (Arc<Ledger>, Vec<u32>, u32) {
        let hashed = std::sync::atomic::AtomicU32::new(0);
        let count = |_, of| hashed.store(of, std::sync::atomic::Ordering::Relaxed);
        let begun = begin(&torrent.metainfo, dir, Writing::default(), 1, &count).unwrap();
        let have = begun.have.iter().collect();
        (journal.attach(begun), have, hashed.into_inner())
    }

    fn commit(ledger: &Arc<Ledger>, torrent: &Torrent, piece: u32) -> Result<(), StorageError> {
        let piece = torrent.metainfo.geometry().piece(piece).unwrap();
        ledger.commit(piece, &[IoSlice::new(torrent.piece(piece))])
    }

    #[test]
    fn the_journal_syncs_by_itself() {
        let (torrent, dir) = (Torrent::of_files(4, &[("a", 9), ("b", 12)]), tempfile::tempdir().unwrap());
        let journal = Journal::start().unwrap();
        let (ledger, ..) = attach(&journal, &torrent, dir.path());
        for round in [[0, 3], [1, 4]] {
            round.iter().for_each(|piece| commit(&ledger, &torrent, *piece).unwrap());
            let deadline = Instant::now() + PATIENCE;
            while !ledger.pending().pieces.is_empty() {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(10));
            }
        }
        drop(journal); // Waits for the sync that may have just begun.
        drop(ledger);
        let journal = Journal::start().unwrap();
        let (_, have, hashed) = attach(&journal, &torrent, dir.path());
        assert_eq!((have, hashed), (vec![0, 1, 3, 4], 0));
    }

    #[test]
    fn closing_makes_everything_safe_and_lets_the_log_go() {
        let (torrent, dir) = (Torrent::of_files(4, &[("a", 9), ("b", 12)]), tempfile::tempdir().unwrap());
        let journal = Journal::start().unwrap();
        for expected in [vec![], vec![0], vec![0, 1], vec![0, 1, 2]] {
            let (ledger, have, hashed) = attach(&journal, &torrent, dir.path());
            assert_eq!((&have, hashed), (&expected, 0));
            commit(&ledger, &torrent, have.len() as u32).unwrap();
            assert_eq!(journal.close(ledger, PATIENCE).unwrap(), JournalEnding::Clean);
        }
    }

    #[test]
    fn many_threads_commit_to_one_ledger() {
        let (torrent, dir) = (Torrent::of_files(16, &[("a", 1000), ("b", 2000)]), tempfile::tempdir().unwrap());
        let journal = Journal::start().unwrap();
        let (ledger, ..) = attach(&journal, &torrent, dir.path());
        let pieces = torrent.metainfo.geometry().piece_count();
        thread::scope(|scope| {
            for first in 0..4 {
                let (ledger, torrent) = (&ledger, &torrent);
                scope.spawn(move || {
                    (first..pieces).step_by(4).for_each(|piece| commit(ledger, torrent, piece).unwrap());
                });
            }
        });
        journal.close(ledger, PATIENCE).unwrap();
        let (ledger, have, hashed) = attach(&journal, &torrent, dir.path());
        assert_eq!((have.len(), hashed), (pieces as usize, 0));
        let mut content = vec![0; 3000];
        ledger.store().read(0, &mut content).unwrap();
        assert_eq!(content, torrent.content);
    }

    #[test]
    fn a_sync_that_failed_is_told_once_and_its_pieces_stay_hints() {
        let (torrent, dir) = (Torrent::of_files(4, &[("a", 8), ("b", 8)]), tempfile::tempdir().unwrap());
        let journal = Journal::start().unwrap();
        let (ledger, ..) = attach(&journal, &torrent, dir.path());
        commit(&ledger, &torrent, 2).unwrap();
        ledger.store().close_all();
        std::fs::remove_file(dir.path().join("t/b")).unwrap();
        ledger.sync_in_turn();
        assert!(matches!(commit(&ledger, &torrent, 0), Err(StorageError::Missing { .. })));
        assert!(commit(&ledger, &torrent, 1).is_ok());
        drop(ledger);
    }
}
