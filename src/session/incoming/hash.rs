//! The hash workers: a complete piece comes in, verified and written or not it goes out. One a core, all on one queue.
//!
//! A worker owns nothing. It asks which peer sent which block only when a hash is wrong, or was wrong before.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, select};
use sha1::{Digest, Sha1};

use crate::{
    metainfo::PieceIndex,
    policy::{PieceInFlight, Remote},
    session::HaveSet,
    storage::{self, Ledger},
};

/// What a worker works with.
#[derive(Clone)]
pub struct HashWorkers {
    /// Where the pieces go.
    pub ledger: Arc<Ledger>,
    /// Which pieces may be uploaded from now on.
    pub have: Arc<HaveSet>,
    /// Complete pieces.
    pub pieces: Receiver<PieceInFlight>,
    /// What came of them.
    pub results: Sender<Hashed>,
}

/// What came of a piece.
#[derive(Debug)]
pub enum Hashed {
    /// It is right, on the disk, and may be uploaded; these peers sent other bytes in earlier attempts.
    Right(PieceIndex, Vec<Arc<Remote>>),
    /// It is wrong and empty again; the peer that sent all of it, if a single one did.
    Wrong(PieceInFlight, Option<Arc<Remote>>),
    /// Our own files failed.
    Failed(storage::StorageError),
}

/// Starts `count` workers; they end when `stopped` has no sender any more, and what waits then is forgotten.
pub fn start(count: usize, workers: &HashWorkers, stopped: &Receiver<()>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |number| {
        let (workers, stopped) = (workers.clone(), stopped.clone());
        thread::Builder::new().name(format!("hash worker {number}")).spawn(move || workers.work(&stopped))
    };
    (0..count).map(start).collect()
}

impl HashWorkers {
    fn work(&self, stopped: &Receiver<()>) {
        loop {
            let piece = select! {
                recv(self.pieces) -> piece => piece,
                recv(stopped) -> _ => return,
            };
            let Ok(piece) = piece else { return };
            let result = self.check(piece).unwrap_or_else(Hashed::Failed);
            if self.results.send(result).is_err() {
                return;
            }
        }
    }

    fn check(&self, mut piece: PieceInFlight) -> Result<Hashed, storage::StorageError> {
        let index = piece.piece();
        let metainfo = self.ledger.store().metainfo();
        let mut whole = Sha1::new();
        self.each_block(&piece, |bytes| whole.update(bytes))?;
        if whole.finalize().as_slice() != metainfo.piece_hash(index) {
            let digests = self.block_digests(&piece)?;
            let liar = piece.reject(&digests);
            return Ok(Hashed::Wrong(piece, liar));
        }
        let liars = match piece.suspect() {
            Some(_) => piece.liars(&self.block_digests(&piece)?),
            None => Vec::new(),
        };
        self.ledger.commit(index, &piece.held_runs())?;
        self.have.insert(index);
        Ok(Hashed::Right(piece.verified(), liars))
    }

    fn block_digests(&self, piece: &PieceInFlight) -> Result<Vec<[u8; 20]>, storage::StorageError> {
        let mut digests = Vec::new();
        self.each_block(piece, |bytes| digests.push(Sha1::digest(bytes).into()))?;
        Ok(digests)
    }

    /// Shows the piece's blocks in order, from memory or read back.
    fn each_block(&self, piece: &PieceInFlight, mut show: impl FnMut(&[u8])) -> Result<(), storage::StorageError> {
        let store = self.ledger.store();
        let mut buffer = Vec::new();
        for (block, held) in piece.blocks() {
            match held {
                Some(bytes) => show(&bytes),
                None => {
                    buffer.resize(block.length as usize, 0);
                    store.read(store.metainfo().geometry().block_offset(block), &mut buffer)?;
                    show(&buffer);
                }
            }
        }
        Ok(())
    }
}
