//! The `.torrent` form (BEP 3, "metainfo files"), with BEP 12's tiers and BEP 19's web seeds.
//!
//! Read as leniently as libtorrent reads: keys in any order, the first of equal ones, trailing bytes ignored, a key of the
//! wrong type as if it were not there. Written in order. What has no accessor travels along as it came.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    Error, Metainfo,
    error::Problem,
    info::Info,
    outer::{Outer, Trackers, cleaned},
};
use crate::bencode::{self, Encoder, Node};

pub(super) fn read(bytes: &[u8]) -> Result<Metainfo, Error> {
    let (torrent, _) = bencode::decode_prefix(bytes)?;
    let info = torrent.get(b"info").ok_or_else(|| Error::field("info", Problem::Missing("a dictionary")))?;
    Ok(Metainfo { info: Info::read(info)?, outer: read_outer(&torrent) })
}

pub(super) fn write(metainfo: &Metainfo) -> Vec<u8> {
    let Metainfo { info, outer } = metainfo;
    let mut entries: BTreeMap<&[u8], Cow<'_, [u8]>> =
        outer.extra.iter().map(|(key, value)| (key.as_slice(), value.into())).collect();
    let mut text = |key: &'static str, value: Option<&str>| {
        value.map(|value| entries.insert(key.as_bytes(), encoded(|out| out.bytes(value)).into()))
    };
    text("announce", outer.trackers.announce());
    text("comment", outer.comment.as_deref());
    text("created by", outer.created_by.as_deref());
    if let Some(tiers) = outer.trackers.list() {
        let write = |out: &mut Encoder| out.list(|list| tiers.iter().for_each(|tier| write_texts(list, tier)));
        entries.insert(b"announce-list", encoded(write).into());
    }
    if let Some(date) = outer.creation_date {
        entries.insert(b"creation date", encoded(|out| out.integer(date)).into());
    }
    match outer.web_seeds.as_slice() {
        [] => {}
        [one] => _ = entries.insert(b"url-list", encoded(|out| out.bytes(one)).into()),
        all => _ = entries.insert(b"url-list", encoded(|out| write_texts(out, all)).into()),
    }
    entries.insert(b"info", info.raw.as_slice().into());
    encoded(|out| out.dict(|dict| entries.iter().for_each(|(key, value)| dict.key(key).raw(value))))
}

fn read_outer(torrent: &Node<'_>) -> Outer {
    let text = |key: &[u8]| torrent.get(key).and_then(Node::as_str).map(str::to_owned);
    let tiers = torrent.get(b"announce-list").and_then(Node::as_list).unwrap_or_default();
    let mut outer = Outer {
        trackers: Trackers::new(text(b"announce"), tiers.iter().map(read_urls).collect()),
        web_seeds: torrent.get(b"url-list").map(read_urls).unwrap_or_default(),
        comment: text(b"comment"),
        created_by: text(b"created by"),
        creation_date: torrent.get(b"creation date").and_then(Node::as_integer),
        extra: BTreeMap::new(),
    };
    for (key, value) in torrent.as_dict().unwrap_or_default() {
        let is_read = match *key {
            b"info" => true,
            b"announce" | b"comment" | b"created by" => value.as_str().is_some(),
            b"announce-list" => value.as_list().is_some(),
            b"url-list" => value.as_list().is_some() || value.as_str().is_some(),
            b"creation date" => value.as_integer().is_some(),
            _ => false,
        };
        if !is_read {
            outer.extra.entry(key.to_vec()).or_insert_with(|| value.raw().to_vec());
        }
    }
    outer
}

/// The URLs in a list, or the one that stands in place of a list.
fn read_urls(node: &Node<'_>) -> Vec<String> {
    let items = node.as_list().unwrap_or(std::slice::from_ref(node));
    items.iter().filter_map(|item| item.as_str().and_then(cleaned)).collect()
}

fn write_texts(out: &mut Encoder, texts: &[String]) {
    out.list(|list| texts.iter().for_each(|text| list.bytes(text)));
}

fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut out = Encoder::new();
    write(&mut out);
    out.finish()
}
