//! The info dictionary (BEP 3): the part of a metainfo that its info hash covers.
//!
//! An [`Outline`] is what the dictionary says, as it says it; every way to a metainfo (`.torrent`, JSON, `create`) ends in
//! the bytes of a dictionary and its outline, so there is one place where they are checked. An [`Info`] is what came
//! through: paths made safe, lengths added up, and the raw bytes, which are never written anew.

use std::{ops::Range, path::PathBuf};

use sha1::{Digest, Sha1};

use super::{
    Error, File, FileKind, Geometry, InfoHash,
    error::Problem,
    path::{self, MAX_DEPTH},
};
use crate::bencode::{Encoder, Node};

/// The most files that a torrent may have. Each takes some hundred bytes of memory, an inode, and names to compare.
pub const MAX_FILES: usize = 250_000;

/// What an info dictionary says, unsanitised.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline<'a> {
    /// The name of the file, or of the folder around the files; any bytes.
    pub name: &'a [u8],
    pub piece_length: u64,
    /// The hashes of all pieces, 20 bytes each.
    pub pieces: &'a [u8],
    pub private: bool,
    pub content: Content<'a>,
}

/// One file, or a folder of files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Its length in bytes.
    File(u64),
    Folder(Vec<Entry<'a>>),
}

/// One of the files in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The names of the folders and of the file; any bytes, and sometimes none at all.
    pub path: Vec<&'a [u8]>,
    pub length: u64,
    pub kind: FileKind,
}

/// An info dictionary that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub raw: Vec<u8>,
    /// Where in `raw` the piece hashes lie.
    pub pieces: Range<usize>,
    pub hash: InfoHash,
    pub name: String,
    pub geometry: Geometry,
    pub files: Vec<File>,
    pub is_single_file: bool,
    pub private: bool,
    /// By the file's number: the path as it is spelled, where it had to be altered but could lie on a disk.
    pub spelled: Vec<(usize, PathBuf)>,
}

impl<'a> Outline<'a> {
    /// Reads as leniently as libtorrent: the first of equal keys, in any order, and what has the wrong type is not there.
    pub fn read(info: &Node<'a>) -> Result<Outline<'a>, Error> {
        let missing = |field: &str, kind| Error::field(format!("info.{field}"), Problem::Missing(kind));
        let bytes = |key: &str| info.get(key.as_bytes()).and_then(Node::as_bytes);
        if info.as_dict().is_none() {
            return Err(Error::field("info", Problem::Missing("a dictionary")));
        }
        let pieces = bytes("pieces");
        if pieces.is_none() && (info.get(b"meta version").is_some() || info.get(b"file tree").is_some()) {
            return Err(Error::V2Only);
        }
        let name = bytes("name.utf-8").or(bytes("name")).ok_or_else(|| missing("name", "a string"))?;
        let piece_length = info.get(b"piece length").and_then(Node::as_integer);
        let piece_length = piece_length.ok_or_else(|| missing("piece length", "an integer"))?;
        let content = match info.get(b"files").and_then(Node::as_list) {
            Some(files) => Content::Folder(read_entries(files)?),
            None => Content::File(read_length(info, "info")?),
        };
        Ok(Outline {
            name,
            piece_length: not_negative("info.piece length", piece_length)?,
            pieces: pieces.ok_or_else(|| missing("pieces", "a string"))?,
            private: info.get(b"private").and_then(Node::as_integer).is_some_and(|flag| flag != 0),
            content,
        })
    }

    /// The dictionary that says just this, byte for byte as mktorrent writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|dict| {
            match &self.content {
                Content::File(length) => dict.key("length").integer(*length),
                Content::Folder(entries) => dict.key("files").list(|list| {
                    for entry in entries {
                        list.dict(|file| {
                            file.key("length").integer(entry.length);
                            file.key("path").list(|path| entry.path.iter().for_each(|part| path.bytes(part)));
                        });
                    }
                }),
            }
            dict.key("name").bytes(self.name);
            dict.key("piece length").integer(self.piece_length);
            dict.key("pieces").bytes(self.pieces);
            if self.private {
                dict.key("private").integer(1);
            }
        });
        out.finish()
    }

    /// The paths of all files without the torrent's name; a single file has none.
    pub fn entries(&self) -> &[Entry<'a>] {
        match &self.content {
            Content::File(_) => &[],
            Content::Folder(entries) => entries,
        }
    }
}

fn read_entries<'a>(files: &[Node<'a>]) -> Result<Vec<Entry<'a>>, Error> {
    if files.is_empty() {
        return Err(Error::NoFiles);
    }
    if files.len() > MAX_FILES {
        return Err(Error::TooManyFiles(files.len()));
    }
    files.iter().enumerate().map(|(index, file)| read_entry(index, file)).collect()
}

fn read_entry<'a>(index: usize, file: &Node<'a>) -> Result<Entry<'a>, Error> {
    let field = |key: &str| format!("info.files[{index}].{key}");
    let attributes = file.get(b"attr").and_then(Node::as_bytes).unwrap_or_default();
    let list = |key: &[u8]| file.get(key).and_then(Node::as_list);
    let path = match list(b"path.utf-8").or_else(|| list(b"path")) {
        Some(parts) => parts.iter().map(Node::as_bytes).collect::<Option<Vec<_>>>(),
        None => attributes.contains(&b'p').then(Vec::new),
    };
    let path = path.ok_or_else(|| Error::field(field("path"), Problem::Missing("a list of strings")))?;
    if path.len() > MAX_DEPTH {
        return Err(Error::field(field("path"), Problem::TooDeep(path.len())));
    }
    // BitComet's pad files, older than BEP 47, are known by their name alone.
    let named_pad = path.last().is_some_and(|name| name.starts_with(b"_____padding_file_"));
    let kind = match attributes {
        _ if attributes.contains(&b'l') => FileKind::Symlink,
        _ if attributes.contains(&b'p') || named_pad => FileKind::Pad,
        _ => FileKind::Normal,
    };
    let length = if kind == FileKind::Symlink { 0 } else { read_length(file, &format!("info.files[{index}]"))? };
    Ok(Entry { path, length, kind })
}

fn read_length(dict: &Node<'_>, field: &str) -> Result<u64, Error> {
    let field = format!("{field}.length");
    match dict.get(b"length").and_then(Node::as_integer) {
        Some(length) => not_negative(&field, length),
        None => Err(Error::field(field, Problem::Missing("an integer"))),
    }
}

fn not_negative(field: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::field(field, Problem::OutOfRange(number.into())))
}

impl Info {
    /// Checks a dictionary and keeps its bytes.
    pub fn read(node: &Node<'_>) -> Result<Info, Error> {
        let raw = node.raw();
        let outline = Outline::read(node)?;
        let hash = InfoHash(Sha1::digest(raw).into());
        let name = path::sanitise(outline.name).unwrap_or_else(|| hash.to_string());
        let (files, spelled) = lay_out(&outline, &name)?;
        let length = files.last().map_or(0, |file| file.offset + file.length);
        let geometry = Geometry::new(length, outline.piece_length)?;
        if outline.pieces.len() as u64 != u64::from(geometry.piece_count()) * 20 {
            return Err(Error::PieceCount { got: outline.pieces.len(), want: geometry.piece_count() });
        }
        let start = outline.pieces.as_ptr() as usize - raw.as_ptr() as usize;
        Ok(Info {
            pieces: start..start + outline.pieces.len(),
            raw: raw.to_vec(),
            hash,
            name,
            geometry,
            files,
            is_single_file: matches!(outline.content, Content::File(_)),
            private: outline.private,
            spelled,
        })
    }
}

/// The files with safe paths, one behind the other, and the paths that had to be altered.
fn lay_out(outline: &Outline<'_>, name: &str) -> Result<(Vec<File>, Vec<(usize, PathBuf)>), Error> {
    let mut found: Vec<(String, u64, FileKind)> = match &outline.content {
        Content::File(length) => vec![(name.to_owned(), *length, FileKind::Normal)],
        Content::Folder(entries) => {
            let path = |index, entry: &Entry<'_>| path::join(name, &entry.path, index);
            let entries = entries.iter().enumerate();
            entries.map(|(index, entry)| (path(index, entry), entry.length, entry.kind)).collect()
        }
    };
    let spelled = found.iter().enumerate().filter_map(|(index, (path, ..))| {
        let spelled = spelled_path(outline, index)?;
        (spelled.as_os_str() != path.as_str()).then_some((index, spelled))
    });
    let spelled = spelled.collect();
    // Pad files are never written, and many share one name.
    let written = found.iter_mut().filter(|(.., kind)| *kind != FileKind::Pad).map(|(path, ..)| path);
    path::disambiguate(&mut written.collect::<Vec<_>>(), path::FOLD_CASE);

    let mut offset: u64 = 0;
    let mut files = Vec::with_capacity(found.len());
    for (path, length, kind) in found {
        files.push(File { path: path.into(), length, offset, kind });
        offset = offset.checked_add(length).ok_or(Error::LengthOverflow)?;
    }
    Ok((files, spelled))
}

/// The path in the torrent's own bytes, if a disk here could hold it without leaving the folder.
fn spelled_path(outline: &Outline<'_>, index: usize) -> Option<PathBuf> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let entry = outline.entries().get(index);
    let parts = std::iter::once(&outline.name).chain(entry.map_or(&[][..], |entry| &entry.path));
    let is_whole = entry.is_none_or(|entry| !entry.path.is_empty());
    is_whole.then(|| parts.map(|part| path::is_possible(part).then(|| OsStr::from_bytes(part))).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{decode, decode_prefix};

    const HASH: &str = "HHHHHHHHHHHHHHHHHHHH";

    /// Reads an info dictionary of one piece that has these further entries.
    fn read(entries: &str) -> Result<Info, Error> {
        let raw = format!("d12:piece lengthi1048576e6:pieces20:{HASH}{entries}e");
        Info::read(&decode(raw.as_bytes()).unwrap())
    }

    /// Reads a folder `t` with these files.
    fn read_files(files: &str) -> Result<Info, Error> {
        read(&format!("4:name1:t5:filesl{files}e"))
    }

    fn paths(info: &Info) -> Vec<&str> {
        info.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn a_folder_encodes_to_the_bytes_that_bep_3_asks_for() {
        let entry = |path, length| Entry { path, length, kind: FileKind::Normal };
        let outline = Outline {
            name: b"t",
            piece_length: 16_384,
            pieces: HASH.as_bytes(),
            private: true,
            content: Content::Folder(vec![entry(vec![b"sub", b"x.txt"], 3), entry(vec![b"empty"], 0)]),
        };
        let raw = outline.encode();
        let want = format!(
            "d5:filesld6:lengthi3e4:pathl3:sub5:x.txteed6:lengthi0e4:pathl5:emptyeee\
             4:name1:t12:piece lengthi16384e6:pieces20:{HASH}7:privatei1ee"
        );
        assert_eq!(raw.escape_ascii().to_string(), want);
        assert_eq!(Outline::read(&decode(&raw).unwrap()).unwrap(), outline);
        let info = Info::read(&decode(&raw).unwrap()).unwrap();
        assert_eq!(info.hash.to_string(), "17a316af80b65a59bdab5b7c4f4f225b8b618d81");
        assert_eq!(paths(&info), ["t/sub/x.txt", "t/empty"]);
        assert_eq!(&info.raw[info.pieces.clone()], HASH.as_bytes());
        assert!(info.private && !info.is_single_file);
    }

    #[test]
    fn names_in_utf_8_go_before_those_of_unknown_encoding() {
        let info = read("4:name1:x10:name.utf-81:y5:filesld6:lengthi1e4:pathl1:ae10:path.utf-8l2:\u{e9}eee");
        assert_eq!(paths(&info.unwrap()), ["y/é"]);
    }

    #[test]
    fn pads_and_links_are_known_with_and_without_a_path() {
        let info = read_files(
            "d6:lengthi1e4:pathl1:aee\
             d4:attr1:p6:lengthi5ee\
             d4:attr1:p6:lengthi5e4:pathl4:.pad1:5ee\
             d4:attr2:hp6:lengthi5e4:pathl4:.pad1:5ee\
             d6:lengthi5e4:pathl30:_____padding_file_0_if you seeee\
             d4:attr1:l6:lengthi7e4:pathl4:linke12:symlink pathl1:aee",
        );
        let info = info.unwrap();
        let kinds: Vec<_> = info.files.iter().map(|file| (file.kind, file.offset, file.length)).collect();
        let pad = |offset| (FileKind::Pad, offset, 5);
        let want = [(FileKind::Normal, 0, 1), pad(1), pad(6), pad(11), pad(16), (FileKind::Symlink, 21, 0)];
        assert_eq!(kinds, want);
        assert_eq!(info.geometry.length(), 21);
        assert_eq!(info.files[2].path, info.files[3].path);
    }

    #[test]
    fn unsafe_names_are_altered_and_remembered_where_a_disk_could_hold_them() {
        let info = read_files(
            "d6:lengthi1e4:pathl2:..4:evilee\
             d6:lengthi1e4:pathl5:aux.cee\
             d6:lengthi1e4:pathl1:aee\
             d6:lengthi1e4:pathl1:aee\
             d6:lengthi1e4:pathl2:a/ee\
             d6:lengthi1e4:pathl0:ee",
        );
        let info = info.unwrap();
        assert_eq!(paths(&info), ["t/_/evil", "t/_aux.c", "t/a", "t/a.1", "t/a.2", "t/5"]);
        let spelled: Vec<_> = info.spelled.iter().map(|(index, path)| (*index, path.to_str().unwrap())).collect();
        assert_eq!(spelled, [(1, "t/aux.c")]);
    }

    #[test]
    fn a_torrent_whose_name_vanishes_is_called_by_its_info_hash() {
        for name in ["0:", "1:.", "2:..", "3:../"] {
            let info = read(&format!("4:name{name}6:lengthi1e")).unwrap();
            assert_eq!(info.name, info.hash.to_string(), "{name}");
            assert_eq!(info.files[0].path.to_str(), Some(info.name.as_str()));
        }
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_named() {
        let sentence = |entries: &str| read(entries).unwrap_err().to_string();
        assert_eq!(sentence("6:lengthi1e"), "`info.name` is missing or is not a string");
        assert_eq!(sentence("4:name1:t"), "`info.length` is missing or is not an integer");
        assert!(sentence("4:name1:t6:lengthi-1e").starts_with("`info.length` is -1"));
        assert_eq!(sentence("4:name1:t6:lengthi0e"), "a torrent without a single byte has nothing to share");
        assert!(sentence("4:name1:t6:lengthi1048577e").contains("2 pieces of 20 bytes, 40, are needed"));
        assert!(sentence("4:name1:t6:lengthi9223372036854775807e").contains("8796093022208 pieces"));
        assert_eq!(sentence("4:name1:t5:filesle"), Error::NoFiles.to_string());
        assert!(sentence("4:name1:t5:filesldee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesli1ee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesld6:lengthi1e4:pathli1eeee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesld4:pathl1:aeee").starts_with("`info.files[0].length`"));
    }

    #[test]
    fn lengths_that_overflow_when_added_are_an_error() {
        let file = "d6:lengthi9223372036854775807e4:pathl1:aee";
        assert_eq!(read_files(&file.repeat(3)), Err(Error::LengthOverflow));
    }

    #[test]
    fn paths_and_lists_of_files_are_bounded_at_the_limit_and_not_before() {
        let deep = |depth: usize| read_files(&format!("d6:lengthi1e4:pathl{}ee", "1:d".repeat(depth)));
        assert!(deep(MAX_DEPTH).is_ok());
        assert!(deep(MAX_DEPTH + 1).unwrap_err().to_string().contains("101 parts"));
        let many = |count: usize| {
            read_files(&format!("{}d6:lengthi1e4:pathl1:bee", "d6:lengthi0e4:pathl1:aee".repeat(count - 1)))
        };
        assert!(many(MAX_FILES + 1).is_err_and(|error| error == Error::TooManyFiles(MAX_FILES + 1)));
        assert_eq!(many(MAX_FILES).unwrap().files.len(), MAX_FILES);
    }

    #[test]
    fn a_v2_torrent_is_refused_and_a_hybrid_loads_as_v1() {
        let v2 = b"d9:file treed1:ad0:d6:lengthi1eeee12:meta versioni2e4:name1:a12:piece lengthi16384ee";
        let error = Info::read(&decode_prefix(v2).unwrap().0).unwrap_err();
        assert_eq!(error, Error::V2Only);
        assert!(error.to_string().contains("BitTorrent v2 only"));
        let hybrid = read("9:file treed1:ad0:d6:lengthi1eeee6:lengthi1e12:meta versioni2e4:name1:a");
        assert_eq!(paths(&hybrid.unwrap()), ["a"]);
    }
}
