//! Why a session ended, as a sentence.

use std::{fmt, io};

use super::outgoing::outbox::{MAX_OPEN_REQUESTS, Overflow};
use crate::{bitfield, metainfo::InfoHash, storage, wire};

/// Why a session ended, or never began.
#[derive(Debug)]
pub enum End {
    /// The other side closed the connection.
    ClosedByPeer,
    /// We did: the program ends, or has no use for it.
    ClosedByUs,
    /// The connection broke, or could not be made.
    Io(io::Error),
    /// Nothing was heard for too long.
    Silent,
    /// A message took too long from its first byte to its last.
    Slow,
    /// It does not speak BitTorrent.
    Handshake(wire::HandshakeError),
    /// It speaks it neither in the clear nor encrypted.
    Encrypted(wire::mse::MseError),
    /// Too many key exchanges have been asked for, there or in all.
    TooManyExchanges,
    /// An encrypted handshake was asked about a torrent that is not shared here.
    UnknownRequest,
    /// It was asked about one torrent and answered about another.
    OtherTorrent(InfoHash),
    /// It asked about a torrent that is not shared here.
    UnknownTorrent(InfoHash),
    /// We had dialled ourselves.
    Myself,
    /// What it sent is no message.
    Wire(wire::MessageError),
    /// Its bitfield is none for this torrent.
    Bitfield(bitfield::BitfieldError),
    /// Its extension handshake is no bencode.
    Extension(wire::ExtensionError),
    /// It says it has a piece that the torrent has not.
    NoSuchPiece(u32),
    /// It asked for bytes that lie outside of the torrent's pieces.
    NoSuchBlock(wire::RawBlock),
    /// It asked for a piece that we do not have.
    PieceNotHere(u32),
    /// It keeps sending blocks that nobody asked for.
    Unasked(wire::RawBlock),
    /// It says more than a peer has to say.
    Chatter,
    /// It has too many requests open, or does not read.
    Overflow(Overflow),
    /// Our own files failed.
    Storage(storage::StorageError),
}

impl End {
    /// Whether the other side broke the protocol: dialling it again is no use.
    pub fn is_violation(&self) -> bool {
        match self {
            End::ClosedByPeer | End::ClosedByUs | End::Io(_) | End::Silent | End::Slow => false,
            End::UnknownTorrent(_) | End::UnknownRequest | End::TooManyExchanges | End::Storage(_) => false,
            End::Encrypted(_)
            | End::Handshake(_)
            | End::OtherTorrent(_)
            | End::Myself
            | End::Wire(_)
            | End::Bitfield(_) => true,
            End::Extension(_) | End::NoSuchPiece(_) | End::NoSuchBlock(_) => true,
            End::PieceNotHere(_) | End::Unasked(_) | End::Chatter | End::Overflow(_) => true,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::ClosedByPeer => f.write_str("it closed the connection"),
            End::ClosedByUs => f.write_str("the connection was closed here"),
            End::Io(error) => write!(f, "the connection failed: {error}"),
            End::Silent => f.write_str("it has been silent for too long"),
            End::Slow => f.write_str("it took too long over one message"),
            End::Handshake(error) => fmt::Display::fmt(error, f),
            End::Encrypted(error) => fmt::Display::fmt(error, f),
            End::TooManyExchanges => f.write_str("its encrypted handshake comes at a time of too many"),
            End::UnknownRequest => f.write_str("its encrypted handshake is about a torrent that is not shared here"),
            End::OtherTorrent(hash) => write!(f, "it answered for another torrent, {hash}"),
            End::UnknownTorrent(hash) => write!(f, "it asked for {hash}, which is not shared here"),
            End::Myself => f.write_str("it is this program itself"),
            End::Wire(error) => write!(f, "it sent {error}"),
            End::Bitfield(error) => write!(f, "it sent {error}"),
            End::Extension(error) => write!(f, "it sent {error}"),
            End::NoSuchPiece(index) => write!(f, "it claims piece {index}, which the torrent has not"),
            End::NoSuchBlock(block) => write!(f, "it asked for {block}, which the torrent has not"),
            End::PieceNotHere(index) => write!(f, "it asked for piece {index}, which is not here"),
            End::Unasked(block) => write!(f, "it sends what it was not asked for, {block} for one"),
            End::Chatter => f.write_str("it floods us with messages that move nothing"),
            End::Overflow(Overflow::Requests) => write!(f, "it has more than {MAX_OPEN_REQUESTS} requests open"),
            End::Overflow(Overflow::Control) => f.write_str("it does not read what it is sent"),
            End::Storage(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for End {}

impl From<wire::MessageError> for End {
    fn from(error: wire::MessageError) -> End {
        End::Wire(error)
    }
}

impl From<Overflow> for End {
    fn from(overflow: Overflow) -> End {
        End::Overflow(overflow)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}
