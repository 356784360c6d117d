//! Uploads that are not whole yet: files of our own, hashed as they grow, kept for a while when they break off.
//!
//! A part's file is named by the digest of its [`PartId`], a dot, and the origin that began it, or `own` where that is not bounded. When
//! parts have to make room, one of the origin goes that has most of what is short; and none that whoever runs this machine has begun makes
//! room for a stranger's.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use super::{
    failure::HttpFailure,
    hashing::{Hashing, hash_file},
};
use crate::{
    metainfo::{Hashes, PieceHasher, create::DEFAULT_PIECE_LENGTH},
    quota::{Origin, Tally},
};

/// How long a part is kept for its upload to go on.
pub const KEPT_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How many bytes the kept parts of strangers may have together, and those of whoever runs this machine.
pub const KEPT_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// How many parts keep their hashes in memory while nobody adds to them; the others are read again. 8 KiB a 100 MiB each.
const KEPT_HASHERS: usize = 64;

/// How many parts of strangers are kept, and how many of whoever runs this machine. Of an origin the smallest go first, of which least would
/// have to be sent again.
pub const KEPT_PARTS: usize = 256;

/// What parts leave free on a disk, in bytes, for whatever else this machine writes there; on small disks a twentieth of it.
pub const LEFT_FREE: u64 = 256 * 1024 * 1024;

/// How many uploads of one name may begin anew at once from one address: a class behind one router.
const MAX_BESIDE: usize = 64;

/// How many bytes a part may take before the disk is asked again.
const CLAIM: u64 = 1024 * 1024;

/// What one host may take of the room on the disk, as a fraction: the rest is for the others. So a laptop can share an image
/// that nearly fills the disk, and no host alone can leave nothing to anybody else.
const SHARE_OF_HOST: (u64, u64) = (7, 8);

/// The same for all hosts of a /64 of our own link.
const SHARE_OF_NETWORK: (u64, u64) = (15, 16);

/// The folder of parts, and who is at work in it.
#[derive(Debug)]
pub struct PartStore {
    folder: PathBuf,
    known: Mutex<HashMap<PartKey, KnownPart>>,
    /// Bytes of growing parts by the origin that adds to them.
    growing: Mutex<Tally<u64>>,
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
    /// Where it comes from.
    pub by: Origin,
    /// Bytes of whole uploads that came from there.
    pub kept: u64,
    /// The same of all hosts of its /64, where that is of our own link.
    pub kept_of_network: u64,
}

/// A part that is growing. Dropping it keeps what is there.
#[derive(Debug)]
pub struct Part<'a> {
    parts: &'a PartStore,
    key: PartKey,
    path: PathBuf,
    /// Open while bytes come.
    file: Option<File>,
    /// Bytes that are there.
    length: u64,
    /// Their hashes; always there between two calls.
    hashing: Option<Hashing>,
    /// Bytes that it may write before it asks for more.
    promised: u64,
    quota: Option<Quota>,
    /// Its bytes among the growing ones of its origin.
    counted: u64,
    is_discarded: bool,
}

/// Bytes of the disk that are kept free of parts while something else is written.
#[derive(Debug)]
pub struct ReservedSpace<'a> {
    parts: &'a PartStore,
    bytes: u64,
}

/// Whose part it is, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartId<'a> {
    /// An upload that only its origin goes on with.
    Untagged {
        /// The name it is to have.
        name: &'a str,
        /// Where it comes from.
        origin: Origin,
    },
    /// An upload that whoever knows its tag goes on with.
    Tagged {
        /// The name it is to have.
        name: &'a str,
        /// What its sender calls it.
        tag: &'a str,
    },
    /// A file of a form, which nobody goes on with.
    Form {
        /// The name it is to have.
        name: &'a str,
        /// Where it comes from.
        origin: Origin,
    },
    /// A metainfo from there, which nobody goes on with.
    Metainfo(Origin),
}

/// The digest of a [`PartId`] and a number, in hex: no part can be named so that it is taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PartKey(String);

/// A part that nobody adds to.
#[derive(Debug)]
struct Resting {
    path: PathBuf,
    key: PartKey,
    /// Who began it; nobody whose share is not bounded.
    by: Option<Origin>,
    modified: SystemTime,
    length: u64,
}

/// What the file of a part ends with that whoever runs this machine has begun.
const OWN: &str = "own";

impl PartId<'_> {
    /// The key of the part of that number, of those that stand beside each other.
    fn key(&self, number: usize) -> PartKey {
        let (kind, name, whose) = match self {
            PartId::Untagged { name, origin } => ("untagged", *name, origin.to_string()),
            PartId::Tagged { name, tag } => ("tagged", *name, (*tag).to_owned()),
            PartId::Form { name, origin } => ("form", *name, origin.to_string()),
            PartId::Metainfo(origin) => ("metainfo", "", origin.to_string()),
        };
        let mut digest = Sha1::new();
        for field in [kind, name, &whose, &number.to_string()] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        PartKey(HEXLOWER.encode(&digest.finalize()))
    }
}

impl Resting {
    /// What the name of a part's file says. What is no part's counts as a stranger's of nowhere.
    fn of(path: PathBuf, metadata: &fs::Metadata) -> io::Result<Resting> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (key, by) = name.split_once('.').unwrap_or((&name, ""));
        let by = if by == OWN { None } else { Some(Origin::from_file_name(by)) };
        let (key, modified, length) = (PartKey(key.to_owned()), metadata.modified()?, metadata.len());
        Ok(Resting { key, by, modified, length, path })
    }

    /// Whether it makes room for a part that `by` adds to.
    fn yields_to(&self, by: Option<Origin>) -> bool {
        self.by.is_some() || by.is_none()
    }
}

/// The part that makes room for one of `by`: of a stranger where there is one, of the origin with the most by `weight`, the first by `order`.
fn first_to_go<T: Ord>(
    resting: &[Resting],
    by: Option<Origin>,
    weight: impl Fn(&Resting) -> u64,
    order: impl Fn(&Resting) -> T,
) -> Option<&Resting> {
    let tally: Tally<u64> = resting.iter().filter_map(|rest| Some((rest.by?, weight(rest)))).collect();
    let strangers = resting.iter().filter_map(|rest| Some((tally.weight(rest.by?), rest)));
    let heaviest = strangers.max_by_key(|(weight, rest)| (*weight, Reverse(order(rest)))).map(|(_, rest)| rest);
    let own = || resting.iter().filter(|rest| rest.by.is_none() && rest.yields_to(by));
    heaviest.or_else(|| own().min_by_key(|rest| order(rest)))
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
    pub fn length(&self, id: &PartId<'_>) -> Option<u64> {
        let path = self.find(&id.key(1)).ok()??;
        fs::metadata(path).ok().map(|file| file.len())
    }

    /// Whether somebody adds to it, or has gone without a word and is not given up yet.
    pub fn is_growing(&self, id: &PartId<'_>) -> bool {
        matches!(self.known().get(&id.key(1)), Some(KnownPart::Growing))
    }

    /// Begins a part anew: the one of that name, or beside it while somebody adds to that.
    pub fn begin_anew(&self, id: &PartId<'_>, quota: Option<Quota>) -> Result<Part<'_>, HttpFailure> {
        let begun = (1..=MAX_BESIDE).find_map(|number| match self.begin_key(id.key(number), 0, quota) {
            Err(failure) if failure.status == 409 => None,
            begun => Some(begun),
        });
        begun
            .unwrap_or_else(|| Err(HttpFailure::new(409, "too many uploads of this name at once; wait until one ends")))
    }

    /// Goes on with a part from `offset`, which must be where it ends; 0 begins anew.
    pub fn begin(&self, id: &PartId<'_>, offset: u64, quota: Option<Quota>) -> Result<Part<'_>, HttpFailure> {
        self.begin_key(id.key(1), offset, quota)
    }

    fn begin_key(&self, key: PartKey, offset: u64, quota: Option<Quota>) -> Result<Part<'_>, HttpFailure> {
        let hasher = match self.known().insert(key.clone(), KnownPart::Growing) {
            Some(KnownPart::Growing) => {
                return Err(HttpFailure::new(409, "a file of this name is just being uploaded; wait until that ends"));
            }
            Some(KnownPart::Resting(hasher)) => Some(hasher),
            None => None,
        };
        let by = quota.map(|quota| quota.by);
        let path = self.find(&key).and_then(|found| match found {
            Some(path) => Ok(path),
            None => self.make_room(by).map(|()| {
                let whose = by.map_or_else(|| OWN.to_owned(), Origin::to_file_name);
                self.folder.join(format!("{}.{whose}", key.0))
            }),
        });
        let begun = path
            .map_err(|error| HttpFailure::of_disk(&error))
            .and_then(|path| self.reopen(&key, path, offset, hasher, quota));
        begun.inspect_err(|_| {
            self.known().remove(&key);
        })
    }

    /// The file of a part, if there is one.
    fn find(&self, key: &PartKey) -> io::Result<Option<PathBuf>> {
        for file in fs::read_dir(&self.folder)? {
            let name = file?.file_name();
            let whose = name.to_str().and_then(|name| name.strip_prefix(&key.0)?.strip_prefix('.'));
            if whose.is_some() {
                return Ok(Some(self.folder.join(name)));
            }
        }
        Ok(None)
    }

    fn reopen(
        &self,
        key: &PartKey,
        path: PathBuf,
        offset: u64,
        hasher: Option<PieceHasher>,
        quota: Option<Quota>,
    ) -> Result<Part<'_>, HttpFailure> {
        let of_disk = |error| HttpFailure::of_disk(&error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(offset == 0).open(&path);
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
        let key = key.clone();
        let mut part =
            Part { parts: self, key, path, file, length, hashing, promised: 0, quota, counted: 0, is_discarded: false };
        part.count(length);
        Ok(part)
    }

    /// Removes parts that are too old, and some of too many bytes.
    pub fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let is_old = |rest: &Resting| now.duration_since(rest.modified).is_ok_and(|age| age > KEPT_TIME);
        let (old, kept): (Vec<_>, Vec<_>) = self.resting()?.into_iter().partition(is_old);
        old.iter().try_for_each(|rest| self.remove(rest))?;
        let (own, strangers): (Vec<_>, Vec<_>) = kept.into_iter().partition(|rest| rest.by.is_none());
        [own, strangers].into_iter().try_for_each(|mut kept| {
            while kept.iter().map(|rest| rest.length).sum::<u64>() > KEPT_BYTES {
                let Some(rest) = first_to_go(&kept, None, |rest| rest.length, |rest| rest.modified) else { break };
                self.remove(rest)?;
                let gone = rest.path.clone();
                kept.retain(|rest| rest.path != gone);
            }
            Ok(())
        })
    }

    /// Room for one more part of `by`.
    fn make_room(&self, by: Option<Origin>) -> io::Result<()> {
        let mut all = self.all()?;
        all.retain(|rest| rest.by.is_some() == by.is_some());
        if all.len() < KEPT_PARTS {
            return Ok(());
        }
        all.retain(|rest| self.is_resting(rest));
        match first_to_go(&all, by, |_| 1, |rest| rest.length) {
            Some(rest) => self.remove(rest),
            None => Ok(()),
        }
    }

    /// The parts that nobody adds to.
    fn resting(&self) -> io::Result<Vec<Resting>> {
        let mut all = self.all()?;
        all.retain(|rest| self.is_resting(rest));
        Ok(all)
    }

    fn is_resting(&self, part: &Resting) -> bool {
        !matches!(self.known().get(&part.key), Some(KnownPart::Growing))
    }

    /// The parts that are there, those among them that somebody adds to.
    fn all(&self) -> io::Result<Vec<Resting>> {
        let mut all = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            match file.metadata() {
                // It has just become whole.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                metadata => all.push(Resting::of(file.path(), &metadata?)?),
            }
        }
        Ok(all)
    }

    /// Removes a part, unless somebody adds to it by now.
    fn remove(&self, part: &Resting) -> io::Result<()> {
        match self.known().entry(part.key.clone()) {
            Entry::Occupied(known) if matches!(known.get(), KnownPart::Growing) => return Ok(()),
            // Nobody begins with it before it is gone.
            entry => entry.insert_entry(KnownPart::Growing),
        };
        let removed = fs::remove_file(&part.path);
        self.known().remove(&part.key);
        // Another may have been faster.
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// How many bytes one more part of `by` could have, if those that rest gave way.
    pub fn room(&self, by: Option<Origin>) -> io::Result<u64> {
        let resting = self.resting()?.into_iter().filter(|rest| rest.yields_to(by));
        let resting: u64 = resting.map(|rest| rest.length).sum();
        Ok(self.free()?.saturating_sub(self.promised.load(Ordering::Acquire)).saturating_add(resting))
    }

    /// Keeps so many bytes of the disk for what is written beside parts, by the rules that hold for these.
    pub fn reserve(&self, bytes: u64, by: Option<Origin>) -> io::Result<ReservedSpace<'_>> {
        self.promise(bytes, by)?;
        Ok(ReservedSpace { parts: self, bytes })
    }

    /// Whether an address may take so many bytes more of the disk.
    pub fn check_share(&self, quota: Option<Quota>, bytes: u64) -> io::Result<()> {
        let Some(Quota { by, kept, kept_of_network }) = quota else { return Ok(()) };
        let (own, of_network) = {
            let growing = self.growing();
            (kept + growing.host(by), growing.network(by).map(|bytes| kept_of_network + bytes))
        };
        let fits_in = |has: u64, room: u64, (share, of): (u64, u64)| {
            has.saturating_add(bytes) <= has.saturating_add(room) / of * share
        };
        let fits = |room: u64| {
            fits_in(own, room, SHARE_OF_HOST) && of_network.is_none_or(|has| fits_in(has, room, SHARE_OF_NETWORK))
        };
        let (share, of) = SHARE_OF_HOST;
        let at_once = self.free()?.saturating_sub(self.promised.load(Ordering::Acquire));
        if fits(at_once) || fits(self.room(Some(by))?) {
            return Ok(());
        }
        let sentence = format!(
            "files from your address may take {share} of {of} parts of the room on this disk, so that others can share too; \
             whoever runs this machine can share more"
        );
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, sentence))
    }

    /// Promises so many bytes of the disk to a part of `by` that grows. Parts that nobody adds to give way.
    fn promise(&self, bytes: u64, by: Option<Origin>) -> io::Result<()> {
        while !self.try_promise(bytes)? {
            match first_to_go(&self.resting()?, by, |rest| rest.length, |rest| rest.modified) {
                Some(rest) => self.remove(rest)?,
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

    fn growing(&self) -> MutexGuard<'_, Tally<u64>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PartKey, KnownPart>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Bytes that are there.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds bytes, unless the disk would be too full then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len() as u64;
        if self.promised < count {
            let claim = CLAIM.max(count);
            self.parts.check_share(self.quota, count)?;
            self.parts.promise(claim, self.quota.map(|quota| quota.by))?;
            self.promised += claim;
        }
        self.file.as_mut().expect("nothing is added to a part that was closed").write_all(bytes)?;
        self.take_back(count);
        self.count(count);
        self.length += count;
        self.hashing = self.hashing.take().map(|hashing| hashing.update(bytes));
        Ok(())
    }

    /// Counts bytes as growing ones of its origin.
    fn count(&mut self, bytes: u64) {
        if let Some(Quota { by, .. }) = self.quota.filter(|_| bytes > 0) {
            self.parts.growing().add(by, bytes);
            self.counted += bytes;
        }
    }

    fn discount(&mut self) {
        if let Some(Quota { by, .. }) = self.quota {
            self.parts.growing().remove(by, self.counted);
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

impl Drop for ReservedSpace<'_> {
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
            let _ = fs::remove_file(&self.path);
        } else if known.len() < KEPT_HASHERS {
            known.insert(self.key.clone(), KnownPart::Resting(hasher));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        Origin::of(std::net::IpAddr::from([10, 0, 0, last]))
    }

    /// Of an upload of that name.
    fn of(name: &str) -> PartId<'_> {
        PartId::Untagged { name, origin: origin(1) }
    }

    fn by(last: u8) -> Option<Quota> {
        Some(Quota { by: origin(last), kept: 0, kept_of_network: 0 })
    }

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
            assert_eq!(parts.length(&of("key")).unwrap_or(0), from as u64);
            let mut part = parts.begin(&of("key"), from as u64, None).unwrap();
            part.write(&bytes[from..to]).unwrap();
            if to == bytes.len() {
                assert_eq!(part.hashes(), whole(&bytes));
                part.discard();
            }
        }
        assert_eq!(parts.length(&of("key")), None, "what has ended is not kept");
    }

    #[test]
    fn a_part_has_one_writer_who_knows_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let mut part = parts.begin(&of("key"), 0, None).unwrap();
        assert_eq!(parts.begin(&of("key"), 0, None).unwrap_err().status, 409);
        part.write(b"abc").unwrap();
        drop(part);
        assert_eq!(parts.begin(&of("key"), 2, None).unwrap_err().status, 409);
        assert_eq!(parts.begin(&of("key"), 3, None).unwrap().length(), 3);
        assert_eq!(parts.begin(&of("key"), 0, None).unwrap().length(), 0);
    }

    #[test]
    fn of_too_many_parts_the_smallest_go_and_growing_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        parts.begin(&of("large"), 0, None).unwrap().write(&[1; 100]).unwrap();
        let mut growing = parts.begin(&of("growing"), 0, None).unwrap();
        growing.write(b"a").unwrap();
        for number in 0..2 * KEPT_PARTS {
            parts.begin(&of(&format!("small {number}")), 0, None).unwrap().write(b"ab").unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT_PARTS);
        assert_eq!((parts.length(&of("large")), parts.length(&of("growing"))), (Some(100), Some(1)));
        drop(growing);
        assert_eq!(parts.promised.load(Ordering::Relaxed), 0, "what rests has nothing promised");
    }

    #[test]
    fn no_address_alone_takes_all_the_room() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let by = origin(1);
        let quota = |by, kept| Some(Quota { by, kept, kept_of_network: 0 });
        let room = parts.room(Some(by)).unwrap();
        assert!(parts.check_share(quota(by, 0), room / 2).is_ok());
        assert!(parts.check_share(None, room).is_ok());
        let refused = parts.check_share(quota(by, 0), room - room / 16).unwrap_err();
        assert_eq!(HttpFailure::of_disk(&refused).status, 507);
        assert!(HttpFailure::of_disk(&refused).sentence.contains("from your address"));
        // What it has already counts, whole or growing, and others have their own share.
        assert!(parts.check_share(quota(by, room * 15), 1 << 20).is_err());
        let mut growing = parts.begin(&of("a"), 0, quota(by, 0)).unwrap();
        growing.write(&[1; 1000]).unwrap();
        assert_eq!(parts.growing().host(by), 1000);
        drop(growing);
        assert!(parts.growing().is_empty(), "what rests gives way, and is not counted");
        assert!(parts.check_share(quota(origin(2), 0), room / 2).is_ok());
        // Nor one host with many addresses on our own link, where each has next to nothing.
        let six = Origin::of("fd00::1".parse().unwrap());
        let lan = |kept_of_network| Some(Quota { by: six, kept: 0, kept_of_network });
        assert!(parts.check_share(lan(room / 64), room / 2).is_ok());
        assert!(parts.check_share(lan(room * 31), 1 << 20).is_err());
    }

    #[test]
    fn what_begins_anew_stands_beside_what_is_growing() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let mut all: Vec<_> = (0..MAX_BESIDE).map(|_| parts.begin_anew(&of("key"), None).unwrap()).collect();
        assert_eq!(parts.begin_anew(&of("key"), None).unwrap_err().status, 409);
        all[1].write(b"second").unwrap();
        all.truncate(1);
        assert_eq!((parts.length(&of("key")), parts.begin_anew(&of("key"), None).unwrap().length()), (Some(0), 0));
    }

    #[test]
    fn old_parts_go_and_growing_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        parts.begin(&of("resting"), 0, None).unwrap().write(b"abc").unwrap();
        let mut growing = parts.begin(&of("growing"), 0, None).unwrap();
        growing.write(b"abc").unwrap();
        let soon = SystemTime::now() + KEPT_TIME / 2;
        parts.sweep(soon).unwrap();
        assert_eq!(parts.length(&of("resting")), Some(3));
        parts.sweep(soon + KEPT_TIME).unwrap();
        assert_eq!((parts.length(&of("resting")), parts.length(&of("growing"))), (None, Some(3)));
    }

    #[test]
    fn no_name_and_no_tag_makes_a_part_another_part() {
        let mut ids = Vec::new();
        for name in
            ["a", "a~2", "a~@10.0.0.1", "a~@10.0.0.1~2", "a~form@10.0.0.1", ".metainfo@10.0.0.1", "a~t", "a~t~2"]
        {
            ids.push(PartId::Tagged { name, tag: "t" });
            ids.push(PartId::Tagged { name, tag: "10-0-0-1" });
            for last in [1, 2] {
                ids.push(PartId::Untagged { name, origin: origin(last) });
                ids.push(PartId::Form { name, origin: origin(last) });
            }
        }
        ids.push(PartId::Metainfo(origin(1)));
        let keys = ids.iter().flat_map(|id| [id.key(1), id.key(2)]);
        assert_eq!(keys.collect::<std::collections::HashSet<_>>().len(), 2 * ids.len());
    }

    #[test]
    fn whoever_leaves_most_parts_makes_room_for_the_others_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = PartStore::open(folder.path().to_owned()).unwrap();
        let begin = |parts: &PartStore, name: &str, last, bytes: &[u8]| {
            parts.begin(&of(name), 0, by(last)).unwrap().write(bytes).unwrap();
        };
        // The smallest of all, and the oldest.
        begin(&parts, "first", 2, b"a");
        begin(&parts, "second", 2, b"a");
        parts.begin(&of("own"), 0, None).unwrap().write(b"a").unwrap();
        for number in 0..2 * KEPT_PARTS {
            if number == KEPT_PARTS {
                parts = PartStore::open(folder.path().to_owned()).unwrap();
            }
            begin(&parts, &format!("flood {number}"), 1, b"flood");
        }
        assert_eq!(["first", "second", "own"].map(|name| parts.length(&of(name))), [Some(1); 3]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT_PARTS + 1);
    }

    #[test]
    fn what_takes_most_of_the_disk_makes_room_and_nothing_of_ours_for_a_stranger() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartStore::open(folder.path().to_owned()).unwrap();
        let leave = |name: &str, quota: Option<Quota>, length: u64| {
            parts.begin(&of(name), 0, quota).unwrap().write(b"a").unwrap();
            let path = parts.find(&of(name).key(1)).unwrap().unwrap();
            // With a hole, so that it takes no room here.
            File::options().write(true).open(path).unwrap().set_len(length).unwrap();
        };
        for (name, quota, length) in [
            ("oldest", by(2), KEPT_BYTES / 4),
            ("own", None, KEPT_BYTES / 2),
            ("one", by(1), KEPT_BYTES / 3),
            ("two", by(1), KEPT_BYTES / 3),
            ("three", by(1), KEPT_BYTES / 3),
        ] {
            leave(name, quota, length);
        }
        parts.sweep(SystemTime::now()).unwrap();
        let left = |name| parts.length(&of(name)).is_some();
        assert_eq!(["oldest", "own", "one", "two", "three"].map(left), [true, true, false, true, true]);
        let resting = parts.resting().unwrap();
        let first = |by| first_to_go(&resting, by, |rest| rest.length, |rest| rest.modified).unwrap().key.clone();
        assert_eq!((first(Some(origin(2))), first(None)), (of("two").key(1), of("two").key(1)));
        let own: Vec<_> = parts.resting().unwrap().into_iter().filter(|rest| rest.by.is_none()).collect();
        let goes = |by| first_to_go(&own, by, |rest| rest.length, |rest| rest.modified).is_some();
        assert!(!goes(Some(origin(2))) && goes(None));
        assert!(parts.room(None).unwrap() >= parts.room(Some(origin(2))).unwrap() + KEPT_BYTES / 2);
    }
}
