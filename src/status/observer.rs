//! What a coordinator tells its [`Board`]: it shows every event to its observer, and asks it to publish when it is time.
//!
//! The observer belongs to the coordinator's thread. Nothing is done for a block: a session counts its bytes and the pieces it
//! has given, and the observer looks at the counts. What nobody is connected for costs nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, PieceIndex},
    policy::{PeerEvent, PeerKnowledge, Remote, SessionId},
    session::{SessionEvent, SessionHandle, SharedTorrent},
    status::{
        TrafficMeter,
        report::{Board, Direction, PeerReport, Transfer, UNWATCHED, WATCHED},
    },
};

/// Transfers noted between two looks at most; more could not be told apart by any eye.
const MAX_NOTED: usize = 2048;

/// Sessions that are over and remembered at most, for what was under way when they ended.
const MAX_GONE: usize = 64;

/// One coordinator's eye.
#[derive(Debug)]
pub struct StatusWriter {
    board: Arc<Board>,
    sessions: BTreeMap<SessionId, SessionStatus>,
    /// Those who left last, and whom they came for.
    gone: BTreeMap<SessionId, (Arc<Remote>, InfoHash)>,
    /// The torrents that somebody is connected for, or was a moment ago.
    swarms: HashMap<InfoHash, TorrentRates>,
    /// Pieces that have passed since the last look.
    passed: Vec<Transfer>,
    /// Whether somebody watched at the last look.
    was_watched: bool,
    looked: Instant,
}

#[derive(Debug)]
struct SessionStatus {
    handle: SessionHandle,
    client: Option<String>,
    they_choke: bool,
    they_want: bool,
    /// Whether it ever did, so that it is known to be fetching: a source may tell bit by bit what it has had all along.
    is_fetcher: bool,
    meter: TrafficMeter,
    since: SystemTime,
    /// The pieces that were given at the last look; nothing when nobody watched then.
    given: Option<Bitfield>,
    /// Pieces that it has said it has since the last look, and before.
    gained: Vec<u32>,
    gained_before: Vec<u32>,
}

#[derive(Debug)]
struct TorrentRates {
    share: Arc<SharedTorrent>,
    meter: TrafficMeter,
}

impl StatusWriter {
    /// Nothing has happened yet.
    pub fn new(board: Arc<Board>, now: Instant) -> StatusWriter {
        let (visitors, gone, swarms, passed) = (BTreeMap::new(), BTreeMap::new(), HashMap::new(), Vec::new());
        StatusWriter { board, sessions: visitors, gone, swarms, passed, was_watched: false, looked: now }
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
    pub fn sees(&mut self, event: &SessionEvent, now: Instant) {
        match event {
            SessionEvent::Opened(handle) => {
                let share = &handle.share;
                let visitor = SessionStatus::new(handle.clone(), self.board.is_watched(), now);
                self.sessions.insert(handle.id(), visitor);
                self.swarms.entry(share.metainfo.info_hash()).or_insert_with(|| TorrentRates::new(share.clone(), now));
            }
            SessionEvent::Closed { session, .. } => self.goes(*session),
            SessionEvent::Peer(event) => self.sees_peer(event),
            SessionEvent::StorageFailed(_) => {}
        }
    }

    fn sees_peer(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::ExtensionHandshake { session, client, .. } => {
                self.with(*session, |visitor| visitor.client.clone_from(client));
            }
            PeerEvent::Unchoked(session, _) => self.with(*session, |visitor| visitor.they_choke = false),
            PeerEvent::Choked(session, _) => self.with(*session, |visitor| visitor.they_choke = true),
            PeerEvent::Interested(session, want) => self.with(*session, |visitor| {
                visitor.they_want = *want;
                visitor.is_fetcher |= *want;
            }),
            PeerEvent::Gained(session, piece) => {
                let watched = self.board.is_watched();
                self.with(*session, |visitor| {
                    if watched && visitor.is_fetcher && visitor.gained.len() < MAX_NOTED {
                        visitor.gained.push(piece.get());
                    }
                });
            }
            PeerEvent::Has(..) | PeerEvent::Sent(..) | PeerEvent::BytesWanted(..) | PeerEvent::EndgameBlock(..) => {}
        }
    }

    /// A piece has passed between a session's peer and somebody.
    pub fn passes(&mut self, session: SessionId, piece: PieceIndex, way: Direction) {
        if !self.board.is_watched() || self.passed.len() >= MAX_NOTED {
            return;
        }
        let here = self.sessions.get(&session).map(|visitor| visitor.transfer(piece.get(), way));
        let gone = || self.gone.get(&session).map(|(remote, hash)| transfer(remote, *hash, piece.get(), way));
        self.passed.extend(here.or_else(gone));
    }

    /// Puts on the board how things are now; `stance` tells what the coordinator knows of a session.
    pub fn publish<'a>(&mut self, now: Instant, stance: impl Fn(&SessionHandle) -> Option<PeerKnowledge<'a>>) {
        self.looked = now;
        self.note_given();
        let mut peers: HashMap<InfoHash, Vec<PeerReport>> = HashMap::new();
        for visitor in self.sessions.values_mut() {
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

    /// A session is over. Nobody who watches misses what it was given last, or what it gave and is hashed yet.
    fn goes(&mut self, session: SessionId) {
        let Some(mut visitor) = self.sessions.remove(&session) else { return };
        visitor.note_given(self.board.is_watched(), &mut self.passed);
        // Its writer is done, so what is not given by now was not given here.
        visitor.judge_gained(&mut self.passed);
        visitor.judge_gained(&mut self.passed);
        let share = &visitor.handle.share;
        self.gone.insert(session, (visitor.handle.remote.clone(), share.metainfo.info_hash()));
        if self.gone.len() > MAX_GONE {
            self.gone.pop_first();
        }
    }

    fn note_given(&mut self) {
        let watched = self.board.is_watched();
        for visitor in self.sessions.values_mut() {
            visitor.note_given(watched, &mut self.passed);
            visitor.judge_gained(&mut self.passed);
        }
        if watched || self.was_watched {
            self.board.record(self.passed.drain(..));
        }
        self.was_watched = watched;
    }

    fn with(&mut self, session: SessionId, change: impl FnOnce(&mut SessionStatus)) {
        if let Some(visitor) = self.sessions.get_mut(&session) {
            change(visitor);
        }
    }
}

impl SessionStatus {
    fn new(handle: SessionHandle, watched: bool, now: Instant) -> SessionStatus {
        SessionStatus {
            client: None,
            they_choke: true,
            they_want: false,
            is_fetcher: false,
            meter: TrafficMeter::new(&handle.traffic, now),
            since: SystemTime::now(),
            gained: Vec::new(),
            gained_before: Vec::new(),
            given: watched.then(|| Bitfield::empty(handle.share.geometry().piece_count())),
            handle,
        }
    }

    fn note(&mut self, now: Instant) {
        self.meter.look(&self.handle.traffic, now);
    }

    /// Notes what was given since the last look; nothing of what was given before somebody watched.
    fn note_given(&mut self, watched: bool, passed: &mut Vec<Transfer>) {
        let given = watched.then(|| self.handle.uploaded_pieces.snapshot());
        let before = std::mem::replace(&mut self.given, given);
        if let (Some(given), Some(before)) = (&self.given, before)
            && given.count() > before.count()
        {
            let new = given.iter().filter(|piece| !before.get(*piece));
            let room = MAX_NOTED.saturating_sub(passed.len());
            passed.extend(new.take(room).map(|piece| self.transfer(piece, Direction::Uploaded)));
        }
    }

    /// Notes which of the pieces that it has were not given here. Each is judged at the second look after its `have`: that
    /// may be here before our writer has noted that it sent the piece.
    fn judge_gained(&mut self, passed: &mut Vec<Transfer>) {
        let due = std::mem::replace(&mut self.gained_before, std::mem::take(&mut self.gained));
        let Some(given) = &self.given else { return };
        let elsewhere = due.into_iter().filter(|piece| !given.get(*piece));
        let room = MAX_NOTED.saturating_sub(passed.len());
        passed.extend(elsewhere.take(room).map(|piece| self.transfer(piece, Direction::Elsewhere)));
    }

    fn report(&self, stance: PeerKnowledge<'_>) -> PeerReport {
        let ((down_rate, up_rate), (peak_down, peak_up)) = (self.meter.rates(), self.meter.peaks());
        PeerReport {
            address: self.handle.remote.address,
            peer_id: self.handle.remote.peer_id,
            client: self.client.clone(),
            have: stance.have.clone(),
            down_rate,
            up_rate,
            peak_down,
            peak_up,
            downloaded: self.handle.traffic.downloaded.load(Ordering::Relaxed),
            uploaded: self.handle.traffic.uploaded.load(Ordering::Relaxed),
            they_choke: self.they_choke,
            we_choke: stance.we_choke,
            they_want: self.they_want,
            since: self.since,
        }
    }

    fn transfer(&self, piece: u32, way: Direction) -> Transfer {
        transfer(&self.handle.remote, self.handle.share.metainfo.info_hash(), piece, way)
    }
}

fn transfer(remote: &Remote, info_hash: InfoHash, piece: u32, way: Direction) -> Transfer {
    Transfer { info_hash, piece, peer: remote.peer_id, address: remote.address, way }
}

impl TorrentRates {
    fn new(share: Arc<SharedTorrent>, now: Instant) -> TorrentRates {
        TorrentRates { meter: TrafficMeter::new(&share.traffic, now), share }
    }

    fn has_come_to_rest(&self) -> bool {
        self.meter.rates() == (0.0, 0.0)
    }

    fn publish(&mut self, board: &Board, peers: Vec<PeerReport>, now: Instant) {
        let traffic = &self.share.traffic;
        let [downloaded, uploaded, wasted] =
            [&traffic.downloaded, &traffic.uploaded, &traffic.wasted].map(|count| count.load(Ordering::Relaxed));
        self.meter.look(traffic, now);
        let (peak_down, peak_up) = self.meter.peaks();
        board.update(self.share.metainfo.info_hash(), |report| {
            (report.downloaded, report.uploaded, report.wasted) = (downloaded, uploaded, wasted);
            (report.down_rate, report.up_rate) = self.meter.rates();
            report.peak_down = report.peak_down.max(peak_down);
            report.peak_up = report.peak_up.max(peak_up);
            report.peers = peers;
        });
    }
}
