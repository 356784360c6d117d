//! The piece map (pure): which pieces are here, and how many of the machines that we have sessions with have each.

use data_encoding::BASE64;
use serde::Serialize;

use crate::bitfield::Bitfield;

/// The most counts of a map: more cells than a screen has room for.
pub const MAX_COUNTS: u32 = 2048;

/// Which pieces are where, as far as sessions tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PieceMap {
    /// Machines that tell this.
    pub known: usize,
    /// The pieces that are here: a bit each, the first in the highest bit of the first byte, in base64.
    pub here: String,
    /// How many of the known machines have the piece, or every piece of the bucket.
    pub counts: Vec<u32>,
    /// Pieces in a bucket; 1 where each has a count of its own.
    pub bucket: u32,
}

/// The map of a torrent; nothing where no session is.
pub fn of<'a>(here: &Bitfield, sessions: impl Iterator<Item = &'a Bitfield>) -> Option<PieceMap> {
    let pieces = here.len();
    let bucket = pieces.div_ceil(MAX_COUNTS).max(1);
    let mut map = PieceMap { known: 0, here: BASE64.encode(here.as_bytes()), counts: Vec::new(), bucket };
    map.counts.resize(pieces.div_ceil(bucket) as usize, 0);
    for have in sessions {
        map.known += 1;
        for (count, first) in map.counts.iter_mut().zip((0..pieces).step_by(bucket as usize)) {
            *count += u32::from(have.has_all(first..(first + bucket).min(pieces)));
        }
    }
    (map.known > 0).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(count: u32, pieces: u32) -> Bitfield {
        let mut have = Bitfield::empty(pieces);
        (0..count).for_each(|piece| _ = have.set(piece));
        have
    }

    #[test]
    fn a_small_map_counts_each_piece() {
        let map = of(&first(1, 5), [first(3, 5), first(5, 5)].iter()).unwrap();
        let want = PieceMap { known: 2, here: "gA==".to_owned(), counts: vec![2, 2, 2, 1, 1], bucket: 1 };
        assert_eq!(map, want);
    }

    #[test]
    fn a_large_map_counts_buckets_of_which_every_piece_is_there() {
        for (pieces, bucket, counts) in [(MAX_COUNTS, 1, 2048), (MAX_COUNTS + 1, 2, 1025), (10 * MAX_COUNTS, 10, 2048)]
        {
            let map = of(&first(0, pieces), [first(15, pieces), Bitfield::full(pieces)].iter()).unwrap();
            assert_eq!((map.bucket, map.counts.len()), (bucket, counts));
            let doubly = map.counts.iter().take_while(|count| **count == 2).count();
            assert_eq!(doubly, 15 / bucket as usize);
            assert_eq!(map.counts.last(), Some(&1));
        }
    }

    #[test]
    fn where_no_session_is_there_is_no_map() {
        assert_eq!(of(&first(1, 5), std::iter::empty()), None);
    }
}
