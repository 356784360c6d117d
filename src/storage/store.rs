//! A torrent's bytes at rest: positioned reads and writes by offsets in the torrent, from many threads at once.
//!
//! Files come to be when their first byte is written, or the right to write them is had, and grow as bytes arrive, so a file's size never claims more than
//! was written. Gaps take no room unless the space is reserved up front ([`StoreAccess::Write`]), which leaves the size alone
//! as well. Nothing is ever cut or deleted.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs,
    io::{self, IoSlice},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::{Errno, retry_on_intr},
};

use super::{
    Stamps, StorageError,
    folder::{self, Purpose},
    gather::write_all,
    handles::Handles,
    layout::{Extent, FilePlace, extents},
    stamp::Stamp,
};
use crate::metainfo::{File, FileKind, Metainfo};

/// What a store may do with its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAccess {
    /// Read files that are there. They may be symbolic links.
    Read,
    /// Read what a fetch into the folder would write to, where anything of it is there.
    Look,
    /// Read and write; files and folders are made as needed, and no symbolic link below the folder is followed.
    Write {
        /// Reserve the disk space of every file at once, where the file system can.
        preallocate: bool,
    },
}

/// The files of one torrent below one folder.
pub struct Store {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    access: StoreAccess,
    handles: Handles,
    changes: Box<[Changes]>,
}

/// What was written to one file, and how much of that is surely on the disk.
#[derive(Default)]
struct Changes {
    /// Writes that came to their end.
    made: AtomicU64,
    /// How many of them came before a sync that is done, of the file and of its name.
    synced: AtomicU64,
    /// How long the file is at the least, by what we wrote, in bytes.
    reach: AtomicU64,
}

impl Store {
    /// The torrent's files below `dir`.
    ///
    /// To read, nothing need be there yet. To write, `dir` and the torrent's empty files are made, and whatever stands
    /// where a file has to be but cannot be that file is an error now rather than in the middle of the fetch.
    pub fn open(metainfo: Arc<Metainfo>, dir: &Path, access: StoreAccess) -> Result<Store, StorageError> {
        // What is left of `big.iso` when its name is taken off.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let count = metainfo.files().len();
        let changes = (0..count).map(|_| Changes::default()).collect();
        let store = Store { metainfo, dir: dir.to_owned(), access, handles: Handles::new(count), changes };
        match access {
            StoreAccess::Read => {}
            StoreAccess::Look => store.survey()?,
            StoreAccess::Write { preallocate } => store.prepare(preallocate)?,
        }
        Ok(store)
    }

    /// What the torrent is.
    pub fn metainfo(&self) -> &Arc<Metainfo> {
        &self.metainfo
    }

    /// The folder that the files lie below.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where file `index` lies.
    pub fn path_of(&self, index: usize) -> PathBuf {
        self.dir.join(self.relative_path(index))
    }

    /// Fills `buffer` with the torrent's bytes from `offset` on. Bytes that are not there yet are [`StorageError::Missing`],
    /// [`StorageError::Short`] or, in gaps, zeros.
    ///
    /// # Panics
    /// When the range exceeds the torrent.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.read_and_look(offset, buffer, |_, _| Ok(()))
    }

    /// The same, of files that are as they were when they had these stamps; otherwise [`StorageError::Changed`].
    pub fn read_unchanged(&self, offset: u64, buffer: &mut [u8], stamps: &Stamps) -> Result<(), StorageError> {
        // After the bytes: whatever was written before they were read shows.
        self.read_and_look(offset, buffer, |index, file| {
            let now = file.metadata().map_err(|error| self.error("look at", index, error))?;
            let is_unchanged = stamps.get(index) == Some(Stamp::from(&now));
            if is_unchanged { Ok(()) } else { Err(StorageError::Changed { path: self.path_of(index) }) }
        })
    }

    fn read_and_look(
        &self,
        offset: u64,
        buffer: &mut [u8],
        look: impl Fn(usize, &fs::File) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut rest = buffer;
        for Extent { place, length } in self.extents(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(length as usize);
            match place {
                FilePlace::Zeros => now.fill(0),
                FilePlace::File { index, at } => {
                    let file = self.file(index, self.reading())?;
                    file.read_exact_at(now, at).map_err(|error| self.error("read", index, error))?;
                    look(index, &file)?;
                }
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes `blocks`, one after the other, from `offset` of the torrent on. What falls into pad files is dropped.
    /// A range within one file is one system call. Only for the [`Ledger`](super::Ledger).
    ///
    /// # Panics
    /// When the range exceeds the torrent.
    pub(super) fn write(&self, offset: u64, blocks: &[IoSlice<'_>]) -> Result<(), StorageError> {
        let mut done = 0;
        for Extent { place, length } in self.extents(offset, blocks.iter().map(|block| block.len()).sum()) {
            let length = length as usize;
            if let FilePlace::File { index, at } = place {
                let file = self.file(index, self.fetching(index))?;
                self.check_undisturbed(index, || file.metadata())?;
                write_all(&file, at, blocks, done, length).map_err(|error| self.error("write", index, error))?;
                self.changes[index].reach.fetch_max(at + length as u64, AcqRel);
                self.changes[index].made.fetch_add(1, Release);
            }
            done += length;
        }
        Ok(())
    }

    /// Whether every file that we wrote to is still there, and as long as we left it.
    pub fn is_undisturbed(&self) -> Result<(), StorageError> {
        let written = (0..self.changes.len()).filter(|index| self.changes[*index].reach.load(Acquire) > 0);
        written.into_iter().try_for_each(|index| self.check_undisturbed(index, || fs::metadata(self.path_of(index))))
    }

    /// Others may write to the folder too. What they cut off would come back as a hole under the pieces behind it.
    /// How far we wrote is asked before how long the file is: in between another thread may write behind its end.
    fn check_undisturbed(
        &self,
        index: usize,
        look: impl FnOnce() -> io::Result<fs::Metadata>,
    ) -> Result<(), StorageError> {
        let reach = self.changes[index].reach.load(Acquire);
        match look() {
            Ok(file) if reach == 0 || file.len() >= reach && file.nlink() > 0 => Ok(()),
            Ok(_) => Err(StorageError::Disturbed { path: self.path_of(index) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StorageError::Disturbed { path: self.path_of(index) })
            }
            Err(error) => Err(self.error("look at", index, error)),
        }
    }

    /// Brings every write that came to its end before this call to the disk, the names of new files included.
    pub fn sync(&self) -> Result<(), StorageError> {
        let state =
            |(index, changes): (usize, &Changes)| (index, changes.made.load(Acquire), changes.synced.load(Acquire));
        let unsynced: Vec<_> =
            self.changes.iter().enumerate().map(state).filter(|(_, made, synced)| made != synced).collect();
        for (index, ..) in &unsynced {
            let file = self.file(*index, self.reading())?;
            file.sync_data().map_err(|error| self.error("sync", *index, error))?;
        }
        let new = unsynced.iter().filter(|(_, _, synced)| *synced == 0);
        self.sync_names(new.map(|(index, ..)| *index))?;
        for (index, made, _) in unsynced {
            self.changes[index].synced.fetch_max(made, AcqRel);
        }
        Ok(())
    }

    /// Closes all files, for a torrent that nobody is interested in; they open again by themselves.
    pub fn close_all(&self) {
        self.handles.close_all();
    }

    /// The files that are not there, or shorter than the metainfo says, as errors that say so.
    pub fn absent(&self) -> Vec<StorageError> {
        let files = self.metainfo.files().iter().enumerate();
        let written = files.filter(|(_, file)| file.kind == FileKind::Normal && file.length > 0);
        let absent = written.filter_map(|(index, file)| {
            let path = self.path_of(index);
            match fs::metadata(&path) {
                Ok(found) if found.len() < file.length => Some(StorageError::Short { path }),
                Ok(_) => None,
                Err(error) => Some(StorageError::new("look at", &path, error)).filter(StorageError::is_absence),
            }
        });
        absent.collect()
    }

    /// Makes the links of the torrent, and says of those that are not made why not. No failure: the content is whole
    /// without them, and not every file system knows links.
    pub fn make_links(&self) -> Vec<String> {
        let files = self.metainfo.files().iter().enumerate();
        let links = files.filter(|(_, file)| file.kind == FileKind::Symlink);
        let left_out = links.filter_map(|(index, file)| {
            let why = match self.metainfo.link_target(index) {
                None => "it would lead out of the torrent's folder, or nowhere".to_owned(),
                Some(target) => folder::link(&self.dir, &file.path, target).err()?.to_string(),
            };
            Some(format!("the link {} is left out: {why}", file.path.display()))
        });
        left_out.collect()
    }

    fn prepare(&self, preallocate: bool) -> Result<(), StorageError> {
        fs::create_dir_all(&self.dir).map_err(|error| StorageError::new("create", &self.dir, error))?;
        self.survey()?;
        for (index, file) in self.normal_files() {
            if let Some(found) = self.found(index)?.filter(|found| found.len() > file.length) {
                let path = self.path_of(index);
                return Err(StorageError::TooLong { path, length: found.len(), expected: file.length });
            }
            if file.length == 0 {
                folder::open(&self.dir, &file.path, self.fetching(index))?;
            } else if preallocate {
                let handle = self.file(index, self.fetching(index))?;
                reserve(&handle, file.length).map_err(|error| self.error("reserve space for", index, error))?;
            }
        }
        Ok(())
    }

    /// A file is on the disk only if its name is: syncs every folder from those of the files up to the store's own.
    fn sync_names(&self, files: impl Iterator<Item = usize>) -> Result<(), StorageError> {
        let folders: BTreeSet<_> = files
            .flat_map(|index| folder::parents(&self.dir, &self.relative_path(index)).collect::<Vec<_>>())
            .collect();
        folders.iter().try_for_each(|path| {
            let synced = fs::File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|error| StorageError::new("sync", path, error))
        })
    }

    /// Looks at what there is of the files; an error if something there cannot be one of them.
    fn survey(&self) -> Result<(), StorageError> {
        for (index, _) in self.normal_files() {
            if self.found(index)?.is_some() {
                // What a former process wrote may not have come to the disk.
                self.changes[index].made.store(1, Release);
            }
        }
        Ok(())
    }

    /// What there is of file `index`; an error if it is no plain file.
    pub(super) fn found(&self, index: usize) -> Result<Option<fs::Metadata>, StorageError> {
        let path = self.path_of(index);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::new("look at", &path, error)),
            Ok(found) if !found.is_file() => Err(StorageError::InTheWay { path }),
            Ok(found) => Ok(Some(found)),
        }
    }

    /// The files that are on the disk, with their numbers.
    pub(super) fn normal_files(&self) -> impl Iterator<Item = (usize, &File)> {
        self.metainfo.files().iter().enumerate().filter(|(_, file)| file.kind == FileKind::Normal)
    }

    fn extents(&self, offset: u64, length: usize) -> impl Iterator<Item = Extent> + '_ {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.metainfo.length());
        extents(self.metainfo.files(), offset..end.expect("a range within the torrent"))
    }

    pub(super) fn file(&self, index: usize, purpose: Purpose) -> Result<Arc<fs::File>, StorageError> {
        if let Some(file) = self.handles.get(index) {
            return Ok(file);
        }
        let file = folder::open(&self.dir, &self.relative_path(index), purpose)?;
        Ok(self.handles.keep(index, file))
    }

    /// Data that is only read may lie under the very name that the torrent gives it, where we would choose a safer one.
    fn relative_path(&self, index: usize) -> Cow<'_, Path> {
        let chosen = &self.metainfo.files()[index].path;
        match self.metainfo.spelled_path(index) {
            Some(spelled) if self.access == StoreAccess::Read && !self.dir.join(chosen).exists() => spelled.into(),
            _ => chosen.into(),
        }
    }

    fn fetching(&self, index: usize) -> Purpose {
        Purpose::Fetch { executable: self.metainfo.files()[index].is_executable }
    }

    fn reading(&self) -> Purpose {
        match self.access {
            StoreAccess::Read => Purpose::Serve,
            StoreAccess::Look => Purpose::Look,
            StoreAccess::Write { .. } => Purpose::Reread,
        }
    }

    fn error(&self, doing: &'static str, index: usize, error: impl Into<io::Error>) -> StorageError {
        StorageError::new(doing, &self.path_of(index), error)
    }
}

/// Reserves the blocks of a file without changing its size. Where that is unknown the file stays sparse.
fn reserve(file: &fs::File, length: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        reserved => Ok(reserved?),
    }
}

#[cfg(test)]
mod tests;
