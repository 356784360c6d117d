//! `POST /metainfos`: a metainfo whose content others have, in either form, to be listed with its swarm.

use std::{
    fs,
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crossbeam_channel::{Sender, bounded};

use super::{
    Site,
    door::{Reply, Request},
    failure::Failure,
    names, views,
};
use crate::metainfo::{self, InfoHash, Limits, Metainfo};

/// How many of the longest metainfos may be coming in at once: that many bytes of memory, and many of the usual ones.
const MAX_COMING_IN: u64 = 4;

/// How many times its own bytes both forms of a metainfo take on disk at most: JSON writes six for a control character, and
/// then the raw bytes in base64.
const BYTES_ON_DISK: u64 = 10;

/// Bytes read at once.
const READ_LENGTH: usize = 64 * 1024;

/// Bounds the memory that registering takes, however many do it at once.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    coming_in: Mutex<u64>,
    /// To the thread that reads and writes metainfos, one at a time: that takes several times their length. It ends with this.
    turns: Sender<Turn>,
}

type Turn = Box<dyn FnOnce() + Send>;

/// Bytes that are counted as coming in while this lives.
struct Counted<'a> {
    registry: &'a Registry,
    bytes: u64,
}

/// What became of a metainfo.
struct Registered {
    info_hash: InfoHash,
    name: String,
    is_new: bool,
}

/// Answers a metainfo with its links; 200 when the torrent was listed already, 201 when it is now.
pub fn register(site: &Arc<Site>, request: &mut Request<'_>) -> Result<Reply, Failure> {
    let registry = &site.shelf()?.registry;
    site.access.check_upload(request, site.swarms.names())?;
    let mut counted = Counted { registry, bytes: 0 };
    let parts = receive(request, &mut counted)?;
    let (by, local) = (site.swarms.names().sender(request).unwrap_or(request.peer().ip()), request.local());
    let (length, limits, listed_on) = (counted.bytes, registry.limits, Arc::clone(site));
    let Registered { info_hash, name, is_new } = registry.in_turn(move || {
        let bytes = parts.concat();
        drop(parts);
        let metainfo = Metainfo::read_within(&bytes, &limits).map_err(|error| Failure::new(400, error.to_string()))?;
        drop(bytes);
        list(&listed_on, metainfo, length, by, local)
    })?;
    drop(counted);
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

/// Lists a metainfo that came in so many bytes from `by` to `local`, unless it is listed already.
fn list(site: &Site, metainfo: Metainfo, length: u64, by: IpAddr, local: SocketAddr) -> Result<Registered, Failure> {
    let (shelf, info_hash) = (site.shelf()?, metainfo.info_hash());
    if let Some((name, _)) = shelf.library.find_hash(info_hash) {
        return Ok(Registered { info_hash, name, is_new: false });
    }
    let _room = shelf.parts.reserve(length * BYTES_ON_DISK).map_err(|error| Failure::of_disk(&error))?;
    let claim = shelf.library.claim(&names::clean(metainfo.name()));
    let name = claim.name().to_owned();
    let names = site.swarms.names();
    // What leads here is put in under the address of whoever asks.
    let tiers = metainfo.trackers().iter();
    let tiers: Vec<_> =
        tiers.map(|tier| tier.iter().filter(|url| !names.is_own_tracker(url, local)).cloned().collect()).collect();
    claim.list_registered(&metainfo.with_trackers(tiers), by)?;
    site.swarms.follow(info_hash);
    Ok(Registered { info_hash, name, is_new: true })
}

/// The body in parts of [`READ_LENGTH`] bytes: what is freed in small parts goes back to the system, whichever thread held it.
fn receive(request: &mut Request<'_>, counted: &mut Counted<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let limit = counted.registry.limits.bytes;
    let too_long = || Failure::new(413, format!("a metainfo: {}", metainfo::Error::TooLong(limit)));
    let announced = request.field("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut buffer = vec![0; READ_LENGTH];
    loop {
        if parts.last().is_none_or(|part| part.len() == READ_LENGTH) {
            counted.add(READ_LENGTH as u64)?;
            parts.push(Vec::with_capacity(READ_LENGTH));
        }
        let part = parts.last_mut().expect("one was added where none had room");
        let room = READ_LENGTH - part.len();
        let count = request.body.read(&mut buffer[..room]).map_err(|error| Failure::new(400, error.to_string()))?;
        if count == 0 {
            return Ok(parts);
        }
        if request.body.received() > limit {
            return Err(too_long());
        }
        part.extend_from_slice(&buffer[..count]);
    }
}

impl Registry {
    /// A metainfo that lies in a file.
    pub fn read_file(&self, path: PathBuf) -> Result<Metainfo, Failure> {
        self.in_turn(move || {
            let bytes = fs::read(path).map_err(|error| Failure::of_disk(&error))?;
            Metainfo::read(&bytes).map_err(|error| Failure::new(500, error.to_string()))
        })
    }

    /// Takes metainfos of that size.
    pub fn new(limits: Limits) -> io::Result<Registry> {
        // Nothing waits in it: each request waits until it is taken.
        let (turns, queue) = bounded::<Turn>(0);
        thread::Builder::new().name("web-metainfo".into()).spawn(move || queue.into_iter().for_each(|turn| turn()))?;
        Ok(Registry { limits, coming_in: Mutex::default(), turns })
    }

    /// Has `work` done when the metainfos before it are. All on one thread: what a metainfo takes is kept for the next by the
    /// allocator, and would be by every thread for itself.
    fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let fault = || Failure::new(500, "the metainfo could not be read");
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

impl Counted<'_> {
    fn add(&mut self, bytes: u64) -> Result<(), Failure> {
        let mut sum = self.registry.coming_in.lock().unwrap_or_else(PoisonError::into_inner);
        if *sum + bytes > MAX_COMING_IN * self.registry.limits.bytes {
            return Err(Failure::new(503, "too many metainfos are coming in at once; try again in a moment"));
        }
        *sum += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.registry.coming_in.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}
