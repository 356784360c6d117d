//! How much there may be: of uploads and their ports, and of the metainfos that others register, which give way to each other.

use std::{cmp::Reverse, collections::BTreeSet, fs, io, time::Duration};

use super::{
    Claim, Library,
    entry::{FileOrigin, LibraryEntry, now_seconds},
};
use crate::{
    metainfo::InfoHash,
    node::MAX_PORTS,
    quota::{Origin, Weights},
    web::failure::HttpFailure,
};

/// How many uploads there may be: each is a line of the page, a torrent that is announced, and three files, however small.
pub const MAX_UPLOADS: usize = 2000;

/// How many of them one address may have: at least so many times fewer than what the others leave. One address has a thousand at
/// most, 33 for each of a class of thirty behind one router, and leaves room for others however many it has.
const UPLOADS_LEFT: usize = 2;

/// How many metainfos others may register. Each has up to 16 MiB on disk, and 200 bytes in memory. When there is one more, it
/// takes the place of one of the origin that has most.
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

/// What a registered metainfo's place in the list is judged by.
struct RegisteredEntry<'a> {
    name: &'a String,
    by: Option<Origin>,
    bytes: u64,
    seen: u64,
}

/// Of the origin that has most of these, the one in whose swarm nobody was seen for longest, and how many it has.
fn longest_unseen<'a>(
    entries: impl Iterator<Item = &'a RegisteredEntry<'a>> + Clone,
) -> Option<(u64, &'a RegisteredEntry<'a>)> {
    let weights: Weights = entries.clone().filter_map(|entry| Some((entry.by?, 1))).collect();
    let weighed = entries.filter_map(|entry| Some((weights.of(entry.by?), entry)));
    weighed.max_by_key(|(weight, entry)| (*weight, Reverse(entry.seen)))
}

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
    pub fn check_room_for_upload(&self, by: Option<Origin>) -> Result<(), HttpFailure> {
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
    fn count_uploads(&self, whose: Option<Origin>) -> (usize, usize) {
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
    pub fn bytes_of(&self, whose: Origin) -> u64 {
        let state = self.state();
        let own = state
            .entries
            .values()
            .filter(|entry| matches!(entry.origin, FileOrigin::Upload { by, .. } if by == Some(whose)));
        own.map(|entry| entry.length).sum()
    }

    /// Makes room for one more metainfo that `by` registers, or whoever's share is not bounded.
    pub(super) fn make_room_for_registered(&self, by: Option<Origin>) -> Result<(), HttpFailure> {
        while let Some(name) = self.in_the_way_of(by)? {
            self.remove(&name).map_err(|error| HttpFailure::of_disk(&error))?;
        }
        Ok(())
    }

    /// Whose place one more metainfo has to take; nobody's while there is room. Those that nobody was seen with go first, of
    /// the origin that has most of them. While all are in use, whoever has two more than the newcomer gives one up, and any stranger to
    /// whoever's share is not bounded; what such a one has registered goes for no stranger.
    pub(super) fn in_the_way_of(&self, by: Option<Origin>) -> Result<Option<String>, HttpFailure> {
        let (state, now) = (self.state(), now_seconds());
        let mut registered = Vec::new();
        for (name, entry) in &state.entries {
            if let FileOrigin::Registered { bytes, seen, by } = entry.origin {
                registered.push(RegisteredEntry { name, by, bytes, seen });
            }
        }
        let own = || registered.iter().filter(|entry| by.is_some() && entry.by == by);
        let (count, bytes) = (own().count(), own().map(|entry| entry.bytes).sum::<u64>());
        let is_one_full = count >= MAX_REGISTERED_OF_ADDRESS || bytes >= MAX_REGISTERED_BYTES_OF_ADDRESS;
        let all_bytes: u64 = registered.iter().map(|entry| entry.bytes).sum();
        if !is_one_full && registered.len() < MAX_REGISTERED && all_bytes < MAX_REGISTERED_BYTES {
            return Ok(None);
        }
        let is_unseen = |entry: &RegisteredEntry<'_>| now.saturating_sub(entry.seen) >= LEAST_UNSEEN.as_secs();
        let gives_way = if is_one_full {
            own().filter(|entry| is_unseen(entry)).min_by_key(|entry| entry.seen)
        } else {
            let strangers = || registered.iter().filter(|entry| entry.by.is_some());
            let is_greedy = |most: u64| by.is_none() || most >= count as u64 + 2;
            let found = longest_unseen(strangers().filter(|entry| is_unseen(entry)))
                .or_else(|| longest_unseen(strangers()).filter(|(most, _)| is_greedy(*most)));
            let owners = registered.iter().filter(|entry| by.is_none() && entry.by.is_none() && is_unseen(entry));
            found.map(|(_, entry)| entry).or_else(|| owners.min_by_key(|entry| entry.seen))
        };
        let (count, whose) = if is_one_full { (count, " from your address") } else { (registered.len(), "") };
        let sentence = || {
            format!("{count} metainfos{whose} are registered already, all of them in use; there is no room for more")
        };
        gives_way.map(|entry| Some(entry.name.clone())).ok_or_else(|| HttpFailure::new(507, sentence()))
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
