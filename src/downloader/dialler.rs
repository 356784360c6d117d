//! The download workers: a bounded pool; each takes an address from the queue, dials, and pulls pieces until the session
//! ends. Workers start when there is work and leave when there has been none for a while.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::session::{self, End, LocalPeer, SharedTorrent};

/// How long a worker waits for its next address before it leaves.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker's stack, in bytes.
const STACK: usize = 256 * 1024;

/// An address that came to no session, and why.
pub type DialFailure = (SocketAddr, End);

/// The queue of addresses and the workers at its other end.
pub struct Dialler {
    host: Arc<LocalPeer>,
    share: Arc<SharedTorrent>,
    queue: Sender<SocketAddr>,
    addresses: Receiver<SocketAddr>,
    failures: Sender<DialFailure>,
    count: Arc<WorkerCount>,
    max_workers: usize,
}

#[derive(Default)]
struct WorkerCount {
    workers: AtomicUsize,
    idle: AtomicUsize,
}

impl Dialler {
    /// No worker yet, `max_workers` at most.
    pub fn new(
        host: Arc<LocalPeer>,
        share: Arc<SharedTorrent>,
        max_workers: usize,
        failures: Sender<DialFailure>,
    ) -> Dialler {
        // As many addresses may wait as workers may take them: the coordinator dials no more than that at once.
        let (queue, addresses) = bounded(max_workers);
        Dialler { host, share, queue, addresses, failures, count: Arc::default(), max_workers }
    }

    /// Has a worker dial this address; hands it back when there is no room or no thread to be had.
    pub fn dial(&self, address: SocketAddr) -> Result<(), SocketAddr> {
        self.queue.try_send(address).map_err(TrySendError::into_inner)?;
        let waiting = self.queue.len();
        if self.count.idle.load(Ordering::Acquire) < waiting
            && self.count.workers.load(Ordering::Acquire) < self.max_workers
        {
            self.start_worker();
        }
        Ok(())
    }

    fn start_worker(&self) {
        self.count.workers.fetch_add(1, Ordering::AcqRel);
        let counted = CountedWorker(self.count.clone());
        let (host, share) = (self.host.clone(), self.share.clone());
        let (addresses, failures) = (self.addresses.clone(), self.failures.clone());
        let started = thread::Builder::new().name("download worker".into()).stack_size(STACK).spawn(move || {
            while let Some(address) = counted.next(&addresses) {
                if let Err(end) = session::dial(&host, &share, address) {
                    log::debug!("no session with {address}: {end}");
                    if failures.send((address, end)).is_err() {
                        return;
                    }
                }
            }
        });
        if let Err(error) = started {
            log::warn!("no thread for a download worker: {error}");
        }
    }
}

/// Counts a worker in until it leaves, however it leaves.
struct CountedWorker(Arc<WorkerCount>);

impl CountedWorker {
    fn next(&self, addresses: &Receiver<SocketAddr>) -> Option<SocketAddr> {
        self.0.idle.fetch_add(1, Ordering::AcqRel);
        let next = addresses.recv_timeout(PATIENCE).ok();
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
        // An address that was queued for this worker while it gave up waiting would find nobody else.
        next.or_else(|| addresses.try_recv().ok())
    }
}

impl Drop for CountedWorker {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::AcqRel);
    }
}
