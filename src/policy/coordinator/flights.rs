//! Pieces in flight: which goes to whom, and what becomes of them when a peer stalls, lies or leaves.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Action, Coordinator, STALL, peer::FetchPeer};
use crate::{
    metainfo::PieceIndex,
    policy::{Home, PieceInFlight, PieceState, SessionId},
};

/// Pieces longer than this go to the disk block by block and are read back for hashing, so that memory does not
/// depend on the piece length.
pub(super) const MAX_PIECE_IN_MEMORY: u32 = 1 << 20;

/// In the endgame blocks are asked for a second time once those that were asked for have been awaited for this long.
pub(super) const HELP_AFTER: Duration = Duration::from_millis(1000);

/// A piece that somebody is fetching, or that is being hashed.
#[derive(Debug)]
pub(super) struct Flight {
    /// The session that it is assigned to, or was when it was completed.
    pub(super) owner: SessionId,
    pub(super) helpers: BTreeSet<SessionId>,
    pub(super) memory: u64,
    /// Whether an attempt at it has failed: only who is proven may help with it, so that liars do not spoil it for ever.
    suspect: bool,
}

impl Coordinator {
    /// Pieces come back from a session; others that want some may have them.
    pub(super) fn take_back(
        &mut self,
        pieces: impl IntoIterator<Item = PieceInFlight>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let mut any = false;
        for mut piece in pieces {
            any = true;
            piece.returned();
            self.keep(piece, out);
        }
        if any {
            self.assign_all(now, out);
        }
    }

    /// A piece may be picked again; what there is of it is kept.
    pub(super) fn keep(&mut self, piece: PieceInFlight, out: &mut Vec<Action>) {
        let index = piece.piece();
        let is_partial = piece.state() == PieceState::Partial;
        self.end_flight(index, Some(&piece), out);
        self.picker.give_back(index, is_partial);
        if is_partial {
            self.shelf.insert(index, piece);
        }
    }

    /// A piece is in flight no more: helpers forget it, and its memory is free unless it goes to the shelf.
    pub(super) fn end_flight(&mut self, piece: PieceIndex, kept: Option<&PieceInFlight>, out: &mut Vec<Action>) {
        let Some(flight) = self.flights.remove(&piece) else { return };
        out.extend(flight.helpers.into_iter().map(|helper| Action::Recall(helper, piece)));
        if kept.is_none_or(PieceInFlight::is_blank) {
            self.memory -= flight.memory;
        }
    }

    pub(super) fn assign_all(&mut self, now: Instant, out: &mut Vec<Action>) {
        let wanting = self.peers.iter().filter(|(_, peer)| !peer.choked && peer.bytes_wanted > 0);
        let wanting: Vec<_> = wanting.map(|(id, _)| *id).collect();
        wanting.into_iter().for_each(|id| self.assign_pieces(id, now, out));
    }

    /// Assigns pieces to a session that wants some, or, when every piece is in flight, another session's last blocks.
    pub(super) fn assign_pieces(&mut self, id: SessionId, now: Instant, out: &mut Vec<Action>) {
        if self.is_complete() || self.paused {
            return;
        }
        while let Some(peer) = self.peers.get(&id).filter(|peer| !peer.choked && peer.bytes_wanted > 0) {
            let bytes = peer.bytes_wanted;
            let Some(piece) = self.pick_for(id, now) else {
                return self.help(id, out);
            };
            let wanted: u64 = piece.missing_blocks().map(|block| u64::from(block.length)).sum();
            let bytes = bytes.saturating_sub(wanted);
            self.peers.get_mut(&id).expect("it was just seen").bytes_wanted = bytes;
            let suspect = piece.suspect().is_some();
            let flight = Flight { owner: id, helpers: BTreeSet::new(), memory: piece.memory(), suspect };
            self.flights.insert(piece.piece(), flight);
            out.push(Action::Assign(id, piece));
        }
    }

    /// The next piece for a peer. One that may have spoilt a piece, or that stalled, gets what nobody else could fetch; and
    /// a piece that was spoilt goes to a peer that has sent a right one, before it goes to strangers.
    fn pick_for(&mut self, id: SessionId, now: Instant) -> Option<PieceInFlight> {
        let chance = self.chance.next();
        let peer = self.peers.get(&id)?;
        let (shelf, peers) = (&self.shelf, &self.peers);
        let another_has = |piece: PieceIndex, counts: fn(&FetchPeer) -> bool| {
            let others = peers.values().filter(|other| !other.remote.is_same_peer(&peer.remote));
            others.filter(|other| other.can_upload(now) && counts(other)).any(|other| other.theirs.get(piece.get()))
        };
        let snubbed = peer.is_snubbed(now);
        let avoid = |piece: PieceIndex| {
            let suspect = shelf.get(&piece).and_then(PieceInFlight::suspect);
            let is_suspect = suspect.is_some_and(|suspect| suspect.is_same_peer(&peer.remote));
            let is_stranger = suspect.is_some() && !peer.proven;
            (snubbed || is_suspect) && another_has(piece, |_| true)
                || is_stranger && another_has(piece, |other| other.proven)
        };
        let index = self.picker.pick(&peer.theirs, chance, avoid)?;
        if let Some(mut piece) = self.shelf.remove(&index) {
            piece.picked();
            return Some(piece);
        }
        let length = self.geometry.length_of(index);
        let fits = self.memory + u64::from(length) <= self.settings.memory;
        let home = if fits && length <= MAX_PIECE_IN_MEMORY { Home::Memory } else { Home::Disk };
        let piece = PieceInFlight::new(&self.geometry, index, home);
        self.memory += piece.memory();
        Some(piece)
    }

    /// Endgame: `id` has nothing to fetch but what others are to fetch. It gets a piece of which nothing has been asked for
    /// yet, from the session that would take longest over it; failing that, it asks a second time for the last blocks of one that
    /// does not move. Bytes are sent twice only then.
    fn help(&mut self, id: SessionId, out: &mut Vec<Action>) {
        // Before the end there is always something better to ask for in a moment: what another peer gains.
        if self.picker.missing() > self.picker.unavailable() {
            return;
        }
        let Some(helper) = self.peers.get(&id) else { return };
        // What a piece would take the helper, where that is known; one that is no faster only sends what comes anyway.
        let seconds = helper.rate.map_or(0.0, |rate| f64::from(self.geometry.piece_length()) / rate.max(1.0));
        let at_best = Duration::from_secs_f64(seconds);
        if let Some((owner, piece)) = self.spare_for(id, helper, at_best) {
            self.peers.get_mut(&owner).expect("it was just found").spare = None;
            out.push(Action::Recall(owner, piece));
            return;
        }
        let slow = self.flights.iter().filter(|(piece, flight)| {
            let may_help = flight.owner != id && !flight.helpers.contains(&id);
            may_help && (helper.proven || !flight.suspect) && helper.theirs.get(piece.get())
        });
        let slow = slow.filter_map(|(piece, flight)| {
            let waited = self.peers.get(&flight.owner)?.waited;
            (waited > at_best.max(HELP_AFTER)).then_some((waited, *piece, flight.owner))
        });
        let Some((_, piece, owner)) = slow.max() else { return };
        self.flights.get_mut(&piece).expect("it was just found").helpers.insert(id);
        out.push(Action::Help { helper: id, owner, piece });
    }

    /// A piece that waits with a peer that would come to it later than `helper` would be done with it.
    fn spare_for(&self, id: SessionId, helper: &FetchPeer, at_best: Duration) -> Option<(SessionId, PieceIndex)> {
        let others = self.peers.iter().filter(|(other, _)| **other != id);
        let spare = others.filter_map(|(other, peer)| {
            let piece = peer.spare.filter(|piece| helper.theirs.get(piece.get()))?;
            let left = peer.time_left.unwrap_or(STALL);
            (left > at_best * 3 / 2).then_some((left, *other, piece))
        });
        spare.max().map(|(_, owner, piece)| (owner, piece))
    }
}
