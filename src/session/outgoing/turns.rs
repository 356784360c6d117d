//! Turns at the uplink: a few sessions send blocks at a time, each a piece's worth, and then others.
//!
//! Twenty sessions that share an uplink evenly all complete a piece after the time of twenty; one after the other they
//! complete the first after the time of one, and its receiver can pass it on while the rest still wait. A session that
//! does not get its turn in time goes ahead without, so that a slow peer with a turn holds up nobody for long.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How uploads take turns at an uplink.
#[derive(Debug, Clone, Copy)]
pub struct TurnRules {
    /// Sessions that send at a time: enough that the uplink is busy when one of them is slow to take what it is sent.
    pub at_once: usize,
    /// How long a session waits for its turn at most.
    pub patience: Duration,
    /// How long a turn lasts at most: eight of them at 20 Mbit/s. A session that takes longer is stuck with a peer that does
    /// not read, and goes on without.
    pub longest: Duration,
    /// Bytes of blocks sent in one turn: a usual piece.
    pub bytes: u64,
}

impl Default for TurnRules {
    fn default() -> TurnRules {
        TurnRules {
            at_once: 8,
            patience: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            bytes: 256 * 1024,
        }
    }
}

/// The turns of one process.
#[derive(Debug, Default)]
pub struct UplinkTurns {
    state: Mutex<UplinkState>,
    signal: Condvar,
}

/// The turns that are taken. Pure.
#[derive(Debug, Default)]
pub struct UplinkState {
    rules: TurnRules,
    /// The turns that are taken, by name, and since when; the oldest first.
    taken: VecDeque<(u64, Instant)>,
    next: u64,
}

/// A turn, which ends when it is dropped.
#[derive(Debug)]
pub struct UplinkTurn<'a>(&'a UplinkTurns, u64);

impl UplinkTurns {
    /// Waits for a turn; `None` when that takes longer than `timeout`.
    pub fn take(&self, timeout: Duration) -> Option<UplinkTurn<'_>> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(name) = state.take(now) {
                return Some(UplinkTurn(self, name));
            }
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return None;
            }
            state = self.signal.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How they are taken.
    pub fn rules(&self) -> TurnRules {
        self.lock().rules
    }

    fn lock(&self) -> MutexGuard<'_, UplinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UplinkState {
    /// No turn is taken.
    pub fn new(rules: TurnRules) -> UplinkState {
        UplinkState { rules, ..UplinkState::default() }
    }

    /// A turn is over.
    pub fn give_back(&mut self, name: u64) {
        // One that lasted too long is not among them any more.
        self.taken.retain(|(taken, _)| *taken != name);
    }

    /// A name for a turn, if there is one.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let stuck =
            self.taken.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) > self.rules.longest);
        if self.taken.len() >= self.rules.at_once && stuck {
            self.taken.pop_front();
        }
        (self.taken.len() < self.rules.at_once).then(|| {
            self.next += 1;
            self.taken.push_back((self.next, now));
            self.next
        })
    }
}

impl Drop for UplinkTurn<'_> {
    fn drop(&mut self) {
        self.0.lock().give_back(self.1);
        self.0.signal.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_turns_and_each_comes_back() {
        let turns = UplinkTurns::default();
        let mut taken: Vec<_> =
            (0..TurnRules::default().at_once).map(|_| turns.take(Duration::ZERO).unwrap()).collect();
        let begun = Instant::now();
        assert!(
            turns.take(TurnRules::default().patience).is_none() && begun.elapsed() >= TurnRules::default().patience
        );
        taken.pop();
        assert!(turns.take(Duration::ZERO).is_some());
    }

    #[test]
    fn a_turn_that_lasts_too_long_is_over() {
        let (mut state, start) = (UplinkState::default(), Instant::now());
        let names: Vec<_> = (0..TurnRules::default().at_once).map(|_| state.take(start).unwrap()).collect();
        assert_eq!(state.take(start + TurnRules::default().longest), None);
        assert!(state.take(start + TurnRules::default().longest + Duration::from_millis(1)).is_some());
        assert!(
            state.taken.len() == TurnRules::default().at_once && state.taken.iter().all(|(name, _)| *name != names[0])
        );
    }
}
