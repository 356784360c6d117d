//! How often somebody may come: an allowance for each origin, refilled as time passes (pure; `now` is an argument).

use std::{collections::HashMap, time::Instant};

use super::{HOSTS_OF_NETWORK, Origin};

/// Hosts that are remembered at most, and as many networks. Those whose allowance is full need no remembering.
const MAX_ORIGINS: usize = 4096;

/// The allowances of all origins: of hosts, and of the networks of our own link, which may do what [`HOSTS_OF_NETWORK`] hosts may.
#[derive(Debug)]
pub struct Allowances {
    hosts: Buckets,
    networks: Buckets,
}

#[derive(Debug)]
struct Buckets {
    /// What an origin may do at once, and what it may go on doing in a second.
    burst: f64,
    refill: f64,
    origins: HashMap<Origin, Allowance>,
}

/// What an origin may still do; below zero it owes.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: f64,
    since: Instant,
}

impl Allowances {
    /// Everybody may do `burst` things at once, and `refill` a second from then on.
    pub fn new(burst: f64, refill: f64) -> Allowances {
        let hosts = HOSTS_OF_NETWORK as f64;
        Allowances { hosts: Buckets::new(burst, refill), networks: Buckets::new(burst * hosts, refill * hosts) }
    }

    /// Whether this origin may do one thing more now.
    pub fn may(&mut self, origin: Origin, now: Instant) -> bool {
        let may_network = origin.network().is_none_or(|network| self.networks.of(network, now).left >= 1.0);
        self.hosts.of(origin, now).left >= 1.0 && may_network
    }

    /// Whether this origin may do one thing more; it is counted then.
    pub fn take(&mut self, origin: Origin, now: Instant) -> bool {
        let may = self.may(origin, now);
        if may {
            self.charge(origin, 1.0, now);
        }
        may
    }

    /// What this origin did has cost that much more.
    pub fn charge(&mut self, origin: Origin, cost: f64, now: Instant) {
        self.hosts.charge(origin, cost, now);
        if let Some(network) = origin.network() {
            self.networks.charge(network, cost, now);
        }
    }

    /// How many origins are remembered.
    pub fn len(&self) -> usize {
        self.hosts.origins.len() + self.networks.origins.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Buckets {
    fn new(burst: f64, refill: f64) -> Buckets {
        Buckets { burst, refill, origins: HashMap::new() }
    }

    fn charge(&mut self, origin: Origin, cost: f64, now: Instant) {
        let rested = self.of(origin, now);
        self.make_room(origin, now);
        self.origins.insert(origin, Allowance { left: rested.left - cost, since: now });
    }

    /// As it is now.
    fn of(&self, origin: Origin, now: Instant) -> Allowance {
        let full = Allowance { left: self.burst, since: now };
        self.origins.get(&origin).map_or(full, |allowance| self.rested(allowance, now))
    }

    fn rested(&self, allowance: &Allowance, now: Instant) -> Allowance {
        let time = now.saturating_duration_since(allowance.since);
        // What is owed is no more than a burst.
        let left = (allowance.left.max(-self.burst) + time.as_secs_f64() * self.refill).min(self.burst);
        Allowance { left, since: now }
    }

    /// Forgets those whose allowance is full, and if that is not enough the half that has most left: it costs each of them no more than
    /// that, and us no memory.
    fn make_room(&mut self, origin: Origin, now: Instant) {
        if self.origins.len() < MAX_ORIGINS || self.origins.contains_key(&origin) {
            return;
        }
        let mut left: Vec<(f64, Origin)> =
            self.origins.iter().map(|(origin, allowance)| (self.rested(allowance, now).left, *origin)).collect();
        left.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        left.retain(|(left, _)| *left < self.burst);
        left.truncate(MAX_ORIGINS / 2);
        let kept = left.into_iter().filter_map(|(_, origin)| Some((origin, *self.origins.get(&origin)?)));
        self.origins = kept.collect();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use super::*;

    fn ip(last: u8) -> Origin {
        Origin::of(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_origin_may_do_a_burst_and_then_so_much_a_second() {
        let (mut allowances, now) = (Allowances::new(40.0, 4.0), Instant::now());
        let mut taken = |origin, now| (0..100).filter(|_| allowances.take(origin, now)).count();
        assert_eq!(taken(ip(1), now), 40);
        assert_eq!(taken(ip(1), now + Duration::from_secs(1)), 4);
        assert_eq!(taken(ip(2), now), 40, "another is none the worse for it");
        assert_eq!(taken(ip(1), now + Duration::from_secs(60)), 40);
    }

    #[test]
    fn what_is_owed_is_no_more_than_a_burst() {
        let (mut allowances, now) = (Allowances::new(10.0, 1.0), Instant::now());
        allowances.charge(ip(1), 1000.0, now);
        assert!(!allowances.take(ip(1), now + Duration::from_secs(10)));
        assert!(allowances.take(ip(1), now + Duration::from_secs(12)));
    }

    #[test]
    fn each_host_of_our_link_has_its_own_and_one_with_many_addresses_what_ten_have() {
        let (mut allowances, now) = (Allowances::new(40.0, 4.0), Instant::now());
        let at = |host: u16| Origin::of(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host]));
        let mut taken = |host| (0..100).filter(|_| allowances.take(at(host), now)).count();
        assert_eq!([1, 2, 3].map(&mut taken), [40; 3]);
        assert_eq!((4..1000).map(taken).sum::<usize>(), 280);
    }

    #[test]
    fn a_network_from_elsewhere_is_one_origin_and_of_too_many_those_who_used_most_are_remembered() {
        let at = |network: u16, host: u16| Origin::of(IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]));
        let (mut allowances, now) = (Allowances::new(2.0, 1.0), Instant::now());
        assert!(allowances.take(at(0, 1), now) && allowances.take(at(0, 2), now) && !allowances.take(at(0, 3), now));
        for network in 1..10_000 {
            assert!(allowances.take(at(network, 1), now));
            assert!(allowances.len() <= MAX_ORIGINS);
        }
        assert!(!allowances.take(at(0, 4), now));
    }
}
