//! Files that go out: whole, in part, or not at all because the asker has them (RFC 9110, sections 13 and 14).
//!
//! What is embedded in the program is asked for each time, and mostly not sent: after an upgrade nobody mixes old and new.

use std::{
    fs::File,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use super::{
    door::{Content, Reply, Request},
    failure::Failure,
    names,
    range::{self, Stretch},
};

/// Answers with the file at `path`, to be saved as `name`.
pub fn send(request: &Request<'_>, path: &Path, name: &str, content_type: &str) -> Result<Reply, Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(404, "there is no such file"),
        _ => Failure::of_disk(&error),
    })?;
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let version = Version::new(metadata.len(), modified);
    let length = metadata.len();
    let reply = if version.is_known_to(request) {
        Reply::with_content(304, content_type, Content::Omitted(length))
    } else {
        match stretch(request, &version, length) {
            Stretch::Whole => Reply::with_content(200, content_type, Content::File { file, offset: 0, length }),
            Stretch::Part { start, length: wanted } => {
                let content = Content::File { file, offset: start, length: wanted };
                let range = format!("bytes {start}-{}/{length}", start + wanted - 1);
                Reply::with_content(206, content_type, content).with("Content-Range", &range)
            }
            Stretch::Outside => {
                let reply = Reply::text(416, format!("the file has {length} bytes"));
                return Ok(reply.with("Content-Range", &format!("bytes */{length}")));
            }
        }
    };
    Ok(reply
        .with("ETag", &version.tag)
        .with("Last-Modified", &version.modified)
        .with("Accept-Ranges", "bytes")
        .with("Content-Disposition", &names::disposition(name))
        // A stranger's page must never run as one of ours.
        .with("Content-Security-Policy", "default-src 'none'; sandbox"))
}

/// Answers with bytes that stay the same for as long as this program runs.
pub fn send_embedded(request: &Request<'_>, bytes: &'static [u8], content_type: &str) -> Reply {
    let tag = format!("\"{}\"", HEXLOWER.encode(&Sha1::digest(bytes)));
    let is_known = request.field("if-none-match").is_some_and(|tags| holds(tags, &tag));
    let reply = match is_known {
        true => Reply::with_content(304, content_type, Content::Omitted(bytes.len() as u64)),
        false => Reply::new(200, content_type, bytes),
    };
    reply.with("ETag", &tag).with("Cache-Control", "no-cache")
}

/// What tells one state of a file from another.
struct Version {
    tag: String,
    modified: String,
}

impl Version {
    fn new(length: u64, modified: SystemTime) -> Version {
        let nanoseconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Version { tag: format!("\"{length:x}-{nanoseconds:x}\""), modified: httpdate::fmt_http_date(modified) }
    }

    /// Whether the asker says that it has this state.
    fn is_known_to(&self, request: &Request<'_>) -> bool {
        match (request.field("if-none-match"), request.field("if-modified-since")) {
            (Some(tags), _) => holds(tags, &self.tag),
            (None, Some(date)) => {
                let parse = |text: &str| httpdate::parse_http_date(text).ok();
                parse(date).zip(parse(&self.modified)).is_some_and(|(theirs, ours)| ours <= theirs)
            }
            (None, None) => false,
        }
    }
}

/// Whether a list of tags, as `If-None-Match` has it, holds that one.
fn holds(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|each| each == "*" || each.strip_prefix("W/").unwrap_or(each) == tag)
}

/// What of the file is asked for.
fn stretch(request: &Request<'_>, version: &Version, length: u64) -> Stretch {
    let Some(range) = request.field("range") else { return Stretch::Whole };
    // A part of another state would be glued to the wrong rest.
    if request.field("if-range").is_some_and(|known| known != version.tag && known != version.modified) {
        return Stretch::Whole;
    }
    range::stretch(range, length)
}
