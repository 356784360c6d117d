//! What the page shows, for programs: plain values, and the answers that carry them.
//!
//! [`state`] composes them from the library, the board, and the model in [`live`](super::live). A page is
//! made of the same values as the JSON, so neither can show what the other does not.

mod metrics;
pub mod state;

#[cfg(test)]
mod tests;

use super::{Site, failure::HttpFailure, views};
use crate::{
    http::{Reply, Request},
    metainfo::InfoHash,
    status::report::TransferKind,
};

pub use super::live::{Doing, PieceMap, Row};
pub use metrics::metrics;
pub use state::{FileView, Here, PageState, PastRound, SharedFile, Viewer};

/// `/api/state`.
pub fn state(site: &Site, viewer: &Viewer) -> Reply {
    json(&PageState::of(site, viewer))
}

/// `/api/files/HASH`.
pub fn file(site: &Site, viewer: &Viewer, hash: &str) -> Result<Reply, HttpFailure> {
    Ok(json(&view(site, viewer, hash)?))
}

/// `/api/files/HASH/piece?index=NUMBER`.
pub fn piece(site: &Site, request: &Request<'_>, hash: &str) -> Result<Reply, HttpFailure> {
    let index = request.query().split('&').find_map(|pair| pair.strip_prefix("index=")?.parse().ok());
    let index = index.ok_or_else(|| HttpFailure::new(400, "index is the number of a piece, from 0"))?;
    let found = hash.parse().ok().and_then(|hash| state::piece(site, hash, index));
    let found = found.ok_or_else(|| HttpFailure::new(404, "there is no such piece of a file on this page"))?;
    Ok(json(&found))
}

/// Which way a piece went, as programs are told.
pub fn way(way: TransferKind) -> &'static str {
    match way {
        TransferKind::Uploaded => "given",
        TransferKind::Downloaded => "taken",
        TransferKind::Elsewhere => "elsewhere",
    }
}

/// One file with all that is known of it.
pub fn view(site: &Site, viewer: &Viewer, hash: &str) -> Result<FileView, HttpFailure> {
    let hash: Option<InfoHash> = hash.parse().ok();
    let found = hash.and_then(|hash| state::view(site, viewer, hash));
    found.ok_or_else(|| HttpFailure::new(404, "there is no such file on this page"))
}

/// `/api/files`: the list alone, as it has been since the first version.
pub fn files(site: &Site) -> Reply {
    json(&state::list(site))
}

/// A value of this moment.
pub fn json(value: &impl serde::Serialize) -> Reply {
    Reply::new(200, "application/json", views::json(value)).with("Cache-Control", "no-store")
}
