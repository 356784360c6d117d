//! `POST /api/fetch`: a metainfo whose content this machine is to fetch, by URL or as it is.
//!
//! A URL is asked by this machine, which may reach what a stranger's browser cannot: so only those who may control have it
//! asked, by http(s) alone, and nothing but a metainfo ever comes back of it.

mod asking;

use std::{fs, sync::Arc};

use super::{
    NodeOrder, Site, api,
    control::{SentFields, done, wants_json},
    failure::HttpFailure,
    multipart::{FormEvent, Parser},
    names,
    receive::receive_whole,
};
use crate::{
    announce::client::Reach,
    http::{Reply, Request},
    metainfo::Metainfo,
};

/// The longest metainfo that is sent or lies at a URL, in bytes: 800,000 pieces as a `.torrent`. Only who may control sends one.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// What was sent: one of them is enough.
#[derive(Debug, Default)]
struct Sent {
    url: String,
    metainfo: Vec<u8>,
}

/// Has a torrent fetched to this machine.
pub fn fetch(site: &Site, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    site.access.check_control(request, site.swarms.names())?;
    let sent = Sent::read(request)?;
    let bytes = match (sent.metainfo.is_empty(), sent.url.trim()) {
        (false, _) => sent.metainfo,
        (true, "") => {
            return Err(HttpFailure::new(400, "name a URL, or choose a metainfo: a .torrent or the JSON form"));
        }
        (true, url) => match own_metainfo(site, request, url) {
            Some(found) => found?,
            None => asking::ask(url, Reach::OtherMachines)?,
        },
    };
    let metainfo = Metainfo::read(&bytes).map_err(|error| HttpFailure::new(400, format!("no metainfo: {error}")))?;
    drop(bytes);
    let metainfo = Arc::new(metainfo);
    let (hash, length) = (metainfo.info_hash(), metainfo.length());
    let listed = list(site, &metainfo, request)?;
    let order = NodeOrder::Fetch { metainfo: Arc::clone(&metainfo) };
    if let Err(sentence) = site.order(order) {
        if let (Some(name), Some(shelf)) = (listed, &site.shelf) {
            shelf.library.remove(&name).map_err(|error| HttpFailure::of_disk(&error))?;
        }
        return Err(HttpFailure::new(409, sentence));
    }
    site.swarms.follow(hash, length);
    let page = format!("/files/{hash}");
    if wants_json(request) {
        return Ok(api::json(&serde_json::json!({ "done": true, "info_hash": hash.to_string(), "page": page })));
    }
    Ok(done(request, &SentFields::default(), &page))
}

/// What this page's own link to a metainfo leads to, if it is one: the file is read, and nobody is asked.
fn own_metainfo(site: &Site, request: &Request<'_>, url: &str) -> Option<Result<Vec<u8>, HttpFailure>> {
    let shown = [site.base_url(request), format!("http://{}", request.field("host")?)];
    let path = shown.iter().find_map(|base| url.strip_prefix(base.as_str()))?;
    let file_name = names::decode(path.strip_prefix("/metainfos/")?)?;
    let (name, form) = file_name.rsplit_once('.').filter(|(_, form)| ["json", "torrent"].contains(form))?;
    let library = &site.shelf.as_ref()?.library;
    if library.get(name).is_none() {
        return Some(Err(HttpFailure::new(404, format!("{url}: the server answers with HTTP status 404"))));
    }
    Some(fs::read(library.metainfo_path(name, form)).map_err(|error| HttpFailure::of_disk(&error)))
}

/// A tracker lists what it fetches as it lists what others have, and tells under which name it has just done so; elsewhere the
/// board is the list.
fn list(site: &Site, metainfo: &Metainfo, request: &Request<'_>) -> Result<Option<String>, HttpFailure> {
    let Some(shelf) = &site.shelf else { return Ok(None) };
    if shelf.library.find_hash(metainfo.info_hash()).is_some() {
        return Ok(None);
    }
    let claim = shelf.library.claim(&names::clean(metainfo.name()));
    let name = claim.name().to_owned();
    claim.list_registered(metainfo, site.sender(request).bounded)?;
    Ok(Some(name))
}

impl Sent {
    fn read(request: &mut Request<'_>) -> Result<Sent, HttpFailure> {
        let content_type = request.field("content-type").unwrap_or_default();
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind {
            "multipart/form-data" => Sent::of_multipart(request, content_type),
            // A JSON metainfo is JSON too: it has no url of its own.
            "application/json" => {
                let bytes = receive(request)?;
                match SentFields::of_json(&bytes).ok().and_then(|fields| Some(fields.get("url")?.to_owned())) {
                    Some(url) => Ok(Sent { url, metainfo: Vec::new() }),
                    None => Ok(Sent { metainfo: bytes, url: String::new() }),
                }
            }
            "application/x-www-form-urlencoded" => {
                let bytes = receive(request)?;
                let url = SentFields::of_form(&bytes).get("url").unwrap_or_default().to_owned();
                // curl --data-binary says so of whatever it sends.
                let is_form = !url.is_empty() || bytes.starts_with(b"url=");
                Ok(Sent { url, metainfo: if is_form { Vec::new() } else { bytes } })
            }
            _ => Ok(Sent { url: String::new(), metainfo: receive(request)? }),
        }
    }

    fn of_multipart(request: &mut Request<'_>, content_type: &str) -> Result<Sent, HttpFailure> {
        let mut parser = Parser::new(content_type).map_err(|error| HttpFailure::new(415, error.to_string()))?;
        let bytes = receive(request)?;
        let (mut sent, mut at, mut field) = (Sent::default(), 0, String::new());
        loop {
            let (used, event) = parser.step(&bytes[at..]).map_err(|error| HttpFailure::new(400, error.to_string()))?;
            match event {
                FormEvent::Field(begun) => field = begun.name,
                FormEvent::Content(range) if field == "metainfo" => {
                    sent.metainfo.extend_from_slice(&bytes[at..][range]);
                }
                FormEvent::Content(range) if field == "url" => {
                    sent.url.push_str(&String::from_utf8_lossy(&bytes[at..][range]));
                }
                FormEvent::Content(_) | FormEvent::FieldEnd => {}
                FormEvent::End => return Ok(sent),
                FormEvent::More if used == 0 => {
                    return Err(HttpFailure::new(400, "the form ends before its last boundary"));
                }
                FormEvent::More => {}
            }
            at += used;
        }
    }
}

fn receive(request: &mut Request<'_>) -> Result<Vec<u8>, HttpFailure> {
    let too_long = || HttpFailure::new(413, format!("a metainfo that is sent has at most {MAX_LENGTH} bytes"));
    receive_whole(request, MAX_LENGTH, too_long)
}
