//! All arithmetic on pieces and blocks, in one type.
//!
//! A [`PieceIndex`] and a [`Block`] can only be had from the [`Geometry`] of their torrent, so whoever holds one need
//! not check it again. Offsets in the torrent are `u64`, offsets within a piece `u32`.

use std::{fmt, ops::Range};

/// What is asked for at once: 16 KiB, the block size that every client uses (BEP 3, `request`).
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// The longest piece that loads, in bytes. libtorrent's limit; above it `begin` and memory have no sane bounds.
pub const MAX_PIECE_LENGTH: u32 = 512 * 1024 * 1024;

/// The most pieces that a torrent may have: a bitfield of 1 MiB, piece hashes of 160 MiB.
pub const MAX_PIECES: u64 = 8 * 1024 * 1024;

/// How a torrent's bytes are cut: its length, and the length of all pieces but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    length: u64,
    piece_length: u32,
    piece_count: u32,
}

/// The number of a piece that its torrent has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

/// A stretch of one piece, at most [`BLOCK_LENGTH`] bytes, that lies within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// The piece it lies in.
    pub piece: PieceIndex,
    /// Where in the piece it begins, in bytes.
    pub begin: u32,
    /// How long it is, in bytes; never 0.
    pub length: u32,
}

/// Why a length and a piece length make no torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeometryError {
    /// There is not a single byte.
    Empty,
    /// The piece length is 0 or exceeds [`MAX_PIECE_LENGTH`].
    PieceLength(u64),
    /// More than [`MAX_PIECES`].
    TooManyPieces(u64),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GeometryError::Empty => f.write_str("a torrent without a single byte has nothing to share"),
            GeometryError::PieceLength(got) => {
                write!(f, "a piece length of {got} bytes; it must be from 1 to {MAX_PIECE_LENGTH}")
            }
            GeometryError::TooManyPieces(got) => {
                write!(f, "{got} pieces; at most {MAX_PIECES} are allowed, choose a larger piece length")
            }
        }
    }
}

impl std::error::Error for GeometryError {}

impl Geometry {
    /// Cuts `length` bytes into pieces of `piece_length` bytes.
    pub fn new(length: u64, piece_length: u64) -> Result<Geometry, GeometryError> {
        if length == 0 {
            return Err(GeometryError::Empty);
        }
        if piece_length == 0 || piece_length > u64::from(MAX_PIECE_LENGTH) {
            return Err(GeometryError::PieceLength(piece_length));
        }
        let piece_count = length.div_ceil(piece_length);
        if piece_count > MAX_PIECES {
            return Err(GeometryError::TooManyPieces(piece_count));
        }
        Ok(Geometry { length, piece_length: piece_length as u32, piece_count: piece_count as u32 })
    }

    /// Bytes in the torrent.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes in every piece but the last, which may be shorter.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How many pieces there are; at least 1.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// The piece of that number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// Every piece, in order.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// Where the piece begins in the torrent, in bytes.
    pub fn offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes in this piece; never 0.
    pub fn length_of(&self, piece: PieceIndex) -> u32 {
        let rest = self.length - self.offset(piece);
        rest.min(u64::from(self.piece_length)) as u32
    }

    /// The piece's bytes as a range of the torrent's.
    pub fn range_of(&self, piece: PieceIndex) -> Range<u64> {
        let start = self.offset(piece);
        start..start + u64::from(self.length_of(piece))
    }

    /// The block that a `request` names, if it lies within its piece and is from 1 to [`BLOCK_LENGTH`] bytes long.
    pub fn block(&self, index: u32, begin: u32, length: u32) -> Option<Block> {
        let piece = self.piece(index)?;
        let end = begin.checked_add(length)?;
        let fits = length > 0 && length <= BLOCK_LENGTH && end <= self.length_of(piece);
        fits.then_some(Block { piece, begin, length })
    }

    /// How many blocks the piece is asked for in; at least 1.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.length_of(piece).div_ceil(BLOCK_LENGTH)
    }

    /// Block `number` of the piece, counted from 0.
    ///
    /// # Panics
    /// When the piece has no such block.
    pub fn nth_block(&self, piece: PieceIndex, number: u32) -> Block {
        let begin = number * BLOCK_LENGTH;
        let length = (self.length_of(piece) - begin).min(BLOCK_LENGTH);
        assert!(length > 0, "piece {piece} has no block {number}");
        Block { piece, begin, length }
    }

    /// Where the block begins in the torrent, in bytes.
    pub fn block_offset(&self, block: Block) -> u64 {
        self.offset(block.piece) + u64::from(block.begin)
    }
}

impl PieceIndex {
    /// The number, as it travels.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number, to index memory.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Block {
    /// Which block of its piece this is, counted from 0, when it is one of those we cut ourselves.
    pub fn number(&self, geometry: &Geometry) -> Option<u32> {
        let number = self.begin / BLOCK_LENGTH;
        (geometry.nth_block(self.piece, number) == *self).then_some(number)
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Torrents of so many pieces of up to so many bytes.
    fn geometries(most_pieces: u64, most_bytes: u32) -> impl Strategy<Value = Geometry> {
        let lengths = (1..=u64::from(most_bytes), 0..most_pieces, any::<u64>());
        lengths.prop_map(|(piece_length, pieces, rest)| {
            Geometry::new(piece_length * pieces + 1 + rest % piece_length, piece_length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn pieces_cover_any_torrent_once_and_in_order(geometry in geometries(3000, MAX_PIECE_LENGTH)) {
            let mut at = 0;
            for piece in geometry.pieces() {
                let range = geometry.range_of(piece);
                prop_assert_eq!((range.start, geometry.offset(piece)), (at, at));
                prop_assert!(!range.is_empty() && range.end - range.start <= u64::from(geometry.piece_length()));
                prop_assert_eq!(geometry.piece(piece.get()), Some(piece));
                at = range.end;
            }
            prop_assert_eq!(at, geometry.length());
            prop_assert!(geometry.piece(geometry.piece_count()).is_none());
        }

        #[test]
        fn a_block_is_what_lies_in_its_piece_and_is_no_longer_than_one_may_be(
            geometry in geometries(3, 3 * BLOCK_LENGTH),
            piece in any::<u32>(),
            begin in any::<u32>(),
            length in 0..=BLOCK_LENGTH + 1000,
        ) {
            let (piece, begin) = (piece % (geometry.piece_count() + 1), begin % (geometry.piece_length() + 1));
            let fits = geometry.piece(piece).is_some_and(|index| {
                u64::from(begin) + u64::from(length) <= u64::from(geometry.length_of(index))
            });
            let block = geometry.block(piece, begin, length);
            prop_assert_eq!(block.is_some(), fits && (1..=BLOCK_LENGTH).contains(&length));
            if let Some(block) = block {
                let (range, at) = (geometry.range_of(block.piece), geometry.block_offset(block));
                prop_assert!(range.contains(&at) && at + u64::from(block.length) <= range.end);
                let ours = (0..geometry.block_count(block.piece)).find(|n| geometry.nth_block(block.piece, *n) == block);
                prop_assert_eq!(block.number(&geometry), ours);
            }
        }
    }

    #[test]
    fn the_last_piece_and_its_last_block_are_what_is_left() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        let last = geometry.piece(2).unwrap();
        assert_eq!(geometry.piece_count(), 3);
        assert_eq!(geometry.range_of(last), 80_000..100_000);
        assert_eq!(geometry.block_count(last), 2);
        assert_eq!(geometry.nth_block(last, 1), Block { piece: last, begin: 16_384, length: 3_616 });
        assert!(geometry.piece(3).is_none());
    }

    #[test]
    fn blocks_cover_each_piece_once() {
        for (length, piece_length) in
            [(1, 1), (16_384, 16_384), (16_385, 16_384), (100_000, 40_000), (262_145, 262_144)]
        {
            let geometry = Geometry::new(length, piece_length).unwrap();
            let mut at = 0;
            for piece in geometry.pieces() {
                for number in 0..geometry.block_count(piece) {
                    let block = geometry.nth_block(piece, number);
                    assert_eq!(geometry.block_offset(block), at);
                    assert_eq!(block.number(&geometry), Some(number));
                    at += u64::from(block.length);
                }
            }
            assert_eq!(at, length);
        }
    }

    #[test]
    fn a_request_out_of_range_is_no_block() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        assert!(geometry.block(0, 23_616, 16_384).is_some());
        for (index, begin, length) in
            [(0, 23_617, 16_384), (3, 0, 1), (0, 0, 0), (0, 0, 16_385), (0, u32::MAX, 2), (2, 20_000, 1)]
        {
            assert_eq!(geometry.block(index, begin, length), None, "{index} {begin} {length}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused_at_the_limit() {
        assert_eq!(Geometry::new(0, 1), Err(GeometryError::Empty));
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength(0)));
        let limit = u64::from(MAX_PIECE_LENGTH);
        assert!(Geometry::new(u64::MAX / 1024, limit).is_err());
        assert!(Geometry::new(1, limit).is_ok());
        assert_eq!(Geometry::new(1, limit + 1), Err(GeometryError::PieceLength(limit + 1)));
        assert!(Geometry::new(MAX_PIECES * 16, 16).is_ok());
        assert_eq!(Geometry::new(MAX_PIECES * 16 + 1, 16), Err(GeometryError::TooManyPieces(MAX_PIECES + 1)));
    }
}
