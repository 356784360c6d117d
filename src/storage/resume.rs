//! What survives a `kill -9` and a power cut: a log beside the files that says which pieces are in them.
//!
//! A piece is *written* down before its bytes go to the file: a hint, and the next start proves it by hashing that piece.
//! It is *synced* after the disk has confirmed its bytes: a fact. After a kill the system still writes out everything, so
//! no complete piece is lost; after a power cut those are lost that were not synced, the last two seconds at most (see
//! [`super::journal`]). What the log does not vouch for, or what files changed since do not bear out, is hashed before
//! it counts.
//!
//! The log is `INFOHASH.resume` among our [`Records`]; the fetch that holds the [`Claim`] to the files
//! is the only one that writes to it. Appends are single writes of a few bytes, so any thread may make them without a lock.
//! It stays when the fetch is complete: it is what makes "here already" a matter of a look and not of hashing everything,
//! takes a bit a piece, and is no part of what is shared.

use std::{
    fs,
    io::{BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Records, Stamps, StorageError,
    claim::Claim,
    layout::{FilePlace, extents},
    record::{self, LogRecord, Replay},
    records,
    stamp::Stamp,
};
use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, Metainfo, PieceIndex},
};

/// Seconds that a file may be younger than the log of a fetch that was killed. The two are written to within
/// the time that a piece takes to arrive; what was touched later than that was touched by somebody else.
const MAX_YOUNGER_SECONDS: i64 = 600;

/// The log of one torrent in one folder.
#[derive(Debug)]
pub struct ResumeLog {
    /// Nothing, where there is no place for a log; the next start then checks everything.
    file: Option<fs::File>,
    path: PathBuf,
    info_hash: InfoHash,
    /// Keeps others from writing to the files that it tells of.
    _claim: Option<Claim>,
}

/// Forgets what was known of a torrent that is fetched into `dir`: the next fetch checks everything.
pub fn forget(dir: &Path, info_hash: &InfoHash) {
    if let Ok(Some(records)) = Records::find(dir) {
        records.remove(&name(info_hash));
    }
}

fn name(info_hash: &InfoHash) -> String {
    format!("{info_hash}.resume")
}

/// What to think of each piece before any is hashed.
pub(super) struct Belief {
    pub(super) trusted: Bitfield,
    pub(super) doubtful: Bitfield,
    /// Whether the log may simply be continued.
    pub(super) log_stands: bool,
    /// Whether the log says that the files are ours.
    pub(super) vouched: bool,
}

impl Belief {
    /// What the log of a torrent, if there is one, and a look at its files tell.
    pub(super) fn of(log: Option<&ResumeLog>, metainfo: &Metainfo, stamps: &Stamps) -> Result<Belief, StorageError> {
        let replay = log.map(|log| log.replay(metainfo)).transpose()?.flatten();
        Ok(Belief::form(replay, present(metainfo, stamps), stamps, log.and_then(ResumeLog::age)))
    }

    fn form(replay: Option<Replay>, present: Bitfield, stamps: &Stamps, log_stamp: Option<Stamp>) -> Belief {
        let unchanged = |replay: &Replay| match (replay.clean, stamps.latest(), log_stamp) {
            (Some(digest), _, _) => digest == stamps.digest(),
            (None, Some(latest), log) => {
                log.is_some_and(|log| latest <= log.seconds.saturating_add(MAX_YOUNGER_SECONDS))
            }
            (None, None, _) => true,
        };
        match replay.filter(unchanged) {
            None => {
                let trusted = Bitfield::empty(present.len());
                Belief { trusted, doubtful: present, log_stands: false, vouched: false }
            }
            Some(Replay { synced, written, clean }) => Belief {
                trusted: filter(&synced, |piece| present.get(piece)),
                doubtful: filter(&written, |piece| present.get(piece) && !synced.get(piece)),
                log_stands: clean.is_some(),
                vouched: true,
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
            FilePlace::Zeros => true,
            FilePlace::File { index, at } => stamps.get(index).is_some_and(|stamp| stamp.size >= at + extent.length),
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

impl ResumeLog {
    /// Notes that the piece, whose hash was right, is about to be written. To be called before its bytes are.
    pub fn note_written(&self, piece: PieceIndex) -> Result<(), StorageError> {
        self.append(&LogRecord::Written(piece.get()).encode(&self.info_hash))
    }

    /// Notes, and brings to the disk, that these pieces are on it. They ascend.
    pub(super) fn note_synced(&self, pieces: &[u32]) -> Result<(), StorageError> {
        let runs = pieces.chunk_by(|a, b| a + 1 == *b);
        let record = |run: &[u32]| LogRecord::Synced { first: run[0], count: run.len() as u32 }.encode(&self.info_hash);
        self.append(&runs.flat_map(record).collect::<Vec<_>>())?;
        self.sync()
    }

    /// Notes that everything written is synced, and how the files looked then.
    pub(super) fn note_clean(&self, stamps: &Stamps) -> Result<(), StorageError> {
        self.append(&LogRecord::Clean(stamps.digest()).encode(&self.info_hash))
    }

    fn append(&self, records: &[u8]) -> Result<(), StorageError> {
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        file.write_all(records).map_err(|error| StorageError::new("write", &self.path, error))
    }

    fn sync(&self) -> Result<(), StorageError> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(|error| StorageError::new("sync", &self.path, error))
    }

    /// The log of an earlier fetch, if there is one that may be believed.
    pub(super) fn find(dir: &Path, info_hash: InfoHash) -> Result<Option<ResumeLog>, StorageError> {
        let Some(records) = Records::find(dir)? else { return Ok(None) };
        let (path, file) = (records.path_of(&name(&info_hash)), records.open(&name(&info_hash))?);
        Ok(file.map(|file| ResumeLog { file: Some(file), path, info_hash, _claim: None }))
    }

    /// Puts a log in the old one's place that begins with the pieces in `have`.
    pub(super) fn begin(dir: &Path, info_hash: InfoHash, have: &Bitfield) -> Result<ResumeLog, StorageError> {
        let Some(records) = Records::make(dir)? else { return Ok(ResumeLog::without(dir, info_hash)) };
        let (name, fresh) = (name(&info_hash), records::fresh(&name(&info_hash)));
        let file = records.create(&fresh)?;
        let path = records.path_of(&name);
        let inode = file.metadata().map_err(|error| StorageError::new("look at", &path, error))?.ino();
        let log = ResumeLog { file: Some(file), path, info_hash, _claim: None };
        log.append(&record::head(&info_hash, inode, have))?;
        // Without a piece there is nothing to lose, and a start need not wait for the disk.
        let durable = !have.is_empty();
        if durable {
            log.sync()?;
        }
        records.rename(&fresh, &name)?;
        if durable {
            records.sync_names()?;
        }
        Ok(log)
    }

    /// No log, where none can be kept.
    pub(super) fn without(dir: &Path, info_hash: InfoHash) -> ResumeLog {
        log::info!("no log is kept in {}: the next fetch checks everything that is there", dir.display());
        ResumeLog { file: None, path: dir.to_owned(), info_hash, _claim: None }
    }

    /// The same log, which holds the right to write from now on.
    pub(super) fn held_by(self, claim: Claim) -> ResumeLog {
        ResumeLog { _claim: Some(claim), ..self }
    }

    fn replay(&self, metainfo: &Metainfo) -> Result<Option<Replay>, StorageError> {
        let Some(file) = &self.file else { return Ok(None) };
        let failed = |error| StorageError::new("read", &self.path, error);
        let inode = file.metadata().map_err(failed)?.ino();
        let pieces = metainfo.geometry().piece_count();
        let replay = record::replay(BufReader::new(file), &self.info_hash, inode, pieces).map_err(failed)?;
        if replay.is_none() {
            log::warn!("{} is no resume log of this torrent: everything is checked", self.path.display());
        }
        Ok(replay)
    }

    fn age(&self) -> Option<Stamp> {
        self.file.as_ref()?.metadata().ok().as_ref().map(Stamp::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Torrent, *};

    #[test]
    fn a_log_whose_age_cannot_be_seen_vouches_for_no_file() {
        let torrent = Torrent::of_one_file(4, "a", 8);
        let dir = torrent.on_disk();
        let stamps = Stamps::of(&torrent.open(dir.path())).unwrap();
        let none = Stamps::of(&torrent.open(&dir.path().join("nowhere"))).unwrap();
        let vouched = |stamps: &Stamps, log: Option<Stamp>| {
            let replay = Replay { synced: Bitfield::full(2), written: Bitfield::full(2), clean: None };
            Belief::form(Some(replay), present(&torrent.metainfo, stamps), stamps, log).vouched
        };
        assert!(vouched(&stamps, stamps.get(0)) && vouched(&none, None));
        assert!(!vouched(&stamps, None));
    }
}
