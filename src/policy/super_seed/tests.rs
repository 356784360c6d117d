//! What a source shows and gives, case by case and in swarms of chance.

use std::collections::BTreeSet;

mod silence;

use proptest::prelude::{any, prop, proptest};

use super::*;

const PIECE: u64 = 256 << 10;

fn offer(pieces: u64) -> SuperSeeding {
    SuperSeeding::new(&Geometry::new(pieces * PIECE, PIECE).unwrap(), 7)
}

#[test]
fn no_two_peers_are_shown_the_same_piece_while_there_are_others() {
    let (mut offer, now) = (offer(64), Instant::now());
    let mut seen = BTreeSet::new();
    for peer in 0..8 {
        for piece in offer.opened(SessionId(peer), now) {
            assert!(seen.insert(piece.get()), "piece {piece} was shown twice");
        }
    }
    assert_eq!(seen.len(), 8 * 4);
}

#[test]
fn a_peer_that_takes_what_it_is_shown_is_shown_more_and_everything_in_the_end() {
    let (mut offer, now) = (offer(1000), Instant::now());
    let peer = SessionId(1);
    let mut waiting: Vec<_> = offer.opened(peer, now);
    let (mut taken, mut most) = (0, 0);
    while let Some(piece) = waiting.pop() {
        taken += 1;
        waiting.extend(offer.gained(peer, piece, false, now).into_iter().map(|(_, piece)| piece));
        most = most.max(waiting.len());
    }
    assert_eq!(taken, 1000);
    assert!(offer.is_done(peer));
    assert!(most <= 8, "{most} pieces ahead of a peer that never ran dry");
}

#[test]
fn while_the_uplink_idles_a_peer_is_shown_ever_more() {
    let (mut offer, now) = (offer(1000), Instant::now());
    let peer = SessionId(1);
    let (mut rounds, mut waiting) = (0, offer.opened(peer, now));
    while !waiting.is_empty() {
        rounds += 1;
        let more = waiting.into_iter().flat_map(|piece| offer.gained(peer, piece, true, now));
        waiting = more.map(|(_, piece)| piece).collect();
    }
    assert!(offer.is_done(peer) && rounds <= 7, "{rounds} rounds");
}

#[test]
fn at_the_end_whoever_is_free_is_shown_what_another_has_not_come_to() {
    let (mut offer, now) = (offer(8), Instant::now());
    let (quick, slow) = (SessionId(1), SessionId(2));
    let quicks = offer.opened(quick, now);
    let slows: BTreeSet<_> = offer.opened(slow, now).into_iter().collect();
    quicks[..3].iter().for_each(|piece| assert!(offer.gained(quick, *piece, true, now).is_empty()));
    let mut taken = BTreeSet::new();
    let mut next = quicks[3];
    while let [(session, piece)] = offer.gained(quick, next, true, now)[..] {
        assert!(session == quick && taken.insert(piece));
        next = piece;
        if taken == slows {
            return;
        }
    }
    panic!("{taken:?} of {slows:?}");
}

#[test]
fn while_the_uplink_is_busy_a_late_piece_is_left_to_whoever_was_shown_it() {
    let (mut offer, now) = (offer(8), Instant::now());
    let quicks = offer.opened(SessionId(1), now);
    offer.opened(SessionId(2), now);
    quicks.iter().for_each(|piece| assert!(offer.gained(SessionId(1), *piece, false, now).is_empty()));
}

#[test]
fn nothing_is_shown_twice_before_everything_was_seen_and_then_it_is() {
    let (mut offer, now) = (offer(8), Instant::now());
    let (one, two) = (SessionId(1), SessionId(2));
    let first = offer.opened(one, now);
    let second = offer.opened(two, now);
    assert_eq!((first.len(), second.len()), (4, 4));
    for piece in &first[..3] {
        assert!(offer.gained(one, *piece, false, now).is_empty());
    }
    second.iter().for_each(|piece| assert!(offer.gained(two, *piece, false, now).is_empty()));
    let more = offer.gained(one, first[3], false, now);
    let ones: Vec<_> = more.iter().filter(|(session, _)| *session == one).collect();
    assert!(!ones.is_empty() && ones.iter().all(|(_, piece)| second.contains(piece)));
    assert!(more.iter().any(|(session, _)| *session == two));
}

#[test]
fn what_a_peer_that_leaves_was_shown_is_shown_to_others() {
    let (mut offer, now) = (offer(4), Instant::now());
    let first = offer.opened(SessionId(1), now);
    assert!(offer.opened(SessionId(2), now).is_empty());
    let shown: BTreeSet<_> = offer.closed(SessionId(1), now).into_iter().map(|(_, piece)| piece).collect();
    assert_eq!(shown, first.into_iter().collect());
    offer.closed(SessionId(2), now);
    assert!(offer.is_idle());
}

#[test]
fn what_a_peer_sits_on_is_shown_to_others_after_a_while() {
    let (mut offer, now) = (offer(4), Instant::now());
    offer.opened(SessionId(1), now);
    offer.opened(SessionId(2), now);
    assert!(offer.tick(false, now + PATIENCE).is_empty());
    assert_eq!(offer.tick(false, now + PATIENCE * 2).len(), 4);
}

#[test]
fn what_peers_bring_along_is_not_shown_to_them() {
    let (mut offer, now) = (offer(4), Instant::now());
    let peer = SessionId(1);
    let mut bits = Bitfield::empty(4);
    bits.set(0);
    bits.set(1);
    offer.opened(SessionId(9), now);
    offer.closed(SessionId(9), now);
    offer.opened(peer, now);
    offer.has(peer, &bits, now);
    assert_eq!(offer.peers[&peer].pending, 2);
    assert!(offer.has(peer, &Bitfield::full(4), now).is_empty());
    assert!(offer.is_done(peer));
}

#[test]
fn what_is_shown_after_a_pause_is_given_its_time() {
    let (mut offer, now) = (offer(8), Instant::now());
    let first = offer.opened(SessionId(1), now);
    offer.opened(SessionId(2), now);
    first.iter().for_each(|piece| _ = offer.gained(SessionId(1), *piece, false, now));
    let later = now + PATIENCE * 3;
    assert_eq!(offer.closed(SessionId(2), later).len(), 4);
    offer.opened(SessionId(3), later);
    assert!(offer.tick(false, later + PATIENCE / 2).is_empty(), "nobody has had the time to sit on anything");
}

/// A source and the peers that take what it shows them, each at its own pace, and pass it on.
struct Swarm {
    offer: SuperSeeding,
    now: Instant,
    peers: Vec<Taker>,
    /// How often each piece was shown.
    shown: Vec<u32>,
    chance: u64,
}

struct Taker {
    session: SessionId,
    has: Bitfield,
    waiting: Vec<PieceIndex>,
    /// Rounds that a piece takes it.
    pace: u64,
}

impl Swarm {
    const ROUND: Duration = Duration::from_millis(250);

    fn new(pieces: u32, paces: &[u64], seed: u64) -> Swarm {
        let geometry = Geometry::new(u64::from(pieces) * PIECE, PIECE).unwrap();
        let (offer, now) = (SuperSeeding::new(&geometry, seed), Instant::now());
        let mut swarm = Swarm { offer, now, peers: Vec::new(), shown: vec![0; pieces as usize], chance: seed | 1 };
        for (number, pace) in (0..).zip(paces) {
            swarm.join(SessionId(number), *pace);
        }
        swarm
    }

    fn join(&mut self, session: SessionId, pace: u64) {
        let has = Bitfield::empty(self.shown.len() as u32);
        self.peers.push(Taker { session, has, waiting: Vec::new(), pace });
        let shown = self.offer.opened(session, self.now);
        self.show(session, shown);
    }

    fn show(&mut self, session: SessionId, pieces: Vec<PieceIndex>) {
        let all_seen = (0..self.shown.len() as u32).all(|piece| self.peers.iter().any(|peer| peer.has.get(piece)));
        let all_shown = self.offer.fresh.iter().all(|index| self.offer.copies[*index as usize] > 0);
        let taker = self.peers.iter_mut().find(|peer| peer.session == session).unwrap();
        for piece in pieces {
            assert!(!taker.has.get(piece.get()), "{piece} was shown to one that has it");
            let times = &mut self.shown[piece.as_usize()];
            *times += 1;
            let at_the_end = *times == 2 && all_shown && taker.waiting.is_empty();
            assert!(*times == 1 || all_seen || at_the_end, "{piece} was shown again before all were seen");
            taker.waiting.push(piece);
        }
    }

    fn show_each(&mut self, shown: Vec<Showing>) {
        shown.into_iter().for_each(|(session, piece)| self.show(session, vec![piece]));
    }

    fn gains(&mut self, at: usize, piece: PieceIndex) {
        let peer = &mut self.peers[at];
        if peer.has.set(piece.get()) {
            peer.waiting.retain(|waiting| *waiting != piece);
            let session = peer.session;
            let shown = self.offer.gained(session, piece, self.chance.is_multiple_of(3), self.now);
            self.show_each(shown);
        }
    }

    fn round(&mut self, number: u64) {
        self.now += Self::ROUND;
        for at in 0..self.peers.len() {
            if number.is_multiple_of(self.peers[at].pace) && !self.peers[at].waiting.is_empty() {
                let piece = self.peers[at].waiting[0];
                self.gains(at, piece);
                self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let other = (self.chance >> 33) as usize % self.peers.len();
                self.gains(other, piece);
            }
        }
        if number.is_multiple_of(4) {
            let shown = self.offer.tick(false, self.now);
            self.show_each(shown);
        }
        self.check();
    }

    fn check(&self) {
        for (piece, copies) in (0..).zip(&self.offer.copies) {
            assert_eq!(usize::from(*copies), self.peers.iter().filter(|peer| peer.has.get(piece)).count());
        }
        assert_eq!(self.offer.unseen as usize, self.offer.copies.iter().filter(|copies| **copies == 0).count());
        assert!(self.offer.fresh.iter().all(|index| self.offer.is_fresh.get(*index)));
        assert_eq!(self.offer.fresh.len(), self.offer.is_fresh.count() as usize);
        for (piece, pending) in (0..).zip(&self.offer.pending) {
            let is_pending = |peer: &&Shown| peer.shown.get(piece) && !peer.theirs.get(piece);
            assert_eq!(usize::from(*pending), self.offer.peers.values().filter(is_pending).count());
        }
        for shown in self.offer.peers.values() {
            let pending = shown.shown.iter().filter(|index| !shown.settled.get(*index)).count();
            assert!(shown.pending as usize == pending && shown.pending <= shown.lead);
        }
    }

    fn is_done(&self) -> bool {
        self.peers.iter().all(|peer| self.offer.is_done(peer.session))
    }
}

proptest! {
    #[test]
    fn while_all_move_each_piece_is_shown_once_before_any_twice_and_all_get_everything(
        pieces in 1..120u32, paces in prop::collection::vec(1..12u64, 1..7), seed in any::<u64>(),
    ) {
        let mut swarm = Swarm::new(pieces, &paces, seed);
        let mut rounds = 1..u64::from(pieces) * 12 * 7;
        while !swarm.is_done() {
            swarm.round(rounds.next().expect("it takes no longer than all of them one after the other"));
        }
    }

    #[test]
    fn whoever_leaves_the_rest_get_everything(
        pieces in 1..60u32, paces in prop::collection::vec(1..12u64, 2..7),
        leaves in prop::collection::vec((1..200u64, any::<prop::sample::Index>()), 1..6), seed in any::<u64>(),
    ) {
        let mut swarm = Swarm::new(pieces, &paces, seed);
        let mut next = 100;
        let mut rounds = 1..u64::from(pieces) * 12 * 20 + 200;
        let ended = rounds.any(|number| {
            for (_, who) in leaves.iter().filter(|(when, _)| *when == number) {
                let gone = swarm.peers.swap_remove(who.index(swarm.peers.len()));
                let shown = swarm.offer.closed(gone.session, swarm.now);
                // What it had or was shown may be shown again, so counting begins anew.
                swarm.shown.fill(0);
                swarm.show_each(shown);
                swarm.join(SessionId(next), gone.pace);
                next += 1;
            }
            swarm.round(number);
            number > 200 && swarm.is_done()
        });
        assert!(ended);
    }
}
