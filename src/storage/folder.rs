//! Opening a torrent's files below one folder.
//!
//! What is written never leaves the folder: the path is walked one component at a time and a symbolic link below the
//! folder, wherever it stands, is refused. The folder itself is the user's word and may be reached over links.
//! What is only read may be a link, because people seed links to their files: whatever is served was checked against
//! its hash.

use std::{ffi::OsStr, fs, os::fd::OwnedFd, os::unix::ffi::OsStrExt, path::Component, path::Path, path::PathBuf};

use rustix::{
    fs::{CWD, Mode, OFlags, RawMode, mkdirat, openat, readlinkat, symlinkat},
    io::Errno,
};

use super::StorageError;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read; it may be a symbolic link.
    Serve,
    /// To read what a fetch would write to; it must be there.
    Look,
    /// To read what was fetched, and write more; it must be there.
    Reread,
    /// To write; the file and the folders on its way are made if they are not there.
    Fetch {
        /// Whether the file may be run, if it is made now.
        executable: bool,
    },
}

/// Opens the plain file at `path` below `root`. The path is relative and has only normal components.
pub(super) fn open(root: &Path, path: &Path, purpose: Purpose) -> Result<fs::File, StorageError> {
    let full = root.join(path);
    let file = match purpose {
        Purpose::Serve => openat(CWD, &full, OFlags::RDONLY | ALWAYS, Mode::empty()),
        Purpose::Look => beneath(root, path, OFlags::RDONLY, 0),
        Purpose::Reread => beneath(root, path, OFlags::RDWR, 0),
        Purpose::Fetch { executable } => {
            beneath(root, path, OFlags::RDWR | OFlags::CREATE, if executable { 0o777 } else { 0o666 })
        }
    };
    let file = fs::File::from(file.map_err(|error| refusal(&full, error))?);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(StorageError::InTheWay { path: full }),
        Err(error) => Err(StorageError::new("look at", &full, error)),
    }
}

/// Makes the folder called `name` in `root`, if it is not there, and opens it. A symbolic link is refused.
pub(super) fn make(root: &Path, name: &Path) -> Result<fs::File, StorageError> {
    let full = root.join(name);
    let made = match mkdirat(CWD, &full, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => openat(CWD, &full, FOLDER | OFlags::NOFOLLOW, Mode::empty()),
        Err(error) => Err(error),
    };
    made.map(fs::File::from).map_err(|error| refusal(&full, error))
}

/// Makes a symbolic link at `path` below `root`, and the folders on its way; what it holds is `target`. It is there
/// already if just such a link is; anything else is in the way.
pub(super) fn link(root: &Path, path: &Path, target: &Path) -> Result<(), StorageError> {
    let full = root.join(path);
    let make = || {
        let (at, name) = parent(root, path, true)?;
        match symlinkat(target, &at, name) {
            Err(Errno::EXIST) if readlinkat(&at, name, Vec::new())?.as_bytes() == target.as_os_str().as_bytes() => {
                Ok(())
            }
            made => made,
        }
    };
    make().map_err(|error| match error {
        Errno::EXIST | Errno::INVAL | Errno::LOOP => StorageError::InTheWay { path: full },
        error => StorageError::new("make the link", &full, error),
    })
}

/// The folders on the way from the file at `path` up to `root`, both ends included.
pub(super) fn parents(root: &Path, path: &Path) -> impl Iterator<Item = PathBuf> {
    path.ancestors().skip(1).map(|parent| root.join(parent))
}

/// A name must not make us wait (a FIFO) or leak into child processes.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(ALWAYS);

/// Opens the file; its mode counts if it is made now.
fn beneath(root: &Path, path: &Path, flags: OFlags, mode: RawMode) -> Result<OwnedFd, Errno> {
    let (at, name) = parent(root, path, flags.contains(OFlags::CREATE))?;
    openat(&at, name, flags | OFlags::NOFOLLOW | ALWAYS, Mode::from_raw_mode(mode))
}

/// Opens the folder that `path` lies in, and says the last part of `path`.
fn parent<'a>(root: &Path, path: &'a Path, create: bool) -> Result<(OwnedFd, &'a OsStr), Errno> {
    let mut at = openat(CWD, root, FOLDER, Mode::empty())?;
    let mut components = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let name = components.next_back().ok_or(Errno::ISDIR)?;
    for parent in components {
        if create {
            match mkdirat(&at, parent, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        at = openat(&at, parent, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((at, name))
}

/// A symbolic link that must not be followed shows as `ELOOP`, and as `ENOTDIR` where a folder was due.
fn refusal(path: &Path, error: Errno) -> StorageError {
    match error {
        Errno::LOOP => StorageError::InTheWay { path: path.to_owned() },
        error => StorageError::new("open", path, error),
    }
}
