//! One machine (pure): what is known of it, from its announces, the session that we have with it and our own transfers, and which
//! of them wins when they disagree.
//!
//! - The newer wins. What a session shows is as old as its report, so it never undoes an announce that came later.
//! - A machine that was whole stays whole until it announces that it lacks something: a source may show its pieces one by
//!   one, and a report may be old.
//! - Whose peer id it is decides the address that announced it first. A session from elsewhere is believed as far as it agrees with
//!   the announces, never that it is whole; so a machine with two addresses is one, and a stranger takes over no row.
//!
//! What comes late changes nothing that is newer, so any order of the same sightings comes to the same.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{metainfo::PeerId, status::RateMeter};

/// How long a machine may be silent before another address may speak under its peer id: the machine may have got another one.
const SILENT_TIME: Duration = Duration::from_secs(120);

/// As long as it was heard from its own address by a session so lately, a session from elsewhere is somebody else's.
const SESSION_TIME: Duration = Duration::from_secs(5);

/// A session may be ahead of an announce that was under way by this part of the file, as in one of twenty.
const AHEAD_PART: u64 = 20;

/// For so long after its last report a session counts as there.
const LIVE_TIME: Duration = Duration::from_secs(5);

/// The most addresses that are remembered because what came from there was not believed.
const MAX_DISBELIEVED: usize = 4;

/// What a machine showed. Times are on the clock of whoever looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Where it is.
    pub address: SocketAddr,
    /// When that was so.
    pub at: Duration,
    /// What it told.
    pub told: SightingKind,
}

/// How a machine showed itself.
#[derive(Debug, Clone, PartialEq)]
pub enum SightingKind {
    /// It is this process: bytes that it lacks, has sent and has received.
    Own {
        /// Bytes that it lacks.
        left: u64,
        /// Bytes sent.
        uploaded: u64,
        /// Bytes received.
        downloaded: u64,
    },
    /// It announced.
    Announced {
        /// Bytes that it lacks, where it says so.
        left: Option<u64>,
        /// Bytes sent.
        uploaded: u64,
        /// Bytes received.
        downloaded: u64,
    },
    /// It announced that it leaves.
    Goodbye {
        /// Bytes that it lacked.
        left: Option<u64>,
    },
    /// It is connected to us, and tells which pieces it has.
    Session {
        /// Bytes that it lacks by what it has told and what we have sent it.
        left: u64,
        /// Bytes that it has.
        has: u64,
        /// What it calls itself for people.
        name: Option<Box<str>>,
    },
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where it announced from, or else where its session comes from.
    address: SocketAddr,
    is_announced: bool,
    /// Bytes that it lacks by its last announce, and when that was.
    announced: Option<(Duration, Option<u64>)>,
    /// The same by the last report of its session.
    session: Option<(Duration, u64)>,
    /// When it was last seen whole, and when it last announced that it is not.
    whole: Option<Duration>,
    lacked: Option<Duration>,
    /// Since when it lacks or lacked something: when it began.
    lacking: Option<(Duration, u64)>,
    /// When it was first whole since then.
    finished: Option<Duration>,
    goodbye: Option<Duration>,
    seen: Duration,
    /// When it was last known to be connected, or to be this process.
    live: Option<Duration>,
    /// When a session from its own address was last reported.
    session_at_home: Option<Duration>,
    /// Another address from which a session is believed to be this machine.
    elsewhere: Option<Elsewhere>,
    disbelieved: Vec<IpAddr>,
    name: Option<Box<str>>,
    /// The peer id that it uses on its connections, where that is another one.
    pub(super) alias: Option<PeerId>,
    /// What it sent, by its own account.
    pub given: RateMeter,
    /// What it received, by its own account.
    pub taken: RateMeter,
    /// What it has, by what it tells those that are connected to it.
    pub held: RateMeter,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Elsewhere {
    ip: IpAddr,
    at: Duration,
    left: u64,
}

impl Machine {
    /// One of which nothing is known yet but where it is.
    pub fn new(sighting: &Sighting) -> Machine {
        Machine {
            address: sighting.address,
            is_announced: false,
            announced: None,
            session: None,
            whole: None,
            lacked: None,
            lacking: None,
            finished: None,
            goodbye: None,
            seen: sighting.at,
            live: None,
            session_at_home: None,
            elsewhere: None,
            disbelieved: Vec::new(),
            name: None,
            alias: None,
            given: RateMeter::default(),
            taken: RateMeter::default(),
            held: RateMeter::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it announced from, if it did.
    pub fn announced_at(&self) -> Option<SocketAddr> {
        self.is_announced.then_some(self.address)
    }

    /// What it calls itself for people.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it was ever connected to us.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it was connected a moment ago, or is this process.
    pub fn is_live(&self, now: Duration) -> bool {
        self.live.is_some_and(|live| now.saturating_sub(live) < LIVE_TIME)
    }

    /// When it was last seen.
    pub fn seen(&self) -> Duration {
        self.seen
    }

    /// Whether it has everything.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some_and(|whole| self.lacked.is_none_or(|lacked| whole > lacked))
    }

    /// Whether it had everything when it was seen first: it never fetched.
    pub fn is_source(&self) -> bool {
        self.is_whole() && self.fetched().is_none()
    }

    /// When it began to fetch, and bytes that it lacked then; nothing of a source, or of a machine that told nothing.
    pub fn fetched(&self) -> Option<(Duration, u64)> {
        self.lacking.filter(|(since, _)| self.finished.is_none_or(|finished| *since < finished))
    }

    /// When it had everything.
    pub fn finished(&self) -> Option<Duration> {
        self.finished.filter(|_| self.is_whole())
    }

    /// Bytes that it lacks, where that is known.
    pub fn left(&self) -> Option<u64> {
        if self.is_whole() {
            return Some(0);
        }
        let announced = self.announced.and_then(|(at, left)| Some((at, left?)));
        match (announced, self.session) {
            (Some((announced, exact)), Some((reported, left))) if reported >= announced => Some(exact.min(left)),
            (Some((_, exact)), _) => Some(exact),
            // Only an announce, or a whole set of pieces, says that nothing is missing.
            (None, session) => session.map(|(_, left)| left.max(1)),
        }
    }

    /// Whether it has said goodbye.
    pub fn has_left(&self) -> bool {
        self.goodbye.is_some_and(|goodbye| goodbye >= self.seen)
    }

    /// The highest rate it was seen to receive at, in bytes a second.
    pub fn peak_down(&self) -> Option<f64> {
        self.taken.peak().into_iter().chain(self.held.peak()).reduce(f64::max)
    }

    /// The highest rate it was seen to send at, in bytes a second.
    pub fn peak_up(&self) -> Option<f64> {
        self.given.peak()
    }

    /// Whether a session under its peer id from there is taken for it.
    pub fn is_believed_at(&self, ip: IpAddr) -> bool {
        self.is_home(ip) || self.elsewhere.is_some_and(|elsewhere| elsewhere.ip == ip)
    }

    /// The address of the same kind that it is known by, or one of the other kind.
    fn is_home(&self, ip: IpAddr) -> bool {
        ip == self.address.ip() || ip.is_ipv4() != self.address.is_ipv4()
    }

    /// Whether what comes under its peer id is believed to come from it.
    pub fn judge(&mut self, sighting: &Sighting, length: u64) -> bool {
        let ip = sighting.address.ip();
        let is_free = self.has_left() || sighting.at.saturating_sub(self.seen) > SILENT_TIME;
        match sighting.told {
            SightingKind::Announced { left, .. } => {
                let is_its = self.is_home(ip) || !self.is_announced || is_free;
                if let (true, Some(left), Some(elsewhere)) = (is_its, left, self.elsewhere)
                    && elsewhere.at <= sighting.at
                    && elsewhere.left.saturating_add(length / AHEAD_PART) < left
                {
                    self.disbelieve(elsewhere.ip);
                }
                is_its
            }
            SightingKind::Own { .. } => true,
            SightingKind::Goodbye { .. } => self.is_home(ip),
            SightingKind::Session { .. } if self.is_home(ip) => true,
            SightingKind::Session { .. } if is_free && !self.is_announced => true,
            SightingKind::Session { left, .. } => self.believes_elsewhere(ip, left, sighting.at),
        }
    }

    fn believes_elsewhere(&mut self, ip: IpAddr, left: u64, at: Duration) -> bool {
        let is_at_home = self.session_at_home.is_some_and(|home| at.saturating_sub(home) < SESSION_TIME);
        let is_new = self.elsewhere.is_none_or(|elsewhere| elsewhere.ip != ip);
        // Whoever appears with everything is not the machine that announces that it lacks something.
        let is_too_good = is_new && left == 0 && !self.is_whole();
        if is_at_home || is_too_good || self.disbelieved.contains(&ip) {
            self.disbelieve(ip);
            return false;
        }
        if self.elsewhere.is_none_or(|elsewhere| elsewhere.at <= at) {
            self.elsewhere = Some(Elsewhere { ip, at, left });
        }
        true
    }

    fn disbelieve(&mut self, ip: IpAddr) {
        if self.elsewhere.is_some_and(|elsewhere| elsewhere.ip == ip) {
            (self.elsewhere, self.session) = (None, None);
        }
        if !self.disbelieved.contains(&ip) {
            self.disbelieved.truncate(MAX_DISBELIEVED - 1);
            self.disbelieved.insert(0, ip);
        }
    }

    /// Takes in what it showed.
    pub fn see(&mut self, sighting: &Sighting) {
        let Sighting { address, at, .. } = *sighting;
        let is_newest = at >= self.seen;
        match &sighting.told {
            SightingKind::Announced { left, uploaded, downloaded } => {
                if is_newest || !self.is_announced {
                    (self.address, self.is_announced) = (address, true);
                }
                self.note_announced(*left, at);
                self.given.look(*uploaded, at);
                self.taken.look(*downloaded, at);
            }
            SightingKind::Own { left, uploaded, downloaded } => {
                self.live = self.live.max(Some(at));
                self.note_announced(Some(*left), at);
                self.given.look(*uploaded, at);
                self.taken.look(*downloaded, at);
            }
            SightingKind::Goodbye { left } => {
                self.goodbye = self.goodbye.max(Some(at));
                self.note_announced(*left, at);
            }
            SightingKind::Session { left, has, name } => {
                let is_home = self.is_home(address.ip());
                self.live = self.live.max(Some(at));
                if is_home {
                    self.session_at_home = self.session_at_home.max(Some(at));
                }
                if !self.is_announced && is_newest {
                    self.address = address;
                }
                let is_all = *left == 0 && (is_home || self.is_whole());
                if self.session.is_none_or(|(before, _)| before <= at) {
                    self.session = Some((at, if is_all { 0 } else { (*left).max(1) }));
                    self.name = name.clone().or(self.name.take());
                }
                self.held.look(*has, at);
                if is_all { self.note_whole(at) } else { self.note_lacking(at, *left) }
            }
        }
        self.seen = self.seen.max(at);
    }

    fn note_announced(&mut self, left: Option<u64>, at: Duration) {
        if self.announced.is_none_or(|(before, _)| before <= at) {
            let left = left.or(self.announced.and_then(|(_, left)| left));
            self.announced = Some((at, left));
        }
        match left {
            Some(0) => self.note_whole(at),
            Some(left) => {
                if self.whole.is_some_and(|whole| whole < at && self.lacked.is_none_or(|lacked| whole > lacked)) {
                    // What it had is gone: it begins anew.
                    (self.lacking, self.finished) = (None, None);
                }
                self.lacked = self.lacked.max(Some(at));
                self.finished = self.finished.filter(|finished| *finished > at).or(self.whole.filter(|it| *it > at));
                self.note_lacking(at, left);
            }
            None => {}
        }
    }

    fn note_whole(&mut self, at: Duration) {
        self.whole = self.whole.max(Some(at));
        if self.lacked.is_none_or(|lacked| at > lacked) {
            self.finished = Some(self.finished.map_or(at, |finished| finished.min(at)));
        }
    }

    fn note_lacking(&mut self, at: Duration, left: u64) {
        if self.lacking.is_none_or(|(since, _)| at < since) {
            self.lacking = Some((at, left));
        }
    }

    /// Takes the place of the program that ran there before: what that one lacked when it began counts for this one, too.
    pub fn go_on_from(&mut self, before: &Machine) {
        if !before.is_whole() {
            let began = before.lacking.into_iter().chain(self.lacking).min_by_key(|(since, _)| *since);
            self.lacking = began;
        }
        self.name = self.name.take().or_else(|| before.name.clone());
    }
}
