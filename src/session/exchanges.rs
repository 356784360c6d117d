//! Which peers may exchange keys: the one thing before a handshake that costs the processor more than reading a few bytes.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::quota::{Allowances, Origin};

/// Key exchanges that are computed at once in the process.
const MAX_AT_ONCE: usize = 2;

/// Key exchanges that one origin may begin at once: a room behind one router that is switched on.
const BURST: f64 = 40.0;

/// Key exchanges a second that one origin may go on beginning.
const REFILL: f64 = 4.0;

/// The key exchanges of the process.
#[derive(Debug)]
pub struct Exchanges {
    state: Mutex<ExchangesState>,
    freed: Condvar,
}

#[derive(Debug)]
struct ExchangesState {
    computing: usize,
    origins: Allowances,
}

/// The right to compute one, which ends when it is dropped.
pub struct ExchangePermit<'a>(&'a Exchanges);

impl Default for Exchanges {
    fn default() -> Exchanges {
        let state = ExchangesState { computing: 0, origins: Allowances::new(BURST, REFILL) };
        Exchanges { state: Mutex::new(state), freed: Condvar::new() }
    }
}

impl Exchanges {
    /// The right to compute one for a peer; `None` when it asks too often, or too many are computed until the deadline.
    pub fn begin(&self, origin: Origin, deadline: Instant) -> Option<ExchangePermit<'_>> {
        let mut state = self.state();
        if !state.origins.take(origin, Instant::now()) {
            return None;
        }
        while state.computing >= MAX_AT_ONCE {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.computing += 1;
        Some(ExchangePermit(self))
    }

    fn state(&self) -> MutexGuard<'_, ExchangesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExchangePermit<'_> {
    fn drop(&mut self) {
        self.0.state().computing -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    fn ip(last: u8) -> Origin {
        Origin::of(std::net::IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn two_are_computed_at_once_and_a_third_waits_for_its_turn() {
        let exchanges = Exchanges::default();
        let soon = Instant::now() + Duration::from_secs(20);
        let (first, _second) = (exchanges.begin(ip(1), soon).unwrap(), exchanges.begin(ip(2), soon).unwrap());
        assert!(exchanges.begin(ip(3), Instant::now()).is_none());
        thread::scope(|scope| {
            let third = scope.spawn(|| exchanges.begin(ip(3), soon).is_some());
            drop(first);
            assert!(third.join().unwrap());
        });
    }

    #[test]
    fn a_room_behind_one_router_gets_in_and_a_flood_from_there_does_not() {
        let exchanges = Exchanges::default();
        let now = Instant::now();
        let let_in = (0..200).filter(|_| exchanges.begin(ip(1), now).is_some()).count();
        assert!((40..=60).contains(&let_in), "{let_in}");
        assert!(exchanges.begin(ip(2), now).is_some(), "another machine pays for it");
    }
}
