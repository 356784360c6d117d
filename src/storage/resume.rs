//! What survives a `kill -9` and a power cut: a log beside the files that says which pieces are in them.
//!
//! A piece is *written* down before its bytes go to the file: a hint, and the next start proves it by hashing that piece.
//! It is *synced* after the disk has confirmed its bytes: a fact. After a kill the system still writes out everything, so
//! no complete piece is lost; after a power cut those are lost that were not synced, the last two seconds at most (see
//! [`super::journal`]). What the log does not vouch for, or what files changed since do not bear out, is hashed before
//! it counts.
//!
//! The log is `.INFOHASH.resume` in the download folder and locked while a fetch runs. Appends are single writes of
//! a few bytes, so any thread may make them without a lock.

use std::{
    fs,
    io::{BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use rustix::fs::OFlags;

use super::{
    Error, Stamps, Store,
    layout::{Place, extents},
    record::{self, Record, Replay},
    stamp::Stamp,
    verify,
};
use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, Metainfo, PieceIndex},
};

/// Seconds that a file may be younger than the log of a fetch that was killed. The two are written to within
/// the time that a piece takes to arrive; what was touched later than that was touched by somebody else.
const MAX_YOUNGER_SECONDS: i64 = 600;

/// The log of one torrent in one folder. No other process has it open while this lives.
#[derive(Debug)]
pub struct ResumeLog {
    file: fs::File,
    path: PathBuf,
    info_hash: InfoHash,
}

/// Where the log of a torrent that is fetched into `dir` lies.
pub fn path(dir: &Path, info_hash: &InfoHash) -> PathBuf {
    dir.join(format!(".{info_hash}.resume"))
}

/// Opens the log of a store that is open for writing, and answers the pieces that are surely in its files.
///
/// Pieces that are merely likely are hashed, on `workers` threads; `progress` hears how many of how many are done. If there
/// is no log, or it is of no use, that is every piece the files are long enough for.
pub fn open(
    store: &Store,
    workers: usize,
    progress: &(dyn Fn(u32, u32) + Sync),
) -> Result<(ResumeLog, Bitfield), Error> {
    let metainfo = store.metainfo();
    let path = path(store.dir(), &metainfo.info_hash());
    let stamps = Stamps::of(store)?;
    let old = ResumeLog::lock(&path, metainfo.info_hash(), Opening::Old)?;
    let replay = old.as_ref().map(|log| log.replay(metainfo)).transpose()?.flatten();
    let belief = Belief::form(replay, present(metainfo, &stamps), &stamps, old.as_ref().and_then(ResumeLog::age));

    let (done, total) = (AtomicU32::new(0), belief.doubtful.count());
    let proved = verify(store, &belief.doubtful, workers, &|_, _| progress(done.fetch_add(1, Relaxed) + 1, total))?;
    let mut have = belief.trusted;
    proved.iter().for_each(|piece| {
        have.set(piece);
    });
    match old {
        Some(log) if belief.log_stands => Ok((log, have)),
        _ => {
            store.sync()?; // What was hashed may have come from memory.
            Ok((ResumeLog::begin(path, metainfo.info_hash(), &have)?, have))
        }
    }
}

/// What to think of each piece before any is hashed.
struct Belief {
    trusted: Bitfield,
    doubtful: Bitfield,
    /// Whether the log may simply be continued.
    log_stands: bool,
}

impl Belief {
    fn form(replay: Option<Replay>, present: Bitfield, stamps: &Stamps, log_stamp: Option<Stamp>) -> Belief {
        let unchanged = |replay: &Replay| match (replay.clean, stamps.latest(), log_stamp) {
            (Some(digest), _, _) => digest == stamps.digest(),
            (None, Some(latest), Some(log)) => latest <= log.seconds.saturating_add(MAX_YOUNGER_SECONDS),
            (None, _, _) => true,
        };
        match replay.filter(unchanged) {
            None => Belief { trusted: Bitfield::empty(present.len()), doubtful: present, log_stands: false },
            Some(Replay { synced, written, clean }) => Belief {
                trusted: filter(&synced, |piece| present.get(piece)),
                doubtful: filter(&written, |piece| present.get(piece) && !synced.get(piece)),
                log_stands: clean.is_some(),
            },
        }
    }
}

/// The pieces that the files are long enough to hold.
fn present(metainfo: &Metainfo, stamps: &Stamps) -> Bitfield {
    let geometry = metainfo.geometry();
    let mut present = Bitfield::empty(geometry.piece_count());
    for piece in geometry.pieces() {
        let whole = extents(metainfo.files(), geometry.range_of(piece)).all(|extent| match extent.place {
            Place::Zeros => true,
            Place::File { index, at } => stamps.get(index).is_some_and(|stamp| stamp.size >= at + extent.length),
        });
        if whole {
            present.set(piece.get());
        }
    }
    present
}

fn filter(pieces: &Bitfield, keep: impl Fn(u32) -> bool) -> Bitfield {
    let mut kept = Bitfield::empty(pieces.len());
    pieces.iter().filter(|piece| keep(*piece)).for_each(|piece| {
        kept.set(piece);
    });
    kept
}

#[derive(PartialEq)]
enum Opening {
    Old,
    New,
}

impl ResumeLog {
    /// Notes that the piece, whose hash was right, is about to be written. To be called before its bytes are.
    pub fn note_written(&self, piece: PieceIndex) -> Result<(), Error> {
        self.append(&Record::Written(piece.get()).encode(&self.info_hash))
    }

    /// Notes, and brings to the disk, that these pieces are on it. They ascend.
    pub(super) fn note_synced(&self, pieces: &[u32]) -> Result<(), Error> {
        let runs = pieces.chunk_by(|a, b| a + 1 == *b);
        let record = |run: &[u32]| Record::Synced { first: run[0], count: run.len() as u32 }.encode(&self.info_hash);
        self.append(&runs.flat_map(record).collect::<Vec<_>>())?;
        self.file.sync_data().map_err(|error| Error::new("sync", &self.path, error))
    }

    /// Notes that everything written is synced, and how the files looked then.
    pub(super) fn note_clean(&self, stamps: &Stamps) -> Result<(), Error> {
        self.append(&Record::Clean(stamps.digest()).encode(&self.info_hash))
    }

    fn append(&self, records: &[u8]) -> Result<(), Error> {
        (&self.file).write_all(records).map_err(|error| Error::new("write", &self.path, error))
    }

    /// Puts a log in the old one's place that begins with the pieces in `have`.
    fn begin(path: PathBuf, info_hash: InfoHash, have: &Bitfield) -> Result<ResumeLog, Error> {
        let fresh = path.with_extension("resume.new");
        let mut log = ResumeLog::lock(&fresh, info_hash, Opening::New)?.expect("a new log is made");
        let failed = |error| Error::new("create", &fresh, error);
        log.file.set_len(0).map_err(failed)?;
        log.append(&record::head(&info_hash, have))?;
        // Without a piece there is nothing to lose, and a start need not wait for the disk.
        let durable = !have.is_empty();
        if durable {
            log.file.sync_all().map_err(failed)?;
        }
        fs::rename(&fresh, &path).map_err(failed)?;
        if let Some(dir) = path.parent().filter(|_| durable) {
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        log.path = path;
        Ok(log)
    }

    fn lock(path: &Path, info_hash: InfoHash, opening: Opening) -> Result<Option<ResumeLog>, Error> {
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).create(opening == Opening::New);
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
        let file = match options.open(path).map_err(|error| Error::new("open", path, error)) {
            Err(Error::Missing { .. }) if opening == Opening::Old => return Ok(None),
            opened => opened?,
        };
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            // A file system that knows no locks takes our word for it.
            Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(Some(ResumeLog { file, path: path.to_owned(), info_hash })),
        }
    }

    fn replay(&self, metainfo: &Metainfo) -> Result<Option<Replay>, Error> {
        let pieces = metainfo.geometry().piece_count();
        let replay = record::replay(BufReader::new(&self.file), &self.info_hash, pieces);
        let replay = replay.map_err(|error| Error::new("read", &self.path, error))?;
        if replay.is_none() {
            log::warn!("{} is no resume log of this torrent: everything is checked", self.path.display());
        }
        Ok(replay)
    }

    fn age(&self) -> Option<Stamp> {
        self.file.metadata().ok().as_ref().map(Stamp::from)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::IoSlice,
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use super::{super::tests::Torrent, *};
    use crate::storage::{Access, Ledger};

    /// A fetch of a torrent of 6 pieces in two files, which can be killed.
    struct Fetch {
        ledger: Arc<Ledger>,
        have: Vec<u32>,
        /// How many pieces were hashed to find that out.
        hashed: u32,
    }

    fn torrent() -> Torrent {
        Torrent::of_files(4, &[("a", 10), ("b", 12)])
    }

    /// A process that another test starts holds a copy of the lock until it has become the program that it is to be.
    fn open_once_free(store: &Store, progress: &(dyn Fn(u32, u32) + Sync)) -> (ResumeLog, Bitfield) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match open(store, 2, progress) {
                Err(Error::InUse { .. }) if Instant::now() < deadline => thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    fn start(torrent: &Torrent, dir: &Path) -> Fetch {
        let store = Store::open(torrent.metainfo.clone(), dir, Access::Write { preallocate: false }).unwrap();
        let hashed = AtomicU32::new(0);
        let (log, have) = open_once_free(&store, &|_, of| hashed.store(of, Relaxed));
        let ledger = Ledger::without_journal(log, Arc::new(store));
        Fetch { ledger, have: have.iter().collect(), hashed: hashed.into_inner() }
    }

    impl Fetch {
        fn commit(&self, torrent: &Torrent, pieces: impl IntoIterator<Item = u32>) {
            for piece in pieces {
                let piece = torrent.metainfo.geometry().piece(piece).unwrap();
                self.ledger.commit(piece, &[IoSlice::new(torrent.piece(piece))]).unwrap();
            }
        }

        /// Ends as a kill would: nothing is synced or closed, and the lock goes.
        fn kill(self) {}

        fn close(self) {
            self.ledger.close().unwrap();
        }
    }

    #[test]
    fn a_fetch_begins_with_nothing_and_hashes_nothing() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, &dir.path().join("new/folder"));
        assert!(fetch.have.is_empty() && fetch.hashed == 0);
    }

    #[test]
    fn after_a_kill_no_complete_piece_is_lost_and_only_unsynced_ones_are_hashed() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, [0, 4]);
        fetch.ledger.sync().unwrap();
        fetch.commit(&torrent, [1, 2]);
        fetch.kill();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 4], 2));
        again.kill();
        let third = start(&torrent, dir.path());
        assert_eq!((third.have.clone(), third.hashed), (vec![0, 1, 2, 4], 0), "what was proved is a fact");
    }

    #[test]
    fn a_piece_that_was_noted_and_not_written_is_not_believed() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, [0, 1, 5]);
        let piece = torrent.metainfo.geometry().piece(3).unwrap();
        fetch.ledger.confirm(piece).unwrap();
        fetch.kill();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have, again.hashed), (vec![0, 1, 5], 4));
    }

    #[test]
    fn after_an_orderly_end_nothing_is_hashed_unless_a_file_changed() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, 0..5);
        fetch.close();
        for _ in 0..2 {
            let again = start(&torrent, dir.path());
            assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 3, 4], 0));
            again.close();
        }
        let path = dir.path().join("t/a");
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        fs::write(&path, bytes).unwrap();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have, again.hashed), (vec![0, 2, 3, 4], 5));
    }

    #[test]
    fn a_log_that_goes_on_after_an_orderly_end_still_survives_a_kill() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, [0]);
        fetch.close();
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, [3]);
        fetch.kill();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have, again.hashed), (vec![0, 3], 1));
    }

    #[test]
    fn facts_about_files_that_went_or_shrank_or_were_touched_since_are_not_believed() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, 0..6);
        fetch.ledger.sync().unwrap();
        fetch.kill();
        fs::remove_file(dir.path().join("t/b")).unwrap();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have.clone(), again.hashed), (vec![0, 1], 0));
        again.kill();
        let a = fs::File::options().write(true).open(dir.path().join("t/a")).unwrap();
        a.set_len(7).unwrap();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have.clone(), again.hashed), (vec![0], 0));
        again.kill();
        let later = a.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(2 * 600);
        fs::write(dir.path().join("t/a"), b"other byte").unwrap();
        a.set_modified(later).unwrap();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have, again.hashed), (vec![], 2));
    }

    #[test]
    fn without_a_log_of_use_everything_present_is_hashed() {
        let torrent = torrent();
        let dir = torrent.on_disk();
        fs::write(dir.path().join("t/b"), &torrent.content[10..16]).unwrap();
        let copied = start(&torrent, dir.path());
        assert_eq!((copied.have.clone(), copied.hashed), (vec![0, 1, 2, 3], 4));
        copied.kill();
        let log = path(dir.path(), &torrent.metainfo.info_hash());
        for useless in [&b""[..], b"something else", &[0; 4096]] {
            fs::write(&log, useless).unwrap();
            let again = start(&torrent, dir.path());
            assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 3], 4));
            again.kill();
        }
    }

    #[test]
    fn a_log_cut_at_any_byte_never_claims_a_piece_that_is_not_there() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, [0, 5]);
        fetch.ledger.sync().unwrap();
        fetch.commit(&torrent, [2]);
        fetch.close();
        let fetch = start(&torrent, dir.path());
        fetch.ledger.confirm(torrent.metainfo.geometry().piece(1).unwrap()).unwrap();
        fetch.kill();
        let path = path(dir.path(), &torrent.metainfo.info_hash());
        let log = fs::read(&path).unwrap();
        for cut in 0..log.len() {
            fs::write(&path, &log[..cut]).unwrap();
            let again = start(&torrent, dir.path());
            assert!(again.have.iter().all(|piece| [0, 2, 5].contains(piece)), "cut at {cut}: {:?}", again.have);
            again.kill();
        }
    }

    #[test]
    fn two_fetches_of_one_torrent_into_one_folder_are_refused() {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let first = start(&torrent, dir.path());
        let store = Store::open(torrent.metainfo.clone(), dir.path(), Access::Write { preallocate: false }).unwrap();
        assert!(matches!(open(&store, 1, &|_, _| {}), Err(Error::InUse { .. })));
        first.close();
        open_once_free(&store, &|_, _| {});
    }
}
