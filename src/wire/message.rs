//! The messages (BEP 3, "peer messages"; BEP 10, `extended`): a length of four bytes, an id, a payload.

use std::fmt;

use crate::{bitfield::Bitfield, metainfo::Block};

/// The most bytes of a block that we take in one `piece` message; we never ask for more.
const MAX_BLOCK: u32 = crate::metainfo::BLOCK_LENGTH;

/// The longest `extended` message, in bytes. Handshakes take some hundred, metadata pieces (BEP 9) 16 KiB and a head.
const MAX_EXTENDED: u32 = 32 * 1024;

/// The longest message of an unknown kind that is stepped over, in bytes.
const MAX_UNKNOWN: u32 = 128 * 1024;

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const EXTENDED: u8 = 20;

/// One message that lies whole in memory; `piece` does not, see [`DecodeStep::Piece`]. Numbers are as they travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A length of 0: nothing but a sign of life.
    KeepAlive,
    /// The sender will answer no requests; what was asked is forgotten.
    Choke,
    /// The sender will answer requests.
    Unchoke,
    /// The sender wants pieces that we have.
    Interested,
    /// The sender wants nothing we have.
    NotInterested,
    /// The sender has completed a piece.
    Have(u32),
    /// All that the sender has.
    Bitfield(&'a [u8]),
    /// The sender asks for a block.
    Request(RawBlock),
    /// The sender no longer wants a block.
    Cancel(RawBlock),
    /// An extended message: its id, its payload (BEP 10).
    Extended(u8, &'a [u8]),
}

/// A block as a stranger names it, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawBlock {
    /// Piece number.
    pub index: u32,
    /// Offset in the piece, in bytes.
    pub begin: u32,
    /// Length, in bytes.
    pub length: u32,
}

/// What some bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeStep<'a> {
    /// Too little to tell; that many bytes in all are needed to go on.
    Need(usize),
    /// A whole message, and the bytes it took.
    Message(Message<'a>, usize),
    /// A `piece` message: after `used` bytes the block's bytes follow, `block.length` of them.
    Piece {
        /// Which block it claims to be.
        block: RawBlock,
        /// Bytes before the block's own.
        used: usize,
    },
    /// A message of an unknown kind: after `used` bytes, `length` bytes are to be stepped over.
    Skip {
        /// Bytes before the payload.
        used: usize,
        /// Bytes of payload.
        length: usize,
    },
}

/// What depends on the torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes of a `bitfield` payload.
    pub bitfield_length: u32,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// The length does not fit the kind of message, or exceeds its limit.
    Length {
        /// The message id.
        id: u8,
        /// Bytes that the message claims, the id among them.
        length: u32,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageError::Length { id, length } = self;
        write!(f, "a message of kind {id} with a length of {length} bytes")
    }
}

impl std::error::Error for MessageError {}

impl MessageLimits {
    /// The limits for a torrent of that many pieces.
    pub fn for_pieces(count: u32) -> MessageLimits {
        MessageLimits { bitfield_length: count.div_ceil(8) }
    }
}

/// What `input` begins with. Never looks further than one message, never asks for more than its limit.
pub fn decode<'a>(input: &'a [u8], limits: MessageLimits) -> Result<DecodeStep<'a>, MessageError> {
    let Some(length) = number(input, 0) else { return Ok(DecodeStep::Need(4)) };
    if length == 0 {
        return Ok(DecodeStep::Message(Message::KeepAlive, 4));
    }
    let Some(&id) = input.get(4) else { return Ok(DecodeStep::Need(5)) };
    let fits = match id {
        CHOKE..=NOT_INTERESTED => length == 1,
        HAVE => length == 5,
        BITFIELD => length == 1 + limits.bitfield_length,
        REQUEST | CANCEL => length == 13,
        PIECE => (10..=9 + MAX_BLOCK).contains(&length),
        EXTENDED => (2..=MAX_EXTENDED).contains(&length),
        _ => length <= MAX_UNKNOWN,
    };
    if !fits {
        return Err(MessageError::Length { id, length });
    }
    match id {
        PIECE => return Ok(decode_piece(input, length)),
        CHOKE..=CANCEL | EXTENDED => {}
        _ => return Ok(DecodeStep::Skip { used: 5, length: length as usize - 1 }),
    }
    let end = 4 + length as usize;
    let Some(payload) = input.get(5..end) else { return Ok(DecodeStep::Need(end)) };
    let message = match id {
        CHOKE => Message::Choke,
        UNCHOKE => Message::Unchoke,
        INTERESTED => Message::Interested,
        NOT_INTERESTED => Message::NotInterested,
        HAVE => Message::Have(number(payload, 0).expect("the length was checked")),
        BITFIELD => Message::Bitfield(payload),
        REQUEST => Message::Request(raw_block(payload)),
        CANCEL => Message::Cancel(raw_block(payload)),
        _ => Message::Extended(payload[0], &payload[1..]),
    };
    Ok(DecodeStep::Message(message, end))
}

fn decode_piece(input: &[u8], length: u32) -> DecodeStep<'_> {
    const HEAD: usize = 13;
    match (number(input, 5), number(input, 9)) {
        (Some(index), Some(begin)) => {
            DecodeStep::Piece { block: RawBlock { index, begin, length: length - 9 }, used: HEAD }
        }
        _ => DecodeStep::Need(HEAD),
    }
}

fn raw_block(payload: &[u8]) -> RawBlock {
    let at = |offset| number(payload, offset).expect("the length was checked");
    RawBlock { index: at(0), begin: at(4), length: at(8) }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().expect("four bytes were cut")))
}

/// Appends a message to what is to be sent.
pub fn encode(message: Message<'_>, out: &mut Vec<u8>) {
    let mut put = |id: u8, parts: &[&[u8]]| {
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.push(id);
        parts.iter().for_each(|part| out.extend_from_slice(part));
    };
    match message {
        Message::KeepAlive => out.extend_from_slice(&[0; 4]),
        Message::Choke => put(CHOKE, &[]),
        Message::Unchoke => put(UNCHOKE, &[]),
        Message::Interested => put(INTERESTED, &[]),
        Message::NotInterested => put(NOT_INTERESTED, &[]),
        Message::Have(index) => put(HAVE, &[&index.to_be_bytes()]),
        Message::Bitfield(bits) => put(BITFIELD, &[bits]),
        Message::Request(block) => put(REQUEST, &[&block.to_bytes()]),
        Message::Cancel(block) => put(CANCEL, &[&block.to_bytes()]),
        Message::Extended(id, payload) => put(EXTENDED, &[&[id], payload]),
    }
}

/// The bytes of a `piece` message that go before the block's own.
pub fn piece_head(block: Block) -> [u8; 13] {
    let mut head = [0; 13];
    head[..4].copy_from_slice(&(9 + block.length).to_be_bytes());
    head[4] = PIECE;
    head[5..9].copy_from_slice(&block.piece.get().to_be_bytes());
    head[9..].copy_from_slice(&block.begin.to_be_bytes());
    head
}

impl RawBlock {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.index.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.begin.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}

impl fmt::Display for RawBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} of piece {}", self.length, self.begin, self.index)
    }
}

impl From<Block> for RawBlock {
    fn from(block: Block) -> RawBlock {
        RawBlock { index: block.piece.get(), begin: block.begin, length: block.length }
    }
}

impl<'a> From<&'a Bitfield> for Message<'a> {
    fn from(bits: &'a Bitfield) -> Message<'a> {
        Message::Bitfield(bits.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Geometry;

    const LIMITS: MessageLimits = MessageLimits { bitfield_length: 2 };
    const BLOCK: RawBlock = RawBlock { index: 1, begin: 0x4000, length: 0x4000 };

    fn golden() -> Vec<(Message<'static>, &'static [u8])> {
        vec![
            (Message::KeepAlive, b"\0\0\0\0"),
            (Message::Choke, b"\0\0\0\x01\0"),
            (Message::Unchoke, b"\0\0\0\x01\x01"),
            (Message::Interested, b"\0\0\0\x01\x02"),
            (Message::NotInterested, b"\0\0\0\x01\x03"),
            (Message::Have(258), b"\0\0\0\x05\x04\0\0\x01\x02"),
            (Message::Bitfield(&[0x80, 0x40]), b"\0\0\0\x03\x05\x80\x40"),
            (Message::Request(BLOCK), b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0"),
            (Message::Cancel(BLOCK), b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x40\0"),
            (Message::Extended(0, b"de"), b"\0\0\0\x04\x14\0de"),
        ]
    }

    #[test]
    fn each_message_is_these_bytes_and_reads_back() {
        for (message, bytes) in golden() {
            let mut out = Vec::new();
            encode(message, &mut out);
            assert_eq!(out, bytes, "{message:?}");
            assert_eq!(decode(bytes, LIMITS), Ok(DecodeStep::Message(message, bytes.len())));
        }
    }

    #[test]
    fn every_split_point_asks_for_more_and_for_no_more_than_there_is() {
        for (message, bytes) in golden() {
            for cut in 0..bytes.len() {
                match decode(&bytes[..cut], LIMITS) {
                    Ok(DecodeStep::Need(total)) => {
                        assert!(total > cut && total <= bytes.len(), "{message:?} cut at {cut}");
                    }
                    other => panic!("{message:?} cut at {cut}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_piece_shows_its_head_before_its_bytes_have_come() {
        let piece = Geometry::new(100_000, 50_000).unwrap().block(1, 0x4000, 0x4000).unwrap();
        let head = piece_head(piece);
        assert_eq!(&head, b"\0\0\x40\x09\x07\0\0\0\x01\0\0\x40\0");
        assert_eq!(decode(&head, LIMITS), Ok(DecodeStep::Piece { block: BLOCK, used: 13 }));
        for cut in 0..head.len() {
            assert!(matches!(decode(&head[..cut], LIMITS), Ok(DecodeStep::Need(total)) if total > cut && total <= 13));
        }
    }

    #[test]
    fn every_length_is_held_to_its_limit() {
        let frame = |length: u32, id: u8| [&length.to_be_bytes()[..], &[id]].concat();
        let refused = |length, id| decode(&frame(length, id), LIMITS) == Err(MessageError::Length { id, length });
        for id in [CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED] {
            assert!(!refused(1, id) && refused(2, id));
        }
        assert!(!refused(5, HAVE) && refused(4, HAVE) && refused(6, HAVE));
        assert!(!refused(3, BITFIELD) && refused(2, BITFIELD) && refused(4, BITFIELD));
        assert!(!refused(13, REQUEST) && refused(12, REQUEST) && refused(14, CANCEL));
        assert!(!refused(9 + MAX_BLOCK, PIECE) && refused(10 + MAX_BLOCK, PIECE) && refused(9, PIECE));
        assert!(!refused(MAX_EXTENDED, EXTENDED) && refused(MAX_EXTENDED + 1, EXTENDED) && refused(1, EXTENDED));
        assert!(!refused(MAX_UNKNOWN, 99) && refused(MAX_UNKNOWN + 1, 99) && refused(u32::MAX, 99));
        assert!(refused(u32::MAX, PIECE));
    }

    #[test]
    fn an_unknown_kind_is_stepped_over_exactly() {
        assert_eq!(decode(b"\0\0\0\x03\x09\x1a\xe1", LIMITS), Ok(DecodeStep::Skip { used: 5, length: 2 }));
        assert_eq!(decode(b"\0\0\0\x01\x63", LIMITS), Ok(DecodeStep::Skip { used: 5, length: 0 }));
    }
}
