//! One host: what it decides, its link, its sessions.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
};

use super::link::{EndId, Link, Nanos};
use crate::{
    metainfo::PeerId,
    policy::{Choker, SessionId, coordinator::Coordinator, super_seed::SuperSeeding},
    session::outgoing::turns::UplinkState,
};

/// A host of the room; number 0 is the source.
pub(super) struct Host {
    pub(super) role: Role,
    pub(super) link: Link,
    pub(super) sessions: BTreeMap<SessionId, EndId>,
    pub(super) turns: UplinkState,
    /// Ends that wait for a turn, the one that has waited longest first.
    pub(super) turn_queue: VecDeque<EndId>,
    /// Ends that write blocks.
    pub(super) writing: usize,
    pub(super) is_here: bool,
    pub(super) started: Nanos,
    pub(super) finished: Option<Nanos>,
    pub(super) uploads: bool,
    pub(super) uploaded: u64,
    pub(super) wasted: u64,
}

/// What a host does.
pub(super) enum Role {
    /// It fetches.
    Fetch(Box<Coordinator>),
    /// It has everything.
    Source {
        /// What it shows to whom; nothing where it shows everything at once.
        offer: Option<Box<SuperSeeding>>,
        /// Whether it is due to look what peers ask for that say nothing of what they have.
        has_look: bool,
        choker: Box<Choker>,
        /// Bytes that each session had been sent at the last tick.
        uploaded: HashMap<SessionId, u64>,
    },
}

/// Where a host listens.
pub(super) fn address(host: usize) -> SocketAddr {
    let [_, a, b, c] = (host as u32 + 1).to_be_bytes();
    SocketAddr::from(([10, a, b, c], 6881))
}

/// Which host listens there.
pub(super) fn number(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) => {
            let [_, a, b, c] = v4.ip().octets();
            (u32::from_be_bytes([0, a, b, c]) as usize).checked_sub(1)
        }
        SocketAddr::V6(_) => None,
    }
}

/// What a host calls itself.
pub(super) fn peer_id(host: usize) -> PeerId {
    let mut id = *b"-LB0000-000000000000";
    id[16..].copy_from_slice(&(host as u32).to_be_bytes());
    PeerId(id)
}
