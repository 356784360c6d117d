//! How much each origin has (pure).

use std::{
    collections::HashMap,
    net::IpAddr,
    ops::{AddAssign, SubAssign},
};

use super::{HOSTS_OF_NETWORK, Origin, OriginLimits};

/// What each origin has, counted in things or in bytes. Who has nothing takes no memory.
#[derive(Debug, Default)]
pub struct Tally<N = u32> {
    hosts: HashMap<Origin, N>,
    /// The sums over the hosts of a /64 of our own link.
    networks: HashMap<Origin, N>,
}

/// Which limit an origin has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginFull {
    /// [`OriginLimits::host`]
    Host,
    /// [`OriginLimits::network`]
    Network,
}

impl<N: Copy + Default + PartialEq + AddAssign + SubAssign + Into<u64>> Tally<N> {
    /// It has so much more.
    pub fn add(&mut self, origin: Origin, amount: N) {
        *self.hosts.entry(origin).or_default() += amount;
        if let Some(network) = origin.network() {
            *self.networks.entry(network).or_default() += amount;
        }
    }

    /// It has so much less of what it had.
    pub fn remove(&mut self, origin: Origin, amount: N) {
        take(&mut self.hosts, origin, amount);
        if let Some(network) = origin.network() {
            take(&mut self.networks, network, amount);
        }
    }

    /// What a host has.
    pub fn host(&self, origin: Origin) -> u64 {
        self.hosts.get(&origin).map_or(0, |amount| (*amount).into())
    }

    /// What all hosts of its /64 have, where it is of our own link.
    pub fn network(&self, origin: Origin) -> Option<u64> {
        let network = origin.network()?;
        Some(self.networks.get(&network).map_or(0, |amount| (*amount).into()))
    }

    /// Which limit an origin has reached, if any.
    pub fn full(&self, origin: Origin, limits: &OriginLimits) -> Option<OriginFull> {
        match () {
            () if self.host(origin) >= limits.host => Some(OriginFull::Host),
            () if self.network(origin).is_some_and(|has| has >= limits.network) => Some(OriginFull::Network),
            () => None,
        }
    }

    /// How much it has, in hosts' measure: its own, or a tenth of what its /64 of our own link has. Where something has to make room, it is
    /// something of the origin of most weight: so nobody loses anything to one who has more, however many addresses he has on our link.
    pub fn weight(&self, origin: Origin) -> u64 {
        self.host(origin).max(self.network(origin).unwrap_or(0) / HOSTS_OF_NETWORK)
    }

    /// The most weight of any origin of those.
    pub fn most(&self, among: impl Fn(Origin) -> bool) -> u64 {
        let those = self.hosts.iter().filter(|(origin, _)| among(**origin));
        let weight = |(origin, amount): (&Origin, &N)| {
            (*amount).into().max(self.network(*origin).unwrap_or(0) / HOSTS_OF_NETWORK)
        };
        those.map(weight).max().unwrap_or(0)
    }

    /// The origin that this address is counted under, whatever it has reached us at.
    pub fn origin_of(&self, ip: IpAddr) -> Origin {
        let on_link = Origin::of_peer(ip, || Some(ip));
        if self.hosts.contains_key(&on_link) { on_link } else { Origin::of(ip) }
    }

    /// How many origins have something.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

fn take<N: Default + PartialEq + SubAssign>(amounts: &mut HashMap<Origin, N>, origin: Origin, amount: N) {
    if let Some(left) = amounts.get_mut(&origin) {
        *left -= amount;
        if *left == N::default() {
            amounts.remove(&origin);
            if amounts.is_empty() {
                amounts.shrink_to_fit();
            }
        }
    }
}

impl<N: Copy + Default + PartialEq + AddAssign + SubAssign + Into<u64>> FromIterator<(Origin, N)> for Tally<N> {
    fn from_iter<T: IntoIterator<Item = (Origin, N)>>(held: T) -> Tally<N> {
        let mut tally = Tally { hosts: HashMap::new(), networks: HashMap::new() };
        held.into_iter().for_each(|(origin, amount)| tally.add(origin, amount));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> Origin {
        Origin::of(ip.parse().unwrap())
    }

    #[test]
    fn a_host_of_many_addresses_on_our_link_reaches_the_limit_of_its_network_and_a_lone_one_does_not() {
        let (mut tally, limits) = (Tally::<u32>::default(), OriginLimits { host: 2, network: 5 });
        for last in 1..=5 {
            assert_eq!(tally.full(of(&format!("fd00::{last}")), &limits), None);
            tally.add(of(&format!("fd00::{last}")), 1);
        }
        assert_eq!(tally.full(of("fd00::6"), &limits), Some(OriginFull::Network));
        assert_eq!((tally.full(of("10.0.0.1"), &limits), tally.full(of("fd00:1::1"), &limits)), (None, None));
        tally.add(of("10.0.0.1"), 2);
        assert_eq!(tally.full(of("10.0.0.1"), &limits), Some(OriginFull::Host));
        for last in 1..=5 {
            tally.remove(of(&format!("fd00::{last}")), 1);
        }
        assert_eq!((tally.len(), tally.networks.len()), (1, 0));
    }

    #[test]
    fn who_has_most_weighs_most_and_many_addresses_on_our_link_weigh_together() {
        let crowd = (1..=99).map(|last| (of(&format!("fd00::{last}")), 1));
        let tally: Tally = crowd.chain([(of("10.0.0.1"), 8), (of("2001:db8::1"), 4), (of("2001:db8::2"), 4)]).collect();
        assert_eq!(["fd00::1", "10.0.0.1", "2001:db8::3"].map(|ip| tally.weight(of(ip))), [9, 8, 8]);
        assert_eq!(tally.most(|_| true), 9);
        assert_eq!(tally.most(|origin| origin.network().is_none()), 8);
    }

    #[test]
    fn an_address_is_found_as_it_was_counted() {
        let mut tally = Tally::<u32>::default();
        let near = Origin::of_peer("2001:db8::5".parse().unwrap(), || "2001:db8::1".parse().ok());
        let far = of("2001:db8::6");
        tally.add(near, 1);
        tally.add(far, 1);
        let find = |ip: &str| tally.origin_of(ip.parse().unwrap());
        assert_eq!((find("2001:db8::5"), find("2001:db8::6"), find("10.0.0.1")), (near, far, of("10.0.0.1")));
    }
}
