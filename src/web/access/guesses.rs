//! How many wrong passwords an origin may try (pure; `now` is an argument).
//!
//! Each origin is counted for itself, so that nobody's wrong guesses cost another a right one.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::super::failure::HttpFailure;

/// Wrong passwords that one origin may try before it has to wait.
pub const GUESSES: u32 = 5;

/// How long until it may try another: 8,600 a day, where a word of a dictionary is one of 100,000.
pub const GUESS_TIME: Duration = Duration::from_secs(10);

/// Origins that are counted, some 64 bytes each. Whoever has more of them than that is not slowed down by counting.
pub const MAX_GUESSERS: usize = 4096;

/// The guesses of all origins.
#[derive(Debug, Default)]
pub struct Guesses(HashMap<IpAddr, Guesser>);

/// Guesses left to an origin, as of a moment.
#[derive(Debug, Clone, Copy)]
pub struct Guesser {
    pub left: u32,
    pub since: Instant,
}

impl Guesses {
    /// What becomes of a password that was sent from there.
    pub fn judge(&mut self, from: IpAddr, is_right: bool, now: Instant) -> Result<(), HttpFailure> {
        let guesser = self.0.get(&from).map_or(Guesser { left: GUESSES, since: now }, |guesser| guesser.at(now));
        if guesser.left == 0 {
            let sentence = format!("too many wrong passwords from your address; wait {} seconds", GUESS_TIME.as_secs());
            return Err(HttpFailure::new(429, sentence));
        }
        if is_right {
            return Ok(());
        }
        self.make_room(from, now);
        self.0.insert(from, Guesser { left: guesser.left - 1, ..guesser });
        Err(HttpFailure::new(401, "that is not the password"))
    }

    /// Forgets who has all guesses again, and if that is not enough, the one who has been counted for longest.
    fn make_room(&mut self, from: IpAddr, now: Instant) {
        if self.0.len() < MAX_GUESSERS || self.0.contains_key(&from) {
            return;
        }
        self.0.retain(|_, guesser| guesser.at(now).left < GUESSES);
        if self.0.len() >= MAX_GUESSERS
            && let Some(oldest) = self.0.iter().min_by_key(|(_, guesser)| guesser.since).map(|(ip, _)| *ip)
        {
            self.0.remove(&oldest);
        }
    }
}

impl Guesser {
    /// The same at a later moment.
    pub fn at(self, now: Instant) -> Guesser {
        let earned = (now.saturating_duration_since(self.since).as_secs() / GUESS_TIME.as_secs()) as u32;
        let left = self.left.saturating_add(earned).min(GUESSES);
        Guesser { left, since: self.since + GUESS_TIME * earned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_gets_its_guesses_back_in_time_and_no_more_than_it_had() {
        let start = Instant::now();
        let spent = Guesser { left: 0, since: start };
        assert_eq!(spent.at(start + GUESS_TIME - Duration::from_millis(1)).left, 0);
        let later = spent.at(start + GUESS_TIME * 2 + GUESS_TIME / 2);
        assert_eq!((later.left, later.since), (2, start + GUESS_TIME * 2));
        assert_eq!(spent.at(start + GUESS_TIME * 1000).left, GUESSES);
    }

    #[test]
    fn however_many_are_wrong_a_right_password_from_elsewhere_is_taken_and_the_memory_is_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..3 * MAX_GUESSERS as u32 {
            let attacker = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            for _ in 0..=GUESSES {
                assert!(guesses.judge(attacker, false, now).is_err());
            }
            assert_eq!(guesses.judge(attacker, true, now).unwrap_err().status, 429);
            assert!(guesses.0.len() <= MAX_GUESSERS);
        }
        let honest = IpAddr::from([192, 168, 1, 5]);
        assert_eq!(guesses.judge(honest, true, now), Ok(()));
        assert_eq!(guesses.judge(honest, false, now).unwrap_err().status, 401);
        assert_eq!(guesses.judge(honest, true, now), Ok(()), "one slip");
    }
}
