//! What may be wanted of a node while it runs.

use std::{path::PathBuf, sync::Arc};

use crate::metainfo::{InfoHash, Metainfo};

/// What the page, or a person, wants done. Where it cannot be done the answer is a sentence.
#[derive(Debug)]
pub enum NodeOrder {
    /// Seed a file that was uploaded.
    Seed {
        /// What it is.
        metainfo: Arc<Metainfo>,
        /// Where it lies.
        file: PathBuf,
        /// The port that it is to be announced at, from 1024 to 65535; the seeder's own when there is none. Where it cannot
        /// be had, the file is to be seeded at the seeder's own all the same, and the sentence says so.
        port: Option<u16>,
    },
    /// Fetch a torrent to this machine, and give it after.
    Fetch {
        /// What it is.
        metainfo: Arc<Metainfo>,
    },
    /// Stop taking and giving, until [`NodeOrder::Resume`].
    Pause(InfoHash),
    /// Go on.
    Resume(InfoHash),
    /// Stop for good, and forget. What lies on the disk stays; an upload's file is removed by whoever ordered this.
    Remove(InfoHash),
    /// Bound what transfers may use, from now on.
    Limit {
        /// Which torrent; all of them together, where none is named.
        torrent: Option<InfoHash>,
        /// Bytes a second to give, 0 for no limit; as it was, where nothing is said.
        upload: Option<u64>,
        /// The same to take.
        download: Option<u64>,
    },
}

/// Carries out an order. Called on a transfer thread or a handler, by several at once. An error is a sentence for a person.
pub type CarryOut = Box<dyn Fn(NodeOrder) -> Result<(), String> + Send + Sync>;
