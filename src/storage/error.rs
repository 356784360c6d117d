//! What can go wrong with files, as sentences that name the file.

use std::{fmt, io, path::Path, path::PathBuf};

/// Why the bytes could not be read or put to rest.
#[derive(Debug)]
pub enum StorageError {
    /// The disk, or the user's quota on it, is full.
    NoRoom {
        /// The file that was to grow.
        path: PathBuf,
    },
    /// The file is not there.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file ends before the bytes that were asked for: not fetched yet, or cut by somebody else.
    Short {
        /// The file that ends early.
        path: PathBuf,
    },
    /// A file that is there is none of the torrent's, as far as can be seen: no piece of it is right, and no log of ours
    /// tells of it.
    NotOurs {
        /// The file, which is left as it is.
        path: PathBuf,
    },
    /// The torrent's folder is there with something in it that is none of the torrent's, and nothing shows that it is the same folder.
    FolderNotOurs {
        /// What is in it. All is left as it is.
        path: PathBuf,
    },
    /// A file that is to be fetched is there under other names too, which the rest of it would change as well.
    Linked {
        /// The file.
        path: PathBuf,
    },
    /// A file that is to be fetched is there and longer than the metainfo says. It is cut only when that is asked for.
    TooLong {
        /// The file that is in the way.
        path: PathBuf,
        /// Its length, in bytes.
        length: u64,
        /// The length that the metainfo gives, in bytes.
        expected: u64,
    },
    /// A folder, a symbolic link or a device stands where the torrent has a file, or anything but a folder where it has
    /// a folder.
    InTheWay {
        /// The place that is taken.
        path: PathBuf,
    },
    /// A file that is being fetched was removed, or cut shorter than what we had written of it: what was verified of it
    /// cannot be trusted any more.
    Disturbed {
        /// The file.
        path: PathBuf,
    },
    /// A file that is given is not as it was when its pieces were checked.
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Another fetch writes to what this one would write to, or it is being seeded.
    InUse {
        /// The file or folder that is locked.
        path: PathBuf,
    },
    /// Anything else that the operating system said.
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
}

impl StorageError {
    /// The error of `doing` something to `path`, in our terms.
    pub(super) fn new(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> StorageError {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::NoRoom { path },
            io::ErrorKind::NotFound => StorageError::Missing { path },
            io::ErrorKind::UnexpectedEof => StorageError::Short { path },
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => StorageError::InTheWay { path },
            _ => StorageError::Io { doing, path, source },
        }
    }

    /// Whether this only says that the bytes are not there.
    pub fn is_absence(&self) -> bool {
        matches!(self, StorageError::Missing { .. } | StorageError::Short { .. })
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::NoRoom { path } => write!(f, "no room is left on the disk for {}", path.display()),
            StorageError::Missing { path } => write!(f, "{} is not there", path.display()),
            StorageError::Short { path } => write!(f, "{} is shorter than the metainfo says", path.display()),
            StorageError::TooLong { path, length, expected } => write!(
                f,
                "{} has {length} bytes where the metainfo says {expected}; it is left as it is: move it away, fetch elsewhere, or have it cut with --overwrite",
                path.display()
            ),
            StorageError::NotOurs { path } => write!(
                f,
                "{} is there already and no piece of it is this torrent's; it is left as it is: move it away, fetch elsewhere, or have it replaced with --overwrite",
                path.display()
            ),
            StorageError::FolderNotOurs { path } => write!(
                f,
                "the torrent's folder is there already with {} in it, and no piece of the torrent; it is left as it is: move it away, fetch elsewhere, or have the torrent put into it with --overwrite",
                path.display()
            ),
            StorageError::Linked { path } => write!(
                f,
                "{} has other names on this disk (hard links), and would change under them too; it is left as it is: put a copy in its place, fetch elsewhere, or have it replaced with --overwrite",
                path.display()
            ),
            StorageError::InTheWay { path } => {
                write!(f, "{} is in the way: the torrent needs a plain file or folder there", path.display())
            }
            StorageError::Disturbed { path } => {
                write!(f, "{} was removed or cut by another program while it was fetched", path.display())
            }
            StorageError::Changed { path } => {
                write!(f, "{} was changed by another program since its pieces were checked", path.display())
            }
            StorageError::InUse { path } => {
                write!(
                    f,
                    "{} is in use: another fetch writes to it, or it is being seeded; wait for that to end, or fetch elsewhere",
                    path.display()
                )
            }
            StorageError::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for StorageError {}
