//! The coordinator's thread: it owns the sessions' handles, feeds what happens to the [`Coordinator`] and does what that
//! says. It waits nowhere but in its `select!`; whatever it sends, it only tries to send.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select, tick};

use super::dialler::{DialFailure, Dialler};
use crate::{
    announce::{Announcer, TrackerNews},
    bitfield::Bitfield,
    metainfo::InfoHash,
    policy::{
        PieceInFlight, SessionId,
        coordinator::{Action, Coordinator, FetchSettings, SessionPace},
    },
    seeder::{FileWatch, TorrentRegistry},
    session::{
        End, HaveSet, IncomingPieces, Limiter, LocalPeer, SessionEvent, SessionHandle, SharedTorrent, Traffic,
        incoming::hash::{self, HashWorkers, Hashed},
    },
    status::{
        StatusWriter,
        fetch::{FetchMeter, FetchReport},
        report::{Activity, Board, Direction},
    },
    storage::{self, Ledger},
};

/// How often the clock is looked at: stalls, rotation of slots, dialling again, the report.
const TICK: Duration = Duration::from_millis(100);

/// How often the files of what is complete are looked at, as a seeder does; those of a torrent of very many files less often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files looked at a second at most, which takes about a hundredth of a core. What is sent is looked at anyway.
const LOOKS_A_SECOND: u32 = 10_000;

/// Events that may wait for the coordinator; a session that finds the queue full waits, and its peer with it.
const MAX_EVENTS: usize = 1024;

/// Complete pieces that may wait for a hash worker; a reader that finds the queue full waits.
const MAX_UNHASHED: usize = 4;

/// Dialling failures and tracker answers that may wait.
const MAX_NEWS: usize = 64;

/// Blocks of another's piece that an idle session asks for at once in the endgame.
const ENDGAME_BLOCKS: usize = 8;

/// What a fetch is made of.
pub struct Plan {
    /// Who we are.
    pub host: Arc<LocalPeer>,
    /// Where pieces go; its store is open for writing.
    pub ledger: Arc<Ledger>,
    /// The pieces that are there already.
    pub have: Bitfield,
    /// Where it shows how it goes; the torrent is on it already.
    pub board: Arc<Board>,
    /// What lets peers in to it, and who announces it: until its files are found to be changed.
    pub registry: Arc<TorrentRegistry>,
    /// See there.
    pub announcer: Announcer,
    /// Limits.
    pub settings: FetchSettings,
    /// Hash workers; one a core.
    pub hash_workers: usize,
    /// Where chance begins.
    pub seed: u64,
}

/// How much may wait in each queue of a fetch; it is right with any number from 1 up, and fast with these.
#[derive(Debug, Clone, Copy)]
struct QueueLimits {
    events: usize,
    unhashed: usize,
    hashed: usize,
    failures: usize,
    news: usize,
}

impl Default for QueueLimits {
    fn default() -> QueueLimits {
        QueueLimits {
            events: MAX_EVENTS,
            unhashed: MAX_UNHASHED,
            hashed: MAX_UNHASHED,
            failures: MAX_NEWS,
            news: MAX_NEWS,
        }
    }
}

/// How a fetch came out.
#[derive(Debug)]
pub enum Outcome {
    /// Every piece is verified and written.
    Complete,
    /// Our own files failed; what was verified stays.
    StorageFailed(Arc<storage::StorageError>),
}

/// A torrent that is being fetched. Dropping it ends its sessions; nothing is written any more afterwards.
pub struct Fetch {
    share: Arc<SharedTorrent>,
    news: Sender<TrackerNews>,
    outcome: Receiver<Outcome>,
    report: Arc<Mutex<FetchReport>>,
    paused: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// How a fetch goes, for somebody who does not own it.
#[derive(Clone)]
pub struct View {
    outcome: Receiver<Outcome>,
    report: Arc<Mutex<FetchReport>>,
}

impl Fetch {
    /// Starts the coordinator and the hash workers.
    pub fn start(plan: Plan) -> io::Result<Fetch> {
        Fetch::with_room(plan, QueueLimits::default())
    }

    fn with_room(plan: Plan, room: QueueLimits) -> io::Result<Fetch> {
        let (events, event_queue) = bounded(room.events);
        let (finished, pieces) = bounded(room.unhashed);
        let (results, hashed) = bounded(room.hashed);
        let (failures, failed) = bounded(room.failures);
        let (news, tracker_news) = bounded(room.news);
        let (done, outcome) = bounded(1);
        let (stop, stopped) = bounded::<()>(0);
        let store = plan.ledger.store().clone();
        let share = Arc::new(SharedTorrent {
            metainfo: store.metainfo().clone(),
            store,
            stamps: plan.ledger.settled().clone(),
            have: Arc::new(HaveSet::new(&plan.have)),
            events,
            incoming: Some(IncomingPieces { ledger: Arc::downgrade(&plan.ledger), finished: finished.clone() }),
            upload: Limiter::new(0),
            download: Limiter::new(0),
            traffic: Traffic::default(),
            sending: AtomicUsize::new(0),
            lacks_peers: AtomicBool::new(!plan.have.is_full()),
        });
        let bench = HashWorkers { ledger: plan.ledger.clone(), have: share.have.clone(), pieces, results };
        let mut threads = hash::start(plan.hash_workers, &bench, &stopped)?;
        let now = Instant::now();
        let ours = plan.host.peer_id();
        let coordinator = Coordinator::new(share.geometry(), &plan.have, ours, plan.settings, plan.seed, now);
        let report = Arc::new(Mutex::new(FetchReport::new(share.geometry(), &plan.have)));
        let paused = Arc::new(AtomicBool::new(false));
        let mut shell = FetchThread {
            dialler: Dialler::new(plan.host, share.clone(), plan.settings.max_peers, failures),
            share: share.clone(),
            coordinator,
            handles: HashMap::new(),
            finished,
            unsent: VecDeque::new(),
            outcome: Some(done),
            meter: FetchMeter::new(&share, now),
            report: report.clone(),
            status: StatusWriter::new(plan.board, now),
            is_to_pause: paused.clone(),
            finished_at: None,
            failed: None,
            ledger: plan.ledger,
            is_settling: false,
            watchman: FileWatch::start()?,
            looked: now,
            is_withdrawn: false,
            registry: plan.registry,
            announcer: plan.announcer,
        };
        let inputs = FetchInputs { events: event_queue, hashed, failed, tracker_news, stopped };
        threads.push(thread::Builder::new().name("coordinator".into()).spawn(move || shell.run(&inputs))?);
        Ok(Fetch { share, news, outcome, report, paused, stop: Some(stop), threads })
    }

    /// The torrent, for listeners and announcers.
    pub fn share(&self) -> &Arc<SharedTorrent> {
        &self.share
    }

    /// Where announcers tell what trackers said.
    pub fn news(&self) -> Sender<TrackerNews> {
        self.news.clone()
    }

    /// Ends every session within a tick and takes up none, until it is to go on. What is verified stays.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// For whoever wants to know how it goes.
    pub fn view(&self) -> View {
        View { outcome: self.outcome.clone(), report: self.report.clone() }
    }
}

impl View {
    /// Comes once, when the fetch is complete or has failed; without a sender once it is dropped.
    pub fn outcome(&self) -> &Receiver<Outcome> {
        &self.outcome
    }

    /// How it is going, as of the last tick.
    pub fn report(&self) -> FetchReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.stop.take();
        // One that panicked has told on its own.
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

struct FetchInputs {
    events: Receiver<SessionEvent>,
    hashed: Receiver<Hashed>,
    failed: Receiver<DialFailure>,
    tracker_news: Receiver<TrackerNews>,
    stopped: Receiver<()>,
}

struct FetchThread {
    share: Arc<SharedTorrent>,
    coordinator: Coordinator,
    handles: HashMap<SessionId, SessionHandle>,
    dialler: Dialler,
    finished: Sender<PieceInFlight>,
    /// Pieces that an errand completed and that found the hash queue full.
    unsent: VecDeque<PieceInFlight>,
    outcome: Option<Sender<Outcome>>,
    meter: FetchMeter,
    report: Arc<Mutex<FetchReport>>,
    status: StatusWriter,
    is_to_pause: Arc<AtomicBool>,
    /// When the last piece was verified, where it was not there from the start.
    finished_at: Option<SystemTime>,
    /// Why nothing more comes, as a sentence.
    failed: Option<String>,
    ledger: Arc<Ledger>,
    /// Whether the journal knows that every piece is here.
    is_settling: bool,
    watchman: FileWatch,
    /// When the watchman was last asked to look at the files of what is complete.
    looked: Instant,
    /// Whether the files were found to be changed since.
    is_withdrawn: bool,
    registry: Arc<TorrentRegistry>,
    announcer: Announcer,
}

impl FetchThread {
    fn run(&mut self, inputs: &FetchInputs) {
        let ticks = tick(TICK);
        let mut actions = Vec::new();
        let changed = self.watchman.changed().clone();
        self.complete_if_so();
        loop {
            select! {
                recv(inputs.events) -> event => match event {
                    Ok(event) => self.event(event, &mut actions),
                    Err(_) => return,
                },
                recv(inputs.hashed) -> hashed => match hashed {
                    Ok(hashed) => self.hashed(hashed, &mut actions),
                    Err(_) => return,
                },
                recv(inputs.failed) -> failure => if let Ok((address, end)) = failure {
                    self.coordinator.dial_failed(address, end.is_violation(), Instant::now());
                },
                recv(inputs.tracker_news) -> news => if let Ok(news) = news {
                    self.tracker_news(news, &mut actions);
                },
                recv(ticks) -> _ => self.tick(&mut actions),
                recv(changed) -> found => if let Ok((_, error)) = found {
                    self.withdraw(&error);
                },
                recv(inputs.stopped) -> _ => break,
            }
            self.perform(&mut actions);
        }
        self.handles.values().for_each(SessionHandle::end);
    }

    fn event(&mut self, event: SessionEvent, actions: &mut Vec<Action>) {
        let now = Instant::now();
        self.status.sees(&event, now);
        match event {
            SessionEvent::Opened(handle) => {
                let remote = handle.remote.clone();
                self.handles.insert(handle.id(), handle);
                self.coordinator.opened(&remote, now, actions);
            }
            SessionEvent::Closed { session, end, pieces } => self.closed(session, &end, pieces, actions),
            SessionEvent::StorageFailed(error) => self.conclude(Outcome::StorageFailed(error)),
            SessionEvent::Peer(event) => self.coordinator.event(event, now, actions),
        }
    }

    fn closed(&mut self, session: SessionId, end: &End, pieces: Vec<PieceInFlight>, actions: &mut Vec<Action>) {
        let now = Instant::now();
        if let Some(handle) = self.handles.remove(&session) {
            log::debug!("{}: {end}", handle.remote);
            // It may have come and gone between two ticks.
            let (downloaded, uploaded) = (&handle.traffic.downloaded, &handle.traffic.uploaded);
            let [downloaded, uploaded] = [downloaded, uploaded].map(|bytes| bytes.load(Ordering::Relaxed));
            self.coordinator.moved(session, downloaded, uploaded, now);
        }
        if let End::Storage(error) = end
            && self.coordinator.is_complete()
        {
            self.withdraw(error);
        }
        self.coordinator.closed(session, end.is_violation(), pieces, now, actions);
    }

    fn hashed(&mut self, hashed: Hashed, actions: &mut Vec<Action>) {
        let now = Instant::now();
        self.send_unsent();
        match hashed {
            Hashed::Right(piece, liars) => {
                if let Some(giver) = self.coordinator.owner(piece) {
                    self.status.passes(giver, piece, Direction::Downloaded);
                }
                self.coordinator.verified(piece, &liars, now, actions);
                self.finished_at = self.coordinator.is_complete().then(SystemTime::now);
                self.complete_if_so();
            }
            Hashed::Wrong(piece, liar) => {
                let bytes = u64::from(self.share.geometry().length_of(piece.piece()));
                self.share.traffic.wasted.fetch_add(bytes, Ordering::Relaxed);
                self.coordinator.failed(piece, liar, now, actions);
            }
            Hashed::Failed(error) => self.conclude(Outcome::StorageFailed(Arc::new(error))),
        }
    }

    fn tracker_news(&mut self, news: TrackerNews, actions: &mut Vec<Action>) {
        match news {
            TrackerNews::Peers(hash, addresses) => {
                self.tracker_trouble(hash, None);
                self.coordinator.found(addresses, Instant::now(), actions);
            }
            TrackerNews::Trouble(hash, reason) => self.tracker_trouble(hash, Some(reason)),
        }
    }

    fn tracker_trouble(&mut self, hash: InfoHash, trouble: Option<String>) {
        self.status.board().update(hash, |report| report.trouble.clone_from(&trouble));
        self.meter.tracker_trouble = trouble;
    }

    fn tick(&mut self, actions: &mut Vec<Action>) {
        let now = Instant::now();
        self.watch(now);
        self.pause_or_go_on(now, actions);
        let pulses: Vec<_> = self.handles.iter().map(|(id, handle)| (*id, pulse(handle, now))).collect();
        self.coordinator.tick(&pulses, now, actions);
        self.share.lacks_peers.store(self.coordinator.lacks_peers(now), Ordering::Relaxed);
        self.send_unsent();
        self.report(now);
        if now >= self.status.due() {
            self.publish(now);
        }
    }

    fn report(&mut self, now: Instant) {
        let mut report = self.meter.report(&self.coordinator, &self.share, now);
        report.is_withdrawn = self.is_withdrawn;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// What is complete stays as it is, or is not served any more.
    fn watch(&mut self, now: Instant) {
        if !self.coordinator.is_complete() || self.is_withdrawn {
            return;
        }
        self.is_settling = self.is_settling || self.ledger.complete();
        let files = u32::try_from(self.share.metainfo.files().len()).unwrap_or(u32::MAX);
        if now.duration_since(self.looked) >= LOOK_INTERVAL * (1 + files / LOOKS_A_SECOND) {
            self.looked = now;
            self.watchman.look_at(&self.share);
        }
    }

    /// The files are not what they were when all was right: no peer is let in, or sent to us, or served any more.
    fn withdraw(&mut self, error: &storage::StorageError) {
        if self.is_withdrawn {
            return;
        }
        self.is_withdrawn = true;
        let hash = self.share.metainfo.info_hash();
        log::error!("{} is not seeded any more: {error}", self.share.metainfo.name());
        self.failed = Some(error.to_string());
        self.registry.remove(hash);
        self.announcer.remove(hash);
        self.publish(Instant::now());
    }

    fn pause_or_go_on(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match (self.is_withdrawn || self.is_to_pause.load(Ordering::Acquire), self.coordinator.is_paused()) {
            (true, false) => self.coordinator.pause(actions),
            (false, true) => self.coordinator.resume(now, actions),
            (true, true) | (false, false) => {}
        }
    }

    fn publish(&mut self, now: Instant) {
        let coordinator = &self.coordinator;
        self.status.publish(now, |handle| coordinator.peer_knowledge(handle.id()));
        let activity = match &self.failed {
            Some(why) => Activity::Failed(why.clone()),
            None if self.is_to_pause.load(Ordering::Acquire) => Activity::Paused,
            None if coordinator.is_complete() => Activity::Seeding,
            None => Activity::Fetching,
        };
        let have = coordinator.picker().have();
        self.status.board().update(self.share.metainfo.info_hash(), |report| {
            if report.have.count() != have.count() {
                report.set_have(have.clone());
            }
            (report.activity, report.finished) = (activity, self.finished_at);
        });
    }

    /// Does what is to be done; what cannot be done goes back to the coordinator, which may want more done.
    fn perform(&mut self, actions: &mut Vec<Action>) {
        while !actions.is_empty() {
            for action in std::mem::take(actions) {
                self.act(action, actions);
            }
        }
    }

    fn act(&mut self, action: Action, more: &mut Vec<Action>) {
        let now = Instant::now();
        match action {
            Action::Order(id, order) => {
                if let Some(handle) = self.handles.get(&id) {
                    handle.order(order);
                }
            }
            Action::Assign(id, piece) => {
                let unassigned = match self.handles.get(&id) {
                    Some(handle) => handle.assign(piece, now).err(),
                    None => Some(piece),
                };
                if let Some(piece) = unassigned {
                    self.coordinator.unassigned(id, piece, now, more);
                }
            }
            Action::Help { helper, owner, piece } => {
                if let (Some(owner), Some(helper)) = (self.handles.get(&owner), self.handles.get(&helper)) {
                    let missing = owner.requests().last_missing(piece, ENDGAME_BLOCKS);
                    missing.into_iter().for_each(|block| helper.request_endgame_block(block, now));
                }
            }
            Action::Deliver(owner, block, payload, giver) => {
                let Some(owner) = self.handles.get(&owner) else { return };
                let (finished, asked) = owner.requests().receive(block, payload, giver);
                if asked {
                    owner.cancel(vec![block]);
                    owner.request_more(now);
                }
                self.unsent.extend(finished);
                self.send_unsent();
            }
            Action::Recall(id, piece) => {
                let Some(handle) = self.handles.get(&id) else { return };
                let (recalled, asked) = handle.requests().recall(piece);
                handle.cancel(asked);
                handle.request_more(now);
                if let Some(piece) = recalled {
                    self.coordinator.returned(piece, now, more);
                }
            }
            Action::End(id) => {
                if let Some(handle) = self.handles.get(&id) {
                    handle.end();
                }
            }
            Action::Dial(address) => {
                if let Err(address) = self.dialler.dial(address) {
                    self.coordinator.not_dialled(address, now);
                }
            }
        }
    }

    fn send_unsent(&mut self) {
        while let Some(piece) = self.unsent.pop_front() {
            if let Err(TrySendError::Full(piece)) = self.finished.try_send(piece) {
                self.unsent.push_front(piece);
                return;
            }
        }
    }

    fn complete_if_so(&mut self) {
        if self.coordinator.is_complete() {
            self.conclude(Outcome::Complete);
        }
    }

    /// Tells how it came out; the first word counts.
    fn conclude(&mut self, outcome: Outcome) {
        if let Some(teller) = self.outcome.take() {
            if let Outcome::StorageFailed(error) = &outcome {
                self.failed = Some(error.to_string());
            }
            self.publish(Instant::now());
            self.report(Instant::now());
            // Room for one was made when the fetch began, and this is the one.
            let _ = teller.try_send(outcome);
        }
    }
}

fn pulse(handle: &SessionHandle, now: Instant) -> SessionPace {
    let desk = handle.requests();
    SessionPace {
        waited: desk.waited(now),
        time_left: desk.time_left(),
        rate: desk.bytes_per_second(),
        bytes_wanted: desk.bytes_wanted(),
        idle: desk.is_idle(),
        spare: desk.spare(),
        downloaded: handle.traffic.downloaded.load(Ordering::Relaxed),
        uploaded: handle.traffic.uploaded.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests;
