//! Size and time of files, so that what has not changed need not be hashed again.
//!
//! Stamps that agree are good evidence, not proof. Whoever writes to a file and sets its time back is found out by the
//! time of its status change, which nobody sets; a copy of a file has another one too, so that what is known of a file is
//! never believed of its copy. They spare the hashing of our own data after an orderly end; a peer always checks what it gets.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::{StorageError, Store};
use crate::metainfo::{File, FileKind, Metainfo};

/// The stamps of a torrent's files, in the metainfo's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps(Vec<Option<Stamp>>);

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes in the file.
    pub size: u64,
    /// When it was last written to: seconds since 1970, which may be negative.
    pub seconds: i64,
    /// The part of a second, in nanoseconds.
    pub nanoseconds: u32,
    /// When anything of it last changed, its times, names and rights included: seconds since 1970, and nanoseconds.
    pub status_changed: (i64, u32),
}

impl Stamps {
    /// Looks at the store's files. Pad files and symlinks have no stamp, nor has what is not there.
    pub fn of(store: &Store) -> Result<Stamps, StorageError> {
        let stamp = |(index, file): (usize, &File)| match file.kind {
            FileKind::Normal => Stamp::of(&store.path_of(index)),
            FileKind::Pad | FileKind::Symlink => Ok(None),
        };
        store.metainfo().files().iter().enumerate().map(stamp).collect::<Result<_, _>>().map(Stamps)
    }

    /// Whether the store's files are still as they were; what is not there any more has changed too.
    pub fn check(&self, store: &Store) -> Result<(), StorageError> {
        let now = Stamps::of(store)?;
        match (0..self.0.len()).find(|index| self.0[*index] != now.0[*index]) {
            Some(index) => Err(StorageError::Changed { path: store.path_of(index) }),
            None => Ok(()),
        }
    }

    /// The stamp of file `index`, if it has one.
    pub fn get(&self, index: usize) -> Option<Stamp> {
        self.0.get(index).copied().flatten()
    }

    /// Whether every file is there and has exactly the length that the metainfo gives.
    pub fn fit(&self, metainfo: &Metainfo) -> bool {
        metainfo.files().iter().enumerate().all(|(index, file)| match file.kind {
            FileKind::Normal => self.get(index).is_some_and(|stamp| stamp.size == file.length),
            FileKind::Pad | FileKind::Symlink => true,
        })
    }

    /// The stamps of files as somebody found them, in the metainfo's order.
    pub fn as_found<'a>(metainfo: &Metainfo, found: impl IntoIterator<Item = &'a fs::Metadata>) -> Stamps {
        let stamp = |(file, found): (&File, &fs::Metadata)| (file.kind == FileKind::Normal).then(|| Stamp::from(found));
        Stamps(metainfo.files().iter().zip(found).map(stamp).collect())
    }

    /// When the last of the files was changed, in whole seconds since 1970.
    pub(super) fn latest(&self) -> Option<i64> {
        self.0.iter().flatten().map(|stamp| stamp.seconds.max(stamp.status_changed.0)).max()
    }

    /// All stamps in 64 bits: two sets of them that differ have the same digest by accident only.
    pub(super) fn digest(&self) -> u64 {
        let mut hash = Sha1::new();
        for stamp in &self.0 {
            let absent = Stamp { size: u64::MAX, seconds: 0, nanoseconds: 0, status_changed: (0, 0) };
            let Stamp { size, seconds, nanoseconds, status_changed } = stamp.unwrap_or(absent);
            hash.update(size.to_be_bytes());
            for (seconds, nanoseconds) in [(seconds, nanoseconds), status_changed] {
                hash.update(seconds.to_be_bytes());
                hash.update(nanoseconds.to_be_bytes());
            }
        }
        u64::from_be_bytes(*hash.finalize().first_chunk().expect("a SHA-1 has more than 8 bytes"))
    }
}

impl Stamp {
    /// The stamp of the file at `path`, if there is a file.
    pub fn of(path: &Path) -> Result<Option<Stamp>, StorageError> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => Ok(None),
            Ok(found) => Ok(Some(Stamp::from(&found))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(StorageError::new("look at", path, error)),
        }
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(found: &fs::Metadata) -> Stamp {
        Stamp {
            size: found.len(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec() as u32,
            status_changed: (found.ctime(), found.ctime_nsec() as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::tests::Torrent, *};

    #[test]
    fn stamps_change_with_size_time_and_absence_and_only_then() {
        let torrent = Torrent::of_files(4, &[("a", 5), ("empty", 0), ("b", 3)]);
        let dir = torrent.on_disk();
        let store = torrent.open(dir.path());
        let stamps = || Stamps::of(&store).unwrap();
        let before = stamps();
        assert!(before.fit(&torrent.metainfo));
        assert_eq!(stamps(), before);
        assert!(before.check(&store).is_ok());
        assert_eq!(serde_json::from_slice::<Stamps>(&serde_json::to_vec(&before).unwrap()).unwrap(), before);

        let file = fs::File::options().write(true).open(store.path_of(2)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - std::time::Duration::from_nanos(1000)).unwrap();
        assert!(stamps() != before && stamps().digest() != before.digest() && stamps().fit(&torrent.metainfo));
        assert!(before.check(&store).unwrap_err().to_string().contains("was changed by another program"));
        file.set_modified(modified).unwrap();
        assert_eq!(
            (stamps().get(2).unwrap().seconds, stamps().fit(&torrent.metainfo)),
            (before.get(2).unwrap().seconds, true)
        );
        assert!(stamps() != before && stamps().digest() != before.digest(), "a time that was set back deceives nobody");

        file.set_len(2).unwrap();
        file.set_modified(modified).unwrap();
        assert!(stamps() != before && stamps().digest() != before.digest() && !stamps().fit(&torrent.metainfo));
        fs::remove_file(store.path_of(1)).unwrap();
        assert!(stamps().get(1).is_none() && stamps().get(0) == before.get(0));
    }
}
