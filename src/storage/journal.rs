//! The thread that turns what is written into what is safe: it syncs the files, then says so in the resume log.
//!
//! One thread for the whole process, asleep while nothing is written. A torrent's [`Ledger`] collects the pieces that are
//! committed; a torrent with new ones is synced once [`SYNC_INTERVAL`] has passed.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{
    Begun, StorageError,
    ledger::{Ledger, LedgerOrder},
};

/// How long a piece may wait for its sync to begin. At most two seconds may be lost in a power cut, and a sync takes its time.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Orders that may wait for the journal while it syncs: one for each torrent that is being fetched, and then some.
const MAX_ORDERS: usize = 256;

/// The journal's thread. Dropping it syncs what waits, and ends it.
pub struct Journal {
    orders: Sender<LedgerOrder>,
    thread: Option<JoinHandle<()>>,
}

/// How the closing of a ledger came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalEnding {
    /// Everything is on the disk; the next start trusts it without hashing.
    Clean,
    /// The disk was too slow; the next start hashes the pieces that were not synced.
    Late,
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
        if self.orders.send_deadline(LedgerOrder::Close(ledger, answer), deadline).is_err() {
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
        let _ = self.orders.send(LedgerOrder::End);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(orders: &Receiver<LedgerOrder>) {
    let mut waiting: Vec<Arc<Ledger>> = Vec::new();
    let mut due = None;
    loop {
        let order = match due {
            Some(due) => orders.recv_deadline(due),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(LedgerOrder::Sync(ledger, since)) => {
                // What came while another sync was under way has waited for a part of its time already.
                due.get_or_insert(since + SYNC_INTERVAL);
                waiting.push(ledger);
            }
            Ok(LedgerOrder::Settle(ledger)) => ledger.settle_in_turn(),
            Ok(LedgerOrder::Close(ledger, answer)) => {
                waiting.retain(|other| !Arc::ptr_eq(other, &ledger));
                let closed = ledger.close();
                drop(ledger); // Unlocks the log before anyone hears that it is closed.
                let _ = answer.send(closed); // Who asked may have lost patience.
            }
            Err(RecvTimeoutError::Timeout) => {
                waiting.drain(..).for_each(|ledger| ledger.sync_in_turn());
                due = None;
            }
            Ok(LedgerOrder::End) | Err(RecvTimeoutError::Disconnected) => {
                return waiting.iter().for_each(|ledger| ledger.sync_in_turn());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

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
        ledger.commit(piece, &[(0, vec![IoSlice::new(torrent.piece(piece))])])
    }

    #[test]
    fn the_journal_syncs_by_itself() {
        let (torrent, dir) = (Torrent::of_files(4, &[("a", 9), ("b", 12)]), tempfile::tempdir().unwrap());
        let journal = Journal::start().unwrap();
        let (ledger, ..) = attach(&journal, &torrent, dir.path());
        for round in [[0, 3], [1, 4]] {
            round.iter().for_each(|piece| commit(&ledger, &torrent, *piece).unwrap());
            let deadline = Instant::now() + PATIENCE;
            while ledger.is_pending() {
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
