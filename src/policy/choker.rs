//! Upload slots: whom we let ask (BEP 3, "choking"). Pure.
//!
//! Invariant: at most `limit` peers are unchoked, and while one waits that wants to be, exactly `limit` are. In a room
//! that means everybody: a slot is only withheld where there are more peers than slots. Then, every
//! `ROTATION`, those that upload most to us keep theirs and the rest of the slots go round, so that each is served. Whoever does
//! not use a slot loses it at once to one that waits, and waits the longer the more often that has happened.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{SendOrder, SessionId};

/// How many peers are served at once. Each costs a run of blocks in memory while it is served.
pub const DEFAULT_UPLOAD_SLOTS: usize = 64;

/// How long a slot is kept at the least while others wait (BEP 3 suggests ten seconds).
const ROTATION: Duration = Duration::from_secs(10);

/// How long a slot may lie idle while others wait: longer than a choked peer takes to ask again.
const UNUSED: Duration = Duration::from_secs(3);

/// How far back in the line a peer goes for each time that it left a slot unused, and how far at most.
const SET_BACK: Duration = Duration::from_secs(10);
const MAX_SET_BACKS: u32 = 6;

/// How long a peer may leave unsaid whether it is interested. From then on it may have a slot that nobody else wants.
const UNSAID: Duration = Duration::from_secs(1);

/// Of the slots, the part that those which upload to us keep: three of four; the rest go round.
const KEPT: (usize, usize) = (3, 4);

/// Who is unchoked, and who waits.
#[derive(Debug)]
pub struct Choker {
    limit: usize,
    peers: BTreeMap<SessionId, ChokerPeer>,
    rotated: Instant,
}

#[derive(Debug, Clone, Copy)]
struct ChokerPeer {
    interest: Interest,
    unchoked: bool,
    /// When its slot was granted or taken last; while it waits, its place in the line, which may lie ahead.
    since: Instant,
    /// Bytes it had uploaded to us at the last rotation.
    downloaded: u64,
    /// Bytes it had taken from us when that was looked at last, and when they last were more than before.
    uploaded: u64,
    used: Instant,
    /// How often in a row it left a slot unused.
    wasted: u32,
}

/// Whether a peer wants something from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// It has said nothing yet.
    Unsaid,
    /// It still says nothing. It gets a slot that lies idle, and loses it to whoever says that it wants one.
    Assumed,
    /// It says so, or asks for blocks.
    Said,
    /// It says that it does not.
    Denied,
}

/// A peer whose slot is granted, or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChokeChange {
    /// It may ask from now on.
    Unchoke(SessionId),
    /// It may not.
    Choke(SessionId),
}

impl ChokeChange {
    /// What to tell whom.
    pub fn order(self) -> (SessionId, SendOrder) {
        match self {
            ChokeChange::Unchoke(id) => (id, SendOrder::Unchoke),
            ChokeChange::Choke(id) => (id, SendOrder::Choke),
        }
    }
}

impl Choker {
    /// No peer yet.
    pub fn new(limit: usize, now: Instant) -> Choker {
        Choker { limit, peers: BTreeMap::new(), rotated: now }
    }

    /// A session begins, choked (BEP 3).
    pub fn opened(&mut self, session: SessionId, now: Instant) {
        let interest = Interest::Unsaid;
        let new =
            ChokerPeer { interest, unchoked: false, since: now, downloaded: 0, uploaded: 0, used: now, wasted: 0 };
        self.peers.insert(session, new);
    }

    /// A session is over; its slot goes to the next.
    pub fn closed(&mut self, session: SessionId, now: Instant) -> Vec<ChokeChange> {
        self.peers.remove(&session);
        self.fill(now)
    }

    /// A peer wants something from us, or no longer does.
    pub fn interested(&mut self, session: SessionId, interested: bool, now: Instant) -> Vec<ChokeChange> {
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.interest = if interested { Interest::Said } else { Interest::Denied };
        }
        self.fill(now)
    }

    /// Whether this peer is unchoked.
    pub fn is_unchoked(&self, session: SessionId) -> bool {
        self.peers.get(&session).is_some_and(|peer| peer.unchoked)
    }

    /// How many are unchoked.
    pub fn in_use(&self) -> usize {
        self.peers.values().filter(|peer| peer.unchoked).count()
    }

    /// How many want to be and are not.
    pub fn waiting(&self) -> usize {
        self.peers.values().filter(|peer| peer.waits()).count()
    }

    /// Lets waiting peers have their turn, once a rotation. `downloaded` tells how many bytes a peer has uploaded to us in all.
    pub fn rotate(&mut self, now: Instant, downloaded: impl Fn(SessionId) -> u64) -> Vec<ChokeChange> {
        if now.saturating_duration_since(self.rotated) < ROTATION {
            return Vec::new();
        }
        self.rotated = now;
        let mut turn: Vec<(SessionId, u64, Instant)> = Vec::new();
        for (id, peer) in &mut self.peers {
            let total = downloaded(*id);
            if peer.unchoked {
                turn.push((*id, total - peer.downloaded.min(total), peer.since));
            }
            peer.downloaded = total;
        }
        // Those that uploaded least to us go first, and of those the ones that had their slot for longest.
        turn.sort_by_key(|(_, downloaded, since)| (*downloaded, *since));
        let keep = self.limit * KEPT.0 / KEPT.1;
        let useless = turn.iter().filter(|(_, downloaded, _)| *downloaded == 0).count();
        let in_line = self.peers.values().filter(|peer| peer.waits() && peer.since <= now).count();
        let free = turn.len().saturating_sub(keep).max(useless).min(in_line);
        let mut changes: Vec<_> = turn[..free].iter().map(|(id, ..)| self.choke(*id, now)).collect();
        changes.extend(self.fill(now));
        changes
    }

    /// Takes slots that lie idle from those that hold them, while others wait, and grants those that nobody wants to peers that
    /// do not say whether they do. `taken` tells how many bytes a peer has taken from us in all.
    pub fn take_unused(&mut self, now: Instant, taken: impl Fn(SessionId) -> u64) -> Vec<ChokeChange> {
        let unsaid = self.peers.values_mut().filter(|peer| peer.interest == Interest::Unsaid);
        for peer in unsaid.filter(|peer| now.saturating_duration_since(peer.since) >= UNSAID) {
            peer.interest = Interest::Assumed;
        }
        let mut idle = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.unchoked) {
            let total = taken(*id);
            if total > peer.uploaded {
                (peer.uploaded, peer.used, peer.wasted) = (total, now, 0);
            } else if now.saturating_duration_since(peer.used.max(peer.since)) >= UNUSED {
                idle.push(*id);
            }
        }
        idle.truncate(self.waiting());
        let mut changes = Vec::new();
        for id in idle {
            changes.push(self.choke(id, now));
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.wasted = (peer.wasted + 1).min(MAX_SET_BACKS);
                peer.since = now + SET_BACK * peer.wasted;
            }
        }
        changes.extend(self.fill(now));
        changes
    }

    fn choke(&mut self, session: SessionId, now: Instant) -> ChokeChange {
        let peer = self.peers.get_mut(&session).expect("only peers that are there are choked");
        (peer.unchoked, peer.since) = (false, now);
        ChokeChange::Choke(session)
    }

    /// Grants slots to the peers that have waited longest, while there are both.
    fn fill(&mut self, now: Instant) -> Vec<ChokeChange> {
        let mut changes = Vec::new();
        while let Some(next) = self.longest_waiting(ChokerPeer::waits) {
            if self.in_use() >= self.limit {
                // A slot whose holder does not say that it wants it is as good as free.
                let idle = self.peers.iter().find(|(_, peer)| peer.unchoked && peer.interest != Interest::Said);
                let Some(idle) = idle.map(|(id, _)| *id) else { break };
                changes.push(self.choke(idle, now));
            }
            changes.push(self.unchoke(next, now));
        }
        while self.in_use() < self.limit {
            let silent = |peer: &ChokerPeer| peer.interest == Interest::Assumed && !peer.unchoked;
            let Some(next) = self.longest_waiting(silent) else { break };
            changes.push(self.unchoke(next, now));
        }
        changes
    }

    fn unchoke(&mut self, session: SessionId, now: Instant) -> ChokeChange {
        let peer = self.peers.get_mut(&session).expect("only peers that are there are unchoked");
        (peer.unchoked, peer.since) = (true, now);
        ChokeChange::Unchoke(session)
    }

    fn longest_waiting(&self, waits: impl Fn(&ChokerPeer) -> bool) -> Option<SessionId> {
        let waiting = self.peers.iter().filter(|(_, peer)| waits(peer));
        waiting.min_by_key(|(_, peer)| peer.since).map(|(id, _)| *id)
    }
}

impl ChokerPeer {
    /// Whether it says that it wants a slot, and has none.
    fn waits(&self) -> bool {
        self.interest == Interest::Said && !self.unchoked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SessionId {
        SessionId(number)
    }

    fn room(limit: usize, peers: u64, start: Instant) -> Choker {
        let mut choker = Choker::new(limit, start);
        for number in 0..peers {
            choker.opened(id(number), start);
            choker.interested(id(number), true, start);
        }
        choker
    }

    #[test]
    fn in_a_room_everybody_who_is_interested_is_unchoked_at_once() {
        let start = Instant::now();
        let mut choker = Choker::new(8, start);
        choker.opened(id(1), start);
        assert_eq!(choker.in_use(), 0);
        assert_eq!(choker.interested(id(1), true, start), [ChokeChange::Unchoke(id(1))]);
        assert_eq!(choker.interested(id(1), true, start), []);
        assert_eq!((choker.in_use(), choker.waiting()), (1, 0));
    }

    #[test]
    fn the_slot_of_one_that_leaves_goes_to_the_next() {
        let start = Instant::now();
        let mut choker = room(2, 3, start);
        assert_eq!((choker.in_use(), choker.waiting()), (2, 1));
        assert_eq!(choker.closed(id(0), start), [ChokeChange::Unchoke(id(2))]);
        choker.opened(id(3), start);
        assert_eq!(choker.interested(id(3), true, start), []);
        assert_eq!(choker.interested(id(1), false, start), [ChokeChange::Choke(id(1)), ChokeChange::Unchoke(id(3))]);
    }

    #[test]
    fn in_a_crowd_everybody_has_a_turn() {
        let start = Instant::now();
        let mut choker = room(4, 20, start);
        let mut served = std::collections::BTreeSet::from([id(0), id(1), id(2), id(3)]);
        for turn in 1..=5 {
            for change in choker.rotate(start + ROTATION * turn, |_| 0) {
                if let ChokeChange::Unchoke(id) = change {
                    served.insert(id);
                }
            }
            assert_eq!(choker.in_use(), 4);
        }
        assert_eq!(served.len(), 20);
        assert!(choker.rotate(start + ROTATION * 5, |_| 0).is_empty());
    }

    #[test]
    fn who_gives_to_us_keeps_its_slot() {
        let start = Instant::now();
        let mut choker = room(4, 8, start);
        let changes = choker.rotate(start + ROTATION, |session| if session.0 < 3 { 1000 + session.0 } else { 0 });
        assert_eq!(changes, [ChokeChange::Choke(id(3)), ChokeChange::Unchoke(id(4))]);
    }

    #[test]
    fn who_leaves_its_slot_unused_loses_it_and_does_not_come_before_those_that_use_theirs() {
        let start = Instant::now();
        // Twenty that never take anything, and one that comes last and does.
        let mut choker = room(4, 20, start);
        choker.opened(id(99), start);
        choker.interested(id(99), true, start);
        let (mut served, mut first) = (0, None);
        for second in 1..=120 {
            let now = start + Duration::from_secs(second);
            let taken = |session| if session == id(99) { second } else { 0 };
            choker.rotate(now, |_| 0);
            choker.take_unused(now, taken);
            assert_eq!(choker.in_use(), 4);
            if choker.peers[&id(99)].unchoked {
                served += 1;
                first.get_or_insert(second);
            }
        }
        assert!(first.unwrap() <= 15, "it waited for {first:?} s");
        assert!(served >= 90, "it was served for {served} of 120 s");
    }

    #[test]
    fn who_never_says_whether_it_is_interested_gets_a_slot_that_nobody_wants() {
        let start = Instant::now();
        let mut choker = room(2, 1, start);
        choker.opened(id(1), start);
        choker.opened(id(2), start);
        choker.interested(id(2), false, start);
        assert_eq!(choker.take_unused(start + UNSAID / 2, |_| 0), []);
        let later = start + UNSAID;
        assert_eq!(
            choker.take_unused(later, |_| 0),
            [ChokeChange::Unchoke(id(1))],
            "and one that is not interested gets none"
        );
        choker.opened(id(3), later);
        assert_eq!(choker.interested(id(3), true, later), [ChokeChange::Choke(id(1)), ChokeChange::Unchoke(id(3))]);
        assert_eq!(choker.closed(id(0), later), [ChokeChange::Unchoke(id(1))]);
        // It asks for a block, so it wants the slot.
        assert_eq!(choker.interested(id(1), true, later), []);
        choker.opened(id(4), later);
        assert_eq!(choker.interested(id(4), true, later), []);
        assert_eq!(choker.waiting(), 1);
    }
}
