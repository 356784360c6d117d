//! What the page shows, for programs: plain values, and the answers that carry them.
//!
//! [`state`] composes them from the library, the board and the swarm table; `rows` and `map` are its pure halves. A page is
//! made of the same values as the JSON, so neither can show what the other does not.

mod map;
mod metrics;
mod rows;
pub mod state;

#[cfg(test)]
mod tests;

use super::{Site, failure::HttpFailure, views};
use crate::{http::Reply, metainfo::InfoHash};

pub use map::PieceMap;
pub use metrics::metrics;
pub use rows::{Doing, Row};
pub use state::{FileView, Here, PageState, SharedFile, Viewer};

/// `/api/state`.
pub fn state(site: &Site, viewer: &Viewer) -> Reply {
    json(&PageState::of(site, viewer))
}

/// `/api/files/HASH`.
pub fn file(site: &Site, viewer: &Viewer, hash: &str) -> Result<Reply, HttpFailure> {
    Ok(json(&view(site, viewer, hash)?))
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
