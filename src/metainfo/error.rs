//! Why bytes are no metainfo, in sentences that name the field as its form spells it.

use std::fmt;

use super::{InfoHash, geometry, outline::MAX_FILES, path::MAX_DEPTH};
use crate::{bencode, text::excerpt};

/// How much of a metainfo a message repeats at most, in bytes.
const MAX_QUOTE: usize = 400;

/// Why bytes are no metainfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetainfoError {
    /// Neither bencode nor JSON, by its first byte.
    UnknownForm,
    /// It begins like a `.torrent` and is no bencode.
    Bencode(bencode::BencodeError),
    /// It begins like JSON and is none, or a field has the wrong type; the text says where.
    Json(String),
    /// More than so many bytes.
    TooLong(u64),
    /// More than so many values, which were counted before any was read.
    TooManyValues(usize),
    /// Something about one field.
    Field {
        /// The field, such as `info.files[3].length`.
        field: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Only BitTorrent v2 describes the content (BEP 52).
    V2Only,
    /// An empty list of files.
    NoFiles,
    /// More than [`MAX_FILES`].
    TooManyFiles(usize),
    /// The lengths add up to more than 64 bits hold.
    LengthOverflow,
    /// Piece hashes that do not fit the length.
    PieceCount {
        /// Bytes of hashes that are there.
        got: usize,
        /// Hashes of 20 bytes that are needed.
        want: u32,
    },
    /// The info hash that is stated is not that of the content.
    InfoHash {
        /// As stated.
        stated: String,
        /// As computed.
        actual: InfoHash,
    },
    /// A readable JSON field says something else than the raw info dictionary beside it.
    Disagrees(&'static str),
    /// The length and the piece length make no torrent.
    Geometry(geometry::GeometryError),
}

/// What can be wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not there, or is of another type than this.
    Missing(&'static str),
    /// A number below zero or beyond what bencode's readers hold.
    OutOfRange(i128),
    /// A length beside files that add up to this.
    NotTheSum(u64),
    /// A path that could leave the folder it is meant for.
    UnsafePath(String),
    /// More than [`MAX_DEPTH`] folders.
    TooDeep(usize),
    /// Text that is no base64 of a bencoded dictionary.
    NotADictionary,
}

impl MetainfoError {
    pub(super) fn field(field: impl Into<String>, problem: Problem) -> MetainfoError {
        MetainfoError::Field { field: field.into(), problem }
    }
}

/// What a metainfo says, fit to be repeated in a message.
pub(super) fn quoted(text: &str) -> String {
    excerpt(text, MAX_QUOTE).into_owned()
}

impl fmt::Display for MetainfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetainfoError::UnknownForm => f.write_str("neither a .torrent nor a JSON metainfo"),
            MetainfoError::Bencode(error) => write!(f, "no .torrent: {error}"),
            MetainfoError::Json(error) => write!(f, "no JSON metainfo: {error}"),
            MetainfoError::TooLong(limit) => {
                write!(f, "longer than the {limit} bytes that are taken at most; larger pieces make it shorter")
            }
            MetainfoError::TooManyValues(limit) => {
                write!(f, "of more than the {limit} values that are taken at most; fewer files make it smaller")
            }
            MetainfoError::Field { field, problem } => write!(f, "`{field}` {problem}"),
            MetainfoError::V2Only => f.write_str(
                "a torrent of BitTorrent v2 only (`info.pieces` is missing); version 1 and hybrids can be loaded",
            ),
            MetainfoError::NoFiles => f.write_str("`files` is empty; a torrent without a file has nothing to share"),
            MetainfoError::TooManyFiles(got) => write!(f, "`files` lists {got} files; at most {MAX_FILES} are allowed"),
            MetainfoError::LengthOverflow => f.write_str("the `length` of all files together is beyond 64 bits"),
            MetainfoError::PieceCount { got, want } => {
                let needed = u64::from(*want) * 20;
                write!(f, "`pieces` holds {got} bytes of hashes; {want} pieces of 20 bytes, {needed}, are needed")
            }
            MetainfoError::InfoHash { stated, actual } => {
                write!(f, "`info_hash` is \"{}\", but that of the content is {actual}", stated.escape_debug())
            }
            MetainfoError::Disagrees(field) => write!(f, "`{field}` disagrees with the raw dictionary in `info`"),
            MetainfoError::Geometry(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing(kind) => write!(f, "is missing or is not {kind}"),
            Problem::OutOfRange(number) => write!(f, "is {number}; it must be from 0 to {}", i64::MAX),
            Problem::NotTheSum(sum) => write!(f, "is not the sum of the `files`, {sum}"),
            Problem::UnsafePath(path) => {
                write!(f, "is \"{}\", which could leave the folder or name nothing", path.escape_debug())
            }
            Problem::TooDeep(got) => write!(f, "has {got} parts; at most {MAX_DEPTH} are allowed"),
            Problem::NotADictionary => f.write_str("is not the base64 of one bencoded dictionary"),
        }
    }
}

impl std::error::Error for MetainfoError {}

impl From<bencode::BencodeError> for MetainfoError {
    fn from(error: bencode::BencodeError) -> MetainfoError {
        match error.kind {
            bencode::ErrorKind::TooMany(limit) => MetainfoError::TooManyValues(limit),
            _ => MetainfoError::Bencode(error),
        }
    }
}

impl From<geometry::GeometryError> for MetainfoError {
    fn from(error: geometry::GeometryError) -> MetainfoError {
        MetainfoError::Geometry(error)
    }
}
