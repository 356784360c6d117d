//! How many swarms and peers there may be, and the count of peers that holds them to it (pure).

use std::{collections::HashMap, fmt, net::IpAddr};

use super::address::{Asker, THIS_PROCESS};

/// With so many peers an address has no more than its share: a machine that shares a hundred files, a room behind one router.
pub const SHARE_OF_ADDRESS: usize = 100;

/// How much the table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackerLimits {
    /// Swarms, those included that are empty but have been fetched. An empty one takes about 300 bytes.
    pub swarms: usize,
    /// Peers in all. One takes about 135 bytes.
    pub peers: usize,
    /// Peers of one swarm.
    pub peers_of_swarm: usize,
    /// Peers of one address in all swarms, a /64 counting as one address in IPv6. A room behind one router fits.
    pub peers_of_address: usize,
    /// Peers of one address in one swarm. A room behind one router fits, and nobody drowns the others of a swarm in
    /// peers that do not exist: half of what a swarm of a hundred is told of is there.
    pub peers_of_address_in_swarm: usize,
    /// Peers on the tracker's own machine: a bench or a forgotten relay may have many, but not all.
    pub peers_of_machine: usize,
}

impl Default for TrackerLimits {
    /// About 40 MB when all is full.
    fn default() -> TrackerLimits {
        TrackerLimits {
            swarms: 20_000,
            peers: 200_000,
            peers_of_swarm: 120_000,
            peers_of_address: 2_000,
            peers_of_address_in_swarm: 100,
            peers_of_machine: 100_000,
        }
    }
}

/// Which limit keeps a peer from being listed, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// [`TrackerLimits::swarms`]
    Swarms(usize),
    /// [`TrackerLimits::peers`]
    Peers(usize),
    /// [`TrackerLimits::peers_of_swarm`]
    Swarm(usize),
    /// [`TrackerLimits::peers_of_address`] or [`TrackerLimits::peers_of_machine`]
    Address(usize),
    /// [`TrackerLimits::peers_of_address_in_swarm`]
    AddressInSwarm(usize),
    /// Not a limit: a proxy stands between, so that nobody knows where the peer is.
    Proxy,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Swarms(most) => write!(f, "you are not listed: this tracker already has {most} torrents"),
            Full::Peers(most) => write!(f, "you are not listed: this tracker already has {most} peers"),
            Full::Swarm(most) => write!(f, "you are not listed: this torrent already has {most} peers"),
            Full::Address(most) => write!(f, "you are not listed: your address already has {most} peers"),
            Full::AddressInSwarm(most) => {
                write!(f, "you are not listed: your address already has {most} peers of this torrent")
            }
            Full::Proxy => f.write_str("you are not listed: a proxy handed this on; announce to the tracker itself"),
        }
    }
}

/// How many peers each address has. Who has none takes no memory.
#[derive(Debug, Default)]
pub struct Tally {
    by_address: HashMap<u64, u32>,
    /// The sum over all addresses, of which none counts for more than its share.
    within_share: usize,
}

impl Tally {
    /// How many peers the address has; none for the tracker's own process, which is not counted.
    pub fn of(&self, ip: IpAddr) -> usize {
        household(ip).and_then(|household| self.by_address.get(&household)).map_or(0, |count| *count as usize)
    }

    /// Counts one more.
    pub fn add(&mut self, ip: IpAddr) {
        if let Some(household) = household(ip) {
            let count = self.by_address.entry(household).or_default();
            *count += 1;
            self.within_share += usize::from(*count as usize <= SHARE_OF_ADDRESS);
        }
    }

    /// Counts one less.
    pub fn remove(&mut self, ip: IpAddr) {
        let Some(household) = household(ip) else { return };
        if let Some(count) = self.by_address.get_mut(&household) {
            self.within_share -= usize::from(*count as usize <= SHARE_OF_ADDRESS);
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&household);
                if self.by_address.is_empty() {
                    self.by_address.shrink_to_fit();
                }
            }
        }
    }
}

/// How many peers there are, in all and of each address.
#[derive(Debug, Default)]
pub struct PeerCensus {
    peers: usize,
    tally: Tally,
}

impl PeerCensus {
    /// How many peers there are in all.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// How many there are where no address counts for more than its share: what one of them makes up changes nothing.
    pub fn within_share(&self) -> usize {
        self.tally.within_share
    }

    /// How many of them an address has.
    pub fn of(&self, ip: IpAddr) -> usize {
        self.tally.of(ip)
    }

    /// Counts a newcomer to a swarm that has `in_swarm` peers, `of_address` of them of its address, unless a limit is
    /// reached. The tracker's own process has as many as it has files.
    pub fn join(
        &mut self,
        asker: &Asker,
        in_swarm: usize,
        of_address: usize,
        limits: &TrackerLimits,
    ) -> Result<(), Full> {
        let ip = asker.kept_as();
        let most = if asker.is_local() { limits.peers_of_machine } else { limits.peers_of_address };
        match () {
            () if asker.is_this_process() => {}
            () if in_swarm >= limits.peers_of_swarm => return Err(Full::Swarm(limits.peers_of_swarm)),
            () if self.peers >= room(limits.peers, asker) => return Err(Full::Peers(limits.peers)),
            () if self.of(ip) >= most => return Err(Full::Address(most)),
            () if !asker.is_local() && of_address >= limits.peers_of_address_in_swarm => {
                return Err(Full::AddressInSwarm(limits.peers_of_address_in_swarm));
            }
            () => {}
        }
        self.tally.add(ip);
        self.peers += 1;
        Ok(())
    }

    /// Counts one peer less at that address.
    pub fn leave(&mut self, ip: IpAddr) {
        self.peers -= 1;
        self.tally.remove(ip);
    }
}

/// What counts as one address: an IPv4 address, an IPv6 /64 (anyone has a whole one). This process is not counted.
fn household(ip: IpAddr) -> Option<u64> {
    match ip {
        THIS_PROCESS => None,
        IpAddr::V4(ip) => Some(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => Some((ip.to_bits() >> 64) as u64),
    }
}

/// How much of a limit is open to the asker. A tenth is kept for the tracker's own machine, half of that for its own process
/// alone, which is never refused: no stranger and no program can keep an upload from being announced.
pub fn room(limit: usize, asker: &Asker) -> usize {
    match () {
        () if asker.is_this_process() => usize::MAX,
        () if asker.is_local() => limit - limit / 20,
        () => limit - limit / 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_has_left_takes_no_memory() {
        let mut census = PeerCensus::default();
        let asker = |source| Asker::new(ip(source), ip("10.0.0.9"), &[]);
        let askers = ["10.0.0.1", "10.0.0.1", "2001:db8::1", "2001:db8::2", "127.0.0.1"].map(asker);
        for asker in askers.iter().chain([&Asker::this_process()]) {
            census.join(asker, 0, 0, &TrackerLimits::default()).unwrap();
        }
        assert_eq!((census.peers(), census.tally.by_address.len()), (6, 3));
        for address in ["127.0.0.1", "2001:db8::2", "10.0.0.1", "127.0.0.2", "2001:db8::1", "10.0.0.1"] {
            census.leave(ip(address));
        }
        assert_eq!((census.peers(), census.tally.by_address.len()), (0, 0));
        assert_eq!(census.within_share(), 0);
    }

    #[test]
    fn no_address_counts_for_more_than_its_share() {
        let mut census = PeerCensus::default();
        let [many, few] = ["10.0.0.1", "10.0.0.2"].map(|source| Asker::new(ip(source), ip("10.0.0.9"), &[]));
        for _ in 0..2 * SHARE_OF_ADDRESS {
            census.join(&many, 0, 0, &TrackerLimits::default()).unwrap();
        }
        census.join(&few, 0, 0, &TrackerLimits::default()).unwrap();
        assert_eq!(census.within_share(), SHARE_OF_ADDRESS + 1);
        for left in (0..2 * SHARE_OF_ADDRESS).rev() {
            census.leave(many.kept_as());
            assert_eq!(census.within_share(), left.min(SHARE_OF_ADDRESS) + 1);
        }
    }

    #[test]
    fn a_household_is_an_ipv4_address_or_an_ipv6_64() {
        assert_eq!(household(ip("2001:db8::1")), household(ip("2001:db8::ffff:1")));
        assert_ne!(household(ip("2001:db8::1")), household(ip("2001:db8:0:1::1")));
        assert_ne!(household(ip("10.0.0.1")), household(ip("10.0.0.2")));
        assert_eq!(household(THIS_PROCESS), None);
    }
}
