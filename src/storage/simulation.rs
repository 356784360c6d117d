//! The resume log, hash workers, the journal and a kill or power cut among them, one step at a time.
//!
//! The log's bytes are the real ones ([`record`]); the disk, the threads and the queue are simulated. The steps are those
//! of [`Ledger`](super::Ledger), in their order: a piece is noted, written, in as many steps as it has blocks, and counted; and a seed decides who
//! takes the next one, whether the journal's queue has room, and what a power cut leaves of what was not synced.

use super::record::{self, LogRecord, RECORD_LENGTH, Replay};
use crate::{
    bitfield::Bitfield,
    chance::Chance,
    metainfo::InfoHash,
    policy::{PieceState, PieceStep},
};

const HASH: InfoHash = InfoHash([7; 20]);
const INODE: u64 = 99;
const PIECES: u32 = 13;

/// What lies in the files of one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    Nothing,
    Some,
    All,
}

#[derive(Debug, Clone, Copy)]
enum Worker {
    Idle,
    /// It has noted the piece in the log.
    Noted(u32),
    /// It is in the middle of the write.
    Writing(u32),
    Written(u32),
}

#[derive(Debug)]
enum Journal {
    Idle,
    /// It has taken these from what is pending.
    Taken(Vec<u32>),
    /// A sync that began behind that has ended.
    Synced(Vec<u32>),
    /// The log says so, but its own sync has not ended.
    Noted(Vec<u32>),
}

struct World {
    chance: Chance,
    /// What a reader sees, and what is surely on the disk.
    seen: Vec<Bytes>,
    durable: Vec<Bytes>,
    log: Vec<u8>,
    durable_log: usize,
    workers: Vec<Worker>,
    next: u32,
    journal: Journal,
    pending: Vec<u32>,
    /// Whether the journal's queue holds an order for this torrent, and how many of others it may hold besides.
    told: bool,
    is_ordered: bool,
    bound: usize,
    /// Every piece comes to a worker complete, and is safe when the log's own sync has ended.
    states: Vec<PieceState>,
}

impl World {
    fn new(seed: u64) -> World {
        let log = record::head(&HASH, INODE, &Bitfield::empty(PIECES));
        World {
            seen: vec![Bytes::Nothing; PIECES as usize],
            durable: vec![Bytes::Nothing; PIECES as usize],
            durable_log: log.len(),
            log,
            workers: vec![Worker::Idle; 1 + seed as usize % 4],
            next: 0,
            journal: Journal::Idle,
            pending: Vec::new(),
            told: false,
            is_ordered: false,
            bound: 1 + seed as usize / 4 % 4,
            states: vec![PieceState::Hashing; PIECES as usize],
            chance: Chance::new(seed),
        }
    }

    fn is_over(&self) -> bool {
        self.next == PIECES && self.workers.iter().all(|worker| matches!(worker, Worker::Idle))
    }

    fn go_on(&mut self) {
        match self.chance.below(self.workers.len() + 1) {
            worker if worker < self.workers.len() => self.work(worker),
            _ => self.keep_journal(),
        }
    }

    fn work(&mut self, worker: usize) {
        self.workers[worker] = match self.workers[worker] {
            Worker::Idle if self.next < PIECES => {
                let piece = self.next;
                self.next += 1;
                self.log.extend(LogRecord::Written(piece).encode(&HASH));
                Worker::Noted(piece)
            }
            Worker::Idle => Worker::Idle,
            Worker::Noted(piece) => {
                self.seen[piece as usize] = Bytes::Some;
                Worker::Writing(piece)
            }
            Worker::Writing(piece) => {
                self.seen[piece as usize] = Bytes::All;
                Worker::Written(piece)
            }
            Worker::Written(piece) => {
                self.step(piece, PieceStep::Verified);
                self.pending.push(piece);
                if !self.told {
                    // The queue is everybody's: orders of other torrents may fill it.
                    self.told = self.chance.below(self.bound + 1) < self.bound;
                    self.is_ordered |= self.told;
                }
                Worker::Idle
            }
        };
    }

    fn step(&mut self, piece: u32, step: PieceStep) {
        let state = &mut self.states[piece as usize];
        *state = state.after(step).expect("a step of a piece's life");
    }

    fn safe(&self) -> impl Iterator<Item = u32> {
        (0..PIECES).filter(|piece| self.states[*piece as usize] == PieceState::Safe)
    }

    fn keep_journal(&mut self) {
        self.journal = match std::mem::replace(&mut self.journal, Journal::Idle) {
            Journal::Idle if std::mem::take(&mut self.is_ordered) => {
                self.told = false;
                Journal::Taken(std::mem::take(&mut self.pending))
            }
            Journal::Idle => Journal::Idle,
            Journal::Taken(pieces) => {
                self.durable.clone_from(&self.seen);
                Journal::Synced(pieces)
            }
            Journal::Synced(pieces) => {
                let record = |piece: &u32| LogRecord::Synced { first: *piece, count: 1 }.encode(&HASH);
                self.log.extend(pieces.iter().flat_map(record));
                Journal::Noted(pieces)
            }
            Journal::Noted(pieces) => {
                self.durable_log = self.log.len();
                pieces.iter().for_each(|piece| self.step(*piece, PieceStep::Synced));
                Journal::Idle
            }
        };
    }

    /// After a kill everything that was written is there.
    fn killed(&self) {
        let replay = read(&self.log);
        for piece in 0..PIECES {
            let (is_there, is_claimed) = (self.seen[piece as usize] == Bytes::All, replay.synced.get(piece));
            assert!(!is_claimed || is_there, "piece {piece} is claimed, and was not written");
            assert!(
                !is_there || is_claimed || replay.written.get(piece),
                "piece {piece} was written, and is forgotten"
            );
        }
    }

    /// After a power cut any part of what was not synced is there, in the files and in the log.
    fn cut_off(&mut self) {
        let mut log = self.log.clone();
        for record in log[self.durable_log..].chunks_mut(RECORD_LENGTH) {
            if self.chance.below(3) == 0 {
                record.fill(0);
            }
        }
        log.truncate(self.durable_log + self.chance.below(log.len() - self.durable_log + 1));
        let replay = read(&log);
        for piece in 0..PIECES {
            let index = piece as usize;
            let kept = [self.durable[index], self.seen[index], Bytes::Some][self.chance.below(3)];
            let left = if self.durable[index] == Bytes::All { Bytes::All } else { kept };
            assert!(!replay.synced.get(piece) || left == Bytes::All, "piece {piece} is claimed, and was lost");
        }
        assert!(self.safe().all(|piece| replay.synced.get(piece)), "what was safe is forgotten");
    }
}

fn read(log: &[u8]) -> Replay {
    record::replay(log, &HASH, INODE, PIECES).expect("memory can be read").expect("its head is whole")
}

#[test]
fn wherever_a_kill_or_a_power_cut_strikes_the_log_claims_what_is_there_and_forgets_nothing_safe() {
    for seed in 0..640 {
        let mut world = World::new(seed);
        let mut steps = 0;
        while !world.is_over() || !matches!(world.journal, Journal::Idle) || world.is_ordered {
            world.go_on();
            world.killed();
            world.cut_off();
            steps += 1;
            assert!(steps < 10_000, "seed {seed} does not end");
        }
        // Those that found the queue full wait for the last sync of an orderly end.
        assert_eq!(world.safe().count() + world.pending.len(), PIECES as usize, "seed {seed}");
    }
}
