//! The hosts that trackers run on, shared by every torrent that announces there: one announce at a time is under way to
//! each, and one that does not answer is left alone by all torrents. Pure.

use std::{collections::HashMap, time::Duration};

/// How long a host or a tracker is left alone after it failed for the first time. Short, since a room's tracker is often
/// started a moment after its clients.
pub const FIRST_RETRY: Duration = Duration::from_secs(2);

/// How long it is left alone at most; the time doubles until then.
pub const MAX_RETRY: Duration = Duration::from_secs(60);

/// Announces under way at most to hosts that have not answered lately, or never: each may take until its timeout, and
/// the threads that are left are for hosts that answer.
pub const MAX_DOUBTFUL: usize = 12;

/// Hosts remembered before those that tell nothing any more are forgotten.
const MANY: usize = 1000;

/// What is known of hosts. Time is what has passed since any fixed moment.
#[derive(Debug, Default)]
pub struct Hosts {
    hosts: HashMap<String, TrackerHost>,
    /// How many announces to doubtful hosts are under way.
    doubtful: usize,
}

#[derive(Debug, Default)]
struct TrackerHost {
    /// Since when an announce is under way.
    since: Option<Duration>,
    /// Whether it was doubtful when that began.
    is_doubtful: bool,
    has_answered: bool,
    failures: u32,
    retry_at: Duration,
}

/// Whether a host can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostReadiness {
    /// From this moment on.
    Open(Duration),
    /// Not while the announce is under way that began at this moment.
    Busy(Duration),
    /// Not while so many other doubtful hosts are being asked.
    Full,
}

impl Hosts {
    /// Whether this host can be asked.
    pub fn way(&self, host: &str) -> HostReadiness {
        let known = self.hosts.get(host);
        match known {
            Some(TrackerHost { since: Some(since), .. }) => HostReadiness::Busy(*since),
            _ if self.doubtful >= MAX_DOUBTFUL && known.is_none_or(TrackerHost::deserves_doubt) => HostReadiness::Full,
            Some(known) => HostReadiness::Open(known.retry_at),
            None => HostReadiness::Open(Duration::ZERO),
        }
    }

    /// An announce to it begins.
    pub fn begin(&mut self, host: &str, now: Duration) {
        if self.hosts.len() >= MANY {
            self.hosts.retain(|_, host| host.since.is_some() || host.retry_at > now);
        }
        let host = self.hosts.entry(host.to_owned()).or_default();
        (host.since, host.is_doubtful) = (Some(now), host.deserves_doubt());
        self.doubtful += usize::from(host.is_doubtful);
    }

    /// The announce is over; `answered` says whether the host did, with whatever answer.
    pub fn end(&mut self, host: &str, answered: bool, now: Duration) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        self.doubtful -= usize::from(host.since.take().is_some() && host.is_doubtful);
        host.has_answered |= answered;
        (host.failures, host.retry_at) = match answered {
            true => (0, Duration::ZERO),
            false => (host.failures.saturating_add(1), now + retry_wait(host.failures)),
        };
    }
}

impl TrackerHost {
    fn deserves_doubt(&self) -> bool {
        self.failures > 0 || !self.has_answered
    }
}

/// How long to leave alone what failed so many times in a row before.
pub fn retry_wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(MAX_RETRY)
}

/// Scheme, host and port of a URL, in lower case.
pub fn host_of(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    url[..end].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_host_is_what_stands_before_the_path() {
        assert_eq!(host_of("http://10.0.0.1:5000/announce?x=/"), "http://10.0.0.1:5000");
        assert_eq!(host_of("UDP://Tracker:80"), "udp://tracker:80");
        assert_eq!(host_of("odd"), "odd");
    }

    #[test]
    fn a_host_is_left_alone_longer_and_longer_until_it_answers() {
        let (mut hosts, mut now, mut waits) = (Hosts::default(), NOW, Vec::new());
        for _ in 0..7 {
            hosts.begin("a", now);
            assert_eq!(hosts.way("a"), HostReadiness::Busy(now));
            hosts.end("a", false, now);
            let HostReadiness::Open(at) = hosts.way("a") else { panic!("it is busy") };
            waits.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        hosts.begin("a", now);
        hosts.end("a", true, now);
        assert_eq!(hosts.way("a"), HostReadiness::Open(Duration::ZERO));
    }

    #[test]
    fn hosts_that_answer_can_be_asked_however_many_others_are_waited_for() {
        let mut hosts = Hosts::default();
        hosts.begin("good", NOW);
        hosts.end("good", true, NOW);
        let silent: Vec<_> = (0..MAX_DOUBTFUL).map(|number| number.to_string()).collect();
        silent.iter().for_each(|host| hosts.begin(host, NOW));
        assert_eq!((hosts.way("other"), hosts.way("good")), (HostReadiness::Full, HostReadiness::Open(Duration::ZERO)));
        hosts.end(&silent[0], false, NOW);
        assert_eq!(hosts.way("other"), HostReadiness::Open(Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hosts = Hosts::default();
        for number in 0..3 * MANY {
            let host = number.to_string();
            hosts.begin(&host, NOW);
            hosts.end(&host, true, NOW);
        }
        assert!(hosts.hosts.len() <= MANY);
    }
}
