//! A torrent's trackers: which of them to ask, when, and with which event. BEP 12 as a machine without clock or chance.
//!
//! Tiers are tried in order, and within a tier one tracker after the other, until one answers; that one is told again at
//! the interval that it names. A tracker that is silent holds nobody up: after [`STAGGER`] the next is asked as well, and
//! none is asked a second time before all others have had their turn. A torrent without a peer that gives it anything asks
//! sooner, and asks the other trackers too (not where it is private), but no tracker before its min interval. The events
//! `completed` and `stopped` are owed to each tracker that knows us, and wait for no interval.
//!
//! The caller asks [`Tiers::next`], or at the end [`Tiers::farewell`], says [`Tiers::begin`], announces, and tells
//! [`Tiers::succeeded`] or [`Tiers::failed`]. Any number of announces may be under way, one to a tracker.

use std::time::Duration;

use crate::{
    announce::{
        answer::{Answer, MAX_INTERVAL, Retry},
        hosts::{HostReadiness, Hosts, host_of, retry_wait},
    },
    tracker::announce::AnnounceEvent,
};

/// How many trackers of one torrent are kept. Public torrents name some thirty; a forged one could name a million.
pub const MAX_TRACKERS: usize = 100;

/// How long a tracker may take before the next is asked as well: longer than a tracker that is well takes.
pub const STAGGER: Duration = Duration::from_secs(1);

/// Announces of one torrent under way at once, at most.
pub const MAX_AT_ONCE: usize = 8;

/// How long a torrent without a peer that gives it anything waits before it asks again; doubled each time.
pub const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The trackers of one torrent, in the order of their tiers. Time is what has passed since any fixed moment.
#[derive(Debug)]
pub struct Tiers {
    trackers: Vec<TierTracker>,
    /// When a tracker was asked last.
    asked: Option<Duration>,
    /// When one was asked last that does not know us.
    searched: Option<Duration>,
    /// How long to wait after that while no peer gives.
    wait: Duration,
    /// Since when some peer gives.
    fed_since: Option<Duration>,
}

#[derive(Debug)]
struct TierTracker {
    url: String,
    host: String,
    id: Option<Vec<u8>>,
    /// When it was asked last.
    asked: Option<Duration>,
    is_under_way: bool,
    /// In a row.
    failures: u32,
    retry_at: Duration,
    /// Whether it answered, so that it lists us.
    knows_us: bool,
    /// When it is to hear from us again.
    due: Duration,
    /// Before this no need brings the next announce forward.
    earliest: Duration,
    is_told_completed: bool,
}

/// What decides when a torrent announces.
#[derive(Debug, Clone, Copy)]
pub struct AnnounceState {
    /// Whether something was missing when this run began.
    pub began_incomplete: bool,
    /// Whether nothing is missing now.
    pub is_complete: bool,
    /// Whether something is, and no peer gives any of it.
    pub lacks_peers: bool,
    /// Its peers come from one tracker at a time (BEP 27).
    pub is_private: bool,
}

/// A tracker whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackerTurn<'a> {
    /// Where to announce.
    pub url: &'a str,
    /// The host of that, as [`Hosts`] keeps it.
    pub host: &'a str,
    /// The `trackerid` to send along.
    pub tracker_id: Option<&'a [u8]>,
    /// What to announce.
    pub event: AnnounceEvent,
}

/// Why an announce came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceFailure {
    /// The host did not answer, which says the same of every tracker on it.
    Host,
    /// It answered, and this tracker refuses or answers with something else than peers.
    Tracker(Retry),
}

impl Tiers {
    /// Takes over the trackers of a torrent, each once, and shuffles every tier: `chance` gives a random number below
    /// its argument.
    pub fn new(urls: &[Vec<String>], mut chance: impl FnMut(usize) -> usize) -> Tiers {
        let mut seen = std::collections::HashSet::new();
        let mut trackers: Vec<TierTracker> = Vec::new();
        for tier in urls {
            let start = trackers.len();
            for url in tier {
                if seen.len() < MAX_TRACKERS && seen.insert(url) {
                    trackers.push(TierTracker::new(url));
                    let last = trackers.len() - 1;
                    trackers.swap(last, start + chance(last - start + 1));
                }
            }
        }
        Tiers { trackers, asked: None, searched: None, wait: FIRST_WAIT, fed_since: None }
    }

    /// The announce URL of each tracker.
    pub fn urls(&self) -> Vec<String> {
        self.trackers.iter().map(|tracker| tracker.url.clone()).collect()
    }

    /// Notes whether a peer gives. Only one that gave for as long as we waited for it makes the next wait short again, so
    /// that peers which come and go have nobody ask every two seconds.
    pub fn look(&mut self, torrent: AnnounceState, now: Duration) {
        if !torrent.lacks_peers {
            self.fed_since.get_or_insert(now);
        } else if self.fed_since.take().is_some_and(|since| now.saturating_sub(since) >= self.wait) {
            self.wait = FIRST_WAIT;
        }
    }

    /// The tracker to announce to now, if it is time.
    pub fn next(&self, torrent: AnnounceState, hosts: &Hosts, now: Duration) -> Option<TrackerTurn<'_>> {
        let due = self.turns(torrent, hosts, now).into_iter().find(|(at, _)| *at <= now);
        due.map(|(_, tracker)| tracker.turn(torrent))
    }

    /// When [`Tiers::next`] will have something to say, as far as time alone decides.
    pub fn due_at(&self, torrent: AnnounceState, hosts: &Hosts, now: Duration) -> Option<Duration> {
        self.turns(torrent, hosts, now).into_iter().map(|(at, _)| at).min()
    }

    /// What is left to say before we leave: to each tracker that knows us `completed`, if that is owed, then `stopped`.
    pub fn farewell(&self, torrent: AnnounceState, hosts: &Hosts) -> Option<TrackerTurn<'_>> {
        let is_free = |tracker: &&TierTracker| {
            !tracker.is_under_way && !matches!(hosts.way(&tracker.host), HostReadiness::Busy(_))
        };
        let tracker = self.trackers.iter().filter(|tracker| tracker.knows_us).find(is_free)?;
        let event = if tracker.owes_completed(torrent) { AnnounceEvent::Completed } else { AnnounceEvent::Stopped };
        Some(TrackerTurn { event, ..tracker.turn(torrent) })
    }

    /// Whether no tracker knows us, so that nothing is left to say.
    pub fn is_unknown(&self) -> bool {
        !self.trackers.iter().any(|tracker| tracker.knows_us)
    }

    /// Whether an announce is under way that began a moment ago, so that a tracker may be about to know us.
    pub fn is_introducing(&self, now: Duration) -> bool {
        let is_fresh = |asked: Duration| now < asked + STAGGER;
        self.trackers.iter().any(|tracker| tracker.is_under_way && tracker.asked.is_some_and(is_fresh))
    }

    /// Whether some tracker answered when it was asked last.
    pub fn is_heard(&self) -> bool {
        self.trackers.iter().any(TierTracker::is_well)
    }

    /// Whether an announce is under way.
    pub fn is_under_way(&self) -> bool {
        self.trackers.iter().any(|tracker| tracker.is_under_way)
    }

    /// The announce of a [`TrackerTurn`] begins.
    pub fn begin(&mut self, url: &str, torrent: AnnounceState, now: Duration) {
        if torrent.lacks_peers && self.needed_at().is_some_and(|at| at <= now) {
            self.wait = (2 * self.wait).min(MAX_INTERVAL);
        }
        self.asked = Some(now);
        let Some(tracker) = self.find(url) else { return };
        (tracker.is_under_way, tracker.asked) = (true, Some(now));
        if !tracker.knows_us {
            self.searched = Some(now);
        }
    }

    /// The tracker at `url` answered an announce of this event.
    pub fn succeeded(&mut self, url: &str, event: AnnounceEvent, answer: &Answer, now: Duration) {
        let Some(tracker) = self.find(url) else { return };
        (tracker.is_under_way, tracker.failures, tracker.retry_at) = (false, 0, Duration::ZERO);
        tracker.knows_us = event != AnnounceEvent::Stopped;
        tracker.is_told_completed |= event == AnnounceEvent::Completed;
        (tracker.due, tracker.earliest) = (now + answer.interval, now + answer.min_interval);
        if answer.tracker_id.is_some() {
            // A tracker that names no id this time means the one it named before (BEP 3).
            tracker.id.clone_from(&answer.tracker_id);
        }
    }

    /// The tracker at `url` did not answer an announce of this event, or not with peers. Whether that is news.
    pub fn failed(
        &mut self,
        url: &str,
        event: AnnounceEvent,
        failure: AnnounceFailure,
        is_last_try: bool,
        now: Duration,
    ) -> bool {
        let Some(tracker) = self.find(url) else { return false };
        tracker.is_under_way = false;
        tracker.retry_at = match failure {
            AnnounceFailure::Host => tracker.retry_at,
            AnnounceFailure::Tracker(Retry::Unsaid) => now + retry_wait(tracker.failures),
            AnnounceFailure::Tracker(Retry::After(time)) => now + time,
            AnnounceFailure::Tracker(Retry::Never) => Duration::MAX,
        };
        tracker.failures = tracker.failures.saturating_add(1);
        tracker.knows_us &= event != AnnounceEvent::Stopped;
        tracker.is_told_completed |= event == AnnounceEvent::Completed && is_last_try;
        tracker.failures == 1
    }

    /// When each tracker's turn comes; whoever has waited longest for it comes first. A tracker is missing that waits for
    /// an announce that is under way.
    fn turns(&self, torrent: AnnounceState, hosts: &Hosts, now: Duration) -> Vec<(Duration, &TierTracker)> {
        let mut order: Vec<&TierTracker> = self.trackers.iter().collect();
        // Those that were never asked stay in the order of their tiers.
        order.sort_by_key(|tracker| tracker.asked);
        let needed_at = self.needed_at().filter(|_| torrent.lacks_peers);
        let mut search_at = self.search_at(torrent, hosts, now);
        let mut turns = Vec::new();
        for tracker in order.into_iter().filter(|tracker| !tracker.is_under_way) {
            let due = match tracker.knows_us {
                true => Some(tracker.due_at(torrent, needed_at)),
                false => search_at,
            };
            match (hosts.way(&tracker.host), due) {
                (HostReadiness::Open(at), Some(due)) => turns.push((due.max(at).max(tracker.retry_at), tracker)),
                // It is passed over only if the announce of another torrent that it waits for takes long.
                (HostReadiness::Busy(since), _) if !tracker.knows_us => {
                    search_at = search_at.map(|at| at.max(since.saturating_add(STAGGER)));
                }
                _ => {}
            }
        }
        turns
    }

    /// From when on a tracker is asked that does not know us.
    fn search_at(&self, torrent: AnnounceState, hosts: &Hosts, now: Duration) -> Option<Duration> {
        if self.trackers.iter().filter(|tracker| tracker.is_under_way).count() >= MAX_AT_ONCE {
            return None;
        }
        let served = self.trackers.iter().map(|tracker| tracker.serves_until(hosts, now)).max().unwrap_or_default();
        let at = match self.needed_at() {
            Some(needed_at) if torrent.lacks_peers && !torrent.is_private => served.min(needed_at),
            _ => served,
        };
        let is_searching = self.trackers.iter().any(|tracker| tracker.is_under_way && !tracker.knows_us);
        let next = self.searched.filter(|_| is_searching).map_or(Duration::ZERO, |searched| searched + STAGGER);
        Some(at.max(next))
    }

    /// When a tracker is asked for want of peers.
    fn needed_at(&self) -> Option<Duration> {
        self.asked.map(|asked| asked + self.wait)
    }

    fn find(&mut self, url: &str) -> Option<&mut TierTracker> {
        self.trackers.iter_mut().find(|tracker| tracker.url == url)
    }
}

impl TierTracker {
    fn new(url: &str) -> TierTracker {
        TierTracker {
            url: url.to_owned(),
            host: host_of(url),
            id: None,
            asked: None,
            is_under_way: false,
            failures: 0,
            retry_at: Duration::ZERO,
            knows_us: false,
            due: Duration::ZERO,
            earliest: Duration::ZERO,
            is_told_completed: false,
        }
    }

    /// Whether it answered when it was asked last.
    fn is_well(&self) -> bool {
        self.knows_us && self.failures == 0
    }

    fn owes_completed(&self, torrent: AnnounceState) -> bool {
        torrent.began_incomplete && torrent.is_complete && !self.is_told_completed
    }

    /// When it is due that knows us.
    fn due_at(&self, torrent: AnnounceState, needed_at: Option<Duration>) -> Duration {
        match () {
            () if self.failures > 0 || self.owes_completed(torrent) => Duration::ZERO,
            () => needed_at.map_or(self.due, |at| self.due.min(at.max(self.earliest))),
        }
    }

    /// Until when no other is needed beside it: while it is well, and not much longer than it takes to answer.
    fn serves_until(&self, hosts: &Hosts, now: Duration) -> Duration {
        match hosts.way(&self.host) {
            _ if !self.is_well() => Duration::ZERO,
            HostReadiness::Busy(since) => self.due.max(since.saturating_add(STAGGER)),
            HostReadiness::Open(at) if at > now => self.due,
            HostReadiness::Open(_) | HostReadiness::Full => self.due.max(now) + STAGGER,
        }
    }

    fn turn(&self, torrent: AnnounceState) -> TrackerTurn<'_> {
        let event = match () {
            () if !self.knows_us => AnnounceEvent::Started,
            () if self.owes_completed(torrent) => AnnounceEvent::Completed,
            () => AnnounceEvent::Regular,
        };
        TrackerTurn { url: &self.url, host: &self.host, tracker_id: self.id.as_deref(), event }
    }
}

#[cfg(test)]
mod tests;
