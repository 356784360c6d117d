//! What is listed: uploads, and metainfos that others registered. One owner of the list, on disk and in memory.
//!
//! On disk, under `--data`: `uploads/NAME`, `metainfos/NAME.json` and `.torrent`, and `metainfos/.library.json` with what
//! those do not tell (the port that was asked for, and size and time at which an upload was known to be whole). Names that
//! begin with a dot are ours alone. The lock is held to look and to change, never while a file is read or written.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use super::entry::{Entry, Origin, Stamp};
use super::{address::household, entry::now_seconds, failure::Failure, names};
use crate::metainfo::{InfoHash, Metainfo};

/// How many further ports uploads may ask for: each is a listener of the process.
pub const MAX_PORTS: usize = 16;

/// How many uploads there may be: each is a line of the page, a torrent that is announced, and three files, however small.
pub const MAX_UPLOADS: usize = 2000;

/// How many metainfos others may register. Each has up to 16 MiB on disk, and 200 bytes in memory. When there is one more, it
/// takes the place of the one in whose swarm nobody was seen for longest.
pub const MAX_REGISTERED: usize = 1000;

/// How many of them one address may register: a room of seeders behind one router, and a tenth of all.
pub const MAX_REGISTERED_OF_ADDRESS: usize = 100;

/// How long a registered metainfo has to be without anybody in its swarm before another may take its place.
const LEAST_UNSEEN: Duration = Duration::from_secs(60);

/// How many bytes the registered metainfos may have on disk, in both forms together.
pub const MAX_REGISTERED_BYTES: u64 = 512 * 1024 * 1024;

/// How long a registered metainfo stays that nobody seeds or fetches.
pub const UNSEEN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The lowest port that an upload may ask for: those below belong to the system.
pub const MIN_PORT: u16 = 1024;

const STATE_FILE: &str = ".library.json";

/// The list, and the folders it describes.
#[derive(Debug)]
pub struct Library {
    uploads: PathBuf,
    metainfos: PathBuf,
    state: Mutex<State>,
    /// Held while the state file is written, so that an older state never replaces a newer one. Nothing else waits for it.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    /// Names that are being given away.
    claimed: HashSet<String>,
}

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
    pub found: Option<Stamp>,
}

/// A name that nobody else gets while this lives.
#[derive(Debug)]
pub struct Claim<'a> {
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
        let entries = library.find(known, is_list_lost)?;
        library.state().entries = entries;
        Ok(library)
    }

    /// What really lies there: metainfos whose upload is there too, or that were registered. Without the list, every other
    /// metainfo counts as registered: whoever put it there wanted it listed.
    fn find(&self, mut known: BTreeMap<String, Entry>, is_list_lost: bool) -> io::Result<BTreeMap<String, Entry>> {
        let mut found = BTreeMap::new();
        for file in fs::read_dir(&self.metainfos)? {
            let file_name = file?.file_name();
            let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".torrent")) else { continue };
            let length = fs::metadata(self.upload_path(name)).ok().filter(fs::Metadata::is_file).map(|file| file.len());
            let is_right = |entry: &Entry| {
                entry.piece_length > 0
                    && match entry.origin {
                        Origin::Registered { .. } => length.is_none(),
                        Origin::Upload { .. } => length == Some(entry.length),
                    }
            };
            let entry = match known.remove(name) {
                Some(entry) if is_right(&entry) => Some(entry),
                entry if !name.starts_with('.') => self.read_entry(name, entry, length, is_list_lost),
                _ => None,
            };
            found.extend(entry.map(|entry| (name.to_owned(), entry)));
        }
        Ok(found)
    }

    /// The entry of a metainfo of which the list tells nothing, or not all. `length` is that of the upload, where one lies there.
    fn read_entry(&self, name: &str, known: Option<Entry>, length: Option<u64>, is_list_lost: bool) -> Option<Entry> {
        let metainfo = self.read_metainfo(name).inspect_err(|failure| log::warn!("{name:?}: {failure}")).ok()?;
        let origin = match (known.map(|entry| entry.origin), length) {
            (Some(origin @ Origin::Registered { .. }), None) => origin,
            (Some(origin @ Origin::Upload { .. }), Some(length)) if metainfo.length() == length => origin,
            (_, Some(length)) if metainfo.is_single_file() && metainfo.length() == length => {
                Origin::Upload { port: None, stamp: None }
            }
            (None, None) if is_list_lost => {
                let size = |form| fs::metadata(self.metainfo_path(name, form)).map_or(0, |file| file.len());
                Origin::Registered { bytes: size("json") + size("torrent"), seen: now_seconds(), by: None }
            }
            _ => return None,
        };
        let geometry = metainfo.geometry();
        let (length, piece_length) = (geometry.length(), geometry.piece_length());
        Some(Entry { info_hash: metainfo.info_hash(), length, piece_length, origin })
    }

    /// The uploads of earlier runs.
    pub fn shared(&self) -> Vec<Shared> {
        let uploads = self.entries().into_iter().filter_map(|(name, entry)| match entry.origin {
            Origin::Upload { port, stamp } => Some((name, port, stamp)),
            Origin::Registered { .. } => None,
        });
        uploads
            .filter_map(|(name, port, stamp)| {
                let file = self.upload_path(&name);
                let found = fs::metadata(&file).ok().and_then(|file| Stamp::of(&file));
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

    /// Every name with its entry, in the order of names.
    pub fn entries(&self) -> Vec<(String, Entry)> {
        self.state().entries.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<Entry> {
        self.state().entries.get(name).cloned()
    }

    /// The name and entry of a torrent.
    pub fn find_hash(&self, info_hash: InfoHash) -> Option<(String, Entry)> {
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
        if let Some(Entry { origin: Origin::Upload { port, .. }, .. }) = self.state().entries.get_mut(name) {
            *port = None;
        }
        self.save().unwrap_or_else(|error| log::warn!("the list of files cannot be saved: {error}"));
    }

    /// Takes uploads off the list whose file somebody has removed by hand, and tells which they were.
    pub fn forget_removed(&self) -> Vec<InfoHash> {
        let uploads = self.entries().into_iter().filter(|(_, entry)| entry.is_upload());
        let is_there = |name: &str| !matches!(self.upload_path(name).try_exists(), Ok(false));
        let removed: Vec<_> = uploads.filter(|(name, _)| !is_there(name)).collect();
        let mut state = self.state();
        for (name, _) in &removed {
            state.entries.remove(name);
        }
        removed.into_iter().map(|(_, entry)| entry.info_hash).collect()
    }

    /// Takes a name off the list, and its files off the disk. The name stays claimed until they are gone.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let Some(entry) = state.entries.remove(name) else { return Ok(()) };
        state.claimed.insert(name.to_owned());
        drop(state);
        let claim = Claim { library: self, name: name.to_owned() };
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

    /// Whether one more upload may ask for that port.
    pub fn check_port(&self, port: u16) -> Result<(), Failure> {
        if port < MIN_PORT {
            return Err(Failure::new(400, format!("port {port}: a seeder's port is from {MIN_PORT} to 65535")));
        }
        let used = |entry: &Entry| match entry.origin {
            Origin::Upload { port, .. } => port,
            Origin::Registered { .. } => None,
        };
        let ports: BTreeSet<u16> = self.state().entries.values().filter_map(used).collect();
        if ports.len() >= MAX_PORTS && !ports.contains(&port) {
            return Err(Failure::new(
                409,
                format!("{MAX_PORTS} different ports are in use, which is the most; choose one of them"),
            ));
        }
        Ok(())
    }

    /// Whether there may be one more upload.
    pub fn check_room_for_upload(&self) -> Result<(), Failure> {
        if self.state().entries.values().filter(|entry| entry.is_upload()).count() < MAX_UPLOADS {
            return Ok(());
        }
        Err(Failure::new(507, format!("{MAX_UPLOADS} files are shared here already; there is no room for more")))
    }

    /// Makes room for one more metainfo that `by` registers, by taking off those that nobody was seen with for longest.
    fn make_room_for_registered(&self, by: IpAddr) -> Result<(), Failure> {
        while let Some(name) = self.in_the_way_of(by)? {
            self.remove(&name).map_err(|error| Failure::of_disk(&error))?;
        }
        Ok(())
    }

    /// Whose place a metainfo of `by` has to take; nobody's while there is room.
    fn in_the_way_of(&self, by: IpAddr) -> Result<Option<String>, Failure> {
        let state = self.state();
        let mut registered = Vec::new();
        for (name, entry) in &state.entries {
            if let Origin::Registered { bytes, seen, by } = entry.origin {
                registered.push((seen, by, bytes, name));
            }
        }
        let of_one = registered.iter().filter(|(_, whose, ..)| *whose == Some(by)).count();
        let bytes: u64 = registered.iter().map(|(_, _, bytes, _)| bytes).sum();
        let is_one_full = of_one >= MAX_REGISTERED_OF_ADDRESS;
        if !is_one_full && registered.len() < MAX_REGISTERED && bytes < MAX_REGISTERED_BYTES {
            return Ok(None);
        }
        let candidates = registered.iter().filter(|(_, whose, ..)| !is_one_full || *whose == Some(by));
        let oldest = candidates.min_by_key(|(seen, ..)| *seen);
        let unseen = oldest.filter(|(seen, ..)| now_seconds().saturating_sub(*seen) >= LEAST_UNSEEN.as_secs());
        let count = if is_one_full { of_one } else { registered.len() };
        let sentence =
            || format!("{count} metainfos are registered already, all of them in use; there is no room for more");
        unseen.map(|(.., name)| Some((*name).clone())).ok_or_else(|| Failure::new(507, sentence()))
    }

    /// `name`, or the first numbered form of it that nobody has.
    pub fn claim(&self, name: &str) -> Claim<'_> {
        let mut state = self.state();
        let is_free = |name: &String| {
            !state.entries.contains_key(name) && !state.claimed.contains(name) && !self.upload_path(name).exists()
        };
        let candidates = std::iter::once(name.to_owned()).chain((2..).map(|number| names::numbered(name, number)));
        let name = candidates.into_iter().find(is_free).expect("numbers do not end");
        state.claimed.insert(name.clone());
        drop(state);
        Claim { library: self, name }
    }

    /// Notes that an upload is whole and on disk, as it lies there now.
    pub fn stamp(&self, name: &str) -> io::Result<()> {
        let file = fs::File::open(self.upload_path(name))?;
        file.sync_data()?;
        let found = Stamp::of(&file.metadata()?);
        if let Some(Entry { origin: Origin::Upload { stamp, .. }, .. }) = self.state().entries.get_mut(name) {
            *stamp = found;
        }
        self.save()
    }

    /// Notes an upload that was verified as whole, unless it has changed since it was found; then the next start verifies it.
    pub fn stamp_verified(&self, shared: &Shared) -> io::Result<()> {
        let now = fs::metadata(&shared.file).map(|file| Stamp::of(&file))?;
        match shared.file.file_name().and_then(|name| name.to_str()) {
            Some(name) if now == shared.found => self.stamp(name),
            _ => Ok(()),
        }
    }

    /// Notes who was seen, and forgets registered metainfos that nobody was seen in for long.
    pub fn forget_unseen(&self, is_seen: impl Fn(&InfoHash) -> bool) -> io::Result<()> {
        let forgotten = self.take_unseen(is_seen);
        for claim in &forgotten {
            for form in ["json", "torrent"] {
                fs::remove_file(self.metainfo_path(claim.name(), form))?;
            }
        }
        if forgotten.is_empty() { Ok(()) } else { self.save() }
    }

    /// Takes them off the list. Their names stay claimed until their files are gone.
    fn take_unseen(&self, is_seen: impl Fn(&InfoHash) -> bool) -> Vec<Claim<'_>> {
        let now = now_seconds();
        let mut unseen = Vec::new();
        let mut state = self.state();
        state.entries.retain(|name, entry| {
            let Origin::Registered { seen, .. } = &mut entry.origin else { return true };
            if is_seen(&entry.info_hash) {
                *seen = now;
            }
            let is_kept = now.saturating_sub(*seen) < UNSEEN_TIME.as_secs();
            if !is_kept {
                unseen.push(name.clone());
            }
            is_kept
        });
        state.claimed.extend(unseen.iter().cloned());
        unseen.into_iter().map(|name| Claim { library: self, name }).collect()
    }

    fn read_metainfo(&self, name: &str) -> Result<Metainfo, Failure> {
        let bytes = fs::read(self.metainfo_path(name, "torrent")).map_err(|error| Failure::of_disk(&error))?;
        Metainfo::read(&bytes).map_err(|error| Failure::new(500, error.to_string()))
    }

    fn save(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = serde_json::to_vec(&self.state().entries)?;
        replace(&self.metainfos.join(STATE_FILE), &bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists a file that was received whole; it moves to `uploads/`. Its metainfo comes first: without the file it is not
    /// listed, but the file without it would be of no use.
    pub fn list_upload(self, received: &Path, metainfo: &Metainfo, port: Option<u16>) -> io::Result<Entry> {
        self.write(metainfo)?;
        fs::rename(received, self.library.upload_path(&self.name))?;
        Ok(self.list(metainfo, Origin::Upload { port, stamp: None }))
    }

    /// Lists a metainfo whose content others have, and that `by` has sent.
    pub fn list_registered(self, metainfo: &Metainfo, by: IpAddr) -> Result<Entry, Failure> {
        let by = household(by);
        self.library.make_room_for_registered(by)?;
        let bytes = self.write(metainfo).map_err(|error| Failure::of_disk(&error))?;
        Ok(self.list(metainfo, Origin::Registered { bytes, seen: now_seconds(), by: Some(by) }))
    }

    /// Writes both forms, and tells their bytes.
    fn write(&self, metainfo: &Metainfo) -> io::Result<u64> {
        let (json, torrent) = (metainfo.to_json(), metainfo.to_torrent());
        replace(&self.library.metainfo_path(&self.name, "json"), &json)?;
        replace(&self.library.metainfo_path(&self.name, "torrent"), &torrent)?;
        Ok((json.len() + torrent.len()) as u64)
    }

    fn list(&self, metainfo: &Metainfo, origin: Origin) -> Entry {
        let geometry = metainfo.geometry();
        let (length, piece_length) = (geometry.length(), geometry.piece_length());
        let entry = Entry { info_hash: metainfo.info_hash(), length, piece_length, origin };
        self.library.state().entries.insert(self.name.clone(), entry.clone());
        // What lies there is found without it; only the port and the stamp would be lost.
        self.library.save().unwrap_or_else(|error| log::warn!("the list of files cannot be saved: {error}"));
        entry
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.library.state().claimed.remove(&self.name);
    }
}

/// Puts `bytes` in the place of a file: whoever opens it finds the old or the new, also after a power cut.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".{:016x}.tmp", getrandom::u64().map_err(io::Error::other)?));
    let written = fs::write(&temporary, bytes)
        .and_then(|()| fs::File::open(&temporary)?.sync_data())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one that counts.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::{PieceHasher, create::Options};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn metainfo(name: &str, bytes: &[u8]) -> Metainfo {
        let mut hasher = PieceHasher::new(16);
        hasher.update(bytes);
        Metainfo::from_hashes(name, &hasher.finish(), &Options::default()).unwrap()
    }

    fn upload(library: &Library, name: &str, bytes: &[u8], port: Option<u16>) -> String {
        let received = library.uploads.join(".received");
        fs::write(&received, bytes).unwrap();
        let claim = library.claim(name);
        let name = claim.name().to_owned();
        claim.list_upload(&received, &metainfo(&name, bytes), port).unwrap();
        name
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        assert_eq!(upload(&library, "a.iso", b"one", None), "a.iso");
        assert_eq!(upload(&library, "a.iso", b"two", None), "a (2).iso");
        fs::write(library.upload_path("a (3).iso"), b"not ours").unwrap();
        let claim = library.claim("a.iso");
        assert_eq!((claim.name(), library.claim("a.iso").name()), ("a (4).iso", "a (5).iso"));
        drop(claim);
        assert_eq!(library.claim("a.iso").name(), "a (4).iso");
    }

    #[test]
    fn uploads_are_there_after_a_restart_and_trusted_while_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        for (name, port) in [("same", Some(6890)), ("unknown", None), ("changed", None), ("gone", None)] {
            upload(&library, name, b"content", port);
        }
        for name in ["same", "changed", "gone"] {
            library.stamp(name).unwrap();
        }
        library.claim("others").list_registered(&metainfo("others", b"elsewhere"), HERE).unwrap();
        fs::write(library.upload_path("changed"), b"CONTENT").unwrap();
        fs::File::open(library.upload_path("changed")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::remove_file(library.upload_path("gone")).unwrap();

        let library = Library::open(folder.path()).unwrap();
        let shared = library.shared();
        let seen: Vec<_> = shared.iter().map(|it| (it.metainfo.name(), it.port, it.is_unchanged)).collect();
        assert_eq!(seen, [("changed", None, false), ("same", Some(6890), true), ("unknown", None, false)]);
        assert!(library.get("others").is_some() && library.get("gone").is_none());

        // Without the state file, or with one that is damaged, nothing that lies there is lost, and nothing is trusted.
        for damaged in [None, Some("{\"a\":")] {
            let list = library.metainfos.join(STATE_FILE);
            fs::remove_file(&list).unwrap();
            damaged.inspect(|text| fs::write(&list, text).unwrap());
            let library = Library::open(folder.path()).unwrap();
            let shared = library.shared();
            assert_eq!(
                shared.iter().map(|it| (it.metainfo.name(), it.is_unchanged)).collect::<Vec<_>>(),
                [("changed", false), ("same", false), ("unknown", false)]
            );
            assert!(library.get("others").is_some_and(|entry| !entry.is_upload() && entry.piece_length == 16));
            fs::write(&list, "{}").unwrap();
        }
    }

    #[test]
    fn whoever_registers_too_much_takes_his_own_places_and_those_that_nobody_uses() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        let register = |number: usize, by: IpAddr| {
            let name = format!("{number}");
            library.claim(&name).list_registered(&metainfo(&name, &number.to_be_bytes()), by)
        };
        let flooder = IpAddr::from([10, 0, 0, 1]);
        register(1000, HERE).unwrap();
        (0..MAX_REGISTERED_OF_ADDRESS).for_each(|number| _ = register(number, flooder).unwrap());
        assert_eq!(register(2000, flooder).unwrap_err().status, 507);
        register(1001, HERE).unwrap();
        for name in ["7", "1000"] {
            if let Some(Entry { origin: Origin::Registered { seen, .. }, .. }) = library.state().entries.get_mut(name) {
                *seen -= LEAST_UNSEEN.as_secs() + u64::from(name == "1000");
            }
        }
        register(2000, flooder).unwrap();
        assert!(library.get("2000").is_some() && library.get("7").is_none() && library.get("1000").is_some());
        assert!(!library.metainfo_path("7", "json").exists());
    }

    #[test]
    fn ports_are_bounded_at_the_limit_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        assert_eq!(library.check_port(MIN_PORT - 1).unwrap_err().status, 400);
        for port in 0..MAX_PORTS as u16 {
            library.check_port(MIN_PORT + port).unwrap();
            upload(&library, "a", &port.to_be_bytes(), Some(MIN_PORT + port));
        }
        assert!(library.check_port(MIN_PORT).is_ok());
        assert_eq!(library.check_port(u16::MAX).unwrap_err().status, 409);
    }

    #[test]
    fn uploads_are_bounded_at_the_limit_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        upload(&library, "a", b"a", None);
        let entry = library.get("a").unwrap();
        for number in 1..MAX_UPLOADS {
            assert!(library.check_room_for_upload().is_ok());
            library.state().entries.insert(number.to_string(), entry.clone());
        }
        assert_eq!(library.check_room_for_upload().unwrap_err().status, 507);
    }

    #[test]
    fn a_registered_metainfo_is_forgotten_when_nobody_was_seen_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path()).unwrap();
        library.claim("a").list_registered(&metainfo("a", b"a"), HERE).unwrap();
        library.forget_unseen(|_| false).unwrap();
        assert!(library.get("a").is_some());
        if let Some(Entry { origin: Origin::Registered { seen, .. }, .. }) = library.state().entries.get_mut("a") {
            *seen = 0;
        }
        library.forget_unseen(|_| true).unwrap();
        assert!(library.get("a").is_some());
        if let Some(Entry { origin: Origin::Registered { seen, .. }, .. }) = library.state().entries.get_mut("a") {
            *seen = 0;
        }
        library.forget_unseen(|_| false).unwrap();
        assert!(library.get("a").is_none() && !library.metainfo_path("a", "json").exists());
    }
}
