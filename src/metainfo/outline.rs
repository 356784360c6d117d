//! What an info dictionary (BEP 3) says, as it says it: typed, not yet safe and not yet added up.
//!
//! Every way to a metainfo (`.torrent`, JSON, `create`) leads through an [`Outline`]. It borrows its names and hashes
//! from the dictionary, or from whatever the dictionary is to be made of.

use super::{FileKind, MetainfoError, error::Problem, path::MAX_DEPTH};
use crate::bencode::{BencodeNode, Encoder, Items};

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
    pub content: OutlineContent<'a>,
    /// Where the links among the entries lead (BEP 47, `symlink path`): the entry's number and the parts of a path below
    /// the torrent's folder.
    pub links: Vec<(usize, Vec<&'a [u8]>)>,
}

/// One file, or a folder of files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutlineContent<'a> {
    /// Its length in bytes, and whether it may be run.
    File(u64, bool),
    Folder(Vec<OutlineEntry<'a>>),
}

/// One of the files in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutlineEntry<'a> {
    /// The names of the folders and of the file; any bytes, and sometimes none at all.
    pub path: Vec<&'a [u8]>,
    pub length: u64,
    pub kind: FileKind,
    /// Whether it may be run (BEP 47, `attr` with `x`).
    pub is_executable: bool,
}

impl<'a> Outline<'a> {
    /// Reads as leniently as libtorrent: the first of equal keys, in any order, and what has the wrong type is not
    /// there.
    pub fn read(info: BencodeNode<'a>) -> Result<Outline<'a>, MetainfoError> {
        let missing = |field: &str, kind| MetainfoError::field(format!("info.{field}"), Problem::Missing(kind));
        let bytes = |key: &str| info.get(key.as_bytes()).and_then(BencodeNode::as_bytes);
        if info.as_dict().is_none() {
            return Err(MetainfoError::field("info", Problem::Missing("a dictionary")));
        }
        let pieces = bytes("pieces");
        if pieces.is_none() && (info.get(b"meta version").is_some() || info.get(b"file tree").is_some()) {
            return Err(MetainfoError::V2Only);
        }
        let name = bytes("name.utf-8").or(bytes("name")).ok_or_else(|| missing("name", "a string"))?;
        let piece_length = info.get(b"piece length").and_then(BencodeNode::as_integer);
        let piece_length = piece_length.ok_or_else(|| missing("piece length", "an integer"))?;
        let mut links = Vec::new();
        let content = match info.get(b"files").and_then(BencodeNode::as_list) {
            Some(files) => OutlineContent::Folder(read_entries(files, &mut links)?),
            None => OutlineContent::File(read_length(info, "info")?, attributes(info).contains(&b'x')),
        };
        Ok(Outline {
            name,
            piece_length: not_negative("info.piece length", piece_length)?,
            pieces: pieces.ok_or_else(|| missing("pieces", "a string"))?,
            private: info.get(b"private").and_then(BencodeNode::as_integer).is_some_and(|flag| flag != 0),
            content,
            links,
        })
    }

    /// The dictionary that says just this but for links; byte for byte as mktorrent writes it, which knows of no
    /// attributes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|dict| {
            match &self.content {
                OutlineContent::File(length, is_executable) => {
                    if *is_executable {
                        dict.key("attr").bytes(b"x");
                    }
                    dict.key("length").integer(*length);
                }
                OutlineContent::Folder(entries) => dict.key("files").list(|list| {
                    for entry in entries {
                        list.dict(|file| {
                            if entry.is_executable {
                                file.key("attr").bytes(b"x");
                            }
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

    /// The files of a folder; none where there is no folder.
    pub fn entries(&self) -> &[OutlineEntry<'a>] {
        match &self.content {
            OutlineContent::File(..) => &[],
            OutlineContent::Folder(entries) => entries,
        }
    }
}

fn read_entries<'a>(
    files: Items<'a>,
    links: &mut Vec<(usize, Vec<&'a [u8]>)>,
) -> Result<Vec<OutlineEntry<'a>>, MetainfoError> {
    match files.clone().count() {
        0 => return Err(MetainfoError::NoFiles),
        count if count > MAX_FILES => return Err(MetainfoError::TooManyFiles(count)),
        _ => {}
    }
    let entries = files.enumerate().map(|(index, file)| {
        let entry = read_entry(index, file)?;
        if entry.kind == FileKind::Symlink
            && let Some(target) = read_target(file)
        {
            links.push((index, target));
        }
        Ok(entry)
    });
    entries.collect()
}

fn read_entry<'a>(index: usize, file: BencodeNode<'a>) -> Result<OutlineEntry<'a>, MetainfoError> {
    let field = |key: &str| format!("info.files[{index}].{key}");
    let attributes = attributes(file);
    let list = |key: &[u8]| file.get(key).and_then(BencodeNode::as_list);
    let path = match list(b"path.utf-8").or_else(|| list(b"path")) {
        Some(parts) => {
            let depth = parts.clone().count();
            if depth > MAX_DEPTH {
                return Err(MetainfoError::field(field("path"), Problem::TooDeep(depth)));
            }
            parts.map(BencodeNode::as_bytes).collect::<Option<Vec<_>>>()
        }
        None => attributes.contains(&b'p').then(Vec::new),
    };
    let path = path.ok_or_else(|| MetainfoError::field(field("path"), Problem::Missing("a list of strings")))?;
    // BitComet's pad files, older than BEP 47, are known by their name alone.
    let named_pad = path.last().is_some_and(|name| name.starts_with(b"_____padding_file_"));
    let kind = match attributes {
        _ if attributes.contains(&b'l') => FileKind::Symlink,
        _ if attributes.contains(&b'p') || named_pad => FileKind::Pad,
        _ => FileKind::Normal,
    };
    let length = if kind == FileKind::Symlink { 0 } else { read_length(file, &format!("info.files[{index}]"))? };
    let is_executable = kind == FileKind::Normal && attributes.contains(&b'x');
    Ok(OutlineEntry { path, length, kind, is_executable })
}

/// What BEP 47 calls the attributes of a file: one letter each.
fn attributes<'a>(file: BencodeNode<'a>) -> &'a [u8] {
    file.get(b"attr").and_then(BencodeNode::as_bytes).unwrap_or_default()
}

/// Where a link leads, if that is a path.
fn read_target<'a>(file: BencodeNode<'a>) -> Option<Vec<&'a [u8]>> {
    let parts = file.get(b"symlink path").and_then(BencodeNode::as_list)?;
    if parts.clone().count() > MAX_DEPTH { None } else { parts.map(BencodeNode::as_bytes).collect() }
}

fn read_length(dict: BencodeNode<'_>, field: &str) -> Result<u64, MetainfoError> {
    let field = format!("{field}.length");
    match dict.get(b"length").and_then(BencodeNode::as_integer) {
        Some(length) => not_negative(&field, length),
        None => Err(MetainfoError::field(field, Problem::Missing("an integer"))),
    }
}

fn not_negative(field: &str, number: i64) -> Result<u64, MetainfoError> {
    u64::try_from(number).map_err(|_| MetainfoError::field(field, Problem::OutOfRange(number.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::decode;

    const HASH: &str = "HHHHHHHHHHHHHHHHHHHH";

    #[test]
    fn a_folder_encodes_to_the_bytes_that_bep_3_asks_for() {
        let entry = |path, length| OutlineEntry { path, length, kind: FileKind::Normal, is_executable: length == 3 };
        let outline = Outline {
            name: b"t",
            piece_length: 16_384,
            pieces: HASH.as_bytes(),
            private: true,
            content: OutlineContent::Folder(vec![entry(vec![b"sub", b"x.txt"], 3), entry(vec![b"empty"], 0)]),
            links: Vec::new(),
        };
        let raw = outline.encode();
        let want = format!(
            "d5:filesld4:attr1:x6:lengthi3e4:pathl3:sub5:x.txteed6:lengthi0e4:pathl5:emptyeee\
             4:name1:t12:piece lengthi16384e6:pieces20:{HASH}7:privatei1ee"
        );
        assert_eq!(raw.escape_ascii().to_string(), want);
        assert_eq!(Outline::read(decode(&raw).unwrap()).unwrap(), outline);
    }
}
