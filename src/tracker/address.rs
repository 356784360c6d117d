//! Which address a peer is handed out under, and to whom (pure).
//!
//! The tracker believes only what it sees: the address that an announce came from. What a query says about addresses
//! (`ip=`, and `ipv4=`, `ipv6=` of BEP 7) is not even read, so nobody can aim a swarm at somebody else.
//!
//! A peer on the tracker's own machine is the awkward one: it announces from 127.0.0.1, where no other machine can
//! dial it. All of them are kept under one address, [`THIS_MACHINE`], and each asker gets them under the address at
//! which it reached the tracker: that one is known to lead here. The tracker's own process is kept apart from them, under
//! [`THIS_PROCESS`]: nothing that comes over a socket can speak for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::quota::Origin;

/// What every peer on the tracker's own machine is kept under. No other machine's is ever kept under a loopback address.
pub const THIS_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the tracker's own process is kept under.
pub const THIS_PROCESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Who sent an announce, as the tracker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    source: IpAddr,
    reached: IpAddr,
    place: NetworkPlace,
}

/// Where an asker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NetworkPlace {
    Elsewhere,
    ThisMachine,
    ThisProcess,
    /// Behind a proxy: what is seen is the proxy's address, and what the proxy says of others could be said by anyone.
    Unknown,
}

impl Asker {
    /// The asker at `source`, who reached the tracker at its address `reached`; `own` are the addresses of the
    /// tracker's machine as far as they are known. An IPv4 address within an IPv6 one counts as the IPv4 address.
    pub fn new(source: IpAddr, reached: IpAddr, own: &[IpAddr]) -> Asker {
        let (source, reached) = (source.to_canonical(), reached.to_canonical());
        let is_local = source.is_loopback() || source == reached || own.iter().any(|ip| ip.to_canonical() == source);
        Asker { source, reached, place: if is_local { NetworkPlace::ThisMachine } else { NetworkPlace::Elsewhere } }
    }

    /// A seeder or fetcher in the tracker's own process.
    pub fn this_process() -> Asker {
        Asker { source: THIS_PROCESS, reached: THIS_MACHINE, place: NetworkPlace::ThisProcess }
    }

    /// The same, but somebody handed the announce on: `source` is theirs.
    pub fn handed_on(self) -> Asker {
        Asker { place: NetworkPlace::Unknown, ..self }
    }

    /// Whether the asker runs on the tracker's machine.
    pub fn is_local(&self) -> bool {
        matches!(self.place, NetworkPlace::ThisMachine | NetworkPlace::ThisProcess)
    }

    /// Whether the asker is the tracker's own process.
    pub fn is_this_process(&self) -> bool {
        self.place == NetworkPlace::ThisProcess
    }

    /// Whether nobody knows where the asker is, so that it cannot be listed.
    pub fn is_handed_on(&self) -> bool {
        self.place == NetworkPlace::Unknown
    }

    /// The address that the asker is kept under.
    pub fn kept_as(&self) -> IpAddr {
        if self.place == NetworkPlace::ThisMachine { THIS_MACHINE } else { self.source }
    }

    /// What counts as one with it where limits are concerned.
    pub fn origin(&self) -> Origin {
        Origin::of_peer(self.kept_as(), || Some(self.reached))
    }

    /// The address that people are shown for it: this machine's for all that run on it.
    pub fn shown_as(&self) -> IpAddr {
        if self.is_local() { THIS_MACHINE } else { self.source }
    }

    /// Whether the asker came over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// The address under which this asker can dial a peer that is kept under `kept`, if it can at all.
    pub fn dials(&self, kept: IpAddr) -> Option<IpAddr> {
        let ip = if kept.is_loopback() { self.reached } else { kept };
        let within_reach = match scope(ip) {
            Scope::Nowhere => false,
            Scope::Machine => self.is_local(),
            Scope::Site => self.is_local() || scope(self.source) != Scope::Public,
            Scope::Public => true,
        };
        within_reach.then_some(ip)
    }
}

/// From how far away an address can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Nowhere,
    Machine,
    Site,
    Public,
}

fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Scope::Machine,
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() => Scope::Nowhere,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_carrier_grade(ip) => Scope::Site,
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Scope::Machine,
        // A link-local IPv6 address means nothing without the name of an interface, which no reply can carry.
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() => Scope::Nowhere,
        IpAddr::V6(ip) if ip.is_unique_local() => Scope::Site,
        _ => Scope::Public,
    }
}

/// 100.64.0.0/10 (RFC 6598): behind a provider's own translation, and in overlay networks.
fn is_carrier_grade(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

/// Whether a peer at this address could be dialled by anyone; what a tracker's answer names must pass it.
pub fn is_dialable(ip: IpAddr) -> bool {
    scope(ip) != Scope::Nowhere
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn asker(source: &str, reached: &str) -> Asker {
        Asker::new(ip(source), ip(reached), &[ip("192.168.1.5"), ip("10.0.0.5")])
    }

    #[test]
    fn the_trackers_own_machine_is_known_by_each_of_its_addresses() {
        for source in ["127.0.0.1", "127.8.8.8", "::1", "192.168.1.5", "10.0.0.5", "::ffff:192.168.1.5"] {
            assert!(asker(source, "192.168.1.5").is_local(), "{source}");
            assert_eq!(asker(source, "192.168.1.5").kept_as(), THIS_MACHINE);
        }
        assert!(Asker::new(ip("203.0.113.5"), ip("203.0.113.5"), &[]).is_local(), "it reached itself");
        assert_eq!(asker("192.168.1.6", "192.168.1.5").kept_as(), ip("192.168.1.6"));
        assert_eq!(asker("::ffff:192.168.1.6", "::ffff:192.168.1.5").kept_as(), ip("192.168.1.6"));
    }

    #[test]
    fn a_peer_on_the_trackers_machine_goes_out_under_the_address_that_the_asker_reached() {
        assert_eq!(asker("192.168.1.6", "192.168.1.5").dials(THIS_MACHINE), Some(ip("192.168.1.5")));
        assert_eq!(asker("10.0.0.9", "::ffff:10.0.0.5").dials(THIS_MACHINE), Some(ip("10.0.0.5")));
        assert_eq!(asker("2001:db8::6", "2001:db8::5").dials(THIS_MACHINE), Some(ip("2001:db8::5")));
        assert_eq!(asker("127.0.0.1", "127.0.0.1").dials(THIS_MACHINE), Some(ip("127.0.0.1")));
        assert_eq!(asker("192.168.1.5", "192.168.1.5").dials(THIS_MACHINE), Some(ip("192.168.1.5")));
        assert_eq!(Asker::this_process().dials(THIS_MACHINE), Some(ip("127.0.0.1")));
    }

    #[test]
    fn the_trackers_own_process_is_kept_apart_and_handed_out_as_its_machine() {
        assert_eq!(Asker::this_process().kept_as(), THIS_PROCESS);
        assert_eq!(asker("127.0.0.2", "127.0.0.1").kept_as(), THIS_MACHINE, "nobody else can be kept as it");
        assert_eq!(asker("192.168.1.6", "192.168.1.5").dials(THIS_PROCESS), Some(ip("192.168.1.5")));
        assert_eq!(asker("127.0.0.1", "127.0.0.1").dials(THIS_PROCESS), Some(ip("127.0.0.1")));
    }

    #[test]
    fn behind_a_proxy_nobody_is_taken_for_the_trackers_machine() {
        for source in ["127.0.0.1", "192.168.1.5"] {
            let asker = asker(source, "127.0.0.1").handed_on();
            assert!(asker.is_handed_on() && !asker.is_local());
            assert_eq!(asker.dials(THIS_MACHINE), None, "its loopback is not ours");
            assert_eq!(asker.dials(ip("192.168.9.9")), Some(ip("192.168.9.9")));
        }
    }

    #[test]
    fn loopback_never_leaves_the_machine() {
        // A relay that hides where the asker arrived must not send it to its own loopback.
        assert_eq!(asker("192.168.1.6", "127.0.0.1").dials(THIS_MACHINE), None);
        assert_eq!(asker("192.168.1.6", "::1").dials(THIS_MACHINE), None);
    }

    #[test]
    fn private_addresses_stay_among_private_ones() {
        for private in ["10.1.2.3", "172.16.0.1", "192.168.9.9", "169.254.3.3", "100.64.0.1", "fd00::1"] {
            assert_eq!(asker("8.8.8.8", "203.0.113.5").dials(ip(private)), None, "{private}");
            assert_eq!(asker("192.168.1.6", "192.168.1.5").dials(ip(private)), Some(ip(private)));
            assert_eq!(asker("127.0.0.1", "127.0.0.1").dials(ip(private)), Some(ip(private)));
        }
        assert_eq!(asker("8.8.8.8", "192.168.1.5").dials(THIS_MACHINE), None, "a forwarded port");
        for public in ["9.9.9.9", "2001:4860::1", "172.32.0.1", "100.128.0.1"] {
            assert_eq!(asker("8.8.8.8", "203.0.113.5").dials(ip(public)), Some(ip(public)));
        }
    }

    #[test]
    fn what_nobody_can_dial_is_handed_to_nobody() {
        for nowhere in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "fe80::1"] {
            assert_eq!(asker("127.0.0.1", "127.0.0.1").dials(ip(nowhere)), None, "{nowhere}");
            assert!(!is_dialable(ip(nowhere)));
        }
    }
}
