//! The picker against a model of it that goes through everything each time.

use std::collections::HashSet;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::Picker;
use crate::{
    bitfield::Bitfield,
    metainfo::{Geometry, PieceIndex},
    policy::PieceState,
};

/// Where a piece stands, as far as a picker knows.
fn state(picker: &Picker, piece: PieceIndex) -> PieceState {
    match (picker.have.get(piece.get()), picker.rarity.is_listed(piece.get()), picker.partial.contains(&piece)) {
        (true, listed, partial) => {
            assert!(!listed && !partial);
            PieceState::Written
        }
        (false, true, true) => PieceState::Partial,
        (false, true, false) => PieceState::Missing,
        (false, false, partial) => {
            assert!(!partial);
            PieceState::InFlight
        }
    }
}

fn fresh(have: &Bitfield) -> Picker {
    Picker::new(&Geometry::new(PIECES as u64 * 10 - 3, 10).unwrap(), have)
}

fn bits(set: &[bool]) -> Bitfield {
    let mut bits = Bitfield::empty(PIECES as u32);
    (0..).zip(set).filter(|(_, set)| **set).for_each(|(piece, _)| {
        bits.set(piece);
    });
    bits
}

/// What may happen to a picker; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Event {
    Comes(Vec<bool>),
    Gains(usize, usize),
    Leaves(usize),
    Pick(usize, u64),
    GiveBack(usize, bool),
    Verified(usize),
}

const PIECES: usize = 24;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let peer =
        prop_oneof![3 => prop::collection::vec(any::<bool>(), PIECES), 1 => prop::collection::vec(Just(true), PIECES)];
    let event = prop_oneof![
        2 => peer.prop_map(Event::Comes),
        4 => any::<(usize, usize)>().prop_map(|(peer, piece)| Event::Gains(peer, piece)),
        1 => any::<usize>().prop_map(Event::Leaves),
        6 => any::<(usize, u64)>().prop_map(|(peer, chance)| Event::Pick(peer, chance)),
        2 => any::<(usize, bool)>().prop_map(|(piece, partial)| Event::GiveBack(piece, partial)),
        2 => any::<usize>().prop_map(Event::Verified),
    ];
    prop::collection::vec(event, 0..120)
}

/// The same as a picker, by going through everything.
struct Model {
    states: Vec<PieceState>,
    peers: Vec<Bitfield>,
}

impl Model {
    fn availability(&self, piece: usize) -> u32 {
        self.peers.iter().map(|peer| u32::from(peer.get(piece as u32))).sum()
    }

    fn is_listed(&self, piece: usize) -> bool {
        matches!(self.states[piece], PieceState::Missing | PieceState::Partial)
    }

    fn may_be_picked(&self, peer: &Bitfield) -> HashSet<usize> {
        let can = |piece: &usize| self.is_listed(*piece) && peer.get(*piece as u32);
        let is_partial = |piece: &usize| self.states[*piece] == PieceState::Partial;
        let begun: HashSet<_> = (0..PIECES).filter(can).filter(is_partial).collect();
        let rarest = (0..PIECES).filter(can).map(|piece| self.availability(piece)).min();
        let rare = |piece: &usize| can(piece) && Some(self.availability(*piece)) == rarest;
        if begun.is_empty() { (0..PIECES).filter(rare).collect() } else { begun }
    }

    fn apply(&mut self, picker: &mut Picker, event: Event) {
        let piece_at = |number: usize| picker.geometry.piece((number % PIECES) as u32).unwrap();
        let some_peer = |number: usize| number.checked_rem(self.peers.len());
        match event {
            Event::Comes(has) => {
                self.peers.push(bits(&has));
                picker.peer_has(&self.peers[self.peers.len() - 1]);
            }
            Event::Gains(peer, piece) => {
                let piece = piece_at(piece);
                if some_peer(peer).is_some_and(|peer| self.peers[peer].set(piece.get())) {
                    picker.peer_gains(piece);
                }
            }
            Event::Leaves(peer) => {
                if let Some(peer) = some_peer(peer) {
                    picker.peer_leaves(&self.peers.swap_remove(peer));
                }
            }
            Event::Pick(peer, chance) => {
                let Some(peer) = some_peer(peer).map(|peer| self.peers[peer].clone()) else { return };
                let right = self.may_be_picked(&peer);
                match picker.pick(&peer, chance, |_| false) {
                    None => assert!(right.is_empty(), "nothing was picked of {right:?}"),
                    Some(piece) => {
                        assert!(right.contains(&piece.as_usize()), "{piece} was picked, not one of {right:?}");
                        self.states[piece.as_usize()] = PieceState::InFlight;
                    }
                }
            }
            Event::GiveBack(piece, partial) => {
                let piece = piece_at(piece);
                picker.give_back(piece, partial);
                if self.states[piece.as_usize()] == PieceState::InFlight {
                    self.states[piece.as_usize()] = if partial { PieceState::Partial } else { PieceState::Missing };
                }
            }
            Event::Verified(piece) => {
                let piece = piece_at(piece);
                let new = self.states[piece.as_usize()] != PieceState::Written;
                assert_eq!(picker.verified(piece), new);
                self.states[piece.as_usize()] = PieceState::Written;
            }
        }
    }

    fn count(&self, state: PieceState) -> u32 {
        self.states.iter().filter(|other| **other == state).count() as u32
    }
}

proptest! {
    #[test]
    fn every_piece_is_in_one_state_and_all_counts_agree_with_a_naive_model(
        events in events(),
        have in prop::collection::vec(any::<bool>(), PIECES),
    ) {
        let mut picker = fresh(&bits(&have));
        let first = |has: &bool| if *has { PieceState::Written } else { PieceState::Missing };
        let mut model =
            Model { states: have.iter().map(first).collect(), peers: Vec::new() };
        for event in events {
            model.apply(&mut picker, event);
            for piece in picker.geometry.pieces() {
                prop_assert_eq!(state(&picker, piece), model.states[piece.as_usize()]);
                prop_assert_eq!(picker.availability(piece), model.availability(piece.as_usize()));
            }
            let lonely = |piece: &usize| model.is_listed(*piece) && model.availability(*piece) == 0;
            prop_assert_eq!(picker.missing(), model.count(PieceState::Missing) + model.count(PieceState::Partial));
            prop_assert_eq!(picker.in_flight(), model.count(PieceState::InFlight));
            prop_assert_eq!(picker.have().count(), model.count(PieceState::Written));
            prop_assert_eq!(picker.unavailable(), (0..PIECES).filter(lonely).count() as u32);
            let lacking = picker.geometry.pieces().filter(|piece| !picker.have.get(piece.get()));
            let remaining = lacking.map(|piece| u64::from(picker.geometry.length_of(piece))).sum::<u64>();
            prop_assert_eq!(picker.remaining(), remaining);
        }
    }

    #[test]
    fn peers_who_together_have_everything_end_with_everything_had(
        owners in prop::collection::vec((0..5_usize, 0..5_usize), PIECES),
        chances in prop::collection::vec(any::<u64>(), 1..60),
    ) {
        let has = |peer| bits(&owners.iter().map(|(one, other)| peer == *one || peer == *other).collect::<Vec<_>>());
        let peers: Vec<Bitfield> = (0..5).map(has).collect();
        let mut picker = fresh(&bits(&[]));
        peers.iter().for_each(|peer| picker.peer_has(peer));
        // Each asks in turn and has a piece in hand or nothing; most of the first 200 come to nothing.
        let mut in_hand = vec![None; peers.len()];
        for step in 0.. {
            prop_assert!(step < 200 + 10 * PIECES, "it does not end");
            let (peer, chance) = (step % peers.len(), chances[step % chances.len()]);
            match in_hand[peer].take() {
                Some(piece) if step < 200 && chance % 3 != 0 => picker.give_back(piece, chance % 2 == 0),
                Some(piece) => prop_assert!(picker.verified(piece)),
                None => in_hand[peer] = picker.pick(&peers[peer], chance, |_| false),
            }
            prop_assert_eq!(picker.in_flight() as usize, in_hand.iter().flatten().count());
            if picker.is_complete() {
                break;
            }
        }
        prop_assert!(picker.remaining() == 0 && picker.missing() == 0 && picker.in_flight() == 0);
    }

    #[test]
    fn picking_ends_with_everything_had(chances in prop::collection::vec(any::<u64>(), 1..60), fails in any::<u64>()) {
        let mut picker = fresh(&bits(&[]));
        let everything = Bitfield::full(PIECES as u32);
        for step in 0.. {
            let chance = chances[step % chances.len()];
            let Some(piece) = picker.pick(&everything, chance, |_| false) else { break };
            match step < 64 && fails >> step & 1 == 1 {
                true => picker.give_back(piece, chance % 2 == 0),
                false => prop_assert!(picker.verified(piece)),
            }
        }
        prop_assert!(picker.is_complete() && picker.remaining() == 0 && !picker.interesting(&everything));
    }
}
