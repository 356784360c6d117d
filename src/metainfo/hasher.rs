//! Piece hashes of bytes that arrive in order: an upload, or anything else that is seen once.

use sha1::{Digest, Sha1};

/// The hashes of a whole content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Bytes that were hashed.
    pub length: u64,
    /// Bytes in every piece but the last.
    pub piece_length: u32,
    /// 20 bytes for each piece.
    pub pieces: Vec<u8>,
}

/// Hashes bytes as they come. It keeps 20 bytes of each finished piece and nothing of the content.
#[derive(Debug, Clone)]
pub struct PieceHasher {
    done: Hashes,
    current: Sha1,
    /// Bytes of the current piece that were hashed; always below the piece length.
    filled: u32,
}

impl PieceHasher {
    /// Begins with nothing.
    ///
    /// # Panics
    /// When `piece_length` is 0.
    pub fn new(piece_length: u32) -> PieceHasher {
        assert!(piece_length > 0, "a piece has at least one byte");
        let done = Hashes { length: 0, piece_length, pieces: Vec::new() };
        PieceHasher { done, current: Sha1::new(), filled: 0 }
    }

    /// Takes the next bytes, as many as there are.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.done.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = (self.done.piece_length - self.filled) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.current.update(now);
            self.filled += now.len() as u32;
            if self.filled == self.done.piece_length {
                self.end_piece();
            }
            bytes = later;
        }
    }

    /// Bytes taken so far.
    pub fn length(&self) -> u64 {
        self.done.length
    }

    /// All hashes, the last of a shorter piece if the bytes ended within one.
    pub fn finish(mut self) -> Hashes {
        if self.filled > 0 {
            self.end_piece();
        }
        self.done
    }

    fn end_piece(&mut self) {
        self.done.pieces.extend_from_slice(&self.current.finalize_reset());
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_do_not_depend_on_how_the_bytes_arrive() {
        let bytes: Vec<u8> = (0..1000).map(|number| number as u8).collect();
        let want: Vec<u8> = bytes.chunks(64).flat_map(|piece| <[u8; 20]>::from(Sha1::digest(piece))).collect();
        for step in [1, 63, 64, 65, 128, 1000] {
            let mut hasher = PieceHasher::new(64);
            bytes.chunks(step).for_each(|part| hasher.update(part));
            assert_eq!(hasher.finish(), Hashes { length: 1000, piece_length: 64, pieces: want.clone() }, "{step}");
        }
    }

    #[test]
    fn a_whole_number_of_pieces_has_no_hash_more() {
        let mut hasher = PieceHasher::new(4);
        hasher.update(b"12345678");
        assert_eq!(hasher.finish().pieces.len(), 40);
        assert!(PieceHasher::new(4).finish().pieces.is_empty());
    }
}
