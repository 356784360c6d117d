//! Hashing beside receiving: while one core takes bytes off a connection and gives them to the disk, another makes the piece
//! hashes. A short file is hashed where it is received.

use std::{
    fs::File,
    io::{self, Read, Seek},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metainfo::PieceHasher;

/// From so many bytes on a file gets a hash thread: below, it would be done before the thread begins.
const SHORT: u64 = 4 * 1024 * 1024;

/// Bytes read at once when a file is hashed that is on the disk.
const READ_LENGTH: usize = 128 * 1024;

/// Stretches on their way to the hash thread, of as many bytes as are received at once: one is hashed, one waits.
const WAITING: usize = 1;

/// The piece hashes of bytes that come in order.
#[derive(Debug)]
pub enum Hashing {
    /// On the thread that receives.
    Here(PieceHasher),
    /// On one of its own.
    Beside(Line),
}

/// The way to a hash thread, and back.
#[derive(Debug)]
pub struct Line {
    stretches: Sender<Vec<u8>>,
    /// Buffers to be used again.
    empty: Receiver<Vec<u8>>,
    worker: JoinHandle<PieceHasher>,
}

impl Hashing {
    /// Takes the next bytes. Waits while the hash thread is behind, so memory does not grow.
    pub fn update(self, bytes: &[u8]) -> Hashing {
        match self {
            Hashing::Here(mut hasher) => {
                hasher.update(bytes);
                if hasher.length() < SHORT { Hashing::Here(hasher) } else { Hashing::beside(hasher) }
            }
            Hashing::Beside(line) => {
                let mut buffer = line.empty.try_recv().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(bytes);
                // It takes all until the line is dropped.
                match line.stretches.send(buffer) {
                    Ok(()) => Hashing::Beside(line),
                    Err(_) => unreachable!("the hash thread lives as long as its line"),
                }
            }
        }
    }

    /// Waits until all bytes are hashed.
    pub fn settle(self) -> PieceHasher {
        match self {
            Hashing::Here(hasher) => hasher,
            Hashing::Beside(Line { stretches, worker, .. }) => {
                drop(stretches);
                worker.join().expect("hashing bytes does not panic")
            }
        }
    }

    fn beside(hasher: PieceHasher) -> Hashing {
        let (stretches, to_hash) = bounded::<Vec<u8>>(WAITING);
        let (emptied, empty) = bounded(WAITING + 1);
        let kept = hasher.clone();
        let work = move || {
            let mut hasher = hasher;
            for stretch in to_hash {
                hasher.update(&stretch);
                // Whoever is done receiving wants no buffer back.
                let _ = emptied.try_send(stretch);
            }
            hasher
        };
        match thread::Builder::new().name("web-hash".into()).spawn(work) {
            Ok(worker) => Hashing::Beside(Line { stretches, empty, worker }),
            Err(error) => {
                log::warn!("an upload is hashed where it is received: {error}");
                Hashing::Here(kept)
            }
        }
    }
}

/// Hashes a file from its begin.
pub fn hash_file(file: &mut File, piece_length: u32) -> io::Result<PieceHasher> {
    let mut hasher = PieceHasher::new(piece_length);
    let mut buffer = vec![0; READ_LENGTH];
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_has_the_hashes_that_it_has_anyway() {
        let bytes: Vec<u8> = (0..SHORT as usize * 2 + 77).map(|at| (at * 7 + at / 251) as u8).collect();
        for step in [100_000, SHORT as usize - 1, SHORT as usize, bytes.len()] {
            let mut hashing = Hashing::Here(PieceHasher::new(65_536));
            let mut whole = PieceHasher::new(65_536);
            for part in bytes.chunks(step) {
                hashing = hashing.update(part);
                whole.update(part);
            }
            assert!(matches!(hashing, Hashing::Beside(_)));
            let hasher = hashing.settle();
            assert_eq!((hasher.length(), hasher.finish()), (bytes.len() as u64, whole.finish()), "{step}");
        }
    }
}
