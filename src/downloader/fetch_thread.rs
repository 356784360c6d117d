//! The coordinator's thread: it owns the sessions' handles, tells the [`Coordinator`] what happens and does what that
//! says. It waits nowhere but in its `select!`; whatever it sends, it only tries to send.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, select, tick};

use super::{
    dialler::{DialFailure, Dialler},
    plan::FetchPlan,
};
use crate::{
    announce::{Announcer, TrackerNews},
    metainfo::InfoHash,
    policy::{
        PieceInFlight, SessionId,
        coordinator::{Action, Coordinator, ENDGAME_BLOCKS, SessionPace},
    },
    seeder::{FileWatch, TorrentRegistry},
    session::{End, SessionEvent, SessionHandle, SharedTorrent, incoming::hash::Hashed},
    status::{
        StatusWriter,
        fetch::{FetchMeter, FetchReport},
        report::{Activity, TransferKind},
    },
    storage::{self, Ledger},
};

/// How often the clock is looked at: stalls, rotation of upload slots, dialling again, the report.
const TICK: Duration = Duration::from_millis(100);

/// How often the files of what is complete are looked at, as a seeder does; those of a torrent of very many files less often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files looked at a second at most, which takes about a hundredth of a core. What is sent is looked at anyway.
const LOOKS_A_SECOND: u32 = 10_000;

/// How a fetch came out.
#[derive(Debug)]
pub enum FetchOutcome {
    /// Every piece is verified and written.
    Complete,
    /// Our own files failed; what was verified stays.
    StorageFailed(Arc<storage::StorageError>),
}

/// What the thread hears.
pub(super) struct FetchInputs {
    pub(super) events: Receiver<SessionEvent>,
    pub(super) hashed: Receiver<Hashed>,
    pub(super) failed: Receiver<DialFailure>,
    pub(super) tracker_news: Receiver<TrackerNews>,
    pub(super) stopped: Receiver<()>,
}

/// Where the thread tells what comes of it.
pub(super) struct FetchOutputs {
    pub(super) finished: Sender<PieceInFlight>,
    pub(super) failures: Sender<DialFailure>,
    pub(super) outcome: Sender<FetchOutcome>,
    pub(super) report: Arc<Mutex<FetchReport>>,
    pub(super) is_to_pause: Arc<AtomicBool>,
}

/// The state of the thread.
pub(super) struct FetchThread {
    share: Arc<SharedTorrent>,
    coordinator: Coordinator,
    handles: HashMap<SessionId, SessionHandle>,
    dialler: Dialler,
    finished: Sender<PieceInFlight>,
    /// Pieces that an endgame block completed and that found the hash queue full.
    unsent: VecDeque<PieceInFlight>,
    outcome: Option<Sender<FetchOutcome>>,
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
    file_watch: FileWatch,
    /// When the file_watch was last asked to look at the files of what is complete.
    looked: Instant,
    /// Whether the files were found to be changed since.
    is_withdrawn: bool,
    registry: Arc<TorrentRegistry>,
    announcer: Announcer,
}

impl FetchThread {
    /// Of this torrent, and what tells how it goes.
    pub(super) fn new(plan: FetchPlan, share: Arc<SharedTorrent>, outputs: FetchOutputs) -> io::Result<FetchThread> {
        let (now, ours) = (Instant::now(), plan.host.peer_id());
        let FetchOutputs { finished, failures, outcome, report, is_to_pause } = outputs;
        Ok(FetchThread {
            coordinator: Coordinator::new(share.geometry(), &plan.have, ours, plan.settings, plan.seed, now),
            dialler: Dialler::new(plan.host, share.clone(), plan.settings.max_peers, failures),
            handles: HashMap::new(),
            finished,
            unsent: VecDeque::new(),
            outcome: Some(outcome),
            meter: FetchMeter::new(&share, now),
            share,
            report,
            status: StatusWriter::new(plan.board, now),
            is_to_pause,
            finished_at: None,
            failed: None,
            ledger: plan.ledger,
            is_settling: false,
            file_watch: FileWatch::start()?,
            looked: now,
            is_withdrawn: false,
            registry: plan.registry,
            announcer: plan.announcer,
        })
    }

    /// Runs until it is stopped.
    pub(super) fn run(&mut self, inputs: &FetchInputs) {
        let ticks = tick(TICK);
        let mut actions = Vec::new();
        let changed = self.file_watch.changed().clone();
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
        self.status.event(&event, now);
        match event {
            SessionEvent::Opened(handle) => {
                let remote = handle.remote.clone();
                self.handles.insert(handle.id(), handle);
                self.coordinator.opened(&remote, now, actions);
            }
            SessionEvent::Closed { session, end, pieces } => self.closed(session, &end, pieces, actions),
            SessionEvent::StorageFailed(error) => self.conclude(FetchOutcome::StorageFailed(error)),
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
                if let Some(uploader) = self.coordinator.owner(piece) {
                    self.status.transferred(uploader, piece, TransferKind::Downloaded);
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
            Hashed::Failed(error) => self.conclude(FetchOutcome::StorageFailed(Arc::new(error))),
        }
    }

    fn tracker_news(&mut self, news: TrackerNews, actions: &mut Vec<Action>) {
        match news {
            TrackerNews::Peers(hash, addresses, complete) => {
                self.status.board().update(hash, |report| report.complete = complete.or(report.complete));
                self.tracker_trouble(hash, None);
                self.coordinator.found(addresses, Instant::now(), actions);
            }
            TrackerNews::Trouble(hash, reason) => self.tracker_trouble(hash, Some(reason)),
            TrackerNews::Named(_, addresses) => self.coordinator.found(addresses, Instant::now(), actions),
            TrackerNews::Given(_, addresses) => self.coordinator.given(addresses, Instant::now(), actions),
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
        let paces: Vec<_> = self.handles.iter().map(|(id, handle)| (*id, pace(handle, now))).collect();
        self.coordinator.tick(&paces, now, actions);
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
            self.file_watch.look_at(&self.share);
        }
    }

    /// The files are not what they were when all was right: no peer is let in, or sent to us, or served any more.
    fn withdraw(&mut self, error: &storage::StorageError) {
        if self.is_withdrawn {
            return;
        }
        self.is_withdrawn = true;
        log::error!("{} is not seeded any more: {error}", self.share.metainfo.name());
        self.failed = Some(error.to_string());
        if self.registry.withdraw(&self.share) {
            self.announcer.remove(self.share.metainfo.info_hash());
        }
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
            Action::Deliver(owner, block, payload, uploader) => {
                let Some(owner) = self.handles.get(&owner) else { return };
                let (finished, asked) = owner.requests().receive(block, payload, uploader);
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
            self.conclude(FetchOutcome::Complete);
        }
    }

    /// Tells how it came out; the first word counts.
    fn conclude(&mut self, outcome: FetchOutcome) {
        if let Some(teller) = self.outcome.take() {
            if let FetchOutcome::StorageFailed(error) = &outcome {
                self.failed = Some(error.to_string());
            }
            self.publish(Instant::now());
            self.report(Instant::now());
            // Room for one was made when the fetch began, and this is the one.
            let _ = teller.try_send(outcome);
        }
    }
}

fn pace(handle: &SessionHandle, now: Instant) -> SessionPace {
    let requests = handle.requests();
    SessionPace {
        waited: requests.waited(now),
        time_left: requests.time_left(),
        rate: requests.bytes_per_second(),
        bytes_wanted: requests.bytes_wanted(),
        idle: requests.is_idle(),
        spare: requests.spare(),
        downloaded: handle.traffic.downloaded.load(Ordering::Relaxed),
        uploaded: handle.traffic.uploaded.load(Ordering::Relaxed),
    }
}
