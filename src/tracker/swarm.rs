//! One swarm: its peers of both address families, and how many have got everything in it (pure).
//!
//! Who gets whom is decided here: never oneself, a seeder no seeders, a leecher some of both kinds, its own family
//! first (BEP 7), and nobody under an address that cannot be dialled from where the asker is.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{
    address::{Asker, THIS_MACHINE, THIS_PROCESS},
    announce::Announce,
    census::PeerTally,
    peers::{PeerRecord, Peers},
    table::{Counts, PeerAddress, PeerView},
};
use crate::metainfo::{InfoHash, PeerId};

/// How many more peers than wanted are looked at for a reply, for those that the asker cannot use. A bound, so that an
/// announce costs the same in a swarm of any size.
const SPARE_LOOKS: usize = 32;

/// A leecher gets at least one seeder for this many peers, where there are seeders: in a fresh swarm nothing else helps.
const PEERS_FOR_A_SEEDER: usize = 4;

/// The id of a peer that leaves it out. Two that do are not one.
const NO_ID: PeerId = PeerId([0; 20]);

/// The peers that share one torrent.
#[derive(Debug)]
pub struct Swarm {
    /// What they share.
    pub info_hash: InfoHash,
    v4: Peers<Ipv4Addr>,
    v6: Peers<Ipv6Addr>,
    tally: PeerTally,
    completed: u32,
}

impl Swarm {
    /// A swarm of nobody.
    pub fn new(info_hash: InfoHash) -> Swarm {
        Swarm { info_hash, v4: Peers::default(), v6: Peers::default(), tally: PeerTally::default(), completed: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nobody is left, and nothing worth remembering either.
    pub fn is_forgettable(&self) -> bool {
        self.len() == 0 && self.completed == 0
    }

    /// How many seed, fetch and have fetched.
    pub fn counts(&self) -> Counts {
        Counts {
            complete: (self.v4.seeders() + self.v6.seeders()) as u32,
            incomplete: (self.v4.leechers() + self.v6.leechers()) as u32,
            downloaded: self.completed,
        }
    }

    /// Whether a peer is known at that endpoint.
    pub fn contains(&self, ip: IpAddr, port: u16) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(ip, port),
            IpAddr::V6(ip) => self.v6.contains(ip, port),
        }
    }

    /// How many peers of each origin are in it.
    pub fn tally(&self) -> &PeerTally {
        &self.tally
    }

    /// The address of every peer.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.v4.iter().map(|peer| peer.ip.into()).chain(self.v6.iter().map(|peer| peer.ip.into()))
    }

    /// Takes in an announce.
    pub fn hear(&mut self, asker: &Asker, announce: &Announce, now: u32, interval: u32) {
        let ip = asker.kept_as();
        if !self.contains(ip, announce.port) {
            self.tally.add(asker);
        }
        let completed = match ip {
            IpAddr::V4(ip) => self.v4.hear(ip, announce, now, interval),
            IpAddr::V6(ip) => self.v6.hear(ip, announce, now, interval),
        };
        self.completed = self.completed.saturating_add(u32::from(completed));
    }

    /// Removes a peer that says goodbye; false when there is none of that name at its endpoint.
    pub fn leave(&mut self, ip: IpAddr, port: u16, peer_id: PeerId) -> bool {
        let has_left = match ip {
            IpAddr::V4(ip) => self.v4.leave(ip, port, peer_id),
            IpAddr::V6(ip) => self.v6.leave(ip, port, peer_id),
        };
        if has_left {
            self.tally.remove(ip);
        }
        has_left
    }

    /// Looks at up to `looks` peers and removes those that are gone; true once it has come round.
    pub fn sweep(&mut self, now: u32, looks: &mut usize, mut gone: impl FnMut(IpAddr)) -> bool {
        let tally = &mut self.tally;
        let mut gone = |ip| {
            tally.remove(ip);
            gone(ip);
        };
        self.v4.sweep(now, looks, |ip| gone(ip.into())) && self.v6.sweep(now, looks, |ip| gone(ip.into()))
    }

    /// The peers for the reply to an announce.
    pub fn pick(&self, announce: &Announce, asker: &Asker, now: u32, chance: u64) -> Vec<PeerAddress> {
        let mut picked = Vec::with_capacity(announce.wanted.min(self.len()));
        let pick = Pick { announce, asker, now, chance };
        if asker.is_ipv6() {
            pick.take_from(&self.v6, &mut picked);
            pick.take_from(&self.v4, &mut picked);
        } else {
            pick.take_from(&self.v4, &mut picked);
            pick.take_from(&self.v6, &mut picked);
        }
        picked
    }

    /// Every peer, for people to look at.
    pub fn views(&self) -> impl Iterator<Item = PeerView> + '_ {
        self.v4.iter().map(view).chain(self.v6.iter().map(view))
    }
}

/// One reply's wishes.
struct Pick<'a> {
    announce: &'a Announce,
    asker: &'a Asker,
    now: u32,
    chance: u64,
}

impl Pick<'_> {
    fn take_from<A: Copy + Eq + Hash + Into<IpAddr>>(&self, peers: &Peers<A>, picked: &mut Vec<PeerAddress>) {
        let wanted = self.announce.wanted - picked.len();
        let quota = match self.announce.is_seeder() {
            true => 0,
            false => (wanted / PEERS_FOR_A_SEEDER).max(wanted.saturating_sub(peers.leechers())),
        };
        self.take_usable(peers.some_seeders(quota + SPARE_LOOKS, self.chance), quota, picked);
        let rest = self.announce.wanted - picked.len();
        self.take_usable(peers.some_leechers(rest + SPARE_LOOKS, self.chance.rotate_left(32)), rest, picked);
    }

    /// Takes up to `count` of these.
    fn take_usable<'p, A: Copy + Eq + Hash + Into<IpAddr> + 'p>(
        &self,
        peers: impl Iterator<Item = &'p PeerRecord<A>>,
        count: usize,
        picked: &mut Vec<PeerAddress>,
    ) {
        let full = picked.len() + count;
        for peer in peers {
            if picked.len() == full {
                return;
            }
            let kept = peer.ip.into();
            let is_same_id = peer.peer_id == self.announce.peer_id && peer.peer_id != NO_ID;
            let is_asker = is_same_id || (peer.port == self.announce.port && kept == self.asker.kept_as());
            if is_asker || peer.is_gone(self.now) {
                continue;
            }
            if let Some(ip) = self.asker.dials(kept) {
                picked.push(PeerAddress { address: SocketAddr::new(ip, peer.port), peer_id: peer.peer_id });
            }
        }
    }
}

fn view<A: Copy + Into<IpAddr>>(peer: &PeerRecord<A>) -> PeerView {
    let kept = peer.ip.into();
    let ip = if kept == THIS_PROCESS { THIS_MACHINE } else { kept };
    PeerView {
        address: SocketAddr::new(ip, peer.port),
        peer_id: peer.peer_id,
        left: peer.left,
        uploaded: peer.uploaded,
        downloaded: peer.downloaded,
        seen: Duration::from_secs(peer.seen.into()),
    }
}
