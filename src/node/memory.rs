//! What was set for torrents from the page: kept over a restart, where there is a place to keep it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{metainfo::InfoHash, node::Failure};

/// What was set for one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TorrentSettings {
    /// Whether it rests.
    #[serde(default)]
    pub paused: bool,
    /// Bytes a second that may be given; 0 for no limit.
    #[serde(default)]
    pub upload_limit: u64,
    /// Bytes a second that may be taken; 0 for no limit.
    #[serde(default)]
    pub download_limit: u64,
}

/// The settings of all torrents, those that are as they are by default left out.
#[derive(Debug)]
pub struct Memory {
    file: Option<PathBuf>,
    settings: Mutex<BTreeMap<String, TorrentSettings>>,
    /// Held while the file is written, so that the newest state is written last.
    writing: Mutex<()>,
}

impl Memory {
    /// What `file` holds; what cannot be read as settings is as good as none.
    pub fn open(file: Option<PathBuf>) -> Result<Memory, Failure> {
        let bytes = match file.as_deref().map(fs::read) {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::about(file.unwrap_or_default().display(), error));
            }
            Some(Err(_)) | None => b"{}".to_vec(),
        };
        let settings = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            log::error!("what was set for torrents cannot be read, and is forgotten: {error}");
            BTreeMap::new()
        });
        Ok(Memory { file, settings: Mutex::new(settings), writing: Mutex::new(()) })
    }

    /// What is set for a torrent.
    pub fn of(&self, hash: InfoHash) -> TorrentSettings {
        self.settings().get(&hash.to_string()).copied().unwrap_or_default()
    }

    /// Changes what is set, and says what it is then; [`Memory::save`] is to follow.
    pub fn change(&self, hash: InfoHash, change: impl FnOnce(&mut TorrentSettings)) -> TorrentSettings {
        let mut all = self.settings();
        let mut settings = all.get(&hash.to_string()).copied().unwrap_or_default();
        change(&mut settings);
        match settings == TorrentSettings::default() {
            true => _ = all.remove(&hash.to_string()),
            false => _ = all.insert(hash.to_string(), settings),
        }
        settings
    }

    /// Writes it down, where there is a place. That this cannot be done is no reason not to do what was asked.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = serde_json::to_vec(&*self.settings()).map_err(io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| replace(file, &bytes)) {
            log::error!("{}: {error}; what was set does not outlast this run", file.display());
        }
    }

    fn settings(&self) -> MutexGuard<'_, BTreeMap<String, TorrentSettings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, bytes).and_then(|()| fs::File::open(&new)?.sync_data()).and_then(|()| fs::rename(&new, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_there_after_a_restart_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".settings.json");
        let (one, two) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let memory = Memory::open(Some(file.clone())).unwrap();
        memory.change(one, |settings| settings.paused = true);
        memory.change(two, |settings| settings.upload_limit = 5);
        memory.change(two, |settings| settings.upload_limit = 0);
        memory.save();
        let memory = Memory::open(Some(file.clone())).unwrap();
        assert_eq!(memory.of(one), TorrentSettings { paused: true, ..TorrentSettings::default() });
        assert_eq!(memory.of(two), TorrentSettings::default());
        assert_eq!(memory.settings().len(), 1);
        fs::write(&file, "{ spoilt").unwrap();
        assert_eq!(Memory::open(Some(file)).unwrap().of(one), TorrentSettings::default());
    }

    #[test]
    fn without_a_file_it_is_kept_for_this_run() {
        let memory = Memory::open(None).unwrap();
        memory.change(InfoHash([1; 20]), |settings| settings.download_limit = 7);
        assert_eq!(memory.of(InfoHash([1; 20])).download_limit, 7);
    }
}
