//! What is fetched because the page asked for it: beside all else that runs, and given after, until it is removed.
//!
//! The metainfo lies among our records, beside what is fetched, for as long as that is wanted, so that a restart goes on.

use std::{fs, path::Path, sync::Arc, thread};

use super::{Node, Sources, Torrent, Work};
use crate::{
    announce::client::Reach,
    downloader::FetchOutcome,
    metainfo::{InfoHash, Metainfo},
    node::{
        Failure,
        process::{MAX_SAID, cores},
    },
    status::report::Activity,
    storage::{self, Records, Writing},
};

/// Torrents that are fetched at once at most: each takes a few threads, and memory for its pieces in flight.
const MAX_FETCHES: usize = 16;

/// The ending of the metainfo of what is wanted.
const ORDERED: &str = ".torrent";

impl Node {
    /// Fetches a torrent into the node's folder, on a thread of its own.
    pub fn fetch(self: &Arc<Node>, metainfo: Arc<Metainfo>) -> Result<(), Failure> {
        if let Some(sentence) = metainfo.renaming() {
            log::warn!("{sentence}");
        }
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
        let fetches = torrents.values().filter(|torrent| !matches!(torrent.work, Work::Seeding(_))).count();
        if fetches >= MAX_FETCHES {
            let sentence = format!("{fetches} files are being fetched already; wait for one, or remove one");
            return Err(Failure::new(sentence));
        }
        let mut trackers = metainfo.trackers().to_vec();
        trackers.extend(self.tracker.iter().map(|url| vec![url.clone()]));
        let (work, dir) = (Work::Preparing(ticket.clone()), self.folder.clone());
        let (metainfo, port) = (metainfo.clone(), self.port());
        let (hash, shown) = (metainfo.info_hash(), metainfo.clone());
        let sources = Sources::of_trackers(trackers, Reach::OtherMachines);
        torrents.insert(hash, Torrent { metainfo, dir, is_fetched: true, work, sources, port });
        self.board.add(shown, &self.folder, Activity::Verifying);
        Ok(())
    }

    /// Goes on with what an earlier run was asked for.
    pub fn fetch_again(self: &Arc<Node>) {
        let orders = Records::find(&self.folder).map_err(Failure::from);
        let orders = orders.and_then(|records| records.map_or_else(|| Ok(Vec::new()), |records| read_orders(&records)));
        let orders = orders.inspect_err(|failure| log::error!("{failure}")).unwrap_or_default();
        for order in orders {
            if let Err(failure) = order.and_then(|metainfo| self.fetch(Arc::new(metainfo))) {
                log::error!("{failure}");
            }
        }
    }

    /// From the first look at the disk until the last piece is here.
    fn see_through(&self, metainfo: &Arc<Metainfo>, ticket: &Arc<()>) {
        let hash = metainfo.info_hash();
        let work = self.prepare(metainfo, &self.folder);
        let view = match &work {
            Ok(Work::Downloading(taking)) => Some(taking.fetch.view()),
            _ => None,
        };
        if !self.prepared(hash, ticket, work) {
            return;
        }
        if let Some(Ok(FetchOutcome::Complete)) = view.map(|view| view.outcome().recv()) {
            self.hurry();
            log::info!("{} is complete", metainfo.name());
        }
    }

    /// Finds out what is here already, and starts the threads that get the rest. What is whole needs none.
    pub(super) fn prepare(&self, metainfo: &Arc<Metainfo>, dir: &Path) -> Result<Work, Failure> {
        let mut begun = storage::begin(metainfo, dir, Writing::default(), cores(), &|_, _| {})?;
        begun.store.make_links().iter().take(MAX_SAID).for_each(|line| log::warn!("{line}"));
        match begun.whole.take() {
            Some(stamps) => Ok(Work::Seeding(self.service.share(metainfo.clone(), begun.store, stamps))),
            None => self.start_fetch(begun).map(Work::Downloading),
        }
    }

    fn note_order(&self, metainfo: &Metainfo) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder).map_err(|error| Failure::about(self.folder.display(), error))?;
        match Records::make(&self.folder)? {
            Some(records) => Ok(records.replace(&order_name(metainfo.info_hash()), &metainfo.to_torrent())?),
            None => Ok(()), // It has said why. What is fetched now is not gone on with after a restart.
        }
    }

    pub(super) fn forget_order(&self, hash: InfoHash) {
        // Most torrents were never ordered.
        if let Ok(Some(records)) = Records::find(&self.folder) {
            records.remove(&order_name(hash));
        }
    }
}

fn order_name(hash: InfoHash) -> String {
    format!("{hash}{ORDERED}")
}

/// The metainfos of all orders, each as far as it can be read.
fn read_orders(records: &Records) -> Result<Vec<Result<Metainfo, Failure>>, Failure> {
    let names = records.names().map_err(|error| Failure::about("the records of what is fetched", error))?;
    let orders = names
        .into_iter()
        .filter(|name| name.strip_suffix(ORDERED).is_some_and(|stem| stem.parse::<InfoHash>().is_ok()));
    let read = |name: String| {
        let bytes = records.read(&name)?.unwrap_or_default();
        Metainfo::read(&bytes).map_err(|error| Failure::about(records.path_of(&name).display(), error))
    };
    Ok(orders.map(read).collect())
}
