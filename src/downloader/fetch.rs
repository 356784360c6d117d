//! A fetch, as the node holds it: its queues, its threads, and how it goes.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    fetch_thread::{FetchInputs, FetchOutcome, FetchOutputs, FetchThread},
    plan::FetchPlan,
};
use crate::{
    announce::TrackerNews,
    session::{
        HaveSet, IncomingPieces, Limiter, SharedTorrent, Traffic,
        incoming::hash::{self, HashWorkers},
    },
    status::fetch::FetchReport,
};

/// Events that may wait for the coordinator; a session that finds the queue full waits, and its peer with it.
const MAX_EVENTS: usize = 1024;

/// Complete pieces that may wait for a hash worker; a reader that finds the queue full waits.
const MAX_UNHASHED: usize = 4;

/// Dialling failures and tracker answers that may wait.
const MAX_NEWS: usize = 64;

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

/// A torrent that is being fetched. Dropping it ends its sessions; nothing is written any more afterwards.
pub struct Fetch {
    share: Arc<SharedTorrent>,
    news: Sender<TrackerNews>,
    outcome: Receiver<FetchOutcome>,
    report: Arc<Mutex<FetchReport>>,
    paused: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// How a fetch goes, for somebody who does not own it.
#[derive(Clone)]
pub struct View {
    outcome: Receiver<FetchOutcome>,
    report: Arc<Mutex<FetchReport>>,
}

impl Fetch {
    /// Starts the coordinator and the hash workers.
    pub fn start(plan: FetchPlan) -> io::Result<Fetch> {
        Fetch::with_room(plan, QueueLimits::default())
    }

    fn with_room(plan: FetchPlan, room: QueueLimits) -> io::Result<Fetch> {
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
        let workers = HashWorkers { ledger: plan.ledger.clone(), have: share.have.clone(), pieces, results };
        let mut threads = hash::start(plan.hash_workers, &workers, &stopped)?;
        let report = Arc::new(Mutex::new(FetchReport::new(share.geometry(), &plan.have)));
        let paused = Arc::new(AtomicBool::new(false));
        let outputs =
            FetchOutputs { finished, failures, outcome: done, report: report.clone(), is_to_pause: paused.clone() };
        let mut thread = FetchThread::new(plan, share.clone(), outputs)?;
        let inputs = FetchInputs { events: event_queue, hashed, failed, tracker_news, stopped };
        threads.push(thread::Builder::new().name("coordinator".into()).spawn(move || thread.run(&inputs))?);
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

    /// How it goes, for those that do not own it.
    pub fn view(&self) -> View {
        View { outcome: self.outcome.clone(), report: self.report.clone() }
    }
}

impl View {
    /// Comes once, when the fetch is complete or has failed; without a sender once it is dropped.
    pub fn outcome(&self) -> &Receiver<FetchOutcome> {
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

#[cfg(test)]
mod tests;
