//! Which of a torrent's trackers to ask, and when: BEP 12 as a machine without clock or chance.
//!
//! Tiers are tried in order, and within a tier one tracker after the other; the first that answers is enough, and moves
//! to the front of its tier. One that fails is left alone for a while, longer each time, and the next takes its turn.
//! The caller asks [`Tiers::next`], announces, and tells what came of it; it has one announce under way at a time.

use std::time::Duration;

use super::answer::Answer;

/// How many trackers of one torrent are kept. Public torrents name some thirty; a forged one could name a million.
pub const MAX_TRACKERS: usize = 100;

/// How long a tracker is left alone after it failed for the first time. Short, since a room's tracker is often
/// started a moment after its clients.
pub const FIRST_RETRY: Duration = Duration::from_secs(2);

/// How long a tracker is left alone at most; the time doubles until then.
pub const MAX_RETRY: Duration = Duration::from_secs(60);

/// The trackers of one torrent. Time is what has passed since any fixed moment.
#[derive(Debug)]
pub struct Tiers {
    tiers: Vec<Vec<Tracker>>,
    /// When the swarm is to hear from us again, as the last answer said.
    due: Duration,
    /// Before this no need may bring the next announce forward.
    earliest: Duration,
    /// The tracker that answered last.
    current: Option<String>,
}

#[derive(Debug)]
struct Tracker {
    url: String,
    failures: u32,
    retry_at: Duration,
    id: Option<Vec<u8>>,
    knows_us: bool,
}

/// A tracker whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Where to announce.
    pub url: &'a str,
    /// The `trackerid` to send along.
    pub tracker_id: Option<&'a [u8]>,
    /// Whether it never answered before, so that this announce says `started`.
    pub is_first: bool,
}

impl Tiers {
    /// Takes over the trackers of a torrent, each once, and shuffles every tier: `chance` gives a random number below
    /// its argument.
    pub fn new(urls: &[Vec<String>], mut chance: impl FnMut(usize) -> usize) -> Tiers {
        let mut seen = std::collections::HashSet::new();
        let tier = |urls: &Vec<String>| {
            let mut tier: Vec<Tracker> = Vec::new();
            for url in urls {
                if seen.len() < MAX_TRACKERS && seen.insert(url.clone()) {
                    tier.push(Tracker::new(url));
                    let last = tier.len() - 1;
                    tier.swap(last, chance(last + 1));
                }
            }
            tier
        };
        let tiers = urls.iter().map(tier).filter(|tier| !tier.is_empty()).collect();
        Tiers { tiers, due: Duration::ZERO, earliest: Duration::ZERO, current: None }
    }

    /// The tracker to announce to now, if it is time.
    pub fn next(&self, now: Duration) -> Option<Turn<'_>> {
        let tracker = self.trackers().find(|tracker| tracker.retry_at <= now)?;
        (self.due <= now).then(|| tracker.turn())
    }

    /// When [`Tiers::next`] will have something to say; `None` where there are no trackers.
    pub fn due_at(&self) -> Option<Duration> {
        self.trackers().map(|tracker| tracker.retry_at.max(self.due)).min()
    }

    /// The tracker that answered last: the one that `completed` and `stopped` go to.
    pub fn current(&self) -> Option<Turn<'_>> {
        let url = self.current.as_deref()?;
        self.trackers().find(|tracker| tracker.url == url).map(Tracker::turn)
    }

    /// The tracker at `url` answered.
    pub fn succeeded(&mut self, url: &str, now: Duration, answer: &Answer) {
        let Some((tier, at)) = self.find(url) else { return };
        let mut tracker = self.tiers[tier].remove(at);
        (tracker.failures, tracker.retry_at, tracker.knows_us) = (0, now, true);
        // A tracker that names no id this time means the one it named before (BEP 3).
        tracker.id = answer.tracker_id.clone().or(tracker.id);
        self.tiers[tier].insert(0, tracker);
        self.due = now + answer.interval;
        self.earliest = now + answer.min_interval;
        self.current = Some(url.to_owned());
    }

    /// The tracker at `url` did not answer, or not with peers.
    pub fn failed(&mut self, url: &str, now: Duration) {
        let Some((tier, at)) = self.find(url) else { return };
        let tracker = &mut self.tiers[tier][at];
        let wait = FIRST_RETRY.saturating_mul(1 << tracker.failures.min(16)).min(MAX_RETRY);
        tracker.failures += 1;
        tracker.retry_at = now + wait;
    }

    /// Brings the next announce forward, as far as the tracker allows: peers are needed, or there is news.
    pub fn hurry(&mut self, now: Duration) {
        self.due = self.due.min(self.earliest.max(now));
    }

    fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.tiers.iter().flatten()
    }

    fn find(&self, url: &str) -> Option<(usize, usize)> {
        let place = |tier: &Vec<Tracker>| tier.iter().position(|tracker| tracker.url == url);
        self.tiers.iter().enumerate().find_map(|(number, tier)| Some((number, place(tier)?)))
    }
}

impl Tracker {
    fn new(url: &str) -> Tracker {
        Tracker { url: url.to_owned(), failures: 0, retry_at: Duration::ZERO, id: None, knows_us: false }
    }

    fn turn(&self) -> Turn<'_> {
        Turn { url: &self.url, tracker_id: self.id.as_deref(), is_first: !self.knows_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn tiers(urls: &[&[&str]]) -> Tiers {
        let owned: Vec<Vec<String>> =
            urls.iter().map(|tier| tier.iter().map(|url| url.to_string()).collect()).collect();
        Tiers::new(&owned, |below| below - 1)
    }

    fn answer(interval: u64, min_interval: u64) -> Answer {
        let mut answer = Answer::parse(b"d5:peers0:e").unwrap();
        answer.interval = Duration::from_secs(interval);
        answer.min_interval = Duration::from_secs(min_interval);
        answer
    }

    fn url(tiers: &Tiers, now: Duration) -> Option<&str> {
        tiers.next(now).map(|turn| turn.url)
    }

    fn after(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn each_tracker_has_its_turn_until_one_answers() {
        let mut tiers = tiers(&[&["a", "b"], &["c"]]);
        for turn in ["a", "b", "c"] {
            assert_eq!(url(&tiers, START), Some(turn));
            tiers.failed(turn, START);
        }
        assert_eq!(url(&tiers, START), None);
        assert_eq!(tiers.due_at(), Some(after(2)));
        assert_eq!(url(&tiers, after(2)), Some("a"));
    }

    #[test]
    fn the_one_that_answers_moves_to_the_front_of_its_tier_and_no_further() {
        let mut tiers = tiers(&[&["a"], &["b", "c"]]);
        for turn in ["a", "b"] {
            tiers.failed(turn, START);
        }
        assert_eq!(url(&tiers, START), Some("c"));
        tiers.succeeded("c", START, &answer(10, 5));
        assert_eq!(url(&tiers, after(9)), None);
        assert_eq!(tiers.due_at(), Some(after(10)));
        assert_eq!(url(&tiers, after(10)), Some("a"), "the first tier comes first");
        tiers.failed("a", after(10));
        assert_eq!(url(&tiers, after(10)), Some("c"));
    }

    #[test]
    fn a_failing_tracker_is_asked_less_and_less_until_it_answers() {
        let mut tiers = tiers(&[&["a"]]);
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..8 {
            tiers.failed("a", now);
            let due = tiers.due_at().unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        tiers.succeeded("a", now, &answer(1, 1));
        tiers.failed("a", now);
        assert_eq!(tiers.due_at(), Some(now + FIRST_RETRY));
    }

    #[test]
    fn a_hurry_waits_for_the_min_interval_and_for_a_failed_tracker() {
        let mut tiers = tiers(&[&["a"]]);
        tiers.succeeded("a", START, &answer(100, 30));
        tiers.hurry(after(1));
        assert_eq!(tiers.due_at(), Some(after(30)));
        tiers.hurry(after(50));
        assert_eq!(tiers.due_at(), Some(after(30)), "never later");
        tiers.failed("a", after(50));
        tiers.hurry(after(51));
        assert_eq!(tiers.due_at(), Some(after(52)));
    }

    #[test]
    fn each_tracker_is_told_started_once_and_gets_its_id_back() {
        let mut tiers = tiers(&[&["a"], &["b"]]);
        assert_eq!(tiers.current(), None);
        assert_eq!(tiers.next(START), Some(Turn { url: "a", tracker_id: None, is_first: true }));
        tiers.succeeded("a", START, &Answer { tracker_id: Some(b"id".to_vec()), ..answer(1, 1) });
        tiers.succeeded("a", START, &answer(1, 1));
        let known = Turn { url: "a", tracker_id: Some(b"id"), is_first: false };
        assert_eq!((tiers.next(after(1)), tiers.current()), (Some(known), Some(known)));
        tiers.failed("a", after(1));
        assert_eq!(tiers.next(after(1)), Some(Turn { url: "b", tracker_id: None, is_first: true }));
    }

    #[test]
    fn a_tier_is_shuffled_by_chance() {
        let urls = vec![["a", "b", "c"].map(str::to_owned).to_vec()];
        assert_eq!(url(&Tiers::new(&urls, |_| 0), START), Some("c"));
        assert_eq!(url(&Tiers::new(&urls, |below| below - 1), START), Some("a"));
    }

    #[test]
    fn trackers_are_kept_once_and_up_to_the_limit() {
        let twice = tiers(&[&["a", "a"], &[], &["a", "b"]]);
        assert_eq!(twice.tiers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let many = vec![(0..MAX_TRACKERS + 1).map(|number| number.to_string()).collect()];
        assert_eq!(Tiers::new(&many, |_| 0).trackers().count(), MAX_TRACKERS);
        assert_eq!(Tiers::new(&[], |_| 0).due_at(), None);
    }
}
