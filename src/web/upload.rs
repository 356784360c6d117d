//! Files that come in by `PUT /uploads/NAME`, and what becomes of every file that came in.
//!
//! A file is a part until its last byte is there; then it moves to `uploads/`, its metainfo is written, and an order to
//! seed it goes out. What breaks off stays a part. `PUT` goes on with a part by `Content-Range: bytes FIRST-LAST/LENGTH`,
//! and `HEAD` tells in `Upload-Offset` where FIRST must be. Only who began a part goes on with it: the same
//! address, or whoever knows the `Upload-Tag` (letters, digits and dashes) that it was begun with, from wherever it comes. The tag
//! should be hard to guess; it also tells different files of one name apart.

use std::fmt;

use serde::Serialize;

use super::{
    NodeOrder, Site,
    failure::HttpFailure,
    library::LibraryEntry,
    names,
    parts::{Part, PartId},
    receive::receive,
    site::{Sender, Shelf},
    views,
};
use crate::{
    http::{Reply, Request},
    metainfo::{Metainfo, create::CreateOptions},
};

/// When to ask again about a part that another connection adds to, in seconds.
const BUSY_SECONDS: &str = "1";

/// The longest `Upload-Tag`, in bytes.
const MAX_TAG: usize = 40;

/// What became of one file: what is shown in HTML, and told in JSON.
#[derive(Debug, Serialize)]
pub struct Saved {
    /// The name it is listed under.
    pub name: String,
    /// The name it came with, where another file had that already.
    pub asked_name: Option<String>,
    /// Bytes.
    pub length: u64,
    /// Names the torrent.
    pub info_hash: String,
    /// Where to download it.
    pub download_url: String,
    /// The metainfo in JSON.
    pub json_url: String,
    /// The metainfo as `.torrent`.
    pub torrent_url: String,
    /// What was asked for and could not be done.
    pub warning: Option<String>,
}

/// Stretch of a file that a `PUT` brings: its first byte, and the file's length where that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UploadRange {
    first: u64,
    /// One behind the last, and the whole length.
    end: Option<(u64, u64)>,
}

/// `PUT /uploads/NAME`, with `?port=` for a seeder's port.
pub fn put(site: &Site, request: &mut Request<'_>, name: &str) -> Result<Reply, HttpFailure> {
    site.access.check_upload(request, site.swarms.names())?;
    let shelf = site.shelf()?;
    let name = names::clean(name);
    let port = match request.query().strip_prefix("port=") {
        Some(text) => parse_port(shelf, text)?,
        None => None,
    };
    let stretch = UploadRange::of(request.field("content-range"))?;
    let sender = site.sender(request);
    shelf.check_space(request, "content-length", sender)?;
    let (id, quota) = (part_id(&name, request, sender)?, shelf.quota(sender));
    let mut part = match stretch.end {
        None => shelf.parts.begin_anew(&id, quota)?,
        Some(_) => shelf.parts.begin(&id, stretch.first, quota)?,
    };
    let endless = || HttpFailure::new(413, "no file is that long");
    receive(request, u64::MAX, endless, |bytes| part.write(bytes).map_err(|error| HttpFailure::of_disk(&error)))?;
    if let Some((end, length)) = stretch.end {
        if part.length() != end {
            return Err(HttpFailure::new(400, format!("the body ends at byte {}, not at {end}", part.length())));
        }
        if end < length {
            let sentence = format!("{end} of {length} bytes are here");
            return Ok(Reply::text(202, sentence).with("Upload-Offset", &end.to_string()));
        }
    }
    let saved = save(site, shelf, request, part, &name, port)?;
    let reply = match wants(request, "application/json") {
        true => Reply::new(201, "application/json", views::json(&saved)),
        false => Reply::text(201, saved.to_string()),
    };
    Ok(reply.with("Location", &saved.json_url))
}

/// `HEAD /uploads/NAME` where there is no such upload yet, or with a tag. While another connection adds to it, `Retry-After`
/// says so: a body that is sent meanwhile would be refused. One that tells its `Upload-Length` learns here that there is no
/// room for it, while a body that is refused half-way looks to a browser like a connection that broke.
pub fn progress(site: &Site, request: &Request<'_>, name: &str) -> Result<Reply, HttpFailure> {
    let sender = site.sender(request);
    let name = names::clean(name);
    let id = part_id(&name, request, sender)?;
    let shelf = site.shelf()?;
    shelf.check_space(request, "upload-length", sender)?;
    let parts = &shelf.parts;
    let length = match parts.length(&id) {
        Some(length) => length,
        // Whoever sends a tag asks before the first byte too, and a browser complains of every 404.
        None if request.field("upload-tag").is_some() => 0,
        None => return Err(HttpFailure::new(404, "there is no such file")),
    };
    let reply = Reply::text(202, "not whole yet").with("Upload-Offset", &length.to_string());
    Ok(if parts.is_growing(&id) { reply.with("Retry-After", BUSY_SECONDS) } else { reply })
}

/// Makes an upload of a part that is whole, and has it seeded.
pub(super) fn save(
    site: &Site,
    shelf: &Shelf,
    request: &Request<'_>,
    mut part: Part<'_>,
    name: &str,
    port: Option<u16>,
) -> Result<Saved, HttpFailure> {
    if part.length() == 0 {
        return Err(HttpFailure::new(
            400,
            format!("{name} is empty: a torrent without a single byte has nothing to share"),
        ));
    }
    let base = site.base_url(request);
    let hashes = part.hashes();
    // Its tracker is named when it is asked for, under the address at which it is.
    let options = CreateOptions::default();
    let metainfo_of = |name: &str| {
        let made = Metainfo::from_hashes(name, &hashes, &options);
        made.map_err(|error| HttpFailure::new(400, error.to_string()))
    };
    let same = metainfo_of(name)?.info_hash();
    let bounded = site.sender(request).bounded;
    match shelf.library.find_hash(same) {
        Some((listed, entry)) if entry.is_upload() && shelf.library.upload_path(&listed).is_file() => {
            part.discard();
            return Ok(Saved::new(&base, &listed, &entry));
        }
        found => {
            shelf.library.check_room_for_upload(bounded)?;
            // Others have it, or somebody removed it by hand: now it is here.
            found.inspect(|(listed, _)| shelf.library.forget(listed));
        }
    }
    let claim = shelf.library.claim(name);
    let listed = claim.name().to_owned();
    let metainfo = metainfo_of(&listed)?;
    let entry =
        claim.list_upload(part.path(), &metainfo, port, bounded).map_err(|error| HttpFailure::of_disk(&error))?;
    part.discard();
    site.swarms.follow(entry.info_hash, entry.length);
    let order = NodeOrder::Seed { metainfo: metainfo.into(), file: shelf.library.upload_path(&listed), port };
    let warning = site.order(order);
    if warning.is_err() && port.is_some() {
        shelf.library.forget_port(&listed);
    }
    shelf.stamp_soon(listed.clone());
    let asked_name = (listed != name).then(|| name.to_owned());
    Ok(Saved { asked_name, warning: warning.err(), ..Saved::new(&base, &listed, &entry) })
}

/// A file that was not saved, and why.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The name it came with.
    pub name: String,
    /// Why, in a sentence.
    pub problem: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not shared: {}", self.name, self.problem)
    }
}

/// A line for a terminal.
impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is shared: {}", self.name, self.torrent_url)?;
        if let Some(asked) = &self.asked_name {
            write!(f, " (another file is named {asked})")?;
        }
        self.warning.iter().try_for_each(|warning| write!(f, " ({warning})"))
    }
}

impl Saved {
    fn new(base: &str, name: &str, entry: &LibraryEntry) -> Saved {
        let encoded = names::encode(name);
        Saved {
            name: name.to_owned(),
            asked_name: None,
            length: entry.length,
            info_hash: entry.info_hash.to_string(),
            download_url: format!("{base}/uploads/{encoded}"),
            json_url: format!("{base}/metainfos/{encoded}.json"),
            torrent_url: format!("{base}/metainfos/{encoded}.torrent"),
            warning: None,
        }
    }
}

impl UploadRange {
    /// Reads `bytes FIRST-LAST/LENGTH`; without the field, a whole file comes.
    fn of(field: Option<&str>) -> Result<UploadRange, HttpFailure> {
        let Some(field) = field else { return Ok(UploadRange { first: 0, end: None }) };
        let numbers = || {
            let (range, length) = field.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            Some((number(first)?, number(last)?, number(length)?))
        };
        match numbers() {
            Some((first, last, length)) if first <= last && last < length => {
                Ok(UploadRange { first, end: Some((last + 1, length)) })
            }
            _ => Err(HttpFailure::new(400, "Content-Range must be: bytes FIRST-LAST/LENGTH")),
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A seeder's port as a form or a query tells it; empty means the usual one.
pub(super) fn parse_port(shelf: &Shelf, text: &str) -> Result<Option<u16>, HttpFailure> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let port = number(text).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| HttpFailure::new(400, "a seeder's port is a number from 1024 to 65535"))?;
    shelf.library.check_port(port)?;
    Ok(Some(port))
}

/// What names a part, so that nobody but who began it goes on with it.
fn part_id<'a>(name: &'a str, request: &Request<'a>, sender: Sender) -> Result<PartId<'a>, HttpFailure> {
    let Some(tag) = request.field("upload-tag").filter(|tag| !tag.is_empty()) else {
        return Ok(PartId::Untagged { name, origin: sender.origin });
    };
    if tag.len() > MAX_TAG || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(HttpFailure::new(400, format!("Upload-Tag is at most {MAX_TAG} letters, digits and dashes")));
    }
    Ok(PartId::Tagged { name, tag })
}

/// Whether the answer is asked for in that form by its name; curl takes anything.
pub(super) fn wants(request: &Request<'_>, content_type: &str) -> bool {
    request.field("accept").is_some_and(|accept| accept.contains(content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_what_content_range_says_and_nothing_else() {
        assert_eq!(UploadRange::of(None).unwrap(), UploadRange { first: 0, end: None });
        assert_eq!(UploadRange::of(Some("bytes 5-9/10")).unwrap(), UploadRange { first: 5, end: Some((10, 10)) });
        for bad in
            ["bytes 5-4/10", "bytes 5-10/10", "bytes */10", "bytes 5-9/*", "5-9/10", "bytes +5-9/10", "bytes -/", ""]
        {
            assert!(UploadRange::of(Some(bad)).is_err(), "{bad}");
        }
    }
}
