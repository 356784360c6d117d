//! Who may write where: locks on the very files and folders, so that nobody writes to what another fetch writes to.
//!
//! A fetch of a file locks that file, one of a folder that folder, alone. Both lock the folders around it together with
//! others, so that a fetch into a folder that is itself being fetched is refused. What is locked is the file, not its
//! name: links, other spellings of a path and other torrents of the same name make no difference. The locks go with the
//! process (`flock`), also when it is killed. A file system that knows no locks takes our word for it.

use std::{
    fs::{self, TryLockError},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;

use super::{
    StorageError, Store,
    folder::{self, Purpose},
};
use crate::metainfo::Metainfo;

/// How long a lock is tried for: a fetch that was stopped a moment ago may be closing its files.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is tried meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// The right to write a torrent's files in one folder, or to have them left alone. It ends when this is dropped.
#[derive(Debug)]
pub struct Claim {
    _locks: Vec<fs::File>,
}

#[derive(Clone, Copy)]
enum Lock {
    Alone,
    Shared,
}

impl Claim {
    /// The right to write. Makes the folder, and the torrent's own file or folder in it.
    pub fn to_write(metainfo: &Metainfo, dir: &Path) -> Result<Claim, StorageError> {
        fs::create_dir_all(dir).map_err(|error| StorageError::new("create", dir, error))?;
        let name = Path::new(metainfo.name());
        let top = match metainfo.is_single_file() {
            true => folder::open(dir, name, Purpose::Fetch { executable: metainfo.files()[0].is_executable })?,
            false => folder::make(dir, name)?,
        };
        let mut locks = around(dir)?;
        locks.push(lock(top, Lock::Alone, &dir.join(name))?);
        Ok(Claim { _locks: locks })
    }

    /// Keeps fetches from writing to what is seeded.
    pub fn to_read(store: &Store) -> Result<Claim, StorageError> {
        let first = store.path_of(0);
        let below = first.strip_prefix(store.dir()).unwrap_or(&first);
        let top = below.iter().next().map_or_else(|| first.clone(), |name| store.dir().join(name));
        let file = fs::File::open(&top).map_err(|error| StorageError::new("open", &top, error))?;
        Ok(Claim { _locks: vec![lock(file, Lock::Shared, &top)?] })
    }
}

/// Locks `dir` and the folders around it, as far up as they are this user's: a folder that is fetched is the fetcher's.
fn around(dir: &Path) -> Result<Vec<fs::File>, StorageError> {
    let dir = dir.canonicalize().map_err(|error| StorageError::new("look at", dir, error))?;
    let mut locks = Vec::new();
    for path in dir.ancestors() {
        let Ok(file) = fs::File::open(path) else { break };
        if !file.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw()) {
            break;
        }
        locks.push(lock(file, Lock::Shared, path)?);
    }
    Ok(locks)
}

fn lock(file: fs::File, how: Lock, path: &Path) -> Result<fs::File, StorageError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let locked = match how {
            Lock::Alone => file.try_lock(),
            Lock::Shared => file.try_lock_shared(),
        };
        match locked {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: path.to_owned() }),
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{super::tests::Torrent, *};

    fn is_refused(torrent: &Torrent, dir: &Path) -> bool {
        match Claim::to_write(&torrent.metainfo, dir) {
            Ok(_) => false,
            Err(StorageError::InUse { .. }) => true,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_written_is_locked_by_whatever_path_or_torrent_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("here");
        let (folder, other) = (Torrent::of_files(4, &[("a", 9), ("sub/b", 9)]), Torrent::of_files(4, &[("c", 5)]));
        let claim = Claim::to_write(&folder.metainfo, &here).unwrap();
        symlink(&here, dir.path().join("link")).unwrap();
        for path in ["here", "here/../here/.", "link"] {
            assert!(is_refused(&folder, &dir.path().join(path)), "{path}");
            assert!(is_refused(&other, &dir.path().join(path)), "another torrent of that name in {path}");
        }
        drop(claim);
        assert!(!is_refused(&other, &here));
    }

    #[test]
    fn a_fetch_into_a_folder_that_is_fetched_is_refused_and_one_beside_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (Torrent::of_files(4, &[("a", 9)]), Torrent::of_one_file(4, "a", 9));
        let claim = Claim::to_write(&folder.metainfo, dir.path()).unwrap();
        for inside in ["t", "t/deep/er"] {
            assert!(is_refused(&file, &dir.path().join(inside)), "{inside}");
        }
        assert!(!is_refused(&file, dir.path()) && !is_refused(&folder, &dir.path().join("beside")));
        drop(claim);
        let _inside = Claim::to_write(&file.metainfo, &dir.path().join("t/sub")).unwrap();
        assert!(is_refused(&folder, dir.path()), "the folder around a file that is being fetched");
    }

    #[test]
    fn a_file_with_two_names_is_one_file_and_what_is_seeded_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = Torrent::of_one_file(4, "a", 9);
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let claim = Claim::to_write(&file.metainfo, &one).unwrap();
        fs::create_dir(&two).unwrap();
        fs::hard_link(one.join("a"), two.join("a")).unwrap();
        assert!(is_refused(&file, &two));
        drop(claim);
        let _seeds = [Claim::to_read(&file.open(&one)).unwrap(), Claim::to_read(&file.open(&one)).unwrap()];
        assert!(is_refused(&file, &two));
    }
}
