//! The coordinator in a room of simulated peers: real requests and pieces, no socket, no thread, no clock.
//!
//! Everything that a thread, a queue or a link may do in another order, a seed decides here: which of those that could go
//! on does, how long an answer takes, who chokes, stalls, leaves or lies, and how few peers there may be at once. Every queue of a
//! fetch is as small as one place, each by itself. The world watches what must hold at every step, and that every fetch comes to its end.

mod peers;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::{
    metainfo::Block,
    policy::{Buffers, Payload, PieceState},
    session::{Expected, Requests, incoming::hash::Hashed},
};
use peers::{Character, Peer};
use session::{Passed, Session};

const TICK: Duration = Duration::from_millis(200);

/// Simulated time by which every fetch must be over.
const LONGEST: Duration = Duration::from_secs(900);

/// The first bytes of a block, which stand for all of them: 0 is right, every other number is a lie of its own.
type Bytes = u64;

/// What follows from a seed.
struct Chance(crate::chance::Chance);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next() % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.below(most))
    }
}

/// A worker that is dialling.
#[derive(Debug, Clone, Copy)]
struct Dial {
    address: SocketAddr,
    /// When it knows what comes of it.
    due: Instant,
}

/// How much room there is in each queue.
#[derive(Clone, Copy)]
struct Bounds {
    events: usize,
    unhashed: usize,
    hashed: usize,
    news: usize,
    addresses: usize,
    failures: usize,
}

impl Bounds {
    /// The last stands for as much as is ever needed.
    const CHOICES: [usize; 4] = [1, 2, 3, 1000];

    /// How many combinations there are.
    const COUNT: u64 = 4_u64.pow(6);

    /// Every combination in turn.
    fn of(seed: u64) -> Bounds {
        let choice = |place: u32| Bounds::CHOICES[(seed / 4_u64.pow(place) % 4) as usize];
        Bounds {
            events: choice(0),
            unhashed: choice(1),
            hashed: choice(2),
            news: choice(3),
            addresses: choice(4),
            failures: choice(5),
        }
    }
}

/// What the coordinator's thread takes next.
#[derive(Clone, Copy)]
enum Input {
    Event,
    Hashed,
    Failure,
    News,
}

/// Whose turn it may be.
#[derive(Clone, Copy)]
enum Actor {
    Coordinator,
    HashWorker,
    Reader(SessionId),
    /// A worker takes an address, or the one that dials there is done.
    Dialler,
    Dialled(usize),
    Tracker,
}

struct World {
    chance: Chance,
    geometry: Geometry,
    settings: FetchSettings,
    coordinator: Coordinator,
    now: Instant,
    start: Instant,
    next_tick: Instant,
    /// Until when somebody has paused it.
    paused_until: Option<Instant>,
    peers: Vec<Peer>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u64,
    buffers: Arc<Buffers>,
    disk: BTreeMap<Block, Bytes>,
    next_lie: Bytes,
    /// The coordinator's queue of events, that of the hash workers, and what they have found out.
    events: VecDeque<Passed>,
    unhashed: VecDeque<PieceInFlight>,
    hashed: VecDeque<Hashed>,
    /// Pieces completed by an endgame block, while the hash queue is full.
    unsent: VecDeque<PieceInFlight>,
    /// What trackers have named, addresses that wait for a worker, and those that came to nothing.
    news: VecDeque<Vec<SocketAddr>>,
    addresses: VecDeque<SocketAddr>,
    failures: VecDeque<SocketAddr>,
    dials: Vec<Dial>,
    next_news: Instant,
    /// Whether nobody comes any more.
    is_closing: bool,
    bounds: Bounds,
    /// Who has which piece in hand; a piece in flight is there once.
    out: BTreeSet<PieceIndex>,
    verified: BTreeSet<PieceIndex>,
    /// Of pieces that failed with several uploaders, who sent a lie.
    lied: BTreeMap<PieceIndex, BTreeSet<usize>>,
    banned: BTreeSet<usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(crate::chance::Chance::new(seed));
        let piece_length = u64::from(crate::metainfo::BLOCK_LENGTH) * (1 + chance.below(6)) - chance.below(2) * 99;
        let length = piece_length * chance.below(20) + 1 + chance.below(piece_length);
        let geometry = Geometry::new(length, piece_length).expect("a small torrent");
        let now = Instant::now();
        let memory = [0, piece_length, piece_length * 3, u64::MAX][chance.below(4) as usize];
        let max_peers = [1, 2, 50, 50][chance.below(4) as usize];
        let settings = FetchSettings { max_peers, upload_slots: 4, memory };
        let none = Bitfield::empty(geometry.piece_count());
        let ours = PeerId([200; 20]);
        let mut world = World {
            coordinator: Coordinator::new(&geometry, &none, ours, settings, seed, now),
            bounds: Bounds::of(seed),
            settings,
            geometry,
            now,
            start: now,
            next_tick: now,
            paused_until: None,
            peers: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            buffers: Arc::default(),
            disk: BTreeMap::new(),
            next_lie: 0,
            events: VecDeque::new(),
            unhashed: VecDeque::new(),
            hashed: VecDeque::new(),
            unsent: VecDeque::new(),
            news: VecDeque::new(),
            addresses: VecDeque::new(),
            failures: VecDeque::new(),
            dials: Vec::new(),
            next_news: now,
            is_closing: false,
            out: BTreeSet::new(),
            verified: BTreeSet::new(),
            lied: BTreeMap::new(),
            banned: BTreeSet::new(),
            chance,
        };
        world.populate();
        world
    }

    fn run(mut self) {
        while !self.coordinator.is_complete() {
            self.step();
            self.check();
            assert!(self.now < self.start + LONGEST, "not over in time: {:?}", self.coordinator.flights);
        }
        assert_eq!(self.verified.len() as u32, self.geometry.piece_count());
        assert!(self.coordinator.flights.is_empty() && self.coordinator.shelf.is_empty() && self.out.is_empty());
        assert_eq!(self.coordinator.memory, 0, "everything that was promised is free again");
        self.end();
    }

    /// Whether there may be fewer peers at once than there are.
    fn is_narrow(&self) -> bool {
        self.settings.max_peers < 10
    }

    /// Every session ends, and nothing that comes late does harm.
    fn end(&mut self) {
        self.sessions.values_mut().for_each(|session| session.is_ending = true);
        self.is_closing = true;
        while !self.sessions.is_empty() || !self.events.is_empty() {
            self.step();
        }
        assert!(self.coordinator.peers.is_empty() && self.coordinator.roster.connected() == 0);
    }

    /// Lets one of those that can go on do so, or time pass.
    fn step(&mut self) {
        if self.now >= self.next_tick {
            return self.tick();
        }
        let mut able = Vec::new();
        if self.waiting_inputs().next().is_some() {
            able.push(Actor::Coordinator);
        }
        if !self.addresses.is_empty() && self.busy_workers() < self.settings.max_peers {
            able.push(Actor::Dialler);
        }
        let due = |(_, dial): &(usize, &Dial)| dial.due <= self.now && self.can_tell(dial);
        able.extend(self.dials.iter().enumerate().filter(due).map(|(number, _)| Actor::Dialled(number)));
        if self.next_news <= self.now && self.news.len() < self.bounds.news {
            able.push(Actor::Tracker);
        }
        if !self.unhashed.is_empty() && self.hashed.len() < self.bounds.hashed {
            able.push(Actor::HashWorker);
        }
        let readers = self.sessions.iter().filter(|(_, session)| self.can_go_on(session));
        able.extend(readers.map(|(id, _)| Actor::Reader(*id)));
        let Some(which) = self.chance.below(1 << 20).checked_rem(able.len() as u64) else { return self.wait() };
        match able[which as usize] {
            Actor::Coordinator => self.coordinate(),
            Actor::HashWorker => self.hash(),
            Actor::Reader(id) => self.read(id),
            Actor::Dialler => {
                let address = self.addresses.pop_front().expect("one waits");
                let due = self.now + self.chance.millis(5000);
                self.dials.push(Dial { address, due });
            }
            Actor::Dialled(number) => self.dialled(number),
            Actor::Tracker => self.announce(),
        }
    }

    /// The coordinator's queues that have something in them.
    fn waiting_inputs(&self) -> impl Iterator<Item = Input> {
        let is_empty = [self.events.is_empty(), self.hashed.is_empty(), self.failures.is_empty(), self.news.is_empty()];
        let inputs = [Input::Event, Input::Hashed, Input::Failure, Input::News];
        inputs.into_iter().zip(is_empty).filter(|(_, is_empty)| !is_empty).map(|(input, _)| input)
    }

    /// Workers that dial or that run a session which they have dialled.
    fn busy_workers(&self) -> usize {
        let sessions = self.sessions.values().filter(|session| session.remote.direction == Direction::Dialled);
        self.dials.len() + sessions.count()
    }

    /// Whether a worker can tell what came of dialling; one that opened a session tells it through the session's own queue.
    fn can_tell(&self, dial: &Dial) -> bool {
        self.reached(dial.address).is_some() || self.failures.len() < self.bounds.failures
    }

    /// The peer that listens there, if it is here and there is no session with it.
    fn reached(&self, address: SocketAddr) -> Option<usize> {
        let is_free = |peer: &Peer| peer.returns <= self.now && peer.session.is_none() && !self.is_closing;
        self.peers.iter().position(|peer| peer.remote.address == address && is_free(peer))
    }

    fn dialled(&mut self, number: usize) {
        let dial = self.dials.swap_remove(number);
        match self.reached(dial.address) {
            Some(peer) => self.connect(peer),
            None => self.failures.push_back(dial.address),
        }
    }

    /// A tracker names everybody that listens, and as many that do not.
    fn announce(&mut self) {
        self.next_news = self.now + self.chance.millis(20_000);
        let here = self.peers.iter().filter(|peer| peer.remote.direction == Direction::Dialled);
        let here = here.map(|peer| peer.remote.address);
        let nobody = (0..self.peers.len()).map(|number| SocketAddr::from(([10, 9, 9, number as u8], 1)));
        self.news.push_back(here.chain(nobody).collect());
    }

    fn can_go_on(&self, session: &Session) -> bool {
        match session.outgoing.front() {
            Some(Passed::Finished(_)) => self.unhashed.len() < self.bounds.unhashed,
            Some(_) => self.events.len() < self.bounds.events,
            None if session.is_over => false,
            None => session.is_ending || session.due().is_some_and(|due| due <= self.now),
        }
    }

    fn wait(&mut self) {
        let due = self
            .sessions
            .values()
            .filter(|session| session.outgoing.is_empty() && !session.is_over)
            .filter_map(Session::due);
        let dials = self.dials.iter().map(|dial| dial.due).filter(|due| *due > self.now);
        self.now = due.chain(dials).chain([self.next_tick]).min().expect("there is a tick").max(self.now);
    }

    /// The coordinator's thread takes one thing from its queues and does all that follows.
    fn coordinate(&mut self) {
        let mut actions = Vec::new();
        let inputs: Vec<_> = self.waiting_inputs().collect();
        match inputs[self.chance.below(inputs.len() as u64) as usize] {
            Input::Event => match self.events.pop_front() {
                Some(Passed::Opened(remote)) => self.coordinator.opened(&remote, self.now, &mut actions),
                Some(Passed::Told(event)) => self.event(event, &mut actions),
                Some(Passed::Closed(session, pieces)) => self.closed(session, pieces, &mut actions),
                _ => return,
            },
            Input::Hashed => self.hashed(&mut actions),
            Input::Failure => {
                let address = self.failures.pop_front().expect("one waits");
                self.coordinator.dial_failed(address, false, self.now);
            }
            Input::News => {
                let addresses = self.news.pop_front().expect("some wait");
                self.coordinator.found(addresses, self.now, &mut actions);
            }
        }
        self.perform(actions);
    }

    fn hashed(&mut self, actions: &mut Vec<Action>) {
        match self.hashed.pop_front() {
            Some(Hashed::Right(piece, liars)) => {
                assert!(self.verified.insert(piece), "{piece} was verified twice");
                assert!(self.out.remove(&piece));
                let convicted: BTreeSet<_> = liars.iter().map(|liar| self.number_of(liar)).collect();
                assert_eq!(convicted, self.lied.remove(&piece).unwrap_or_default(), "the liars are convicted exactly");
                self.banned.extend(convicted);
                self.coordinator.verified(piece, &liars, self.now, actions);
            }
            Some(Hashed::Wrong(piece, liar)) => {
                assert!(self.out.remove(&piece.piece()));
                if let Some(liar) = &liar {
                    let number = self.number_of(liar);
                    assert_eq!(self.peers[number].character, Character::Liar);
                    self.banned.insert(number);
                }
                self.coordinator.failed(piece, liar, self.now, actions);
            }
            Some(Hashed::Failed(error)) => panic!("{error}"),
            None => panic!("nothing waits"),
        }
    }

    fn event(&mut self, event: PeerEvent, actions: &mut Vec<Action>) {
        if let PeerEvent::Choked(_, pieces) = &event {
            self.back(pieces);
        }
        self.coordinator.event(event, self.now, actions);
    }

    fn closed(&mut self, session: SessionId, pieces: Vec<PieceInFlight>, actions: &mut Vec<Action>) {
        self.back(&pieces);
        let over = self.sessions.remove(&session).expect("a session closes once");
        let peer = &mut self.peers[over.peer];
        (peer.session, peer.returns) = (None, self.now + self.chance.millis(5000));
        self.coordinator.closed(session, false, pieces, self.now, actions);
    }

    fn tick(&mut self) {
        self.next_tick = self.now + TICK;
        self.send_unsent();
        let paces: Vec<_> = self.sessions.iter().map(|(id, session)| (*id, session.pace(self.now))).collect();
        let mut actions = Vec::new();
        match self.paused_until {
            Some(until) if until <= self.now => {
                self.paused_until = None;
                self.coordinator.resume(self.now, &mut actions);
            }
            // A pause sends everybody away, and would free the places that silent ones must leave.
            None if !self.is_narrow() && self.chance.one_in(200) => {
                self.paused_until = Some(self.now + self.chance.millis(8000));
                self.coordinator.pause(&mut actions);
            }
            _ => {}
        }
        self.coordinator.tick(&paces, self.now, &mut actions);
        self.perform(actions);
        (0..self.peers.len()).for_each(|peer| self.misbehave(peer));
    }

    /// Does what is to be done: in order for each session, in any order between them.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut queues: BTreeMap<SessionId, VecDeque<Action>> = BTreeMap::new();
        let mut more = actions;
        loop {
            for action in std::mem::take(&mut more) {
                let whose = match &action {
                    Action::Order(id, _) | Action::Assign(id, _) | Action::Deliver(id, ..) => *id,
                    Action::Recall(id, _) | Action::End(id) | Action::Help { helper: id, .. } => *id,
                    Action::Dial(address) => {
                        self.dial(*address);
                        continue;
                    }
                };
                queues.entry(whose).or_default().push_back(action);
            }
            queues.retain(|_, queue| !queue.is_empty());
            let Some(which) = self.chance.below(1 << 20).checked_rem(queues.len() as u64) else { return };
            let queue = queues.values_mut().nth(which as usize).expect("one of them");
            let action = queue.pop_front().expect("empty ones were removed");
            self.act(action, &mut more);
        }
    }

    fn act(&mut self, action: Action, more: &mut Vec<Action>) {
        let now = self.now;
        match action {
            Action::Order(id, order) => self.order(id, &order),
            Action::Assign(id, piece) => {
                let index = piece.piece();
                assert!(self.paused_until.is_none(), "{index} is fetched during a pause");
                assert!(!self.verified.contains(&index), "{index} is fetched again");
                assert!(self.out.insert(index), "{index} has two owners");
                let refused = match self.sessions.get_mut(&id) {
                    Some(session) => {
                        session.requests.assign(piece, now).map(|requests| self.request(id, requests)).err()
                    }
                    None => Some(piece),
                };
                if let Some(piece) = refused {
                    self.out.remove(&index);
                    self.coordinator.unassigned(id, piece, now, more);
                }
            }
            Action::Help { helper, owner, piece } => {
                assert_ne!(helper, owner);
                let Some(owner) = self.sessions.get(&owner) else { return };
                let missing = owner.requests.last_missing(piece, 8);
                let Some(session) = self.sessions.get_mut(&helper) else { return };
                let run = |block| session.requests.request_endgame_block(block, now);
                let requests = missing.into_iter().flat_map(run).collect();
                self.request(helper, requests);
            }
            Action::Deliver(id, block, payload, uploader) => {
                let Some(owner) = self.sessions.get_mut(&id) else { return };
                let (finished, asked) = owner.requests.receive(block, payload, uploader);
                let requests = owner.requests.next_requests(now);
                if asked {
                    self.cancel(id, &[block]);
                }
                self.request(id, requests);
                self.unsent.extend(finished);
                self.send_unsent();
            }
            Action::Recall(id, piece) => {
                let Some(session) = self.sessions.get_mut(&id) else { return };
                let (recalled, cancelled) = session.requests.recall(piece);
                let requests = session.requests.next_requests(now);
                self.cancel(id, &cancelled);
                self.request(id, requests);
                if let Some(piece) = recalled {
                    self.back(std::slice::from_ref(&piece));
                    self.coordinator.returned(piece, now, more);
                }
            }
            Action::End(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.is_ending = true;
                }
            }
            Action::Dial(_) => unreachable!("it goes to no session"),
        }
    }

    fn dial(&mut self, address: SocketAddr) {
        assert!(self.paused_until.is_none(), "{address} is dialled during a pause");
        if self.addresses.len() < self.bounds.addresses {
            self.addresses.push_back(address);
        } else {
            self.coordinator.not_dialled(address, self.now);
        }
    }

    /// A hash worker looks at a piece.
    fn hash(&mut self) {
        let Some(mut piece) = self.unhashed.pop_front() else { return };
        assert!(piece.is_complete());
        let index = piece.piece();
        let content: Vec<Bytes> =
            piece.blocks().map(|(block, held)| held.map_or_else(|| self.disk[&block], |part| leading(&part))).collect();
        let digests: Vec<[u8; 20]> = content.iter().map(|bytes| digest(*bytes)).collect();
        if content.iter().all(|bytes| *bytes == 0) {
            let liars = piece.liars(&digests);
            return self.hashed.push_back(Hashed::Right(piece.verified(), liars));
        }
        let uploaders: Vec<_> = piece.uploaders().map(|uploader| self.number_of(uploader)).collect();
        let liar = piece.reject(&digests);
        if liar.is_none() {
            let lies = content.iter().zip(uploaders).filter(|(bytes, _)| **bytes != 0).map(|(_, uploader)| uploader);
            self.lied.entry(index).or_default().extend(lies);
        }
        self.hashed.push_back(Hashed::Wrong(piece, liar));
    }

    fn send_unsent(&mut self) {
        while self.unhashed.len() < self.bounds.unhashed {
            let Some(piece) = self.unsent.pop_front() else { return };
            self.unhashed.push_back(piece);
        }
    }

    /// Pieces come back from a session.
    fn back(&mut self, pieces: &[PieceInFlight]) {
        pieces.iter().for_each(|piece| assert!(self.out.remove(&piece.piece()), "{} came back twice", piece.piece()));
    }

    fn number_of(&self, remote: &Remote) -> usize {
        self.peers.iter().position(|peer| peer.remote.is_same_peer(remote)).expect("a peer of this world")
    }

    fn check(&self) {
        let coordinator = &self.coordinator;
        assert!(coordinator.memory <= self.settings.memory, "{} bytes were promised", coordinator.memory);
        let flights = coordinator.flights.values().map(|flight| flight.memory).sum::<u64>();
        let shelf = coordinator.shelf.values().map(PieceInFlight::memory).sum::<u64>();
        assert_eq!(coordinator.memory, flights + shelf, "memory is accounted for");
        assert_eq!(coordinator.picker.in_flight() as usize, coordinator.flights.len());
        let is_partial = |piece: &PieceInFlight| piece.state() == PieceState::Partial;
        assert!(coordinator.shelf.values().all(is_partial));
        assert!(coordinator.shelf.keys().all(|piece| !coordinator.flights.contains_key(piece)));
        let places = coordinator.roster.dialling() + coordinator.roster.connected();
        assert!(!self.is_narrow() || places <= self.settings.max_peers, "{places} places are taken");
        assert!(self.banned.iter().all(|number| self.peers[*number].character == Character::Liar));
    }
}

fn leading(part: &[u8]) -> Bytes {
    let mut bytes = [0; 8];
    let length = part.len().min(8);
    bytes[..length].copy_from_slice(&part[..length]);
    Bytes::from_le_bytes(bytes)
}

fn digest(bytes: Bytes) -> [u8; 20] {
    let mut digest = [0; 20];
    digest[..8].copy_from_slice(&bytes.to_le_bytes());
    digest
}

#[test]
fn whatever_peers_and_links_do_every_fetch_ends_with_every_piece_verified_once() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(Bounds::COUNT);
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        let failed = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(failed.is_ok(), "seed {seed}");
    }
}
