//! How many connections there are, in all and for each address: a count that comes down by itself.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts seats. Shared by whoever gives them out.
#[derive(Debug)]
pub struct ConnectionCensus {
    cap: usize,
    cap_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One seat; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    census: Arc<ConnectionCensus>,
    address: IpAddr,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// None for anybody.
    ForAll,
    /// None for this address.
    ForAddress,
}

impl ConnectionCensus {
    /// `cap` seats, of which one address may have `cap_of_one`.
    pub fn new(cap: usize, cap_of_one: usize) -> Arc<ConnectionCensus> {
        Arc::new(ConnectionCensus { cap, cap_of_one, taken: Mutex::default() })
    }

    /// A seat for `address`, if there is one.
    pub fn take(self: &Arc<ConnectionCensus>, address: IpAddr) -> Result<Seat, ConnectionRefusal> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.cap {
            return Err(ConnectionRefusal::ForAll);
        }
        let of_one = taken.by_address.entry(address).or_default();
        if *of_one >= self.cap_of_one {
            return Err(ConnectionRefusal::ForAddress);
        }
        *of_one += 1;
        taken.total += 1;
        Ok(Seat { census: Arc::clone(self), address })
    }

    /// How many seats are taken.
    pub fn total(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Seat {
    /// Whose it is.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.census.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        let of_one = taken.by_address.get_mut(&self.address).expect("a seat was counted when it was taken");
        *of_one -= 1;
        if *of_one == 0 {
            taken.by_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_capped_in_all_and_for_each_address_and_come_back() {
        let census = ConnectionCensus::new(3, 2);
        let [a, b, c] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = census.take(a).unwrap();
        let _second = census.take(b).unwrap();
        assert_eq!(census.take(a).unwrap_err(), ConnectionRefusal::ForAddress);
        let _third = census.take(c).unwrap();
        assert_eq!(census.take(c).unwrap_err(), ConnectionRefusal::ForAll);
        drop(first);
        assert_eq!(census.total(), 2);
        assert!(census.take(b).is_ok());
        assert_eq!(census.total(), 2);
    }
}
