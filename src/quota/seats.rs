//! How many of something there are, in all and for each origin: a count that comes down by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Origin, OriginFull, OriginLimits, Tally};

/// Counts seats. Shared by whoever gives them out.
#[derive(Debug)]
pub struct Seats {
    all: usize,
    limits: OriginLimits,
    taken: Mutex<TakenSeats>,
}

#[derive(Debug, Default)]
struct TakenSeats {
    total: usize,
    tally: Tally,
}

/// One seat; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    origin: Origin,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatRefusal {
    /// None for anybody.
    All,
    /// None for this origin.
    Origin(OriginFull),
}

impl Seats {
    /// `all` seats, of which one host may have `of_host`.
    pub fn new(all: usize, of_host: usize) -> Arc<Seats> {
        Arc::new(Seats { all, limits: OriginLimits::new(all, of_host), taken: Mutex::default() })
    }

    /// A seat for `origin`, if there is one.
    pub fn take(self: &Arc<Seats>, origin: Origin) -> Result<Seat, SeatRefusal> {
        let mut taken = self.taken();
        if taken.total >= self.all {
            return Err(SeatRefusal::All);
        }
        if let Some(full) = taken.tally.full(origin, &self.limits) {
            return Err(SeatRefusal::Origin(full));
        }
        taken.tally.add(origin, 1);
        taken.total += 1;
        Ok(Seat { seats: Arc::clone(self), origin })
    }

    /// How many seats are taken.
    pub fn total(&self) -> usize {
        self.taken().total
    }

    /// Looks at who has how many.
    pub fn look<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.taken().tally)
    }

    fn taken(&self) -> MutexGuard<'_, TakenSeats> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whose it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.total -= 1;
        taken.tally.remove(self.origin, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_capped_in_all_and_for_each_origin_and_come_back() {
        let seats = Seats::new(3, 2);
        let [a, b, c] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"].map(|text| Origin::of(text.parse().unwrap()));
        let first = seats.take(a).unwrap();
        let _second = seats.take(b).unwrap();
        assert_eq!(seats.take(a).unwrap_err(), SeatRefusal::Origin(OriginFull::Host));
        let _third = seats.take(c).unwrap();
        assert_eq!(seats.take(c).unwrap_err(), SeatRefusal::All);
        drop(first);
        assert_eq!(seats.total(), 2);
        assert!(seats.take(b).is_ok());
        assert_eq!(seats.total(), 2);
    }

    #[test]
    fn one_host_with_many_addresses_on_our_link_leaves_a_quarter_of_the_seats() {
        let seats = Seats::new(64, 16);
        let host = |last: u16| Origin::of(std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]));
        let taken: Vec<_> = (0..1000).filter_map(|last| seats.take(host(last)).ok()).collect();
        assert_eq!(taken.len(), 48);
        assert_eq!(seats.take(host(1)).unwrap_err(), SeatRefusal::Origin(OriginFull::Network));
        assert!(seats.take(Origin::of(std::net::IpAddr::from([10, 0, 0, 1]))).is_ok());
    }
}
