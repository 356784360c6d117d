//! `POST /metainfos`: a metainfo whose content others have, in either form, to be listed with its swarm.

use std::{
    io::Read,
    sync::{Mutex, PoisonError},
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
    let bytes = receive(request, &mut counted)?;
    let metainfo = {
        let _reading = shelf.registry.reading.lock().unwrap_or_else(PoisonError::into_inner);
        Metainfo::read(&bytes).map_err(|error| Failure::new(400, error.to_string()))?
    };
    drop(bytes);
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

fn receive(request: &mut Request<'_>, counted: &mut Counted<'_>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; READ_LENGTH];
    loop {
        let count = request.body.read(&mut buffer).map_err(|error| Failure::new(400, error.to_string()))?;
        if count == 0 {
            return Ok(bytes);
        }
        if request.body.received() > MAX_LENGTH {
            return Err(Failure::new(413, format!("a metainfo that is registered has at most {MAX_LENGTH} bytes")));
        }
        let had = bytes.capacity();
        bytes.extend_from_slice(&buffer[..count]);
        counted.add((bytes.capacity() - had) as u64)?;
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
