//! What this machine shares, gives and takes: one node a process, whichever command runs it.
//!
//! It owns what there is once a process (the host's name and port, the registry, both kinds of coordinators, the announcer, the
//! journal) and the list of torrents. `orders` changes them while they run, `fetching` takes what the page asks for, `memory`
//! keeps over a restart what was set, `udp` answers datagrams, `watch` shares a folder as it fills. The list is locked to look and to change, never while a disk or a tracker is waited for.

mod failure;
mod fetching;
mod memory;
pub mod order;
mod orders;
mod ports;
pub mod process;
#[cfg(test)]
mod tests;
pub mod udp;
mod utp;
pub mod watch;

use std::{
    collections::HashMap,
    mem::{self, ManuallyDrop},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    announce::{
        Announcer, LocalDiscovery, OwnTracker, TrackerNews,
        client::{Client, Reach, TrackerReach},
    },
    chance::Chance,
    downloader::{Fetch, FetchPlan, View},
    metainfo::{InfoHash, Metainfo},
    net::{self, NamedBy, PortChoice, may_dial},
    node::process::{chance, cores, new_peer_id},
    policy::{DEFAULT_UPLOAD_SLOTS, FetchSettings},
    seeder::{Admission, SeedCoordinator, TorrentRegistry},
    session::{LocalPeer, SharedTorrent},
    status::report::{Activity, Board},
    storage::{self, Begun, Journal, Ledger, Stamps, Store, StoreAccess, journal::JournalEnding},
};
pub use failure::Failure;
use memory::Memory;
pub use order::{CarryOut, NodeOrder};
pub use ports::MAX_PORTS;
use ports::Ports;

/// Bytes that the pieces in flight of one fetch may hold in memory, unless told otherwise.
pub const FETCH_MEMORY: u64 = 12 << 20;

/// Peers of one fetch at most, unless told otherwise.
pub const FETCH_PEERS: usize = 60;

/// What a node is made of.
pub struct NodeOptions {
    /// Bytes a second that it may send; 0 for no limit.
    pub upload_limit: u64,
    /// Bytes a second that it may take; 0 for no limit.
    pub download_limit: u64,
    /// Peers connected to it at most.
    pub max_peers: usize,
    /// How one fetch may fetch.
    pub fetching: FetchSettings,
    /// Where peers connect.
    pub port: PortChoice,
    /// Whether peers are looked for on the local network too.
    pub local_discovery: bool,
    /// The tracker of this process, if it runs one, and its announce URL.
    pub own_tracker: Option<(String, OwnTracker)>,
    /// The folder that what is ordered is fetched into.
    pub folder: PathBuf,
    /// Where settings of torrents are kept over a restart; nowhere, if there is none.
    pub memory: Option<PathBuf>,
}

/// What one process shares.
pub struct Node {
    host: Arc<LocalPeer>,
    registry: Arc<TorrentRegistry>,
    board: Arc<Board>,
    service: SeedCoordinator,
    announcer: Announcer,
    /// Never dropped, since that waits for the disk however long it takes; every ledger is closed before the process ends.
    journal: ManuallyDrop<Journal>,
    ports: Ports,
    torrents: Mutex<HashMap<InfoHash, Torrent>>,
    memory: Memory,
    /// The announce URL of this process' own tracker.
    tracker: Option<String>,
    folder: PathBuf,
    fetching: FetchSettings,
    chance: AtomicU64,
}

/// One torrent of the node.
struct Torrent {
    metainfo: Arc<Metainfo>,
    /// The folder that it lies in.
    dir: PathBuf,
    /// Whether it was to be fetched, so that what is missing is; otherwise all of it was here.
    is_fetched: bool,
    work: Work,
    sources: Sources,
    /// The port that it is announced at.
    port: u16,
}

/// Whom a torrent's peers are heard of from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Announce URLs, in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Which machines they may lead to: the page, which others control too, has none asked on this one.
    pub reach: TrackerReach,
    /// Peers that the user has named.
    pub peers: Vec<SocketAddr>,
}

impl Sources {
    /// Trackers alone, all of the same reach.
    pub fn of_trackers(trackers: Vec<Vec<String>>, reach: Reach) -> Sources {
        Sources { trackers, reach: reach.into(), peers: Vec::new() }
    }
}

/// What is done with a torrent.
enum Work {
    /// Somebody finds out what is here of it; he knows by this whether it is still wanted.
    Preparing(Arc<()>),
    /// It is whole, and given.
    Seeding(Arc<SharedTorrent>),
    /// It is fetched, and given as far as it is here.
    Downloading(RunningFetch),
}

/// A torrent that is fetched.
struct RunningFetch {
    fetch: Fetch,
    ledger: Arc<Ledger>,
}

impl Node {
    /// Opens the port, starts the threads; nothing is shared yet.
    pub fn open(options: NodeOptions) -> Result<Arc<Node>, Failure> {
        let host = Arc::new(LocalPeer::new(new_peer_id()?, options.upload_limit, options.download_limit));
        let (registry, board) = (Arc::new(TorrentRegistry::default()), Arc::new(Board::default()));
        let gate = Arc::new(Admission::new(host.clone(), registry.clone(), options.max_peers));
        let ports = Ports::open(options.port, &host, gate)?;
        let (tracker, own_tracker) = options.own_tracker.unzip();
        let client = Client::new(chance()? as u32);
        let local = options.local_discovery.then(LocalDiscovery::start).transpose().unwrap_or_else(|error| {
            log::warn!("peers on the local network are not looked for: {error}");
            None
        });
        let announcer = Announcer::new(client, host.peer_id(), own_tracker, local);
        let (slots, seed) = (DEFAULT_UPLOAD_SLOTS, chance()?);
        let service =
            SeedCoordinator::start(host.clone(), registry.clone(), announcer.clone(), board.clone(), slots, seed);
        Ok(Arc::new(Node {
            announcer,
            service: service.map_err(|error| Failure::about("threads", error))?,
            journal: ManuallyDrop::new(Journal::start().map_err(|error| Failure::about("the journal", error))?),
            memory: Memory::open(options.memory)?,
            tracker,
            torrents: Mutex::default(),
            folder: options.folder,
            fetching: options.fetching,
            chance: AtomicU64::new(chance()?),
            host,
            registry,
            board,
            ports,
        }))
    }

    /// Who this is.
    pub fn host(&self) -> &LocalPeer {
        &self.host
    }

    /// What its torrents show.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Where peers connect, where nothing else was asked for.
    pub fn port(&self) -> u16 {
        self.ports.main()
    }

    /// Gives what lies whole in a folder from now on, and lay there with these stamps when it was hashed; at a port of its
    /// own, where that is asked for and can be had. Nothing changes where it is shared already and has not failed.
    pub fn seed(
        &self,
        metainfo: Arc<Metainfo>,
        dir: &Path,
        stamps: Stamps,
        sources: Sources,
        port: Option<u16>,
    ) -> Result<Arc<SharedTorrent>, Failure> {
        let (port, refused) = match port.map(|port| self.ports.also(port)) {
            None => (self.port(), None),
            Some(Ok(port)) => (port, None),
            Some(Err(failure)) => (self.port(), Some(failure)),
        };
        let store = Store::open(metainfo.clone(), dir, StoreAccess::Read)?;
        let share = self.service.share(metainfo.clone(), Arc::new(store), stamps);
        let work = Work::Seeding(share.clone());
        self.put(Torrent { metainfo, dir: dir.to_owned(), is_fetched: false, work, sources, port });
        refused.map_or(Ok(share), Err)
    }

    /// Gives a file that was uploaded, announced to this process' own tracker; the stamps are those of the file when it was
    /// hashed, or as it is now if it was known to be whole just before.
    pub fn seed_upload(
        &self,
        metainfo: Arc<Metainfo>,
        file: &Path,
        stamps: Option<Stamps>,
        port: Option<u16>,
    ) -> Result<(), Failure> {
        let dir = file.parent().unwrap_or(Path::new("."));
        let stamps = match stamps {
            Some(stamps) => stamps,
            None => Stamps::of(&Store::open(metainfo.clone(), dir, StoreAccess::Read)?)?,
        };
        let trackers = self.tracker.iter().map(|url| vec![url.clone()]).collect();
        self.seed(metainfo, dir, stamps, Sources::of_trackers(trackers, Reach::Anywhere), port).map(|_| ())
    }

    /// Fetches from now on what has begun, and gives it.
    pub fn download(&self, begun: Begun, sources: Sources) -> Result<View, Failure> {
        let (metainfo, dir) = (begun.store.metainfo().clone(), begun.store.dir().to_owned());
        self.board.add(metainfo.clone(), &dir, Activity::Fetching);
        let taking = self.start_fetch(begun)?;
        let view = taking.fetch.view();
        let work = Work::Downloading(taking);
        let port = self.port();
        self.put(Torrent { metainfo, dir, is_fetched: true, work, sources, port });
        Ok(view)
    }

    fn start_fetch(&self, begun: Begun) -> Result<RunningFetch, Failure> {
        let have = begun.have.clone();
        let ledger = self.journal.attach(begun);
        let plan = FetchPlan {
            host: self.host.clone(),
            ledger: ledger.clone(),
            have,
            board: self.board.clone(),
            registry: self.registry.clone(),
            announcer: self.announcer.clone(),
            settings: self.fetching,
            hash_workers: cores(),
            seed: self.chance.fetch_add(1, Ordering::Relaxed),
        };
        let fetch = Fetch::start(plan).map_err(|error| Failure::about("threads", error))?;
        Ok(RunningFetch { fetch, ledger })
    }

    /// Puts a torrent on the list, unless it is there and well, and begins with it unless it is to rest.
    fn put(&self, torrent: Torrent) {
        let hash = torrent.metainfo.info_hash();
        let failed = self.board.torrent(&hash).is_some_and(|report| matches!(report.activity, Activity::Failed(_)));
        let mut torrents = self.torrents();
        if torrents.get(&hash).is_none_or(|there| failed && matches!(there.work, Work::Seeding(_))) {
            self.board.add(torrent.metainfo.clone(), &torrent.dir, Activity::Verifying);
            self.begin(hash, &torrent);
            torrents.insert(hash, torrent);
        }
    }

    /// Lets peers in to a torrent and announces it, unless that is so already; one that is paused is only shown as such.
    fn begin(&self, hash: InfoHash, torrent: &Torrent) {
        let settings = self.memory.of(hash);
        self.apply(hash, torrent, settings);
        let have = torrent.work.share().map(|share| share.have.snapshot());
        let activity = match &torrent.work {
            _ if settings.paused => Activity::Paused,
            Work::Preparing(_) => Activity::Verifying,
            Work::Downloading(_) if have.as_ref().is_some_and(|have| !have.is_full()) => Activity::Fetching,
            Work::Seeding(_) | Work::Downloading(_) => Activity::Seeding,
        };
        self.board.update(hash, |report| {
            report.activity = activity;
            report.set_have(have.unwrap_or_else(|| report.have.clone()));
        });
        if let Work::Downloading(taking) = &torrent.work {
            taking.fetch.pause(settings.paused);
        }
        let Some(share) = torrent.work.share().filter(|_| !settings.paused) else { return };
        if !self.registry.add(share.clone()) {
            return;
        }
        self.announce(hash, torrent, share);
    }

    /// Announces a torrent to a further tracker from now on.
    pub fn announce_also(&self, hash: InfoHash, url: String) {
        let mut torrents = self.torrents();
        let Some(torrent) = torrents.get_mut(&hash) else { return };
        torrent.sources.trackers.push(vec![url]);
        if let Some(share) = torrent.work.share().filter(|_| self.registry.find(hash).is_some()) {
            self.announce(hash, torrent, share);
        }
    }

    fn announce(&self, hash: InfoHash, torrent: &Torrent, share: &Arc<SharedTorrent>) {
        let news = match &torrent.work {
            Work::Downloading(taking) => taking.fetch.news(),
            Work::Preparing(_) | Work::Seeding(_) => self.service.news(),
        };
        let mut chance = Chance::new(self.chance.fetch_add(1, Ordering::Relaxed));
        let (share, Sources { trackers, reach, peers }) = (share.clone(), &torrent.sources);
        let listening = net::listening_on(torrent.port);
        let peers: Vec<_> = peers.iter().copied().filter(|it| may_dial(*it, NamedBy::User, &listening)).collect();
        if !peers.is_empty() && news.try_send(TrackerNews::Given(hash, peers)).is_err() {
            log::error!("the peers that were named are not dialled: too much is going on");
        }
        self.announcer.add(share, trackers, torrent.port, news, reach.clone(), |bound| chance.below(bound));
    }

    /// Has the sessions of a torrent obey its limits.
    fn apply(&self, hash: InfoHash, torrent: &Torrent, settings: memory::TorrentSettings) {
        if let Some(share) = torrent.work.share() {
            share.upload.set(settings.upload_limit);
            share.download.set(settings.download_limit);
        }
        self.board.update(hash, |report| {
            (report.upload_limit, report.download_limit) = (settings.upload_limit, settings.download_limit);
        });
    }

    /// Lets nobody in to a torrent any more, ends its sessions, says goodbye to its trackers.
    fn cease(&self, hash: InfoHash, torrent: &Torrent) {
        self.registry.remove(hash);
        match &torrent.work {
            Work::Seeding(_) => self.service.end_sessions(hash),
            Work::Downloading(taking) => taking.fetch.pause(true),
            Work::Preparing(_) => {}
        }
        self.announcer.remove(hash);
    }

    /// The last piece of a torrent has come: its trackers hear of it.
    pub fn hurry(&self) {
        self.announcer.hurry();
    }

    /// The tracker of this process has heard of a peer that lacks something.
    pub fn joined(&self, hash: InfoHash, peer: SocketAddr) {
        self.announcer.joined(hash, peer);
    }

    /// Ends in order, within the time: goodbyes are said, what was fetched is safe on disk.
    pub fn end(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.announcer.say_goodbye();
        self.ports.close();
        for (hash, torrent) in mem::take(&mut *self.torrents()) {
            self.registry.remove(hash);
            self.finish(torrent.work, deadline);
        }
        self.announcer.wait(deadline);
    }

    /// Ends a torrent's threads, where it has any, and closes its log.
    fn finish(&self, work: Work, deadline: Instant) {
        let Work::Downloading(RunningFetch { fetch, ledger }) = work else { return };
        drop(fetch);
        self.close(ledger, deadline);
    }

    /// Closes the log of what is not fetched any more.
    fn close(&self, ledger: Arc<Ledger>, deadline: Instant) {
        let store = ledger.store().clone();
        let closed = self.journal.close(ledger, deadline.saturating_duration_since(Instant::now()));
        if matches!(closed, Err(storage::StorageError::Changed { .. })) || store.is_undisturbed().is_err() {
            // What the log vouches for is no longer so; without it the next run checks everything.
            storage::resume::forget(store.dir(), &store.metainfo().info_hash());
        }
        match closed {
            Ok(JournalEnding::Clean) => {}
            Ok(JournalEnding::Late) => {
                log::info!("the disk is slow; the last pieces will be checked at the next start");
            }
            Err(error) => log::error!("{error}"),
        }
    }

    fn torrents(&self) -> MutexGuard<'_, HashMap<InfoHash, Torrent>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn share(&self) -> Option<&Arc<SharedTorrent>> {
        match self {
            Work::Preparing(_) => None,
            Work::Seeding(share) => Some(share),
            Work::Downloading(taking) => Some(taking.fetch.share()),
        }
    }
}
