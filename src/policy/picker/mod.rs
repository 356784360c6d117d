//! WHICH piece next (pure): the rarest that a peer has, ties broken by chance. BEP 3 asks only for a random order, so that
//! peers have something to trade; rarest first does that better and is what every client does.
//!
//! Invariant: every piece is listed, or in flight, or here. In terms of its [`PieceState`](super::PieceState) it is listed while it
//! is missing or partial, and in flight until it is written.
//!
//! One picker belongs to the coordinator of one fetch. It hands out whole pieces and knows peers only as the sets of
//! pieces they have; who fetches what, blocks, and time are not its business. The caller brings chance along.

mod rarity;

use self::rarity::Rarity;
use crate::{
    bitfield::Bitfield,
    metainfo::{Geometry, PieceIndex},
};

/// Pieces tried in order of rarity before the search turns to the peer's own pieces. A peer that has one in a
/// thousand of what is missing is served within it; it costs some ten microseconds.
const MAX_LOOKS: usize = 4096;

/// In which order pieces are fetched. Real fetches take the rarest first; the others are for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PieceOrder {
    /// The piece that the fewest peers have.
    #[default]
    Rarest,
    /// Any that the peer has.
    Random,
    /// From the beginning to the end.
    Sequential,
}

/// The state of every piece, and how many peers have it. Some 12 bytes a piece.
pub struct Picker {
    geometry: Geometry,
    order: PieceOrder,
    have: Bitfield,
    /// Counts the peers of every piece, and lists those that are missing.
    rarity: Rarity,
    /// Missing pieces of which somebody holds blocks already; as many as were in flight at once, at most.
    partial: Vec<PieceIndex>,
    /// Bytes of the pieces that we do not have.
    remaining: u64,
}

impl Picker {
    /// A picker for a torrent of which these pieces are there.
    pub fn new(geometry: &Geometry, have: &Bitfield) -> Picker {
        let length_of = |piece: u32| u64::from(geometry.length_of(geometry.piece(piece).expect("a piece it has")));
        Picker {
            geometry: *geometry,
            order: PieceOrder::Rarest,
            remaining: geometry.length() - have.iter().map(length_of).sum::<u64>(),
            rarity: Rarity::new(geometry.piece_count(), |piece| !have.get(piece)),
            have: have.clone(),
            partial: Vec::new(),
        }
    }

    /// The same, with its pieces in another order.
    pub fn in_order(self, order: PieceOrder) -> Picker {
        Picker { order, ..self }
    }

    /// A peer came that has these pieces.
    pub fn peer_has(&mut self, bits: &Bitfield) {
        if bits.is_full() {
            self.rarity.raise_all();
        } else {
            bits.iter().for_each(|piece| self.rarity.raise(piece));
        }
    }

    /// A peer told of a piece that it had not before.
    pub fn peer_gains(&mut self, piece: PieceIndex) {
        self.rarity.raise(piece.get());
    }

    /// A peer left that had these pieces: those it came with and those it gained.
    pub fn peer_leaves(&mut self, bits: &Bitfield) {
        if !(bits.is_full() && self.rarity.lower_all()) {
            bits.iter().for_each(|piece| self.rarity.lower(piece));
        }
    }

    /// Puts a missing piece that the peer has in flight: one that was begun before if there is one, else the rarest,
    /// and among equals any by `chance`. Pieces to `avoid` are left out.
    ///
    /// The cost does not grow with the torrent as long as the peer has a fair share of what is missing. For others, once
    /// 4,096 of the rarest have failed, the peer's own pieces are gone through: a byte of its bitfield for
    /// eight pieces, and an entry for each that it has.
    pub fn pick(&mut self, peer_has: &Bitfield, chance: u64, avoid: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        let can = |piece: &PieceIndex| peer_has.get(piece.get()) && !avoid(*piece);
        let begun = self.partial.iter().copied().find(can);
        let piece = begun.or_else(|| match self.order {
            PieceOrder::Rarest => self.rarest(peer_has, chance, can),
            PieceOrder::Random => self.listed_from(peer_has, chance as u32 % self.geometry.piece_count(), can),
            PieceOrder::Sequential => self.listed_from(peer_has, 0, can),
        })?;
        self.rarity.unlist(piece.get());
        self.partial.retain(|other| *other != piece);
        Some(piece)
    }

    fn rarest(&self, peer_has: &Bitfield, chance: u64, can: impl Fn(&PieceIndex) -> bool) -> Option<PieceIndex> {
        let piece = |number| self.geometry.piece(number).expect("pieces of this torrent");
        let mut rarest_first = self.rarity.listed(chance).map(piece);
        let found = rarest_first.by_ref().take(MAX_LOOKS).find(&can);
        if found.is_some() || rarest_first.next().is_none() {
            return found;
        }
        let theirs = peer_has.iter().filter(|piece| self.rarity.is_listed(*piece)).map(piece).filter(&can);
        let from = chance as u32 % self.geometry.piece_count();
        theirs.min_by_key(|piece| (self.availability(*piece), piece.get().wrapping_sub(from)))
    }

    /// The first piece at or behind `from` that is missing and that the peer has; then those before it.
    fn listed_from(&self, peer_has: &Bitfield, from: u32, can: impl Fn(&PieceIndex) -> bool) -> Option<PieceIndex> {
        let numbers = (from..self.geometry.piece_count()).chain(0..from);
        let listed = numbers.filter(|number| peer_has.get(*number) && self.rarity.is_listed(*number));
        listed.filter_map(|number| self.geometry.piece(number)).find(can)
    }

    /// The peer that fetched the piece stopped. If blocks of it are kept, `partial` makes it first choice.
    pub fn give_back(&mut self, piece: PieceIndex, partial: bool) {
        if !self.rarity.is_listed(piece.get()) && !self.have.get(piece.get()) {
            self.rarity.list(piece.get());
            self.partial.extend(partial.then_some(piece));
        }
    }

    /// The piece came and its hash was right; true when we did not have it.
    pub fn verified(&mut self, piece: PieceIndex) -> bool {
        if self.rarity.is_listed(piece.get()) {
            self.rarity.unlist(piece.get());
            self.partial.retain(|other| *other != piece);
        }
        let new = self.have.set(piece.get());
        if new {
            self.remaining -= u64::from(self.geometry.length_of(piece));
        }
        new
    }

    /// Whether the peer has anything that we do not have, in flight or not (BEP 3, `interested`).
    pub fn interesting(&self, peer_has: &Bitfield) -> bool {
        peer_has.has_beyond(&self.have)
    }

    /// How many pieces nobody is asked for.
    pub fn missing(&self) -> u32 {
        self.rarity.listed_count()
    }

    /// How many pieces are in flight.
    pub fn in_flight(&self) -> u32 {
        self.geometry.piece_count() - self.have.count() - self.missing()
    }

    /// The pieces we have.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether we have every piece.
    pub fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Bytes of the pieces that we do not have.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// How many of the peers have the piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.rarity.of(piece.get())
    }

    /// How many of the missing pieces no peer has.
    pub fn unavailable(&self) -> u32 {
        self.rarity.listed_without_peers()
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn geometry(pieces: u32) -> Geometry {
        Geometry::new(u64::from(pieces) * 10 - 3, 10).unwrap()
    }

    fn fresh(pieces: u32) -> Picker {
        Picker::new(&geometry(pieces), &Bitfield::empty(pieces))
    }

    fn bits(len: u32, set: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut bits = Bitfield::empty(len);
        for piece in set {
            bits.set(piece);
        }
        bits
    }

    fn pick(picker: &mut Picker, peer: &Bitfield, chance: u64) -> Option<u32> {
        picker.pick(peer, chance, |_| false).map(PieceIndex::get)
    }

    #[test]
    fn the_rarest_piece_that_the_peer_has_comes_first() {
        let mut picker = fresh(4);
        for peer in [bits(4, [0, 1, 2]), bits(4, [0, 1]), bits(4, [0, 3])] {
            picker.peer_has(&peer);
        }
        let peer = bits(4, [0, 1, 2]);
        assert_eq!([0, 0, 0, 0].map(|chance| pick(&mut picker, &peer, chance)), [Some(2), Some(1), Some(0), None]);
        assert_eq!((picker.missing(), picker.in_flight()), (1, 3));
    }

    #[test]
    fn what_is_to_be_avoided_is_left_for_others() {
        let mut picker = fresh(3);
        let everything = Bitfield::full(3);
        let picked = picker.pick(&everything, 0, |piece| piece.get() != 2).unwrap();
        assert_eq!(picked.get(), 2);
        assert_eq!(picker.pick(&everything, 0, |_| true), None);
    }

    #[test]
    fn a_piece_that_was_begun_comes_before_a_rarer_one_and_a_failed_one_does_not() {
        let mut picker = fresh(3);
        picker.peer_has(&bits(3, [0, 1]));
        picker.peer_has(&bits(3, [0]));
        let everything = Bitfield::full(3);
        let common = picker.pick(&bits(3, [0]), 0, |_| false).unwrap();
        picker.give_back(common, true);
        assert_eq!(pick(&mut picker, &bits(3, [1, 2]), 0), Some(2));
        assert_eq!(pick(&mut picker, &everything, 0), Some(0));
        picker.give_back(common, false);
        assert_eq!(pick(&mut picker, &everything, 0), Some(1));
        assert_eq!(pick(&mut picker, &everything, 0), Some(0));
    }

    #[test]
    fn ties_are_spread_evenly_by_chance() {
        const PIECES: u32 = 16;
        let mut counts = [0u32; PIECES as usize];
        for round in 0..1600u64 {
            let mut picker = fresh(PIECES);
            picker.peer_has(&bits(PIECES, 1..PIECES));
            picker.peer_has(&bits(PIECES, [0, 5]));
            let chance = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            counts[pick(&mut picker, &Bitfield::full(PIECES), chance).unwrap() as usize] += 1;
        }
        assert_eq!(counts[5], 0, "two peers have it");
        let rare: Vec<_> = (0..16).filter(|piece| *piece != 5).map(|piece| counts[piece]).collect();
        let expected = 1600.0 / 15.0;
        let chi_square: f64 = rare.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!(chi_square < 36.1, "14 degrees of freedom exceed this once in a thousand times: {rare:?}");
    }

    #[test]
    fn a_peer_with_a_few_of_very_many_pieces_gets_its_rarest() {
        let pieces = MAX_LOOKS as u32 * 8;
        let mut picker = fresh(pieces);
        let theirs = bits(pieces, [pieces - 5, pieces - 9, pieces - 1]);
        picker.peer_has(&theirs);
        picker.peer_gains(geometry(pieces).piece(pieces - 5).unwrap());
        let picked: HashSet<_> = (0..2).map(|chance| pick(&mut picker, &theirs, chance).unwrap()).collect();
        assert_eq!(picked, [pieces - 9, pieces - 1].into());
        assert_eq!(pick(&mut picker, &theirs, 7), Some(pieces - 5));
        assert_eq!(pick(&mut picker, &theirs, 7), None);
        assert!(picker.interesting(&theirs), "in flight is not had");
    }

    #[test]
    fn a_seeder_costs_nothing_and_may_leave_in_place_of_a_peer_that_became_one() {
        let mut picker = fresh(3);
        picker.peer_has(&bits(3, [0, 1]));
        picker.peer_has(&Bitfield::full(3));
        picker.peer_gains(geometry(3).piece(2).unwrap());
        let counts = |picker: &Picker| geometry(3).pieces().map(|piece| picker.availability(piece)).collect::<Vec<_>>();
        assert_eq!(counts(&picker), [2, 2, 2]);
        for left in [[1; 3], [0; 3]] {
            picker.peer_leaves(&Bitfield::full(3));
            assert_eq!(counts(&picker), left);
        }
        assert_eq!(picker.unavailable(), 3);
    }
}
