//! `POST /metainfos`: a metainfo whose content others have, in either form, to be listed with its swarm.

use std::{
    io::Read,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{
    Site,
    door::{Reply, Request},
    failure::Failure,
    names, views,
};
use crate::metainfo::Metainfo;

/// The longest metainfo that may be registered, in bytes: 200,000 pieces as JSON.
pub const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// How many bytes of memory metainfos may take that are still coming in: one of the longest, and many of the usual ones.
const MAX_COMING_IN: u64 = 2 * MAX_LENGTH;

/// Bytes read at once.
const READ_LENGTH: usize = 64 * 1024;

/// Bounds the memory that registering takes, however many do it at once.
#[derive(Debug, Default)]
pub struct Registry {
    coming_in: Mutex<u64>,
    /// Held while one metainfo is taken apart, which takes several times its length.
    reading: Mutex<()>,
}

/// Bytes that are counted as coming in while this lives.
struct Counted<'a> {
    registry: &'a Registry,
    bytes: u64,
}

/// Answers a metainfo with its links; 200 when the torrent was listed already, 201 when it is now.
pub fn register(site: &Site, request: &mut Request<'_>) -> Result<Reply, Failure> {
    let shelf = site.shelf()?;
    let mut counted = Counted { registry: &shelf.registry, bytes: 0 };
    let metainfo = shelf.registry.take_apart(receive(request, &mut counted)?)?;
    let links = |name: &str| {
        let (base, encoded) = (site.base_url(request), names::encode(name));
        format!("{base}/metainfos/{encoded}")
    };
    let answer = |status, name: &str| {
        let url = links(name);
        let body = views::json(&serde_json::json!({
            "name": name,
            "info_hash": metainfo.info_hash().to_string(),
            "json_url": format!("{url}.json"),
            "torrent_url": format!("{url}.torrent"),
        }));
        Reply::new(status, "application/json", body)
    };
    if let Some((name, _)) = shelf.library.find_hash(metainfo.info_hash()) {
        return Ok(answer(200, &name));
    }
    let claim = shelf.library.claim(&names::clean(metainfo.name()));
    let name = claim.name().to_owned();
    claim.list_registered(&metainfo, request.peer().ip())?;
    site.swarms.follow(metainfo.info_hash());
    Ok(answer(201, &name))
}

/// The body in parts of [`READ_LENGTH`] bytes: what is freed in small parts goes back to the system, whichever thread held it.
fn receive(request: &mut Request<'_>, counted: &mut Counted<'_>) -> Result<Vec<Vec<u8>>, Failure> {
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
        if request.body.received() > MAX_LENGTH {
            return Err(Failure::new(413, format!("a metainfo that is registered has at most {MAX_LENGTH} bytes")));
        }
        part.extend_from_slice(&buffer[..count]);
    }
}

impl Registry {
    /// Reads a metainfo, one at a time, each on a thread that ends: what it takes in one piece is kept for the next by the
    /// allocator, and would be by every transfer thread for itself.
    fn take_apart(&self, parts: Vec<Vec<u8>>) -> Result<Metainfo, Failure> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Metainfo::read(&parts.concat()).map_err(|error| Failure::new(400, error.to_string()));
        thread::scope(|scope| {
            let reader = thread::Builder::new().name("web-metainfo".into()).spawn_scoped(scope, read);
            let reader = reader.map_err(|error| Failure::new(503, format!("no thread can be had: {error}")))?;
            reader.join().unwrap_or_else(|_| Err(Failure::new(500, "the metainfo could not be read")))
        })
    }
}

impl Counted<'_> {
    fn add(&mut self, bytes: u64) -> Result<(), Failure> {
        let mut sum = self.registry.coming_in.lock().unwrap_or_else(PoisonError::into_inner);
        if *sum + bytes > MAX_COMING_IN {
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
