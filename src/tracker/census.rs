//! How many swarms and peers there may be, and the count of peers that holds them to it (pure).

use std::{fmt, net::IpAddr};

use super::address::{Asker, THIS_PROCESS};
use crate::quota::{HOSTS_OF_NETWORK, Origin, OriginFull, OriginLimits, Tally};

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
    /// Peers of one host in all swarms, and of ten times as many a whole /64 of our own link ([`quota`](crate::quota)). A room behind one
    /// router fits.
    pub peers_of_address: usize,
    /// Peers of one host in one swarm, and of a whole /64 of our own link ten times as many. A room behind one router fits, and nobody drowns the others of a swarm in
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
    Address(u64),
    /// The same of all hosts of a /64 of our own link.
    Network(u64),
    /// [`TrackerLimits::peers_of_address_in_swarm`]
    AddressInSwarm(u64),
    /// The same of all hosts of a /64 of our own link.
    NetworkInSwarm(u64),
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
            Full::Network(most) => write!(f, "you are not listed: the /64 of your address already has {most} peers"),
            Full::NetworkInSwarm(most) => {
                write!(f, "you are not listed: the /64 of your address already has {most} peers of this torrent")
            }
            Full::AddressInSwarm(most) => {
                write!(f, "you are not listed: your address already has {most} peers of this torrent")
            }
            Full::Proxy => f.write_str("you are not listed: a proxy handed this on; announce to the tracker itself"),
        }
    }
}

/// How many peers there are, in all and of each address.
#[derive(Debug, Default)]
pub struct PeerCensus {
    peers: usize,
    tally: PeerTally,
    /// The sum over all origins, of which none counts for more than its share.
    within_share: usize,
}

/// How many peers each origin has. The tracker's own process is not counted.
#[derive(Debug, Default)]
pub struct PeerTally(Tally);

impl PeerTally {
    /// Counts one more of that asker's.
    pub fn add(&mut self, asker: &Asker) {
        if !asker.is_this_process() {
            self.0.add(asker.origin(), 1);
        }
    }

    /// Counts one less of the peers that are kept under that address, and tells of which origin.
    pub fn remove(&mut self, ip: IpAddr) -> Option<Origin> {
        let origin = (ip != THIS_PROCESS).then(|| self.0.origin_of(ip))?;
        self.0.remove(origin, 1);
        Some(origin)
    }

    /// How many peers count together with that one: those of its /64 where it is of our own link, else those of its host.
    fn together(&self, origin: Origin) -> u64 {
        self.0.network(origin).unwrap_or_else(|| self.0.host(origin))
    }

    /// The same with how many of them count for the interval.
    fn share(origin: Origin) -> u64 {
        SHARE_OF_ADDRESS as u64 * if origin.network().is_some() { HOSTS_OF_NETWORK } else { 1 }
    }
}

impl PeerCensus {
    /// How many peers there are in all.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// How many there are where no address counts for more than its share: what one of them makes up changes nothing.
    pub fn within_share(&self) -> usize {
        self.within_share
    }

    /// The [weight](Tally::weight) of whoever is kept under that address.
    pub fn weight(&self, ip: IpAddr) -> usize {
        if ip == THIS_PROCESS { 0 } else { self.tally.0.weight(self.tally.0.origin_of(ip)) as usize }
    }

    /// Counts a newcomer to a swarm that has `in_swarm` peers, each origin as many as `of_swarm` tells, unless a limit is reached. The
    /// tracker's own process has as many as it has files.
    pub fn join(
        &mut self,
        asker: &Asker,
        in_swarm: usize,
        of_swarm: &PeerTally,
        limits: &TrackerLimits,
    ) -> Result<(), Full> {
        let most = if asker.is_local() { limits.peers_of_machine } else { limits.peers_of_address };
        let of_origin = OriginLimits::new(limits.peers, most);
        let in_one_swarm = OriginLimits::new(limits.peers_of_swarm, limits.peers_of_address_in_swarm);
        match () {
            () if asker.is_this_process() => {}
            () if in_swarm >= limits.peers_of_swarm => return Err(Full::Swarm(limits.peers_of_swarm)),
            () if self.peers >= room(limits.peers, asker) => return Err(Full::Peers(limits.peers)),
            () => {
                let origin = asker.origin();
                match self.tally.0.full(origin, &of_origin) {
                    Some(OriginFull::Host) => return Err(Full::Address(of_origin.host)),
                    Some(OriginFull::Network) => return Err(Full::Network(of_origin.network)),
                    None => {}
                }
                match of_swarm.0.full(origin, &in_one_swarm).filter(|_| !asker.is_local()) {
                    Some(OriginFull::Host) => return Err(Full::AddressInSwarm(in_one_swarm.host)),
                    Some(OriginFull::Network) => return Err(Full::NetworkInSwarm(in_one_swarm.network)),
                    None => {}
                }
            }
        }
        self.tally.add(asker);
        if !asker.is_this_process() {
            let origin = asker.origin();
            self.within_share += usize::from(self.tally.together(origin) <= PeerTally::share(origin));
        }
        self.peers += 1;
        Ok(())
    }

    /// Counts one peer less at that address.
    pub fn leave(&mut self, ip: IpAddr) {
        self.peers -= 1;
        if let Some(origin) = self.tally.remove(ip) {
            self.within_share -= usize::from(self.tally.together(origin) < PeerTally::share(origin));
        }
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
            census.join(asker, 0, &PeerTally::default(), &TrackerLimits::default()).unwrap();
        }
        assert_eq!((census.peers(), census.tally.0.len()), (6, 3));
        for address in ["127.0.0.1", "2001:db8::2", "10.0.0.1", "127.0.0.2", "2001:db8::1", "10.0.0.1"] {
            census.leave(ip(address));
        }
        assert_eq!((census.peers(), census.tally.0.len()), (0, 0));
        assert_eq!(census.within_share(), 0);
    }

    #[test]
    fn no_address_counts_for_more_than_its_share() {
        let mut census = PeerCensus::default();
        let [many, few] = ["10.0.0.1", "10.0.0.2"].map(|source| Asker::new(ip(source), ip("10.0.0.9"), &[]));
        for _ in 0..2 * SHARE_OF_ADDRESS {
            census.join(&many, 0, &PeerTally::default(), &TrackerLimits::default()).unwrap();
        }
        census.join(&few, 0, &PeerTally::default(), &TrackerLimits::default()).unwrap();
        assert_eq!(census.within_share(), SHARE_OF_ADDRESS + 1);
        for left in (0..2 * SHARE_OF_ADDRESS).rev() {
            census.leave(many.kept_as());
            assert_eq!(census.within_share(), left.min(SHARE_OF_ADDRESS) + 1);
        }
    }

    #[test]
    fn a_lan_of_one_64_is_listed_host_by_host_and_one_with_many_addresses_no_more_than_ten_hosts() {
        let limits = TrackerLimits { peers_of_address_in_swarm: 3, peers_of_address: 4, ..TrackerLimits::default() };
        let (mut census, mut swarm) = (PeerCensus::default(), PeerTally::default());
        let asker = |last: u16| Asker::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]), ip("fd00::ffff"), &[]);
        let mut join = |asker: &Asker| census.join(asker, 0, &swarm, &limits).map(|()| swarm.add(asker));
        assert_eq!((0..4).map(|_| join(&asker(1))).collect::<Vec<_>>()[2..], [Ok(()), Err(Full::AddressInSwarm(3))]);
        for last in 2..29 {
            assert_eq!(join(&asker(last)), Ok(()), "{last}");
        }
        assert_eq!(join(&asker(29)), Err(Full::NetworkInSwarm(30)));
        assert_eq!(join(&Asker::new(ip("10.0.0.1"), ip("10.0.0.9"), &[])), Ok(()));
        // From elsewhere a /64 is one host.
        let far =
            |last: u16| Asker::new(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]), ip("2001:db8:0:1::9"), &[]);
        assert_eq!(
            (1..=4).map(|last| join(&far(last))).collect::<Vec<_>>()[2..],
            [Ok(()), Err(Full::AddressInSwarm(3))]
        );
        for last in 1..29 {
            (0..if last == 1 { 3 } else { 1 }).for_each(|_| {
                swarm.remove(asker(last).kept_as());
                census.leave(asker(last).kept_as());
            });
        }
        assert_eq!((census.peers(), census.within_share()), (4, 4));
    }
}
