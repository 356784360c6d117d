//! What the list of files says about each: plain values, as they are kept in the state file.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{metainfo::InfoHash, quota::Origin};

/// One line of the list. Its name is that of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryEntry {
    /// Names the torrent.
    #[serde(with = "hex")]
    pub info_hash: InfoHash,
    /// Bytes of content.
    pub length: u64,
    /// Bytes of a piece; 0 in lists of older versions, until it is read from the metainfo.
    #[serde(default)]
    pub piece_length: u32,
    /// Where the content is.
    pub origin: FileOrigin,
}

/// Where the content of an [`LibraryEntry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOrigin {
    /// Here, in `uploads/`.
    Upload {
        /// The seeder's port that the upload asked for.
        port: Option<u16>,
        /// The file as it was when it was known to be whole and on disk.
        stamp: Option<UploadStamp>,
        /// Where it came from, unless that was somebody whose share is not bounded.
        #[serde(default)]
        by: Option<Origin>,
    },
    /// With others.
    Registered {
        /// Bytes that both forms of the metainfo take on disk.
        bytes: u64,
        /// When somebody was last in its swarm, in seconds since 1970. A restart counts: until then nobody could announce.
        #[serde(skip, default = "now_seconds")]
        seen: u64,
        /// Where it was registered from, unless that was somebody whose share is not bounded.
        #[serde(default)]
        by: Option<Origin>,
    },
}

/// Size and time of change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStamp {
    length: u64,
    seconds: u64,
    nanoseconds: u32,
}

impl LibraryEntry {
    /// Whether the content is here.
    pub fn is_upload(&self) -> bool {
        matches!(self.origin, FileOrigin::Upload { .. })
    }
}

impl UploadStamp {
    /// Of a file as it is now; nothing where the system tells no time.
    pub fn of(file: &fs::Metadata) -> Option<UploadStamp> {
        let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(UploadStamp { length: file.len(), seconds: modified.as_secs(), nanoseconds: modified.subsec_nanos() })
    }
}

/// Seconds since 1970.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An info hash as hex digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::metainfo::InfoHash;

    pub fn serialize<S: Serializer>(hash: &InfoHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InfoHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
