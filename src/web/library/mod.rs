//! What is listed: uploads, and metainfos that others registered. One owner of the list, on disk and in memory.
//!
//! On disk, under `--data`: `uploads/NAME`, `metainfos/NAME.json` and `.torrent`, and `metainfos/.library.json` with what
//! those do not tell (the port that was asked for, and size and time at which an upload was known to be whole). Names that
//! begin with a dot are ours alone. The lock is held to look and to change, never while a file is read or written.
//!
//! `entry` is one line of the list; `found` is what lies on the disk at a start; `away` is whose file is gone for now; `room` is how much there may be, of uploads
//! and of what others register.

mod away;
mod entry;
mod found;
mod room;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

pub use crate::node::MAX_PORTS;
pub use away::Returned;
pub use entry::{FileOrigin, LibraryEntry, UploadStamp};
pub use found::Shared;
#[cfg(test)]
pub use room::MAX_REGISTERED_OF_ADDRESS;

use super::{failure::HttpFailure, names};
use crate::{
    metainfo::{InfoHash, Metainfo},
    quota::Origin,
};
use away::Away;
use entry::now_seconds;

const STATE_FILE: &str = ".library.json";

/// How names of files end that are being written; before it stand a dot and 16 hex digits.
const TEMPORARY: &str = ".tmp";

/// The list, and the folders it describes.
#[derive(Debug)]
pub struct Library {
    uploads: PathBuf,
    metainfos: PathBuf,
    state: Mutex<LibraryState>,
    /// Held while the state file is written, so that an older state never replaces a newer one. Nothing else waits for it.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct LibraryState {
    entries: BTreeMap<String, LibraryEntry>,
    /// Uploads whose file is gone for now, by name.
    away: BTreeMap<String, Away>,
    /// Names that are being given away.
    claimed: HashSet<String>,
}

/// A name that nobody else gets while this lives.
#[derive(Debug)]
pub struct NameClaim<'a> {
    library: &'a Library,
    name: String,
}

impl Library {
    /// Opens, and if need be makes, the folders below `data`.
    pub fn open(data: &Path) -> io::Result<Library> {
        let (uploads, metainfos) = (data.join("uploads"), data.join("metainfos"));
        fs::create_dir_all(&uploads)?;
        fs::create_dir_all(&metainfos)?;
        let (known, is_list_lost) = match fs::read(metainfos.join(STATE_FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_or_else(
                |error| {
                    log::warn!("the list of files is damaged and is made anew: {error}");
                    (BTreeMap::new(), true)
                },
                |known| (known, false),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), true),
            Err(error) => return Err(error),
        };
        let library = Library { uploads, metainfos, state: Mutex::default(), writing: Mutex::default() };
        let (entries, away) = library.find(known, is_list_lost)?;
        {
            let mut state = library.state();
            (state.entries, state.away) = (entries, away);
        }
        Ok(library)
    }

    /// Removes what was being written when an earlier run was cut off. Nobody else may be at work in the folder.
    pub fn remove_unfinished(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.metainfos)? {
            let file_name = file?.file_name();
            let number = file_name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(TEMPORARY));
            if number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                fs::remove_file(self.metainfos.join(file_name))?;
            }
        }
        Ok(())
    }

    /// Every name with its entry, in the order of names.
    pub fn entries(&self) -> Vec<(String, LibraryEntry)> {
        self.state().entries.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<LibraryEntry> {
        self.state().entries.get(name).cloned()
    }

    /// The name and entry of a torrent.
    pub fn find_hash(&self, info_hash: InfoHash) -> Option<(String, LibraryEntry)> {
        let state = self.state();
        let found = state.entries.iter().find(|(_, entry)| entry.info_hash == info_hash);
        found.map(|(name, entry)| (name.clone(), entry.clone()))
    }

    /// Takes a name off the list, for the same torrent to be listed anew.
    pub fn forget(&self, name: &str) {
        self.state().entries.remove(name);
    }

    /// Forgets the port that an upload has asked for and did not get, so that it counts for nobody's.
    pub fn forget_port(&self, name: &str) {
        if let Some(LibraryEntry { origin: FileOrigin::Upload { port, .. }, .. }) = self.state().entries.get_mut(name) {
            *port = None;
        }
        self.save().unwrap_or_else(|error| log::warn!("the list of files cannot be saved: {error}"));
    }

    /// Takes a name off the list, and its files off the disk. The name stays claimed until they are gone.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let Some(entry) = state.entries.remove(name) else { return Ok(()) };
        state.claimed.insert(name.to_owned());
        drop(state);
        let claim = NameClaim { library: self, name: name.to_owned() };
        let mut paths = vec![self.metainfo_path(claim.name(), "torrent"), self.metainfo_path(claim.name(), "json")];
        if entry.is_upload() {
            paths.push(self.upload_path(claim.name()));
        }
        for path in paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.save()
    }

    /// Where an upload of that name lies.
    pub fn upload_path(&self, name: &str) -> PathBuf {
        self.uploads.join(name)
    }

    /// Where a metainfo of that name lies; the extension tells the form.
    pub fn metainfo_path(&self, name: &str, extension: &str) -> PathBuf {
        self.metainfos.join(format!("{name}.{extension}"))
    }

    /// Where parts of uploads lie.
    pub fn parts_path(&self) -> PathBuf {
        self.uploads.join(".part")
    }

    /// Where binaries of the program may lie for others to get. Nothing of a stranger is written there.
    pub fn dist_path(&self) -> PathBuf {
        self.uploads.with_file_name("dist")
    }

    /// `name`, or the first numbered form of it that nobody has.
    pub fn claim(&self, name: &str) -> NameClaim<'_> {
        let mut state = self.state();
        let is_free = |name: &String| {
            !state.entries.contains_key(name) && !state.claimed.contains(name) && !self.upload_path(name).exists()
        };
        let candidates = std::iter::once(name.to_owned()).chain((2..).map(|number| names::numbered(name, number)));
        let name = candidates.into_iter().find(is_free).expect("numbers do not end");
        state.claimed.insert(name.clone());
        drop(state);
        NameClaim { library: self, name }
    }

    /// Notes that an upload is whole and on disk, as it lies there now.
    pub fn stamp(&self, name: &str) -> io::Result<()> {
        let file = fs::File::open(self.upload_path(name))?;
        file.sync_data()?;
        let found = UploadStamp::of(&file.metadata()?);
        if let Some(LibraryEntry { origin: FileOrigin::Upload { stamp, .. }, .. }) = self.state().entries.get_mut(name)
        {
            *stamp = found;
        }
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = {
            let state = self.state();
            let away = state.away.iter().map(|(name, away)| (name, &away.entry));
            serde_json::to_vec(&away.chain(&state.entries).collect::<BTreeMap<_, _>>())?
        };
        replace(&self.metainfos.join(STATE_FILE), |file| file.write_all(&bytes)).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, LibraryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NameClaim<'_> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists a file that was received whole, from `by` where that bounds it; it moves to `uploads/`. Its metainfo comes first: without the file it is not
    /// listed, but the file without it would be of no use.
    pub fn list_upload(
        self,
        received: &Path,
        metainfo: &Metainfo,
        port: Option<u16>,
        by: Option<Origin>,
    ) -> io::Result<LibraryEntry> {
        self.write(metainfo)?;
        fs::rename(received, self.library.upload_path(&self.name)).inspect_err(|_| self.unwrite())?;
        Ok(self.list(metainfo, FileOrigin::Upload { port, stamp: None, by }))
    }

    /// Lists a metainfo whose content others have, and that `by` has sent where that bounds it.
    pub fn list_registered(self, metainfo: &Metainfo, by: Option<Origin>) -> Result<LibraryEntry, HttpFailure> {
        self.library.make_room_for_registered(by)?;
        let bytes = self.write(metainfo).map_err(|error| HttpFailure::of_disk(&error))?;
        Ok(self.list(metainfo, FileOrigin::Registered { bytes, seen: now_seconds(), by }))
    }

    /// Writes both forms or neither, and tells their bytes.
    fn write(&self, metainfo: &Metainfo) -> io::Result<u64> {
        let path = |form| self.library.metainfo_path(&self.name, form);
        let written = replace(&path("json"), |file| metainfo.write_json(file)).and_then(|json| {
            let torrent = replace(&path("torrent"), |file| file.write_all(&metainfo.to_torrent()))?;
            Ok(json + torrent)
        });
        written.inspect_err(|_| self.unwrite())
    }

    /// Removes what [`Claim::write`] wrote.
    fn unwrite(&self) {
        for form in ["json", "torrent"] {
            // The first error is the one that counts.
            let _ = fs::remove_file(self.library.metainfo_path(&self.name, form));
        }
    }

    fn list(&self, metainfo: &Metainfo, origin: FileOrigin) -> LibraryEntry {
        let geometry = metainfo.geometry();
        let (length, piece_length) = (geometry.length(), geometry.piece_length());
        let entry = LibraryEntry { info_hash: metainfo.info_hash(), length, piece_length, origin };
        let mut state = self.library.state();
        state.away.remove(&self.name);
        state.entries.insert(self.name.clone(), entry.clone());
        drop(state);
        // What lies there is found without it; only the port and the stamp would be lost.
        self.library.save().unwrap_or_else(|error| log::warn!("the list of files cannot be saved: {error}"));
        entry
    }
}

impl Drop for NameClaim<'_> {
    fn drop(&mut self) {
        self.library.state().claimed.remove(&self.name);
    }
}

/// Puts what `write` writes in the place of a file, and tells its bytes: whoever opens it finds the old or the new, also
/// after a power cut.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>) -> io::Result<u64> {
    let temporary = path.with_file_name(format!(".{:016x}{TEMPORARY}", getrandom::u64().map_err(io::Error::other)?));
    let written = fs::File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        Ok(file.metadata()?.len())
    });
    if written.is_err() {
        // The first error is the one that counts.
        let _ = fs::remove_file(&temporary);
    }
    written
}
