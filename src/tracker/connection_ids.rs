//! Connection ids of the UDP protocol, which take no memory (pure).
//!
//! An id shows that its bearer receives at the address that it sends from: it is a keyed hash of that address and of the second of
//! issue, and the second itself. So one hash, whether an id is right or wrong, is all that a packet with a forged sender costs, and
//! nothing is kept about anybody.
//!
//! The hash is SipHash, made for short inputs and keys that nobody else knows; the standard library has it for the same purpose, and it
//! takes a fifth of the time of SHA-1. To list one forged address somebody has to guess 48 bits.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

/// Seconds for which an id is accepted. BEP 15 asks for 120; clients keep one for 45 s (Transmission) to 300 s (µTorrent).
pub const MAX_AGE: u32 = 300;

/// The bits of an id that say when it was issued. They come round after 18 hours; the hash knows the whole second.
const SECOND: u64 = 0xffff;

/// Issues connection ids and knows them again. Time is in seconds since any fixed moment.
#[derive(Debug, Default)]
pub struct ConnectionIds<Key = RandomState> {
    key: Key,
}

impl<Key: BuildHasher> ConnectionIds<Key> {
    /// Those of that key.
    pub fn new(key: Key) -> ConnectionIds<Key> {
        ConnectionIds { key }
    }

    /// The id of whoever sends from this address now. The port does not count: it changes behind a router, and clients keep an id for
    /// a tracker's address.
    pub fn issue(&self, ip: IpAddr, now: u32) -> u64 {
        self.key.hash_one((ip, now)) & !SECOND | u64::from(now) & SECOND
    }

    /// Whether this id was issued to that address, and not too long ago.
    pub fn accepts(&self, id: u64, ip: IpAddr, now: u32) -> bool {
        let age = (u64::from(now).wrapping_sub(id) & SECOND) as u32;
        let issued = now.checked_sub(age).filter(|_| age <= MAX_AGE);
        issued.is_some_and(|issued| self.issue(ip, issued) == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_accepted_for_five_minutes_and_not_a_second_longer() {
        let ids = ConnectionIds::<RandomState>::default();
        let them = ip("10.0.0.1");
        for issued in [0, 1, 299, 65_535, 65_536, 1_000_000, u32::MAX - MAX_AGE - 1] {
            let id = ids.issue(them, issued);
            for age in [0, 1, 120, MAX_AGE - 1, MAX_AGE] {
                assert!(ids.accepts(id, them, issued + age), "issued at {issued}, {age} s old");
            }
            assert!(!ids.accepts(id, them, issued + MAX_AGE + 1), "issued at {issued}");
            // Its low bits come round.
            assert!(!ids.accepts(id, them, issued.wrapping_add(0x1_0000)), "issued at {issued}");
            assert!(issued == 0 || !ids.accepts(id, them, issued - 1), "it is of the future");
        }
    }

    #[test]
    fn an_id_is_good_for_one_address_of_one_tracker_and_no_bit_of_it_may_differ() {
        let (ids, others) = (ConnectionIds::<RandomState>::default(), ConnectionIds::<RandomState>::default());
        let id = ids.issue(ip("10.0.0.1"), 1000);
        for other in ["10.0.0.2", "::ffff:10.0.0.1", "::a00:1", "127.0.0.1"] {
            assert!(!ids.accepts(id, ip(other), 1000), "{other}");
        }
        assert!(!others.accepts(id, ip("10.0.0.1"), 1000), "a tracker started anew knows it");
        for bit in 0..64 {
            assert!(!ids.accepts(id ^ (1 << bit), ip("10.0.0.1"), 1000), "bit {bit}");
        }
        assert!(!ids.accepts(0, ip("10.0.0.1"), 0));
    }
}
