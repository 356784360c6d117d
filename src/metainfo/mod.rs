//! WHAT is shared: one validated form of a metainfo, and the two forms it is read from and written to (BEP 3).
//!
//! A [`Metainfo`] never changes and is always whole: its piece hashes fit its length, its paths stay in their folder
//! and differ, its info hash is that of the bytes it was read from. Those bytes are kept as they came, so that reading
//! either form and writing the other loses nothing. Who opens a torrent's files need not check a name again.
//!
//! Pure but for [`create`], which reads the files that are to be shared.

pub mod create;
mod describe;
mod error;
pub mod geometry;
mod hasher;
pub mod id;
mod info;
mod json;
mod outer;
mod outline;
pub mod path;
mod torrent;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use error::{Error, Problem};
pub use geometry::{BLOCK_LENGTH, Block, Geometry, PieceIndex};
pub use hasher::{Hashes, PieceHasher};
pub use id::{InfoHash, PeerId};
pub use outline::MAX_FILES;

use crate::text::escape;

/// The most bytes of a metainfo, in either form, that a caller should read before it gives up. It holds the largest
/// `.torrent` that loads, 160 MiB of piece hashes, and some 3 million pieces in JSON.
pub const MAX_METAINFO_LENGTH: u64 = 256 * 1024 * 1024;

/// What describes a torrent, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Metainfo {
    info: info::Info,
    outer: outer::Outer,
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative and safe to open below any folder; in a torrent of several files it begins with the torrent's name.
    /// No two files that are not pads share it.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Where in the torrent it begins, in bytes.
    pub offset: u64,
    /// What it is for.
    pub kind: FileKind,
}

/// What a file is for (BEP 47, "Attributes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// To be read and written.
    Normal,
    /// Zeros that align the next file to a piece; never written.
    Pad,
    /// A link, which is never created; its length is 0.
    Symlink,
}

impl Metainfo {
    /// Reads either form, told apart by the first byte that is no white space.
    pub fn read(bytes: &[u8]) -> Result<Metainfo, Error> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match bytes.first() {
            Some(b'{') => json::read(bytes),
            Some(b'd') => torrent::read(bytes),
            _ => Err(Error::UnknownForm),
        }
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        json::write(self)
    }

    /// The `.torrent` form.
    pub fn to_torrent(&self) -> Vec<u8> {
        torrent::write(self)
    }

    /// A text for people about all of it, safe to print on a terminal.
    pub fn describe(&self) -> String {
        describe::describe(self)
    }

    /// Names the torrent among peers.
    pub fn info_hash(&self) -> InfoHash {
        self.info.hash
    }

    /// The info dictionary that the info hash is made of, as it came.
    pub fn info_bytes(&self) -> &[u8] {
        &self.info.raw
    }

    /// The name of the file or of the folder around the files, safe as one part of a path.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// A sentence about the name, where it is not the one that the torrent asks for.
    pub fn renaming(&self) -> Option<String> {
        let (asked, name) = (self.info.asked_name.as_deref()?, self.name());
        Some(format!("the torrent is named {}, which is not safe as a name here; it is saved as {name}", escape(asked)))
    }

    /// How the bytes are cut into pieces.
    pub fn geometry(&self) -> &Geometry {
        &self.info.geometry
    }

    /// Bytes in the torrent; at least 1.
    pub fn length(&self) -> u64 {
        self.info.geometry.length()
    }

    /// The SHA-1 that the piece must have.
    pub fn piece_hash(&self, piece: PieceIndex) -> &[u8; 20] {
        let (hashes, _) = self.info.raw[self.info.pieces.clone()].as_chunks();
        &hashes[piece.as_usize()]
    }

    /// All files in the order of their bytes, pads and links among them.
    pub fn files(&self) -> &[File] {
        &self.info.files
    }

    /// The path of file number `index` as the torrent spells it, where [`File::path`] departs from it and yet a disk
    /// here could hold it. For finding data that already lies under that name; nothing new should be given it.
    pub fn spelled_path(&self, index: usize) -> Option<&Path> {
        let at = self.info.spelled.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(&self.info.spelled[at].1)
    }

    /// Whether it is one file and no folder.
    pub fn is_single_file(&self) -> bool {
        self.info.is_single_file
    }

    /// URLs to announce to, in tiers (BEP 12); of any scheme, as they came.
    pub fn trackers(&self) -> &[Vec<String>] {
        self.outer.trackers.tiers()
    }

    /// The same torrent with other trackers.
    pub fn with_trackers(mut self, tiers: Vec<Vec<String>>) -> Metainfo {
        self.outer = self.outer.with_trackers(outer::Trackers::new(None, tiers));
        self
    }

    /// URLs of HTTP servers that have the files (BEP 19).
    pub fn web_seeds(&self) -> &[String] {
        &self.outer.web_seeds
    }

    /// Whether peers may come from its trackers alone (BEP 27).
    pub fn is_private(&self) -> bool {
        self.info.private
    }

    /// What its maker had to say.
    pub fn comment(&self) -> Option<&str> {
        self.outer.comment.as_deref()
    }

    /// The program that made it.
    pub fn created_by(&self) -> Option<&str> {
        self.outer.created_by.as_deref()
    }

    /// When it was made, in seconds since 1970.
    pub fn creation_date(&self) -> Option<i64> {
        self.outer.creation_date
    }
}

impl fmt::Debug for Metainfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metainfo({} {:?})", self.info.hash, self.info.name)
    }
}
