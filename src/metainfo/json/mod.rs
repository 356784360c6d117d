//! The JSON form, which people can read and write by hand.
//!
//! `name`, `length` or `files`, `piece_length`, `pieces` are the info dictionary. Where a dictionary says more than they can
//! (a key that JSON does not name, a name that is no UTF-8), all of it stands in `info` in base64, and they must agree with
//! it. `extra` does the same, as one bencoded dictionary, for keys beside `info`. Without `info` the dictionary is made
//! from the fields, and a path that could leave its folder is an error: nobody writes one by hand who means well.

mod fields;

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Serialize, Serializer};

use self::fields::Fields;
use super::{
    Error, Metainfo,
    error::Problem,
    info::{Content, Entry, Info, Outline},
    path,
};
use crate::bencode::{self, Encoder};

pub(super) fn read(bytes: &[u8]) -> Result<Metainfo, Error> {
    let fields: Fields = serde_json::from_slice(bytes).map_err(|error| Error::Json(error.to_string()))?;
    let outline = fields.outline()?;
    let raw = match &fields.info {
        Some(text) => from_base64("info", text)?,
        None => {
            fields.refuse_unsafe_paths()?;
            outline.encode()
        }
    };
    let node = bencode::decode(&raw).map_err(|_| Error::field("info", Problem::NotADictionary))?;
    if fields.info.is_some() {
        check_agreement(&outline, &Outline::read(&node)?)?;
    }
    let info = Info::read(&node)?;
    if let Some(stated) = &fields.info_hash
        && stated.parse() != Ok(info.hash)
    {
        return Err(Error::InfoHash { stated: stated.clone(), actual: info.hash });
    }
    Ok(Metainfo { info, outer: fields.into_outer()? })
}

pub(super) fn write(metainfo: &Metainfo) -> Vec<u8> {
    let Metainfo { info, outer } = metainfo;
    let node = bencode::decode(&info.raw).expect("an info dictionary was decoded before it was kept");
    let outline = Outline::read(&node).expect("an info dictionary was checked before it was kept");
    let (length, files) = match &outline.content {
        Content::File(length) => (Some(*length), None),
        Content::Folder(entries) => (None, Some(entries.iter().map(Listed::of).collect())),
    };
    let extra = (!outer.extra.is_empty()).then(|| {
        let mut out = Encoder::new();
        out.dict(|dict| outer.extra.iter().for_each(|(key, value)| dict.key(key).raw(value)));
        BASE64.encode(&out.finish())
    });
    let form = Form {
        name: String::from_utf8_lossy(outline.name),
        length,
        files,
        piece_length: outline.piece_length,
        private: outline.private.then_some(true),
        tracker_url: outer.trackers.announce(),
        trackers: outer.trackers.list(),
        web_seeds: Some(outer.web_seeds.as_slice()).filter(|urls| !urls.is_empty()),
        comment: outer.comment.as_deref(),
        created_by: outer.created_by.as_deref(),
        creation_date: outer.creation_date,
        info_hash: info.hash.to_string(),
        pieces: HexHashes(outline.pieces),
        info: (!says_it_all(&outline, &info.raw)).then(|| BASE64.encode(&info.raw)),
        extra,
    };
    let mut json = serde_json::to_vec_pretty(&form).expect("text, numbers and lists always serialise");
    json.push(b'\n');
    json
}

/// Whether the readable fields, read again, make the very same dictionary.
fn says_it_all(outline: &Outline<'_>, raw: &[u8]) -> bool {
    let entries = outline.entries();
    let has_oddity = path::is_unsafe(outline.name)
        || entries.iter().any(|entry| entry.path.is_empty() || entry.path.iter().any(|part| path::is_unsafe(part)));
    !has_oddity && outline.encode() == raw
}

fn check_agreement(fields: &Outline<'_>, raw: &Outline<'_>) -> Result<(), Error> {
    let content_agrees = match (&fields.content, &raw.content) {
        (Content::File(length), Content::File(raw)) => length == raw,
        (Content::Folder(entries), Content::Folder(raw)) => {
            let agrees = |(entry, raw): (&Entry<'_>, &Entry<'_>)| Listed::of(entry) == Listed::of(raw);
            entries.len() == raw.len() && entries.iter().zip(raw).all(agrees)
        }
        _ => false,
    };
    let content = if matches!(fields.content, Content::File(_)) { "length" } else { "files" };
    [
        ("name", fields.name == String::from_utf8_lossy(raw.name).as_bytes()),
        (content, content_agrees),
        ("piece_length", fields.piece_length == raw.piece_length),
        ("pieces", fields.pieces == raw.pieces),
        ("private", fields.private == raw.private),
    ]
    .into_iter()
    .try_for_each(|(field, agrees)| if agrees { Ok(()) } else { Err(Error::Disagrees(field)) })
}

fn from_base64(field: &str, text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text.as_bytes()).map_err(|_| Error::field(field, Problem::NotADictionary))
}

/// What is written, in this order: what people look for first, the long rows last.
#[derive(Serialize)]
struct Form<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Listed>>,
    piece_length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracker_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trackers: Option<&'a [Vec<String>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web_seeds: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_date: Option<i64>,
    info_hash: String,
    pieces: HexHashes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

/// A file of a folder; its path with slashes.
#[derive(Serialize, PartialEq)]
struct Listed {
    path: String,
    length: u64,
}

impl Listed {
    fn of(entry: &Entry<'_>) -> Listed {
        let parts: Vec<_> = entry.path.iter().map(|part| String::from_utf8_lossy(part)).collect();
        Listed { path: parts.join("/"), length: entry.length }
    }
}

struct HexHashes<'a>(&'a [u8]);

impl Serialize for HexHashes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.chunks(20).map(|hash| HEXLOWER.encode(hash)))
    }
}
