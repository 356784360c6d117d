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
//! What a peer says it has (`have`) tells what the swarm has. But a peer may leave that out: rqbit says nothing of a piece that we
//! have shown, libtorrent neither with `send_redundant_have` off. So how far a peer has come with what it was shown is told
//! by what we have sent it ourselves, and no peer waits to be shown more because it says nothing. A piece that was sent and
//! that nobody says to have is unconfirmed: it is left to its receiver to spread for `PATIENCE`, and then shown to others
//! as if it never was. Until a receiver's pieces are confirmed it is shown only a few that count as its own. After those it is
//! shown pieces whose first showing to others comes last, and they keep their turn: it gets from us what it cannot get from
//! others yet, as any peer does, and costs the others nothing but its own copy.
//!
//! A peer that says nothing may have got elsewhere what it was shown. What it still wants is told by what it asks for: when it
//! has no request open with us ([`SuperSeeding::look`]), it is shown more.
//!
//! Invariant: a piece is shown a second time only when every piece has been seen with some peer, or when whoever it
//! was shown to has left, has not moved for `PATIENCE` or has not spread it in that time; or to a peer whose pieces
//! are not confirmed; or once more at the end as just said.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    bitfield::Bitfield,
    chance::Chance,
    metainfo::{Geometry, PieceIndex},
    policy::SessionId,
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

/// How long a peer that says nothing of what it is sent may sit on what it was shown, before it is shown more: it may have got
/// that from others. What nobody has is not shown to it then.
const SILENT_PATIENCE: Duration = Duration::from_millis(500);

/// How often to look whether peers that say nothing still ask for what they were shown; and how long they may take to ask.
pub const LOOK: Duration = Duration::from_millis(50);

/// A peer that was sent so many pieces and has said nothing since counts as one that says nothing.
const SILENT_AFTER: u32 = 3;

/// Candidates looked at for the rarest, once everything has been shown.
const SAMPLE: usize = 24;

/// A piece, and the session on which it is to be shown.
pub type Showing = (SessionId, PieceIndex);

/// What one source shows to the peers of one torrent.
#[derive(Debug)]
pub struct SuperSeeding {
    geometry: Geometry,
    /// Pieces to be shown for the first time, or again as if it were, next one last; some may have been seen elsewhere
    /// meanwhile.
    fresh: Vec<u32>,
    /// The same as a set: none is to be shown twice.
    is_fresh: Bitfield,
    /// How many of the peers have each piece.
    copies: Vec<u16>,
    /// How many of the peers were shown each piece and do not say that they have it.
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
    /// What it says it has.
    theirs: Bitfield,
    /// Pieces that nothing more is expected of: it says it has them, or was sent every block, or has let them lie for too long.
    settled: Bitfield,
    /// Pieces shown that are not settled.
    pending: u32,
    /// Pieces that it was sent and nobody says to have, and since when.
    unconfirmed: BTreeMap<u32, Instant>,
    standing: Standing,
    /// Pieces that it was sent since it last said anything of its own.
    unsaid: u32,
    /// Whether it has let pieces lie that it was shown, and has taken none since.
    is_sitting: bool,
    /// Pieces to keep pending.
    lead: u32,
    /// The same of pieces that others have, where that is more: it says nothing and sits on what it was shown, so it may have got
    /// much of that elsewhere.
    reach: u32,
    moved: Instant,
    /// When it was shown something last.
    told: Instant,
}

/// What has become of the pieces that a peer was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing is known yet.
    New,
    /// It says that it has them, or others got them from it.
    Confirmed,
    /// Nobody says anything of them.
    Unconfirmed,
}

impl SuperSeeding {
    /// Nobody has been shown anything. `seed` decides the order.
    pub fn new(geometry: &Geometry, seed: u64) -> SuperSeeding {
        let count = geometry.piece_count();
        let mut offer = SuperSeeding {
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
        let new = Shown {
            shown: none.clone(),
            theirs: none.clone(),
            settled: none,
            pending: 0,
            unconfirmed: BTreeMap::new(),
            standing: Standing::New,
            unsaid: 0,
            is_sitting: false,
            lead: self.first_lead(),
            reach: 0,
            moved: now,
            told: now,
        };
        self.peers.insert(session, new);
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
        let is_news = self.peers.get(&session).is_some_and(|peer| !peer.settled.get(piece.get()));
        self.note(session, piece, now);
        // Once the last piece was seen, everybody may be shown pieces again.
        if self.unseen == 0 { self.show_all(now) } else { self.go_on(session, is_news && idle, idle, now) }
    }

    /// Every block of a piece has been sent to a peer; what to show it now. It need not say that it has the piece.
    pub fn sent(&mut self, session: SessionId, piece: PieceIndex, idle: bool, now: Instant) -> Vec<Showing> {
        let index = piece.get();
        let Some(peer) = self.peers.get_mut(&session).filter(|peer| !peer.theirs.get(index)) else { return Vec::new() };
        if peer.shown.set(index) {
            // It has asked for what it was not shown.
            peer.pending += 1;
            self.pending[piece.as_usize()] += 1;
        }
        if self.copies[piece.as_usize()] == 0 {
            peer.unconfirmed.insert(index, now);
        }
        (peer.moved, peer.is_sitting) = (now, false);
        peer.unsaid = peer.unsaid.saturating_add(1);
        let is_news = peer.settle(index, self.geometry.piece_count());
        self.go_on(session, is_news && idle, idle, now)
    }

    /// Whether there are peers for whose sake [`SuperSeeding::look`] is to be called after [`LOOK`].
    pub fn needs_look(&self) -> bool {
        self.peers.values().any(|peer| peer.is_silent() && (peer.pending > 0 || !peer.unconfirmed.is_empty()))
    }

    /// Looks at what peers ask for that say nothing of what they have. `asks` tells whether a peer has requests open with us.
    /// Returns what to show to whom.
    pub fn look(&mut self, idle: bool, asks: impl Fn(SessionId) -> bool, now: Instant) -> Vec<Showing> {
        let is_silent = |peer: &Shown| peer.is_silent() && now.saturating_duration_since(peer.told) >= LOOK;
        let free = self.peers.iter().filter(|(id, peer)| is_silent(peer) && !asks(**id));
        let free: Vec<_> = free.map(|(id, _)| *id).collect();
        let mut shown: Vec<_> = free.into_iter().flat_map(|session| self.asks_nothing(session, now)).collect();
        if idle && shown.is_empty() && self.peers.values().any(|peer| peer.is_silent() && !peer.unconfirmed.is_empty())
        {
            shown = self.show_late(now);
        }
        shown
    }

    /// A silent peer has no request open with us: it has got from others what they have of that which it was shown.
    fn asks_nothing(&mut self, session: SessionId, now: Instant) -> Vec<Showing> {
        let Some(peer) = self.peers.get_mut(&session) else { return Vec::new() };
        let ahead = peer.shown.iter().filter(|index| !peer.settled.get(*index));
        let elsewhere: Vec<u32> = ahead.filter(|index| self.copies[*index as usize] > 0).collect();
        if elsewhere.is_empty() {
            return Vec::new();
        }
        peer.pending -= elsewhere.len() as u32;
        elsewhere.into_iter().for_each(|index| _ = peer.settled.set(index));
        peer.reach = peer.reach.max(peer.lead).saturating_mul(2).min(self.geometry.piece_count());
        self.show_one(session, now)
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
        let is_expected =
            |index: u32| self.peers.values().any(|peer| peer.shown.get(index) && !peer.settled.get(index));
        let lost = gone.shown.iter().chain(gone.theirs.iter());
        let lost: Vec<_> = lost.filter(|index| self.copies[*index as usize] == 0 && !is_expected(*index)).collect();
        lost.into_iter().for_each(|index| self.renew(index));
        self.show_all(now)
    }

    /// Time passes: what peers sit on, or have not spread, is shown to others. Returns what to show to whom.
    pub fn tick(&mut self, idle: bool, now: Instant) -> Vec<Showing> {
        let mut freed = Vec::new();
        let is_alone = self.peers.len() == 1;
        for peer in self.peers.values_mut() {
            if peer.pending > 0 && now.saturating_duration_since(peer.moved) > peer.patience() {
                let ahead: Vec<u32> = peer.shown.iter().filter(|index| !peer.settled.get(*index)).collect();
                // Nor does it wait any longer itself: it may have got them elsewhere, and not say so.
                ahead.iter().for_each(|index| _ = peer.settled.set(*index));
                (peer.pending, peer.is_sitting, peer.moved) = (0, true, now);
                if peer.unsaid > 0 {
                    peer.reach = peer.reach.max(peer.lead).saturating_mul(2).min(self.geometry.piece_count());
                    let unseen = ahead.iter().filter(|index| self.copies[**index as usize] == 0);
                    unseen.for_each(|index| _ = peer.unconfirmed.entry(*index).or_insert(now));
                } else {
                    freed.extend(ahead);
                }
            }
            let is_over = |since: &Instant| now.saturating_duration_since(*since) > PATIENCE;
            if is_alone {
                // There is nobody that it could have spread them to.
                peer.unconfirmed.values_mut().for_each(|since| *since = now);
            } else if peer.unconfirmed.values().any(is_over) {
                peer.standing = Standing::Unconfirmed;
                freed.extend(peer.unconfirmed.iter().filter(|(_, since)| is_over(since)).map(|(index, _)| *index));
                peer.unconfirmed.retain(|_, since| !is_over(since));
            }
        }
        freed.into_iter().for_each(|index| self.renew(index));
        let shown = self.show_all(now);
        if idle && shown.is_empty() { self.show_late(now) } else { shown }
    }

    /// Our uplink idles: shows each piece that is late to one more peer that is free, and as evenly as they come.
    fn show_late(&mut self, now: Instant) -> Vec<Showing> {
        let free: Vec<_> = self.peers.iter().filter(|(_, peer)| peer.pending == 0).map(|(id, _)| *id).collect();
        let (mut shown, mut before) = (Vec::new(), usize::MAX);
        while before != shown.len() {
            before = shown.len();
            for session in &free {
                shown.extend(self.show_of_another(*session, now));
            }
        }
        shown
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
        let index = piece.get();
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if !peer.theirs.set(index) {
            return;
        }
        if peer.shown.get(index) {
            self.pending[piece.as_usize()] -= 1;
            (peer.moved, peer.is_sitting, peer.standing) = (now, false, Standing::Confirmed);
        }
        peer.unsaid = 0;
        peer.unconfirmed.remove(&index);
        let from_us = !peer.settle(index, self.geometry.piece_count());
        let copies = &mut self.copies[piece.as_usize()];
        *copies += 1;
        if *copies == 1 {
            self.unseen -= 1;
            for other in self.peers.values_mut() {
                // Whoever has it now and was not sent it by us has it from one that was.
                if other.unconfirmed.remove(&index).is_some() && !from_us {
                    other.standing = Standing::Confirmed;
                }
            }
        }
    }

    /// A peer has come on: it may be shown more. `is_short` says that our uplink idles for want of what it was shown.
    fn go_on(&mut self, session: SessionId, is_short: bool, idle: bool, now: Instant) -> Vec<Showing> {
        let count = self.geometry.piece_count();
        if let Some(peer) = self.peers.get_mut(&session).filter(|_| is_short) {
            peer.lead = (peer.lead + IDLE_STEP).min(count);
        }
        let mut shown = self.show_one(session, now);
        let is_free = self.peers.get(&session).is_some_and(|peer| peer.pending == 0);
        if idle && is_free && shown.is_empty() {
            shown.extend(self.show_of_another(session, now));
        }
        shown
    }

    /// Shows a peer what was shown last to another that has not taken it, or does not say so.
    fn show_of_another(&mut self, session: SessionId, now: Instant) -> Option<Showing> {
        let piece = self.next_of_another(session).and_then(|index| self.geometry.piece(index))?;
        self.note_shown(session, piece, now);
        Some((session, piece))
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
        peer.told = now;
        peer.pending += 1;
        self.pending[piece.as_usize()] += 1;
    }

    fn next_for(&mut self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session).filter(|peer| !peer.theirs.is_full())?;
        let spreads = self.peers.len() == 1 || peer.spreads(self.first_lead() as usize);
        // Where all sit on what they have, somebody has to be the first.
        let may_be_first = !peer.is_sitting || self.peers.values().all(|peer| peer.is_sitting);
        let (pending, lead) = (peer.pending, peer.lead);
        let (has_fresh_room, has_room) = (pending < lead, pending < lead.max(peer.reach));
        while self.fresh.last().is_some_and(|index| self.copies[*index as usize] > 0) {
            self.fresh.pop().map(|index| self.is_fresh.clear(index));
        }
        let is_first = spreads && may_be_first;
        if is_first
            && has_fresh_room
            && let Some(index) = self.next_fresh(session)
        {
            return Some(index);
        }
        if !has_room || (is_first && self.unseen > 0) {
            return None;
        }
        let start = self.chance.below(self.geometry.piece_count() as usize) as u32;
        if self.unseen == 0 {
            return self.rarest(session, start, 0);
        }
        if !spreads {
            let last = if has_fresh_room { self.last_fresh(session) } else { None };
            return last.or_else(|| self.rarest(session, start, 0));
        }
        self.rarest(session, start, 1).or_else(|| self.next_of_another(session))
    }

    /// A piece to be shown for the first time.
    fn next_fresh(&mut self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session)?;
        let at = self.fresh.iter().rposition(|index| !peer.shown.get(*index) && !peer.theirs.get(*index))?;
        let index = self.fresh.remove(at);
        self.is_fresh.clear(index);
        self.shown_once.push(index);
        Some(index)
    }

    /// The piece that others will be shown last, which it may have before: its turn comes all the same, unless others have it by then.
    fn last_fresh(&self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session)?;
        let is_free = |index: u32| self.pending[index as usize] == 0 && !peer.theirs.get(index);
        self.fresh.iter().copied().find(|index| self.copies[*index as usize] == 0 && is_free(*index))
    }

    /// The piece shown last to one other peer that does not say it has it.
    fn next_of_another(&mut self, session: SessionId) -> Option<u32> {
        let peer = self.peers.get(&session)?;
        let is_late = |index: u32| self.copies[index as usize] == 0 && self.pending[index as usize] == 1;
        self.shown_once.retain(|index| is_late(*index));
        let at = self.shown_once.iter().rposition(|index| !peer.shown.get(*index))?;
        Some(self.shown_once.remove(at))
    }

    /// Of some pieces that the peer lacks and was not shown, the one that fewest peers have, but at least so many.
    fn rarest(&self, session: SessionId, start: u32, least: u16) -> Option<u32> {
        let peer = self.peers.get(&session)?;
        let count = self.geometry.piece_count();
        let round = (start..count).chain(0..start);
        let candidates = round.filter(|index| !peer.shown.get(*index) && !peer.theirs.get(*index));
        let candidates = candidates.filter(|index| self.copies[*index as usize] >= least).take(SAMPLE);
        candidates.min_by_key(|index| self.copies[*index as usize])
    }

    fn first_lead(&self) -> u32 {
        (FIRST_LEAD / u64::from(self.geometry.piece_length())).max(u64::from(MIN_LEAD)) as u32
    }

    /// A piece that nobody has is to be shown as if it never was.
    fn renew(&mut self, index: u32) {
        if self.copies[index as usize] == 0 && self.is_fresh.set(index) {
            self.fresh.push(index);
        }
    }
}

impl Shown {
    /// Nothing more is expected of a piece; whether that is news.
    fn settle(&mut self, index: u32, piece_count: u32) -> bool {
        if !self.settled.set(index) {
            return false;
        }
        if self.shown.get(index) {
            self.pending -= 1;
            // It has nearly run dry, so it takes pieces faster than it was shown them.
            if self.pending <= self.lead / 4 {
                self.lead = self.lead.saturating_mul(2).min(piece_count);
            }
        }
        true
    }

    /// Whether what it is sent reaches the swarm, as far as we know. A few pieces are always on their way.
    fn spreads(&self, first_lead: usize) -> bool {
        match self.standing {
            Standing::New => self.unconfirmed.len() < first_lead,
            Standing::Confirmed => self.unconfirmed.len() < first_lead.max(2 * self.lead as usize),
            Standing::Unconfirmed => false,
        }
    }

    /// Whether it says nothing of what it is sent, as far as can be told: pieces are always on their way to it.
    fn is_silent(&self) -> bool {
        self.unsaid >= SILENT_AFTER
    }

    /// How long it may let lie what it was shown. One that takes pieces and says nothing of them waits for us to go on.
    fn patience(&self) -> Duration {
        if self.unsaid > 0 { SILENT_PATIENCE } else { PATIENCE }
    }
}

#[cfg(test)]
mod tests;
