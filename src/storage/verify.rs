//! Which pieces on the disk are what the metainfo says: the SHA-1 of each, on several threads (BEP 3, `pieces`).

use std::{sync::Mutex, thread};

use sha1::{Digest, Sha1};

use super::{StorageError, Store};
use crate::{
    bitfield::Bitfield,
    metainfo::{Metainfo, PieceIndex},
};

/// Bytes read at once by each worker: large enough that system calls do not count, small enough to stay in the cache.
const BUFFER_LENGTH: usize = 128 * 1024;

/// Hashes the `wanted` pieces on `workers` threads and answers those that are right.
///
/// A piece in a file that is missing or too short is simply not right; any other failure to read ends the whole.
/// `progress` is told of each piece and whether it was right, by the worker that hashed it. Memory is 128 KiB a worker,
/// whatever the piece length.
pub fn verify(
    store: &Store,
    wanted: &Bitfield,
    workers: usize,
    progress: &(dyn Fn(PieceIndex, bool) + Sync),
) -> Result<Bitfield, StorageError> {
    let geometry = store.metainfo().geometry();
    let pieces = Mutex::new(wanted.iter().filter_map(|piece| geometry.piece(piece)).fuse());
    let next = || pieces.lock().expect("taking the next number does not panic").next();
    let right = Mutex::new(Bitfield::empty(geometry.piece_count()));
    let work = || -> Result<(), StorageError> {
        let mut buffer = vec![0; BUFFER_LENGTH.min(geometry.piece_length() as usize)];
        while let Some(piece) = next() {
            let good = match is_right(store, piece, &mut buffer) {
                Err(error) if error.is_absence() => false,
                other => other.inspect_err(|_| while next().is_some() {})?,
            };
            if good {
                right.lock().expect("setting a bit of the torrent does not panic").set(piece.get());
            }
            progress(piece, good);
        }
        Ok(())
    };
    let count = workers.clamp(1, wanted.count().max(1) as usize);
    thread::scope(|scope| {
        let others: Vec<_> = (1..count).map(|_| scope.spawn(work)).collect();
        others.into_iter().fold(work(), |first, other| {
            first.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(right.into_inner().expect("every worker has ended"))
}

fn is_right(store: &Store, piece: PieceIndex, buffer: &mut [u8]) -> Result<bool, StorageError> {
    let metainfo: &Metainfo = store.metainfo();
    let range = metainfo.geometry().range_of(piece);
    let mut hash = Sha1::new();
    let mut at = range.start;
    while at < range.end {
        let now = (range.end - at).min(buffer.len() as u64);
        let bytes = &mut buffer[..now as usize];
        store.read(at, bytes)?;
        hash.update(&*bytes);
        at += now;
    }
    Ok(hash.finalize().as_slice() == metainfo.piece_hash(piece))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::atomic::AtomicU32, sync::atomic::Ordering::Relaxed};

    use super::{super::tests::Torrent, *};

    fn right(store: &Store, workers: usize) -> Vec<u32> {
        let wanted = Bitfield::full(store.metainfo().geometry().piece_count());
        let (seen, good) = (AtomicU32::new(0), AtomicU32::new(0));
        let progress = |_, right| {
            seen.fetch_add(1, Relaxed);
            good.fetch_add(u32::from(right), Relaxed);
        };
        let found = verify(store, &wanted, workers, &progress).unwrap();
        assert_eq!((seen.into_inner(), good.into_inner()), (wanted.count(), found.count()));
        found.iter().collect()
    }

    #[test]
    fn pieces_with_a_wrong_byte_or_a_missing_file_are_not_right() {
        let torrent = Torrent::new(4, &[("a", 10, ""), ("pad", 2, "p"), ("b", 3, ""), ("c", 6, "")]);
        let dir = torrent.on_disk();
        for workers in [0, 1, 3, 16] {
            assert_eq!(right(&torrent.open(dir.path()), workers), [0, 1, 2, 3, 4, 5]);
        }
        fs::write(dir.path().join("t/a"), [&torrent.content[..5], b"!", &torrent.content[6..10]].concat()).unwrap();
        fs::remove_file(dir.path().join("t/b")).unwrap();
        assert_eq!(right(&torrent.open(dir.path()), 2), [0, 2, 4, 5]);
        fs::write(dir.path().join("t/c"), &torrent.content[15..20]).unwrap();
        assert_eq!(right(&torrent.open(dir.path()), 2), [0, 2, 4]);
    }

    #[test]
    fn only_wanted_pieces_are_read() {
        let torrent = Torrent::of_files(4, &[("a", 10)]);
        let dir = torrent.on_disk();
        let mut wanted = Bitfield::empty(3);
        wanted.set(2);
        assert_eq!(
            verify(&torrent.open(dir.path()), &wanted, 2, &|piece, _| assert_eq!(piece.get(), 2)).unwrap(),
            wanted
        );
    }

    #[test]
    fn a_piece_longer_than_the_buffer_is_hashed_in_steps() {
        let torrent = Torrent::of_files(BUFFER_LENGTH as u32 * 3 + 1, &[("a", BUFFER_LENGTH as u64 * 5)]);
        let dir = torrent.on_disk();
        assert_eq!(right(&torrent.open(dir.path()), 2), [0, 1]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_check_with_an_error() {
        let torrent = Torrent::of_files(4, &[("a", 10)]);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("t/a")).unwrap();
        let failed = verify(&torrent.open(dir.path()), &Bitfield::full(3), 2, &|_, _| {});
        assert!(matches!(failed, Err(StorageError::InTheWay { .. })));
    }
}
