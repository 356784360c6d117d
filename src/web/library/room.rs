//! How much there may be: of uploads and their ports, and of the metainfos that others register, which give way to each other.

use crate::node::MAX_PORTS;
use std::{collections::BTreeSet, fs, io, net::IpAddr, time::Duration};

use super::{
    Claim, Library,
    entry::{FileOrigin, LibraryEntry, now_seconds},
};
use crate::{metainfo::InfoHash, web::failure::HttpFailure};

/// How many uploads there may be: each is a line of the page, a torrent that is announced, and three files, however small.
pub const MAX_UPLOADS: usize = 2000;

/// How many of them one address may have: at least so many times fewer than what the others leave. One address has a thousand at
/// most, 33 for each of a class of thirty behind one router, and leaves room for others however many it has.
const UPLOADS_LEFT: usize = 2;

/// How many metainfos others may register. Each has up to 16 MiB on disk, and 200 bytes in memory. When there is one more, it
/// takes the place of the one in whose swarm nobody was seen for longest.
pub const MAX_REGISTERED: usize = 1000;

/// How many of them one address may register: a room of seeders behind one router, and a tenth of all.
pub const MAX_REGISTERED_OF_ADDRESS: usize = 100;

/// How many bytes on disk those of one address may have: a quarter of all, or twenty of the largest.
pub(super) const MAX_REGISTERED_BYTES_OF_ADDRESS: u64 = MAX_REGISTERED_BYTES / 4;

/// How long a registered metainfo has to be without anybody in its swarm before another may take its place.
pub(super) const LEAST_UNSEEN: Duration = Duration::from_secs(60);

/// How many bytes the registered metainfos may have on disk, in both forms together.
pub const MAX_REGISTERED_BYTES: u64 = 512 * 1024 * 1024;

/// How long a registered metainfo stays that nobody seeds or fetches.
pub const UNSEEN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The lowest port that an upload may ask for: those below belong to the system.
pub const MIN_PORT: u16 = 1024;

impl Library {
    /// Whether one more upload may ask for that port.
    pub fn check_port(&self, port: u16) -> Result<(), HttpFailure> {
        if port < MIN_PORT {
            return Err(HttpFailure::new(400, format!("port {port}: a seeder's port is from {MIN_PORT} to 65535")));
        }
        let used = |entry: &LibraryEntry| match entry.origin {
            FileOrigin::Upload { port, .. } => port,
            FileOrigin::Registered { .. } => None,
        };
        let ports: BTreeSet<u16> = self.state().entries.values().filter_map(used).collect();
        if ports.len() >= MAX_PORTS && !ports.contains(&port) {
            return Err(HttpFailure::new(
                409,
                format!("{MAX_PORTS} different ports are in use, which is the most; choose one of them"),
            ));
        }
        Ok(())
    }

    /// Whether there may be one more upload, by that address where that bounds it.
    pub fn check_room_for_upload(&self, by: Option<IpAddr>) -> Result<(), HttpFailure> {
        let (all, own) = self.count_uploads(by);
        if all >= MAX_UPLOADS {
            let sentence = format!("{MAX_UPLOADS} files are shared here already; there is no room for more");
            return Err(HttpFailure::new(507, sentence));
        }
        if by.is_some() && own * UPLOADS_LEFT + (all - own) >= MAX_UPLOADS {
            let sentence = format!(
                "{own} files from your address are shared here, which is the most that one address may have; \
                 whoever runs this machine can remove some"
            );
            return Err(HttpFailure::new(507, sentence));
        }
        Ok(())
    }

    /// How many uploads there are, and how many of them are of that address.
    fn count_uploads(&self, whose: Option<IpAddr>) -> (usize, usize) {
        let (mut all, mut own) = (0, 0);
        for entry in self.state().entries.values() {
            if let FileOrigin::Upload { by, .. } = entry.origin {
                all += 1;
                own += usize::from(by.is_some() && by == whose);
            }
        }
        (all, own)
    }

    /// How many bytes the uploads of an address have.
    pub fn bytes_of(&self, whose: IpAddr) -> u64 {
        let state = self.state();
        let own = state
            .entries
            .values()
            .filter(|entry| matches!(entry.origin, FileOrigin::Upload { by, .. } if by == Some(whose)));
        own.map(|entry| entry.length).sum()
    }

    /// Makes room for one more metainfo that `by` registers, by taking off those that nobody was seen with for longest.
    pub(super) fn make_room_for_registered(&self, by: IpAddr) -> Result<(), HttpFailure> {
        while let Some(name) = self.in_the_way_of(by)? {
            self.remove(&name).map_err(|error| HttpFailure::of_disk(&error))?;
        }
        Ok(())
    }

    /// Whose place a metainfo of `by` has to take; nobody's while there is room.
    fn in_the_way_of(&self, by: IpAddr) -> Result<Option<String>, HttpFailure> {
        let state = self.state();
        let mut registered = Vec::new();
        for (name, entry) in &state.entries {
            if let FileOrigin::Registered { bytes, seen, by } = entry.origin {
                registered.push((seen, by, bytes, name));
            }
        }
        let of_one = registered.iter().filter(|(_, whose, ..)| *whose == Some(by)).count();
        let bytes: u64 = registered.iter().map(|(_, _, bytes, _)| bytes).sum();
        let own = registered.iter().filter(|(_, whose, ..)| *whose == Some(by));
        let bytes_of_one: u64 = own.map(|(_, _, bytes, _)| bytes).sum();
        let is_one_full = of_one >= MAX_REGISTERED_OF_ADDRESS || bytes_of_one >= MAX_REGISTERED_BYTES_OF_ADDRESS;
        if !is_one_full && registered.len() < MAX_REGISTERED && bytes < MAX_REGISTERED_BYTES {
            return Ok(None);
        }
        let candidates = registered.iter().filter(|(_, whose, ..)| !is_one_full || *whose == Some(by));
        let oldest = candidates.min_by_key(|(seen, ..)| *seen);
        let unseen = oldest.filter(|(seen, ..)| now_seconds().saturating_sub(*seen) >= LEAST_UNSEEN.as_secs());
        let count = if is_one_full { of_one } else { registered.len() };
        let whose = if is_one_full { " from your address" } else { "" };
        let sentence = || {
            format!("{count} metainfos{whose} are registered already, all of them in use; there is no room for more")
        };
        unseen.map(|(.., name)| Some((*name).clone())).ok_or_else(|| HttpFailure::new(507, sentence()))
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
            let FileOrigin::Registered { seen, .. } = &mut entry.origin else { return true };
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
}
