//! What is changed while it runs: pause, resume, remove, limits. Each takes effect at once, and none waits for a disk while the
//! list is locked.

use super::{CarryOut, NodeOrder};
use std::{path::Path, sync::Arc, thread, time::Instant};

use super::{Node, Work, memory::TorrentSettings};
use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, Metainfo},
    node::{
        Failure,
        process::{ENDING, cores},
    },
    status::report::Activity,
    storage::{self, Stamps, Store, StoreAccess},
};

impl Node {
    /// What the page's orders are carried out by.
    pub fn carry_out(self: &Arc<Node>) -> CarryOut {
        let node = self.clone();
        Box::new(move |order| node.obey(order).map_err(|failure| failure.to_string()))
    }

    fn obey(self: &Arc<Node>, order: NodeOrder) -> Result<(), Failure> {
        match order {
            NodeOrder::Seed { metainfo, file, port } => self.seed_upload(metainfo, &file, None, port),
            NodeOrder::Fetch { metainfo } => self.fetch(metainfo),
            NodeOrder::Pause(hash) => self.pause(hash),
            NodeOrder::Resume(hash) => self.resume(hash),
            NodeOrder::Remove(hash) => self.remove(hash),
            NodeOrder::Limit { torrent, upload, download } => self.limit(torrent, upload, download),
        }
    }

    /// Stops all that passes of a torrent, in both directions, until it is resumed. What is here of it stays.
    pub fn pause(&self, hash: InfoHash) -> Result<(), Failure> {
        let torrents = self.torrents();
        let torrent = torrents.get(&hash).ok_or_else(|| unknown(hash))?;
        self.memory.change(hash, |settings| settings.paused = true);
        self.cease(hash, torrent);
        self.board.update(hash, |report| {
            if !matches!(report.activity, Activity::Failed(_)) {
                report.activity = Activity::Paused;
            }
            report.trouble = None;
        });
        drop(torrents);
        self.memory.save();
        Ok(())
    }

    /// Goes on with a torrent that was paused, and tries again with one that failed.
    pub fn resume(self: &Arc<Node>, hash: InfoHash) -> Result<(), Failure> {
        let failed = self.board.torrent(&hash).is_some_and(|report| matches!(report.activity, Activity::Failed(_)));
        let mut torrents = self.torrents();
        let torrent = torrents.get_mut(&hash).ok_or_else(|| unknown(hash))?;
        self.memory.change(hash, |settings| settings.paused = false);
        if !failed {
            self.begin(hash, torrent);
            drop(torrents);
            self.memory.save();
            return Ok(());
        }
        self.cease(hash, torrent);
        let ticket = Arc::new(());
        let former = std::mem::replace(&mut torrent.work, Work::Preparing(ticket.clone()));
        let (metainfo, dir, is_fetched) = (torrent.metainfo.clone(), torrent.dir.clone(), torrent.is_fetched);
        drop(torrents);
        self.memory.save();
        self.board.update(hash, |report| report.activity = Activity::Verifying);
        let node = self.clone();
        let trying = move || {
            node.finish(former, Instant::now() + ENDING);
            let work = match is_fetched {
                true => node.prepare(&metainfo, &dir),
                false => node.verified(&metainfo, &dir),
            };
            node.prepared(hash, &ticket, work);
        };
        let started = thread::Builder::new().name("try again".into()).spawn(trying);
        started.map(|_| ()).map_err(|error| Failure::about("threads", error))
    }

    /// What is given again if all of it is right, though it was not at some time.
    fn verified(&self, metainfo: &Arc<Metainfo>, dir: &Path) -> Result<Work, Failure> {
        let store = Store::open(metainfo.clone(), dir, StoreAccess::Read)?;
        let stamps = Stamps::of(&store)?;
        let all = Bitfield::full(metainfo.geometry().piece_count());
        let have = storage::verify(&store, &all, cores(), &|_, _| {})?;
        if !have.is_full() {
            let (right, all) = (have.count(), have.len());
            return Err(Failure::new(format!("only {right} of {all} pieces are right in {}", dir.display())));
        }
        Ok(Work::Seeding(self.service.share(metainfo.clone(), Arc::new(store), stamps)))
    }

    /// Stops with a torrent for good. Files stay where they are.
    pub fn remove(&self, hash: InfoHash) -> Result<(), Failure> {
        let torrent = self.torrents().remove(&hash).ok_or_else(|| unknown(hash))?;
        self.cease(hash, &torrent);
        self.finish(torrent.work, Instant::now() + ENDING);
        self.board.remove(hash);
        self.forget_order(hash);
        self.memory.change(hash, |settings| *settings = TorrentSettings::default());
        self.memory.save();
        Ok(())
    }

    /// Bounds what one torrent, or all together, may use; what is not named stays as it is.
    pub fn limit(&self, torrent: Option<InfoHash>, upload: Option<u64>, download: Option<u64>) -> Result<(), Failure> {
        let Some(hash) = torrent else {
            upload.into_iter().for_each(|rate| self.host.upload.set(rate));
            download.into_iter().for_each(|rate| self.host.download.set(rate));
            return Ok(());
        };
        {
            let torrents = self.torrents();
            let torrent = torrents.get(&hash).ok_or_else(|| unknown(hash))?;
            let settings = self.memory.change(hash, |settings| {
                settings.upload_limit = upload.unwrap_or(settings.upload_limit);
                settings.download_limit = download.unwrap_or(settings.download_limit);
            });
            self.apply(hash, torrent, settings);
        }
        self.memory.save();
        Ok(())
    }

    /// What was being prepared is there, or has failed; it counts if it is still wanted. Whether it is.
    pub(super) fn prepared(&self, hash: InfoHash, ticket: &Arc<()>, result: Result<Work, Failure>) -> bool {
        let mut torrents = self.torrents();
        let place = torrents.get_mut(&hash);
        let place = place.filter(|there| matches!(&there.work, Work::Preparing(now) if Arc::ptr_eq(now, ticket)));
        match (place, result) {
            (Some(torrent), Ok(work)) => {
                torrent.work = work;
                self.begin(hash, torrent);
                true
            }
            (Some(_), Err(failure)) => {
                log::error!("{failure}");
                self.board.update(hash, |report| report.activity = Activity::Failed(failure.to_string()));
                false
            }
            (None, Ok(work)) => {
                drop(torrents);
                self.finish(work, Instant::now() + ENDING);
                false
            }
            (None, Err(_)) => false,
        }
    }
}

fn unknown(hash: InfoHash) -> Failure {
    Failure::new(format!("{hash} is not shared by this machine"))
}
