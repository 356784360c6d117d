//! Routing: which torrent of this process a peer asks about.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    metainfo::InfoHash,
    session::{SharedTorrent, Wanted},
    wire::mse,
};

/// The torrents of this process, by info hash.
#[derive(Debug, Default)]
pub struct TorrentRegistry {
    torrents: RwLock<Torrents>,
}

#[derive(Debug, Default)]
struct Torrents {
    shares: HashMap<InfoHash, Arc<SharedTorrent>>,
    /// How encrypted handshakes name them.
    by_request: HashMap<[u8; 20], InfoHash>,
}

impl TorrentRegistry {
    /// Peers that ask about this torrent are let in from now on; false when it is there already.
    pub fn add(&self, share: Arc<SharedTorrent>) -> bool {
        let mut torrents = self.torrents.write().unwrap_or_else(PoisonError::into_inner);
        let hash = share.metainfo.info_hash();
        let new = !torrents.shares.contains_key(&hash);
        torrents.shares.entry(hash).or_insert(share);
        torrents.by_request.insert(mse::request_hash(hash), hash);
        new
    }

    /// Nobody is let in to this torrent any more; false when nobody was.
    pub fn remove(&self, hash: InfoHash) -> bool {
        let mut torrents = self.torrents.write().unwrap_or_else(PoisonError::into_inner);
        torrents.by_request.remove(&mse::request_hash(hash));
        torrents.shares.remove(&hash).is_some()
    }

    /// The same where it is still shared as it is here; another one may have come in its place, with files that were mended.
    pub fn withdraw(&self, share: &Arc<SharedTorrent>) -> bool {
        let hash = share.metainfo.info_hash();
        let mut torrents = self.torrents.write().unwrap_or_else(PoisonError::into_inner);
        let is_here = torrents.shares.get(&hash).is_some_and(|here| Arc::ptr_eq(here, share));
        if is_here {
            torrents.by_request.remove(&mse::request_hash(hash));
            torrents.shares.remove(&hash);
        }
        is_here
    }

    /// The torrent of that info hash.
    pub fn find(&self, hash: InfoHash) -> Option<Arc<SharedTorrent>> {
        self.wanted(Wanted::InfoHash(hash))
    }

    /// The torrent that a handshake is about; one look-up, however many there are.
    pub fn wanted(&self, wanted: Wanted) -> Option<Arc<SharedTorrent>> {
        let torrents = self.torrents.read().unwrap_or_else(PoisonError::into_inner);
        let hash = match wanted {
            Wanted::InfoHash(hash) => hash,
            Wanted::RequestHash(request) => *torrents.by_request.get(&request)?,
        };
        torrents.shares.get(&hash).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Torrent;

    #[test]
    fn what_is_found_out_about_files_that_were_mended_since_withdraws_nothing() {
        let (registry, before, mended) = (TorrentRegistry::default(), Torrent::all_of(1), Torrent::all_of(1));
        let hash = before.share.metainfo.info_hash();
        registry.add(before.share.clone());
        assert!(registry.withdraw(&before.share) && registry.find(hash).is_none());
        registry.add(mended.share.clone());
        assert!(!registry.withdraw(&before.share));
        let request = Wanted::RequestHash(mse::request_hash(hash));
        assert!(registry.wanted(request).is_some_and(|here| Arc::ptr_eq(&here, &mended.share)));
    }
}
