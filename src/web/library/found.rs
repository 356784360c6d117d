//! What lies on the disk when the list is opened, and which of it is trusted without being read again.

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

use super::{
    Library,
    away::Away,
    entry::{FileOrigin, LibraryEntry, UploadStamp, now_seconds},
};
use crate::{metainfo::Metainfo, web::failure::HttpFailure};

/// An upload of an earlier run, to be seeded again.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What it is.
    pub metainfo: Arc<Metainfo>,
    /// The file.
    pub file: PathBuf,
    /// The seeder's port that it asked for.
    pub port: Option<u16>,
    /// Whether size and time are those at which it was known to be whole. If not, it must be verified.
    pub is_unchanged: bool,
    /// Size and time as they were found.
    pub found: Option<UploadStamp>,
}

impl Library {
    /// What really lies there: metainfos whose upload is there too, or that were registered; and uploads whose file is gone for
    /// now. Without the list, every other metainfo counts as registered: whoever put it there wanted it listed.
    pub(super) fn find(
        &self,
        mut known: BTreeMap<String, LibraryEntry>,
        is_list_lost: bool,
    ) -> io::Result<(BTreeMap<String, LibraryEntry>, BTreeMap<String, Away>)> {
        let (mut found, mut away) = (BTreeMap::new(), BTreeMap::new());
        for file in fs::read_dir(&self.metainfos)? {
            let file_name = file?.file_name();
            let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".torrent")) else { continue };
            let length = fs::metadata(self.upload_path(name)).ok().filter(fs::Metadata::is_file).map(|file| file.len());
            let is_right = |entry: &LibraryEntry| {
                entry.piece_length > 0
                    && match entry.origin {
                        FileOrigin::Registered { .. } => length.is_none(),
                        FileOrigin::Upload { .. } => length == Some(entry.length),
                    }
            };
            let known = known.remove(name);
            let upload = known.clone().filter(|entry| entry.is_upload() && entry.piece_length > 0);
            let entry = match known {
                Some(entry) if is_right(&entry) => Some(entry),
                entry if !name.starts_with('.') => self.read_entry(name, entry, length, is_list_lost),
                _ => None,
            };
            match (entry, upload) {
                (Some(entry), _) => _ = found.insert(name.to_owned(), entry),
                (None, Some(upload)) => _ = away.insert(name.to_owned(), Away::new(upload)),
                (None, None) => {}
            }
        }
        Ok((found, away))
    }

    /// The entry of a metainfo of which the list tells nothing, or not all. `length` is that of the upload, where one lies there.
    fn read_entry(
        &self,
        name: &str,
        known: Option<LibraryEntry>,
        length: Option<u64>,
        is_list_lost: bool,
    ) -> Option<LibraryEntry> {
        let metainfo = self.read_metainfo(name).inspect_err(|failure| log::warn!("{name:?}: {failure}")).ok()?;
        let origin = match (known.map(|entry| entry.origin), length) {
            (Some(origin @ FileOrigin::Registered { .. }), None) => origin,
            (Some(origin @ FileOrigin::Upload { .. }), Some(length)) if metainfo.length() == length => origin,
            (_, Some(length)) if metainfo.is_single_file() && metainfo.length() == length => {
                FileOrigin::Upload { port: None, stamp: None, by: None }
            }
            (None, None) if is_list_lost => {
                let size = |form| fs::metadata(self.metainfo_path(name, form)).map_or(0, |file| file.len());
                FileOrigin::Registered { bytes: size("json") + size("torrent"), seen: now_seconds(), by: None }
            }
            _ => return None,
        };
        let geometry = metainfo.geometry();
        let (length, piece_length) = (geometry.length(), geometry.piece_length());
        Some(LibraryEntry { info_hash: metainfo.info_hash(), length, piece_length, origin })
    }

    /// The uploads of earlier runs.
    pub fn shared(&self) -> Vec<Shared> {
        let uploads = self.entries().into_iter().filter_map(|(name, entry)| match entry.origin {
            FileOrigin::Upload { port, stamp, .. } => Some((name, port, stamp)),
            FileOrigin::Registered { .. } => None,
        });
        uploads
            .filter_map(|(name, port, stamp)| {
                let file = self.upload_path(&name);
                let found = fs::metadata(&file).ok().and_then(|file| UploadStamp::of(&file));
                let is_unchanged = stamp.is_some() && found == stamp;
                match self.read_metainfo(&name) {
                    Ok(metainfo) => Some(Shared { metainfo: Arc::new(metainfo), file, port, is_unchanged, found }),
                    Err(failure) => {
                        log::warn!("{name:?} cannot be shared again: {failure}");
                        None
                    }
                }
            })
            .collect()
    }

    /// Notes an upload that was verified as whole, unless it has changed since it was found; then the next start verifies it.
    pub fn stamp_verified(&self, shared: &Shared) -> io::Result<()> {
        let now = fs::metadata(&shared.file).map(|file| UploadStamp::of(&file))?;
        match shared.file.file_name().and_then(|name| name.to_str()) {
            Some(name) if now == shared.found => self.stamp(name),
            _ => Ok(()),
        }
    }

    pub(super) fn read_metainfo(&self, name: &str) -> Result<Metainfo, HttpFailure> {
        let bytes = fs::read(self.metainfo_path(name, "torrent")).map_err(|error| HttpFailure::of_disk(&error))?;
        Metainfo::read(&bytes).map_err(|error| HttpFailure::new(500, error.to_string()))
    }
}
