//! A peer, as decisions and reports know it: which session it is on, where it is, who it says it is.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{bitfield::Bitfield, metainfo::PeerId};

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
    /// The peer id that it sent.
    pub peer_id: PeerId,
    /// Who made the connection.
    pub direction: Direction,
}

/// What a coordinator knows of a session's peer and its status writer does not.
#[derive(Debug, Clone, Copy)]
pub struct PeerKnowledge<'a> {
    /// The pieces that the peer says it has.
    pub have: &'a Bitfield,
    /// Whether we answer none of its requests.
    pub we_choke: bool,
}

impl Remote {
    /// The host it comes from.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Where it listens, if it does so on this port.
    pub fn listening_on(&self, port: u16) -> SocketAddr {
        let mut address = self.address;
        address.set_port(port);
        address
    }

    /// Whether it is the same peer, perhaps on another connection.
    pub fn is_same_peer(&self, other: &Remote) -> bool {
        self.ip() == other.ip() && self.peer_id == other.peer_id
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: u8) -> std::sync::Arc<Remote> {
        std::sync::Arc::new(Remote {
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
