//! The roster: which peers are known, which to dial next, which never again. Pure.
//!
//! Invariant: an address is in exactly one state, and only `DialState::Idle` ones whose time has come are dialled. What
//! the tracker and other peers say is bounded by `MAX_KNOWN`; what a peer did wrong is remembered by its address and
//! by its peer id, so that it is known again when it comes back from another port.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    metainfo::PeerId,
    net::{self, NamedBy},
    policy::{Direction, Remote, SessionId},
};

/// Addresses remembered at most; a hostile tracker cannot fill memory with more.
const MAX_KNOWN: usize = 4096;

/// Banned peers remembered at most.
const MAX_BANNED: usize = 4096;

/// The wait before a peer that could not be reached is dialled again; doubles each time. A room starts within seconds.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Banned peers of one host after which the host itself is: it keeps coming back under new names.
const BANS_OF_ONE_HOST: usize = 8;

/// The peers that are known.
#[derive(Debug, Default)]
pub struct Roster {
    known: HashMap<SocketAddr, KnownAddress>,
    sessions: HashMap<SessionId, Connected>,
    banned_ids: HashSet<(IpAddr, PeerId)>,
    bans_by_host: HashMap<IpAddr, usize>,
}

#[derive(Debug, Clone, Copy)]
struct KnownAddress {
    state: DialState,
    /// How often in a row dialling it came to nothing, or to a session on which no block passed.
    failures: u32,
    /// Whether it had everything when it was seen last.
    is_seed: bool,
    /// Whether the user named it, so that it is never forgotten for another.
    is_kept: bool,
}

/// What a session was like that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Blocks have passed.
    OfUse,
    /// None have.
    OfNoUse,
    /// It broke the protocol.
    ForGood,
}

/// What is going on with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DialState {
    /// It may be dialled from then on.
    Idle(Instant),
    /// It is being dialled.
    Dialling,
    /// There is a session with the peer that listens there.
    Connected,
    /// It is of no use, and never will be: ourselves, or a peer that lied or broke the protocol.
    Banned,
}

#[derive(Debug, Clone, Copy)]
struct Connected {
    remote: Remote,
    /// Where it listens, once that is known.
    listens: Option<SocketAddr>,
}

/// What to do about a session that has just opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionVerdict {
    /// It stays.
    Keep,
    /// It is to end; the reason is for the log.
    Refuse(&'static str),
    /// It stays, in place of this older session with the same peer.
    Replace(SessionId),
}

impl Roster {
    /// A peer is said to listen there.
    pub fn add(&mut self, address: SocketAddr, now: Instant) {
        if net::can_be_listened_on(address) && (self.known.len() < MAX_KNOWN || self.forget_one()) {
            self.known.entry(address).or_insert(KnownAddress {
                state: DialState::Idle(now),
                failures: 0,
                is_seed: false,
                is_kept: false,
            });
        }
    }

    /// The user says so.
    pub fn keep(&mut self, address: SocketAddr, now: Instant) {
        self.add(address, now);
        self.known.get_mut(&address).into_iter().for_each(|known| known.is_kept = true);
    }

    /// The next address to dial, if one's time has come; it counts as being dialled from now on. Whoever is `complete`
    /// has no use for seeds.
    pub fn next_to_dial(&mut self, complete: bool, now: Instant) -> Option<SocketAddr> {
        // Those that failed least first, then those that have waited longest.
        let (_, _, address) = self.due(complete, now).min()?;
        self.known.get_mut(&address).expect("it was just found").state = DialState::Dialling;
        Some(address)
    }

    /// How many addresses [`Roster::next_to_dial`] would say, one after the other.
    pub fn waiting(&self, complete: bool, now: Instant) -> usize {
        self.due(complete, now).count()
    }

    /// Whoever may be dialled again after a while may be now.
    pub fn hurry(&mut self, now: Instant) {
        for known in self.known.values_mut() {
            if let DialState::Idle(from) = &mut known.state {
                *from = now.min(*from);
            }
        }
    }

    /// How many addresses are being dialled.
    pub fn dialling(&self) -> usize {
        self.known.values().filter(|known| known.state == DialState::Dialling).count()
    }

    /// How many sessions there are.
    pub fn connected(&self) -> usize {
        self.sessions.len()
    }

    /// Dialling came to nothing.
    pub fn failed(&mut self, address: SocketAddr, for_good: bool, now: Instant) {
        if let Some(known) = self.known.get_mut(&address) {
            known.fail(now);
            if for_good {
                known.state = DialState::Banned;
            }
        }
    }

    /// An address could not be dialled, through no fault of its own: its turn comes again in a moment.
    pub fn postponed(&mut self, address: SocketAddr, now: Instant) {
        if let Some(known) = self.known.get_mut(&address) {
            known.state = DialState::Idle(now + FIRST_WAIT);
        }
    }

    /// A session has opened. Of two sessions with one peer, both sides keep the one that the peer with the greater id
    /// dialled, so that each closes the same one.
    pub fn opened(&mut self, remote: &Remote, ours: PeerId) -> SessionVerdict {
        if self.banned_ids.contains(&(remote.ip(), remote.peer_id)) || self.is_host_banned(remote.ip()) {
            return SessionVerdict::Refuse("it is banned");
        }
        let twin = self.sessions.values().find(|other| other.remote.is_same_peer(remote)).map(|other| other.remote);
        let verdict = match twin {
            None => SessionVerdict::Keep,
            Some(twin) if twin.direction == remote.direction => {
                SessionVerdict::Refuse("there is a session with it already")
            }
            Some(twin) => {
                let ours_stays = ours > remote.peer_id;
                if ours_stays == (remote.direction == Direction::Dialled) {
                    SessionVerdict::Replace(twin.session)
                } else {
                    SessionVerdict::Refuse("there is a session with it already")
                }
            }
        };
        let listens = (remote.direction == Direction::Dialled).then_some(remote.address);
        if let Some(known) = listens.and_then(|address| self.known.get_mut(&address)) {
            known.state = DialState::Connected;
        }
        if !matches!(verdict, SessionVerdict::Refuse(_)) {
            self.sessions.insert(remote.session, Connected { remote: *remote, listens });
        }
        verdict
    }

    /// A peer that dialled us says on which port it listens: it need not be dialled while it is here.
    pub fn listens(&mut self, session: SessionId, port: u16, now: Instant) {
        let Some(connected) = self.sessions.get_mut(&session) else { return };
        let address = connected.remote.listening_on(port);
        if connected.listens.is_none() && net::may_dial(address, NamedBy::Peer, &[]) {
            connected.listens = Some(address);
            self.add(address, now);
            if let Some(known) = self.known.get_mut(&address).filter(|known| matches!(known.state, DialState::Idle(_)))
            {
                known.state = DialState::Connected;
            }
        }
    }

    /// A session is over; `is_seed` says whether its peer had everything. It may be dialled again after a while: longer each time,
    /// as long as it is of no use. Whoever only claims to have everything is of none.
    pub fn closed(&mut self, session: SessionId, parting: Parting, is_seed: bool, now: Instant) {
        let Some(over) = self.sessions.remove(&session) else { return };
        let Some(address) = over.listens else { return };
        let elsewhere = self.sessions.values().any(|other| other.listens == Some(address));
        if let Some(known) =
            self.known.get_mut(&address).filter(|known| known.state == DialState::Connected && !elsewhere)
        {
            known.is_seed = is_seed;
            match parting {
                Parting::ForGood => known.state = DialState::Banned,
                Parting::OfNoUse => known.fail(now),
                Parting::OfUse => {
                    known.failures = 0;
                    known.state = DialState::Idle(now + FIRST_WAIT);
                }
            }
        }
    }

    /// A dialled session was refused for the one there is: nothing to dial while that lasts.
    pub fn refused(&mut self, remote: &Remote, now: Instant) {
        let twin = self.sessions.values_mut().find(|other| other.remote.is_same_peer(remote));
        match twin {
            Some(twin) if remote.direction == Direction::Dialled => {
                let former = twin.listens.replace(remote.address).filter(|former| *former != remote.address);
                if let Some(known) = former.and_then(|former| self.known.get_mut(&former)) {
                    known.fail(now);
                }
            }
            None if remote.direction == Direction::Dialled => self.failed(remote.address, true, now),
            _ => {}
        }
    }

    /// A peer has lied. It is not let in again, from whatever port.
    /// False when that was known, or no more can be remembered.
    pub fn ban(&mut self, remote: &Remote) -> bool {
        if self.banned_ids.len() >= MAX_BANNED || !self.banned_ids.insert((remote.ip(), remote.peer_id)) {
            return false;
        }
        *self.bans_by_host.entry(remote.ip()).or_default() += 1;
        let listens = self.sessions.get(&remote.session).and_then(|connected| connected.listens);
        let dialled = (remote.direction == Direction::Dialled).then_some(remote.address);
        if let Some(address) = listens.or(dialled) {
            self.known.insert(
                address,
                KnownAddress { state: DialState::Banned, failures: 0, is_seed: false, is_kept: false },
            );
        }
        true
    }

    /// How many peers are banned.
    pub fn banned(&self) -> usize {
        self.banned_ids.len()
    }

    /// The addresses whose time has come; the least of them is the next to dial.
    fn due(&self, complete: bool, now: Instant) -> impl Iterator<Item = (u32, Instant, SocketAddr)> {
        let may_dial = move |address: &SocketAddr, known: &KnownAddress| {
            !(self.is_host_banned(address.ip()) || complete && known.is_seed)
        };
        self.known.iter().filter_map(move |(address, known)| match known.state {
            DialState::Idle(from) if from <= now && may_dial(address, known) => Some((known.failures, from, *address)),
            _ => None,
        })
    }

    fn is_host_banned(&self, ip: IpAddr) -> bool {
        self.bans_by_host.get(&ip).is_some_and(|bans| *bans >= BANS_OF_ONE_HOST)
    }

    /// Makes room by forgetting the idle address that failed most; false when none is idle.
    fn forget_one(&mut self) -> bool {
        let is_idle = |known: &KnownAddress| matches!(known.state, DialState::Idle(_)) && !known.is_kept;
        let idle = self.known.iter().filter(|(_, known)| is_idle(known));
        let worst = idle.max_by_key(|(_, known)| known.failures).map(|(address, _)| *address);
        worst.is_some_and(|address| self.known.remove(&address).is_some())
    }
}

impl KnownAddress {
    fn fail(&mut self, now: Instant) {
        let wait = FIRST_WAIT * 2u32.saturating_pow(self.failures).min(1 << 10);
        self.failures = self.failures.saturating_add(1);
        self.state = DialState::Idle(now + wait.min(MAX_WAIT));
    }
}

#[cfg(test)]
mod tests;
