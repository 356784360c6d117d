//! The JSON form, which people can read and write by hand.
//!
//! `name`, `length` or `files`, `piece_length`, `pieces` are the info dictionary. Where a dictionary says more than
//! they can (a key that JSON does not name, a name that is no UTF-8), all of it stands in `info` in base64, and they
//! must agree with it. `extra` does the same, as one bencoded dictionary, for keys beside `info`. Without `info` the
//! dictionary is made from the fields, and a path that could leave its folder is an error: nobody writes one by hand
//! who means well.

mod count;
mod fields;

use std::{borrow::Cow, io};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Serialize, Serializer};

use self::fields::JsonFields;
use super::{
    Limits, Metainfo, MetainfoError,
    error::{Problem, quoted},
    info::Info,
    outline::{Outline, OutlineContent, OutlineEntry},
    path,
};
use crate::bencode::{self, BencodeNode, Encoder};

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Metainfo, MetainfoError> {
    if count::values(bytes) > limits.values {
        return Err(MetainfoError::TooManyValues(limits.values));
    }
    let fields: JsonFields =
        serde_json::from_slice(bytes).map_err(|error| MetainfoError::Json(quoted(&error.to_string())))?;
    let outline = fields.outline(limits)?;
    let raw = match &fields.info {
        Some(text) => from_base64("info", text)?,
        None => {
            fields.refuse_unsafe_paths()?;
            outline.encode()
        }
    };
    let node = decode("info", &raw, limits)?;
    if fields.info.is_some() {
        check_agreement(&outline, &Outline::read(node)?)?;
    }
    drop(outline);
    let info = Info::read(node)?;
    if let Some(stated) = &fields.info_hash
        && stated.parse() != Ok(info.hash)
    {
        return Err(MetainfoError::InfoHash { stated: quoted(stated), actual: info.hash });
    }
    Ok(Metainfo { info, outer: fields.into_outer(limits)? })
}

pub(super) fn write(metainfo: &Metainfo, mut to: impl io::Write) -> io::Result<()> {
    let Metainfo { info, outer } = metainfo;
    let node = bencode::decode(&info.raw).expect("an info dictionary was decoded before it was kept");
    let outline = Outline::read(node).expect("an info dictionary was checked before it was kept");
    let (length, files) = match &outline.content {
        OutlineContent::File(length, _) => (Some(*length), None),
        OutlineContent::Folder(entries) => (None, Some(JsonFile(entries))),
    };
    let extra = (!outer.extra.is_empty()).then(|| {
        let mut out = Encoder::new();
        out.dict(|dict| outer.extra.iter().for_each(|(key, value)| dict.key(key).raw(value)));
        BASE64.encode(&out.finish())
    });
    let form = JsonForm {
        name: String::from_utf8_lossy(outline.name),
        length,
        executable: matches!(outline.content, OutlineContent::File(_, true)).then_some(true),
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
        info: (!says_it_all(&outline, &info.raw)).then_some(Base64(&info.raw)),
        extra,
    };
    serde_json::to_writer_pretty(&mut to, &form)?;
    to.write_all(b"\n")
}

/// Whether the readable fields, read again, make the very same dictionary.
fn says_it_all(outline: &Outline<'_>, raw: &[u8]) -> bool {
    let entries = outline.entries();
    let has_oddity = path::is_unsafe(outline.name)
        || entries.iter().any(|entry| entry.path.is_empty() || entry.path.iter().any(|part| path::is_unsafe(part)));
    !has_oddity && outline.encode() == raw
}

fn check_agreement(fields: &Outline<'_>, raw: &Outline<'_>) -> Result<(), MetainfoError> {
    let content_agrees = match (&fields.content, &raw.content) {
        // Older versions did not list what is executable.
        (OutlineContent::File(length, executable), OutlineContent::File(raw, is)) => length == raw && executable <= is,
        (OutlineContent::Folder(entries), OutlineContent::Folder(raw)) => {
            let agrees = |(entry, raw): (&OutlineEntry<'_>, &OutlineEntry<'_>)| {
                let (listed, is) = (Listed::of(entry), Listed::of(raw));
                listed.path == is.path && listed.length == is.length && entry.is_executable <= raw.is_executable
            };
            entries.len() == raw.len() && entries.iter().zip(raw).all(agrees)
        }
        _ => false,
    };
    let content = if matches!(fields.content, OutlineContent::File(..)) { "length" } else { "files" };
    [
        ("name", fields.name == String::from_utf8_lossy(raw.name).as_bytes()),
        (content, content_agrees),
        ("piece_length", fields.piece_length == raw.piece_length),
        ("pieces", fields.pieces == raw.pieces),
        ("private", fields.private == raw.private),
    ]
    .into_iter()
    .try_for_each(|(field, agrees)| if agrees { Ok(()) } else { Err(MetainfoError::Disagrees(field)) })
}

fn from_base64(field: &str, text: &str) -> Result<Vec<u8>, MetainfoError> {
    BASE64.decode(text.as_bytes()).map_err(|_| MetainfoError::field(field, Problem::NotADictionary))
}

/// One bencoded value that a field holds.
fn decode<'a>(field: &str, raw: &'a [u8], limits: &Limits) -> Result<BencodeNode<'a>, MetainfoError> {
    match bencode::decode_prefix_within(raw, limits.values) {
        Ok((node, used)) if used == raw.len() => Ok(node),
        Err(error) if matches!(error.kind, bencode::ErrorKind::TooMany(_)) => Err(error.into()),
        _ => Err(MetainfoError::field(field, Problem::NotADictionary)),
    }
}

/// What is written, in this order: what people look for first, the long rows last.
#[derive(Serialize)]
struct JsonForm<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<JsonFile<'a>>,
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
    info: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

/// The files of a folder, each made when it is written.
struct JsonFile<'a>(&'a [OutlineEntry<'a>]);

impl Serialize for JsonFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Listed::of))
    }
}

/// A file of a folder.
#[derive(Serialize)]
struct Listed {
    path: ListedPath,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<bool>,
}

/// A path with slashes, or its parts where slashes could not tell them apart.
#[derive(Serialize, PartialEq)]
#[serde(untagged)]
enum ListedPath {
    Text(String),
    Parts(Vec<String>),
}

impl Listed {
    fn of(entry: &OutlineEntry<'_>) -> Listed {
        let parts: Vec<String> = entry.path.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let is_plain = !parts.is_empty() && !parts.iter().any(|part| part.contains('/'));
        let path = if is_plain { ListedPath::Text(parts.join("/")) } else { ListedPath::Parts(parts) };
        Listed { path, length: entry.length, executable: entry.is_executable.then_some(true) }
    }
}

/// Bytes that are encoded as they are written.
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(self.0))
    }
}

struct HexHashes<'a>(&'a [u8]);

impl Serialize for HexHashes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.chunks(20).map(|hash| HEXLOWER.encode(hash)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metainfo::{FileKind, MAX_FILES};

    const HASH: &str = "4848484848484848484848484848484848484848";

    /// A metainfo of one piece written by hand, with these fields first.
    fn by_hand(fields: &str) -> String {
        format!(r#"{{{fields}, "piece_length": 16384, "pieces": ["{HASH}"]}}"#)
    }

    fn read_by_hand(fields: &str) -> Result<Metainfo, MetainfoError> {
        Metainfo::read(by_hand(fields).as_bytes())
    }

    fn sentence(fields: &str) -> String {
        read_by_hand(fields).unwrap_err().to_string()
    }

    /// A torrent with these further entries in its info dictionary.
    fn torrent(info_entries: &str) -> Metainfo {
        let torrent = format!("d4:infod12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHH{info_entries}ee");
        Metainfo::read(torrent.as_bytes()).unwrap()
    }

    #[test]
    fn a_metainfo_by_hand_has_the_info_hash_of_its_torrent() {
        let metainfo = read_by_hand(r#""name": "a.bin", "length": 5, "tracker_url": "http://a""#).unwrap();
        assert_eq!(metainfo.info_hash().to_string(), "1cb01afaae4994eaa508807a6a473f3d961938b6");
        assert_eq!(metainfo.trackers(), [["http://a"]]);
        let want = format!(
            r#"{{
  "name": "a.bin",
  "length": 5,
  "piece_length": 16384,
  "tracker_url": "http://a",
  "info_hash": "1cb01afaae4994eaa508807a6a473f3d961938b6",
  "pieces": [
    "{HASH}"
  ]
}}
"#
        );
        assert_eq!(String::from_utf8(metainfo.to_json()).unwrap(), want);
    }

    #[test]
    fn every_field_is_read_and_written_as_it_was() {
        let json = format!(
            r#"{{
  "name": "t",
  "files": [
    {{
      "path": "sub/größe.txt",
      "length": 3
    }},
    {{
      "path": "empty",
      "length": 0
    }}
  ],
  "piece_length": 16384,
  "private": true,
  "tracker_url": "http://a",
  "trackers": [
    [
      "http://a",
      "udp://b:1"
    ],
    [
      "http://c"
    ]
  ],
  "web_seeds": [
    "http://w"
  ],
  "comment": "a\nb",
  "created_by": "me",
  "creation_date": -1,
  "info_hash": "4a69edae6120d7f671c29fda98f6490f143a6c39",
  "pieces": [
    "{HASH}"
  ],
  "extra": "ZDM6YWJjaTFlZQ=="
}}
"#
        );
        let metainfo = Metainfo::read(json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(metainfo.to_json()).unwrap(), json);
        let again = Metainfo::read(&metainfo.to_torrent()).unwrap();
        assert_eq!(again, metainfo);
        assert!(metainfo.to_torrent().starts_with(b"d3:abci1e8:announce8:http://a"));
        assert_eq!(again.files()[0].path.to_str(), Some("t/sub/größe.txt"));
    }

    #[test]
    fn a_path_may_be_a_list_and_a_null_or_unknown_field_is_not_there() {
        let fields =
            r#""name": "t", "comment": null, "later": [[{"x": 1}]], "files": [{"path": ["a", "b"], "length": 1}]"#;
        let metainfo = read_by_hand(fields).unwrap();
        assert_eq!(metainfo.files()[0].path.to_str(), Some("t/a/b"));
        let bom = [b"\xef\xbb\xbf\n", by_hand(fields).as_bytes()].concat();
        assert_eq!(Metainfo::read(&bom), Ok(metainfo));
        let without_piece_length = format!(r#"{{"name": "a", "length": 262145, "pieces": ["{HASH}", "{HASH}"]}}"#);
        let metainfo = Metainfo::read(without_piece_length.as_bytes()).unwrap();
        assert_eq!(metainfo.geometry().piece_length(), 262_144);
    }

    #[test]
    fn what_json_cannot_say_stands_in_info() {
        for entries in [
            "4:name1:a6:lengthi5e6:source1:s",
            "4:name3:a/b6:lengthi5e",
            "4:name2:..6:lengthi5e",
            "10:name.utf-81:a6:lengthi5e",
        ] {
            let metainfo = torrent(entries);
            let json = String::from_utf8(metainfo.to_json()).unwrap();
            assert!(json.contains(r#""info": ""#), "{json}");
            assert_eq!(Metainfo::read(json.as_bytes()), Ok(metainfo));
        }
        let slashes = "/".repeat(200);
        let folder = torrent(&format!("4:name1:t5:filesld6:lengthi5e4:pathl0:200:{slashes}eee"));
        assert_eq!(Metainfo::read(&folder.to_json()), Ok(folder));
        let pads = torrent("4:name1:t5:filesld6:lengthi5e4:pathl1:aeed4:attr1:p6:lengthi3eee");
        let read = Metainfo::read(&pads.to_json()).unwrap();
        assert_eq!(read.files()[1].kind, FileKind::Pad);
        assert_eq!(read, pads);
    }

    #[test]
    fn fields_that_disagree_with_info_are_named() {
        let file = String::from_utf8(torrent("4:name1:a6:lengthi5e6:source1:s").to_json()).unwrap();
        let folder = torrent("4:name1:a5:filesld6:lengthi5e4:pathl1:beee6:source1:s");
        let folder = String::from_utf8(folder.to_json()).unwrap();
        for (json, from, to, field) in [
            (&file, r#""name": "a""#, r#""name": "b""#, "name"),
            (&file, r#""length": 5"#, r#""length": 6"#, "length"),
            (&file, r#"h": 16384"#, r#"h": 16385"#, "piece_length"),
            (&file, "\"4848", "\"4849", "pieces"),
            (&file, r#""name""#, r#""private": true, "name""#, "private"),
            (&folder, r#""path": "b""#, r#""path": "c""#, "files"),
            (&folder, r#""files""#, r#""length": 5, "filez""#, "length"),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(&changed, json, "{from}");
            assert_eq!(Metainfo::read(changed.as_bytes()), Err(MetainfoError::Disagrees(field)));
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        for (fields, want) in [
            (r#""length": 5"#, "`name` is missing"),
            (r#""name": "a""#, "`length` is missing"),
            (r#""name": 5, "length": 5"#, "`name`: invalid type"),
            (r#""name": "a", "length": -5"#, "`length`: invalid value: integer `-5`"),
            (r#""name": "a", "length": 5.5"#, "`length`: invalid type"),
            (r#""name": "a", "length": 18446744073709551616"#, "`length`: invalid type"),
            (r#""name": "a", "length": 18446744073709551615"#, "`length` is 18446744073709551615"),
            (r#""name": "a", "length": 9223372036854775807"#, "562949953421312 pieces"),
            (r#""name": "a", "length": 0"#, "a torrent without a single byte"),
            (r#""name": "a", "length": 20000"#, "`pieces` holds 20 bytes"),
            (r#""name": "a", "length": 5, "length": 5"#, "`length` is there twice"),
            (r#""name": "a", "length": 5, "info_hash": "00""#, "`info_hash` is \"00\""),
            (r#""name": "a", "length": 5, "info": "!""#, "`info` is not the base64"),
            (r#""name": "a", "length": 5, "info": "ZA==""#, "`info` is not the base64"),
            (r#""name": "a", "length": 5, "extra": "aTFl""#, "`extra` is not the base64"),
            (r#""name": "a", "length": 5, "trackers": ["x"]"#, "`trackers`: invalid type"),
            (r#""name": "a/b", "length": 5"#, "`name` is \"a/b\", which could leave the folder"),
            (r#""name": "..", "length": 5"#, "`name` is \"..\""),
            (r#""name": "C:", "length": 5"#, "`name` is \"C:\""),
            (r#""name": "", "length": 5"#, "`name` is \"\""),
            (
                r#""name": "a", "length": 4, "files": [{"path": "x", "length": 5}]"#,
                "`length` is not the sum of the `files`, 5",
            ),
            (r#""name": "a", "files": []"#, "`files` is empty"),
            (r#""name": "a", "files": [{"path": "../x", "length": 5}]"#, "`files[0].path` is \"../x\""),
            (r#""name": "a", "files": [{"path": "/x", "length": 5}]"#, "`files[0].path` is \"/x\""),
            (r#""name": "a", "files": [{"path": [], "length": 5}]"#, "`files[0].path` is \"\""),
            (r#""name": "a", "files": [{"path": "x"}]"#, "`files`: missing field `length`"),
        ] {
            assert!(sentence(fields).contains(want), "{fields}: {}", sentence(fields));
        }
        let bad_hash = r#"{"name": "a", "length": 5, "pieces": ["4848"]}"#;
        assert!(Metainfo::read(bad_hash.as_bytes()).unwrap_err().to_string().contains("`pieces`: invalid value"));
        let sum = r#"{"path": "x", "length": 9223372036854775807}"#;
        assert_eq!(
            sentence(&format!(r#""name": "a", "files": [{sum}, {sum}, {sum}]"#)),
            MetainfoError::LengthOverflow.to_string()
        );
    }

    #[test]
    fn what_is_wrong_is_repeated_in_part_and_found_by_its_place() {
        let long = "\u{202e}".repeat(100_000);
        for fields in [
            format!(r#""name": "a", "length": "{long}""#),
            format!(r#""name": "a", "length": 5, "info_hash": "{long}""#),
            format!(r#""name": "{long}/", "length": 5"#),
            format!(r#""name": "a", "files": [{{"path": ["{long}/"], "length": 5}}]"#),
            format!(r#""name": "a", "length": 5, "pieces": ["{long}"]"#),
        ] {
            let sentence = sentence(&fields);
            assert!(sentence.len() < 4000, "{} bytes", sentence.len());
        }
        assert!(sentence(&format!(r#""name": "a", "length": "{long}""#)).ends_with("at line 1 column 300026"));
    }

    #[test]
    fn no_further_key_says_what_the_fields_do_not() {
        let hidden = BASE64
            .encode(b"d8:announce9:http://e/13:announce-listll9:http://e/ee7:comment1:c8:url-list9:http://e/1:xi1ee");
        for (trackers, want) in [("", vec![]), (r#""tracker_url": "http://a", "#, vec![vec!["http://a"]])] {
            let metainfo =
                read_by_hand(&format!(r#""name": "a", "length": 5, {trackers}"extra": "{hidden}""#)).unwrap();
            let again = Metainfo::read(&metainfo.to_torrent()).unwrap();
            assert_eq!(again, metainfo);
            assert_eq!(
                (again.trackers().concat(), again.comment(), again.web_seeds().len()),
                (want.concat().into_iter().map(str::to_owned).collect(), None, 0)
            );
            assert!(metainfo.to_torrent().ends_with(b"e1:xi1ee"), "what no field says stays");
        }
    }

    #[test]
    fn nesting_and_lists_without_end_are_refused() {
        for depth in [1_000, 10_000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(sentence(&format!(r#""name": "a", "length": 5, "trackers": {nested}"#)).contains("`trackers`"));
            assert!(read_by_hand(&format!(r#""name": "a", "length": 5, "unknown": {nested}"#)).is_ok());
        }
        let files = vec![r#"{"path":"x","length":1}"#; MAX_FILES + 1].join(",");
        assert!(sentence(&format!(r#""name": "a", "files": [{files}]"#)).contains("more than 250000 in the list"));
        let slashes = "/".repeat(100_000);
        let fields = format!(r#""name": "a", "files": [{{"path": "{slashes}", "length": 1}}]"#);
        assert!(sentence(&fields).contains("more than 100 parts"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let json = torrent("4:name1:a6:lengthi5e6:source1:s").to_json();
        let end = json.trim_ascii_end().len();
        for end in 0..end {
            assert!(Metainfo::read(&json[..end]).is_err(), "cut at {end}");
        }
    }

    /// Names: ordinary, hostile, and bytes that are no text.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        let chosen = prop::sample::select(vec!["a", "b.txt", "größe", "..", "", "/", "CON", "a\\b", "\u{202e}"]);
        prop_oneof![
            3 => chosen.prop_map(|name| name.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6)
        ]
    }

    type AnyFile = (Vec<Vec<u8>>, u64, Option<String>);

    fn any_file() -> impl Strategy<Value = AnyFile> {
        (prop::collection::vec(name(), 0..3), 1..1000_u64, prop::option::of("[pxlh]{1,2}"))
    }

    fn write_file(out: &mut Encoder, (path, length, attributes): &AnyFile) {
        out.dict(|file| {
            attributes.iter().for_each(|attributes| file.key("attr").bytes(attributes));
            file.key("length").integer(*length);
            file.key("path").list(|list| path.iter().for_each(|part| list.bytes(part)));
        });
    }

    prop_compose! {
        fn any_info()(
            name in name(), files in prop::option::of(prop::collection::vec(any_file(), 1..6)),
            private: bool, source in prop::option::of(name()),
        ) -> Vec<u8> {
            let mut out = Encoder::new();
            out.dict(|info| {
                match &files {
                    None => info.key("length").integer(5),
                    Some(files) => info.key("files").list(|list| files.iter().for_each(|file| write_file(list, file))),
                }
                info.key("name").bytes(&name);
                info.key("piece length").integer(16_384);
                info.key("pieces").bytes([7; 20]);
                if private {
                    info.key("private").integer(1);
                }
                source.iter().for_each(|source| info.key("source").bytes(source));
            });
            out.finish()
        }
    }

    prop_compose! {
        fn any_torrent()(
            info in any_info(), announce in prop::option::of("[a-c ]{0,2}"), comment in prop::option::of(name()),
            tiers in prop::collection::vec(prop::collection::vec("[a-c ]{0,2}", 0..3), 0..3),
            web_seed in prop::option::of("[a-c]{0,2}"),
        ) -> Vec<u8> {
            let mut out = Encoder::new();
            out.dict(|torrent| {
                announce.iter().for_each(|url| torrent.key("announce").bytes(url));
                torrent.key("announce-list").list(|list| {
                    tiers.iter().for_each(|tier| list.list(|list| tier.iter().for_each(|url| list.bytes(url))));
                });
                comment.iter().for_each(|text| torrent.key("comment").bytes(text));
                torrent.key("info").raw(&info);
                web_seed.iter().for_each(|url| torrent.key("url-list").bytes(url));
            });
            out.finish()
        }
    }

    proptest! {
        #[test]
        fn converting_either_way_and_back_loses_nothing(bytes in any_torrent()) {
            let Ok(metainfo) = Metainfo::read(&bytes) else {
                // Nothing but links: a torrent without a byte.
                return Ok(());
            };
            let json = metainfo.to_json();
            let from_json = Metainfo::read(&json).unwrap();
            prop_assert_eq!(&from_json, &metainfo);
            prop_assert_eq!(from_json.to_torrent(), metainfo.to_torrent());
            let from_torrent = Metainfo::read(&metainfo.to_torrent()).unwrap();
            prop_assert_eq!(from_torrent.to_json(), json);
            let written = metainfo.info_bytes();
            prop_assert!(bytes.windows(written.len()).any(|window| window == written));
        }
    }
}
