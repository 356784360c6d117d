//! Uploads that are not whole yet: files of our own, hashed as they grow, kept for a while when they break off.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    iter,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    failure::HttpFailure,
    hashing::{Hashing, hash_file},
};
use crate::metainfo::{Hashes, PieceHasher, create::DEFAULT_PIECE_LENGTH};

/// How long a part is kept for its upload to go on.
pub const KEPT_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How many bytes the kept parts may have together; above it the oldest go.
pub const KEPT_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// How many parts keep their hashes in memory while nobody adds to them; the others are read again. 8 KiB a 100 MiB each.
const KEPT_HASHERS: usize = 64;

/// How many parts are kept; above it the smallest go, of which least would have to be sent again.
pub const KEPT_PARTS: usize = 256;

/// What parts leave free on a disk, in bytes, for whatever else this machine writes there; on small disks a twentieth of it.
pub const LEFT_FREE: u64 = 256 * 1024 * 1024;

/// How many uploads of one name may begin anew at once from one address: a class behind one router.
const MAX_BESIDE: usize = 64;

/// How many bytes a part may take before the disk is asked again.
const CLAIM: u64 = 1024 * 1024;

/// What one address may take of the room on the disk, as a fraction: the rest is for the others. So a laptop can share an image
/// that nearly fills the disk, and no address alone can leave nothing to anybody else.
const SHARE_OF_ADDRESS: (u64, u64) = (7, 8);

/// The folder of parts, and who is at work in it.
#[derive(Debug)]
pub struct PartStore {
    folder: PathBuf,
    known: Mutex<HashMap<String, KnownPart>>,
    /// Bytes of growing parts by the address that adds to them.
    growing: Mutex<HashMap<IpAddr, u64>>,
    /// Bytes that growing parts may still write without asking.
    promised: AtomicU64,
}

/// What memory has of a part, by its key.
#[derive(Debug)]
enum KnownPart {
    /// Somebody adds to it.
    Growing,
    /// The hashes of all that is on disk.
    Resting(PieceHasher),
}

/// Whose upload it is, where that bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The address, as [`household`](super::address::household) has it.
    pub by: IpAddr,
    /// Bytes of whole uploads that came from there.
    pub kept: u64,
}

/// A part that is growing. Dropping it keeps what is there.
#[derive(Debug)]
pub struct Part<'a> {
    parts: &'a PartStore,
    key: String,
    /// Open while bytes come.
    file: Option<File>,
    /// Bytes that are there.
    length: u64,
    /// Their hashes; always there between two calls.
    hashing: Option<Hashing>,
    /// Bytes that it may write before it asks for more.
    promised: u64,
    quota: Option<Quota>,
    /// Its bytes among the growing ones of its address.
    counted: u64,
    is_discarded: bool,
}

/// Bytes of the disk that are kept free of parts while something else is written.
#[derive(Debug)]
pub struct Reserved<'a> {
    parts: &'a PartStore,
    bytes: u64,
}

/// A part that nobody adds to.
struct Resting {
    key: String,
    modified: SystemTime,
    length: u64,
}

impl PartStore {
    /// Opens, and if need be makes, the folder.
    pub fn open(folder: PathBuf) -> io::Result<PartStore> {
        fs::create_dir_all(&folder)?;
        let parts =
            PartStore { folder, known: Mutex::default(), growing: Mutex::default(), promised: AtomicU64::new(0) };
        parts.sweep(SystemTime::now())?;
        Ok(parts)
    }

    /// How many bytes of a part are there; `None` when nothing is.
    pub fn length(&self, key: &str) -> Option<u64> {
        fs::metadata(self.path(key)).ok().map(|file| file.len())
    }

    /// Whether somebody adds to it, or has gone without a word and is not given up yet.
    pub fn is_growing(&self, key: &str) -> bool {
        matches!(self.known().get(key), Some(KnownPart::Growing))
    }

    /// Begins a part anew: the one of that key, or beside it while somebody adds to that.
    pub fn begin_anew(&self, key: &str, quota: Option<Quota>) -> Result<Part<'_>, HttpFailure> {
        let beside = (2..=MAX_BESIDE).map(|number| format!("{key}~{number}"));
        let begun = iter::once(key.to_owned()).chain(beside).find_map(|key| match self.begin(&key, 0, quota) {
            Err(failure) if failure.status == 409 => None,
            begun => Some(begun),
        });
        begun
            .unwrap_or_else(|| Err(HttpFailure::new(409, "too many uploads of this name at once; wait until one ends")))
    }

    /// Goes on with a part from `offset`, which must be where it ends; 0 begins anew.
    pub fn begin(&self, key: &str, offset: u64, quota: Option<Quota>) -> Result<Part<'_>, HttpFailure> {
        let hasher = match self.known().insert(key.to_owned(), KnownPart::Growing) {
            Some(KnownPart::Growing) => {
                return Err(HttpFailure::new(409, "a file of this name is just being uploaded; wait until that ends"));
            }
            Some(KnownPart::Resting(hasher)) => Some(hasher),
            None => None,
        };
        let has_room = if self.path(key).exists() { Ok(()) } else { self.make_room() };
        let begun = has_room
            .map_err(|error| HttpFailure::of_disk(&error))
            .and_then(|()| self.reopen(key, offset, hasher, quota));
        begun.inspect_err(|_| {
            self.known().remove(key);
        })
    }

    fn reopen(
        &self,
        key: &str,
        offset: u64,
        hasher: Option<PieceHasher>,
        quota: Option<Quota>,
    ) -> Result<Part<'_>, HttpFailure> {
        let of_disk = |error| HttpFailure::of_disk(&error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(offset == 0).open(self.path(key));
        let mut file = file.map_err(of_disk)?;
        let length = file.metadata().map_err(of_disk)?.len();
        if length != offset {
            return Err(HttpFailure::new(
                409,
                format!("{length} bytes of this file are here; go on from there, or begin anew"),
            ));
        }
        let hasher = match hasher.filter(|hasher| hasher.length() == length) {
            Some(hasher) => hasher,
            None => hash_file(&mut file, DEFAULT_PIECE_LENGTH).map_err(of_disk)?,
        };
        file.seek(SeekFrom::End(0)).map_err(of_disk)?;
        let (file, hashing) = (Some(file), Some(Hashing::Here(hasher)));
        let key = key.to_owned();
        let mut part =
            Part { parts: self, key, file, length, hashing, promised: 0, quota, counted: 0, is_discarded: false };
        part.count(length);
        Ok(part)
    }

    /// Removes parts that are too old, and the oldest of too many bytes.
    pub fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let mut resting = self.resting()?;
        resting.sort_by_key(|rest| Reverse(rest.modified));
        let mut bytes = 0_u64;
        for rest in resting {
            bytes += rest.length;
            if bytes > KEPT_BYTES || now.duration_since(rest.modified).is_ok_and(|age| age > KEPT_TIME) {
                self.remove(&rest.key)?;
            }
        }
        Ok(())
    }

    /// Room for one more part.
    fn make_room(&self) -> io::Result<()> {
        if fs::read_dir(&self.folder)?.count() < KEPT_PARTS {
            return Ok(());
        }
        match self.resting()?.iter().min_by_key(|rest| rest.length) {
            Some(smallest) => self.remove(&smallest.key),
            None => Ok(()),
        }
    }

    /// The parts that nobody adds to.
    fn resting(&self) -> io::Result<Vec<Resting>> {
        let mut resting = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let metadata = match file.metadata() {
                // It has just become whole.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let key = file.file_name().to_string_lossy().into_owned();
            if !matches!(self.known().get(&key), Some(KnownPart::Growing)) {
                resting.push(Resting { key, modified: metadata.modified()?, length: metadata.len() });
            }
        }
        Ok(resting)
    }

    /// Removes a part, unless somebody adds to it by now.
    fn remove(&self, key: &str) -> io::Result<()> {
        match self.known().entry(key.to_owned()) {
            Entry::Occupied(known) if matches!(known.get(), KnownPart::Growing) => return Ok(()),
            // Nobody begins with it before it is gone.
            entry => entry.insert_entry(KnownPart::Growing),
        };
        let removed = fs::remove_file(self.path(key));
        self.known().remove(key);
        // Another may have been faster.
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// How many bytes one more part could have, if those that rest gave way.
    pub fn room(&self) -> io::Result<u64> {
        let resting: u64 = self.resting()?.iter().map(|rest| rest.length).sum();
        Ok(self.free()?.saturating_sub(self.promised.load(Ordering::Acquire)).saturating_add(resting))
    }

    /// Keeps so many bytes of the disk for what is written beside parts, by the rules that hold for these.
    pub fn reserve(&self, bytes: u64) -> io::Result<Reserved<'_>> {
        self.promise(bytes)?;
        Ok(Reserved { parts: self, bytes })
    }

    /// Whether an address may take so many bytes more of the disk.
    pub fn check_share(&self, quota: Option<Quota>, bytes: u64) -> io::Result<()> {
        let Some(Quota { by, kept }) = quota else { return Ok(()) };
        let own = kept + self.growing().get(&by).copied().unwrap_or(0);
        let (share, of) = SHARE_OF_ADDRESS;
        let fits = |room: u64| own.saturating_add(bytes) <= own.saturating_add(room) / of * share;
        let at_once = self.free()?.saturating_sub(self.promised.load(Ordering::Acquire));
        if fits(at_once) || fits(self.room()?) {
            return Ok(());
        }
        let sentence = format!(
            "files from your address may take {share} of {of} parts of the room on this disk, so that others can share too; \
             whoever runs this machine can share more"
        );
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, sentence))
    }

    /// Promises so many bytes of the disk to a part that grows. Parts that nobody adds to give way, the oldest first.
    fn promise(&self, bytes: u64) -> io::Result<()> {
        while !self.try_promise(bytes)? {
            match self.resting()?.iter().min_by_key(|rest| rest.modified) {
                Some(oldest) => self.remove(&oldest.key)?,
                None => return Err(io::ErrorKind::StorageFull.into()),
            }
        }
        Ok(())
    }

    fn try_promise(&self, bytes: u64) -> io::Result<bool> {
        loop {
            // In this order: what is written meanwhile counts twice, and never not at all.
            let promised = self.promised.load(Ordering::Acquire);
            let next = promised + bytes;
            if next > self.free()? {
                return Ok(false);
            }
            if self.promised.compare_exchange(promised, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(true);
            }
        }
    }

    /// Bytes of the disk that are free, but for those that are to be left so.
    fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.folder)?;
        let [free, all] = [space.f_bavail, space.f_blocks].map(|blocks| blocks.saturating_mul(space.f_frsize));
        Ok(free.saturating_sub(LEFT_FREE.min(all / 20)))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key)
    }

    fn growing(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, KnownPart>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Bytes that are there.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.parts.path(&self.key)
    }

    /// Adds bytes, unless the disk would be too full then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len() as u64;
        if self.promised < count {
            let claim = CLAIM.max(count);
            self.parts.check_share(self.quota, count)?;
            self.parts.promise(claim)?;
            self.promised += claim;
        }
        self.file.as_mut().expect("nothing is added to a part that was closed").write_all(bytes)?;
        self.take_back(count);
        self.count(count);
        self.length += count;
        self.hashing = self.hashing.take().map(|hashing| hashing.update(bytes));
        Ok(())
    }

    /// Counts bytes as growing ones of its address.
    fn count(&mut self, bytes: u64) {
        if let Some(Quota { by, .. }) = self.quota {
            *self.parts.growing().entry(by).or_default() += bytes;
            self.counted += bytes;
        }
    }

    fn discount(&mut self) {
        let Some(Quota { by, .. }) = self.quota else { return };
        let mut growing = self.parts.growing();
        if let Some(bytes) = growing.get_mut(&by) {
            *bytes -= self.counted;
            if *bytes == 0 {
                growing.remove(&by);
            }
        }
    }

    /// What was written, or will not be, is promised no longer.
    fn take_back(&mut self, bytes: u64) {
        self.promised -= bytes;
        self.parts.promised.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Lets go of the file and the hash thread, because all its bytes are there: a form of many files must not hold them
    /// for each.
    pub fn close(&mut self) {
        self.file = None;
        self.hashing = Some(Hashing::Here(self.settle()));
        self.take_back(self.promised);
    }

    /// The hashes of all that is there.
    pub fn hashes(&mut self) -> Hashes {
        let hasher = self.settle();
        self.hashing = Some(Hashing::Here(hasher.clone()));
        hasher.finish()
    }

    fn settle(&mut self) -> PieceHasher {
        // Hashes of nothing are found out to be wrong by their length, and made again from the disk.
        self.hashing.take().map_or_else(|| PieceHasher::new(DEFAULT_PIECE_LENGTH), Hashing::settle)
    }

    /// Kept no longer than this lives, whatever becomes of it.
    pub fn passing(mut self) -> Self {
        self.is_discarded = true;
        self
    }

    /// Forgets it: it is whole, and was moved to its place, or is of no use.
    pub fn discard(mut self) {
        self.is_discarded = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.parts.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.discount();
        self.take_back(self.promised);
        // Before the lock: a hash thread may have some to do.
        let hasher = self.settle();
        let mut known = self.parts.known();
        known.remove(&self.key);
        if self.is_discarded || self.length() == 0 {
            // Nothing is left where it was moved away.
            let _ = fs::remove_file(self.path());
        } else if known.len() < KEPT_HASHERS {
            known.insert(std::mem::take(&mut self.key), KnownPart::Resting(hasher));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Hashes {
        let mut hasher = PieceHasher::new(DEFAULT_PIECE_LENGTH);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn a_part_goes_on_from_where_it_broke_off_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![7; 300_000];
        let mut parts = PartStore::open(folder.path().to_owned()).unwrap();
        for (from, to, restart) in [(0, 100, false), (100, 270_000, true), (270_000, 300_000, false)] {
            if restart {
                parts = PartStore::open(folder.path().to_owned()).unwrap();
            }
            assert_eq!(parts.length("key").unwrap_or(0), from as u64);
            let mut part = parts.begin("key", from as u64, None).unwrap();
            part.write(&bytes[from..to]).unwrap();
            if to == bytes.len() {
                assert_eq!(part.hashes(), whole(&bytes));
                part.discard();
            }
        }
        assert_eq!(parts.length("key"), None, "what has ended is not kept");
    }

    #[test]
    fn a_part_has_one_writer_who_knows_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let mut part = parts.begin("key", 0, None).unwrap();
        assert_eq!(parts.begin("key", 0, None).unwrap_err().status, 409);
        part.write(b"abc").unwrap();
        drop(part);
        assert_eq!(parts.begin("key", 2, None).unwrap_err().status, 409);
        assert_eq!(parts.begin("key", 3, None).unwrap().length(), 3);
        assert_eq!(parts.begin("key", 0, None).unwrap().length(), 0);
    }

    #[test]
    fn of_too_many_parts_the_smallest_go_and_growing_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        parts.begin("large", 0, None).unwrap().write(&[1; 100]).unwrap();
        let mut growing = parts.begin("growing", 0, None).unwrap();
        growing.write(b"a").unwrap();
        for number in 0..2 * KEPT_PARTS {
            parts.begin(&format!("small {number}"), 0, None).unwrap().write(b"ab").unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT_PARTS);
        assert_eq!((parts.length("large"), parts.length("growing")), (Some(100), Some(1)));
        drop(growing);
        assert_eq!(parts.promised.load(Ordering::Relaxed), 0, "what rests has nothing promised");
    }

    #[test]
    fn no_address_alone_takes_all_the_room() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let by = IpAddr::from([10, 0, 0, 1]);
        let quota = |by, kept| Some(Quota { by, kept });
        let room = parts.room().unwrap();
        assert!(parts.check_share(quota(by, 0), room / 2).is_ok());
        assert!(parts.check_share(None, room).is_ok());
        let refused = parts.check_share(quota(by, 0), room - room / 16).unwrap_err();
        assert_eq!(HttpFailure::of_disk(&refused).status, 507);
        assert!(HttpFailure::of_disk(&refused).sentence.contains("from your address"));
        // What it has already counts, whole or growing, and others have their own share.
        assert!(parts.check_share(quota(by, room * 15), 1 << 20).is_err());
        let mut growing = parts.begin("a", 0, quota(by, 0)).unwrap();
        growing.write(&[1; 1000]).unwrap();
        assert_eq!(parts.growing().get(&by), Some(&1000));
        drop(growing);
        assert!(parts.growing().is_empty(), "what rests gives way, and is not counted");
        assert!(parts.check_share(quota(IpAddr::from([10, 0, 0, 2]), 0), room / 2).is_ok());
    }

    #[test]
    fn what_begins_anew_stands_beside_what_is_growing() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let mut all: Vec<_> = (0..MAX_BESIDE).map(|_| parts.begin_anew("key", None).unwrap()).collect();
        assert_eq!(parts.begin_anew("key", None).unwrap_err().status, 409);
        all[1].write(b"second").unwrap();
        all.truncate(1);
        assert_eq!((parts.length("key"), parts.begin_anew("key", None).unwrap().length()), (Some(0), 0));
    }

    #[test]
    fn old_parts_go_and_growing_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        parts.begin("resting", 0, None).unwrap().write(b"abc").unwrap();
        let mut growing = parts.begin("growing", 0, None).unwrap();
        growing.write(b"abc").unwrap();
        let soon = SystemTime::now() + KEPT_TIME / 2;
        parts.sweep(soon).unwrap();
        assert_eq!(parts.length("resting"), Some(3));
        parts.sweep(soon + KEPT_TIME).unwrap();
        assert_eq!((parts.length("resting"), parts.length("growing")), (None, Some(3)));
    }
}
