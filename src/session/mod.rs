//! ONE CONNECTION to one peer: a session that gives and takes, whoever dialled (BEP 3, "peer protocol"; BEP 10).
//!
//! A session is two threads around one socket. The reader (`reader`) decodes what comes, puts blocks in their
//! places and tells its coordinator what happened; the writer sends what its outbox holds, control before blocks. Between
//! them and the coordinator lie two pure machines, each behind a lock that is held for one call and never across I/O: the
//! `Requests`, what we take, and the `Outbox`, what we send.
//!
//! The way of a block, in: socket → `inlet` → `BlockBuffer` → desk → `PieceInFlight` → hash worker. Out: request →
//! outbox → one positioned read → one vectored write.
//!
//! Nothing here decides: which piece comes next, who is unchoked and who is banned are a coordinator's to say.

mod connection;
mod end;
mod exchanges;
mod guest;
pub mod incoming;
mod limiter;
mod opening;
pub mod outgoing;
mod share;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

pub use connection::{SessionHandle, accept, dial};
pub use end::End;
pub use guest::PeerConnection;
pub use incoming::requests::{Expected, Placed, Requests};
pub use limiter::{Limiter, RateLimiters};
pub use opening::Wanted;
pub use outgoing::outbox::{MAX_OPEN_REQUESTS, Overflow, SendOrder};
pub use share::{HaveSet, LocalPeer, SharedTorrent, Traffic};

use crate::{
    bitfield::Bitfield,
    metainfo::{Block, PeerId, PieceIndex},
    policy::{Payload, PieceInFlight},
};
use std::sync::Arc;

/// Names a session within the process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

/// Who made the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Dialled,
    /// The other side did.
    Accepted,
}

/// The other side of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The session.
    pub session: SessionId,
    /// Its address on this connection; only where we dialled it is that the one it listens on.
    pub address: SocketAddr,
    /// The peer id that it gave.
    pub peer_id: PeerId,
    /// Who made the connection.
    pub direction: Direction,
}

/// What a session tells its coordinator.
#[derive(Debug)]
pub enum SessionEvent {
    /// The handshake is done. The session sends nothing before it is told to start.
    Opened(SessionHandle),
    /// The extension handshake came (BEP 10).
    ExtensionHandshake {
        /// The session.
        session: SessionId,
        /// Where the peer takes connections.
        port: Option<u16>,
        /// Its client's name.
        client: Option<String>,
    },
    /// The first word on what it has.
    Has(SessionId, Bitfield),
    /// It has one more piece.
    Gained(SessionId, PieceIndex),
    /// Every block of a piece has been sent to it. Told to those that only upload.
    Sent(SessionId, PieceIndex),
    /// It answers requests now, and wants that many bytes of work.
    Unchoked(SessionId, u64),
    /// It no longer does; these pieces come back.
    Choked(SessionId, Vec<PieceInFlight>),
    /// Whether it wants something we have.
    Interested(SessionId, bool),
    /// It will soon be out of work, and wants that many bytes more.
    BytesWanted(SessionId, u64),
    /// A single block that was asked for on behalf of another session (endgame).
    EndgameBlock(Arc<Remote>, Block, Payload),
    /// Our own files failed under it.
    StorageFailed(Arc<crate::storage::StorageError>),
    /// It is over.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        end: End,
        /// The pieces it was filling.
        pieces: Vec<PieceInFlight>,
    },
}

impl Remote {
    /// The host it comes from.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Whether it is the same peer, perhaps on another connection.
    pub fn is_same_peer(&self, other: &Remote) -> bool {
        self.ip() == other.ip() && self.peer_id == other.peer_id
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: u8) -> Arc<Remote> {
        Arc::new(Remote {
            session: SessionId(u64::from(number)),
            address: SocketAddr::from(([127, 0, 0, number], 6881)),
            peer_id: PeerId([number; 20]),
            direction: Direction::Dialled,
        })
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address, f)
    }
}

#[cfg(test)]
pub(crate) mod tests;
