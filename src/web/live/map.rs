//! The piece map (pure): which pieces are on this machine, and how many of the machines that are here have each.

use data_encoding::BASE64;
use serde::Serialize;

use crate::bitfield::Bitfield;

/// The most counts of a map: more cells than a screen has room for.
pub const MAX_COUNTS: u32 = 2048;

/// Which pieces are where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PieceMap {
    /// Machines that are counted: this one, those connected to it, and all that have everything.
    pub known: usize,
    /// Machines that are here, of which `known` are counted.
    pub machines: usize,
    /// The pieces that are on this machine: a bit each, the first in the highest bit of the first byte, in base64.
    pub here: String,
    /// How many of the counted machines have the piece, or every piece of the bucket.
    pub counts: Vec<u32>,
    /// Pieces in a bucket; 1 where each has a count of its own.
    pub bucket: u32,
}

/// The map of a torrent of so many pieces: `some` are what single machines have, `whole` is how many more have everything, and
/// `unknown` of how many nothing is known. Nothing where nothing is known of any.
pub fn of<'a>(
    pieces: u32,
    here: Option<&Bitfield>,
    some: impl Iterator<Item = &'a Bitfield>,
    whole: usize,
    unknown: usize,
) -> Option<PieceMap> {
    let bucket = pieces.div_ceil(MAX_COUNTS).max(1);
    let empty = Bitfield::empty(pieces);
    let here = BASE64.encode(here.unwrap_or(&empty).as_bytes());
    let counts = vec![u32::try_from(whole).unwrap_or(u32::MAX); pieces.div_ceil(bucket) as usize];
    let mut map = PieceMap { known: whole, machines: 0, here, counts, bucket };
    for have in some.filter(|have| have.len() == pieces) {
        map.known += 1;
        for (count, first) in map.counts.iter_mut().zip((0..pieces).step_by(bucket as usize)) {
            *count += u32::from(have.has_all(first..(first + bucket).min(pieces)));
        }
    }
    map.machines = map.known + unknown;
    (map.known > 0 && pieces > 0).then_some(map)
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
    fn a_small_map_counts_each_piece_on_every_machine() {
        let some = [first(1, 5), first(3, 5)];
        let map = of(5, Some(&some[0]), some.iter(), 2, 1).unwrap();
        let want = PieceMap { known: 4, machines: 5, here: "gA==".to_owned(), counts: vec![4, 3, 3, 2, 2], bucket: 1 };
        assert_eq!(map, want);
    }

    #[test]
    fn a_large_map_counts_buckets_of_which_every_piece_is_there() {
        for (pieces, bucket, counts) in [(MAX_COUNTS, 1, 2048), (MAX_COUNTS + 1, 2, 1025), (10 * MAX_COUNTS, 10, 2048)]
        {
            let map = of(pieces, None, [first(15, pieces)].iter(), 1, 0).unwrap();
            assert_eq!((map.bucket, map.counts.len()), (bucket, counts));
            let doubly = map.counts.iter().take_while(|count| **count == 2).count();
            assert_eq!(doubly, 15 / bucket as usize);
            assert_eq!(map.counts.last(), Some(&1));
        }
    }

    #[test]
    fn where_nothing_is_known_there_is_no_map() {
        assert_eq!(of(5, None, std::iter::empty(), 0, 2), None);
        assert_eq!(of(5, None, std::iter::empty(), 4, 0).unwrap().counts, [4; 5], "the end is a full map");
    }
}
