//! WHAT is shared: one validated form of a metainfo, and the two forms it is read from and written to (BEP 3).
//!
//! A [`Metainfo`] never changes and is always whole: its piece hashes fit its length, its paths stay in their folder
//! and differ, its info hash is that of the bytes it was read from. Those bytes are kept as they came, so that reading
//! either form and writing the other loses nothing. Who opens a torrent's files need not check a name again.
//!
//! Pure but for [`create`], which reads the files that are to be shared.

pub mod announced;
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
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{bencode, text::escape};

pub use error::{MetainfoError, Problem};
pub use geometry::{BLOCK_LENGTH, Block, Geometry, PieceIndex};
pub use hasher::{Hashes, PieceHasher};
pub use id::{InfoHash, PeerId};
pub use outline::MAX_FILES;

/// How large a metainfo may be. Both are counted on its bytes, before anything is built of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of either form.
    pub bytes: u64,
    /// Values in it: texts, numbers, lists, dictionaries, and the parts of a path. What is built of one takes a few dozen
    /// bytes, where it may cost two on the wire.
    pub values: usize,
}

impl Limits {
    /// For whoever owns this machine. It holds the largest `.torrent` that loads, 160 MiB of piece hashes, some 3 million
    /// pieces in JSON, and [`MAX_FILES`].
    pub const OWNER: Limits = Limits { bytes: 256 * 1024 * 1024, values: bencode::MAX_NODES };

    /// For anybody else: 100,000 pieces (25 GiB in pieces of 256 KiB), or 19,000 files in folders. To read it and to write it takes
    /// at most 30 MiB of memory.
    pub const STRANGER: Limits = Limits { bytes: 2 * 1024 * 1024, values: 100_000 };

    /// For so many bytes, and as many values as a stranger's would have.
    pub fn of_bytes(bytes: u64) -> Limits {
        let values = bytes.saturating_mul(Limits::STRANGER.values as u64) / Limits::STRANGER.bytes;
        Limits { bytes, values: usize::try_from(values).unwrap_or(usize::MAX).min(Limits::OWNER.values) }
    }
}

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
    /// Whether it may be run.
    pub is_executable: bool,
}

/// What a file is for (BEP 47, "Attributes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// To be read and written.
    Normal,
    /// Zeros that align the next file to a piece; never written.
    Pad,
    /// A link, of which [`Metainfo::link_target`] says where it leads; its length is 0.
    Symlink,
}

impl Metainfo {
    /// Reads either form of the owner's, told apart by the first byte that is no white space.
    pub fn read(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        Metainfo::read_within(bytes, &Limits::OWNER)
    }

    /// Reads either form, unless it is larger than that.
    pub fn read_within(bytes: &[u8], limits: &Limits) -> Result<Metainfo, MetainfoError> {
        if bytes.len() as u64 > limits.bytes {
            return Err(MetainfoError::TooLong(limits.bytes));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match bytes.first() {
            Some(b'{') => json::read(bytes, limits),
            Some(b'd') => torrent::read(bytes, limits),
            _ => Err(MetainfoError::UnknownForm),
        }
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write_json(&mut json).expect("a buffer takes all that is written");
        json
    }

    /// Writes the JSON form, piece by piece: where names are full of what JSON escapes it takes six times their bytes.
    pub fn write_json(&self, out: impl io::Write) -> io::Result<()> {
        json::write(self, out)
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

    /// Where file number `index` leads if it is a link, as the link itself has to say it: relative to the folder that it
    /// lies in. Nothing for a link that would lead out of the torrent's folder, to nothing, or to a folder around it.
    pub fn link_target(&self, index: usize) -> Option<&Path> {
        let at = self.info.links.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(&self.info.links[at].1)
    }

    /// The files whose paths are not those that the torrent asks for, since no disk here could hold them or they are not
    /// safe: the path that is asked for, below the name, and the one that is taken.
    pub fn renamed_files(&self) -> Vec<(String, &Path)> {
        self.info.renamed_files()
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

    /// Whether these are the hashes of its pieces.
    pub fn has_hashes(&self, hashes: &Hashes) -> bool {
        let geometry = self.geometry();
        (hashes.length, hashes.piece_length) == (geometry.length(), geometry.piece_length())
            && hashes.pieces == self.info.raw[self.info.pieces.clone()]
    }

    /// All files in the order of their bytes, pads and links among them.
    pub fn files(&self) -> &[File] {
        &self.info.files
    }

    /// The path of file number `index` as the torrent spells it, where [`File::path`] departs from it and yet a disk
    /// here could hold it. For finding data that already lies under that name; nothing new should be given it.
    pub fn spelled_path(&self, index: usize) -> Option<PathBuf> {
        self.info.spelled_path(index)
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

    /// The same torrent, with these trackers to be asked first, one after the other.
    pub fn announced_first(mut self, first: &[String]) -> Metainfo {
        let trackers = std::mem::take(&mut self.outer.trackers);
        self.outer = self.outer.with_trackers(trackers.after(first));
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
