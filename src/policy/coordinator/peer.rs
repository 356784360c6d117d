//! A peer as the coordinator sees it: what it has, and how it is doing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{bitfield::Bitfield, metainfo::PieceIndex, policy::Remote};

/// Everything about one peer that decisions go by.
#[derive(Debug)]
pub(super) struct FetchPeer {
    pub(super) remote: Arc<Remote>,
    pub(super) theirs: Bitfield,
    pub(super) choked: bool,
    pub(super) interesting: bool,
    pub(super) bytes_wanted: u64,
    pub(super) time_left: Option<Duration>,
    pub(super) rate: Option<f64>,
    pub(super) waited: Duration,
    pub(super) spare: Option<PieceIndex>,
    pub(super) snubbed_until: Option<Instant>,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// Whether blocks have passed, in either direction.
    pub(super) was_of_use: bool,
    /// When some did last, or the session opened.
    pub(super) moved: Instant,
    /// Whether a piece that was assigned to it has proved right.
    pub(super) proven: bool,
}

impl FetchPeer {
    /// Whether it answers requests, as far as we know.
    pub(super) fn can_upload(&self, now: Instant) -> bool {
        !self.choked && !self.is_snubbed(now)
    }

    pub(super) fn is_snubbed(&self, now: Instant) -> bool {
        self.snubbed_until.is_some_and(|until| until > now)
    }

    /// So many bytes of blocks have passed in all.
    pub(super) fn moved(&mut self, downloaded: u64, uploaded: u64, now: Instant) {
        if downloaded > self.downloaded {
            self.snubbed_until = None;
        }
        if downloaded > self.downloaded || uploaded > self.uploaded {
            (self.moved, self.was_of_use) = (now, true);
        }
        (self.downloaded, self.uploaded) = (downloaded, uploaded);
    }

    pub(super) fn new(remote: Arc<Remote>, theirs: Bitfield, now: Instant) -> FetchPeer {
        FetchPeer {
            remote,
            theirs,
            choked: true,
            interesting: false,
            bytes_wanted: 0,
            time_left: None,
            rate: None,
            waited: Duration::ZERO,
            spare: None,
            snubbed_until: None,
            downloaded: 0,
            uploaded: 0,
            was_of_use: false,
            moved: now,
            proven: false,
        }
    }
}
