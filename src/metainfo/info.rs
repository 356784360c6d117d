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
#[derive(Clone, PartialEq, Eq)]
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
    let mut paths = match &outline.content {
        Content::File(_) => vec![name.to_owned()],
        Content::Folder(entries) => {
            entries.iter().enumerate().map(|(index, entry)| path::join(name, &entry.path, index)).collect()
        }
    };
    let kinds: Vec<(u64, FileKind)> = match &outline.content {
        Content::File(length) => vec![(*length, FileKind::Normal)],
        Content::Folder(entries) => entries.iter().map(|entry| (entry.length, entry.kind)).collect(),
    };
    // Pad files are never written, and many share one name.
    let written = paths.iter_mut().zip(&kinds).filter(|(_, (_, kind))| *kind != FileKind::Pad);
    path::disambiguate(&mut written.map(|(path, _)| path).collect::<Vec<_>>(), path::FOLD_CASE);

    let mut offset: u64 = 0;
    let mut files = Vec::with_capacity(paths.len());
    for (path, (length, kind)) in paths.into_iter().zip(kinds) {
        files.push(File { path: path.into(), length, offset, kind });
        offset = offset.checked_add(length).ok_or(Error::LengthOverflow)?;
    }
    let spelled = files.iter().enumerate().filter_map(|(index, file)| {
        let spelled = spelled_path(outline, index)?;
        (spelled != file.path).then_some((index, spelled))
    });
    let spelled = spelled.collect();
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
