//! The order in which a source gives its pieces: each once before any twice, and never an idle uplink. Pure.
//!
//! While a swarm has only this source, every second copy of a piece that it sends is time lost to all. Left to
//! themselves, fetchers that choose among pieces which nobody else has choose the same ones. So the source shows each
//! peer pieces that it shows no other: a few at a time, more to those that take them faster. It does so with plain
//! `have` messages, which every client understands (BEP 3). BEP 16 goes the same way, but waits until a piece has been
//! seen elsewhere before it shows the next, and its uplink idles meanwhile.
//!
//! The last pieces that nobody has are the ones that matter most: each that is late has to reach everybody from whoever
//! was slow to take it, while all other links idle. So when nothing is left to be shown for the first time and our uplink has
//! nothing to do, whoever has taken all that it was shown is shown what another has not come to yet.
//!
//! Invariant: a piece is shown a second time only when every piece has been seen with some peer, or when whoever it
//! was shown to has left or has not moved for [`PATIENCE`], or once more at the end as just said.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    bitfield::Bitfield,
    chance::Chance,
    metainfo::{Geometry, PieceIndex},
    peer::SessionId,
};

/// Bytes of pieces that a peer is shown ahead of what it has, to begin with. At 100 Mbit/s they last for 80 ms.
const FIRST_LEAD: u64 = 1 << 20;

/// Pieces shown ahead at the least, so that the next one can be asked for while one is under way.
const MIN_LEAD: u32 = 2;

/// Pieces by which the lead of a peer grows with each piece it takes while our uplink idles. Twice what it took: its
/// lead triples in the time that it takes to work through it.
const IDLE_STEP: u32 = 2;

/// How long a peer may sit on what it was shown before others are shown it too.
const PATIENCE: Duration = Duration::from_secs(4);

/// Candidates looked at for the rarest, once everything has been shown.
const SAMPLE: usize = 24;

/// A piece, and the session on which it is to be shown.
pub type Showing = (SessionId, PieceIndex);

/// What one source shows to the peers of one torrent.
#[derive(Debug)]
pub struct Offer {
    geometry: Geometry,
    /// Pieces to be shown for the first time, or again as if it were, next one last; some may have been seen elsewhere
    /// meanwhile.
    fresh: Vec<u32>,
    /// The same as a set: none is to be shown twice.
    is_fresh: Bitfield,
    /// How many of the peers have each piece.
    copies: Vec<u16>,
    /// How many of the peers were shown each piece and have not got it.
    pending: Vec<u16>,
    /// Pieces that were shown for the first time, in that order; some may have been seen meanwhile. What was shown last is
    /// the least likely to be under way.
    shown_once: Vec<u32>,
    /// How many pieces no peer has.
    unseen: u32,
    peers: BTreeMap<SessionId, Shown>,
    chance: Chance,
}

#[derive(Debug)]
struct Shown {
    shown: Bitfield,
    theirs: Bitfield,
    /// Pieces shown that it has not got.
    pending: u32,
    /// Pieces to keep pending.
    lead: u32,
    moved: Instant,
}

impl Offer {
    /// Nobody has been shown anything. `seed` decides the order.
    pub fn new(geometry: &Geometry, seed: u64) -> Offer {
        let count = geometry.piece_count();
        let mut offer = Offer {
            geometry: *geometry,
            fresh: (0..count).collect(),
            is_fresh: Bitfield::full(count),
            copies: vec![0; count as usize],
            pending: vec![0; count as usize],
            shown_once: Vec::new(),
            unseen: count,
            peers: BTreeMap::new(),
            chance: Chance::new(seed),
        };
        for left in (1..offer.fresh.len()).rev() {
            let other = offer.chance.below(left + 1);
            offer.fresh.swap(left, other);
        }
        offer
    }

    /// A peer comes; the first pieces to show it.
    pub fn opened(&mut self, session: SessionId, now: Instant) -> Vec<PieceIndex> {
        let none = Bitfield::empty(self.geometry.piece_count());
        let lead = (FIRST_LEAD / u64::from(self.geometry.piece_length())).max(u64::from(MIN_LEAD)) as u32;
        self.peers.insert(session, Shown { shown: none.clone(), theirs: none, pending: 0, lead, moved: now });
        self.show(session, now)
    }

    /// A peer says what it has; what to show to whom now.
    pub fn has(&mut self, session: SessionId, bits: &Bitfield, now: Instant) -> Vec<Showing> {
        let gained: Vec<_> = bits.iter().filter_map(|index| self.geometry.piece(index)).collect();
        gained.into_iter().for_each(|piece| self.note(session, piece, now));
        self.show_all(now)
    }

    /// A peer has one more piece; what to show to whom now. `idle` says that our uplink has nothing to do.
    pub fn gained(&mut self, session: SessionId, piece: PieceIndex, idle: bool, now: Instant) -> Vec<Showing> {
        self.note(session, piece, now);
        let count = self.geometry.piece_count();
        if let Some(peer) = self.peers.get_mut(&session).filter(|_| idle) {
            peer.lead = (peer.lead + IDLE_STEP).min(count);
        }
        // Once the last piece was seen, everybody may be shown pieces again.
        let mut shown = if self.unseen == 0 { self.show_all(now) } else { self.show_one(session, now) };
        if idle && shown.is_empty() {
            let another = self.next_of_another(session).and_then(|index| self.geometry.piece(index));
            another.iter().for_each(|piece| self.note_shown(session, *piece, now));
            shown.extend(another.map(|piece| (session, piece)));
        }
        shown
    }

    /// A peer leaves. What only it was shown, or had, is shown to others; returns what to whom.
    pub fn closed(&mut self, session: SessionId, now: Instant) -> Vec<Showing> {
        let Some(gone) = self.peers.remove(&session) else { return Vec::new() };
        for index in gone.theirs.iter() {
            let copies = &mut self.copies[index as usize];
            *copies -= 1;
            self.unseen += u32::from(*copies == 0);
        }
        for index in gone.shown.iter().filter(|index| !gone.theirs.get(*index)) {
            self.pending[index as usize] -= 1;
        }
        let lost = gone.shown.iter().chain(gone.theirs.iter());
        let lost: Vec<_> = lost.filter(|index| self.pending[*index as usize] == 0).collect();
        lost.into_iter().for_each(|index| self.renew(index));
        self.show_all(now)
    }

    /// Time passes: what peers sit on is shown to others. Returns what to show to whom.
    pub fn tick(&mut self, now: Instant) -> Vec<Showing> {
        let stuck = |shown: &&mut Shown| shown.pending > 0 && now.saturating_duration_since(shown.moved) > PATIENCE;
        let mut freed = Vec::new();
        for shown in self.peers.values_mut().filter(stuck) {
            shown.moved = now;
            freed.extend(shown.shown.iter().filter(|index| !shown.theirs.get(*index)));
        }
        freed.into_iter().for_each(|index| self.renew(index));
        self.show_all(now)
    }

    /// Blocks are going out to this peer: it is not sitting on what it was shown, however long its pieces take.
    pub fn moves(&mut self, session: SessionId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.moved = now;
        }
    }

    /// Whether this peer has everything.
    pub fn is_done(&self, session: SessionId) -> bool {
        self.peers.get(&session).is_some_and(|shown| shown.theirs.is_full())
    }

    /// What this peer says it has.
    pub fn theirs(&self, session: SessionId) -> Option<&Bitfield> {
        self.peers.get(&session).map(|shown| &shown.theirs)
    }

    /// Whether anybody is here.
    pub fn is_idle(&self) -> bool {
        self.peers.is_empty()
    }

    fn note(&mut self, session: SessionId, piece: PieceIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if !peer.theirs.set(piece.get()) {
            return;
        }
        if peer.shown.get(piece.get()) {
            peer.pending -= 1;
            self.pending[piece.as_usize()] -= 1;
            peer.moved = now;
            // It has nearly run dry, so it takes pieces faster than it was shown them.
            if peer.pending <= peer.lead / 4 {
                peer.lead = peer.lead.saturating_mul(2).min(self.geometry.piece_count());
            }
        }
        let copies = &mut self.copies[piece.as_usize()];
        *copies += 1;
        self.unseen -= u32::from(*copies == 1);
    }

    fn show_all(&mut self, now: Instant) -> Vec<Showing> {
        let sessions: Vec<_> = self.peers.keys().copied().collect();
        sessions.into_iter().flat_map(|session| self.show_one(session, now)).collect()
    }

    fn show_one(&mut self, session: SessionId, now: Instant) -> Vec<Showing> {
        self.show(session, now).into_iter().map(|piece| (session, piece)).collect()
    }

    /// Tops up what a peer has to choose from.
    fn show(&mut self, session: SessionId, now: Instant) -> Vec<PieceIndex> {
        let mut now_shown = Vec::new();
        while let Some(piece) = self.next_for(session).and_then(|index| self.geometry.piece(index)) {
            self.note_shown(session, piece, now);
            now_shown.push(piece);
        }
        now_shown
    }

    fn note_shown(&mut self, session: SessionId, piece: PieceIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if peer.pending == 0 {
            peer.moved = now; // Until now there was nothing that it could have moved on.
        }
        peer.shown.set(piece.get());
        peer.pending += 1;
        self.pending[piece.as_usize()] += 1;
    }

    fn next_for(&mut self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session).filter(|peer| peer.pending < peer.lead && !peer.theirs.is_full())?;
        let wanted = |index: u32| !peer.shown.get(index) && !peer.theirs.get(index);
        while self.fresh.last().is_some_and(|index| self.copies[*index as usize] > 0) {
            self.fresh.pop().map(|index| self.is_fresh.clear(index));
        }
        if let Some(at) = self.fresh.iter().rposition(|index| wanted(*index)) {
            let index = self.fresh.remove(at);
            self.is_fresh.clear(index);
            self.shown_once.push(index);
            return Some(index);
        }
        if self.unseen > 0 {
            return None;
        }
        let start = self.chance.below(self.geometry.piece_count() as usize) as u32;
        self.rarest(session, start)
    }

    /// For a peer that has taken what it was shown: the piece shown last to one that has not.
    fn next_of_another(&mut self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session).filter(|peer| peer.pending == 0)?;
        let is_late = |index: u32| self.copies[index as usize] == 0 && self.pending[index as usize] == 1;
        self.shown_once.retain(|index| is_late(*index));
        let at = self.shown_once.iter().rposition(|index| !peer.shown.get(*index))?;
        Some(self.shown_once.remove(at))
    }

    /// Of some pieces that the peer lacks and was not shown, the one that fewest peers have.
    fn rarest(&self, session: SessionId, start: u32) -> Option<u32> {
        let peer = self.peers.get(&session)?;
        let count = self.geometry.piece_count();
        let round = (start..count).chain(0..start);
        let candidates = round.filter(|index| !peer.shown.get(*index) && !peer.theirs.get(*index)).take(SAMPLE);
        candidates.min_by_key(|index| self.copies[*index as usize])
    }

    /// A piece that nobody has is to be shown as if it never was.
    fn renew(&mut self, index: u32) {
        if self.copies[index as usize] == 0 && self.is_fresh.set(index) {
            self.fresh.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
