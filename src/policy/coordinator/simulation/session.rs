//! A session: a real requests, both ends of its connection, and the reader between them.

use super::{peers::Said, *};
use crate::policy::Home;

/// What a session's reader has to pass on before it reads further.
#[derive(Debug)]
pub enum Passed {
    Opened(Arc<Remote>),
    Told(PeerEvent),
    Closed(SessionId, Vec<PieceInFlight>),
    Finished(PieceInFlight),
}

/// A block whose head has come.
#[derive(Debug, Clone, Copy)]
pub struct Landing {
    /// When the rest of it will be here.
    pub due: Instant,
    pub block: Block,
    pub home: Home,
    pub bytes: Bytes,
    /// Whether it is being written to disk.
    pub claimed: bool,
}

/// A session, with both ends of its connection.
pub struct Session {
    pub peer: usize,
    pub remote: Arc<Remote>,
    pub requests: Requests,
    /// On its way to us, in order, and when it arrives.
    pub incoming: VecDeque<(Instant, Said)>,
    pub landing: Option<Landing>,
    pub outgoing: VecDeque<Passed>,
    /// How the other side stands to us.
    pub chokes: bool,
    pub unchokes_at: Option<Instant>,
    pub interested: bool,
    pub is_ending: bool,
    pub is_over: bool,
    pub downloaded: u64,
}

impl Session {
    /// When there is something to read next.
    pub fn due(&self) -> Option<Instant> {
        self.landing.map(|landing| landing.due).or_else(|| self.incoming.front().map(|(due, _)| *due))
    }

    /// Behind all that was said before.
    pub fn say(&mut self, at: Instant, said: Said) {
        let due = self.incoming.back().map_or(at, |(last, _)| (*last).max(at));
        self.incoming.push_back((due, said));
    }

    pub fn pace(&self, now: Instant) -> SessionPace {
        SessionPace {
            waited: self.requests.waited(now),
            time_left: self.requests.time_left(),
            bytes_wanted: self.requests.bytes_wanted(),
            rate: self.requests.bytes_per_second(),
            idle: self.requests.is_idle(),
            spare: self.requests.spare(),
            downloaded: self.downloaded,
            uploaded: 0,
        }
    }
}

impl World {
    /// A session's reader passes on what it has to, or reads on.
    pub fn read(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.outgoing.pop_front() {
            Some(Passed::Finished(piece)) => return self.unhashed.push_back(piece),
            Some(event) => return self.events.push_back(event),
            None => {}
        }
        if session.is_ending {
            let pieces = session.requests.choke();
            session.is_over = true;
            session.outgoing.push_back(Passed::Closed(id, pieces));
            return;
        }
        if let Some(landing) = session.landing.take() {
            return self.land(id, landing);
        }
        let Some((_, said)) = session.incoming.pop_front() else { return };
        let event = match said {
            Said::Has(bits) => PeerEvent::Has(id, bits),
            Said::Gained(piece) => PeerEvent::Gained(id, piece),
            Said::Choke => PeerEvent::Choked(id, session.requests.choke()),
            Said::Unchoke => PeerEvent::Unchoked(id, session.requests.unchoke()),
            Said::Block(block, bytes) => {
                match session.requests.expects(block.into()) {
                    Expected::Yes(block, home) => {
                        let slow = if self.chance.one_in(50) { 15_000 } else { 3 };
                        let due = self.now + self.chance.millis(slow);
                        session.landing = Some(Landing { due, block, home, bytes, claimed: false });
                    }
                    Expected::NoLonger => {}
                    Expected::Never => panic!("{block:?} was asked for, and the requests has forgotten it"),
                }
                return;
            }
        };
        session.outgoing.push_back(Passed::Told(event));
    }

    /// The last byte of a block has come; to disk it goes in two steps, and others may act in between.
    pub fn land(&mut self, id: SessionId, landing: Landing) {
        let Landing { block, home, bytes, claimed, .. } = landing;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let payload = match home {
            Home::Memory => {
                let mut buffer = self.buffers.take(block.length);
                let length = buffer.len().min(8);
                buffer[..length].copy_from_slice(&bytes.to_le_bytes()[..length]);
                Payload::Held(buffer)
            }
            Home::Disk if claimed => {
                assert!(self.out.contains(&block.piece), "{block:?} is written, and its piece is with nobody");
                self.disk.insert(block, bytes);
                Payload::Stored
            }
            Home::Disk => {
                if session.requests.claim(block) {
                    session.landing = Some(Landing { claimed: true, ..landing });
                }
                return;
            }
        };
        session.downloaded += u64::from(block.length);
        let placed = session.requests.place(block, payload, self.now);
        session.outgoing.extend(placed.finished.map(Passed::Finished));
        let endgame = placed
            .endgame_block
            .map(|(block, payload)| PeerEvent::EndgameBlock(session.remote.clone(), block, payload));
        let wanted = placed.bytes_wanted.map(|bytes| PeerEvent::BytesWanted(id, bytes));
        session.outgoing.extend(endgame.into_iter().chain(wanted).map(Passed::Told));
        self.request(id, placed.requests);
    }
}
