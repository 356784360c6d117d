//! What is remembered of the machines of each file on the page (pure): since when they are here, how fast they were, and
//! that they were here at all when they have left. The swarm table knows only who is here, and forgets at once.
//!
//! Only files that are [followed](History::follow) are remembered, so no stranger's torrent takes memory here.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    metainfo::{InfoHash, PeerId},
    quota::{Origin, Tally},
    status::RateMeter,
};

/// The most machines of one file: more rows than a person reads, in a page of 300 KiB.
pub const MAX_MACHINES: usize = 1000;

/// The most machines of all files together, 300 bytes each.
const MAX_MACHINES_IN_ALL: usize = 10_000;

/// How long a machine is remembered that has left.
const GONE_TIME: Duration = Duration::from_secs(60 * 60);

/// Machines of the files on the page.
#[derive(Debug, Default)]
pub struct History {
    files: HashMap<InfoHash, HashMap<PeerId, Machine>>,
    machines: usize,
}

/// One machine, as it was seen last. Times are on the clock of whoever looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Where it was.
    pub address: SocketAddr,
    /// Bytes it lacks, where that is known.
    pub left: Option<u64>,
    /// When it was seen first.
    pub began: Duration,
    /// When it was seen last.
    pub seen: Duration,
    /// When it was first seen with everything, if it was seen without.
    pub finished: Option<Duration>,
    /// Whether it has said goodbye.
    pub has_left: bool,
    /// What it gave, by its own account.
    pub given: RateMeter,
    /// What it took, by its own account.
    pub taken: RateMeter,
    /// What it has, by what it tells those who are connected to it.
    pub held: RateMeter,
}

/// A machine, as an announce or a session shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sight {
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Where it is.
    pub address: SocketAddr,
    /// Bytes it lacks, where that is known.
    pub left: Option<u64>,
    /// How that was found out.
    pub told: HistoryAnswer,
}

/// How a machine showed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryAnswer {
    /// It announced: bytes that it gave and took.
    Announced {
        /// Bytes given.
        uploaded: u64,
        /// Bytes taken.
        downloaded: u64,
    },
    /// It announced that it leaves.
    Goodbye,
    /// It is connected to us, and tells which pieces it has: so many bytes.
    Connected {
        /// Bytes of whole pieces.
        has: u64,
    },
}

impl Machine {
    /// Whether it has everything.
    pub fn is_whole(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it had everything when it was seen first: it gives, and never fetched.
    pub fn is_source(&self) -> bool {
        self.is_whole() && self.finished.is_none()
    }

    /// The highest rate it was seen to take at, in bytes a second.
    pub fn peak_down(&self) -> Option<f64> {
        self.taken.peak().into_iter().chain(self.held.peak()).reduce(f64::max)
    }

    /// The highest rate it was seen to give at, in bytes a second.
    pub fn peak_up(&self) -> Option<f64> {
        self.given.peak()
    }

    fn new(sight: &Sight, now: Duration) -> Machine {
        Machine {
            address: sight.address,
            left: sight.left,
            began: now,
            seen: now,
            finished: None,
            has_left: false,
            given: RateMeter::default(),
            taken: RateMeter::default(),
            held: RateMeter::default(),
        }
    }

    fn see(&mut self, sight: &Sight, now: Duration) {
        let was_whole = self.is_whole();
        (self.address, self.seen, self.has_left) = (sight.address, now, false);
        if let Some(left) = sight.left {
            self.left = Some(left);
        }
        match sight.told {
            HistoryAnswer::Announced { uploaded, downloaded } => {
                self.given.look(uploaded, now);
                self.taken.look(downloaded, now);
            }
            HistoryAnswer::Goodbye => self.has_left = true,
            HistoryAnswer::Connected { has } => self.held.look(has, now),
        }
        match (was_whole, self.is_whole()) {
            (false, true) => self.finished = self.finished.or(Some(now)),
            // It began anew: what it had is gone.
            (true, false) => (self.began, self.finished) = (now, None),
            _ => {}
        }
    }
}

impl History {
    /// Remembers the machines of this torrent from now on.
    pub fn follow(&mut self, info_hash: InfoHash) {
        self.files.entry(info_hash).or_default();
    }

    /// Forgets a torrent and all its machines.
    pub fn unfollow(&mut self, info_hash: &InfoHash) {
        self.machines -= self.files.remove(info_hash).map_or(0, |machines| machines.len());
    }

    /// Forgets all torrents but these.
    pub fn follow_only(&mut self, hashes: &HashSet<InfoHash>) {
        self.files.retain(|hash, _| hashes.contains(hash));
        self.machines = self.files.values().map(HashMap::len).sum();
    }

    /// Takes in a machine. One that goes by a name that another address of the same kind has is left out: anybody may call
    /// himself anything.
    pub fn see(&mut self, info_hash: &InfoHash, sight: &Sight, now: Duration) {
        let Some(machines) = self.files.get_mut(info_hash) else { return };
        match machines.get_mut(&sight.peer_id) {
            Some(known) => {
                let (ip, other) = (known.address.ip(), sight.address.ip());
                if ip == other || ip.is_ipv4() != other.is_ipv4() || known.has_left {
                    known.see(sight, now);
                }
            }
            None if sight.told == HistoryAnswer::Goodbye => {}
            None => {
                let fullest = match machines.len() {
                    MAX_MACHINES.. => Some(*info_hash),
                    _ if self.machines < MAX_MACHINES_IN_ALL => None,
                    _ => self.files.iter().max_by_key(|(_, machines)| machines.len()).map(|(hash, _)| *hash),
                };
                if fullest.is_some_and(|hash| !self.make_room(&hash, sight)) {
                    return;
                }
                let mut machine = Machine::new(sight, now);
                machine.see(sight, now);
                if let Some(machines) = self.files.get_mut(info_hash) {
                    machines.insert(sight.peer_id, machine);
                    self.machines += 1;
                }
            }
        }
    }

    /// Forgets one machine of that file, of the origin that has most: one that has left, if its origin has as many as the newcomer's,
    /// else one that is here, if it has two more. False when none makes room.
    fn make_room(&mut self, hash: &InfoHash, newcomer: &Sight) -> bool {
        let Some(machines) = self.files.get_mut(hash) else { return false };
        let origin = |address: SocketAddr| Origin::of(address.ip());
        let tally: Tally = machines.values().map(|machine| (origin(machine.address), 1)).collect();
        let weight = |machine: &Machine| tally.weight(origin(machine.address));
        let own = tally.weight(origin(newcomer.address));
        let first = |has_left: bool, least: u64| {
            let those = machines.iter().filter(|(_, machine)| machine.has_left == has_left && weight(machine) >= least);
            those.max_by_key(|(_, machine)| (weight(machine), Reverse(machine.seen))).map(|(id, _)| *id)
        };
        let Some(id) = first(true, own).or_else(|| first(false, own + 2)) else { return false };
        machines.remove(&id);
        self.machines -= 1;
        true
    }

    /// All machines of a torrent.
    pub fn machines(&self, info_hash: &InfoHash) -> Vec<(PeerId, Machine)> {
        let machines = self.files.get(info_hash).into_iter().flatten();
        machines.map(|(id, machine)| (*id, *machine)).collect()
    }

    /// Forgets those who were not seen for long.
    pub fn sweep(&mut self, now: Duration) {
        for machines in self.files.values_mut() {
            let before = machines.len();
            machines.retain(|_, machine| now.saturating_sub(machine.seen) < GONE_TIME);
            self.machines -= before - machines.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: InfoHash = InfoHash([1; 20]);

    fn id(number: u32) -> PeerId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&number.to_be_bytes());
        PeerId(id)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn announced(number: u32, left: u64, downloaded: u64) -> Sight {
        let address = "10.0.0.1:6881".parse().unwrap();
        Sight {
            peer_id: id(number),
            address,
            left: Some(left),
            told: HistoryAnswer::Announced { uploaded: 0, downloaded },
        }
    }

    fn followed() -> History {
        let mut history = History::default();
        history.follow(FILE);
        history
    }

    fn only(history: &History) -> Machine {
        let machines = history.machines(&FILE);
        assert_eq!(machines.len(), 1);
        machines[0].1
    }

    #[test]
    fn a_machine_that_fetches_ends_and_leaves_stays_to_be_seen() {
        let mut history = followed();
        for (left, downloaded, now) in [(1000, 0, 10), (500, 500, 15), (0, 1000, 17)] {
            history.see(&FILE, &announced(1, left, downloaded), at(now));
        }
        history.see(&FILE, &Sight { told: HistoryAnswer::Goodbye, ..announced(1, 0, 1000) }, at(20));
        let machine = only(&history);
        assert_eq!((machine.began, machine.finished, machine.has_left), (at(10), Some(at(17)), true));
        assert_eq!((machine.taken.rate(), machine.peak_down()), (Some(250.0), Some(250.0)));
        assert!(machine.is_whole() && !machine.is_source());
        history.sweep(at(20) + GONE_TIME);
        assert!(history.machines(&FILE).is_empty());
        assert_eq!(history.machines, 0);
    }

    #[test]
    fn who_had_everything_from_the_start_is_a_source() {
        let mut history = followed();
        history.see(&FILE, &announced(1, 0, 0), at(1));
        assert!(only(&history).is_source());
    }

    #[test]
    fn strangers_torrents_and_late_goodbyes_take_no_memory() {
        let mut history = followed();
        history.see(&InfoHash([2; 20]), &announced(1, 0, 0), at(1));
        history.see(&FILE, &Sight { told: HistoryAnswer::Goodbye, ..announced(1, 0, 0) }, at(1));
        assert_eq!(history.machines, 0);
    }

    #[test]
    fn nobody_takes_anothers_place_by_taking_its_name() {
        let mut history = followed();
        history.see(&FILE, &announced(1, 7, 0), at(1));
        let forged = Sight { address: "10.0.0.2:6881".parse().unwrap(), ..announced(1, 0, 0) };
        history.see(&FILE, &forged, at(2));
        assert_eq!(only(&history).left, Some(7));
        let same_over_ipv6 = Sight { address: "[fd00::1]:6881".parse().unwrap(), ..announced(1, 3, 0) };
        history.see(&FILE, &same_over_ipv6, at(3));
        assert_eq!(only(&history).left, Some(3));
    }

    #[test]
    fn memory_is_bounded_and_those_who_left_make_room_first() {
        let mut history = followed();
        for number in 0..=MAX_MACHINES as u32 {
            history.see(&FILE, &announced(number, 1, 0), at(1));
        }
        let ids = |history: &History| history.machines(&FILE).iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let last = id(MAX_MACHINES as u32);
        assert!(ids(&history).len() == MAX_MACHINES && !ids(&history).contains(&last));
        history.see(&FILE, &Sight { told: HistoryAnswer::Goodbye, ..announced(5, 1, 0) }, at(2));
        history.see(&FILE, &announced(MAX_MACHINES as u32, 1, 0), at(3));
        assert!(ids(&history).contains(&last) && !ids(&history).contains(&id(5)));
        history.unfollow(&FILE);
        assert_eq!(history.machines, 0);
    }

    #[test]
    fn a_host_of_many_names_pushes_out_its_own_and_nobody_elses() {
        let mut history = followed();
        let from =
            |number: u32, host: u8| Sight { address: ([10, 0, 0, host], 6881).into(), ..announced(number, 1, 0) };
        let gone = |number, host| Sight { told: HistoryAnswer::Goodbye, ..from(number, host) };
        // One that left before all others, and one that is here.
        history.see(&FILE, &from(1, 2), at(1));
        history.see(&FILE, &gone(1, 2), at(1));
        history.see(&FILE, &from(2, 2), at(1));
        for number in 3..3000 {
            history.see(&FILE, &from(number, 1), at(2));
            if number < 2000 {
                history.see(&FILE, &gone(number, 1), at(3));
            }
        }
        assert_eq!(history.machines, MAX_MACHINES);
        assert!([1, 2].iter().all(|number| history.files[&FILE].contains_key(&id(*number))));
        // Nobody has left: a newcomer takes one of the many.
        let mut history = followed();
        (0..MAX_MACHINES as u32).for_each(|number| history.see(&FILE, &from(number, 1), at(2)));
        history.see(&FILE, &from(5000, 3), at(3));
        assert!(history.machines == MAX_MACHINES && history.files[&FILE].contains_key(&id(5000)));
        // The same where it is all files together that have as many as may be.
        let mut history = History::default();
        let files: Vec<_> = (0..12).map(|number| InfoHash([number; 20])).collect();
        files.iter().for_each(|file| history.follow(*file));
        for number in 0..MAX_MACHINES_IN_ALL as u32 {
            history.see(&files[number as usize % 11], &from(number, 1), at(2));
        }
        history.see(&files[11], &from(1, 2), at(3));
        assert_eq!((history.machines, history.machines(&files[11]).len()), (MAX_MACHINES_IN_ALL, 1));
    }

    #[test]
    fn a_machine_takes_300_bytes() {
        assert!(size_of::<(PeerId, Machine)>() <= 300, "{}", size_of::<(PeerId, Machine)>());
    }
}
