//! The folder of our own records: `.minitorrent` beside what is fetched, with mode 0700.
//!
//! No torrent names anything in a folder of that name ([`path::RECORDS`]). What lies there is believed only if the folder
//! and the file belong to this user and nobody else can write to them. Every access goes through the open folder, so
//! that nothing changes between the look at it and the use of it.

use std::{
    fs,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};

use super::StorageError;
use crate::metainfo::path;

/// Permission bits that let somebody else write.
const OTHERS_WRITE: u32 = 0o022;

/// The folder of records of one download folder, open, and found to be ours alone.
#[derive(Debug)]
pub struct Records {
    folder: fs::File,
    path: PathBuf,
}

impl Records {
    /// The records below `dir`, if there are any that may be believed.
    pub fn find(dir: &Path) -> Result<Option<Records>, StorageError> {
        let path = dir.join(path::RECORDS);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(folder) => fs::File::from(folder),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => return Ok(distrust(&path)),
            Err(error) => return Err(StorageError::new("open", &path, error)),
        };
        let found = folder.metadata().map_err(|error| StorageError::new("look at", &path, error))?;
        Ok(if is_ours(&found) { Some(Records { folder, path }) } else { distrust(&path) })
    }

    /// The records below `dir`, made if there are none; nothing if what is there may not be believed.
    pub fn make(dir: &Path) -> Result<Option<Records>, StorageError> {
        let path = dir.join(path::RECORDS);
        match mkdirat(CWD, &path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Records::find(dir),
            Err(error) => Err(StorageError::new("create", &path, error)),
        }
    }

    /// Where a record lies, for messages.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of all records.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = Dir::read_from(&self.folder)?;
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()));
        Ok(names.filter(|name| !matches!(name.as_str(), "." | "..")).collect())
    }

    /// The bytes of a record, if there is one that may be believed.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(mut file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| StorageError::new("read", &self.path_of(name), error))?;
        Ok(Some(bytes))
    }

    /// Puts a record in the place of an older one, whole or not at all.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let new = fresh(name);
        let failed = |error: io::Error| StorageError::new("write", &self.path_of(name), error);
        let mut file = self.create(&new)?;
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(failed)?;
        self.rename(&new, name)
    }

    /// Removes a record; whether there was one does not matter.
    pub fn remove(&self, name: &str) {
        let _ = unlinkat(&self.folder, name, AtFlags::empty());
    }

    /// A record to be read and added to, if there is one that may be believed.
    pub(super) fn open(&self, name: &str) -> Result<Option<fs::File>, StorageError> {
        match self.open_with(name, OFlags::RDWR | OFlags::APPEND) {
            Ok(file) => {
                let found =
                    file.metadata().map_err(|error| StorageError::new("look at", &self.path_of(name), error))?;
                let is_good = found.is_file() && is_ours(&found) && found.nlink() == 1;
                Ok(if is_good { Some(file) } else { distrust(&self.path_of(name)) })
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::ROFS) => Ok(None), // Nothing can be added to it, and what it says is found out without it.
            Err(Errno::LOOP | Errno::ISDIR | Errno::ACCESS | Errno::NXIO) => Ok(distrust(&self.path_of(name))),
            Err(error) => Err(StorageError::new("open", &self.path_of(name), error)),
        }
    }

    /// A new record under the name [`fresh`] gives; what a kill left there goes.
    pub(super) fn create(&self, name: &str) -> Result<fs::File, StorageError> {
        self.remove(name);
        let file = self.open_with(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL);
        file.map_err(|error| StorageError::new("create", &self.path_of(name), error))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        renameat(&self.folder, from, &self.folder, to)
            .map_err(|error| StorageError::new("create", &self.path_of(to), error))
    }

    /// Brings the names of records to the disk.
    pub(super) fn sync_names(&self) -> Result<(), StorageError> {
        self.folder.sync_all().map_err(|error| StorageError::new("sync", &self.path, error))
    }

    fn open_with(&self, name: &str, flags: OFlags) -> Result<fs::File, Errno> {
        let always = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: Result<OwnedFd, Errno> = openat(&self.folder, name, flags | always, Mode::RUSR | Mode::WUSR);
        file.map(fs::File::from)
    }
}

/// What a record is called until it is whole.
pub(super) fn fresh(name: &str) -> String {
    format!("{name}.new")
}

fn is_ours(found: &fs::Metadata) -> bool {
    found.uid() == geteuid().as_raw() && found.mode() & OTHERS_WRITE == 0
}

fn distrust<T>(path: &Path) -> Option<T> {
    log::warn!("{} is not believed: it is not this user's alone to write to", path.display());
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn records(dir: &Path) -> Records {
        Records::make(dir).unwrap().unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_written_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Records::find(dir.path()).unwrap().is_none());
        records(dir.path()).replace("a", b"one").unwrap();
        records(dir.path()).replace("a", b"two").unwrap();
        let records = Records::find(dir.path()).unwrap().unwrap();
        assert_eq!(records.read("a").unwrap().unwrap(), b"two");
        assert_eq!(records.names().unwrap(), ["a"]);
        records.remove("a");
        records.remove("a");
        assert!(records.read("a").unwrap().is_none() && records.names().unwrap().is_empty());
        let mode = fs::metadata(dir.path().join(path::RECORDS)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_somebody_else_can_write_to_or_has_linked_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let records = records(dir.path());
        for name in ["a", "b", "c"] {
            records.replace(name, b"mine").unwrap();
        }
        let at = |name: &str| dir.path().join(path::RECORDS).join(name);
        fs::set_permissions(at("a"), fs::Permissions::from_mode(0o620)).unwrap();
        fs::hard_link(at("b"), dir.path().join("b")).unwrap();
        symlink("c", at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for name in ["a", "b", "link", "folder"] {
            assert!(records.read(name).unwrap().is_none(), "{name}");
        }
        assert_eq!(records.read("c").unwrap().unwrap(), b"mine");
        let folder = dir.path().join(path::RECORDS);
        for mode in [0o720, 0o702] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert!(Records::make(dir.path()).unwrap().is_none(), "{mode:o}");
        }
    }

    #[test]
    fn a_folder_that_is_a_link_or_belongs_to_somebody_else_is_not_believed() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        records(other.path());
        symlink(other.path().join(path::RECORDS), dir.path().join(path::RECORDS)).unwrap();
        assert!(Records::make(dir.path()).unwrap().is_none());
        // Only a test that runs as root can give a folder away.
        if std::os::unix::fs::chown(other.path().join(path::RECORDS), Some(4242), None).is_ok() {
            assert!(Records::find(other.path()).unwrap().is_none());
        }
    }
}
