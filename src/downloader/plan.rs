//! What a fetch is made of.

use std::sync::Arc;

use crate::{
    announce::Announcer, bitfield::Bitfield, policy::FetchSettings, seeder::TorrentRegistry, session::LocalPeer,
    status::report::Board, storage::Ledger,
};

/// What a fetch is made of.
pub struct FetchPlan {
    /// Who we are.
    pub host: Arc<LocalPeer>,
    /// Where pieces go; its store is open for writing.
    pub ledger: Arc<Ledger>,
    /// The pieces that are there already.
    pub have: Bitfield,
    /// Where it shows how it goes; the torrent is on it already.
    pub board: Arc<Board>,
    /// What lets peers in to it, and who announces it: until its files are found to be changed.
    pub registry: Arc<TorrentRegistry>,
    /// See there.
    pub announcer: Announcer,
    /// Limits.
    pub settings: FetchSettings,
    /// Hash workers; one a core.
    pub hash_workers: usize,
    /// Where chance begins.
    pub seed: u64,
}
