//! The tracker and the page over HTTP: announces, what is shared, uploads and downloads, control.
//!
//! - [`http`] owns the port; it knows nothing of what is served.
//! - [`Web`] is what is served: `routes` tells which path leads where. With a [`Site`] it has the page: `views` and `api`
//!   show, `control` and `add` change, `access` says who may, `events` tell what happens; `upload`, `register` and `download` move bytes, [`library`] and `parts`
//!   own what lies on disk. `program` hands out the program itself.
//! - `live` is the one model of who has what of the files on the page: rows, counts, bar, map and rounds are made of it. [`swarms`] puts a
//!   clock and a lock around it and the tracker's table.
//!
//! Nothing here knows a seeder: what its torrents do is read off a [`Board`](crate::status::report::Board), and what it shall do goes out as a [`NodeOrder`]
//! that `command` carries out.

pub mod access;
mod add;
pub mod address;
mod api;
mod clients;
mod control;
mod download;
mod events;
mod failure;
mod form;
mod hashing;
pub mod library;
mod live;
pub mod multipart;
mod names;
mod parts;
mod program;
mod qr;
pub mod range;
mod receive;
mod register;
mod routes;
mod site;
pub mod swarms;
mod upload;
mod views;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use crate::http::{self, Door, DoorLimits, Gauge};
use crate::tracker;
use address::Names;
use swarms::Swarms;

pub use crate::node::{CarryOut, NodeOrder};
pub use access::Rules;
pub use site::{Kind, RateLimits, Setup, Site};

/// All that is served: the tracker, the page, or both.
pub struct Web {
    swarms: Arc<Swarms>,
    announces: bool,
    site: Option<Arc<Site>>,
    began: SystemTime,
    gauge: OnceLock<Gauge>,
}

impl Web {
    /// The tracker alone, or with a page.
    pub fn new(swarms: Arc<Swarms>, site: Option<Site>) -> Web {
        Web { swarms, announces: true, site: site.map(Arc::new), began: SystemTime::now(), gauge: OnceLock::new() }
    }

    /// The page of a machine that is no tracker: what its torrents do, and control over them.
    pub fn node(kind: Kind, setup: Setup) -> Result<Web, getrandom::Error> {
        let swarms = Arc::new(Swarms::new(tracker::TrackerLimits::default(), Names::new(None, Vec::new()))?);
        let site = Site::node(kind, Arc::clone(&swarms), setup)?;
        Ok(Web { announces: false, ..Web::new(swarms, Some(site)) })
    }

    /// The path of the link that gives control, where there is a page without a password. `next` hears of each link that takes
    /// the place of a used one.
    pub fn first_link(&self, next: impl Fn(&str) + Send + Sync + 'static) -> Result<Option<String>, getrandom::Error> {
        self.site.as_ref().map_or(Ok(None), |site| site.access.first_link(Box::new(next)))
    }

    /// Opens the door on a listener that is bound already.
    pub fn serve(self: &Arc<Web>, listener: TcpListener, limits: DoorLimits) -> io::Result<Door> {
        let door = Door::open(listener, limits, Arc::clone(self) as Arc<dyn http::HttpService>)?;
        self.gauge.get_or_init(|| door.gauge());
        Ok(door)
    }

    /// Notes who is here. To be called once a second.
    pub fn note(&self) {
        self.site.as_ref().inspect(|site| site.note());
    }

    /// Forgets what has had its time: peers, parts, registered metainfos. To be called about once a minute.
    pub fn sweep(&self) -> io::Result<()> {
        self.swarms.sweep();
        self.site.as_ref().map_or(Ok(()), site::Site::sweep)
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("has_page", &self.site.is_some()).finish_non_exhaustive()
    }
}
