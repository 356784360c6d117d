//! Who counts as one origin, and what one may have, and how often it may come. Pure, but for the lock around [`Seats`].
//!
//! # What counts as one origin
//!
//! A limit for each origin is there so that nobody leaves nothing to the others. It must not count a room as one machine, nor one machine as
//! a room. Which addresses one machine can have, and which a room has, is decided here and nowhere else:
//!
//! | address | counts as | because |
//! |---|---|---|
//! | IPv4, also mapped into IPv6 | one host | more than one is hard to get, though a room may stand behind it: so a limit is never for one machine alone |
//! | IPv6 from elsewhere | its /64, as one host | a /64 is the least that a customer gets: whoever has one address there has 2⁶⁴ |
//! | IPv6 of our own link: link-local (fe80::/10), unique local (fc00::/7), and any of the /64 of the address at which it reached us | one host, and one of the hosts of its /64 | a LAN is one /64, with a host at each address |
//!
//! On our own link a host can still give itself as many addresses as it likes. So all hosts of a /64 there together are bounded too, by what
//! [`HOSTS_OF_NETWORK`] of them may have, and a quarter of everything is always left to others ([`OriginLimits`]).
//!
//! The address at which somebody reached us tells what is our own link, without a list of interfaces: whoever sends from an address of our
//! /64 and is answered there is on it. Where that address is not known, IPv6 from elsewhere is what counts.
//!
//! A customer with a /48 has 65,536 of /64, and one on a LAN can take many IPv4 addresses. What holds then is the limit for all, and that those
//! who have most make room first ([`Tally::weight`]).
//!
//! Who is *banned* is another matter: that names one address for what it did, and no share: the roster does so.

mod allowances;
mod seats;
mod tally;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use allowances::Allowances;
pub use seats::{Seat, SeatRefusal, Seats};
pub use tally::{OriginFull, Tally};

/// All hosts of a /64 of our own link may have together what so many hosts may: a lab, where each takes less than it may.
pub const HOSTS_OF_NETWORK: u64 = 10;

/// Where something comes from, as far as limits are concerned; see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(
    /// An IPv4 address is mapped. The last 64 bits of IPv6 from elsewhere are 0.
    Ipv6Addr,
);

/// What one origin may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginLimits {
    /// What one host may have.
    pub host: u64,
    /// What all hosts of a /64 of our own link may have.
    pub network: u64,
}

impl Origin {
    /// The origin of this address, which has reached us at an address that is not known.
    pub fn of(ip: IpAddr) -> Origin {
        Origin::of_peer(ip, || None)
    }

    /// The origin of this address, which has reached us at the address that `reached` tells; it is asked only where that matters.
    pub fn of_peer(ip: IpAddr, reached: impl FnOnce() -> Option<IpAddr>) -> Origin {
        let ip = match ip.to_canonical() {
            IpAddr::V4(ip) => return Origin(ip.to_ipv6_mapped()),
            IpAddr::V6(ip) => ip,
        };
        let is_on_link = || matches!(reached(), Some(IpAddr::V6(reached)) if network(reached) == network(ip));
        Origin(if is_local(ip) || is_on_link() { ip } else { network(ip) })
    }

    /// The /64 that this is one of the hosts of; nothing where it counts alone.
    pub fn network(self) -> Option<Origin> {
        let network = network(self.0);
        let is_ours = is_local(self.0) || (self.0 != network && self.0.to_ipv4_mapped().is_none());
        is_ours.then_some(Origin(network))
    }

    /// As a part of a file's name.
    pub fn to_file_name(self) -> String {
        format!("{:032x}", self.0.to_bits())
    }

    /// What [`Origin::to_file_name`] has written; the origin of no address for anything else.
    pub fn from_file_name(name: &str) -> Origin {
        Origin(Ipv6Addr::from_bits(u128::from_str_radix(name, 16).unwrap_or(0)))
    }

    fn ip(self) -> IpAddr {
        IpAddr::from(self.0).to_canonical()
    }
}

/// Whether this is an address of our own link wherever it has reached us.
fn is_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local() || ip.is_unique_local() || ip.is_loopback()
}

fn network(ip: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ip().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Origin, D::Error> {
        // It was judged when it was written: whoever was on our link then counts so now.
        Ok(match IpAddr::deserialize(deserializer)? {
            IpAddr::V4(ip) => Origin(ip.to_ipv6_mapped()),
            IpAddr::V6(ip) => Origin(ip),
        })
    }
}

impl OriginLimits {
    /// Of `all`, where one host may have `host`.
    pub fn new(all: usize, host: usize) -> OriginLimits {
        let (all, host) = (all as u64, host as u64);
        OriginLimits { host, network: host.saturating_mul(HOSTS_OF_NETWORK).min(all - all / 4).max(host) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reached(from: &str, at: &str) -> String {
        Origin::of_peer(ip(from), || Some(ip(at))).to_string()
    }

    #[test]
    fn what_counts_as_one_origin_is_what_one_machine_has() {
        for (from, at, origin, network) in [
            ("10.0.0.1", "10.0.0.9", "10.0.0.1", None),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.9", "10.0.0.1", None),
            ("203.0.113.5", "10.0.0.9", "203.0.113.5", None),
            ("2001:db8::1:5", "2001:db8:0:1::9", "2001:db8::", None),
            ("2001:db8::1:5", "10.0.0.9", "2001:db8::", None),
            ("2001:db8::1:5", "2001:db8::9", "2001:db8::1:5", Some("2001:db8::")),
            ("fe80::1:5", "fe80::9", "fe80::1:5", Some("fe80::")),
            ("fd00::1:5", "fd00::9", "fd00::1:5", Some("fd00::")),
            ("fd00::1:5", "fd00:1::9", "fd00::1:5", Some("fd00::")),
            ("fd00::", "fd00::9", "fd00::", Some("fd00::")),
            ("::1", "::1", "::1", Some("::")),
        ] {
            let found = Origin::of_peer(ip(from), || Some(ip(at)));
            let network = network.map(str::to_owned);
            assert_eq!((found.to_string(), found.network().map(|it| it.to_string())), (origin.to_owned(), network));
        }
        assert_eq!(Origin::of(ip("2001:db8::5")), Origin::of(ip("2001:db8::6")));
        assert_ne!(Origin::of(ip("fd00::5")), Origin::of(ip("fd00::6")));
        assert_ne!(reached("2001:db8::5", "2001:db8::9"), reached("2001:db8::6", "2001:db8::9"));
    }

    #[test]
    fn an_origin_is_the_same_after_it_was_written_down() {
        for (from, at) in [("10.0.0.1", "10.0.0.9"), ("2001:db8::5", "2001:db8::9"), ("2001:db8::5", "10.0.0.9")] {
            let origin = Origin::of_peer(ip(from), || Some(ip(at)));
            let json = serde_json::to_string(&origin).unwrap();
            assert_eq!(serde_json::from_str::<Origin>(&json).unwrap(), origin, "{json}");
            assert_eq!(Origin::from_file_name(&origin.to_file_name()), origin);
        }
    }

    #[test]
    fn a_network_may_have_what_ten_hosts_may_and_leaves_a_quarter() {
        let limits = |all, host| OriginLimits::new(all, host).network;
        assert_eq!((limits(200_000, 2000), limits(64, 16), limits(500, 250)), (20_000, 48, 375));
        assert_eq!((limits(2, 1), limits(1, 1), limits(9, 9)), (2, 1, 9));
    }
}
