//! The peers of the room: what each has, says, and does of its own accord.

use super::{session::Session, *};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Character {
    Honest,
    /// Answers some requests with other bytes.
    Liar,
    /// Takes requests and answers none.
    Mute,
    /// Has everything and lets nobody ask.
    Choker,
}

/// A peer, whether it is here or not.
pub struct Peer {
    pub character: Character,
    pub remote: Remote,
    pub has: Bitfield,
    pub latency: Duration,
    pub block_time: Duration,
    pub session: Option<SessionId>,
    /// From when on it comes, or can be reached.
    pub returns: Instant,
}

/// What a peer sends.
#[derive(Debug)]
pub enum Said {
    Has(Bitfield),
    Gained(PieceIndex),
    Choke,
    Unchoke,
    Block(Block, Bytes),
}

impl World {
    /// A few peers with some of the pieces each; every piece is with an honest one.
    pub fn populate(&mut self) {
        let count = 1 + self.chance.below(7) as usize;
        for number in 0..count {
            let character = match self.chance.below(8) {
                _ if number == 0 => Character::Honest,
                0 => Character::Mute,
                1 => Character::Choker,
                2 | 3 => Character::Liar,
                _ => Character::Honest,
            };
            let mut has = Bitfield::empty(self.geometry.piece_count());
            let share = self.chance.below(4);
            for piece in 0..has.len() {
                if character == Character::Choker || self.chance.below(4) <= share {
                    has.set(piece);
                }
            }
            // Where there is little room, those that come by themselves would find it taken for ever.
            let is_dialled = self.is_narrow() || self.chance.one_in(2);
            let direction = if is_dialled { Direction::Dialled } else { Direction::Accepted };
            let remote = Remote { direction, ..*Remote::for_tests(number as u8 + 1) };
            self.peers.push(Peer {
                character,
                remote,
                has,
                latency: self.chance.millis(300),
                block_time: self.chance.millis(100),
                session: None,
                returns: self.now + self.chance.millis(3000),
            });
        }
        let honest: Vec<_> = (0..count).filter(|peer| self.peers[*peer].character == Character::Honest).collect();
        for piece in 0..self.geometry.piece_count() {
            let owner = honest[self.chance.below(honest.len() as u64) as usize];
            self.peers[owner].has.set(piece);
        }
    }

    /// What a peer makes of what it is told.
    pub fn order(&mut self, id: SessionId, order: &SendOrder) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match order {
            SendOrder::Interested => {
                assert!(!std::mem::replace(&mut session.interested, true), "said twice");
                let waits = self.chance.millis(1000);
                session.unchokes_at =
                    (self.peers[session.peer].character != Character::Choker).then(|| self.now + waits);
            }
            SendOrder::NotInterested => {
                assert!(std::mem::replace(&mut session.interested, false), "said twice");
                session.unchokes_at = None;
                self.choke(id);
            }
            SendOrder::Start(have) => {
                let count = have.as_ref().map_or(0, Bitfield::count);
                assert_eq!(count as usize, self.verified.len(), "the bitfield is what is verified");
            }
            _ => {}
        }
    }

    /// A peer gets requests and will answer them, unless it chokes us.
    pub fn request(&mut self, id: SessionId, blocks: Vec<Block>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let peer = &self.peers[session.peer];
        for block in blocks {
            assert!(peer.has.get(block.piece.get()), "it was asked for {block:?}, which it has not");
            if session.chokes || peer.character == Character::Mute {
                continue;
            }
            let lies = peer.character == Character::Liar && self.chance.one_in(6);
            self.next_lie += u64::from(lies);
            let bytes = if lies { self.next_lie } else { 0 };
            let first = self.now + peer.latency;
            let due = session.incoming.back().map_or(first, |(last, _)| (*last + peer.block_time).max(first));
            session.incoming.push_back((due, Said::Block(block, bytes)));
        }
    }

    /// A peer that still can forgets a request, or does not bother.
    pub fn cancel(&mut self, id: SessionId, blocks: &[Block]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if self.chance.one_in(2) {
            session.incoming.retain(|(_, said)| !matches!(said, Said::Block(block, _) if blocks.contains(block)));
        }
    }

    pub fn choke(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !std::mem::replace(&mut session.chokes, true) {
            let sent = self.chance.below(session.incoming.len() as u64 + 1) as usize;
            let mut number = 0;
            session.incoming.retain(|(_, said)| {
                number += 1;
                number <= sent || !matches!(said, Said::Block(..))
            });
            session.say(self.now, Said::Choke);
        }
    }

    /// What a peer does of its own accord, looked at once a tick.
    pub fn misbehave(&mut self, number: usize) {
        let peer = &self.peers[number];
        let Some(id) = peer.session else {
            if peer.returns <= self.now && peer.remote.direction == Direction::Accepted && !self.is_closing {
                self.connect(number);
            }
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.chokes && session.unchokes_at.is_some_and(|at| at <= self.now) {
            session.chokes = false;
            session.say(self.now, Said::Unchoke);
        }
        match self.chance.below(400) {
            0..5 => {
                self.choke(id);
                let waits = self.chance.millis(4000);
                self.sessions.entry(id).and_modify(|session| {
                    session.unchokes_at = session.unchokes_at.map(|_| self.now + waits);
                });
            }
            5 if self.peers[number].character != Character::Choker => session.is_ending = true,
            6..10 => {
                let stalls = self.chance.millis(20_000);
                session.incoming.iter_mut().for_each(|(due, _)| *due += stalls);
            }
            10..20 => {
                let piece = self.chance.below(u64::from(self.geometry.piece_count())) as u32;
                if self.peers[number].has.set(piece) {
                    session.say(self.now, Said::Gained(self.geometry.piece(piece).expect("it is below the count")));
                }
            }
            _ => {}
        }
    }

    pub fn connect(&mut self, number: usize) {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        let peer = &mut self.peers[number];
        peer.session = Some(id);
        let remote = Arc::new(Remote { session: id, ..peer.remote });
        let mut session = Session {
            peer: number,
            requests: Requests::new(&self.geometry, remote.clone(), self.now),
            incoming: VecDeque::new(),
            landing: None,
            outgoing: VecDeque::from([Passed::Opened(remote.clone())]),
            remote,
            chokes: true,
            unchokes_at: None,
            interested: false,
            is_ending: false,
            is_over: false,
            downloaded: 0,
        };
        session.requests.limit_pipeline([1, 2, 5, 250][self.chance.below(4) as usize]);
        session.say(self.now + peer.latency, Said::Has(peer.has.clone()));
        self.sessions.insert(id, session);
    }
}
