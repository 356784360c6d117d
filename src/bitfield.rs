//! Which pieces: one bit a piece, the first piece in the highest bit of the first byte (BEP 3, peer messages).
//!
//! The spare bits behind the last piece are always zero; [`Bitfield::from_bytes`] is the only way in for
//! bytes of strangers and refuses anything else.

use std::{fmt, ops::Range};

/// A set of piece numbers below [`Bitfield::len`].
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    ones: u32,
}

/// Why the bytes of a `bitfield` message are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitfieldError {
    /// The message has another length than the torrent's pieces need.
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes that the number of pieces asks for.
        want: usize,
    },
    /// A bit behind the last piece is set.
    SpareBits,
}

impl fmt::Display for BitfieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BitfieldError::Length { got, want } => write!(f, "a bitfield of {got} bytes where {want} are due"),
            BitfieldError::SpareBits => f.write_str("a bitfield with bits set behind the last piece"),
        }
    }
}

impl std::error::Error for BitfieldError {}

impl Bitfield {
    /// No piece of `len`.
    pub fn empty(len: u32) -> Bitfield {
        Bitfield { bytes: vec![0; (len as usize).div_ceil(8)], len, ones: 0 }
    }

    /// Every piece of `len`.
    pub fn full(len: u32) -> Bitfield {
        let mut bytes = vec![0xff; (len as usize).div_ceil(8)];
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_mask(len);
        }
        Bitfield { bytes, len, ones: len }
    }

    /// The payload of a `bitfield` message for `len` pieces.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Result<Bitfield, BitfieldError> {
        let want = (len as usize).div_ceil(8);
        if bytes.len() != want {
            return Err(BitfieldError::Length { got: bytes.len(), want });
        }
        if bytes.last().is_some_and(|last| last & spare_mask(len) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Bitfield { bytes: bytes.to_vec(), len, ones })
    }

    /// The payload of a `bitfield` message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces there are, set or not.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Whether every bit is set.
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// How many bits are set.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether piece `index` is in the set; false for an index out of range.
    pub fn get(&self, index: u32) -> bool {
        index < self.len && self.bytes[index as usize / 8] & bit(index) != 0
    }

    /// Whether every piece of the range is in the set: byte by byte, since a map of a large torrent asks it of each peer.
    pub fn has_all(&self, range: Range<u32>) -> bool {
        let (first, last) = (range.start.div_ceil(8), range.end / 8);
        if range.end > self.len || first >= last {
            return range.into_iter().all(|index| self.get(index));
        }
        let whole = &self.bytes[first as usize..last as usize];
        let edges = (range.start..first * 8).chain(last * 8..range.end);
        whole.iter().all(|byte| *byte == 0xff) && edges.into_iter().all(|index| self.get(index))
    }

    /// Puts piece `index` into the set; true when it was not there.
    ///
    /// # Panics
    /// When `index` is not below [`Bitfield::len`].
    pub fn set(&mut self, index: u32) -> bool {
        assert!(index < self.len, "piece {index} of {}", self.len);
        let byte = &mut self.bytes[index as usize / 8];
        let new = *byte & bit(index) == 0;
        *byte |= bit(index);
        self.ones += u32::from(new);
        new
    }

    /// Takes piece `index` out of the set; true when it was there.
    pub fn clear(&mut self, index: u32) -> bool {
        let was = self.get(index);
        if was {
            self.bytes[index as usize / 8] &= !bit(index);
            self.ones -= 1;
        }
        was
    }

    /// The numbers in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(|(at, byte)| {
            let byte = *byte;
            (0..8).filter(move |shift| byte & (0x80 >> shift) != 0).map(move |shift| at as u32 * 8 + shift)
        })
    }

    /// Whether this set has a piece that `other` lacks.
    pub fn has_beyond(&self, other: &Bitfield) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(mine, theirs)| mine & !theirs != 0)
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

fn bit(index: u32) -> u8 {
    0x80 >> (index % 8)
}

fn spare_mask(len: u32) -> u8 {
    match len % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_piece_is_the_highest_bit() {
        let mut bits = Bitfield::empty(10);
        bits.set(0);
        bits.set(9);
        assert_eq!(bits.as_bytes(), [0x80, 0x40]);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 9]);
        assert_eq!(Bitfield::from_bytes(&[0x80, 0x40], 10), Ok(bits));
    }

    #[test]
    fn a_full_set_has_no_spare_bits() {
        for len in 0..40 {
            let full = Bitfield::full(len);
            assert_eq!(Bitfield::from_bytes(full.as_bytes(), len), Ok(full.clone()));
            assert_eq!(full.iter().count() as u32, len);
            assert!(full.is_full());
        }
    }

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert_eq!(Bitfield::from_bytes(&[0x80, 0x20], 10), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_bytes(&[0x80], 10), Err(BitfieldError::Length { got: 1, want: 2 }));
        assert_eq!(Bitfield::from_bytes(&[0x80, 0, 0], 10), Err(BitfieldError::Length { got: 3, want: 2 }));
    }

    #[test]
    fn a_range_is_there_if_each_of_its_pieces_is() {
        for missing in 0..30 {
            let mut bits = Bitfield::full(29);
            bits.clear(missing);
            for start in 0..30 {
                for end in start..32 {
                    let each = (start..end).all(|index| bits.get(index));
                    assert_eq!(bits.has_all(start..end), each, "{start}..{end} without {missing}");
                }
            }
        }
    }

    #[test]
    fn counting_follows_set_and_clear() {
        let mut bits = Bitfield::empty(3);
        assert!(bits.set(1) && !bits.set(1));
        assert_eq!(bits.count(), 1);
        assert!(Bitfield::full(3).has_beyond(&bits) && !bits.has_beyond(&Bitfield::full(3)));
        assert!(bits.clear(1) && !bits.clear(1) && !bits.clear(7));
        assert!(bits.is_empty());
    }
}
