//! Files that come in: by the form (`POST /upload`) and by `PUT /uploads/NAME`, hashed as they arrive.
//!
//! A file is a part until its last byte is there; then it moves to `uploads/`, its metainfo is written, and an order to
//! seed it goes out. What breaks off stays a part. `PUT` goes on with a part by `Content-Range: bytes FIRST-LAST/LENGTH`,
//! and `HEAD` tells in `Upload-Offset` where FIRST must be. A client that may upload different files of one name tells
//! them apart by an `Upload-Tag` of its own choice (letters, digits and dashes).

use std::io::Read;

use serde::Serialize;

use super::{
    Order, Site,
    door::{Reply, Request},
    failure::Failure,
    library::{Entry, Origin},
    multipart::{Event, Field, Parser},
    names,
    parts::Part,
    views,
};
use crate::metainfo::{Metainfo, create::Options};

/// Bytes read at once; with it, memory does not depend on the file.
const READ_LENGTH: usize = 128 * 1024;

/// The longest `Upload-Tag`, in bytes.
const MAX_TAG: usize = 40;

/// The longest field of the form that is no file, in bytes. A port takes 5.
const MAX_FIELD: usize = 64;

/// The most files of one form.
const MAX_FILES: usize = 64;

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
struct Stretch {
    first: u64,
    /// One behind the last, and the whole length.
    end: Option<(u64, u64)>,
}

/// `PUT /uploads/NAME`, with `?port=` for a seeder's port.
pub fn put(site: &Site, request: &mut Request<'_>, name: &str) -> Result<Reply, Failure> {
    let name = names::clean(name);
    let port = match request.query().strip_prefix("port=") {
        Some(text) => parse_port(site, text)?,
        None => None,
    };
    let stretch = Stretch::of(request.field("content-range"))?;
    site.check_space(request)?;
    let mut part = site.parts.begin(&part_key(&name, request)?, stretch.first)?;
    receive(request, &mut part)?;
    if let Some((end, length)) = stretch.end {
        if part.length() != end {
            return Err(Failure::new(400, format!("the body ends at byte {}, not at {end}", part.length())));
        }
        if end < length {
            let sentence = format!("{end} of {length} bytes are here");
            return Ok(Reply::text(202, sentence).with("Upload-Offset", &end.to_string()));
        }
    }
    let saved = save(site, request, part, &name, port)?;
    let json_url = saved.json_url.clone();
    Ok(Reply::new(201, "application/json", views::json(&saved)).with("Location", &json_url))
}

/// `HEAD /uploads/NAME` where there is no such upload yet.
pub fn progress(site: &Site, request: &Request<'_>, name: &str) -> Result<Reply, Failure> {
    match site.parts.length(&part_key(&names::clean(name), request)?) {
        Some(length) => Ok(Reply::text(202, "not whole yet").with("Upload-Offset", &length.to_string())),
        None => Err(Failure::new(404, "there is no such file")),
    }
}

/// `POST /upload`.
pub fn form(site: &Site, request: &mut Request<'_>) -> Result<Reply, Failure> {
    let content_type = request.field("content-type").unwrap_or_default();
    let parser = Parser::new(content_type).map_err(|error| Failure::new(415, error.to_string()))?;
    site.check_space(request)?;
    let mut form = Form { site, parser, files: Vec::new(), port: String::new(), at: At::Nowhere };
    form.read(request)?;
    let Form { files, port, .. } = form;
    if files.is_empty() {
        return Err(Failure::new(400, "no file was chosen"));
    }
    let port = parse_port(site, &port)?;
    if let Some((name, _)) = files.iter().find(|(_, part)| part.length() == 0) {
        return Err(empty(name));
    }
    let saved = files.into_iter().map(|(name, part)| save(site, request, part, &name, port));
    let saved = saved.collect::<Result<Vec<_>, _>>()?;
    if request.field("accept").is_some_and(|accept| accept.contains("application/json")) {
        return Ok(Reply::new(201, "application/json", views::json(&saved)));
    }
    Ok(views::page(201, views::saved(&saved)))
}

/// A form that is being read.
struct Form<'a> {
    site: &'a Site,
    parser: Parser,
    files: Vec<(String, Part<'a>)>,
    port: String,
    at: At,
}

/// Which field the content belongs to.
#[derive(Clone, Copy)]
enum At {
    Nowhere,
    Port,
    /// The last one of the files.
    File,
}

impl Form<'_> {
    fn read(&mut self, request: &mut Request<'_>) -> Result<(), Failure> {
        let mut buffer = vec![0; READ_LENGTH];
        let (mut start, mut end) = (0, 0);
        loop {
            let step = self.parser.step(&buffer[start..end]);
            let (used, event) = step.map_err(|error| Failure::new(400, error.to_string()))?;
            match event {
                Event::Field(field) => self.begin(field)?,
                Event::Content(range) => self.add(&buffer[start..][range])?,
                Event::FieldEnd => self.at = At::Nowhere,
                Event::End => return Ok(()),
                Event::More => {
                    buffer.copy_within(start + used..end, 0);
                    (start, end) = (0, end - start - used);
                    let count = request.body.read(&mut buffer[end..]).map_err(broken)?;
                    if count == 0 {
                        return Err(Failure::new(400, "the form ends before its last boundary"));
                    }
                    end += count;
                    continue;
                }
            }
            start += used;
        }
    }

    fn begin(&mut self, field: Field) -> Result<(), Failure> {
        self.at = match field {
            Field { name, file_name: None } if name == "port" => At::Port,
            // A browser sends a nameless file when none was chosen.
            Field { name, file_name: Some(file_name) } if name == "file" && !file_name.is_empty() => {
                if self.files.len() == MAX_FILES {
                    return Err(Failure::new(413, format!("at most {MAX_FILES} files can be sent at once")));
                }
                let name = names::clean(&file_name);
                // A form begins anew. When somebody is sending a file of the same name, this one stands beside it.
                let mut keys = std::iter::once(name.clone()).chain((2..=MAX_FILES).map(|n| names::numbered(&name, n)));
                let part = keys.find_map(|key| match self.site.parts.begin(&format!("{key}~"), 0) {
                    Err(failure) if failure.status == 409 => None,
                    begun => Some(begun),
                });
                let part = part.unwrap_or_else(|| Err(Failure::new(409, "too many uploads of this name at once")))?;
                self.files.push((name, part));
                At::File
            }
            _ => At::Nowhere,
        };
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.at {
            At::Nowhere => Ok(()),
            At::Port if self.port.len() + bytes.len() > MAX_FIELD => {
                Err(Failure::new(413, "the port field of the form is too long"))
            }
            At::Port => {
                self.port.push_str(&String::from_utf8_lossy(bytes));
                Ok(())
            }
            At::File => {
                let (_, part) = self.files.last_mut().expect("a file has begun");
                part.write(bytes).map_err(|error| Failure::of_disk(&error))
            }
        }
    }
}

fn receive(request: &mut Request<'_>, part: &mut Part<'_>) -> Result<(), Failure> {
    let mut buffer = vec![0; READ_LENGTH];
    loop {
        match request.body.read(&mut buffer).map_err(broken)? {
            0 => return Ok(()),
            count => part.write(&buffer[..count]).map_err(|error| Failure::of_disk(&error))?,
        }
    }
}

/// Makes an upload of a part that is whole, and has it seeded.
fn save(site: &Site, request: &Request<'_>, part: Part<'_>, name: &str, port: Option<u16>) -> Result<Saved, Failure> {
    if part.length() == 0 {
        return Err(empty(name));
    }
    let base = site.base_url(request);
    let hashes = part.hashes();
    let options = Options { trackers: vec![vec![format!("{base}/announce")]], ..Options::default() };
    let metainfo_of = |name: &str| {
        let made = Metainfo::from_hashes(name, &hashes, &options);
        made.map_err(|error| Failure::new(400, error.to_string()))
    };
    let same = metainfo_of(name)?.info_hash();
    if let Some((listed, entry @ Entry { origin: Origin::Upload { .. }, .. })) = site.library.find_hash(same) {
        part.discard();
        return Ok(Saved::new(&base, &listed, &entry));
    }
    let claim = site.library.claim(name);
    let listed = claim.name().to_owned();
    let metainfo = metainfo_of(&listed)?;
    let entry = claim.list_upload(&part.path(), &metainfo, port).map_err(|error| Failure::of_disk(&error))?;
    part.discard();
    let order = Order::Seed { metainfo: metainfo.into(), file: site.library.upload_path(&listed), port };
    let warning = (site.carry_out)(order);
    site.stamp_soon(listed.clone());
    let asked_name = (listed != name).then(|| name.to_owned());
    Ok(Saved { asked_name, warning: warning.err(), ..Saved::new(&base, &listed, &entry) })
}

impl Saved {
    fn new(base: &str, name: &str, entry: &Entry) -> Saved {
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

impl Stretch {
    /// Reads `bytes FIRST-LAST/LENGTH`; without the field, a whole file comes.
    fn of(field: Option<&str>) -> Result<Stretch, Failure> {
        let Some(field) = field else { return Ok(Stretch { first: 0, end: None }) };
        let numbers = || {
            let (range, length) = field.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            Some((number(first)?, number(last)?, number(length)?))
        };
        match numbers() {
            Some((first, last, length)) if first <= last && last < length => {
                Ok(Stretch { first, end: Some((last + 1, length)) })
            }
            _ => Err(Failure::new(400, "Content-Range must be: bytes FIRST-LAST/LENGTH")),
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_port(site: &Site, text: &str) -> Result<Option<u16>, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let port = number(text).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| Failure::new(400, "a seeder's port is a number from 1024 to 65535"))?;
    site.library.check_port(port)?;
    Ok(Some(port))
}

fn part_key(name: &str, request: &Request<'_>) -> Result<String, Failure> {
    let tag = request.field("upload-tag").unwrap_or_default();
    if tag.len() > MAX_TAG || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::new(400, format!("Upload-Tag is at most {MAX_TAG} letters, digits and dashes")));
    }
    Ok(format!("{name}~{tag}"))
}

fn empty(name: &str) -> Failure {
    Failure::new(400, format!("{name} is empty: a torrent without a single byte has nothing to share"))
}

fn broken(error: std::io::Error) -> Failure {
    let status = if error.kind() == std::io::ErrorKind::TimedOut { 408 } else { 400 };
    Failure::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_what_content_range_says_and_nothing_else() {
        assert_eq!(Stretch::of(None).unwrap(), Stretch { first: 0, end: None });
        assert_eq!(Stretch::of(Some("bytes 5-9/10")).unwrap(), Stretch { first: 5, end: Some((10, 10)) });
        for bad in
            ["bytes 5-4/10", "bytes 5-10/10", "bytes */10", "bytes 5-9/*", "5-9/10", "bytes +5-9/10", "bytes -/", ""]
        {
            assert!(Stretch::of(Some(bad)).is_err(), "{bad}");
        }
    }
}
