//! Files that go out: whole, in part, or not at all because the asker has them (RFC 9110, sections 13 and 14).
//!
//! What is embedded in the program is asked for each time, and mostly not sent: after an upgrade nobody mixes old and new.

use std::{
    borrow::Cow,
    fs::{File, Metadata},
    io::{self, BufReader},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};
use tiny_http::Method;

use super::{
    failure::HttpFailure,
    names,
    range::{self, DownloadRange},
};
use crate::{
    http::{Reply, ReplyContent, ReplyPart, Request},
    metainfo::{Metainfo, announced},
};

const JSON: &str = "application/json";

const TORRENT: &str = "application/x-bittorrent";

/// Answers with the file at `path`, to be saved as `name`.
pub fn send(request: &Request<'_>, path: &Path, name: &str, content_type: &str) -> Result<Reply, HttpFailure> {
    let (metadata, file) = open(path)?;
    let length = metadata.len();
    let version = Version::of_file(length, metadata.modified().unwrap_or(UNIX_EPOCH));
    let reply = match version.judge(request) {
        Verdict::Failed => return Ok(failed()),
        Verdict::Known => Reply::with_content(304, content_type, ReplyContent::Omitted(length)),
        Verdict::Send => match stretch(request, &version, length) {
            DownloadRange::Whole => {
                Reply::with_content(200, content_type, ReplyContent::File { file, offset: 0, length })
            }
            DownloadRange::Part { start, length: wanted } => {
                let content = ReplyContent::File { file, offset: start, length: wanted };
                let range = format!("bytes {start}-{}/{length}", start + wanted - 1);
                Reply::with_content(206, content_type, content).with("Content-Range", &range)
            }
            DownloadRange::Outside => {
                let reply = Reply::text(416, format!("the file has {length} bytes"));
                return Ok(reply.with("Content-Range", &format!("bytes */{length}")));
            }
        },
    };
    Ok(saved_as(version.stamp(reply).with("Accept-Ranges", "bytes"), name))
}

/// Answers with a metainfo that lies at `path`, with these trackers first; without those that it has, unless they are `kept`.
/// Its form is that which its name ends in. Nothing where it is not as this program writes it.
pub fn send_announced(
    request: &Request<'_>,
    path: &Path,
    name: &str,
    trackers: &[String],
    kept: bool,
) -> Result<Option<Reply>, HttpFailure> {
    let (metadata, file) = open(path)?;
    let reader = BufReader::new(&file);
    let (content_type, announced) = match path.extension() {
        Some(form) if form == "json" => (JSON, announced::json(reader, trackers, kept)),
        _ => (TORRENT, announced::torrent(reader, trackers, kept)),
    };
    let announced = match announced {
        Ok(announced) => announced,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(HttpFailure::of_disk(&error)),
    };
    let trackers = HEXLOWER.encode(&Sha1::digest(&announced.trackers));
    let rest = announced.rest..metadata.len();
    let parts = announced.before.into_iter().map(ReplyPart::File);
    let parts: Vec<ReplyPart> = parts.chain([ReplyPart::Bytes(announced.trackers), ReplyPart::File(rest)]).collect();
    // The same file is another answer under another address.
    let stored = Version::of_file(metadata.len(), metadata.modified().unwrap_or(UNIX_EPOCH));
    let version = Version { tag: format!("\"{}-{trackers}\"", stored.tag.trim_matches('"')), modified: None };
    let reply = match version.judge(request) {
        Verdict::Failed => return Ok(Some(failed())),
        Verdict::Known => {
            Reply::with_content(304, content_type, ReplyContent::Omitted(parts.iter().map(ReplyPart::length).sum()))
        }
        Verdict::Send => Reply::with_content(200, content_type, ReplyContent::Parts { file, parts }),
    };
    Ok(Some(saved_as(version.stamp(reply), name)))
}

/// The same of one that is in memory.
pub fn send_metainfo(request: &Request<'_>, metainfo: &Metainfo, form: &str, name: &str) -> Reply {
    let reply = match form {
        "json" => send_bytes(request, metainfo.to_json().into(), JSON),
        _ => send_bytes(request, metainfo.to_torrent().into(), TORRENT),
    };
    saved_as(reply, name)
}

/// Opens a file that is to be sent.
fn open(path: &Path) -> Result<(Metadata, File), HttpFailure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HttpFailure::new(404, "there is no such file"),
        _ => HttpFailure::of_disk(&error),
    })
}

/// A browser saves it, and a stranger's page never runs as one of ours.
fn saved_as(reply: Reply, name: &str) -> Reply {
    reply
        .with("Content-Disposition", &names::disposition(name))
        .with("Content-Security-Policy", "default-src 'none'; sandbox")
}

/// Answers with bytes that stay the same for as long as this program runs.
pub fn send_embedded(request: &Request<'_>, bytes: &'static [u8], content_type: &str) -> Reply {
    send_bytes(request, bytes.into(), content_type).with("Cache-Control", "no-cache")
}

/// Answers with bytes that are told from others by their hash; always with all of them.
pub fn send_bytes(request: &Request<'_>, bytes: Cow<'static, [u8]>, content_type: &str) -> Reply {
    let version = Version::of_bytes(&bytes);
    let reply = match version.judge(request) {
        Verdict::Failed => return failed(),
        Verdict::Known => Reply::with_content(304, content_type, ReplyContent::Omitted(bytes.len() as u64)),
        Verdict::Send => Reply::new(200, content_type, bytes),
    };
    version.stamp(reply)
}

fn failed() -> Reply {
    Reply::text(412, "the file is not in the state that was asked for; fetch it from its beginning")
}

/// What tells one state of a file from another.
struct Version {
    tag: String,
    modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// One of them does not hold.
    Failed,
    /// The asker has this state.
    Known,
    /// None stands against sending it.
    Send,
}

impl Version {
    fn of_file(length: u64, modified: SystemTime) -> Version {
        let nanoseconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Version { tag: format!("\"{length:x}-{nanoseconds:x}\""), modified: Some(modified) }
    }

    fn of_bytes(bytes: &[u8]) -> Version {
        Version { tag: format!("\"{}\"", HEXLOWER.encode(&Sha1::digest(bytes))), modified: None }
    }

    /// The reply with what the asker may name in its next request.
    fn stamp(&self, reply: Reply) -> Reply {
        let reply = reply.with("ETag", &self.tag);
        match self.modified {
            Some(modified) => reply.with("Last-Modified", &httpdate::fmt_http_date(modified)),
            None => reply,
        }
    }

    /// Goes through the conditions of a GET or HEAD in the order of RFC 9110, section 13.2.2: a date counts only where
    /// there is no tag, and one that is no date counts as not there.
    fn judge(&self, request: &Request<'_>) -> Verdict {
        let has = |name| request.values(name).next().is_some();
        let tagged = |name| has(name).then(|| request.values(name).any(|tags| self.is_among(tags, name)));
        let unchanged_since = |name| self.is_unchanged_since(request.field(name)?);
        if tagged("if-match").or_else(|| unchanged_since("if-unmodified-since")) == Some(false) {
            return Verdict::Failed;
        }
        match tagged("if-none-match").or_else(|| unchanged_since("if-modified-since")) {
            Some(true) => Verdict::Known,
            _ => Verdict::Send,
        }
    }

    /// Whether a list of tags holds that of this state, or `*`, which any state has. A weak tag may be that of bytes
    /// that differ, so it is of use only to learn of news (section 8.8.3.2).
    fn is_among(&self, tags: &[u8], field: &str) -> bool {
        let is_weak_fine = field == "if-none-match";
        tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|each| {
            let strong = each.strip_prefix(b"W/").filter(|_| is_weak_fine).unwrap_or(each);
            each == b"*" || strong == self.tag.as_bytes()
        })
    }

    /// Dates have whole seconds. Nothing where that is no date, or this state has none.
    fn is_unchanged_since(&self, date: &str) -> Option<bool> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Some(seconds(self.modified?) <= seconds(httpdate::parse_http_date(date).ok()?))
    }

    /// Whether a part of this state fits what the asker has: by its very tag or its very date (section 13.1.5).
    fn is_that_of(&self, request: &Request<'_>) -> bool {
        let is_it = |known: &[u8]| {
            let date = self.modified.map(httpdate::fmt_http_date);
            known == self.tag.as_bytes() || date.is_some_and(|date| known == date.as_bytes())
        };
        request.values("if-range").all(is_it)
    }
}

/// What of the file is asked for. Parts are for GET alone (section 14.2).
fn stretch(request: &Request<'_>, version: &Version, length: u64) -> DownloadRange {
    match request.field("range") {
        // A part of another state would be glued to the wrong rest.
        Some(range) if *request.method() == Method::Get && version.is_that_of(request) => range::stretch(range, length),
        _ => DownloadRange::Whole,
    }
}
