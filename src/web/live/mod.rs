//! What the page says of the machines of a file, made in one place (pure: no clock, lock, socket or thread).
//!
//! - `machine` is what is known of one machine, and the rule for what wins when announces, sessions and our own transfers
//!   disagree.
//! - [`RoomModel`] keeps the machines of every file on the page, those that have left among them.
//! - `picture` makes rows, counts, the bar and the piece map of it; `rounds` tells how long it took, beside one server alone.
//!
//! Only files that are [followed](RoomModel::follow) are remembered, so no stranger's torrent takes memory here.

mod machine;
mod map;
mod picture;
mod rounds;

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sha1::{Digest, Sha1};

use crate::{
    metainfo::{InfoHash, PeerId},
    quota::{Origin, Tally},
};
use rounds::Rounds;

pub use machine::{Machine, Sighting, SightingKind};
pub use map::PieceMap;
pub use picture::{Doing, OwnPart, Picture, PictureSources, Row, kept_as};
pub use rounds::{Measure, RoundRecord};

/// The most machines of one file: more rows than a person reads, in a page of 300 KiB.
pub const MAX_MACHINES: usize = 1000;

/// The most machines of all files together, 600 bytes each.
const MAX_MACHINES_IN_ALL: usize = 10_000;

/// How long a machine is remembered that has left.
const GONE_TIME: Duration = Duration::from_secs(60 * 60);

/// The machines of the files on the page.
#[derive(Debug, Default)]
pub struct RoomModel {
    files: HashMap<InfoHash, FileRoom>,
    machines: usize,
}

/// The machines of one file, and how its rounds went.
#[derive(Debug, Clone, Default)]
pub struct FileRoom {
    machines: HashMap<PeerId, Machine>,
    rounds: Rounds,
    /// Bytes of the file; 0 until it is known.
    length: u64,
    /// Whether something may have changed that a round is made of.
    is_moving: bool,
}

impl RoomModel {
    /// Remembers the machines of this torrent from now on.
    pub fn follow(&mut self, info_hash: InfoHash, length: u64) {
        self.files.entry(info_hash).or_default().length = length;
    }

    /// Forgets a torrent and all its machines.
    pub fn unfollow(&mut self, info_hash: &InfoHash) {
        self.machines -= self.files.remove(info_hash).map_or(0, |file| file.machines.len());
    }

    /// Forgets all torrents but these.
    pub fn follow_only(&mut self, hashes: &HashSet<InfoHash>) {
        self.files.retain(|hash, _| hashes.contains(hash));
        self.machines = self.files.values().map(|file| file.machines.len()).sum();
    }

    /// Takes in what a machine showed.
    pub fn see(&mut self, info_hash: &InfoHash, sighting: Sighting) {
        let Some(file) = self.files.get_mut(info_hash) else { return };
        let before = file.machines.len();
        let Some((key, newcomer)) = file.see(sighting) else {
            self.machines = self.machines + file.machines.len() - before;
            return;
        };
        let fullest = match before {
            MAX_MACHINES.. => Some(*info_hash),
            _ if self.machines < MAX_MACHINES_IN_ALL => None,
            _ => self.files.iter().max_by_key(|(_, file)| file.machines.len()).map(|(hash, _)| *hash),
        };
        if fullest.is_some_and(|hash| !self.make_room(&hash, newcomer.address())) {
            return;
        }
        if let Some(file) = self.files.get_mut(info_hash) {
            file.machines.insert(key, newcomer);
            self.machines += 1;
        }
    }

    /// Forgets one machine of that file, of the origin that has most: one that has left, if its origin has as many as the newcomer's,
    /// else one that is here, if it has two more. False when none makes room.
    fn make_room(&mut self, hash: &InfoHash, newcomer: SocketAddr) -> bool {
        let Some(machines) = self.files.get_mut(hash).map(|file| &mut file.machines) else { return false };
        let origin = |address: SocketAddr| Origin::of(address.ip());
        let tally: Tally = machines.values().map(|machine| (origin(machine.address()), 1)).collect();
        let weight = |machine: &Machine| tally.weight(origin(machine.address()));
        let own = tally.weight(origin(newcomer));
        let first = |has_left: bool, least: u64| {
            let those = machines.iter().filter(|(_, one)| one.has_left() == has_left && weight(one) >= least);
            those.max_by_key(|(_, machine)| (weight(machine), Reverse(machine.seen()))).map(|(id, _)| *id)
        };
        let Some(id) = first(true, own).or_else(|| first(false, own + 2)) else { return false };
        machines.remove(&id);
        self.machines -= 1;
        true
    }

    /// The machines of a torrent, where it is followed.
    pub fn file(&self, info_hash: &InfoHash) -> Option<&FileRoom> {
        self.files.get(info_hash)
    }

    /// Measures the round of one file, if something moves there; `present` is who is in its swarm.
    pub fn measure_round(&mut self, info_hash: &InfoHash, now: Duration, present: &HashSet<PeerId>) {
        if let Some(file) = self.files.get_mut(info_hash).filter(|file| file.is_moving) {
            file.is_moving = file.rounds.measure(&file.machines, file.length, now, present);
        }
    }

    /// Measures the rounds of all files in which something moves; `present` tells who is in the swarm of a file.
    pub fn measure_rounds(&mut self, now: Duration, present: impl Fn(&InfoHash) -> HashSet<PeerId>) {
        for (hash, file) in self.files.iter_mut().filter(|(_, file)| file.is_moving) {
            file.is_moving = file.rounds.measure(&file.machines, file.length, now, &present(hash));
        }
    }

    /// Forgets those that were not seen for long.
    pub fn sweep(&mut self, now: Duration) {
        for file in self.files.values_mut() {
            let before = file.machines.len();
            file.machines.retain(|_, machine| now.saturating_sub(machine.seen()) < GONE_TIME);
            self.machines -= before - file.machines.len();
        }
    }
}

impl FileRoom {
    /// The machines, those that have left among them.
    pub fn machines(&self) -> impl Iterator<Item = (&PeerId, &Machine)> {
        self.machines.iter()
    }

    /// The rounds that are over, the newest last.
    pub fn past_rounds(&self) -> impl Iterator<Item = &RoundRecord> {
        self.rounds.past()
    }

    /// The round that runs, or else the last one.
    pub fn round(&self) -> Option<Measure> {
        self.rounds.shown()
    }

    /// The machine that is meant by what comes over a session, under a peer id from an address. Anybody may call itself anything: who
    /// does so from elsewhere, and is not believed, is a machine of its own.
    pub fn key_of(&self, peer_id: PeerId, ip: IpAddr) -> PeerId {
        match self.machines.get(&peer_id) {
            Some(machine) if !machine.is_believed_at(ip) => stranger(peer_id, ip),
            Some(_) => peer_id,
            None => {
                let alias = self.machines.iter().find(|(_, machine)| machine.alias == Some(peer_id));
                alias.map_or(peer_id, |(id, _)| *id)
            }
        }
    }

    /// Takes in what a machine showed; gives back one that is new, for which there must be room first.
    fn see(&mut self, sighting: Sighting) -> Option<(PeerId, Machine)> {
        self.is_moving = true;
        let (id, ip) = (sighting.peer_id, sighting.address.ip());
        let is_session = matches!(sighting.told, SightingKind::Session { .. });
        let judged = self.machines.get_mut(&id).map(|machine| machine.judge(&sighting, self.length));
        let key = match judged {
            Some(true) => id,
            Some(false) if is_session => stranger(id, ip),
            // An announce under a peer id that another address has.
            Some(false) => return None,
            None if is_session => self.announced_as(&sighting).unwrap_or(id),
            None => id,
        };
        let before = self.take_restarted(&sighting);
        if let Some(machine) = self.machines.get_mut(&key) {
            machine.see(&sighting);
            before.as_ref().inspect(|before| machine.go_on_from(before));
            return None;
        }
        if matches!(sighting.told, SightingKind::Goodbye { .. }) {
            return None;
        }
        let mut machine = Machine::new(&sighting);
        machine.see(&sighting);
        before.as_ref().inspect(|before| machine.go_on_from(before));
        if before.is_some() {
            self.machines.insert(key, machine);
            return None;
        }
        Some((key, machine))
    }

    /// Who in the swarm a session is with whose peer id was not announced: whoever announced its very address, or the only one at
    /// that machine of which no session is known. Some clients use another peer id for each connection.
    fn announced_as(&mut self, sighting: &Sighting) -> Option<PeerId> {
        let known = self.key_of(sighting.peer_id, sighting.address.ip());
        if known != sighting.peer_id {
            return Some(known);
        }
        let (ip, port) = (sighting.address.ip(), sighting.address.port());
        let at = |machine: &Machine| machine.announced_at().filter(|at| at.ip() == ip);
        let free = self.machines.iter_mut().filter(|(_, machine)| at(machine).is_some() && !machine.has_session());
        let mut free: Vec<(&PeerId, &mut Machine)> = free.collect();
        let same = free.iter().position(|(_, machine)| at(machine).is_some_and(|at| at.port() == port));
        let found = match (same, free.len()) {
            (Some(same), _) => same,
            // Others of the same machine may be connected under their own names.
            (None, 1) if !ip.is_loopback() => 0,
            _ => return None,
        };
        let (id, machine) = free.swap_remove(found);
        machine.alias = Some(sighting.peer_id);
        Some(*id)
    }

    /// A program that announces from the very address and port of another peer id has taken its place: it was started again, and goes
    /// on in the round in which the other was, which is forgotten.
    fn take_restarted(&mut self, sighting: &Sighting) -> Option<Machine> {
        if !matches!(sighting.told, SightingKind::Announced { .. }) || sighting.address.port() == 0 {
            return None;
        }
        let is_before = |(id, machine): &(&PeerId, &Machine)| {
            **id != sighting.peer_id
                && machine.announced_at() == Some(sighting.address)
                && machine.seen() <= sighting.at
        };
        let before = self.machines.iter().find(is_before).map(|(id, _)| *id)?;
        self.machines.remove(&before)
    }
}

/// Stands for whoever uses another's peer id.
fn stranger(peer_id: PeerId, ip: IpAddr) -> PeerId {
    PeerId(Sha1::new().chain_update(peer_id.0).chain_update(ip.to_string()).finalize().into())
}
