//! How much there may be: of uploads and their ports, and of the metainfos that others register, which give way to each other.

use std::{cmp::Reverse, collections::BTreeSet, fs, io, time::Duration};

use super::{
    Library, NameClaim,
    entry::{FileOrigin, LibraryEntry, now_seconds},
};
use crate::{
    metainfo::InfoHash,
    node::MAX_PORTS,
    quota::{Origin, OriginFull, OriginLimits, Tally},
    web::{failure::HttpFailure, parts::Quota},
};

/// How many uploads there may be: each is a line of the page, a torrent that is announced, and three files, however small.
pub const MAX_UPLOADS: usize = 2000;

/// How many of them one host may have: at least so many times fewer than what the others leave. One host has a thousand at
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
    let tally: Tally = entries.clone().filter_map(|entry| Some((entry.by?, 1))).collect();
    let weighed = entries.filter_map(|entry| Some((tally.weight(entry.by?), entry)));
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

    /// Whether there may be one more upload, of that origin where that bounds it.
    pub fn check_room_for_upload(&self, by: Option<Origin>) -> Result<(), HttpFailure> {
        let (mut all, mut uploads) = (0, Tally::<u32>::default());
        for entry in self.state().entries.values() {
            if let FileOrigin::Upload { by, .. } = entry.origin {
                all += 1;
                by.into_iter().for_each(|by| uploads.add(by, 1));
            }
        }
        if all >= MAX_UPLOADS {
            let sentence = format!("{MAX_UPLOADS} files are shared here already; there is no room for more");
            return Err(HttpFailure::new(507, sentence));
        }
        let Some(by) = by else { return Ok(()) };
        let left = MAX_UPLOADS - (all - uploads.host(by) as usize);
        let limits = OriginLimits {
            host: left.div_ceil(UPLOADS_LEFT) as u64,
            ..OriginLimits::new(MAX_UPLOADS, MAX_UPLOADS / UPLOADS_LEFT)
        };
        let (own, whose) = match uploads.full(by, &limits) {
            None => return Ok(()),
            Some(OriginFull::Host) => (uploads.host(by), "your address"),
            Some(OriginFull::Network) => (limits.network, "the network of your address"),
        };
        let sentence = format!(
            "{own} files from {whose} are shared here, which is the most that one address may have; \
             whoever runs this machine can remove some"
        );
        Err(HttpFailure::new(507, sentence))
    }

    /// What an origin has of the disk.
    pub fn quota(&self, by: Origin) -> Quota {
        let mut bytes = Tally::<u64>::default();
        for entry in self.state().entries.values() {
            if let FileOrigin::Upload { by: Some(by), .. } = entry.origin {
                bytes.add(by, entry.length);
            }
        }
        Quota { by, kept: bytes.host(by), kept_of_network: bytes.network(by).unwrap_or(0) }
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
        let counts: Tally = registered.iter().filter_map(|entry| Some((entry.by?, 1))).collect();
        let bytes: Tally<u64> = registered.iter().filter_map(|entry| Some((entry.by?, entry.bytes))).collect();
        let of_origin = OriginLimits::new(MAX_REGISTERED, MAX_REGISTERED_OF_ADDRESS);
        let bytes_of_origin =
            OriginLimits { host: MAX_REGISTERED_BYTES_OF_ADDRESS, network: 3 * MAX_REGISTERED_BYTES / 4 };
        let full = by.and_then(|by| counts.full(by, &of_origin).or_else(|| bytes.full(by, &bytes_of_origin)));
        let all_bytes: u64 = registered.iter().map(|entry| entry.bytes).sum();
        if full.is_none() && registered.len() < MAX_REGISTERED && all_bytes < MAX_REGISTERED_BYTES {
            return Ok(None);
        }
        let is_unseen = |entry: &RegisteredEntry<'_>| now.saturating_sub(entry.seen) >= LEAST_UNSEEN.as_secs();
        let strangers = || registered.iter().filter(|entry| entry.by.is_some());
        let network = by.and_then(Origin::network);
        let own = || {
            strangers().filter(|entry| match full {
                Some(OriginFull::Network) => entry.by.and_then(Origin::network) == network,
                _ => entry.by == by,
            })
        };
        let gives_way = if full.is_some() {
            longest_unseen(own().filter(|entry| is_unseen(entry))).map(|(_, entry)| entry)
        } else {
            let is_greedy = |most: u64| by.is_none_or(|by| most >= counts.weight(by) + 2);
            let found = longest_unseen(strangers().filter(|entry| is_unseen(entry)))
                .or_else(|| longest_unseen(strangers()).filter(|(most, _)| is_greedy(*most)));
            let owners = registered.iter().filter(|entry| by.is_none() && entry.by.is_none() && is_unseen(entry));
            found.map(|(_, entry)| entry).or_else(|| owners.min_by_key(|entry| entry.seen))
        };
        let (count, whose) = match full {
            None => (registered.len(), ""),
            Some(OriginFull::Host) => (own().count(), " from your address"),
            Some(OriginFull::Network) => (own().count(), " from the network of your address"),
        };
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
    fn take_unseen(&self, is_seen: impl Fn(&InfoHash) -> bool) -> Vec<NameClaim<'_>> {
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
        unseen.into_iter().map(|name| NameClaim { library: self, name }).collect()
    }
}
