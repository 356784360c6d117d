//! The bytes of a resume log (pure).
//!
//! A head, then records of 16 bytes. The head names the torrent and holds the pieces that were safe when the log was
//! begun: `"minitorrent log" 2 · info hash (20) · inode of the log (8) · bitfield · zeros · SHA-1 of all that (20)`, a multiple of 16 in all. A
//! record is `kind · a · b · check`, four bytes each, big-endian; the check is the beginning of the SHA-1 of the info
//! hash and the twelve bytes before it.
//!
//! The inode ties a log to the files beside it: a copy of a log, which somebody may have made up and given away together
//! with files, says nothing of their copies.
//!
//! Records are so short, and so aligned, that an append never straddles a page and each stands for itself: one that is
//! torn or damaged is skipped, and what is read is never more than what was written. Unknown kinds are skipped too.

use std::io::{self, Read};

use sha1::{Digest, Sha1};

use crate::{bitfield::Bitfield, metainfo::InfoHash};

/// Bytes in a record; the head is a multiple of it.
pub(super) const RECORD_LENGTH: usize = 16;

/// What a log begins with; the last byte is the version of the format.
const MAGIC: [u8; 16] = *b"minitorrent log\x02";

/// Bytes before the pieces.
const PREFIX_LENGTH: usize = MAGIC.len() + SHA1_LENGTH + size_of::<u64>();

/// Bytes in a SHA-1.
const SHA1_LENGTH: usize = 20;

/// One line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogRecord {
    /// A piece whose hash was right is about to be written: a hint, to be proved by a hash.
    Written(u32),
    /// `count` pieces from `first` on are on the disk: a fact.
    Synced { first: u32, count: u32 },
    /// The fetch ended in order, and this was the digest of the files' stamps. Holds while no other record follows.
    Clean(u64),
}

/// What a log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// Pieces that are on the disk.
    pub(super) synced: Bitfield,
    /// Pieces that may be there, in part or whole; some of them are synced as well.
    pub(super) written: Bitfield,
    /// The digest of the files' stamps, if the log was closed in order.
    pub(super) clean: Option<u64>,
}

impl LogRecord {
    /// The record in the log of that torrent.
    pub(super) fn encode(self, info_hash: &InfoHash) -> [u8; RECORD_LENGTH] {
        let (kind, a, b) = match self {
            LogRecord::Written(piece) => (1, piece, 0),
            LogRecord::Synced { first, count } => (2, first, count),
            LogRecord::Clean(digest) => (3, (digest >> 32) as u32, digest as u32),
        };
        let mut bytes = [0; RECORD_LENGTH];
        for (field, value) in bytes.chunks_exact_mut(4).zip([kind, a, b]) {
            field.copy_from_slice(&u32::to_be_bytes(value));
        }
        let check = check(&bytes, info_hash);
        bytes[12..].copy_from_slice(&check);
        bytes
    }

    /// Reads a record that is whole and of that torrent.
    pub(super) fn decode(bytes: &[u8; RECORD_LENGTH], info_hash: &InfoHash) -> Option<LogRecord> {
        if bytes[12..] != check(bytes, info_hash) {
            return None;
        }
        let [kind, a, b] = [0, 4, 8].map(|at| u32::from_be_bytes(*bytes[at..].first_chunk().expect("16 bytes")));
        match kind {
            1 if b == 0 => Some(LogRecord::Written(a)),
            2 => Some(LogRecord::Synced { first: a, count: b }),
            3 => Some(LogRecord::Clean(u64::from(a) << 32 | u64::from(b))),
            _ => None,
        }
    }
}

fn check(record: &[u8; RECORD_LENGTH], info_hash: &InfoHash) -> [u8; 4] {
    let hash = Sha1::new().chain_update(info_hash.0).chain_update(&record[..12]).finalize();
    *hash.first_chunk().expect("a SHA-1 has more than 4 bytes")
}

/// The head of a log that begins with these pieces on the disk.
pub(super) fn head(info_hash: &InfoHash, inode: u64, safe: &Bitfield) -> Vec<u8> {
    let mut head = [&MAGIC[..], &info_hash.0, &inode.to_be_bytes(), safe.as_bytes()].concat();
    head.resize(head_length(safe.len()) - SHA1_LENGTH, 0);
    let hash = Sha1::digest(&head);
    head.extend_from_slice(&hash);
    head
}

fn head_length(pieces: u32) -> usize {
    let body = PREFIX_LENGTH + (pieces as usize).div_ceil(8);
    (body + SHA1_LENGTH).next_multiple_of(RECORD_LENGTH)
}

/// Reads the log of a torrent with that many pieces, in the file with that inode; `None` if its head is damaged, of another
/// torrent, file or version.
pub(super) fn replay(mut log: impl Read, info_hash: &InfoHash, inode: u64, pieces: u32) -> io::Result<Option<Replay>> {
    let mut found = vec![0; head_length(pieces)];
    if read_full(&mut log, &mut found)? < found.len() {
        return Ok(None);
    }
    let bits = &found[PREFIX_LENGTH..][..(pieces as usize).div_ceil(8)];
    let Some(synced) = Bitfield::from_bytes(bits, pieces).ok().filter(|safe| found == head(info_hash, inode, safe))
    else {
        return Ok(None);
    };
    let mut replay = Replay { synced, written: Bitfield::empty(pieces), clean: None };
    let mut record = [0; RECORD_LENGTH];
    loop {
        match read_full(&mut log, &mut record)? {
            RECORD_LENGTH => replay.apply(LogRecord::decode(&record, info_hash)),
            0 => return Ok(Some(replay)),
            _torn => return Ok(Some(Replay { clean: None, ..replay })),
        }
    }
}

impl Replay {
    fn apply(&mut self, record: Option<LogRecord>) {
        let pieces = self.synced.len();
        self.clean = None;
        match record {
            Some(LogRecord::Written(piece)) if piece < pieces => {
                self.written.set(piece);
            }
            Some(LogRecord::Synced { first, count }) if first.checked_add(count).is_some_and(|end| end <= pieces) => {
                (first..first + count).for_each(|piece| {
                    self.synced.set(piece);
                });
            }
            Some(LogRecord::Clean(digest)) => self.clean = Some(digest),
            _ => {}
        }
    }
}

/// Reads until the buffer is full or the input ends; answers how much there was.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);
    const PIECES: u32 = 21;
    const INODE: u64 = 0x0102_0304_0506_0708;
    const HEAD: usize = 80;

    fn log(records: &[LogRecord]) -> Vec<u8> {
        let mut safe = Bitfield::empty(PIECES);
        safe.set(20);
        records.iter().fold(head(&HASH, INODE, &safe), |log, record| [log, record.encode(&HASH).to_vec()].concat())
    }

    fn read(log: &[u8]) -> Option<Replay> {
        replay(log, &HASH, INODE, PIECES).unwrap()
    }

    #[test]
    fn the_bytes_of_a_log_are_these() {
        let log = log(&[LogRecord::Synced { first: 1, count: 2 }]);
        assert_eq!(log[..16], *b"minitorrent log\x02");
        assert_eq!(log[16..36], [7; 20]);
        assert_eq!(log[36..44], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(log[44..60], [0, 0, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(log[60..80], Sha1::digest(&log[..60])[..]);
        assert_eq!(log.len(), HEAD + 16);
        assert_eq!(log[80..92], [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
        let check = Sha1::digest([&[7; 20], &log[80..92]].concat());
        assert_eq!(log[92..], check[..4]);
    }

    #[test]
    fn a_log_tells_what_was_written_into_it() {
        let replay =
            read(&log(&[LogRecord::Written(3), LogRecord::Written(4), LogRecord::Synced { first: 3, count: 1 }]))
                .unwrap();
        assert_eq!(replay.synced.iter().collect::<Vec<_>>(), [3, 20]);
        assert_eq!(replay.written.iter().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(replay.clean, None);
    }

    #[test]
    fn a_clean_end_holds_only_as_the_last_record() {
        let clean = LogRecord::Clean(0x0123_4567_89ab_cdef);
        assert_eq!(read(&log(&[clean])).unwrap().clean, Some(0x0123_4567_89ab_cdef));
        assert_eq!(read(&log(&[clean, LogRecord::Written(0)])).unwrap().clean, None);
        assert_eq!(read(&[log(&[clean]), vec![0; 16]].concat()).unwrap().clean, None);
        assert_eq!(read(&[log(&[clean]), vec![0; 3]].concat()).unwrap().clean, None);
    }

    #[test]
    fn a_log_of_another_torrent_a_copy_or_one_with_a_damaged_head_says_nothing() {
        let log = log(&[LogRecord::Written(1)]);
        assert_eq!(replay(&log[..], &InfoHash([8; 20]), INODE, PIECES).unwrap(), None);
        assert_eq!(replay(&log[..], &HASH, INODE + 1, PIECES).unwrap(), None);
        assert_eq!(replay(&log[..], &HASH, INODE, PIECES + 1000).unwrap(), None);
        for at in 0..HEAD {
            let mut damaged = log.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), None, "byte {at}");
            assert_eq!(read(&log[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn pieces_that_the_torrent_does_not_have_are_skipped() {
        let records = [
            LogRecord::Written(PIECES),
            LogRecord::Synced { first: 20, count: 2 },
            LogRecord::Synced { first: 1, count: u32::MAX },
        ];
        let replay = read(&log(&records)).unwrap();
        assert_eq!((replay.synced.count(), replay.written.count()), (1, 0));
    }

    fn records() -> impl Strategy<Value = Vec<LogRecord>> {
        let synced = (0..PIECES).prop_flat_map(|first| (Just(first), 1..=PIECES - first));
        let record = prop_oneof![
            (0..PIECES).prop_map(LogRecord::Written),
            synced.prop_map(|(first, count)| LogRecord::Synced { first, count }),
            any::<u64>().prop_map(LogRecord::Clean),
        ];
        prop::collection::vec(record, 0..12)
    }

    fn is_within(found: &Replay, whole: &Replay) -> bool {
        !found.synced.has_beyond(&whole.synced) && !found.written.has_beyond(&whole.written)
    }

    proptest! {
        #[test]
        fn a_log_cut_anywhere_says_no_more_than_the_whole(records in records()) {
            let log = log(&records);
            let whole = read(&log).unwrap();
            for cut in HEAD..log.len() {
                let found = read(&log[..cut]).unwrap();
                assert!(is_within(&found, &whole), "cut at {cut}");
                assert_eq!(found, Replay { clean: found.clean, ..read(&log[..cut / 16 * 16]).unwrap() });
            }
        }

        #[test]
        fn a_damaged_byte_costs_its_own_record_only(records in records(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let whole = log(&records);
            let mut damaged = whole.clone();
            if whole.len() > HEAD {
                let at = HEAD + at.index(whole.len() - HEAD);
                damaged[at] ^= flip;
                let number = (at - HEAD) / 16;
                let others: Vec<_> = records.iter().enumerate().filter(|(n, _)| *n != number).map(|(_, r)| *r).collect();
                let (found, expected) = (read(&damaged).unwrap(), read(&log(&others)).unwrap());
                assert_eq!((&found.synced, &found.written), (&expected.synced, &expected.written));
                assert!(is_within(&found, &read(&whole).unwrap()));
            }
        }
    }
}
