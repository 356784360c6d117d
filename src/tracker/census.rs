//! How many swarms and peers there may be, and the count of peers that holds them to it (pure).

use std::{collections::HashMap, fmt, net::IpAddr};

use super::address::Asker;

/// How much the table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Swarms, those included that are empty but have been fetched. An empty one takes about 200 bytes.
    pub swarms: usize,
    /// Peers in all. One takes about 110 bytes.
    pub peers: usize,
    /// Peers of one swarm.
    pub peers_of_swarm: usize,
    /// Peers of one address in all swarms, a /64 counting as one address in IPv6. A room behind one router fits.
    pub peers_of_address: usize,
}

impl Default for Limits {
    /// About 30 MB when all is full.
    fn default() -> Limits {
        Limits { swarms: 20_000, peers: 200_000, peers_of_swarm: 120_000, peers_of_address: 2_000 }
    }
}

/// Which limit keeps a peer from being listed, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// [`Limits::swarms`]
    Swarms(usize),
    /// [`Limits::peers`]
    Peers(usize),
    /// [`Limits::peers_of_swarm`]
    Swarm(usize),
    /// [`Limits::peers_of_address`]
    Address(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Swarms(most) => write!(f, "you are not listed: this tracker already has {most} torrents"),
            Full::Peers(most) => write!(f, "you are not listed: this tracker already has {most} peers"),
            Full::Swarm(most) => write!(f, "you are not listed: this torrent already has {most} peers"),
            Full::Address(most) => write!(f, "you are not listed: your address already has {most} peers"),
        }
    }
}

/// How many peers there are, in all and of each address.
#[derive(Debug, Default)]
pub struct Census {
    peers: usize,
    by_address: HashMap<u64, u32>,
}

impl Census {
    /// How many peers there are in all.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Counts a newcomer to a swarm of `swarm_len` peers, unless a limit is reached.
    pub fn join(&mut self, ip: IpAddr, asker: &Asker, swarm_len: usize, limits: &Limits) -> Result<(), Full> {
        if swarm_len >= limits.peers_of_swarm {
            return Err(Full::Swarm(limits.peers_of_swarm));
        }
        if self.peers >= room(limits.peers, asker) {
            return Err(Full::Peers(limits.peers));
        }
        let count = self.by_address.entry(household(ip)).or_default();
        // This process announces each of its uploads; other programs of this machine have one address like everybody.
        if *count as usize >= limits.peers_of_address && !asker.is_own() {
            return Err(Full::Address(limits.peers_of_address));
        }
        *count += 1;
        self.peers += 1;
        Ok(())
    }

    /// Counts one peer less at that address.
    pub fn leave(&mut self, ip: IpAddr) {
        self.peers -= 1;
        let household = household(ip);
        if let Some(count) = self.by_address.get_mut(&household) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&household);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, an IPv6 /64 (anyone has a whole one).
fn household(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

/// How much of a limit is open to the asker: the last tenth is kept for peers on the tracker's own machine, so that
/// strangers cannot keep an upload from being announced.
pub fn room(limit: usize, asker: &Asker) -> usize {
    if asker.is_local() { limit } else { limit - limit / 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_has_left_takes_no_memory() {
        let mut census = Census::default();
        let asker = Asker::new(ip("10.0.0.1"), ip("10.0.0.2"), &[]);
        for address in ["10.0.0.1", "10.0.0.1", "2001:db8::1", "2001:db8::2", "127.0.0.1"] {
            census.join(ip(address), &asker, 0, &Limits::default()).unwrap();
        }
        assert_eq!((census.peers(), census.by_address.len()), (5, 3));
        for address in ["127.0.0.1", "2001:db8::2", "10.0.0.1", "2001:db8::1", "10.0.0.1"] {
            census.leave(ip(address));
        }
        assert_eq!((census.peers(), census.by_address.len()), (0, 0));
    }

    #[test]
    fn a_household_is_an_ipv4_address_or_an_ipv6_64() {
        assert_eq!(household(ip("2001:db8::1")), household(ip("2001:db8::ffff:1")));
        assert_ne!(household(ip("2001:db8::1")), household(ip("2001:db8:0:1::1")));
        assert_ne!(household(ip("10.0.0.1")), household(ip("10.0.0.2")));
    }
}
