//! The thread of the seed coordinator: it owns the sessions of all torrents that are only seeded, tells the choker, super-seeding
//! and the candidates what happens, and does what they say. It waits nowhere but in its `select!`.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, at, never, select, tick};

use super::{FileWatch, TorrentRegistry};
use crate::{
    announce::{Announcer, TrackerNews},
    bitfield::Bitfield,
    chance::Chance,
    metainfo::InfoHash,
    policy::{
        ChokeChange, Choker, PeerEvent, PeerKnowledge, SendOrder, SessionId,
        candidates::Candidates,
        super_seed::{self, Showing, SuperSeeding},
    },
    session::{self, End, LocalPeer, SessionEvent, SessionHandle, SharedTorrent},
    status::{
        StatusWriter,
        report::{Activity, Board},
    },
    storage,
};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The stack of the reading thread of a session that was dialled, in bytes.
const STACK: usize = 256 * 1024;

/// What the thread hears.
pub(super) struct SeedInputs {
    pub(super) events: Receiver<SessionEvent>,
    pub(super) tracker_news: Receiver<TrackerNews>,
    pub(super) failed: Receiver<FailedDial>,
    pub(super) expelled: Receiver<InfoHash>,
}

/// A peer of a torrent that was dialled, and came to no session.
pub(super) type FailedDial = (InfoHash, SocketAddr, End);

/// An address that is being dialled. When this is dropped, also by a panic, the coordinator hears that nothing came of it.
struct HalfOpen {
    failures: Sender<FailedDial>,
    place: (InfoHash, SocketAddr),
    /// Why nothing has come of it; `None` once there was a session.
    end: Option<End>,
}

impl HalfOpen {
    fn over(mut self, end: Option<End>) {
        self.end = end;
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let (hash, address) = self.place;
            // There is room for as many as there can be; the coordinator may have ended meanwhile.
            let _ = self.failures.try_send((hash, address, end));
        }
    }
}

/// The state of the thread.
pub(super) struct SeedThread {
    host: Arc<LocalPeer>,
    candidates: Candidates,
    /// When the next of them is due.
    next_dial: Option<Instant>,
    /// When to look what peers ask for that say nothing of what they have.
    next_look: Option<Instant>,
    failures: Sender<FailedDial>,
    sessions: HashMap<SessionId, SessionHandle>,
    /// Bytes of blocks that each session had taken at the last tick.
    uploaded: HashMap<SessionId, u64>,
    /// Of the torrents that somebody is connected for.
    super_seeding: HashMap<InfoHash, SuperSeeding>,
    choker: Choker,
    registry: Arc<TorrentRegistry>,
    announcer: Announcer,
    chance: Chance,
    status: StatusWriter,
    file_watch: FileWatch,
}

impl SeedThread {
    /// Nobody is connected. `failures` is where dialling threads tell of what came to no session.
    pub(super) fn new(
        host: Arc<LocalPeer>,
        registry: Arc<TorrentRegistry>,
        announcer: Announcer,
        board: Arc<Board>,
        failures: Sender<FailedDial>,
        upload_slots: usize,
        seed: u64,
    ) -> io::Result<SeedThread> {
        let now = Instant::now();
        Ok(SeedThread {
            host,
            candidates: Candidates::default(),
            next_dial: None,
            next_look: None,
            failures,
            status: StatusWriter::new(board, now),
            file_watch: FileWatch::start()?,
            sessions: HashMap::new(),
            uploaded: HashMap::new(),
            registry,
            announcer,
            super_seeding: HashMap::new(),
            choker: Choker::new(upload_slots, now),
            chance: Chance::new(seed),
        })
    }

    /// Runs until every sender of one of its inputs is gone.
    pub(super) fn run(&mut self, inputs: &SeedInputs) {
        let ticks = tick(TICK);
        let changed = self.file_watch.changed().clone();
        loop {
            // Between ticks there is something to publish only while somebody watches somebody.
            let watched = self.status.board().is_watched() && !self.status.is_idle();
            let publishes = if watched { at(self.status.due()) } else { never() };
            let dials = self.next_dial.map_or_else(never, at);
            let looks = self.next_look.map_or_else(never, at);
            select! {
                recv(inputs.events) -> event => match event {
                    Ok(event) => self.event(event, Instant::now()),
                    Err(_) => break,
                },
                recv(inputs.tracker_news) -> news => if let Ok(news) = news {
                    self.tracker_news(news, Instant::now());
                },
                recv(inputs.failed) -> failure => if let Ok((hash, address, end)) = failure {
                    log::debug!("no session with {address}: {end}");
                    self.candidates.failed((hash, address), end.is_violation(), Instant::now());
                    self.dial(Instant::now());
                },
                recv(dials) -> _ => self.dial(Instant::now()),
                recv(ticks) -> _ => self.tick(Instant::now()),
                recv(looks) -> _ => self.look(Instant::now()),
                recv(publishes) -> _ => self.publish(Instant::now()),
                recv(changed) -> found => if let Ok((share, error)) = found {
                    self.withdraw(&share, &error);
                },
                recv(inputs.expelled) -> hash => match hash {
                    Ok(hash) => {
                        self.candidates.forget(hash);
                        self.end_all_of(hash);
                    }
                    Err(_) => break,
                },
            }
        }
        self.sessions.values().for_each(SessionHandle::end);
    }

    fn tracker_news(&mut self, news: TrackerNews, now: Instant) {
        match news {
            TrackerNews::Peers(hash, addresses, complete) => {
                self.status.board().update(hash, |report| {
                    report.trouble = None;
                    report.complete = complete.or(report.complete);
                });
                self.candidates.found(hash, &addresses, now);
            }
            TrackerNews::Named(hash, addresses) => self.candidates.found(hash, &addresses, now),
            TrackerNews::Given(hash, addresses) => self.candidates.given(hash, &addresses, now),
            TrackerNews::Trouble(hash, reason) => {
                return self.status.board().update(hash, |report| report.trouble = Some(reason));
            }
        }
        self.dial(now);
    }

    /// Dials whoever is due.
    fn dial(&mut self, now: Instant) {
        while let Some((hash, address)) = self.candidates.next(now) {
            let Some(share) = self.registry.find(hash) else {
                self.candidates.failed((hash, address), false, now);
                self.candidates.forget(hash);
                continue;
            };
            let host = self.host.clone();
            let dial = HalfOpen { failures: self.failures.clone(), place: (hash, address), end: Some(End::ClosedByUs) };
            let started = thread::Builder::new().name("session reader".into()).stack_size(STACK).spawn(move || {
                let end = session::dial(&host, &share, address).err();
                dial.over(end);
            });
            if let Err(error) = started {
                log::warn!("no thread for a connection: {error}");
            }
        }
        self.next_dial = self.candidates.due(now);
    }

    fn event(&mut self, event: SessionEvent, now: Instant) {
        self.status.event(&event, now);
        match event {
            SessionEvent::Opened(handle) => self.opened(handle, now),
            SessionEvent::Closed { session, end, .. } => self.closed(session, &end, now),
            SessionEvent::Peer(event) => self.peer_event(event, now),
            // Nothing is written here.
            SessionEvent::StorageFailed(_) => {}
        }
    }

    fn peer_event(&mut self, event: PeerEvent, now: Instant) {
        match event {
            PeerEvent::Has(id, bits) => self.show_more(id, |seeding, _| seeding.has(id, &bits, now)),
            PeerEvent::Gained(id, piece) => self.show_more(id, |seeding, idle| seeding.gained(id, piece, idle, now)),
            PeerEvent::Sent(id, piece) => self.show_more(id, |seeding, idle| seeding.sent(id, piece, idle, now)),
            PeerEvent::Interested(id, interested) => {
                let changes = self.choker.interested(id, interested, now);
                self.tell(changes);
            }
            PeerEvent::ExtensionHandshake { session, port, .. } => {
                if let Some(port) = port {
                    self.candidates.listens(session, port);
                    self.dial(now);
                }
            }
            // We take nothing, so nothing of this matters here.
            PeerEvent::Unchoked(..) | PeerEvent::Choked(..) | PeerEvent::BytesWanted(..) => {}
            PeerEvent::EndgameBlock(..) => {}
        }
    }

    fn closed(&mut self, session: SessionId, end: &End, now: Instant) {
        self.uploaded.remove(&session);
        if let Some(handle) = self.sessions.remove(&session) {
            log::debug!("{}: {end}", handle.remote);
            let seeding = self.super_seeding.get(&handle.share.metainfo.info_hash());
            let is_seeder = seeding.is_some_and(|seeding| seeding.is_done(session));
            let was_of_use = handle.traffic.uploaded.load(Ordering::Relaxed) > 0;
            self.candidates.closed(session, is_seeder, was_of_use, now);
            self.forget(&handle, now);
            if let End::Storage(error) = end {
                self.withdraw(&handle.share, error);
            }
        }
        let changes = self.choker.closed(session, now);
        self.tell(changes);
        self.dial(now);
    }

    /// Something has changed with a peer; `change` says what to show to whom, given whether our uplink idles.
    fn show_more(&mut self, id: SessionId, change: impl FnOnce(&mut SuperSeeding, bool) -> Vec<Showing>) {
        let Some(handle) = self.sessions.get(&id) else { return };
        let Some(seeding) = self.super_seeding.get_mut(&handle.share.metainfo.info_hash()) else { return };
        let shown = change(seeding, is_idle(&handle.share));
        if self.next_look.is_none() && seeding.needs_look() {
            self.next_look = Some(Instant::now() + super_seed::LOOK);
        }
        self.show(shown);
        self.end_if_done(id);
    }

    /// Looks what peers ask for that say nothing of what they have.
    fn look(&mut self, now: Instant) {
        let mut shown = Vec::new();
        for (hash, seeding) in self.super_seeding.iter_mut().filter(|(_, seeding)| seeding.needs_look()) {
            let is_idle = self.registry.find(*hash).is_some_and(|share| is_idle(&share));
            let asks = |id| self.sessions.get(&id).is_some_and(SessionHandle::is_uploading);
            shown.extend(seeding.look(is_idle, asks, now));
        }
        self.show(shown);
        let needs_look = self.super_seeding.values().any(SuperSeeding::needs_look);
        self.next_look = needs_look.then(|| now + super_seed::LOOK);
    }

    fn opened(&mut self, handle: SessionHandle, now: Instant) {
        let id = handle.id();
        let hash = handle.share.metainfo.info_hash();
        self.file_watch.look_at(&handle.share);
        // A peer that comes again from the same address has lost its first connection, whether we have noticed or not. Where we have
        // dialled it and it us, both are alive, and one of them goes later.
        let before = self.sessions.values().find(|other| {
            other.remote.is_same_peer(&handle.remote)
                && other.remote.direction == handle.remote.direction
                && other.share.metainfo.info_hash() == hash
        });
        before.into_iter().for_each(SessionHandle::end);
        self.candidates.opened(hash, &handle.remote, now);
        let seeding = self
            .super_seeding
            .entry(hash)
            .or_insert_with(|| SuperSeeding::new(handle.share.geometry(), self.chance.next()));
        let shown = seeding.opened(id, now);
        self.choker.opened(id, now);
        let mut first = Bitfield::empty(handle.share.geometry().piece_count());
        shown.into_iter().for_each(|piece| _ = first.set(piece.get()));
        handle.order(SendOrder::Start((!first.is_empty()).then_some(first)));
        // It may have been expelled while this peer shook hands.
        if self.registry.find(hash).is_none() {
            handle.end();
        }
        self.sessions.insert(id, handle);
        self.dial(now);
    }

    fn forget(&mut self, handle: &SessionHandle, now: Instant) {
        let hash = handle.share.metainfo.info_hash();
        if let Some(seeding) = self.super_seeding.get_mut(&hash) {
            let shown = seeding.closed(handle.id(), now);
            if seeding.is_idle() {
                self.super_seeding.remove(&hash);
                handle.share.store.close_all();
            }
            self.show(shown);
        }
    }

    /// The files of a torrent cannot be read any more: nobody is let in to it from now on, or sent to us.
    fn withdraw(&mut self, share: &Arc<SharedTorrent>, error: &storage::StorageError) {
        let hash = share.metainfo.info_hash();
        if self.registry.withdraw(share) {
            log::error!("{} is not seeded any more: {error}", share.metainfo.name());
            self.status.board().update(hash, |report| report.activity = Activity::Failed(error.to_string()));
            self.announcer.remove(hash);
            self.candidates.forget(hash);
            self.end_all_of(hash);
        }
    }

    fn end_all_of(&self, hash: InfoHash) {
        let about_it = self.sessions.values().filter(|handle| handle.share.metainfo.info_hash() == hash);
        about_it.for_each(SessionHandle::end);
    }

    fn tick(&mut self, now: Instant) {
        for (id, handle) in &self.sessions {
            let given = handle.traffic.uploaded.load(Ordering::Relaxed);
            if self.uploaded.insert(*id, given).is_some_and(|before| before < given)
                && let Some(seeding) = self.super_seeding.get_mut(&handle.share.metainfo.info_hash())
            {
                seeding.moves(*id, now);
            }
        }
        let served: HashMap<_, _> =
            self.sessions.values().map(|handle| (handle.share.metainfo.info_hash(), &handle.share)).collect();
        served.values().for_each(|share| self.file_watch.look_at(share));
        let all = self.super_seeding.iter_mut();
        let shown: Vec<_> = all
            .flat_map(|(hash, seeding)| seeding.tick(served.get(hash).is_some_and(|share| is_idle(share)), now))
            .collect();
        self.show(shown);
        let mut changes = self.choker.rotate(now, |_| 0);
        changes.extend(self.choker.take_unused(now, |id| self.uploaded.get(&id).copied().unwrap_or(0)));
        self.tell(changes);
        let moved = |id| self.uploaded.get(&id).copied().unwrap_or(0);
        let superfluous = self.candidates.superfluous(now, moved);
        superfluous.iter().filter_map(|id| self.sessions.get(id)).for_each(SessionHandle::end);
        self.publish(now);
    }

    fn publish(&mut self, now: Instant) {
        let (all, choker) = (&self.super_seeding, &self.choker);
        self.status.publish(now, |handle| {
            let seeding = all.get(&handle.share.metainfo.info_hash())?;
            Some(PeerKnowledge { have: seeding.theirs(handle.id())?, we_choke: !choker.is_unchoked(handle.id()) })
        });
    }

    fn show(&self, shown: Vec<Showing>) {
        for (id, piece) in shown {
            if let Some(handle) = self.sessions.get(&id) {
                handle.order(SendOrder::Have(piece));
            }
        }
    }

    /// A peer that has everything is of no use to us, nor we to it.
    fn end_if_done(&self, id: SessionId) {
        if let Some(handle) = self.sessions.get(&id) {
            let seeding = self.super_seeding.get(&handle.share.metainfo.info_hash());
            if seeding.is_some_and(|seeding| seeding.is_done(id)) {
                handle.end();
            }
        }
    }

    fn tell(&self, changes: Vec<ChokeChange>) {
        for change in changes {
            let (id, order) = change.order();
            if let Some(handle) = self.sessions.get(&id) {
                handle.order(order);
            }
        }
    }
}

/// Whether our uplink has nothing to do for this torrent.
fn is_idle(share: &SharedTorrent) -> bool {
    share.sending.load(Ordering::Relaxed) == 0
}

#[cfg(test)]
mod tests {
    use std::panic;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::policy::candidates::MAX_DIALLED;

    #[test]
    fn an_address_whose_thread_panics_is_not_dialled_for_ever() {
        let (failures, failed) = bounded(MAX_DIALLED);
        let place = (InfoHash([1; 20]), SocketAddr::from(([10, 0, 0, 1], 6881)));
        let dial = || HalfOpen { failures: failures.clone(), place, end: Some(End::ClosedByUs) };
        let (panics, succeeds, fails) = (dial(), dial(), dial());
        let panics_while_it_shakes_hands = || -> Option<End> { panic::resume_unwind(Box::new(())) };
        let thread = thread::spawn(move || {
            let end = panics_while_it_shakes_hands();
            panics.over(end);
        });
        assert!(thread.join().is_err());
        assert!(failed.try_recv().is_ok_and(|(hash, address, _)| (hash, address) == place));
        succeeds.over(None);
        assert!(failed.is_empty());
        fails.over(Some(End::Silent));
        assert!(failed.try_recv().is_ok_and(|(_, _, end)| matches!(end, End::Silent)));
    }
}
