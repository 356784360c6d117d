//! What a coordinator has done, and what it is told of a session in return.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    metainfo::{Block, PieceIndex},
    policy::{Payload, PieceInFlight, Remote, SendOrder, SessionId},
};

/// What is to be done, in order.
#[derive(Debug)]
pub enum Action {
    /// Send this on that session.
    Order(SessionId, SendOrder),
    /// Give this piece to that session to fetch.
    Assign(SessionId, PieceInFlight),
    /// Have `helper` ask for the last missing blocks of a piece that `owner` is filling.
    Help {
        /// Who has nothing else to do.
        helper: SessionId,
        /// Whose piece it is.
        owner: SessionId,
        /// Which.
        piece: PieceIndex,
    },
    /// Put a block that a helper brought into its owner's piece.
    Deliver(SessionId, Block, Payload, Arc<Remote>),
    /// Take this piece, or the endgame requests for it, from that session; the piece is to be returned.
    Recall(SessionId, PieceIndex),
    /// End that session.
    End(SessionId),
    /// Connect to that address.
    Dial(SocketAddr),
}

/// How a session is doing, as its requests tell at a tick.
#[derive(Debug, Clone, Copy)]
pub struct SessionPace {
    /// How long a block that was asked for has been awaited.
    pub waited: Duration,
    /// How long it will take over what it has to do.
    pub time_left: Option<Duration>,
    /// Bytes a second that its peer has been seen to upload.
    pub rate: Option<f64>,
    /// Bytes of work it still wants.
    pub bytes_wanted: u64,
    /// Whether it has nothing to do.
    pub idle: bool,
    /// A piece of which nothing has been requested.
    pub spare: Option<PieceIndex>,
    /// Bytes of blocks that its peer has uploaded to us in all.
    pub downloaded: u64,
    /// Bytes of blocks that its peer has downloaded from us in all.
    pub uploaded: u64,
}
