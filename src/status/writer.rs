//! What a coordinator's thread writes on the [`Board`]: the status writer is told every event, and publishes when it is time.
//!
//! It belongs to the coordinator's thread. Nothing is done for a block: a session counts its bytes and the pieces it has
//! uploaded, and the status writer looks at the counts. A torrent without connections costs nothing.

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
        report::{Board, PeerReport, Transfer, TransferKind, UNWATCHED, WATCHED},
    },
};

/// Transfers noted between two looks at most; nobody could tell more apart.
const MAX_NOTED: usize = 2048;

/// Sessions that are over and remembered at most, for what was under way when they ended.
const MAX_GONE: usize = 64;

/// What one coordinator reports.
#[derive(Debug)]
pub struct StatusWriter {
    board: Arc<Board>,
    sessions: BTreeMap<SessionId, SessionStatus>,
    /// The sessions that ended last, and their torrents.
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
    name: Option<Box<str>>,
    upload_only: bool,
    they_choke: bool,
    they_want: bool,
    /// Whether it ever did, so that it is known to be fetching: a source may tell bit by bit what it has had all along.
    is_fetcher: bool,
    meter: TrafficMeter,
    since: SystemTime,
    /// The pieces that were uploaded at the last look; nothing when nobody watched then.
    uploaded: Option<Bitfield>,
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
        let (sessions, gone, swarms, passed) = (BTreeMap::new(), BTreeMap::new(), HashMap::new(), Vec::new());
        StatusWriter { board, sessions, gone, swarms, passed, was_watched: false, looked: now }
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
    pub fn event(&mut self, event: &SessionEvent, now: Instant) {
        match event {
            SessionEvent::Opened(handle) => {
                let share = &handle.share;
                let status = SessionStatus::new(handle.clone(), self.board.is_watched(), now);
                self.sessions.insert(handle.id(), status);
                self.swarms.entry(share.metainfo.info_hash()).or_insert_with(|| TorrentRates::new(share.clone(), now));
            }
            SessionEvent::Closed { session, .. } => self.closed(*session),
            SessionEvent::Peer(event) => self.peer_event(event),
            SessionEvent::StorageFailed(_) => {}
        }
    }

    fn peer_event(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::ExtensionHandshake { session, client, name, upload_only, .. } => {
                self.with(*session, |status| {
                    status.client.clone_from(client);
                    status.name.clone_from(name);
                    status.upload_only = *upload_only;
                });
            }
            PeerEvent::Unchoked(session, _) => self.with(*session, |status| status.they_choke = false),
            PeerEvent::Choked(session, _) => self.with(*session, |status| status.they_choke = true),
            PeerEvent::Interested(session, want) => self.with(*session, |status| {
                status.they_want = *want;
                status.is_fetcher |= *want;
            }),
            PeerEvent::Gained(session, piece) => {
                let watched = self.board.is_watched();
                self.with(*session, |status| {
                    if watched && status.is_fetcher && status.gained.len() < MAX_NOTED {
                        status.gained.push(piece.get());
                    }
                });
            }
            PeerEvent::Has(..) | PeerEvent::Sent(..) | PeerEvent::BytesWanted(..) | PeerEvent::EndgameBlock(..) => {}
        }
    }

    /// A piece has passed between a session's peer and somebody.
    pub fn transferred(&mut self, session: SessionId, piece: PieceIndex, way: TransferKind) {
        if !self.board.is_watched() || self.passed.len() >= MAX_NOTED {
            return;
        }
        let here = self.sessions.get(&session).map(|status| status.transfer(piece.get(), way));
        let gone = || self.gone.get(&session).map(|(remote, hash)| transfer(remote, *hash, piece.get(), way));
        self.passed.extend(here.or_else(gone));
    }

    /// Puts on the board how things are now; `knowledge` tells what the coordinator knows of a session.
    pub fn publish<'a>(&mut self, now: Instant, knowledge: impl Fn(&SessionHandle) -> Option<PeerKnowledge<'a>>) {
        self.looked = now;
        self.note_uploaded();
        let mut peers: HashMap<InfoHash, Vec<PeerReport>> = HashMap::new();
        for status in self.sessions.values_mut() {
            status.note(now);
            let reports = peers.entry(status.handle.share.metainfo.info_hash()).or_default();
            reports.extend(knowledge(&status.handle).map(|knowledge| status.report(knowledge)));
        }
        self.swarms.retain(|hash, swarm| {
            let peers = peers.remove(hash);
            let somebody = peers.is_some();
            swarm.publish(&self.board, peers.unwrap_or_default(), now);
            somebody || !swarm.has_come_to_rest()
        });
    }

    /// A session is over. What was uploaded on it last, and what came on it and is still being hashed, is shown all the same.
    fn closed(&mut self, session: SessionId) {
        let Some(mut status) = self.sessions.remove(&session) else { return };
        status.note_uploaded(self.board.is_watched(), &mut self.passed);
        // Its writer is done, so what is not uploaded by now was not uploaded here.
        status.note_gained(&mut self.passed);
        status.note_gained(&mut self.passed);
        let share = &status.handle.share;
        self.gone.insert(session, (status.handle.remote.clone(), share.metainfo.info_hash()));
        if self.gone.len() > MAX_GONE {
            self.gone.pop_first();
        }
    }

    fn note_uploaded(&mut self) {
        let watched = self.board.is_watched();
        for status in self.sessions.values_mut() {
            status.note_uploaded(watched, &mut self.passed);
            status.note_gained(&mut self.passed);
        }
        if watched || self.was_watched {
            self.board.record(self.passed.drain(..));
        }
        self.was_watched = watched;
    }

    fn with(&mut self, session: SessionId, change: impl FnOnce(&mut SessionStatus)) {
        if let Some(status) = self.sessions.get_mut(&session) {
            change(status);
        }
    }
}

impl SessionStatus {
    fn new(handle: SessionHandle, watched: bool, now: Instant) -> SessionStatus {
        SessionStatus {
            client: None,
            name: None,
            upload_only: false,
            they_choke: true,
            they_want: false,
            is_fetcher: false,
            meter: TrafficMeter::new(&handle.traffic, now),
            since: SystemTime::now(),
            gained: Vec::new(),
            gained_before: Vec::new(),
            uploaded: watched.then(|| Bitfield::empty(handle.share.geometry().piece_count())),
            handle,
        }
    }

    fn note(&mut self, now: Instant) {
        self.meter.look(&self.handle.traffic, now);
    }

    /// Notes what was uploaded since the last look, and nothing from before somebody watched.
    fn note_uploaded(&mut self, watched: bool, passed: &mut Vec<Transfer>) {
        let uploaded = watched.then(|| self.handle.uploaded_pieces.snapshot());
        let before = std::mem::replace(&mut self.uploaded, uploaded);
        if let (Some(uploaded), Some(before)) = (&self.uploaded, before)
            && uploaded.count() > before.count()
        {
            let new = uploaded.iter().filter(|piece| !before.get(*piece));
            let room = MAX_NOTED.saturating_sub(passed.len());
            passed.extend(new.take(room).map(|piece| self.transfer(piece, TransferKind::Uploaded)));
        }
    }

    /// Notes which of the pieces that it has were not uploaded here. Each is judged at the second look after its `have`: that
    /// may be here before our writer has noted that it sent the piece.
    fn note_gained(&mut self, passed: &mut Vec<Transfer>) {
        let due = std::mem::replace(&mut self.gained_before, std::mem::take(&mut self.gained));
        let Some(uploaded) = &self.uploaded else { return };
        let elsewhere = due.into_iter().filter(|piece| !uploaded.get(*piece));
        let room = MAX_NOTED.saturating_sub(passed.len());
        passed.extend(elsewhere.take(room).map(|piece| self.transfer(piece, TransferKind::Elsewhere)));
    }

    /// What it says it has, and what was sent to it: not every client tells of what it got from us.
    fn known_pieces(&self, told: &Bitfield) -> Bitfield {
        let mut known = told.clone();
        if !known.is_full() {
            self.handle.uploaded_pieces.snapshot().iter().for_each(|piece| _ = known.set(piece));
            if known.is_full() {
                // Only it says that all of it is right.
                (0..told.len()).find(|piece| !told.get(*piece)).map(|piece| known.clear(piece));
            }
        }
        known
    }

    fn report(&self, knowledge: PeerKnowledge<'_>) -> PeerReport {
        let ((down_rate, up_rate), (peak_down, peak_up)) = (self.meter.rates(), self.meter.peaks());
        PeerReport {
            address: self.handle.remote.address,
            peer_id: self.handle.remote.peer_id,
            client: self.client.clone(),
            name: self.name.clone(),
            upload_only: self.upload_only,
            have: self.known_pieces(knowledge.have),
            down_rate,
            up_rate,
            peak_down,
            peak_up,
            downloaded: self.handle.traffic.downloaded.load(Ordering::Relaxed),
            uploaded: self.handle.traffic.uploaded.load(Ordering::Relaxed),
            they_choke: self.they_choke,
            we_choke: knowledge.we_choke,
            they_want: self.they_want,
            has_wanted: self.is_fetcher,
            since: self.since,
        }
    }

    fn transfer(&self, piece: u32, way: TransferKind) -> Transfer {
        transfer(&self.handle.remote, self.handle.share.metainfo.info_hash(), piece, way)
    }
}

fn transfer(remote: &Remote, info_hash: InfoHash, piece: u32, way: TransferKind) -> Transfer {
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
            (report.peers, report.noted) = (peers, now);
        });
    }
}
