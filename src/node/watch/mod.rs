//! A folder whose content is shared as it comes and goes: `tracker --watch`.
//!
//! `folder` decides, without a clock or a disk. Here is what looks and hashes: a thread each, so that what disappears is
//! withdrawn also while something large is hashed. A link is not shared, nor a folder that holds one: whoever may write into the
//! folder could have any file of this machine sent by it.

mod folder;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use sha1::{Digest, Sha1};

use super::{Failure, Node};
use crate::{
    metainfo::{
        InfoHash, MAX_FILES, Metainfo,
        create::{CreateError, CreateOptions, Created, create},
        path::{MAX_DEPTH, is_record},
    },
    storage::Stamps,
};
use folder::{SeenEntry, WatchAction, WatchedFolder};

/// How often it is looked at what is there.
const LOOK: Duration = Duration::from_secs(2);

/// Looking takes one part in so many of the time at most: a large folder is looked at less often.
const LOOKING_PART: u32 = 20;

/// A folder that is watched, until this is dropped.
pub struct Watch {
    /// Nothing is sent; its end ends the thread.
    _stop: Sender<()>,
}

/// What is to be hashed, as it was seen.
struct Task {
    name: OsString,
    state: u64,
}

impl Watch {
    /// Shares by `node` what is in the folder, and what comes into it, from now on.
    pub fn start(node: &Arc<Node>, dir: &Path) -> Result<Watch, Failure> {
        let about = |error: io::Error| Failure::about(dir.display(), error);
        let dir = dir.canonicalize().map_err(about)?;
        fs::read_dir(&dir).map_err(about)?;
        let (stop, stopped) = bounded(0);
        // One is hashed at a time, on every core.
        let (tasks, to_do) = bounded(1);
        let (results, done) = bounded(1);
        let hashed = dir.clone();
        let hashing = move || {
            for Task { name, state } in to_do {
                let created = create(&hashed.join(&name), &CreateOptions::default(), &|_| {});
                if results.send((Task { name, state }, created)).is_err() {
                    return;
                }
            }
        };
        let threads = |error: io::Error| Failure::about("threads", error);
        thread::Builder::new().name("watch hash".into()).spawn(hashing).map_err(threads)?;
        let watching =
            FolderWatcher { node: node.clone(), dir, folder: WatchedFolder::default(), is_readable: true, tasks };
        let watch = move || watching.run(&stopped, &done);
        thread::Builder::new().name("watch".into()).spawn(watch).map_err(threads)?;
        Ok(Watch { _stop: stop })
    }
}

struct FolderWatcher {
    node: Arc<Node>,
    dir: PathBuf,
    folder: WatchedFolder,
    /// Whether it could be read the last time, so that it is said once where it cannot.
    is_readable: bool,
    tasks: Sender<Task>,
}

impl FolderWatcher {
    fn run(mut self, stopped: &Receiver<()>, done: &Receiver<(Task, Result<Created, CreateError>)>) {
        let mut wait = Duration::ZERO;
        loop {
            select! {
                recv(stopped) -> _ => return,
                recv(done) -> result => match result {
                    Ok((task, created)) => self.created(&task, created),
                    Err(_) => return,
                },
                default(wait) => {
                    let begun = Instant::now();
                    self.look(begun);
                    wait = LOOK.max(begun.elapsed() * LOOKING_PART);
                }
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let found = match sights(&self.dir) {
            Ok(found) => found,
            // Not there any more, and all that was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                if std::mem::take(&mut self.is_readable) {
                    log::warn!("{} cannot be read, and is shared as it was: {error}", self.dir.display());
                }
                return;
            }
        };
        self.is_readable = true;
        for action in self.folder.look(now, found) {
            match action {
                WatchAction::Hash { name, state } => {
                    // There is room: the last one is done.
                    let _ = self.tasks.try_send(Task { name, state });
                }
                WatchAction::Withdraw { name, info_hash } => {
                    let removed = self.node.remove(info_hash);
                    removed.unwrap_or_else(|failure| log::debug!("{failure}"));
                    log::info!("{} is not shared any longer", Path::new(&name).display());
                }
            }
        }
    }

    fn created(&mut self, task: &Task, created: Result<Created, CreateError>) {
        let shared = created.map_err(|error| Failure::new(error.to_string())).and_then(|created| {
            // What has changed meanwhile is hashed again once it rests.
            let is_same = || matches!(sight(&self.dir.join(&task.name)), Ok(Some(sight)) if sight.state == task.state);
            if self.folder.is_wanted(&task.name, task.state) && is_same() {
                self.share(&task.name, created).map(Some)
            } else {
                Ok(None)
            }
        });
        let name = Path::new(&task.name).display();
        let info_hash = match shared {
            Ok(info_hash) => info_hash,
            Err(failure) => {
                log::warn!("{name} is not shared: {failure}");
                None
            }
        };
        info_hash.inspect(|_| log::info!("{name} is shared"));
        self.folder.hashed(&task.name, task.state, info_hash);
    }

    fn share(&self, name: &OsStr, created: Created) -> Result<InfoHash, Failure> {
        let Created { metainfo, found, .. } = created;
        let info_hash = metainfo.info_hash();
        if self.node.board.torrent(&info_hash).is_some() {
            return Err(Failure::new("the very same is shared already"));
        }
        let stamps = Stamps::as_found(&metainfo, &found);
        let metainfo: Arc<Metainfo> = metainfo.into();
        self.node.seed_upload(metainfo, &self.dir.join(name), Some(stamps), None)?;
        Ok(info_hash)
    }
}

/// What is in the folder and may be shared, by name.
fn sights(dir: &Path) -> io::Result<BTreeMap<OsString, SeenEntry>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        match sight(&dir.join(&name)) {
            Ok(Some(sight)) => _ = found.insert(name, sight),
            Ok(None) => {}
            // It went while it was looked at.
            Err(error) => log::debug!("{}: {error}", Path::new(&name).display()),
        }
    }
    Ok(found)
}

/// What can be seen of a file or folder without reading it; nothing of what is neither, or holds a link.
fn sight(path: &Path) -> io::Result<Option<SeenEntry>> {
    let metadata = fs::symlink_metadata(path)?;
    let mut looking = Looking { digest: Sha1::new(), latest: None, files: 0 };
    let is_fit = match metadata.is_dir() {
        true => looking.folder(path, 0)?,
        false => metadata.is_file() && looking.file(&metadata),
    };
    if !is_fit || looking.files == 0 {
        return Ok(None);
    }
    let rests = looking.latest.and_then(|latest| SystemTime::now().duration_since(latest).ok()).unwrap_or_default();
    let digest: [u8; 20] = looking.digest.finalize().into();
    let (state, _) = digest.split_first_chunk().expect("a SHA-1 has 20 bytes");
    Ok(Some(SeenEntry { state: u64::from_be_bytes(*state), identity: (metadata.dev(), metadata.ino()), rests }))
}

struct Looking {
    digest: Sha1,
    /// When the last of the files was written to.
    latest: Option<SystemTime>,
    files: usize,
}

impl Looking {
    /// Whether the folder is one that may be shared.
    fn folder(&mut self, path: &Path, depth: usize) -> io::Result<bool> {
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, metadata) = (entry.file_name(), fs::symlink_metadata(entry.path())?);
            if is_record(name.as_bytes()) {
                continue;
            }
            self.digest.update(name.as_bytes());
            self.digest.update([0]);
            let is_fit = match metadata.is_dir() {
                true => depth < MAX_DEPTH && self.folder(&entry.path(), depth + 1)?,
                false => metadata.is_file() && self.file(&metadata),
            };
            if !is_fit || self.files > MAX_FILES {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its size and time; not that of its status change, which a rename changes too.
    fn file(&mut self, metadata: &fs::Metadata) -> bool {
        for number in
            [metadata.len(), metadata.mtime() as u64, metadata.mtime_nsec() as u64, metadata.dev(), metadata.ino()]
        {
            self.digest.update(number.to_be_bytes());
        }
        self.latest = self.latest.max(metadata.modified().ok());
        self.files += 1;
        true
    }
}
