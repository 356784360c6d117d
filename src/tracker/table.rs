//! Every swarm that the tracker knows (pure: no clock, no chance, no socket; whoever calls holds the lock).
//!
//! An announce costs the same in a swarm of ten and of a hundred thousand: it finds its peer by hash, copies one
//! stretch of peers, and looks at a fixed number of others for those that are gone. [`SwarmTable::sweep`] does the same
//! for swarms that nobody announces to.
//!
//! Memory is bounded by [`TrackerLimits`]. Where one is reached nobody is pushed out: the newcomer is answered like
//! everyone, so it can dial the others, but is not listed, and the reply says so. There are two that make room for a swarm:
//! one without peers, and a small one whose peers all are of addresses that have far more than their share. So whoever
//! fills the table with swarms that do not exist only pushes out himself.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::{
    address::Asker,
    announce::{Announce, AnnounceEvent},
    census::{Full, PeerCensus, SHARE_OF_ADDRESS, TrackerLimits, room},
    swarm::Swarm,
};
use crate::metainfo::{InfoHash, PeerId};

/// The shortest interval, in seconds: a room finds each other, and the page moves.
pub const MIN_INTERVAL: u32 = 5;

/// The longest interval, in seconds: what public trackers ask for.
pub const MAX_INTERVAL: u32 = 1800;

/// The announces a second that the interval aims at once there are many peers: a few per cent of a small machine.
/// Clients that go by `min interval` can double it.
pub const TARGET_ANNOUNCES: u32 = 100;

/// How many peers an announce looks at for gone ones, in its own swarm and again in all, where a swarm counts as one: more than a
/// swarm and its only peer, so that looking is faster than joining, and no more, because each may lie somewhere else in memory.
const SWEEP_LOOKS: usize = 4;

/// How many swarms are looked at for one that makes room when there are too many.
const SPARE_LOOKS: usize = 64;

/// A swarm of more peers than this never makes room.
const SMALL_SWARM: usize = 8;

/// What an announce is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Seconds that a peer in need of others must wait at least.
    pub min_interval: u32,
    /// The swarm, with the asker in it.
    pub counts: Counts,
    /// Some of the others.
    pub peers: Vec<PeerAddress>,
    /// Why the asker was not added, if it was not.
    pub unlisted: Option<Full>,
}

/// How many are in a swarm (the words are those of BEP 48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Peers that have everything.
    pub complete: u32,
    /// Peers that lack something.
    pub incomplete: u32,
    /// Peers that said, once each, that they got everything.
    pub downloaded: u32,
}

/// A peer to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// Where, as the asker can dial it.
    pub address: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
}

/// A peer as a page shows it; all but the address is by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerView {
    /// Where it announced from, with its port; 127.0.0.1 for every peer on the tracker's machine.
    pub address: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Bytes it lacks; [`LEFT_UNKNOWN`](super::announce::LEFT_UNKNOWN) where it does not say.
    pub left: u64,
    /// Bytes it gave.
    pub uploaded: u64,
    /// Bytes it took.
    pub downloaded: u64,
    /// When it announced last, on the table's clock, in whole seconds.
    pub seen: Duration,
}

/// All swarms. Time is what has passed since any fixed moment.
#[derive(Debug, Default)]
pub struct SwarmTable {
    limits: TrackerLimits,
    swarms: Vec<Swarm>,
    index: HashMap<InfoHash, u32>,
    census: PeerCensus,
    /// The swarm that the next sweep goes on with.
    hand: usize,
}

impl SwarmTable {
    /// A table of nobody.
    pub fn new(limits: TrackerLimits) -> SwarmTable {
        SwarmTable { limits, ..SwarmTable::default() }
    }

    /// Takes in one announce and answers it. `chance` is any random number; it decides who is handed out.
    pub fn announce(&mut self, announce: &Announce, asker: &Asker, now: Duration, chance: u64) -> AnnounceReply {
        self.sweep(now, SWEEP_LOOKS);
        let interval = self.interval();
        let counts = Counts::default();
        let unlisted = asker.is_handed_on().then_some(Full::Proxy);
        let mut reply = AnnounceReply { interval, min_interval: interval / 2, counts, peers: Vec::new(), unlisted };
        let at = match self.find(&announce.info_hash) {
            Some(at) => at,
            None if announce.event == AnnounceEvent::Stopped || asker.is_handed_on() => return reply,
            None => match self.add_swarm(announce.info_hash, asker) {
                Ok(at) => at,
                Err(full) => return AnnounceReply { unlisted: Some(full), ..reply },
            },
        };
        let now = seconds(now);
        let (swarm, census, ip) = (&mut self.swarms[at], &mut self.census, asker.kept_as());
        let mut looks = SWEEP_LOOKS;
        swarm.sweep(now, &mut looks, |ip| census.leave(ip));
        if announce.event == AnnounceEvent::Stopped {
            // Behind a proxy that name could be anybody's.
            if !asker.is_handed_on() && swarm.leave(ip, announce.port, announce.peer_id) {
                census.leave(ip);
            }
        } else {
            let admitted = match () {
                () if asker.is_handed_on() => Err(Full::Proxy),
                () if swarm.contains(ip, announce.port) => Ok(()),
                () => census.join(asker, swarm.len(), swarm.tally(), &self.limits),
            };
            match admitted {
                Ok(()) => swarm.hear(asker, announce, now, interval),
                Err(full) => reply.unlisted = Some(full),
            }
            reply.peers = swarm.pick(announce, asker, now, chance);
        }
        AnnounceReply { counts: swarm.counts(), ..reply }
    }

    /// Whether whoever announces this is listed already.
    pub fn contains(&self, announce: &Announce, asker: &Asker) -> bool {
        self.find(&announce.info_hash).is_some_and(|at| self.swarms[at].contains(asker.kept_as(), announce.port))
    }

    /// Looks at about `looks` peers and swarms, going on from where it last ended, and removes what is gone. Every
    /// announce does a little of it; called now and then with more it keeps a quiet tracker honest.
    pub fn sweep(&mut self, now: Duration, mut looks: usize) {
        while looks > 0 && !self.swarms.is_empty() {
            looks -= 1;
            self.hand %= self.swarms.len();
            let census = &mut self.census;
            let swarm = &mut self.swarms[self.hand];
            if swarm.sweep(seconds(now), &mut looks, |ip| census.leave(ip)) {
                if swarm.is_forgettable() {
                    self.remove_swarm(self.hand);
                } else {
                    self.hand += 1;
                }
            }
        }
    }

    /// How many are in a swarm, as a scrape tells it.
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.find(info_hash).map(|at| self.swarms[at].counts()).unwrap_or_default()
    }

    /// Every peer of a swarm.
    pub fn peers(&self, info_hash: &InfoHash) -> impl Iterator<Item = PeerView> + '_ {
        self.find(info_hash).into_iter().flat_map(|at| self.swarms[at].views())
    }

    /// How many peers there are in all swarms.
    pub fn peer_count(&self) -> usize {
        self.census.peers()
    }

    /// How many swarms are known.
    pub fn swarm_count(&self) -> usize {
        self.swarms.len()
    }

    /// Seconds between two announces of one peer: short while few are here, then so long that all of them together
    /// make [`TARGET_ANNOUNCES`]. What one address makes up slows nobody down.
    fn interval(&self) -> u32 {
        (self.census.within_share() as u32 / TARGET_ANNOUNCES).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    fn find(&self, info_hash: &InfoHash) -> Option<usize> {
        self.index.get(info_hash).map(|at| *at as usize)
    }

    fn add_swarm(&mut self, info_hash: InfoHash, asker: &Asker) -> Result<usize, Full> {
        if self.swarms.len() >= room(self.limits.swarms, asker) {
            let spare = self.spare_swarm(asker).ok_or(Full::Swarms(self.limits.swarms))?;
            self.swarms[spare].addresses().for_each(|ip| self.census.leave(ip));
            self.remove_swarm(spare);
        }
        let at = self.swarms.len();
        self.swarms.push(Swarm::new(info_hash));
        self.index.insert(info_hash, at as u32);
        Ok(at)
    }

    /// A swarm that makes room for one of the asker's: an empty one, or one of those who have more than their share.
    fn spare_swarm(&mut self, asker: &Asker) -> Option<usize> {
        let count = self.swarms.len();
        let most = SHARE_OF_ADDRESS.max(2 * self.census.weight(asker.kept_as()));
        let has_too_much = |ip| self.census.weight(ip) > most;
        let is_greedy = |swarm: &Swarm| swarm.len() <= SMALL_SWARM && swarm.addresses().all(has_too_much);
        let looks = || (0..SPARE_LOOKS.min(count)).map(|step| (self.hand + step) % count);
        let empty = looks().find(|at| self.swarms[*at].len() == 0);
        let spare = empty.or_else(|| looks().find(|at| is_greedy(&self.swarms[*at])));
        // The next one looks at others.
        self.hand += SPARE_LOOKS;
        spare
    }

    fn remove_swarm(&mut self, at: usize) {
        let swarm = self.swarms.swap_remove(at);
        self.index.remove(&swarm.info_hash);
        if let Some(moved) = self.swarms.get(at) {
            self.index.insert(moved.info_hash, at as u32);
        }
    }
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
