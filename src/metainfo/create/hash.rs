//! All pieces hashed on every core, each byte read once.
//!
//! Every worker takes the next few pieces that nobody has, reads them where they lie through a small buffer and hashes
//! them; there is no queue and nobody waits. Memory is a buffer a core and 20 bytes a piece, however long the pieces
//! are.

use std::{
    fs,
    num::NonZero,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use sha1::{Digest, Sha1};

use super::{CreateError, walk::FoundFile};
use crate::metainfo::Geometry;

/// Bytes that are read at once: few calls, and they are still in the core's cache when they are hashed.
const BUFFER_LENGTH: usize = 256 * 1024;

/// Bytes that a worker takes at a time, at least one piece: neighbours on the disk, and a lock now and then.
const SHARE_LENGTH: u32 = 2 * 1024 * 1024;

/// The hashes of all pieces of the files, one behind the other.
pub(super) fn hash(files: &[FoundFile], geometry: &Geometry, progress: &dyn Fn(u64)) -> Result<Vec<u8>, CreateError> {
    let job = HashJob::new(files, geometry);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let shares = geometry.piece_count().div_ceil(job.share) as usize;
    thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(shares)).map(|_| scope.spawn(|| job.work(&|_| ()))).collect();
        let mine = job.work(progress);
        let all =
            others.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        all.fold(mine, Result::and)
    })?;
    progress(geometry.length());
    for file in files {
        let metadata = fs::metadata(&file.path).map_err(|error| CreateError::Io(file.path.clone(), error))?;
        if !file.is_unchanged(&metadata) {
            return Err(CreateError::Changed(file.path.clone()));
        }
    }
    Ok(job.hashes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

struct HashJob<'a> {
    files: &'a [FoundFile],
    /// Where each file begins in the torrent.
    offsets: Vec<u64>,
    geometry: &'a Geometry,
    /// How many pieces a worker takes at a time.
    share: u32,
    /// The first piece that nobody has taken; beyond the last one when there is nothing to do any more.
    next: AtomicU32,
    /// Bytes hashed.
    hashed: AtomicU64,
    hashes: Mutex<Vec<u8>>,
}

impl<'a> HashJob<'a> {
    fn new(files: &'a [FoundFile], geometry: &'a Geometry) -> HashJob<'a> {
        let offsets = files.iter().scan(0, |next, file| {
            let offset = *next;
            *next += file.length;
            Some(offset)
        });
        HashJob {
            files,
            offsets: offsets.collect(),
            geometry,
            share: (SHARE_LENGTH / geometry.piece_length()).max(1),
            next: AtomicU32::new(0),
            hashed: AtomicU64::new(0),
            hashes: Mutex::new(vec![0; geometry.piece_count() as usize * 20]),
        }
    }

    fn work(&self, progress: &dyn Fn(u64)) -> Result<(), CreateError> {
        let mut reader = Reader { job: self, open: None, buffer: vec![0; BUFFER_LENGTH] };
        let mut hashes = Vec::new();
        loop {
            // At most 8 Mi pieces and a share for each worker beyond: never near the end of 32 bits.
            let first = self.next.fetch_add(self.share, Relaxed);
            let pieces: Vec<_> = (first..first + self.share).map_while(|index| self.geometry.piece(index)).collect();
            if pieces.is_empty() {
                return Ok(());
            }
            hashes.clear();
            for piece in pieces {
                let range = self.geometry.range_of(piece);
                let length = range.end - range.start;
                let hash = reader.hash(range).inspect_err(|_| self.next.store(self.geometry.piece_count(), Relaxed))?;
                hashes.extend_from_slice(&hash);
                progress(self.hashed.fetch_add(length, Relaxed) + length);
            }
            let at = first as usize * 20;
            let mut all = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            all[at..at + hashes.len()].copy_from_slice(&hashes);
        }
    }
}

/// Reads stretches of the torrent; keeps the file that it read last.
struct Reader<'a> {
    job: &'a HashJob<'a>,
    open: Option<(usize, fs::File)>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn hash(&mut self, range: Range<u64>) -> Result<[u8; 20], CreateError> {
        let mut sha1 = Sha1::new();
        let mut at = range.start;
        while at < range.end {
            let length = self.read(at, range.end)?;
            sha1.update(&self.buffer[..length]);
            at += length as u64;
        }
        Ok(sha1.finalize().into())
    }

    /// Fills the buffer from the torrent's offset `at` up to `end`, or up to where the buffer or the file ends.
    fn read(&mut self, at: u64, end: u64) -> Result<usize, CreateError> {
        // Of files that begin at one offset all but the last are empty.
        let index = self.job.offsets.partition_point(|offset| *offset <= at) - 1;
        let found = &self.job.files[index];
        let failed = |error| CreateError::Io(found.path.clone(), error);
        let file = match &mut self.open {
            Some((open, file)) if *open == index => file,
            open => &mut open.insert((index, fs::File::open(&found.path).map_err(failed)?)).1,
        };
        let offset = at - self.job.offsets[index];
        let wanted = (end - at).min(found.length - offset).min(BUFFER_LENGTH as u64) as usize;
        match file.read_at(&mut self.buffer[..wanted], offset).map_err(failed)? {
            0 => Err(CreateError::Changed(found.path.clone())),
            length => Ok(length),
        }
    }
}
