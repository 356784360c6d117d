//! Peers that do not say what they have got: alone, among others, and in rooms of their kind.

use super::*;

/// How long our uplink takes over a piece.
const STEP: Duration = Duration::from_millis(20);

const PIECES: u32 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Says what it has and passes it on.
    Speaks,
    /// Says what it has and passes nothing on.
    Speaker,
    /// Passes on what it has. It tells the source only of what the source has not shown it, as rqbit does.
    Silent,
    /// Says nothing and passes nothing on.
    Hoards,
}

struct Peer {
    session: SessionId,
    kind: Kind,
    shown: Bitfield,
    has: Bitfield,
    /// When it was done, in steps.
    done: Option<u32>,
    /// Pieces that the source sent it.
    sent: u32,
}

/// A source and its peers, all with links of the same rate.
struct Room {
    offer: SuperSeeding,
    peers: Vec<Peer>,
    now: Instant,
    turn: usize,
    chance: Chance,
    idle: bool,
}

impl Room {
    fn run(kinds: &[Kind]) -> Room {
        let now = Instant::now();
        let none = Bitfield::empty(PIECES);
        let mut room =
            Room { offer: offer(PIECES.into()), peers: Vec::new(), now, turn: 0, chance: Chance::new(3), idle: false };
        for (number, kind) in (0..).zip(kinds) {
            let session = SessionId(number);
            let (shown, has) = (none.clone(), none.clone());
            room.peers.push(Peer { session, kind: *kind, shown, has, done: None, sent: 0 });
            let shown = room.offer.opened(session, now).into_iter().map(|piece| (session, piece)).collect();
            room.show(shown);
        }
        for step in 1..PIECES * 40 {
            room.step(step);
            if room.peers.iter().all(|peer| peer.done.is_some()) {
                return room;
            }
        }
        let counts: Vec<_> = room.peers.iter().map(|peer| (peer.kind, peer.has.count())).collect();
        panic!("somebody never has everything: {counts:?}");
    }

    fn show(&mut self, shown: Vec<Showing>) {
        shown.into_iter().for_each(|(SessionId(number), piece)| _ = self.peers[number as usize].shown.set(piece.get()));
    }

    fn step(&mut self, step: u32) {
        self.now += STEP;
        self.give();
        for at in 0..self.peers.len() {
            self.pass_on(at);
        }
        if step.is_multiple_of(50) {
            let shown = self.offer.tick(self.idle, self.now);
            self.show(shown);
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.has.is_full()) {
            peer.done.get_or_insert(step);
        }
    }

    /// The source sends one piece to whoever's turn it is of those that may ask for one.
    fn give(&mut self) {
        let count = self.peers.len();
        let wanted = |peer: &Peer| peer.shown.iter().find(|index| !peer.has.get(*index));
        let next =
            (0..count).map(|more| (self.turn + more) % count).find_map(|at| Some((at, wanted(&self.peers[at])?)));
        self.idle = next.is_none();
        let Some((at, index)) = next else { return };
        self.turn = at + 1;
        self.peers[at].sent += 1;
        let piece = self.offer.geometry.piece(index).unwrap();
        self.offer.moves(self.peers[at].session, self.now);
        let shown = self.offer.sent(self.peers[at].session, piece, self.idle, self.now);
        self.show(shown);
        self.gets(at, piece);
    }

    /// A peer sends a piece to another that lacks it.
    fn pass_on(&mut self, at: usize) {
        let other = self.chance.below(self.peers.len());
        let (from, to) = (&self.peers[at], &self.peers[other]);
        if matches!(from.kind, Kind::Hoards | Kind::Speaker) {
            return;
        }
        let wanted: Vec<_> = from.has.iter().filter(|index| !to.has.get(*index)).collect();
        if !wanted.is_empty() {
            let index = wanted[self.chance.below(wanted.len())];
            self.gets(other, self.offer.geometry.piece(index).unwrap());
        }
    }

    fn gets(&mut self, at: usize, piece: PieceIndex) {
        let peer = &mut self.peers[at];
        peer.has.set(piece.get());
        let says = match peer.kind {
            Kind::Speaks | Kind::Speaker => true,
            Kind::Silent => !peer.shown.get(piece.get()),
            Kind::Hoards => false,
        };
        if says {
            let shown = self.offer.gained(peer.session, piece, self.idle, self.now);
            self.show(shown);
        }
    }

    /// When the last peer of a kind was done.
    fn done(&self, kind: Kind) -> u32 {
        self.peers.iter().filter(|peer| peer.kind == kind).filter_map(|peer| peer.done).max().unwrap()
    }

    /// How often the source sent what it has, to all but those of one kind.
    fn copies_besides(&self, kind: Kind) -> f64 {
        let sent: u32 = self.peers.iter().filter(|peer| peer.kind != kind).map(|peer| peer.sent).sum();
        f64::from(sent) / f64::from(PIECES)
    }
}

#[test]
fn a_silent_peer_alone_gets_everything_as_fast_as_one_that_speaks() {
    let speaks = Room::run(&[Kind::Speaks]).done(Kind::Speaks);
    for kind in [Kind::Silent, Kind::Hoards] {
        let silent = Room::run(&[kind]).done(kind);
        assert!(silent * 9 <= speaks * 10, "{kind:?}: {silent} steps, {speaks} with words");
    }
}

#[test]
fn a_silent_peer_among_others_is_served_as_they_are() {
    for others in 1..8 {
        let mut kinds = vec![Kind::Speaker; others];
        kinds.push(Kind::Hoards);
        let room = Room::run(&kinds);
        let (silent, speaker) = (room.done(Kind::Hoards), room.done(Kind::Speaker));
        assert!(silent * 9 <= speaker * 10, "{silent} steps, {speaker} with words, among {others}");
        let all_speak = Room::run(&vec![Kind::Speaker; others + 1]).done(Kind::Speaker);
        assert!(speaker * 9 <= all_speak * 10, "{speaker} steps, {all_speak} when all speak");
    }
}

#[test]
fn a_room_of_silent_peers_that_pass_on_what_they_have_costs_the_source_no_more() {
    for count in [2, 3, 8, 16, 30] {
        let (speaking, silent) = (Room::run(&vec![Kind::Speaks; count]), Room::run(&vec![Kind::Silent; count]));
        let [words, none] = [&speaking, &silent].map(|room| room.copies_besides(Kind::Hoards));
        let (with, without) = (speaking.done(Kind::Speaks), silent.done(Kind::Silent));
        assert!(none <= words + 0.1, "{none:.2} copies, {words:.2} with words, in a room of {count}");
        assert!(without * 9 <= with * 10, "{without} steps, {with} with words, in a room of {count}");
    }
}

#[test]
fn one_that_takes_everything_and_confirms_nothing_costs_the_others_nothing() {
    for count in [2, 4, 8, 16] {
        let room = |last| Room::run(&[vec![Kind::Speaks; count], vec![last]].concat());
        let (speaker, hoarder) = (room(Kind::Speaker), room(Kind::Hoards));
        let (without, with) = (speaker.copies_besides(Kind::Speaker), hoarder.copies_besides(Kind::Hoards));
        assert!(with <= without + 0.05, "{with:.2} copies, {without:.2} with a peer that speaks, among {count}");
        let (silent, speaks) = (hoarder.done(Kind::Hoards), speaker.done(Kind::Speaker));
        assert!(silent * 8 <= speaks * 10, "{silent} steps, {speaks} with words, among {count}");
    }
}

#[test]
fn one_that_got_elsewhere_what_it_was_shown_and_says_nothing_is_shown_more() {
    let (mut offer, now) = (offer(8), Instant::now());
    let (silent, other) = (SessionId(1), SessionId(2));
    let silents = offer.opened(silent, now);
    let others = offer.opened(other, now);
    offer.sent(silent, silents[0], false, now);
    others.iter().for_each(|piece| _ = offer.gained(other, *piece, false, now));
    assert_eq!(offer.peers[&silent].pending, 3);
    let shown = offer.tick(false, now + PATIENCE);
    assert!(!shown.is_empty());
    let to_silent: Vec<_> = shown.iter().filter(|(session, _)| *session == silent).map(|(_, piece)| *piece).collect();
    assert!(!to_silent.is_empty() && to_silent.iter().all(|piece| others.contains(piece)), "{to_silent:?}");
}

#[test]
fn what_one_was_sent_and_nobody_has_is_shown_to_others_after_a_while_and_at_once_when_it_leaves() {
    let (mut offer, now) = (offer(4), Instant::now());
    let silents = offer.opened(SessionId(1), now);
    silents.iter().for_each(|piece| assert!(offer.sent(SessionId(1), *piece, false, now).is_empty()));
    assert!(offer.opened(SessionId(2), now).is_empty());
    assert!(offer.tick(false, now + PATIENCE).is_empty());
    assert_eq!(offer.tick(false, now + PATIENCE * 2).len(), 4);
    let (mut offer, now) = (super::offer(4), now);
    let silents = offer.opened(SessionId(1), now);
    silents.iter().for_each(|piece| _ = offer.sent(SessionId(1), *piece, false, now));
    offer.opened(SessionId(2), now);
    assert_eq!(offer.closed(SessionId(1), now).len(), 4);
}

#[test]
fn a_silent_peer_is_not_taken_for_done_and_what_it_is_sent_again_changes_nothing() {
    let (mut offer, now) = (offer(4), Instant::now());
    let peer = SessionId(1);
    let pieces = offer.opened(peer, now);
    for piece in pieces.iter().chain(&pieces) {
        assert!(offer.sent(peer, *piece, true, now).is_empty());
    }
    assert!(!offer.is_done(peer) && offer.theirs(peer).unwrap().is_empty());
    offer.has(peer, &Bitfield::full(4), now);
    assert!(offer.is_done(peer));
}
