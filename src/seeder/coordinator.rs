//! The coordinator of all torrents that are only seeded: one thread, however many there are. A torrent that nobody asks
//! for costs it nothing but an entry in the registry, and one on the board.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Sender, bounded};

use super::{
    TorrentRegistry,
    seed_thread::{SeedInputs, SeedThread},
};
use crate::{
    announce::{Announcer, TrackerNews},
    bitfield::Bitfield,
    metainfo::{InfoHash, Metainfo},
    policy::candidates::MAX_DIALLED,
    session::{HaveSet, Limiter, LocalPeer, SessionEvent, SharedTorrent, Traffic},
    status::report::Board,
    storage::{Stamps, Store},
};

/// Events that may wait; a session that finds the queue full waits, and its peer with it.
const MAX_EVENTS: usize = 1024;

/// Torrents that may wait to be expelled; the node waits for room, which does not take long.
const MAX_EXPELLED: usize = 64;

/// Answers of trackers that may wait; an announcing thread that finds the queue full waits.
const MAX_NEWS: usize = 64;

/// The thread, and how torrents come to it. Dropping it ends its sessions.
pub struct SeedCoordinator {
    events: Sender<SessionEvent>,
    news: Sender<TrackerNews>,
    /// Without a sender the thread ends.
    expel: Option<Sender<InfoHash>>,
    thread: Option<JoinHandle<()>>,
}

impl SeedCoordinator {
    /// Starts the thread. `choker` peers are served at once; `seed` is where chance begins.
    pub fn start(
        host: Arc<LocalPeer>,
        registry: Arc<TorrentRegistry>,
        announcer: Announcer,
        board: Arc<Board>,
        upload_slots: usize,
        seed: u64,
    ) -> io::Result<SeedCoordinator> {
        let (events, event_queue) = bounded(MAX_EVENTS);
        let (expel, expelled) = bounded(MAX_EXPELLED);
        let (news, tracker_news) = bounded(MAX_NEWS);
        // As many as there can be, so that no thread waits to tell of one.
        let (failures, failed) = bounded(MAX_DIALLED);
        let mut thread = SeedThread::new(host, registry, announcer, board, failures, upload_slots, seed)?;
        let inputs = SeedInputs { events: event_queue, tracker_news, failed, expelled };
        let thread = thread::Builder::new().name("seed coordinator".into()).spawn(move || thread.run(&inputs))?;
        Ok(SeedCoordinator { events, news, expel: Some(expel), thread: Some(thread) })
    }

    /// A torrent to be seeded, once it is in the registry: every piece is in the store, and was right when
    /// the files had these stamps.
    pub fn share(&self, metainfo: Arc<Metainfo>, store: Arc<Store>, stamps: Stamps) -> Arc<SharedTorrent> {
        let have = Bitfield::full(metainfo.geometry().piece_count());
        Arc::new(SharedTorrent {
            metainfo,
            store,
            stamps: Arc::new(stamps.into()),
            have: Arc::new(HaveSet::new(&have)),
            events: self.events.clone(),
            incoming: None,
            upload: Limiter::new(0),
            download: Limiter::new(0),
            traffic: Traffic::default(),
            sending: AtomicUsize::new(0),
            lacks_peers: AtomicBool::new(false),
        })
    }

    /// Where announcers tell what trackers said of the torrents that are only seeded.
    pub fn news(&self) -> Sender<TrackerNews> {
        self.news.clone()
    }

    /// Ends the sessions of a torrent, which is not in the registry any more.
    pub fn end_sessions(&self, hash: InfoHash) {
        // If the coordinator is gone, so are its sessions.
        let _ = self.expel.as_ref().map(|expel| expel.send(hash));
    }
}

impl Drop for SeedCoordinator {
    fn drop(&mut self) {
        self.expel.take();
        // If it panicked it has told on its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
