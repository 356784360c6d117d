//! How a fetch begins, whoever asks for it: what of the torrent is here already, whose the files are, what may be written.
//!
//! The one place where that is decided, for the command line, the page and every restart. Invariant: a file with content
//! is written to only if it is ours, or if the user has said that it may go. It is ours if our log says so and the files
//! bear it out, or if a piece of the torrent that touches it is right: then it is a part of the very thing, whatever
//! program brought it. Zeros prove nothing and are nothing to lose: programs that reserve space fill files with them, and
//! two disk images that have nothing else in common have those.
//!
//! A torrent's folder is somebody's too: one that holds anything but the torrent's own files is added to only if it is ours or the
//! user has said so. Our log or one right piece anywhere in it shows that it is; what else lies beside them then stays as it is.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use sha1::{Digest, Sha1};

use super::{
    ResumeLog, Stamps, StorageError, Store, StoreAccess, claim::Claim, folder::Purpose, resume::Belief, verify,
};
use crate::{
    bitfield::Bitfield,
    metainfo::{File, FileKind, Geometry, Metainfo, PieceIndex},
};

/// Bytes read at once in search of one that is not zero.
const LOOK_LENGTH: usize = 64 * 1024;

/// How a fetch may write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Writing {
    /// Reserve the disk space of every file at once, where the file system can.
    pub preallocate: bool,
    /// Replace files that are there and are not ours.
    pub overwrite: bool,
}

/// A fetch that may begin.
pub struct Begun {
    /// The files, open for writing unless all is here.
    pub store: Arc<Store>,
    /// The log of what is written. While it lives, nobody else fetches to these files.
    pub log: ResumeLog,
    /// The pieces that are surely here.
    pub have: Bitfield,
    /// Where all is here and nothing has to be written: the files as they were before they were looked at.
    pub whole: Option<Stamps>,
}

/// Looks at what is here of a torrent that is to be fetched into `dir`, and gets the right to write the rest.
///
/// What the log does not vouch for is hashed, on `workers` threads; `progress` hears how many pieces of how many are done.
/// Nothing need be writable if all is here.
pub fn begin(
    metainfo: &Arc<Metainfo>,
    dir: &Path,
    writing: Writing,
    workers: usize,
    progress: &(dyn Fn(u32, u32) + Sync),
) -> Result<Begun, StorageError> {
    let look = Store::open(metainfo.clone(), dir, StoreAccess::Look)?;
    let (dir, info_hash) = (look.dir(), metainfo.info_hash());
    let (claim, obstacle) = match Claim::to_write(metainfo, dir) {
        Ok(claim) => (Some(claim), None),
        Err(error) => (None, Some(error)),
    };
    let stamps = Stamps::of(&look)?;
    // What another fetch writes to is believed when it is hashed, and not because its log says so.
    let old = match obstacle {
        Some(StorageError::InUse { .. }) => None,
        _ => ResumeLog::find(dir, info_hash)?,
    };
    let belief = Belief::of(old.as_ref(), metainfo, &stamps)?;
    let (done, total) = (AtomicU32::new(0), belief.doubtful.count());
    let proved = verify(&look, &belief.doubtful, workers, &|_, _| progress(done.fetch_add(1, Relaxed) + 1, total))?;
    let mut have = belief.trusted;
    proved.iter().for_each(|piece| _ = have.set(piece));
    let old = old.filter(|_| belief.log_stands);

    if have.is_full() && stamps.fit(metainfo) {
        let log = match claim {
            Some(claim) => log_of_whole(&look, old, &have, &stamps)?.held_by(claim),
            None => ResumeLog::without(dir, info_hash),
        };
        return Ok(Begun { store: Arc::new(look), log, have, whole: Some(stamps) });
    }
    let claim = obstacle.map_or_else(|| Ok(claim), Err)?;
    let claim = match make_way(&look, &have, belief.vouched, writing.overwrite)? {
        // What was locked is gone.
        Way::Replaced => {
            drop(claim);
            Some(Claim::to_write(metainfo, dir)?)
        }
        Way::Free => claim,
    };
    let access = StoreAccess::Write { preallocate: writing.preallocate };
    let store = Store::open(metainfo.clone(), dir, access)?;
    let log = match old {
        Some(log) => log,
        None => {
            store.sync()?; // What was hashed may have come from memory.
            ResumeLog::begin(dir, info_hash, &have)?
        }
    };
    let log = match claim {
        Some(claim) => log.held_by(claim),
        None => log,
    };
    Ok(Begun { store: Arc::new(store), log, have, whole: None })
}

/// The log of what is complete. That none can be kept is no reason to fail when nothing has to be written.
fn log_of_whole(
    store: &Store,
    old: Option<ResumeLog>,
    have: &Bitfield,
    stamps: &Stamps,
) -> Result<ResumeLog, StorageError> {
    if let Some(log) = old {
        return Ok(log);
    }
    store.sync()?; // What was hashed may have come from memory.
    let (dir, info_hash) = (store.dir(), store.metainfo().info_hash());
    let begun = ResumeLog::begin(dir, info_hash, have).and_then(|log| log.note_clean(stamps).map(|()| log));
    Ok(begun.unwrap_or_else(|error| {
        log::info!("{error}");
        ResumeLog::without(dir, info_hash)
    }))
}

#[derive(PartialEq)]
enum Way {
    Free,
    /// Files that were in the way were removed.
    Replaced,
}

/// Sees to it that every file that is there may be written to, or is an error.
fn make_way(look: &Store, have: &Bitfield, vouched: bool, overwrite: bool) -> Result<Way, StorageError> {
    let mut evidence = Evidence::new(look.metainfo(), have);
    let mut foreign = Vec::new();
    for (index, file) in look.normal_files() {
        let Some(found) = look.found(index)?.filter(|found| found.len() > 0) else { continue };
        let path = look.path_of(index);
        let is_ours = vouched || evidence.touches(file) || is_blank(look, index)?;
        match (is_ours, found.len() > file.length) {
            (true, false) if vouched || found.nlink() == 1 => {}
            (true, false) | (false, _) if overwrite => foreign.push(path),
            (true, true) if overwrite && (vouched || found.nlink() == 1) => cut(look, index, file.length)?,
            (true, true) if overwrite => foreign.push(path),
            (true, true) => return Err(StorageError::TooLong { path, length: found.len(), expected: file.length }),
            (true, false) => return Err(StorageError::Linked { path }),
            (false, _) => return Err(StorageError::NotOurs { path }),
        }
    }
    if !vouched && !overwrite && !evidence.is_there() {
        found_beside(look)?.map_or(Ok(()), |path| Err(StorageError::FolderNotOurs { path }))?;
    }
    look.close_all();
    for path in &foreign {
        log::warn!("{} is replaced", path.display());
        fs::remove_file(path).map_err(|error| StorageError::new("remove", path, error))?;
    }
    Ok(if foreign.is_empty() { Way::Free } else { Way::Replaced })
}

/// Something in the folder of a torrent that is none of its files. Folders with nothing in them are nobody's loss.
fn found_beside(look: &Store) -> Result<Option<PathBuf>, StorageError> {
    let metainfo = look.metainfo();
    if metainfo.is_single_file() {
        return Ok(None);
    }
    let known = |file: &'_ File| (file.kind == FileKind::Symlink, file.path.clone());
    let known: HashSet<_> = metainfo.files().iter().map(known).collect();
    let mut folders = vec![PathBuf::from(metainfo.name())];
    while let Some(folder) = folders.pop() {
        let full = look.dir().join(&folder);
        let failed = |error| StorageError::new("look into", &full, error);
        for entry in fs::read_dir(&full).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (kind, path) = (entry.file_type().map_err(failed)?, folder.join(entry.file_name()));
            match kind.is_dir() {
                true => folders.push(path),
                false if known.contains(&(kind.is_symlink(), path.clone())) => {}
                false => return Ok(Some(look.dir().join(path))),
            }
        }
    }
    Ok(None)
}

fn cut(look: &Store, index: usize, length: u64) -> Result<(), StorageError> {
    let path = look.path_of(index);
    let file = super::folder::open(look.dir(), &look.metainfo().files()[index].path, Purpose::Reread)?;
    file.set_len(length).map_err(|error| StorageError::new("cut", &path, error))
}

/// Whether nothing but zeros is in a file.
fn is_blank(look: &Store, index: usize) -> Result<bool, StorageError> {
    let file = look.file(index, Purpose::Look)?;
    let failed = |error: std::io::Error| StorageError::new("read", &look.path_of(index), error);
    let (mut buffer, mut at) = (vec![0; LOOK_LENGTH], 0);
    loop {
        match seek(&file, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            Err(Errno::NXIO) => return Ok(true),
            // A file system that does not know its gaps: they are read.
            Err(_) => {}
        }
        match file.read_at(&mut buffer, at).map_err(failed)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            read => at += read as u64,
        }
    }
}

/// The right pieces, as evidence of whose a file is.
struct Evidence<'a> {
    metainfo: &'a Metainfo,
    have: &'a Bitfield,
    /// The hashes of a piece of zeros, and of a last one; made when they are first needed.
    zeros: Option<[[u8; 20]; 2]>,
}

impl Evidence<'_> {
    fn new<'a>(metainfo: &'a Metainfo, have: &'a Bitfield) -> Evidence<'a> {
        Evidence { metainfo, have, zeros: None }
    }

    /// Whether there is any: a right piece that is not all zeros.
    fn is_there(&mut self) -> bool {
        let (have, geometry) = (self.have, self.metainfo.geometry());
        have.iter().filter_map(|index| geometry.piece(index)).any(|piece| !self.is_zeros(piece, geometry))
    }

    /// Whether a right piece that is not all zeros touches a file.
    fn touches(&mut self, file: &File) -> bool {
        let geometry = self.metainfo.geometry();
        let piece_length = u64::from(geometry.piece_length());
        let pieces = file.offset / piece_length..(file.offset + file.length).div_ceil(piece_length);
        let mut right = pieces.filter_map(|index| geometry.piece(u32::try_from(index).ok()?));
        file.length > 0 && right.any(|piece| self.have.get(piece.get()) && !self.is_zeros(piece, geometry))
    }

    fn is_zeros(&mut self, piece: PieceIndex, geometry: &Geometry) -> bool {
        let last = geometry.length() - u64::from(geometry.piece_count() - 1) * u64::from(geometry.piece_length());
        let hashes =
            self.zeros.get_or_insert_with(|| [hash_of_zeros(geometry.piece_length().into()), hash_of_zeros(last)]);
        hashes.contains(self.metainfo.piece_hash(piece))
    }
}

fn hash_of_zeros(length: u64) -> [u8; 20] {
    let (zeros, mut hash, mut left) = ([0; LOOK_LENGTH], Sha1::new(), length);
    while left > 0 {
        let now = left.min(LOOK_LENGTH as u64);
        hash.update(&zeros[..now as usize]);
        left -= now;
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
