//! The peers of one swarm in one address family (pure).
//!
//! All of them lie in one dense list, the seeders first, so that counting is a subtraction and picking peers for a
//! reply is copying a stretch of memory. An index finds a peer by its *endpoint*, address and port: one endpoint is one
//! listener, so a client that was killed and started anew takes the place of its former self, and a peer id that is
//! announced from elsewhere touches nobody.
//!
//! Invariants: `list[..seeders]` lack nothing and the rest lack something; `index` holds exactly the endpoints of
//! `list`, each with its place.

use std::{collections::HashMap, hash::Hash};

use super::announce::{Announce, AnnounceEvent, LEFT_UNKNOWN};
use crate::metainfo::PeerId;

/// How long a peer may stay silent that has not shown that it keeps to our interval, in seconds. libtorrent announces
/// every 300 s at most, whatever interval it is given; this is a bit over twice that.
const PATIENCE: u32 = 660;

/// What is added to twice the interval before a peer counts as gone, in seconds: a slow link, a busy tracker.
const SLACK: u32 = 10;

/// A list is given back memory once less than one part in this is used.
const SHRINK_BELOW: usize = 4;

/// Lists below this length are not worth shrinking, unless nobody is left: a torrent that everybody has fetched and left is
/// remembered for its count alone.
const SHRINK_FROM: usize = 64;

/// What is known of one peer: 64 bytes for IPv4.
#[derive(Debug, Clone)]
pub struct PeerRecord<A> {
    /// Where it is reached: the address it announced from.
    pub ip: A,
    /// The port it announced.
    pub port: u16,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Bytes it lacks, by its own account.
    pub left: u64,
    /// Bytes it gave, by its own account.
    pub uploaded: u64,
    /// Bytes it took, by its own account.
    pub downloaded: u64,
    /// When it announced last, in seconds.
    pub seen: u32,
    /// How long it may stay silent from then, in seconds; 0 before its first announce.
    patience: u16,
    /// Whether it has come back in time for our interval.
    is_prompt: bool,
    has_completed: bool,
}

/// One family's peers.
#[derive(Debug)]
pub struct Peers<A> {
    list: Vec<PeerRecord<A>>,
    seeders: usize,
    index: HashMap<(A, u16), u32>,
    /// Where the next look for gone peers begins.
    hand: usize,
}

impl<A: Copy + Eq + Hash> PeerRecord<A> {
    fn new(ip: A, port: u16, peer_id: PeerId, now: u32) -> PeerRecord<A> {
        let (left, uploaded, downloaded) = (LEFT_UNKNOWN, 0, 0);
        let (seen, patience, is_prompt, has_completed) = (now, 0, false, false);
        PeerRecord { ip, port, peer_id, left, uploaded, downloaded, seen, patience, is_prompt, has_completed }
    }

    /// Takes in an announce; true when it is the first that says completed.
    fn hear(&mut self, announce: &Announce, now: u32, interval: u32) -> bool {
        let due = 2 * interval + SLACK;
        let gap = now.saturating_sub(self.seen);
        // Events come at any moment and so does an announce over a second interface: neither tells a rhythm.
        if announce.event == AnnounceEvent::Regular && self.patience > 0 && gap >= interval / 2 {
            self.is_prompt = gap <= due;
        }
        let patience = if self.is_prompt { due } else { due.max(PATIENCE) };
        self.patience = u16::try_from(patience).unwrap_or(u16::MAX);
        self.seen = now;
        (self.left, self.uploaded, self.downloaded) = (announce.left, announce.uploaded, announce.downloaded);
        let completes = announce.event == AnnounceEvent::Completed && announce.is_seeder() && !self.has_completed;
        self.has_completed |= completes;
        completes
    }

    /// Whether it has been silent for too long.
    pub fn is_gone(&self, now: u32) -> bool {
        now.saturating_sub(self.seen) > u32::from(self.patience)
    }
}

impl<A: Copy + Eq + Hash> Default for Peers<A> {
    fn default() -> Peers<A> {
        Peers { list: Vec::new(), seeders: 0, index: HashMap::new(), hand: 0 }
    }
}

impl<A: Copy + Eq + Hash> Peers<A> {
    /// How many have everything.
    pub fn seeders(&self) -> usize {
        self.seeders
    }

    /// How many lack something.
    pub fn leechers(&self) -> usize {
        self.list.len() - self.seeders
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Every peer.
    pub fn iter(&self) -> impl Iterator<Item = &PeerRecord<A>> {
        self.list.iter()
    }

    /// Whether a peer is known at that endpoint.
    pub fn contains(&self, ip: A, port: u16) -> bool {
        self.index.contains_key(&(ip, port))
    }

    /// Takes in an announce from `ip`, adding the peer where it is new; true when it completed just now.
    pub fn hear(&mut self, ip: A, announce: &Announce, now: u32, interval: u32) -> bool {
        let newcomer = PeerRecord::new(ip, announce.port, announce.peer_id, now);
        let at = match self.index.get(&(ip, announce.port)) {
            Some(at) => *at as usize,
            None => self.push(newcomer.clone()),
        };
        let record = &mut self.list[at];
        if record.peer_id != announce.peer_id {
            *record = newcomer;
        }
        let completed = record.hear(announce, now, interval);
        self.settle(at);
        completed
    }

    /// Removes the peer at that endpoint, if it still goes by that name: a late goodbye must not remove a successor.
    pub fn leave(&mut self, ip: A, port: u16, peer_id: PeerId) -> bool {
        let at = self.index.get(&(ip, port)).map(|at| *at as usize);
        let at = at.filter(|at| self.list[*at].peer_id == peer_id);
        at.map(|at| self.remove(at)).is_some()
    }

    /// Looks at up to `looks` peers, from where the last look ended, and removes those that are gone. True once it
    /// has come round; what it did not use of `looks` is left in there.
    pub fn sweep(&mut self, now: u32, looks: &mut usize, mut gone: impl FnMut(A)) -> bool {
        while let Some(record) = self.list.get(self.hand) {
            if *looks == 0 {
                return false;
            }
            *looks -= 1;
            if record.is_gone(now) {
                gone(record.ip);
                self.remove(self.hand);
            } else {
                self.hand += 1;
            }
        }
        self.hand = 0;
        true
    }

    /// Up to `count` seeders from a place that `chance` names, wrapping around.
    pub fn some_seeders(&self, count: usize, chance: u64) -> impl Iterator<Item = &PeerRecord<A>> {
        window(&self.list[..self.seeders], count, chance)
    }

    /// Up to `count` leechers from a place that `chance` names, wrapping around.
    pub fn some_leechers(&self, count: usize, chance: u64) -> impl Iterator<Item = &PeerRecord<A>> {
        window(&self.list[self.seeders..], count, chance)
    }

    fn push(&mut self, record: PeerRecord<A>) -> usize {
        let at = self.list.len();
        if at == self.list.capacity() {
            // An eighth more each time, where Vec would double: the memory of a peer is promised.
            self.list.reserve_exact(at / 8 + 4);
        }
        self.list.push(record);
        self.reindex(at);
        at
    }

    /// Moves the peer at `at` to the side of the list where it belongs.
    fn settle(&mut self, at: usize) {
        let (is_seeder, is_among_seeders) = (self.list[at].left == 0, at < self.seeders);
        if is_seeder && !is_among_seeders {
            self.swap(at, self.seeders);
            self.seeders += 1;
        } else if !is_seeder && is_among_seeders {
            self.seeders -= 1;
            self.swap(at, self.seeders);
        }
    }

    fn remove(&mut self, mut at: usize) {
        if at < self.seeders {
            self.seeders -= 1;
            self.swap(at, self.seeders);
            at = self.seeders;
        }
        let record = self.list.swap_remove(at);
        self.index.remove(&(record.ip, record.port));
        if at < self.list.len() {
            self.reindex(at);
        }
        let (used, held) = (self.list.len(), self.list.capacity());
        if used == 0 || held > SHRINK_FROM && used < held / SHRINK_BELOW {
            self.list.shrink_to(used * 2);
            self.index.shrink_to(used * 2);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            self.list.swap(a, b);
            self.reindex(a);
            self.reindex(b);
        }
    }

    fn reindex(&mut self, at: usize) {
        let record = &self.list[at];
        self.index.insert((record.ip, record.port), at as u32);
    }
}

fn window<T>(list: &[T], count: usize, chance: u64) -> impl Iterator<Item = &T> {
    let start = (chance % list.len().max(1) as u64) as usize;
    list[start..].iter().chain(&list[..start]).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::InfoHash;
    use proptest::prelude::*;

    const INTERVAL: u32 = 5;
    const DUE: u32 = 2 * INTERVAL + SLACK;

    fn announce(port: u16, left: u64, event: AnnounceEvent) -> Announce {
        let (info_hash, peer_id) = (InfoHash([0; 20]), PeerId([port as u8; 20]));
        Announce { info_hash, peer_id, port, uploaded: 0, downloaded: 0, left, event, wanted: 50 }
    }

    fn is_gone_at(peers: &mut Peers<u8>, now: u32) -> bool {
        let before = peers.list.len();
        peers.sweep(now, &mut 1000, |_| {});
        peers.list.len() < before
    }

    impl<A: Copy + Eq + Hash> Peers<A> {
        fn check(&self) {
            assert!(self.list[..self.seeders].iter().all(|record| record.left == 0));
            assert!(self.list[self.seeders..].iter().all(|record| record.left != 0));
            assert_eq!(self.index.len(), self.list.len());
            for (at, record) in self.list.iter().enumerate() {
                assert_eq!(self.index[&(record.ip, record.port)], at as u32);
            }
        }
    }

    #[test]
    fn a_record_of_ipv4_takes_64_bytes() {
        assert_eq!(size_of::<PeerRecord<std::net::Ipv4Addr>>(), 64);
    }

    #[test]
    fn a_peer_that_keeps_to_the_interval_goes_a_bit_over_twice_of_it_later() {
        let mut peers = Peers::default();
        peers.hear(1, &announce(1, 9, AnnounceEvent::Started), 0, INTERVAL);
        peers.hear(1, &announce(1, 9, AnnounceEvent::Regular), 5, INTERVAL);
        assert!(!is_gone_at(&mut peers, 5 + DUE));
        assert!(is_gone_at(&mut peers, 5 + DUE + 1));
    }

    #[test]
    fn a_peer_that_announces_in_its_own_time_is_waited_for() {
        let mut peers = Peers::default();
        peers.hear(1, &announce(1, 9, AnnounceEvent::Started), 0, INTERVAL);
        peers.hear(1, &announce(1, 0, AnnounceEvent::Completed), 3, INTERVAL);
        peers.hear(1, &announce(1, 0, AnnounceEvent::Regular), 303, INTERVAL);
        peers.hear(1, &announce(1, 0, AnnounceEvent::Regular), 303, INTERVAL);
        assert!(!is_gone_at(&mut peers, 303 + PATIENCE));
        assert!(is_gone_at(&mut peers, 303 + PATIENCE + 1));
    }

    #[test]
    fn a_client_started_anew_takes_its_former_place_and_a_late_goodbye_is_not_its_own() {
        let mut peers = Peers::default();
        let old = announce(1, 0, AnnounceEvent::Started);
        let new = Announce { peer_id: PeerId([9; 20]), left: 5, ..old };
        peers.hear(1, &old, 0, INTERVAL);
        peers.hear(1, &new, 1, INTERVAL);
        assert_eq!((peers.seeders(), peers.leechers()), (0, 1));
        assert!(!peers.leave(1, 1, old.peer_id));
        assert!(peers.leave(1, 1, new.peer_id));
        assert!(!peers.leave(1, 1, new.peer_id));
    }

    #[test]
    fn a_peer_id_from_another_address_touches_nobody() {
        let mut peers = Peers::default();
        let mine = announce(1, 0, AnnounceEvent::Started);
        peers.hear(1, &mine, 0, INTERVAL);
        peers.hear(2, &Announce { left: 7, ..mine }, 0, INTERVAL);
        assert_eq!((peers.seeders(), peers.leechers()), (1, 1));
        peers.leave(2, 1, mine.peer_id);
        assert!(peers.contains(1, 1));
    }

    #[test]
    fn memory_is_given_back() {
        let mut peers = Peers::default();
        for port in 1..=1000 {
            peers.hear(1, &announce(port, 0, AnnounceEvent::Started), 0, INTERVAL);
        }
        assert!(peers.list.capacity() <= 1000 * 9 / 8 + 4);
        for port in 1..=999 {
            assert!(peers.leave(1, port, announce(port, 0, AnnounceEvent::Stopped).peer_id));
        }
        assert!(peers.list.capacity() <= SHRINK_FROM && peers.index.capacity() <= 2 * SHRINK_FROM);
        while !peers.sweep(PATIENCE + 1, &mut 100, |_| {}) {}
        assert_eq!((peers.list.capacity(), peers.index.capacity()), (0, 0), "nobody takes nothing");
    }

    proptest! {
        #[test]
        fn the_list_its_sides_and_its_index_always_agree(
            steps in prop::collection::vec((0u8..4, 1u16..12, 0u64..3, 0u8..4, 0u32..400), 0..120),
        ) {
            let mut peers = Peers::default();
            let mut now = 0;
            for (ip, port, left, what, wait) in steps {
                now += wait;
                match what {
                    0 => peers.leave(ip, port, PeerId([port as u8; 20])),
                    1 => peers.sweep(now, &mut 5, |_| {}),
                    _ => peers.hear(ip, &announce(port, left, AnnounceEvent::Regular), now, INTERVAL),
                };
                peers.check();
            }
            // The first round only ends the one that was under way.
            for _ in 0..2 {
                while !peers.sweep(now + PATIENCE + 1, &mut 3, |_| {}) { peers.check() }
            }
            prop_assert!(peers.list.is_empty());
        }
    }
}
