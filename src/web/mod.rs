//! The tracker over HTTP: announces, the page, uploads and downloads.
//!
//! - [`door`] owns the port; it knows nothing of what is served.
//! - [`Web`] is what is served: `routes` tells which path leads where. With a [`Site`] it has the page: `views` and `api`
//!   show, `upload`, `register` and `download` move bytes, [`library`] and `parts` own what lies on disk.
//! - [`swarms`] puts a clock and a lock around the tracker's table.
//!
//! Nothing here knows a seeder: what it shall do goes out as an [`Order`] that `command` carries out.

pub mod address;
mod api;
pub mod door;
mod download;
mod entry;
mod failure;
mod form;
pub mod library;
pub mod multipart;
mod names;
mod parts;
pub mod range;
mod register;
mod routes;
pub mod swarms;
mod upload;
mod views;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, OnceLock},
    thread,
    time::SystemTime,
};

use crate::metainfo::Metainfo;
use door::{Door, Gauge, Limits, Request};
use failure::Failure;
use library::Library;
use parts::Parts;
use register::Registry;
use swarms::Swarms;

/// What the page wants done. Closed: `command` knows each, and answers with a sentence where it cannot be done.
#[derive(Debug)]
pub enum Order {
    /// Seed a file that was uploaded.
    Seed {
        /// What it is.
        metainfo: Arc<Metainfo>,
        /// Where it lies.
        file: PathBuf,
        /// The port that it is to be announced at, from 1024 to 65535; the seeder's own when there is none. Where it cannot
        /// be had, the file is to be seeded at the seeder's own all the same, and the sentence says so.
        port: Option<u16>,
    },
}

/// Carries out an order. Called on a transfer thread, by several at once.
pub type CarryOut = Box<dyn Fn(Order) -> Result<(), String> + Send + Sync>;

/// All that is served: the tracker, and the page where there is one.
pub struct Web {
    swarms: Arc<Swarms>,
    site: Option<Site>,
    gauge: OnceLock<Gauge>,
}

/// The page and the files behind it.
pub struct Site {
    swarms: Arc<Swarms>,
    library: Arc<Library>,
    parts: Parts,
    registry: Registry,
    public_url: Option<String>,
    carry_out: CarryOut,
}

impl Web {
    /// The tracker alone, or with a page.
    pub fn new(swarms: Arc<Swarms>, site: Option<Site>) -> Web {
        Web { swarms, site, gauge: OnceLock::new() }
    }

    /// Opens the door on a listener that is bound already.
    pub fn serve(self: &Arc<Web>, listener: TcpListener, limits: Limits) -> io::Result<Door> {
        let door = Door::open(listener, limits, Arc::clone(self) as Arc<dyn door::Service>)?;
        self.gauge.get_or_init(|| door.gauge());
        Ok(door)
    }

    /// Forgets what has had its time: peers, parts, registered metainfos. To be called about once a minute.
    pub fn sweep(&self) -> io::Result<()> {
        self.swarms.sweep();
        let Some(site) = &self.site else { return Ok(()) };
        site.parts.sweep(SystemTime::now())?;
        site.library.forget_unseen(|hash| {
            let counts = self.swarms.counts(hash);
            counts.complete + counts.incomplete > 0
        })
    }
}

impl Site {
    /// A page for the files of `library`. `public_url` is what this machine is called instead of what browsers ask for.
    pub fn open(
        library: Arc<Library>,
        swarms: Arc<Swarms>,
        public_url: Option<String>,
        carry_out: CarryOut,
    ) -> io::Result<Site> {
        let parts = Parts::open(library.parts_path())?;
        Ok(Site { swarms, library, parts, registry: Registry::default(), public_url, carry_out })
    }

    fn base_url(&self, request: &Request<'_>) -> String {
        address::base_url(request, self.public_url.as_deref(), &self.swarms.own_addresses())
    }

    /// Whether the body that a request announces fits the disk, as far as that can be told.
    fn check_space(&self, request: &Request<'_>) -> Result<(), Failure> {
        let announced = request.field("content-length").and_then(|length| length.parse::<u64>().ok());
        let space = rustix::fs::statvfs(self.library.parts_path());
        match (announced, space.map(|space| space.f_bavail.saturating_mul(space.f_frsize))) {
            (Some(length), Ok(free)) if length > free => Err(Failure::of_disk(&io::ErrorKind::StorageFull.into())),
            _ => Ok(()),
        }
    }

    /// Notes an upload as whole once it is on disk, which may take long and keeps nobody waiting. Until then a restart
    /// verifies it.
    fn stamp_soon(&self, name: String) {
        let library = Arc::clone(&self.library);
        let stamp = move || library.stamp(&name).unwrap_or_else(|error| log::warn!("{name:?} is not on disk: {error}"));
        if let Err(error) = thread::Builder::new().name("web-stamp".into()).spawn(stamp) {
            log::warn!("an upload cannot be noted as whole: {error}");
        }
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("has_page", &self.site.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("library", &self.library).finish_non_exhaustive()
    }
}
