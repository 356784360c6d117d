//! Uploads whose file is gone from the disk for now: moved elsewhere by hand, or on a disk that is unplugged. They are not
//! listed, and are again when the file is back.

use std::{fs, path::PathBuf, sync::Arc};

use super::{
    Library,
    entry::{FileOrigin, LibraryEntry, UploadStamp},
};
use crate::metainfo::{InfoHash, Metainfo};

/// An upload whose file is gone.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) entry: LibraryEntry,
    /// Size and time of what was last found in its place, so that nothing is read twice to be told from it.
    found: Option<UploadStamp>,
}

/// A file in the place of one that was gone.
#[derive(Debug)]
pub struct Returned {
    /// The name it was listed under.
    pub name: String,
    /// What it was.
    pub metainfo: Arc<Metainfo>,
    /// Where it lies.
    pub file: PathBuf,
    /// The seeder's port that it had asked for.
    pub port: Option<u16>,
    /// Whether size and time are those at which it was known to be whole. If not, it must be verified.
    pub is_unchanged: bool,
}

impl Away {
    /// Nothing was found in the place of this upload yet.
    pub(super) fn new(entry: LibraryEntry) -> Away {
        Away { entry, found: None }
    }
}

impl Library {
    /// Takes uploads off the list whose file is gone, and tells which they were.
    pub fn forget_gone(&self) -> Vec<InfoHash> {
        let uploads = self.entries().into_iter().filter(|(_, entry)| entry.is_upload());
        let is_there = |name: &str| !matches!(self.upload_path(name).try_exists(), Ok(false));
        let gone: Vec<_> = uploads.filter(|(name, _)| !is_there(name)).collect();
        let mut state = self.state();
        for (name, entry) in &gone {
            state.entries.remove(name);
            state.away.insert(name.clone(), Away::new(entry.clone()));
        }
        gone.into_iter().map(|(_, entry)| entry.info_hash).collect()
    }

    /// Files that lie where an upload was gone, each once until it changes.
    pub fn returned(&self) -> Vec<Returned> {
        let away: Vec<(String, LibraryEntry, Option<UploadStamp>)> = {
            let state = self.state();
            state.away.iter().map(|(name, away)| (name.clone(), away.entry.clone(), away.found)).collect()
        };
        let back = away.into_iter().filter_map(|(name, entry, found)| {
            let file = self.upload_path(&name);
            let now = fs::metadata(&file).ok().filter(|now| now.is_file() && now.len() == entry.length)?;
            let now = UploadStamp::of(&now).filter(|now| Some(*now) != found)?;
            let FileOrigin::Upload { port, stamp, .. } = entry.origin else { return None };
            if let Some(away) = self.state().away.get_mut(&name) {
                away.found = Some(now);
            }
            let metainfo = self.read_metainfo(&name);
            let metainfo =
                metainfo.inspect_err(|failure| log::warn!("{name:?} cannot be shared again: {failure}")).ok()?;
            Some(Returned { name, metainfo: metainfo.into(), file, port, is_unchanged: stamp == Some(now) })
        });
        back.collect()
    }

    /// Lists an upload again whose file is back. Tells whether it is; not if somebody has uploaded the same meanwhile.
    pub fn list_again(&self, name: &str) -> bool {
        let mut state = self.state();
        let Some(Away { entry, .. }) = state.away.remove(name) else { return false };
        let is_listed = state.entries.values().any(|other| other.info_hash == entry.info_hash);
        if !is_listed && !state.entries.contains_key(name) {
            state.entries.insert(name.to_owned(), entry);
        }
        drop(state);
        self.save().unwrap_or_else(|error| log::warn!("the list of files cannot be saved: {error}"));
        !is_listed
    }
}
