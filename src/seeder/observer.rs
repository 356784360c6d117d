//! What a coordinator tells its [`Board`]: it shows every event to its observer, and asks it to publish when it is time.
//!
//! The observer belongs to the coordinator's thread. Nothing is done for a block: a session counts its bytes and the pieces it
//! has given, and the observer looks at the counts. What nobody is connected for costs nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use super::{
    report::{Board, PeerReport, Transfer, UNWATCHED, WATCHED, Way},
    speed::Speed,
};
use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, PieceIndex},
    peer::{Event, Handle, SessionId, Share},
};

/// Transfers noted between two looks at most; more could not be told apart by any eye.
const MAX_NOTED: usize = 2048;

/// What a coordinator knows of a session besides.
#[derive(Debug, Clone, Copy)]
pub struct Stance<'a> {
    /// The pieces that the peer says it has.
    pub have: &'a Bitfield,
    /// Whether we answer none of its requests.
    pub we_choke: bool,
}

/// One coordinator's eye.
#[derive(Debug)]
pub struct Observer {
    board: Arc<Board>,
    visitors: BTreeMap<SessionId, Visitor>,
    /// The torrents that somebody is connected for, or was a moment ago.
    swarms: HashMap<InfoHash, Swarm>,
    /// Pieces that have passed since the last look.
    passed: Vec<Transfer>,
    /// Whether somebody watched at the last look.
    was_watched: bool,
    looked: Instant,
}

#[derive(Debug)]
struct Visitor {
    handle: Handle,
    client: Option<String>,
    they_choke: bool,
    they_want: bool,
    down: Speed,
    up: Speed,
    since: SystemTime,
    /// The pieces that are known to be given.
    given: Bitfield,
}

#[derive(Debug)]
struct Swarm {
    share: Arc<Share>,
    down: Speed,
    up: Speed,
}

impl Observer {
    /// Nothing has happened yet.
    pub fn new(board: Arc<Board>, now: Instant) -> Observer {
        let (visitors, swarms, passed) = (BTreeMap::new(), HashMap::new(), Vec::new());
        Observer { board, visitors, swarms, passed, was_watched: false, looked: now }
    }

    /// When it is time to publish.
    pub fn due(&self) -> Instant {
        self.looked + if self.board.is_watched() { WATCHED } else { UNWATCHED }
    }

    /// The board that it writes on.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Whether nobody is connected, nor was a moment ago.
    pub fn is_idle(&self) -> bool {
        self.swarms.is_empty()
    }

    /// Something happens on a session.
    pub fn sees(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Opened(handle) => {
                let share = &handle.share;
                self.visitors.insert(handle.id(), Visitor::new(handle.clone(), now));
                self.swarms.entry(share.metainfo.info_hash()).or_insert_with(|| Swarm::new(share.clone(), now));
            }
            Event::Closed { session, .. } => _ = self.visitors.remove(session),
            Event::Introduced { session, client, .. } => {
                self.with(*session, |visitor| visitor.client.clone_from(client));
            }
            Event::Unchoked(session, _) => self.with(*session, |visitor| visitor.they_choke = false),
            Event::Choked(session, _) => self.with(*session, |visitor| visitor.they_choke = true),
            Event::Interested(session, want) => self.with(*session, |visitor| visitor.they_want = *want),
            Event::Gained(session, piece) => {
                let given = |visitor: &Visitor| visitor.handle.given.has(*piece);
                if self.visitors.get(session).is_some_and(|visitor| !given(visitor)) {
                    self.passes(*session, *piece, Way::Elsewhere);
                }
            }
            Event::Has(..) | Event::Hungry(..) | Event::Errand(..) | Event::StorageFailed(_) => {}
        }
    }

    /// A piece has passed between a session's peer and somebody.
    pub fn passes(&mut self, session: SessionId, piece: PieceIndex, way: Way) {
        if self.board.is_watched()
            && self.passed.len() < MAX_NOTED
            && let Some(visitor) = self.visitors.get(&session)
        {
            self.passed.push(visitor.transfer(piece.get(), way));
        }
    }

    /// Puts on the board how things are now; `stance` tells what the coordinator knows of a session.
    pub fn publish<'a>(&mut self, now: Instant, stance: impl Fn(&Handle) -> Option<Stance<'a>>) {
        self.looked = now;
        self.note_given();
        let mut peers: HashMap<InfoHash, Vec<PeerReport>> = HashMap::new();
        for visitor in self.visitors.values_mut() {
            visitor.note(now);
            let reports = peers.entry(visitor.handle.share.metainfo.info_hash()).or_default();
            reports.extend(stance(&visitor.handle).map(|stance| visitor.report(stance)));
        }
        self.swarms.retain(|hash, swarm| {
            let peers = peers.remove(hash);
            let somebody = peers.is_some();
            swarm.publish(&self.board, peers.unwrap_or_default(), now);
            somebody || !swarm.has_come_to_rest()
        });
    }

    /// What was given since the last look; nothing of what was given before somebody watched.
    fn note_given(&mut self) {
        let watched = self.board.is_watched();
        if watched {
            for visitor in self.visitors.values_mut() {
                let given = visitor.handle.given.snapshot();
                if self.was_watched && given.count() > visitor.given.count() {
                    let new = given.iter().filter(|piece| !visitor.given.get(*piece));
                    let room = MAX_NOTED.saturating_sub(self.passed.len());
                    self.passed.extend(new.take(room).map(|piece| visitor.transfer(piece, Way::Given)));
                }
                visitor.given = given;
            }
        }
        if watched || self.was_watched {
            self.board.record(self.passed.drain(..));
        }
        self.was_watched = watched;
    }

    fn with(&mut self, session: SessionId, change: impl FnOnce(&mut Visitor)) {
        if let Some(visitor) = self.visitors.get_mut(&session) {
            change(visitor);
        }
    }
}

impl Visitor {
    fn new(handle: Handle, now: Instant) -> Visitor {
        Visitor {
            client: None,
            they_choke: true,
            they_want: false,
            down: Speed::new(0, now),
            up: Speed::new(0, now),
            since: SystemTime::now(),
            given: Bitfield::empty(handle.share.geometry().piece_count()),
            handle,
        }
    }

    fn note(&mut self, now: Instant) {
        self.down.note(self.handle.traffic.downloaded.load(Ordering::Relaxed), now);
        self.up.note(self.handle.traffic.uploaded.load(Ordering::Relaxed), now);
    }

    fn report(&self, stance: Stance<'_>) -> PeerReport {
        PeerReport {
            address: self.handle.remote.address,
            peer_id: self.handle.remote.peer_id,
            client: self.client.clone(),
            have: stance.have.clone(),
            down_rate: self.down.rate(),
            up_rate: self.up.rate(),
            peak_down: self.down.peak(),
            peak_up: self.up.peak(),
            downloaded: self.handle.traffic.downloaded.load(Ordering::Relaxed),
            uploaded: self.handle.traffic.uploaded.load(Ordering::Relaxed),
            they_choke: self.they_choke,
            we_choke: stance.we_choke,
            they_want: self.they_want,
            since: self.since,
        }
    }

    fn transfer(&self, piece: u32, way: Way) -> Transfer {
        let remote = &self.handle.remote;
        let info_hash = self.handle.share.metainfo.info_hash();
        Transfer { info_hash, piece, peer: remote.peer_id, address: remote.address, way }
    }
}

impl Swarm {
    fn new(share: Arc<Share>, now: Instant) -> Swarm {
        let down = Speed::new(share.traffic.downloaded.load(Ordering::Relaxed), now);
        let up = Speed::new(share.traffic.uploaded.load(Ordering::Relaxed), now);
        Swarm { share, down, up }
    }

    fn has_come_to_rest(&self) -> bool {
        self.down.rate() == 0.0 && self.up.rate() == 0.0
    }

    fn publish(&mut self, board: &Board, peers: Vec<PeerReport>, now: Instant) {
        let traffic = &self.share.traffic;
        let [downloaded, uploaded, wasted] =
            [&traffic.downloaded, &traffic.uploaded, &traffic.wasted].map(|count| count.load(Ordering::Relaxed));
        self.down.note(downloaded, now);
        self.up.note(uploaded, now);
        board.update(self.share.metainfo.info_hash(), |report| {
            (report.downloaded, report.uploaded, report.wasted) = (downloaded, uploaded, wasted);
            (report.down_rate, report.up_rate) = (self.down.rate(), self.up.rate());
            report.peak_down = report.peak_down.max(self.down.peak());
            report.peak_up = report.peak_up.max(self.up.peak());
            report.peers = peers;
        });
    }
}
