//! The peers that others name to a seeder: which to dial next, which never again. Pure.
//!
//! Invariant: at most `MAX_HALF_OPEN` addresses are being dialled, `MAX_A_SECOND` were within the last second, and at most
//! [`MAX_DIALLED`] sessions have come of it, whatever others say. An address is dialled only while there is no session with the peer
//! that listens there, as far as can be known: by the address that was dialled, by the port that a peer says it listens on,
//! by its peer id. Where both sides have dialled, the other side may choose; after `GRACE` we do.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    metainfo::InfoHash,
    policy::{Direction, Remote, SessionId},
};

/// Addresses that are being dialled at once in the process, until their handshake is done.
const MAX_HALF_OPEN: usize = 8;

/// Addresses that are begun to be dialled within a second in the process.
const MAX_A_SECOND: usize = 10;

/// Sessions that have come of dialling, at once; each has two threads.
pub const MAX_DIALLED: usize = 64;

/// Addresses remembered at most; a hostile tracker cannot fill memory with more.
const MAX_KNOWN: usize = 4096;

/// The wait before an address is dialled again that could not be reached; doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// How long two connections with one peer may stay. Real clients end one of them by rules of their own; if each side ended
/// another one, none would be left.
const GRACE: Duration = Duration::from_secs(3);

/// A peer of a torrent, by where it is said to listen.
type TorrentAddress = (InfoHash, SocketAddr);

/// The peers that are known.
#[derive(Debug, Default)]
pub struct Candidates {
    known: HashMap<TorrentAddress, Known>,
    sessions: HashMap<SessionId, Session>,
    /// When the last addresses were begun to be dialled, at most [`MAX_A_SECOND`] of them.
    begun: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    state: CandidateState,
    /// How often in a row dialling it came to nothing.
    failures: u32,
    /// Whether the user named it, so that it is never forgotten for another.
    is_kept: bool,
}

/// What is going on with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateState {
    /// It may be dialled from then on, if there is no session with its peer.
    Waiting(Instant),
    /// It is being dialled.
    Dialling,
    /// There is a session that was dialled.
    Connected,
    /// A seeder, ourselves, or something that is no peer.
    Useless,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    torrent: InfoHash,
    remote: Remote,
    /// Where its peer listens, once that is known.
    listens: Option<SocketAddr>,
    since: Instant,
}

impl Candidates {
    /// A tracker or local discovery names these peers of a torrent.
    pub fn found(&mut self, torrent: InfoHash, addresses: &[SocketAddr], now: Instant) {
        for address in addresses {
            if !self.known.contains_key(&(torrent, *address)) && (self.known.len() < MAX_KNOWN || self.forget_one()) {
                let known = Known { state: CandidateState::Waiting(now), failures: 0, is_kept: false };
                self.known.insert((torrent, *address), known);
            }
        }
    }

    /// The user names them.
    pub fn given(&mut self, torrent: InfoHash, addresses: &[SocketAddr], now: Instant) {
        self.found(torrent, addresses, now);
        for address in addresses {
            self.known.get_mut(&(torrent, *address)).into_iter().for_each(|known| known.is_kept = true);
        }
    }

    /// The next address to dial, if one's time has come; it counts as being dialled from now on.
    pub fn next(&mut self, now: Instant) -> Option<TorrentAddress> {
        if self.is_full() || self.pause(now) > Duration::ZERO {
            return None;
        }
        // Those that failed least first, then those that have waited longest.
        let (_, _, place) = self.waiting().filter(|(_, from, _)| *from <= now).min()?;
        self.known.get_mut(&place).expect("it was just found").state = CandidateState::Dialling;
        if self.begun.len() >= MAX_A_SECOND {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
        Some(place)
    }

    /// When [`Candidates::next`] has one, should nothing happen before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let first = self.waiting().map(|(_, from, _)| from).min()?;
        (!self.is_full()).then(|| first.max(now + self.pause(now)))
    }

    /// Dialling came to nothing; `violation` says whether what listens there broke the protocol.
    pub fn failed(&mut self, place: TorrentAddress, violation: bool, now: Instant) {
        if let Some(known) = self.known.get_mut(&place) {
            known.fail(now);
            if violation {
                known.state = CandidateState::Useless;
            }
        }
    }

    /// A session has opened.
    pub fn opened(&mut self, torrent: InfoHash, remote: &Remote, now: Instant) {
        let listens = (remote.direction == Direction::Dialled).then_some(remote.address);
        if let Some(known) = listens.and_then(|address| self.known.get_mut(&(torrent, address))) {
            known.state = CandidateState::Connected;
        }
        self.sessions.insert(remote.session, Session { torrent, remote: *remote, listens, since: now });
    }

    /// A peer says on which port it listens.
    pub fn listens(&mut self, session: SessionId, port: u16) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.listens.get_or_insert(session.remote.listening_on(port));
        }
    }

    /// A session is over. Whether its peer had everything, and whether blocks have passed.
    pub fn closed(&mut self, session: SessionId, is_seeder: bool, was_of_use: bool, now: Instant) {
        let Some(over) = self.sessions.remove(&session) else { return };
        let Some(known) = over.listens.and_then(|address| self.known.get_mut(&(over.torrent, address))) else { return };
        if is_seeder {
            known.state = CandidateState::Useless;
        } else if matches!(known.state, CandidateState::Connected | CandidateState::Waiting(_)) {
            known.failures = if was_of_use { 0 } else { known.failures };
            known.fail(now);
        }
    }

    /// A torrent is not seeded any more.
    pub fn forget(&mut self, torrent: InfoHash) {
        self.known.retain(|(of, _), known| *of != torrent || known.state == CandidateState::Dialling);
    }

    /// Sessions to end because there is another with the same peer, where both have lasted for a while: the older of two that the same
    /// side has dialled, otherwise the one on which fewer bytes have passed.
    pub fn superfluous(&self, now: Instant, moved: impl Fn(SessionId) -> u64) -> Vec<SessionId> {
        let lasting = |session: &&Session| now.saturating_duration_since(session.since) >= GRACE;
        let mut sessions: Vec<&Session> = self.sessions.values().filter(lasting).collect();
        sessions.sort_by_key(|session| session.remote.session);
        let mut by_address = HashMap::<TorrentAddress, &Session>::new();
        let mut by_id = HashMap::<_, &Session>::new();
        let mut ended = Vec::new();
        for newer in sessions {
            let older = newer.listens.and_then(|address| by_address.get(&(newer.torrent, address)).copied());
            let id = (newer.torrent, newer.remote.ip(), newer.remote.peer_id.0);
            let stays = match older.or_else(|| by_id.get(&id).copied()) {
                None => newer,
                Some(older) => {
                    let (of_older, of_newer) = (moved(older.remote.session), moved(newer.remote.session));
                    let older_stays = older.remote.direction != newer.remote.direction
                        && (of_older, newer.remote.direction == Direction::Dialled)
                            > (of_newer, older.remote.direction == Direction::Dialled);
                    let (stays, goes) = if older_stays { (older, newer) } else { (newer, older) };
                    ended.push(goes.remote.session);
                    stays
                }
            };
            newer.listens.into_iter().for_each(|address| _ = by_address.insert((newer.torrent, address), stays));
            by_id.insert(id, stays);
        }
        ended
    }

    /// Addresses that wait, and from when on they may be dialled. Where there is a session with the peer that listens there they do
    /// not, or where there may be: one has come from there that has not said where it listens.
    fn waiting(&self) -> impl Iterator<Item = (u32, Instant, TorrentAddress)> {
        let (mut connected, mut unclear) = (HashSet::new(), HashSet::new());
        for session in self.sessions.values() {
            match session.listens {
                Some(address) => _ = connected.insert((session.torrent, address)),
                None => _ = unclear.insert((session.torrent, session.remote.ip())),
            }
        }
        self.known.iter().filter_map(move |(place, known)| match known.state {
            CandidateState::Waiting(from)
                if !connected.contains(place) && !unclear.contains(&(place.0, place.1.ip())) =>
            {
                Some((known.failures, from, *place))
            }
            _ => None,
        })
    }

    fn is_full(&self) -> bool {
        let dialling = self.known.values().filter(|known| known.state == CandidateState::Dialling).count();
        let dialled = self.sessions.values().filter(|session| session.remote.direction == Direction::Dialled).count();
        dialling >= MAX_HALF_OPEN || dialling + dialled >= MAX_DIALLED
    }

    /// How long it is until the next may be dialled.
    fn pause(&self, now: Instant) -> Duration {
        let oldest = self.begun.front().filter(|_| self.begun.len() >= MAX_A_SECOND);
        oldest.map_or(Duration::ZERO, |oldest| {
            Duration::from_secs(1).saturating_sub(now.saturating_duration_since(*oldest))
        })
    }

    /// Makes room by forgetting the address that is of least use; false when none may be forgotten.
    fn forget_one(&mut self) -> bool {
        let is_idle = |known: &Known| {
            matches!(known.state, CandidateState::Waiting(_) | CandidateState::Useless) && !known.is_kept
        };
        let idle = self.known.iter().filter(|(_, known)| is_idle(known));
        let worst = idle.max_by_key(|(_, known)| known.failures).map(|(place, _)| *place);
        worst.is_some_and(|place| self.known.remove(&place).is_some())
    }
}

impl Known {
    fn fail(&mut self, now: Instant) {
        let wait = FIRST_WAIT * 2u32.saturating_pow(self.failures).min(1 << 10);
        self.failures = self.failures.saturating_add(1);
        self.state = CandidateState::Waiting(now + wait.min(MAX_WAIT));
    }
}

#[cfg(test)]
mod tests;
