//! A torrent's bytes at rest: positioned reads and writes by offsets in the torrent, from many threads at once.
//!
//! Files come to be when their first byte is written and grow as bytes arrive, so a file's size never claims more than
//! was written. Gaps take no room unless the space is reserved up front ([`Access::Write`]), which leaves the size alone
//! as well. Nothing is ever cut or deleted.

use std::{
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
    Error,
    folder::{self, Purpose},
    gather::write_all,
    handles::Handles,
    layout::{Extent, Place, extents},
};
use crate::metainfo::{File, FileKind, Metainfo};

/// What a store may do with its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read files that are there. They may be symbolic links.
    Read,
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
    access: Access,
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
    pub fn open(metainfo: Arc<Metainfo>, dir: &Path, access: Access) -> Result<Store, Error> {
        // What is left of `big.iso` when its name is taken off.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let count = metainfo.files().len();
        let changes = (0..count).map(|_| Changes::default()).collect();
        let store = Store { metainfo, dir: dir.to_owned(), access, handles: Handles::new(count), changes };
        if let Access::Write { preallocate } = access {
            store.prepare(preallocate)?;
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

    /// Fills `buffer` with the torrent's bytes from `offset` on. Bytes that are not there yet are [`Error::Missing`],
    /// [`Error::Short`] or, in gaps, zeros.
    ///
    /// # Panics
    /// When the range exceeds the torrent.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut rest = buffer;
        for Extent { place, length } in self.extents(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(length as usize);
            match place {
                Place::Zeros => now.fill(0),
                Place::File { index, at } => {
                    let read = self.file(index, self.reading())?.read_exact_at(now, at);
                    read.map_err(|error| self.error("read", index, error))?;
                }
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes `blocks`, one after the other, from `offset` of the torrent on. What falls into pad files is dropped.
    /// A range within one file is one system call.
    ///
    /// # Panics
    /// When the range exceeds the torrent.
    pub fn write(&self, offset: u64, blocks: &[IoSlice<'_>]) -> Result<(), Error> {
        let mut done = 0;
        for Extent { place, length } in self.extents(offset, blocks.iter().map(|block| block.len()).sum()) {
            let length = length as usize;
            if let Place::File { index, at } = place {
                let file = self.file(index, Purpose::Fetch)?;
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
    pub fn is_undisturbed(&self) -> Result<(), Error> {
        let written = (0..self.changes.len()).filter(|index| self.changes[*index].reach.load(Acquire) > 0);
        written.into_iter().try_for_each(|index| self.check_undisturbed(index, || fs::metadata(self.path_of(index))))
    }

    /// Others may write to the folder too. What they cut off would come back as a hole under the pieces behind it.
    /// How far we wrote is asked before how long the file is: in between another thread may write behind its end.
    fn check_undisturbed(&self, index: usize, look: impl FnOnce() -> io::Result<fs::Metadata>) -> Result<(), Error> {
        let reach = self.changes[index].reach.load(Acquire);
        match look() {
            Ok(file) if reach == 0 || file.len() >= reach && file.nlink() > 0 => Ok(()),
            Ok(_) => Err(Error::Disturbed { path: self.path_of(index) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Disturbed { path: self.path_of(index) })
            }
            Err(error) => Err(self.error("look at", index, error)),
        }
    }

    /// Brings every write that came to its end before this call to the disk, the names of new files included.
    pub fn sync(&self) -> Result<(), Error> {
        let state =
            |(index, changes): (usize, &Changes)| (index, changes.made.load(Acquire), changes.synced.load(Acquire));
        let unsynced: Vec<_> =
            self.changes.iter().enumerate().map(state).filter(|(_, made, synced)| made != synced).collect();
        for (index, ..) in &unsynced {
            let file = self.file(*index, Purpose::Reread)?;
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

    fn prepare(&self, preallocate: bool) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(|error| Error::new("create", &self.dir, error))?;
        for (index, file) in self.metainfo.files().iter().enumerate() {
            if file.kind != FileKind::Normal {
                continue;
            }
            if self.is_there(file)? {
                // What a former process wrote may not have come to the disk.
                self.changes[index].made.store(1, Release);
            }
            if file.length == 0 {
                folder::open(&self.dir, &file.path, Purpose::Fetch)?;
            } else if preallocate {
                let handle = self.file(index, Purpose::Fetch)?;
                reserve(&handle, file.length).map_err(|error| self.error("reserve space for", index, error))?;
            }
        }
        Ok(())
    }

    /// A file is on the disk only if its name is: syncs every folder from those of the files up to the store's own.
    fn sync_names(&self, files: impl Iterator<Item = usize>) -> Result<(), Error> {
        let folders: BTreeSet<_> =
            files.flat_map(|index| folder::parents(&self.dir, self.relative_path(index))).collect();
        folders.iter().try_for_each(|path| {
            let synced = fs::File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|error| Error::new("sync", path, error))
        })
    }

    /// Whether there is something of the file; an error if what is there cannot become it.
    fn is_there(&self, file: &File) -> Result<bool, Error> {
        let path = self.dir.join(&file.path);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::new("look at", &path, error)),
            Ok(found) if !found.is_file() => Err(Error::InTheWay { path }),
            Ok(found) if found.len() > file.length => {
                Err(Error::TooLong { path, length: found.len(), expected: file.length })
            }
            Ok(_) => Ok(true),
        }
    }

    fn extents(&self, offset: u64, length: usize) -> impl Iterator<Item = Extent> + '_ {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.metainfo.length());
        extents(self.metainfo.files(), offset..end.expect("a range within the torrent"))
    }

    fn file(&self, index: usize, purpose: Purpose) -> Result<Arc<fs::File>, Error> {
        if let Some(file) = self.handles.get(index) {
            return Ok(file);
        }
        let file = folder::open(&self.dir, self.relative_path(index), purpose)?;
        Ok(self.handles.keep(index, file))
    }

    /// Data that is only read may lie under the very name that the torrent gives it, where we would choose a safer one.
    fn relative_path(&self, index: usize) -> &Path {
        let chosen = &self.metainfo.files()[index].path;
        match self.metainfo.spelled_path(index) {
            Some(spelled) if self.access == Access::Read && !self.dir.join(chosen).exists() => spelled,
            _ => chosen,
        }
    }

    fn reading(&self) -> Purpose {
        match self.access {
            Access::Read => Purpose::Serve,
            Access::Write { .. } => Purpose::Reread,
        }
    }

    fn error(&self, doing: &'static str, index: usize, error: impl Into<io::Error>) -> Error {
        Error::new(doing, &self.path_of(index), error)
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
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::{Strategy, prop, prop_assert_eq, proptest};

    use super::{
        super::tests::{SmallDisk, Torrent},
        *,
    };
    use crate::storage::{handles::MAX_OPEN_FILES, resume};

    const SPARSE: Access = Access::Write { preallocate: false };

    fn read(store: &Store, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0xee; length];
        store.read(offset, &mut buffer).map(|()| buffer)
    }

    #[test]
    fn a_write_lands_right_however_it_is_cut_into_buffers() {
        let torrent = Torrent::new(4, &[("a", 3, ""), ("pad", 1, "p"), ("e", 0, ""), ("b/c", 4, ""), ("d", 2, "")]);
        let length = torrent.content.len();
        for (start, end) in (0..length).flat_map(|start| (start + 1..=length).map(move |end| (start, end))) {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
            let bytes = &torrent.content[start..end];
            for cut in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                store.write(start as u64, &[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)]).unwrap();
                assert_eq!(read(&store, start as u64, bytes.len()).unwrap(), bytes, "{start}..{end} cut at {cut}");
            }
        }
    }

    #[test]
    fn empty_files_are_made_and_pads_and_links_are_not() {
        let torrent =
            Torrent::new(4, &[("a", 3, ""), (".pad", 1, "p"), ("deep/er/e", 0, ""), ("l", 0, "l"), ("b", 4, "")]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        store.write(0, &[IoSlice::new(&torrent.content)]).unwrap();
        store.sync().unwrap();
        let root = dir.path().join("t");
        let mut names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "deep"]);
        assert_eq!(fs::read(root.join("deep/er/e")).unwrap(), b"");
        assert_eq!(fs::read(root.join("b")).unwrap(), torrent.content[4..]);
    }

    #[test]
    fn thousands_of_files_need_few_descriptors() {
        let files: Vec<_> = (0..300).map(|n| (format!("{}/{n}", n % 7), 5)).collect();
        let files: Vec<_> = files.iter().map(|(path, length)| (path.as_str(), *length)).collect();
        let torrent = Torrent::of_files(64, &files);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        store.write(0, &[IoSlice::new(&torrent.content)]).unwrap();
        store.sync().unwrap();
        assert_eq!(read(&store, 0, torrent.content.len()).unwrap(), torrent.content);
        assert_eq!(store.handles.open_count(), MAX_OPEN_FILES);
        store.close_all();
        assert_eq!(store.handles.open_count(), 0);
        assert_eq!(read(&store, 1400, 100).unwrap(), torrent.content[1400..]);
    }

    #[test]
    fn a_file_that_is_cut_or_removed_while_it_is_fetched_is_noticed_at_the_next_write_and_in_the_end() {
        let torrent = Torrent::of_files(4, &[("a", 12)]);
        for disturb in [|path: &Path| fs::write(path, b"x").unwrap(), |path: &Path| fs::remove_file(path).unwrap()] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
            store.write(0, &[IoSlice::new(&torrent.content[..8])]).unwrap();
            assert!(store.is_undisturbed().is_ok());
            disturb(&store.path_of(0));
            assert!(matches!(store.is_undisturbed(), Err(Error::Disturbed { .. })));
            assert!(matches!(store.write(8, &[IoSlice::new(&torrent.content[8..])]), Err(Error::Disturbed { .. })));
        }
    }

    #[test]
    fn what_another_thread_writes_behind_the_end_meanwhile_is_no_disturbance() {
        let torrent = Torrent::of_files(4, &[("a", 12)]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        store.write(0, &[IoSlice::new(&torrent.content[..4])]).unwrap();
        let seen_before_it_was_written_to = || {
            let seen = fs::metadata(store.path_of(0));
            store.write(8, &[IoSlice::new(&torrent.content[8..])]).unwrap();
            seen
        };
        assert!(store.check_undisturbed(0, seen_before_it_was_written_to).is_ok());
    }

    #[test]
    fn what_is_not_there_yet_is_an_absence() {
        let torrent = Torrent::of_files(4, &[("a", 8), ("b", 8)]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        assert!(matches!(read(&store, 0, 4), Err(Error::Missing { path }) if path.ends_with("t/a")));
        store.write(4, &[IoSlice::new(b"1234")]).unwrap();
        assert_eq!(read(&store, 0, 8).unwrap(), b"\0\0\0\x001234");
        store.write(8, &[IoSlice::new(b"1234")]).unwrap();
        fs::File::options().write(true).open(dir.path().join("t/a")).unwrap().set_len(7).unwrap();
        assert!(matches!(read(&store, 4, 4), Err(Error::Short { path }) if path.ends_with("t/a")));
        assert!(matches!(read(&store, 8, 8), Err(Error::Short { path }) if path.ends_with("t/b")));
    }

    #[test]
    fn reserving_space_claims_no_size() {
        let torrent = Torrent::of_files(4, &[("a", 1 << 20)]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), Access::Write { preallocate: true }).unwrap();
        assert_eq!(fs::metadata(store.path_of(0)).unwrap().len(), 0);
        store.write(4, &[IoSlice::new(b"1234")]).unwrap();
        assert_eq!(fs::metadata(store.path_of(0)).unwrap().len(), 8);
    }

    #[test]
    fn a_link_is_never_written_through_and_may_be_read_through() {
        let torrent = Torrent::of_files(4, &[("folder/a", 8), ("b", 4)]);
        let elsewhere = torrent.on_disk();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t")).unwrap();
        symlink(elsewhere.path().join("t/folder"), dir.path().join("t/folder")).unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        assert!(matches!(store.write(0, &[IoSlice::new(b"evil")]), Err(Error::InTheWay { .. })));
        assert!(matches!(read(&store, 0, 4), Err(Error::InTheWay { .. })));

        symlink(elsewhere.path().join("t/b"), dir.path().join("t/b")).unwrap();
        let refused = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).err().unwrap();
        assert!(matches!(refused, Error::InTheWay { path } if path.ends_with("t/b")));
        let store = torrent.open(dir.path());
        assert_eq!(read(&store, 0, 12).unwrap(), torrent.content);
    }

    #[test]
    fn own_files_are_served_under_the_very_name_that_we_would_not_give() {
        let torrent = Torrent::of_files(4, &[("con", 8)]);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t")).unwrap();
        fs::write(dir.path().join("t/con"), &torrent.content).unwrap();
        assert_eq!(read(&torrent.open(dir.path()), 0, 8).unwrap(), torrent.content);
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        assert!(matches!(read(&store, 0, 8), Err(Error::Missing { path }) if !path.ends_with("con")));
    }

    #[test]
    fn what_cannot_become_the_file_is_refused_before_anything_is_written() {
        let torrent = Torrent::of_files(4, &[("a", 8)]);
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).err().unwrap();
        fs::create_dir_all(dir.path().join("t/a")).unwrap();
        assert!(matches!(open(), Error::InTheWay { .. }));
        fs::remove_dir(dir.path().join("t/a")).unwrap();
        fs::write(dir.path().join("t/a"), b"nine char").unwrap();
        assert!(matches!(open(), Error::TooLong { length: 9, expected: 8, .. }));
        assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), b"nine char");
        fs::remove_dir_all(dir.path().join("t")).unwrap();
        fs::write(dir.path().join("t"), b"").unwrap();
        assert!(matches!(open(), Error::InTheWay { .. }));
    }

    #[test]
    fn a_full_disk_is_one_clear_error_and_what_was_written_stays() {
        let Some(disk) = SmallDisk::of(1 << 20) else { return };
        let torrent = Torrent::of_files(1 << 16, &[("a", 4 << 20)]);
        let store = Store::open(torrent.metainfo.clone(), disk.path(), SPARSE).unwrap();
        let block = &torrent.content[..1 << 16];
        store.write(0, &[IoSlice::new(block)]).unwrap();
        let full = (1..64).find_map(|n| store.write(n << 16, &[IoSlice::new(block)]).err()).unwrap();
        assert_eq!(full.to_string(), format!("no room is left on the disk for {}", store.path_of(0).display()));
        assert_eq!(read(&store, 0, 1 << 16).unwrap(), block);
        let reserving = Store::open(torrent.metainfo.clone(), disk.path(), Access::Write { preallocate: true });
        assert!(matches!(reserving, Err(Error::NoRoom { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_clear_error_and_can_be_read() {
        let Some(disk) = SmallDisk::of(1 << 20) else { return };
        let torrent = Torrent::of_files(4, &[("a", 8)]);
        torrent.write_to(disk.path());
        disk.make_read_only();
        assert_eq!(read(&torrent.open(disk.path()), 0, 8).unwrap(), torrent.content);
        let store = Store::open(torrent.metainfo.clone(), disk.path(), SPARSE).unwrap();
        let refused = store.write(0, &[IoSlice::new(b"1")]).unwrap_err().to_string();
        assert_eq!(refused, format!("cannot open {}: Read-only file system (os error 30)", store.path_of(0).display()));
        let log = resume::open(&store, 1, &|_, _| {}).unwrap_err().to_string();
        assert!(log.starts_with("cannot open") && log.ends_with("Read-only file system (os error 30)"), "{log}");
    }

    fn layouts() -> impl Strategy<Value = Vec<(u64, bool)>> {
        prop::collection::vec((0..40u64, prop::bool::weighted(0.2)), 1..8)
    }

    proptest! {
        #[test]
        fn random_writes_to_a_random_layout_equal_a_flat_buffer(
            mut layout in layouts(),
            writes in prop::collection::vec((0..300usize, 1..200usize, 1..255u8), 1..12),
        ) {
            layout.push((1, false));
            let named: Vec<_> = layout.iter().enumerate().map(|(n, &(length, pad))| (format!("{n}"), length, pad)).collect();
            let files: Vec<_> =
                named.iter().map(|(name, length, pad)| (name.as_str(), *length, if *pad { "p" } else { "" })).collect();
            let torrent = Torrent::new(16, &files);
            let pads: Vec<bool> =
                layout.iter().flat_map(|&(length, pad)| std::iter::repeat_n(pad, length as usize)).collect();
            let mut flat = vec![0; pads.len()];
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
            store.write(0, &[IoSlice::new(&flat)]).unwrap();
            for (start, length, byte) in writes {
                let start = start % flat.len();
                let end = (start + length).min(flat.len());
                let bytes: Vec<u8> = (start..end).map(|at| byte.wrapping_add(at as u8)).collect();
                let blocks: Vec<_> = bytes.chunks(16).map(IoSlice::new).collect();
                store.write(start as u64, &blocks).unwrap();
                (start..end).filter(|at| !pads[*at]).for_each(|at| flat[at] = bytes[at - start]);
            }
            prop_assert_eq!(read(&store, 0, flat.len()).unwrap(), flat);
        }
    }
}
