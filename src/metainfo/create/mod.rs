//! From a file or a folder to its metainfo; the info dictionary is, byte for byte, the one that mktorrent 1.1 makes.
//!
//! As there, files come in the order of their paths' bytes, hidden ones included; links are followed, and what is neither
//! file nor folder is left out. Unlike there, a file that cannot be read or that changes meanwhile is an error.

mod hash;
mod walk;

use std::{
    collections::BTreeMap,
    fmt, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use self::walk::Found;
use super::{
    Error as MetainfoError, Geometry, Hashes, Metainfo,
    info::{Content, Info, Outline},
    outer::{Outer, Trackers},
    path,
};
use crate::bencode;

/// Bytes in a piece unless told otherwise.
pub const DEFAULT_PIECE_LENGTH: u32 = 256 * 1024;

/// What a metainfo shall say beyond its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes in every piece but the last.
    pub piece_length: u32,
    /// URLs to announce to, in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Whether peers may come from the trackers alone (BEP 27).
    pub private: bool,
    /// Anything for people to read.
    pub comment: Option<String>,
    /// The name, where it shall not be that of the file or folder.
    pub name: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// Why a file or folder did not become a metainfo.
#[derive(Debug)]
pub enum Error {
    /// A path that cannot be read.
    Io(PathBuf, io::Error),
    /// A file that had another length or time of change afterwards.
    Changed(PathBuf),
    /// A link to a folder around it.
    Loop(PathBuf),
    /// Neither a file nor a folder.
    NotAFile(PathBuf),
    /// A name that is no name of a file.
    BadName(String),
    /// What was found makes no torrent.
    Metainfo(MetainfoError),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            piece_length: DEFAULT_PIECE_LENGTH,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            private: false,
            comment: None,
            name: None,
            creation_date: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(path, error) => write!(f, "{path:?} cannot be read: {error}"),
            Error::Changed(path) => write!(f, "{path:?} changed while it was read; try again when it is at rest"),
            Error::Loop(path) => write!(f, "{path:?} links to a folder that it lies in"),
            Error::NotAFile(path) => write!(f, "{path:?} is neither a file nor a folder"),
            Error::BadName(name) => write!(f, "{name:?} is no name for a file or folder"),
            Error::Metainfo(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for Error {}

impl From<MetainfoError> for Error {
    fn from(error: MetainfoError) -> Error {
        Error::Metainfo(error)
    }
}

/// Hashes the file, or all files in the folder, on every core. `progress` is told on the calling thread how many bytes are
/// hashed so far; the last time, all of them.
pub fn create(path: &Path, options: &Options, progress: &dyn Fn(u64)) -> Result<Metainfo, Error> {
    let name = match &options.name {
        Some(name) => name.as_bytes().to_vec(),
        None => own_name(path)?,
    };
    if !path::is_possible(&name) {
        return Err(Error::BadName(String::from_utf8_lossy(&name).into_owned()));
    }
    let found = walk::walk(path)?;
    let length = found.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.length));
    let length = length.ok_or(MetainfoError::LengthOverflow)?;
    let geometry = Geometry::new(length, options.piece_length.into()).map_err(MetainfoError::Geometry)?;
    let pieces = hash::hash(&found, &geometry, progress)?;
    let is_folder = found.iter().any(|file| !file.parts.is_empty());
    let content =
        if is_folder { Content::Folder(found.iter().map(Found::entry).collect()) } else { Content::File(length) };
    Ok(assemble(&name, content, &pieces, options)?)
}

impl Metainfo {
    /// The metainfo of one file whose bytes were hashed elsewhere; `name` counts where `options` has none, and the piece
    /// length is that of the hashes.
    pub fn from_hashes(name: &str, hashes: &Hashes, options: &Options) -> Result<Metainfo, MetainfoError> {
        let name = options.name.as_deref().unwrap_or(name);
        let options = Options { piece_length: hashes.piece_length, ..options.clone() };
        assemble(name.as_bytes(), Content::File(hashes.length), &hashes.pieces, &options)
    }
}

fn assemble(name: &[u8], content: Content<'_>, pieces: &[u8], options: &Options) -> Result<Metainfo, MetainfoError> {
    let piece_length = options.piece_length.into();
    let raw = Outline { name, piece_length, pieces, private: options.private, content }.encode();
    let outer = Outer {
        trackers: Trackers::new(None, options.trackers.clone()),
        web_seeds: options.web_seeds.clone(),
        comment: options.comment.clone(),
        created_by: Some(concat!("minitorrent ", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: options.creation_date,
        extra: BTreeMap::new(),
    };
    Ok(Metainfo { info: Info::read(&bencode::decode(&raw)?)?, outer })
}

/// The last part of a path; that of the folder it means, for `.` and the like.
fn own_name(path: &Path) -> Result<Vec<u8>, Error> {
    let absolute = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().map_err(|error| Error::Io(path.to_owned(), error))?,
    };
    let name = absolute.file_name().ok_or_else(|| Error::BadName(path.display().to_string()))?;
    Ok(name.as_bytes().to_vec())
}
