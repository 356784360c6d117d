//! A `.torrent` made without the code under test's own `create`, so that a mistake there cannot agree with itself.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use minitorrent::bencode::Encoder;
use sha1::{Digest, Sha1};

use super::content::Content;

/// The pieces of every torrent here, unless a test is about another length: 256 KiB.
pub const PIECE_LENGTH: u32 = 256 * 1024;

/// A `.torrent` on disk.
#[derive(Debug, Clone)]
pub struct Torrent {
    pub path: PathBuf,
    pub info_hash: [u8; 20],
    pub piece_length: u32,
    pub content: Content,
}

impl Torrent {
    /// Writes `PATH` for `content`, naming these trackers: the first as `announce`, and each as a tier of its own.
    pub fn write(path: &Path, content: &Content, piece_length: u32, trackers: &[String]) -> Torrent {
        let info = info(content, piece_length);
        let mut out = Encoder::new();
        out.dict(|dict| {
            if let Some(first) = trackers.first() {
                dict.key("announce").bytes(first);
                dict.key("announce-list")
                    .list(|tiers| trackers.iter().for_each(|url| tiers.list(|tier| tier.bytes(url))));
            }
            dict.key("info").raw(&info);
        });
        fs::write(path, out.finish()).unwrap();
        Torrent { path: path.to_owned(), info_hash: Sha1::digest(&info).into(), piece_length, content: content.clone() }
    }

    /// How many pieces it has.
    pub fn pieces(&self) -> u32 {
        self.content.length().div_ceil(self.piece_length.into()) as u32
    }

    /// The info hash in 40 hex digits.
    pub fn info_hash_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.info_hash)
    }
}

fn info(content: &Content, piece_length: u32) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|info| {
        if content.is_folder() {
            info.key("files").list(|files| {
                for (path, length) in &content.files {
                    files.dict(|file| {
                        file.key("length").integer(*length);
                        let components = path.components().skip(1);
                        file.key("path")
                            .list(|list| components.for_each(|part| list.bytes(part.as_os_str().as_encoded_bytes())));
                    });
                }
            });
        } else {
            info.key("length").integer(content.length());
        }
        info.key("name").bytes(&content.name);
        info.key("piece length").integer(piece_length);
        info.key("pieces").bytes(piece_hashes(content, piece_length));
    });
    out.finish()
}

fn piece_hashes(content: &Content, piece_length: u32) -> Vec<u8> {
    let mut hashes = Vec::new();
    let mut reader = content.reader();
    loop {
        let mut piece = Vec::new();
        reader.by_ref().take(piece_length.into()).read_to_end(&mut piece).unwrap();
        if piece.is_empty() {
            return hashes;
        }
        hashes.extend_from_slice(&Sha1::digest(&piece));
    }
}
