//! ONE CONNECTION to one peer: a session that uploads and downloads, whoever dialled (BEP 3, "peer protocol"; BEP 10).
//!
//! A session is two threads around one socket. The reader (`protocol`) decodes what comes, puts blocks in their
//! places and tells its coordinator what happened; the writer sends what its outbox holds, control before blocks. Between
//! them and the coordinator lie two pure machines, each behind a lock that is held for one call and never across I/O: the
//! `Requests`, what we download, and the `Outbox`, what we send.
//!
//! The way of a block, in: socket → `BlockBuffer` → `Requests` → `PieceInFlight` → hash worker → ledger. Out: request →
//! outbox → one positioned read → one vectored write.
//!
//! Nothing here decides: which piece comes next, who is unchoked and who is banned are a coordinator's to say.

mod connection;
mod end;
mod exchanges;
pub mod incoming;
mod limiter;
mod opening;
pub mod outgoing;
mod peer_connection;
mod share;

use std::sync::Arc;

pub use connection::{SessionHandle, accept, dial};
pub use end::End;
pub use incoming::requests::{Expected, Placed, Requests};
pub use limiter::{Limiter, RateLimiters};
pub use opening::Wanted;
pub use outgoing::outbox::{MAX_OPEN_REQUESTS, Overflow};
pub use peer_connection::PeerConnection;
pub use share::{HaveSet, IncomingPieces, LocalPeer, SharedTorrent, Traffic};

use crate::policy::{PeerEvent, PieceInFlight, SessionId};

/// What a session tells its coordinator.
#[derive(Debug)]
pub enum SessionEvent {
    /// The handshake is done. The session sends nothing before it is told to start.
    Opened(SessionHandle),
    /// Its peer did something.
    Peer(PeerEvent),
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

#[cfg(test)]
pub(crate) mod tests;
