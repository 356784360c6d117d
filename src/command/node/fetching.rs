//! What is fetched because the page asked for it: beside all else that runs, and given after, until it is removed.
//!
//! The metainfo lies beside what is fetched for as long as that is wanted, so that a restart goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use super::{
    super::{ENDING, Failure, cores},
    Node, Torrent, Work, memory,
};
use crate::{
    downloader::Outcome,
    metainfo::{InfoHash, Metainfo},
    seeder::report::Activity,
    storage::{self, Access, Stamps, Store},
};

/// Torrents that are fetched at once at most: each takes a few threads, and memory for its pieces in flight.
const MAX_FETCHES: usize = 16;

/// The ending of the metainfo of what is wanted.
const ORDERED: &str = "torrent";

impl Node {
    /// Fetches a torrent into the node's folder, on a thread of its own.
    pub fn fetch(self: &Arc<Node>, metainfo: Arc<Metainfo>) -> Result<(), Failure> {
        self.check_place(&metainfo)?;
        if let Some(sentence) = metainfo.renaming() {
            log::warn!("{sentence}");
        }
        self.begin_fetch(metainfo)
    }

    fn begin_fetch(self: &Arc<Node>, metainfo: Arc<Metainfo>) -> Result<(), Failure> {
        let (hash, ticket) = (metainfo.info_hash(), Arc::new(()));
        self.reserve(&metainfo, &ticket)?;
        let node = self.clone();
        let begun = self.note_order(&metainfo).and_then(|()| {
            let fetching = move || node.see_through(&metainfo, &ticket);
            let started = thread::Builder::new().name("fetch".into()).spawn(fetching);
            started.map_err(|error| Failure::about("threads", error))
        });
        begun.map(|_| ()).inspect_err(|_| {
            self.torrents().remove(&hash);
            self.board.remove(hash);
        })
    }

    /// Puts a torrent on the list that is not there yet.
    fn reserve(&self, metainfo: &Arc<Metainfo>, ticket: &Arc<()>) -> Result<(), Failure> {
        let mut torrents = self.torrents();
        if torrents.contains_key(&metainfo.info_hash()) {
            return Err(Failure::new(format!("{} is here already", metainfo.name())));
        }
        let fetches = torrents.values().filter(|torrent| !matches!(torrent.work, Work::Giving(_))).count();
        if fetches >= MAX_FETCHES {
            let sentence = format!("{fetches} files are being fetched already; wait for one, or remove one");
            return Err(Failure::new(sentence));
        }
        let mut trackers = metainfo.trackers().to_vec();
        trackers.extend(self.tracker.iter().map(|url| vec![url.clone()]));
        let (work, dir) = (Work::Preparing(ticket.clone()), self.folder.clone());
        let torrent = Torrent { metainfo: metainfo.clone(), dir, is_fetched: true, work, trackers, port: self.port() };
        torrents.insert(metainfo.info_hash(), torrent);
        self.board.add(metainfo.clone(), &self.folder, Activity::Verifying);
        Ok(())
    }

    /// Goes on with what an earlier run was asked for.
    pub fn fetch_again(self: &Arc<Node>) {
        // Without a folder nothing was asked for.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_order = |path: &PathBuf| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix('.'));
            path.extension().is_some_and(|ending| ending == ORDERED)
                && stem.is_some_and(|stem| stem.parse::<InfoHash>().is_ok())
        };
        for path in paths.filter(is_order) {
            let read = fs::read(&path).map_err(|error| Failure::about(path.display(), error));
            let read =
                read.and_then(|bytes| Metainfo::read(&bytes).map_err(|error| Failure::about(path.display(), error)));
            if let Err(failure) = read.and_then(|metainfo| self.begin_fetch(Arc::new(metainfo))) {
                log::error!("{failure}");
            }
        }
    }

    /// From the first look at the disk until the last piece is here.
    fn see_through(&self, metainfo: &Arc<Metainfo>, ticket: &Arc<()>) {
        let hash = metainfo.info_hash();
        let work = self.prepare(metainfo, &self.folder);
        let view = match &work {
            Ok(Work::Taking(taking)) => Some(taking.fetch.view()),
            _ => None,
        };
        if !self.prepared(hash, ticket, work) {
            return;
        }
        if let Some(Ok(Outcome::Complete)) = view.map(|view| view.outcome().recv()) {
            self.hurry();
            log::info!("{} is complete", metainfo.name());
        }
    }

    /// Finds out what is here already, and starts the threads that get the rest. What is whole needs none.
    pub(super) fn prepare(&self, metainfo: &Arc<Metainfo>, dir: &Path) -> Result<Work, Failure> {
        let store = Arc::new(Store::open(metainfo.clone(), dir, Access::Write { preallocate: false })?);
        let (log, have) = storage::resume::open(&store, cores(), &|_, _| {})?;
        let ledger = self.journal.attach(log, store);
        if !have.is_full() {
            return self.start_taking(ledger, have).map(Work::Taking);
        }
        self.close(ledger, Instant::now() + ENDING);
        let store = Store::open(metainfo.clone(), dir, Access::Read)?;
        let stamps = Stamps::of(&store)?;
        Ok(Work::Giving(self.service.share(metainfo.clone(), Arc::new(store), stamps)))
    }

    /// Somebody else's file is in nobody's way: only what this torrent began with may be written to.
    fn check_place(&self, metainfo: &Metainfo) -> Result<(), Failure> {
        let path = self.folder.join(metainfo.name());
        let is_ours = storage::resume::path(&self.folder, &metainfo.info_hash()).exists();
        match path.exists() && !is_ours {
            true => {
                Err(Failure::about(path.display(), "it is there already, and is left as it is; move it away first"))
            }
            false => Ok(()),
        }
    }

    fn note_order(&self, metainfo: &Metainfo) -> Result<(), Failure> {
        let path = self.order_path(metainfo.info_hash());
        fs::create_dir_all(&self.folder)
            .and_then(|()| memory::replace(&path, &metainfo.to_torrent()))
            .map_err(|error| Failure::about(path.display(), error))
    }

    pub(super) fn forget_order(&self, hash: InfoHash) {
        // Most torrents were never ordered.
        let _ = fs::remove_file(self.order_path(hash));
    }

    fn order_path(&self, hash: InfoHash) -> PathBuf {
        self.folder.join(format!(".{hash}.{ORDERED}"))
    }
}
