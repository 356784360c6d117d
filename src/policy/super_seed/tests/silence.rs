//! Peers that do not say what they have got: alone, among others, and in rooms of their kind.

use std::collections::VecDeque;

use super::*;

/// How long our uplink takes over a piece.
const STEP: Duration = Duration::from_millis(20);

const STEPS_A_SECOND: u32 = 50;

/// Steps between two looks at who asks for something.
const LOOKS: u32 = 3;

const PIECES: u32 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Says what it has and passes it on.
    Speaks,
    /// Says what it has and passes nothing on.
    Speaker,
    /// Passes on what it has. It tells the source only of what the source has not shown it, as rqbit does.
    Silent,
    /// Passes on what it has, and says nothing.
    Mute,
    /// Passes on what it has, and says so a second later.
    Late,
    /// Says nothing and passes nothing on.
    Hoards,
}

struct Peer {
    session: SessionId,
    kind: Kind,
    shown: Bitfield,
    has: Bitfield,
    /// What it will say that it has, and when, in steps.
    unsaid: VecDeque<(u32, PieceIndex)>,
    /// When it was done, in steps.
    done: Option<u32>,
    /// Pieces that the source sent it.
    sent: u32,
}

/// What a peer may ask the source for.
fn wants(peer: &Peer) -> impl Iterator<Item = u32> {
    peer.shown.iter().filter(|index| !peer.has.get(*index))
}

/// A source and its peers, all with links of the same rate.
struct Room {
    offer: SuperSeeding,
    peers: Vec<Peer>,
    now: Instant,
    step: u32,
    turn: usize,
    chance: Chance,
    idle: bool,
}

impl Room {
    fn run(kinds: &[Kind]) -> Room {
        Room::of(PIECES, kinds, 3)
    }

    fn of(pieces: u32, kinds: &[Kind], seed: u64) -> Room {
        let now = Instant::now();
        let none = Bitfield::empty(pieces);
        let (offer, chance) = (offer(pieces.into()), Chance::new(seed));
        let mut room = Room { offer, peers: Vec::new(), now, step: 0, turn: 0, chance, idle: false };
        for (number, kind) in (0..).zip(kinds) {
            let session = SessionId(number);
            let (shown, has) = (none.clone(), none.clone());
            room.peers.push(Peer { session, kind: *kind, shown, has, unsaid: VecDeque::new(), done: None, sent: 0 });
            let shown = room.offer.opened(session, now).into_iter().map(|piece| (session, piece)).collect();
            room.show(shown);
        }
        for _ in 0..pieces * 40 {
            room.step();
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

    fn step(&mut self) {
        self.now += STEP;
        self.step += 1;
        let step = self.step;
        self.give();
        for at in 0..self.peers.len() {
            self.pass_on(at);
            while self.peers[at].unsaid.front().is_some_and(|(due, _)| *due <= step) {
                let (_, piece) = self.peers[at].unsaid.pop_front().unwrap();
                self.says(at, piece);
            }
        }
        if step.is_multiple_of(LOOKS) && self.offer.needs_look() {
            let peers = &self.peers;
            let asks = |SessionId(number)| wants(&peers[number as usize]).next().is_some();
            let shown = self.offer.look(self.idle, asks, self.now);
            self.show(shown);
        }
        if step.is_multiple_of(STEPS_A_SECOND) {
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
        let next =
            (0..count).map(|more| (self.turn + more) % count).find(|at| wants(&self.peers[*at]).next().is_some());
        self.idle = next.is_none();
        let Some(at) = next else { return };
        let wanted: Vec<_> = wants(&self.peers[at]).collect();
        let index = wanted[self.chance.below(wanted.len())];
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
        match peer.kind {
            Kind::Speaks | Kind::Speaker => self.says(at, piece),
            Kind::Silent if !peer.shown.get(piece.get()) => self.says(at, piece),
            Kind::Late => peer.unsaid.push_back((self.step + STEPS_A_SECOND, piece)),
            Kind::Silent | Kind::Mute | Kind::Hoards => {}
        }
    }

    fn says(&mut self, at: usize, piece: PieceIndex) {
        let shown = self.offer.gained(self.peers[at].session, piece, self.idle, self.now);
        self.show(shown);
    }

    /// When the last peer of a kind was done.
    fn done(&self, kind: Kind) -> u32 {
        self.peers.iter().filter(|peer| peer.kind == kind).filter_map(|peer| peer.done).max().unwrap()
    }

    /// When the last of the first peers was done, and how often the source sent them what it has.
    fn of_first(&self, count: usize) -> (u32, f64) {
        let first = &self.peers[..count];
        let sent: u32 = first.iter().map(|peer| peer.sent).sum();
        let done = first.iter().filter_map(|peer| peer.done).max().unwrap();
        (done, f64::from(sent) / f64::from(self.offer.geometry.piece_count()))
    }

    /// How often the source sent what it has, to all but those of one kind.
    fn copies_besides(&self, kind: Kind) -> f64 {
        let sent: u32 = self.peers.iter().filter(|peer| peer.kind != kind).map(|peer| peer.sent).sum();
        f64::from(sent) / f64::from(self.offer.geometry.piece_count())
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
        let speaking = Room::run(&vec![Kind::Speaks; count]);
        for kind in [Kind::Silent, Kind::Late, Kind::Mute] {
            let silent = Room::run(&vec![kind; count]);
            let [words, none] = [&speaking, &silent].map(|room| room.copies_besides(Kind::Hoards));
            let (with, without) = (speaking.done(Kind::Speaks), silent.done(kind));
            assert!(none <= words + 0.1, "{none:.2} copies, {words:.2} with words, in a room of {count} {kind:?}");
            assert!(without * 9 <= with * 10, "{without} steps, {with} with words, in a room of {count} {kind:?}");
        }
    }
}

#[test]
fn among_peers_that_share_one_that_says_little_is_served_as_one_that_speaks_and_costs_the_others_no_more() {
    for (pieces, count) in [64, 512].into_iter().flat_map(|pieces| [1, 2, 4, 8].map(|count| (pieces, count))) {
        for (kind, instead) in [
            (Kind::Hoards, Kind::Speaker),
            (Kind::Silent, Kind::Speaks),
            (Kind::Mute, Kind::Speaks),
            (Kind::Late, Kind::Speaks),
        ] {
            let seeds = if pieces < 100 { 1..9 } else { 1..3 };
            let rooms = |last| {
                seeds.clone().map(move |seed| Room::of(pieces, &[vec![Kind::Speaks; count], vec![last]].concat(), seed))
            };
            let sum = |last| {
                rooms(last).fold((0, 0, 0.0), |(own, others, copies), room| {
                    let (done, sent) = room.of_first(count);
                    (own + room.peers[count].done.unwrap(), others + done, copies + sent)
                })
            };
            let ((silent, beside, copies), (speaks, beside_speaker, usual)) = (sum(kind), sum(instead));
            let what = format!("{kind:?} among {count}, {pieces} pieces, {seeds:?}");
            let runs = f64::from(seeds.end as u32 - 1);
            assert!(silent * 9 <= speaks * 10, "{what}: {silent} steps, {speaks} with words");
            assert!(
                beside * 9 <= beside_speaker * 10,
                "{what}: the others {beside} steps, {beside_speaker} beside one with words"
            );
            assert!(
                copies <= usual + 0.05 * runs,
                "{what}: {copies:.2} copies to the others, {usual:.2} beside one with words"
            );
        }
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
fn one_that_asks_for_nothing_is_shown_more_than_others_have_at_the_next_look_and_one_that_asks_is_not() {
    let (silent, other) = (SessionId(1), SessionId(2));
    let shown_after = |asks: bool, wait: Duration| {
        let (mut offer, now) = (offer(32), Instant::now());
        let (silents, others) = (offer.opened(silent, now), offer.opened(other, now));
        assert!(!offer.needs_look());
        silents[..2].iter().for_each(|piece| _ = offer.sent(silent, *piece, false, now));
        assert!(!offer.needs_look(), "it may still say what it has");
        offer.sent(silent, silents[2], false, now);
        assert!(offer.needs_look());
        silents[3..].iter().for_each(|piece| _ = offer.gained(other, *piece, false, now));
        let shown = offer.look(false, |session| asks && session == silent, now + wait);
        assert!(shown.iter().all(|(session, piece)| *session == silent && !others.contains(piece)));
        shown.len()
    };
    assert_eq!(shown_after(false, LOOK), 1, "in the place of what it has got elsewhere");
    assert_eq!(shown_after(true, LOOK), 0);
    assert_eq!(shown_after(false, LOOK / 2), 0, "it may still ask");
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
