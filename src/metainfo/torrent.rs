//! The `.torrent` form (BEP 3, "metainfo files"), with BEP 12's tiers and BEP 19's web seeds.
//!
//! Read as leniently as libtorrent reads: keys in any order, the first of equal ones, trailing bytes ignored, a key of
//! the wrong type as if it were not there. Written in order. What has no accessor travels along as it came.

use std::collections::BTreeMap;

use super::{
    Limits, Metainfo, MetainfoError,
    error::Problem,
    info::Info,
    outer::{Extra, MAX_URLS, Outer, Trackers, cleaned, is_read},
};
use crate::bencode::{self, BencodeNode, Encoder};

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Metainfo, MetainfoError> {
    let (torrent, _) = bencode::decode_prefix_within(bytes, limits.values)?;
    let info = torrent.get(b"info").ok_or_else(|| MetainfoError::field("info", Problem::Missing("a dictionary")))?;
    Ok(Metainfo { info: Info::read(info)?, outer: read_outer(torrent) })
}

pub(super) fn write(metainfo: &Metainfo) -> Vec<u8> {
    let own = metainfo.outer.entries();
    let mut entries: BTreeMap<&[u8], &[u8]> = own.iter().map(|(key, value)| (*key, value.as_slice())).collect();
    entries.extend(metainfo.outer.extra.iter().map(|(key, value)| (key.as_slice(), value.as_slice())));
    entries.insert(b"info", &metainfo.info.raw);
    let mut out = Encoder::new();
    out.dict(|dict| entries.iter().for_each(|(key, value)| dict.key(key).raw(value)));
    out.finish()
}

fn read_outer(torrent: BencodeNode<'_>) -> Outer {
    let text = |key: &[u8]| torrent.get(key).and_then(BencodeNode::as_str).map(str::to_owned);
    let tiers = torrent.get(b"announce-list").and_then(BencodeNode::as_list).into_iter().flatten();
    let outer = Outer {
        trackers: Trackers::new(text(b"announce"), tiers.take(MAX_URLS).map(read_urls).collect()),
        web_seeds: torrent.get(b"url-list").map(read_urls).unwrap_or_default(),
        comment: text(b"comment"),
        created_by: text(b"created by"),
        creation_date: torrent.get(b"creation date").and_then(BencodeNode::as_integer),
        extra: Extra::new(),
    };
    let mut extra = Extra::new();
    for (key, value) in torrent.as_dict().into_iter().flatten() {
        if !is_read(key, value) {
            extra.entry(key.to_vec()).or_insert_with(|| value.raw().to_vec());
        }
    }
    outer.with_extra(extra)
}

/// The URLs in a list, or the one that stands in place of a list.
pub(super) fn read_urls(node: BencodeNode<'_>) -> Vec<String> {
    let one = if node.as_list().is_none() { Some(node) } else { None };
    let items = node.as_list().into_iter().flatten().chain(one);
    items.filter_map(|item| item.as_str().and_then(cleaned)).take(MAX_URLS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INFO: &str = "d6:lengthi5e4:name5:a.bin12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHHe";

    fn full() -> String {
        format!(
            "d8:announce8:http://a13:announce-listll8:http://a9:udp://b:1el8:http://cee\
             7:comment2:hi10:created by4:test13:creation datei1700000000e4:info{INFO}\
             5:nodesl1:xe8:url-listl8:http://w8:http://vee"
        )
    }

    #[test]
    fn every_key_is_read_and_written_as_it_was() {
        let metainfo = Metainfo::read(full().as_bytes()).unwrap();
        assert_eq!(metainfo.info_hash().to_string(), "1cb01afaae4994eaa508807a6a473f3d961938b6");
        assert_eq!(metainfo.trackers(), [vec!["http://a", "udp://b:1"], vec!["http://c"]]);
        assert_eq!(metainfo.web_seeds(), ["http://w", "http://v"]);
        assert_eq!((metainfo.comment(), metainfo.created_by()), (Some("hi"), Some("test")));
        assert_eq!(metainfo.creation_date(), Some(1_700_000_000));
        assert_eq!((metainfo.name(), metainfo.length(), metainfo.is_single_file()), ("a.bin", 5, true));
        let first = metainfo.geometry().piece(0).unwrap();
        assert_eq!(metainfo.piece_hash(first), b"HHHHHHHHHHHHHHHHHHHH");
        assert_eq!(metainfo.to_torrent().escape_ascii().to_string(), full());
    }

    #[test]
    fn keys_out_of_order_twice_of_the_wrong_type_or_before_garbage_still_load() {
        let torrent = format!(
            "d4:info{INFO}8:url-list8:http://w8:announcei7e13:announce-listll1: el8:http://cee\
             7:comment3:\u{fffd}7:comment4:good3:abci1eeGARBAGE"
        );
        let metainfo = Metainfo::read(torrent.as_bytes()).unwrap();
        assert_eq!(metainfo.trackers(), [["http://c"]]);
        assert_eq!(metainfo.web_seeds(), ["http://w"]);
        assert_eq!(metainfo.comment(), Some("\u{fffd}"));
        let want = format!("d3:abci1e8:announce8:http://c7:comment3:\u{fffd}4:info{INFO}8:url-list8:http://we");
        assert_eq!(String::from_utf8(write(&metainfo)).unwrap(), want);
    }

    #[test]
    fn a_value_that_is_no_text_travels_along_as_it_came() {
        let torrent = [b"d7:comment1:\xff10:created byi1e4:info", INFO.as_bytes(), b"e"].concat();
        let metainfo = Metainfo::read(&torrent).unwrap();
        assert_eq!((metainfo.comment(), metainfo.created_by()), (None, None));
        assert_eq!(write(&metainfo), torrent);
        assert!(metainfo.trackers().is_empty());
    }

    #[test]
    fn other_trackers_replace_all_that_were_there() {
        let metainfo = Metainfo::read(full().as_bytes()).unwrap();
        let moved = metainfo.clone().with_trackers(vec![vec!["http://z".into()]]);
        assert_eq!(moved.trackers(), [["http://z"]]);
        assert_eq!(moved.info_hash(), metainfo.info_hash());
        let text = String::from_utf8(moved.to_torrent()).unwrap();
        assert!(text.starts_with("d8:announce8:http://z7:comment"), "{text}");
    }

    #[test]
    fn web_seeds_beyond_the_limit_are_left_out() {
        let urls = "8:http://w".repeat(MAX_URLS + 1);
        let metainfo = Metainfo::read(format!("d4:info{INFO}8:url-listl{urls}ee").as_bytes()).unwrap();
        assert_eq!(metainfo.web_seeds().len(), MAX_URLS);
        assert_eq!(Metainfo::read(&metainfo.to_json()), Ok(metainfo));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = full();
        for end in 0..whole.len() {
            assert!(Metainfo::read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_torrent_gets_a_sentence() {
        let sentence = |bytes: &[u8]| Metainfo::read(bytes).unwrap_err().to_string();
        assert_eq!(sentence(b""), "neither a .torrent nor a JSON metainfo");
        assert_eq!(sentence(b"<!doctype html>"), "neither a .torrent nor a JSON metainfo");
        assert_eq!(sentence(b"de"), "`info` is missing or is not a dictionary");
        assert_eq!(sentence(b"d4:info2:dee"), "`info` is missing or is not a dictionary");
        assert!(sentence(&[b"d4:info".to_vec(), vec![b'l'; 10_000]].concat()).contains("nested more than 64 deep"));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0..300_usize, byte: u8) {
            let mut torrent = full().into_bytes();
            let at = at % torrent.len();
            torrent[at] = byte;
            if let Ok(metainfo) = Metainfo::read(&torrent) {
                prop_assert_eq!(Metainfo::read(&metainfo.to_torrent()), Ok(metainfo.clone()));
                prop_assert_eq!(Metainfo::read(&metainfo.to_json()), Ok(metainfo));
            }
        }
    }
}
