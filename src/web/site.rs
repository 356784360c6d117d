//! The page of one machine, and what is behind it: files that were uploaded, torrents of this process, who may do what.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::SystemTime,
};

use serde::Serialize;

use super::{
    CarryOut, NodeOrder,
    access::{AccessControl, Rules},
    address,
    api::{self, Viewer},
    events::Newsroom,
    failure::HttpFailure,
    hashing::hash_file,
    library::{Library, Returned},
    parts::{PartStore, Quota},
    register::Registrations,
    swarms::Swarms,
};
use crate::{
    http::{Reply, Request},
    metainfo::{self, InfoHash, PeerId, PieceHasher},
    quota::Origin,
    status::report::Board,
};

/// What the machine of a page runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The tracker, with uploads.
    Tracker,
    /// One file or folder, given.
    Seed,
    /// One torrent, taken and then given.
    Fetch,
}

/// What transfers may use, in bytes a second; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RateLimits {
    /// To give.
    pub upload: u64,
    /// To take.
    pub download: u64,
}

/// What every page needs of its process.
pub struct Setup {
    /// What the peers of this process call themselves.
    pub peer_id: PeerId,
    /// What its torrents do.
    pub board: Arc<Board>,
    /// Who may do what.
    pub rules: Rules,
    /// What all transfers together may use at first.
    pub limits: RateLimits,
    /// Does what the page wants done.
    pub carry_out: CarryOut,
}

/// The page and what is behind it.
pub struct Site {
    pub(super) kind: Kind,
    pub(super) machine_name: String,
    pub(super) swarms: Arc<Swarms>,
    pub(super) shelf: Option<Shelf>,
    pub(super) peer_id: PeerId,
    pub(super) board: Arc<Board>,
    pub(super) access: AccessControl,
    pub(super) newsroom: Newsroom,
    /// Held while an answer that names every file is made: it takes several times its length of memory.
    listing: Mutex<()>,
    limits: Mutex<RateLimits>,
    carry_out: CarryOut,
}

/// From where an upload comes.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    pub(super) origin: Origin,
    /// The same, unless it may control: then its share is not bounded.
    pub(super) bounded: Option<Origin>,
}

/// The files of a tracker's page.
pub struct Shelf {
    pub(super) library: Arc<Library>,
    pub(super) parts: PartStore,
    pub(super) registry: Registrations,
}

impl Site {
    /// A tracker's page, for the files of `library` and for metainfos of others within those limits.
    pub fn open(
        library: Arc<Library>,
        metainfos: metainfo::Limits,
        swarms: Arc<Swarms>,
        setup: Setup,
    ) -> io::Result<Site> {
        let parts = PartStore::open(library.parts_path())?;
        for (_, entry) in library.entries() {
            swarms.follow(entry.info_hash, entry.length);
        }
        let site = Site::node(Kind::Tracker, swarms, setup).map_err(io::Error::other)?;
        Ok(Site { shelf: Some(Shelf { library, parts, registry: Registrations::new(metainfos)? }), ..site })
    }

    /// A page without files of its own.
    pub(super) fn node(kind: Kind, swarms: Arc<Swarms>, setup: Setup) -> Result<Site, getrandom::Error> {
        let Setup { peer_id, board, rules, limits, carry_out } = setup;
        Ok(Site {
            kind,
            machine_name: address::machine_name(),
            swarms,
            shelf: None,
            peer_id,
            board,
            access: AccessControl::new(rules)?,
            newsroom: Newsroom::default(),
            listing: Mutex::default(),
            limits: Mutex::new(limits),
            carry_out,
        })
    }

    /// Notes who is here, so that rounds are measured also when nobody looks at the page. To be called once a second.
    pub(super) fn note(&self) {
        self.board.torrents().iter().for_each(|report| api::state::remember(self, report));
        self.swarms.measure_rounds();
    }

    /// Forgets what has had its time.
    pub(super) fn sweep(self: &Arc<Site>) -> io::Result<()> {
        self.newsroom.sweep();
        let reports = self.board.torrents();
        let mut kept: HashSet<InfoHash> = reports.iter().map(|report| report.metainfo.info_hash()).collect();
        let swept = self.shelf.as_ref().map_or(Ok(()), |shelf| {
            shelf.parts.sweep(SystemTime::now())?;
            for hash in shelf.library.forget_gone() {
                log::info!("{hash} is not listed any longer: its file is gone");
                self.order(NodeOrder::Remove(hash)).unwrap_or_else(|sentence| log::debug!("{hash}: {sentence}"));
            }
            self.share_again(shelf);
            shelf.library.forget_unseen(|hash| {
                let counts = self.swarms.counts(hash);
                counts.complete + counts.incomplete > 0
            })?;
            kept.extend(shelf.library.entries().into_iter().map(|(_, entry)| entry.info_hash));
            Ok(())
        });
        self.swarms.follow_only(&kept);
        swept
    }

    /// Shares uploads again whose file is back: what is unchanged at once, the rest once it is verified, on a thread of its own.
    fn share_again(self: &Arc<Site>, shelf: &Shelf) {
        let (unchanged, changed): (Vec<_>, Vec<_>) =
            shelf.library.returned().into_iter().partition(|returned| returned.is_unchanged);
        unchanged.into_iter().for_each(|returned| self.list_again(shelf, returned));
        if changed.is_empty() {
            return;
        }
        let site = Arc::clone(self);
        let verify = move || {
            let Some(shelf) = &site.shelf else { return };
            for returned in changed {
                let hash = |mut file| hash_file(&mut file, returned.metainfo.geometry().piece_length());
                match File::open(&returned.file).and_then(hash).map(PieceHasher::finish) {
                    Ok(hashes) if returned.metainfo.has_hashes(&hashes) => site.list_again(shelf, returned),
                    Ok(_) => log::warn!("{:?} is another file than was uploaded, and is not shared", returned.name),
                    Err(error) => log::warn!("{:?} cannot be read: {error}", returned.name),
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("web-verify".into()).spawn(verify) {
            log::warn!("an upload whose file is back cannot be verified: {error}");
        }
    }

    fn list_again(&self, shelf: &Shelf, Returned { name, metainfo, file, port, .. }: Returned) {
        if !shelf.library.list_again(&name) {
            return;
        }
        let (hash, length) = (metainfo.info_hash(), metainfo.length());
        log::info!("{hash} is listed again: its file is back");
        self.swarms.follow(hash, length);
        self.order(NodeOrder::Seed { metainfo, file, port })
            .unwrap_or_else(|sentence| log::warn!("{name:?}: {sentence}"));
        shelf.stamp_soon(name);
    }

    /// The files of this page, or a refusal where it has none of its own.
    pub(super) fn shelf(&self) -> Result<&Shelf, HttpFailure> {
        self.shelf
            .as_ref()
            .ok_or_else(|| HttpFailure::new(404, "this machine keeps no files for others; a tracker does"))
    }

    pub(super) fn base_url(&self, request: &Request<'_>) -> String {
        self.swarms.names().base_url(request)
    }

    /// Who asks.
    pub(super) fn viewer(&self, request: &Request<'_>) -> Viewer {
        let mut may = self.access.may(request, self.swarms.names());
        may.upload &= self.shelf.is_some();
        Viewer { may, base: self.base_url(request) }
    }

    /// From where an upload comes.
    pub(super) fn sender(&self, request: &Request<'_>) -> Sender {
        let origin = self.swarms.names().origin(request);
        let may_control = self.access.may(request, self.swarms.names()).control;
        Sender { origin, bounded: (!may_control).then_some(origin) }
    }

    /// Makes an answer that names every file when those before it are made. Nothing in it waits for a disk.
    pub(super) fn in_turn(&self, make: impl FnOnce() -> Reply) -> Reply {
        let _listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        make()
    }

    pub(super) fn order(&self, order: NodeOrder) -> Result<(), String> {
        (self.carry_out)(order)
    }

    /// What all transfers together may use.
    pub(super) fn limits(&self) -> RateLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what they may use from now on.
    pub(super) fn set_limits(&self, upload: Option<u64>, download: Option<u64>) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.upload = upload.unwrap_or(limits.upload);
        limits.download = download.unwrap_or(limits.download);
    }

    /// How many files the page has.
    pub(super) fn file_count(&self) -> usize {
        match &self.shelf {
            Some(shelf) => shelf.library.entries().len(),
            None => self.board.torrents().len(),
        }
    }
}

impl Shelf {
    /// What bounds a sender's uploads.
    pub(super) fn quota(&self, sender: Sender) -> Option<Quota> {
        sender.bounded.map(|by| self.library.quota(by))
    }

    /// Whether there may be one more upload of that sender, and what the field announces fits the disk, as far as that can be
    /// told.
    pub(super) fn check_space(&self, request: &Request<'_>, field: &str, sender: Sender) -> Result<(), HttpFailure> {
        self.library.check_room_for_upload(sender.bounded)?;
        let announced = request.field(field).and_then(|length| length.parse::<u64>().ok());
        let share = self.parts.check_share(self.quota(sender), announced.unwrap_or(0));
        share.map_err(|error| HttpFailure::of_disk(&error))?;
        match (announced, self.parts.room(sender.bounded)) {
            (Some(length), Ok(room)) if length > room => Err(HttpFailure::of_disk(&io::ErrorKind::StorageFull.into())),
            _ => Ok(()),
        }
    }

    /// Notes an upload as whole once it is on disk, which may take long and keeps nobody waiting. Until then a restart
    /// verifies it.
    pub(super) fn stamp_soon(&self, name: String) {
        let library = Arc::clone(&self.library);
        let stamp = move || library.stamp(&name).unwrap_or_else(|error| log::warn!("{name:?} is not on disk: {error}"));
        if let Err(error) = thread::Builder::new().name("web-stamp".into()).spawn(stamp) {
            log::warn!("an upload cannot be noted as whole: {error}");
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("kind", &self.kind).field("access", &self.access).finish_non_exhaustive()
    }
}
