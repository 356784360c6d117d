//! Routing: which torrent of this process a peer asks about.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{metainfo::InfoHash, peer::Share};

/// The torrents of this process, by info hash.
#[derive(Debug, Default)]
pub struct Registry {
    shares: RwLock<HashMap<InfoHash, Arc<Share>>>,
}

impl Registry {
    /// Peers that ask about this torrent are let in from now on; false when it is there already.
    pub fn add(&self, share: Arc<Share>) -> bool {
        let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
        let hash = share.metainfo.info_hash();
        let new = !shares.contains_key(&hash);
        shares.entry(hash).or_insert(share);
        new
    }

    /// Nobody is let in to this torrent any more; false when nobody was.
    pub fn remove(&self, hash: InfoHash) -> bool {
        self.shares.write().unwrap_or_else(PoisonError::into_inner).remove(&hash).is_some()
    }

    /// The torrent of that info hash.
    pub fn find(&self, hash: InfoHash) -> Option<Arc<Share>> {
        self.shares.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }
}
