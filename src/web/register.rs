//! `POST /metainfos`: a metainfo whose content others have, in either form, to be listed with its swarm.

use std::{
    fs, io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
};

use crossbeam_channel::{self as channel, bounded};

use super::{
    Site,
    failure::HttpFailure,
    names,
    parts::{Part, PartId},
    receive::receive,
    site::{Sender, Shelf},
    views,
};
use crate::{
    http::{Reply, Request},
    metainfo::{self, InfoHash, Limits, Metainfo},
    quota::Origin,
};

/// How many times its own bytes both forms of a metainfo take on disk at most: JSON writes six for a control character, and
/// then the raw bytes in base64.
const BYTES_ON_DISK: u64 = 10;

/// Bounds the memory that registering takes, however many do it at once.
#[derive(Debug)]
pub struct Registrations {
    limits: Limits,
    /// To the thread that reads and writes metainfos, one at a time: that takes several times their length. It ends with this.
    turns: channel::Sender<Turn>,
}

type Turn = Box<dyn FnOnce() + Send>;

/// What became of a metainfo.
struct Registered {
    info_hash: InfoHash,
    name: String,
    is_new: bool,
}

/// Answers a metainfo with its links; 200 when the torrent was listed already, 201 when it is now.
pub fn register(site: &Arc<Site>, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    let shelf = site.shelf()?;
    site.access.check_upload(request, site.swarms.names())?;
    let (sender, limits) = (site.sender(request), shelf.registry.limits);
    let part = receive_part(shelf, request, sender, limits.bytes)?;
    let (path, by, local, listed_on) = (part.path().to_owned(), sender.bounded, request.local(), Arc::clone(site));
    let Registered { info_hash, name, is_new } = shelf.registry.in_turn(move || {
        let bytes = fs::read(path).map_err(|error| HttpFailure::of_disk(&error))?;
        let metainfo = Metainfo::read_within(&bytes, &limits).map_err(refusal)?;
        let length = bytes.len() as u64;
        drop(bytes);
        list(&listed_on, metainfo, length, by, local)
    })?;
    let (base, encoded) = (site.base_url(request), names::encode(&name));
    let url = format!("{base}/metainfos/{encoded}");
    let body = views::json(&serde_json::json!({
        "name": name,
        "info_hash": info_hash.to_string(),
        "json_url": format!("{url}.json"),
        "torrent_url": format!("{url}.torrent"),
    }));
    Ok(Reply::new(if is_new { 201 } else { 200 }, "application/json", body))
}

/// Lists a metainfo that came in so many bytes from `by`, where that bounds it, to `local`, unless it is listed already.
fn list(
    site: &Site,
    metainfo: Metainfo,
    length: u64,
    by: Option<Origin>,
    local: SocketAddr,
) -> Result<Registered, HttpFailure> {
    let (shelf, info_hash) = (site.shelf()?, metainfo.info_hash());
    if let Some((name, _)) = shelf.library.find_hash(info_hash) {
        return Ok(Registered { info_hash, name, is_new: false });
    }
    let _room = shelf.parts.reserve(length * BYTES_ON_DISK, by).map_err(|error| HttpFailure::of_disk(&error))?;
    let claim = shelf.library.claim(&names::clean(metainfo.name()));
    let name = claim.name().to_owned();
    let names = site.swarms.names();
    // What leads here is put in under the address of whoever asks.
    let tiers = metainfo.trackers().iter();
    let tiers: Vec<_> =
        tiers.map(|tier| tier.iter().filter(|url| !names.is_own_tracker(url, local)).cloned().collect()).collect();
    let entry = claim.list_registered(&metainfo.with_trackers(tiers), by)?;
    site.swarms.follow(info_hash, entry.length);
    Ok(Registered { info_hash, name, is_new: true })
}

/// The body, on the disk: however many come at once, and however slowly, they take no memory.
fn receive_part<'a>(
    shelf: &'a Shelf,
    request: &mut Request<'_>,
    sender: Sender,
    limit: u64,
) -> Result<Part<'a>, HttpFailure> {
    let part = shelf.parts.begin_anew(&PartId::Metainfo(sender.origin), shelf.quota(sender))?;
    let mut part = part.passing();
    let too_long = || refusal(metainfo::MetainfoError::TooLong(limit));
    receive(request, limit, too_long, |bytes| part.write(bytes).map_err(|error| HttpFailure::of_disk(&error)))?;
    Ok(part)
}

fn refusal(error: metainfo::MetainfoError) -> HttpFailure {
    use metainfo::MetainfoError::{TooLong, TooManyValues};
    match error {
        TooLong(_) | TooManyValues(_) => HttpFailure::new(
            413,
            format!("the metainfo is {error}; whoever runs this tracker takes more by --max-metainfo"),
        ),
        _ => HttpFailure::new(400, error.to_string()),
    }
}

impl Registrations {
    /// A metainfo that lies in a file.
    pub fn read_file(&self, path: PathBuf) -> Result<Metainfo, HttpFailure> {
        self.in_turn(move || {
            let bytes = fs::read(path).map_err(|error| HttpFailure::of_disk(&error))?;
            Metainfo::read(&bytes).map_err(|error| HttpFailure::new(500, error.to_string()))
        })
    }

    /// Takes metainfos of that size.
    pub fn new(limits: Limits) -> io::Result<Registrations> {
        // Nothing waits in it: each request waits until it is taken.
        let (turns, queue) = bounded::<Turn>(0);
        thread::Builder::new().name("web-metainfo".into()).spawn(move || queue.into_iter().for_each(|turn| turn()))?;
        Ok(Registrations { limits, turns })
    }

    /// Has `work` done when the metainfos before it are. All on one thread: what a metainfo takes is kept for the next by the
    /// allocator, and would be by every thread for itself.
    fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HttpFailure> + Send + 'static,
    ) -> Result<T, HttpFailure> {
        let fault = || HttpFailure::new(500, "the metainfo could not be read");
        let (done, result) = bounded(1);
        let turn = move || {
            if let Ok(worked) = catch_unwind(AssertUnwindSafe(work)) {
                // There is room for it, and its reader waits.
                let _ = done.send(worked);
            }
        };
        self.turns.send(Box::new(turn)).map_err(|_| fault())?;
        result.recv().unwrap_or_else(|_| Err(fault()))
    }
}
