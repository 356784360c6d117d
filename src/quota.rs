//! How often somebody may come, and who gives way when there is no room: by origin. Pure.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Origins that are remembered at most. Those whose allowance is full need no remembering.
const MAX_ORIGINS: usize = 4096;

/// Where connections come from that are judged together: an IPv4 address; the 64 bits of an IPv6 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "IpAddr")]
pub struct Origin(IpAddr);

/// The allowances of all origins.
#[derive(Debug)]
pub struct Allowances {
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

impl Origin {
    /// The origin of this address.
    pub fn of(ip: IpAddr) -> Origin {
        match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) >> 64 << 64;
                Origin(Ipv6Addr::from(network).into())
            }
            v4 => Origin(v4),
        }
    }

    /// As a part of a file's name.
    pub fn to_file_name(self) -> String {
        let ip = match self.0 {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        format!("{:032x}", ip.to_bits())
    }

    /// What [`Origin::to_file_name`] has written; the origin of no address for anything else.
    pub fn from_file_name(name: &str) -> Origin {
        Origin::of(IpAddr::from(Ipv6Addr::from(u128::from_str_radix(name, 16).unwrap_or(0))))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<IpAddr> for Origin {
    fn from(ip: IpAddr) -> Origin {
        Origin::of(ip)
    }
}

/// How much each origin has. Where something has to make room, it is something of the origin that has most: so nobody loses anything to
/// somebody who has more.
#[derive(Debug, Default)]
pub struct Weights(HashMap<Origin, u64>);

impl FromIterator<(Origin, u64)> for Weights {
    fn from_iter<T: IntoIterator<Item = (Origin, u64)>>(held: T) -> Weights {
        let mut weights = Weights::default();
        for (origin, weight) in held {
            let sum = weights.0.entry(origin).or_default();
            *sum = sum.saturating_add(weight);
        }
        weights
    }
}

impl Weights {
    /// How much that origin has.
    pub fn of(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }
}

impl Allowances {
    /// Everybody may do `burst` things at once, and `refill` a second from then on.
    pub fn new(burst: f64, refill: f64) -> Allowances {
        Allowances { burst, refill, origins: HashMap::new() }
    }

    /// Whether this origin may do one thing more; it is counted then.
    pub fn take(&mut self, origin: Origin, now: Instant) -> bool {
        let allowance = self.of(origin, now);
        let may = allowance.left >= 1.0;
        allowance.left -= if may { 1.0 } else { 0.0 };
        may
    }

    /// What this origin did has cost that much more.
    pub fn charge(&mut self, origin: Origin, cost: f64, now: Instant) {
        self.of(origin, now).left -= cost;
    }

    /// How many origins are remembered.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    fn of(&mut self, origin: Origin, now: Instant) -> &mut Allowance {
        let (burst, refill) = (self.burst, self.refill);
        let rested = |allowance: &Allowance| {
            let time: Duration = now.saturating_duration_since(allowance.since);
            // What is owed is no more than a burst.
            (allowance.left.max(-burst) + time.as_secs_f64() * refill).min(burst)
        };
        if self.origins.len() >= MAX_ORIGINS && !self.origins.contains_key(&origin) {
            self.origins.retain(|_, allowance| rested(allowance) < burst);
            if self.origins.len() >= MAX_ORIGINS {
                // Thousands at once: to forget them costs each of them a burst, and us no memory.
                self.origins.clear();
            }
        }
        let allowance = self.origins.entry(origin).or_insert(Allowance { left: burst, since: now });
        *allowance = Allowance { left: rested(allowance), since: now };
        allowance
    }
}

#[cfg(test)]
mod tests {
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
    fn an_ipv6_network_is_one_origin_and_memory_is_bounded() {
        let at = |network: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        assert_eq!(Origin::of(at(1, 1)), Origin::of(at(1, 2)));
        assert_ne!(Origin::of(at(1, 1)), Origin::of(at(2, 1)));
        assert_eq!(Origin::of("::ffff:10.0.0.1".parse().unwrap()), ip(1));
        let (mut allowances, now) = (Allowances::new(1.0, 1.0), Instant::now());
        for network in 0..10_000 {
            assert!(allowances.take(Origin::of(at(network, 1)), now));
            assert!(allowances.len() <= MAX_ORIGINS);
        }
    }
}
