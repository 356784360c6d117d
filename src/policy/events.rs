//! What decisions go by, and what they come to: the events that a peer causes, and the orders to send it something.

use std::sync::Arc;

use super::{Payload, PieceInFlight, Remote, SessionId};
use crate::{
    bitfield::Bitfield,
    metainfo::{Block, PieceIndex},
};

/// What a peer does on a session that is open.
#[derive(Debug)]
pub enum PeerEvent {
    /// The extension handshake came (BEP 10).
    ExtensionHandshake {
        /// The session.
        session: SessionId,
        /// Where the peer takes connections.
        port: Option<u16>,
        /// Its client's name.
        client: Option<String>,
        /// What it calls itself for people.
        name: Option<Box<str>>,
        /// Whether it says that it only uploads (BEP 21).
        upload_only: bool,
    },
    /// The first word on what it has.
    Has(SessionId, Bitfield),
    /// It has one more piece.
    Gained(SessionId, PieceIndex),
    /// Every block of a piece has been sent to it. Told to those that only upload.
    Sent(SessionId, PieceIndex),
    /// It answers requests now, and that many bytes of pieces are wanted for it.
    Unchoked(SessionId, u64),
    /// It no longer does; these pieces come back.
    Choked(SessionId, Vec<PieceInFlight>),
    /// Whether it wants something we have.
    Interested(SessionId, bool),
    /// There will soon be nothing left to request from it; that many bytes more are wanted.
    BytesWanted(SessionId, u64),
    /// A single block that was requested on behalf of another session (endgame).
    EndgameBlock(Arc<Remote>, Block, Payload),
}

/// What a session can be told to send.
#[derive(Debug)]
pub enum SendOrder {
    /// First of all: what we have, where there is anything to say.
    Start(Option<Bitfield>),
    /// An extended message, encoded (BEP 10).
    Extended(u8, Vec<u8>),
    /// We answer requests from now on.
    Unchoke,
    /// We answer none; those that wait are forgotten.
    Choke,
    /// The other side has something we want.
    Interested,
    /// It has not.
    NotInterested,
    /// We have a piece.
    Have(PieceIndex),
    /// We ask for blocks.
    Request(Vec<Block>),
    /// We no longer want them.
    Cancel(Vec<Block>),
    /// The other side asked for a block.
    Upload(Block),
    /// It no longer wants it.
    CancelUpload(Block),
}
