//! When a torrent is searched for, whose search is answered, and which senders are believed. Pure: `now` is an argument.
//!
//! Invariant: whatever is heard, at most [`MAX_SENT_A_SECOND`] datagrams go out in a second, one torrent is answered for once in
//! [`ANSWER_PAUSE`], and [`MAX_HEARD`] senders are remembered.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::message::{self, Search};
use crate::{
    metainfo::InfoHash,
    net::{self, NamedBy},
    quota::{Allowances, Origin},
};

/// When a torrent is searched for, counted from its beginning: multicast gets lost on Wi-Fi.
const FIRST: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(6)];

/// How often it is searched for then. All torrents have their turns within it (BEP 14 asks for five minutes).
const INTERVAL: Duration = Duration::from_secs(300);

/// The same while it lacks peers.
const LACKING: Duration = Duration::from_secs(60);

/// The shortest time between two datagrams about a torrent, where one is an answer.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// How long a sender need not be answered again: two seeders would go on for ever.
const ANSWERED_FOR: Duration = Duration::from_secs(60);

/// Searches that are sent in a second: a thousand torrents that begin at once take their time.
const MAX_SENT_A_SECOND: usize = 20;

/// What one sender may say at once, and in a second from then on: many torrents begin three times each.
const OF_ONE: (f64, f64) = (60.0, 6.0);

/// The same for all senders: a room of two hundred that begins at once, and a few times what Transmission takes.
const OF_ALL: (f64, f64) = (600.0, 40.0);

/// Senders that are remembered, each with its torrent; the oldest make room.
const MAX_HEARD: usize = 1024;

/// Ports of one host that are believed for a torrent: several clients may run there.
const MAX_PORTS: usize = 4;

/// How long a sender is remembered.
const HEARD_FOR: Duration = Duration::from_secs(600);

/// For how long after its first datagram other addresses with the same cookie and port are the same client's: it sends over IPv4 and
/// IPv6 and every interface at once, and one connection with it is enough.
const SAME_CLIENT: Duration = Duration::from_secs(3);

/// What is searched for.
#[derive(Debug)]
pub struct SearchSchedule {
    /// By which our own datagrams are known.
    cookie: String,
    torrents: HashMap<InfoHash, SearchedTorrent>,
    heard: VecDeque<Heard>,
    of_one: Allowances,
    of_all: Allowances,
    /// When the last datagrams were sent, at most [`MAX_SENT_A_SECOND`] of them.
    sent: VecDeque<Instant>,
}

#[derive(Debug)]
struct SearchedTorrent {
    /// The port that is said.
    port: u16,
    /// Turns of [`FIRST`] that are over.
    turns: usize,
    /// When its first turn was.
    began: Instant,
    due: Instant,
    sent: Option<Instant>,
    /// Somebody waits for an answer since then.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Heard {
    torrent: InfoHash,
    address: SocketAddr,
    cookie: Vec<u8>,
    at: Instant,
}

/// A torrent, as it is when somebody searches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchedState {
    /// It is all here.
    Complete,
    /// Some of it is missing.
    Incomplete,
    /// Some of it is missing, and nobody gives any.
    Lacking,
}

/// A search that is due.
#[derive(Debug)]
pub struct DueSearch {
    hash: InfoHash,
    port: u16,
    cookie: String,
}

impl DueSearch {
    /// Its datagram for a group.
    pub fn datagram(&self, group: SocketAddr) -> Vec<u8> {
        message::encode(group, self.port, self.hash, &self.cookie)
    }
}

impl SearchSchedule {
    /// Nothing yet. The cookie is to be a random one.
    pub fn new(cookie: u32) -> SearchSchedule {
        SearchSchedule {
            cookie: format!("{cookie:08x}"),
            torrents: HashMap::new(),
            heard: VecDeque::new(),
            of_one: Allowances::new(OF_ONE.0, OF_ONE.1),
            of_all: Allowances::new(OF_ALL.0, OF_ALL.1),
            sent: VecDeque::new(),
        }
    }

    /// A torrent that takes connections on this port is searched for from now on.
    pub fn add(&mut self, hash: InfoHash, port: u16, now: Instant) {
        if message::can_be_told(port) {
            self.torrents
                .insert(hash, SearchedTorrent { port, turns: 0, began: now, due: now, sent: None, asked: None });
        }
    }

    /// It is not any more.
    pub fn remove(&mut self, hash: InfoHash) {
        self.torrents.remove(&hash);
        self.heard.retain(|heard| heard.torrent != hash);
    }

    /// There is an interface that was not there before: others may be behind it.
    pub fn begin_again(&mut self, now: Instant) {
        for torrent in self.torrents.values_mut() {
            (torrent.turns, torrent.began, torrent.due) = (0, now, now);
        }
    }

    /// When [`SearchSchedule::next`] has something, should nothing happen before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let first = self.torrents.values().map(SearchedTorrent::next_at).min()?;
        let oldest = self.sent.front().filter(|_| self.sent.len() >= MAX_SENT_A_SECOND);
        Some(oldest.map_or(first, |oldest| first.max(*oldest + Duration::from_secs(1))).max(now))
    }

    /// What is searched for now; it counts as sent.
    pub fn next(&mut self, standing: impl Fn(InfoHash) -> SearchedState, now: Instant) -> Option<DueSearch> {
        if self.due(now).is_none_or(|due| due > now) {
            return None;
        }
        let first = self.torrents.iter_mut().min_by_key(|(hash, torrent)| (torrent.next_at(), **hash));
        let (hash, torrent) = first.filter(|(_, torrent)| torrent.next_at() <= now)?;
        if torrent.due <= now {
            torrent.turns = (torrent.turns + 1).min(FIRST.len());
            let again = if standing(*hash) == SearchedState::Lacking { LACKING } else { INTERVAL };
            torrent.due = match FIRST.get(torrent.turns) {
                Some(after) => (torrent.began + *after).max(now + ANSWER_PAUSE),
                None => now + again,
            };
        }
        (torrent.sent, torrent.asked) = (Some(now), None);
        if self.sent.len() >= MAX_SENT_A_SECOND {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
        Some(DueSearch { hash: *hash, port: torrent.port, cookie: self.cookie.clone() })
    }

    /// A datagram has come from that address, which is on its link. The torrents of ours that its sender is a peer of, with the
    /// address at which it is one; `own` are the addresses of this machine. A search for what is complete here will be answered.
    pub fn hears(
        &mut self,
        datagram: &[u8],
        sender: SocketAddr,
        own: &[IpAddr],
        standing: impl Fn(InfoHash) -> SearchedState,
        now: Instant,
    ) -> Vec<(InfoHash, SocketAddr)> {
        let Some(search) = message::decode(datagram).filter(|search| search.cookie != self.cookie.as_bytes()) else {
            return Vec::new();
        };
        let Search { port, mut info_hashes, cookie } = search;
        info_hashes.retain(|hash| self.torrents.contains_key(hash));
        // What is about nothing of ours costs nothing further, and counts against nobody.
        let everybody = Origin::of(Ipv4Addr::UNSPECIFIED.into());
        if info_hashes.is_empty()
            || !self.of_one.take(Origin::of(sender.ip()), now)
            || !self.of_all.take(everybody, now)
        {
            return Vec::new();
        }
        let mut address = sender;
        address.set_port(port);
        info_hashes.retain(|hash| self.believes(*hash, address, own, &cookie, now));
        for hash in &info_hashes {
            if standing(*hash) == SearchedState::Complete && !self.was_answered(*hash, address, &cookie, now) {
                self.torrents.get_mut(hash).into_iter().for_each(|torrent| _ = torrent.asked.get_or_insert(now));
            }
            self.note(*hash, address, &cookie, now);
        }
        info_hashes.into_iter().map(|hash| (hash, address)).collect()
    }

    /// Whether the sender is taken for a peer of this torrent that is to be dialled there.
    fn believes(&self, hash: InfoHash, address: SocketAddr, own: &[IpAddr], cookie: &[u8], now: Instant) -> bool {
        let Some(torrent) = self.torrents.get(&hash) else { return false };
        let listening: Vec<_> = own.iter().map(|ip| SocketAddr::new(*ip, torrent.port)).collect();
        let fresh = |heard: &&Heard| heard.torrent == hash && now.saturating_duration_since(heard.at) < HEARD_FOR;
        let known = || self.heard.iter().filter(fresh);
        let is_same_client = |heard: &Heard| {
            !cookie.is_empty()
                && heard.cookie == cookie
                && heard.address.port() == address.port()
                && now.saturating_duration_since(heard.at) < SAME_CLIENT
        };
        let of_its_host = known().filter(|heard| heard.address.ip() == address.ip()).count();
        net::may_dial(address, NamedBy::Peer, &listening)
            && (known().any(|heard| heard.address == address)
                || of_its_host < MAX_PORTS && !known().any(is_same_client))
    }

    fn was_answered(&self, hash: InfoHash, address: SocketAddr, cookie: &[u8], now: Instant) -> bool {
        self.heard.iter().any(|heard| {
            (heard.torrent, heard.address, &*heard.cookie) == (hash, address, cookie)
                && now.saturating_duration_since(heard.at) < ANSWERED_FOR
        })
    }

    /// Remembers a sender from its first datagram on, for a while.
    fn note(&mut self, torrent: InfoHash, address: SocketAddr, cookie: &[u8], now: Instant) {
        let is_it = |heard: &Heard| (heard.torrent, heard.address) == (torrent, address);
        if let Some(heard) = self.heard.iter_mut().find(|heard| is_it(heard)) {
            if heard.cookie != cookie || now.saturating_duration_since(heard.at) >= ANSWERED_FOR {
                (heard.cookie, heard.at) = (cookie.to_vec(), now);
            }
            return;
        }
        if self.heard.len() >= MAX_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(Heard { torrent, address, cookie: cookie.to_vec(), at: now });
    }
}

impl SearchedTorrent {
    /// When a datagram about it is to be sent next.
    fn next_at(&self) -> Instant {
        let answer = self.asked.map(|asked| self.sent.map_or(asked, |sent| asked.max(sent + ANSWER_PAUSE)));
        answer.map_or(self.due, |answer| answer.min(self.due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::local::message::{GROUP_V4, encode};

    const HASH: InfoHash = InfoHash([1; 20]);

    fn hash(number: u16) -> InfoHash {
        let mut hash = [0; 20];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        InfoHash(hash)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn ip(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 6771))
    }

    /// The moments at which something is sent, in seconds from the beginning.
    fn moments(schedule: &mut SearchSchedule, standing: SearchedState, from: Instant, until: Duration) -> Vec<u64> {
        let (mut now, mut moments) = (from, Vec::new());
        while now < from + until {
            while schedule.next(|_| standing, now).is_some() {
                moments.push((now - from).as_secs());
            }
            now += Duration::from_millis(250);
        }
        moments
    }

    /// Hears that somebody has `HASH`, and says who is believed where.
    fn hears(
        schedule: &mut SearchSchedule,
        from: SocketAddr,
        port: u16,
        cookie: &str,
        now: Instant,
    ) -> Option<SocketAddr> {
        let datagram = encode(GROUP_V4, port, HASH, cookie);
        let own = [IpAddr::from([10, 0, 0, 1])];
        let found = schedule.hears(&datagram, from, &own, |_| SearchedState::Complete, now);
        found.first().map(|(hash, address)| {
            assert_eq!(*hash, HASH);
            *address
        })
    }

    #[test]
    fn a_torrent_is_searched_for_three_times_and_then_rarely() {
        let now = Instant::now();
        for (standing, want) in [
            (SearchedState::Complete, vec![0, 2, 6, 306, 606]),
            (SearchedState::Incomplete, vec![0, 2, 6, 306, 606]),
            (SearchedState::Lacking, vec![0, 2, 6, 66, 126, 186, 246, 306, 366, 426, 486, 546, 606]),
        ] {
            let mut schedule = SearchSchedule::new(7);
            assert_eq!(schedule.due(now), None);
            schedule.add(HASH, 6881, now);
            assert_eq!(moments(&mut schedule, standing, now, seconds(620)), want, "{standing:?}");
        }
    }

    #[test]
    fn a_thousand_torrents_take_turns_and_a_new_interface_is_told_of_each() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        (0..1000).for_each(|number| schedule.add(hash(number), 6881, now));
        let first = moments(&mut schedule, SearchedState::Complete, now, seconds(1));
        assert_eq!(first.len(), MAX_SENT_A_SECOND);
        let all = moments(&mut schedule, SearchedState::Complete, now + seconds(1), seconds(200));
        assert_eq!(first.len() + all.len(), 3000);
        let later = now + seconds(210);
        schedule.begin_again(later);
        assert_eq!(moments(&mut schedule, SearchedState::Complete, later, seconds(2)).len(), 2 * MAX_SENT_A_SECOND);
    }

    #[test]
    fn ports_that_nobody_takes_are_not_said() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(hash(1), 65535, now);
        schedule.add(hash(2), 0, now);
        assert_eq!(schedule.due(now), None);
    }

    #[test]
    fn a_search_for_what_is_seeded_is_answered_once_a_second_and_two_seeders_do_not_go_on_for_ever() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(HASH, 6881, now);
        moments(&mut schedule, SearchedState::Complete, now, seconds(10));
        let asked = now + seconds(20);
        for last in 2..5 {
            assert!(hears(&mut schedule, ip(last), 6882, &format!("{last}"), asked).is_some());
        }
        assert_eq!(moments(&mut schedule, SearchedState::Complete, asked, seconds(10)), [0], "one answer for all");
        let again = asked + seconds(11);
        hears(&mut schedule, ip(2), 6882, "2", again);
        assert!(moments(&mut schedule, SearchedState::Complete, again, seconds(10)).is_empty(), "it was answered");
        // The same peer, started anew; and one that comes right after the answer.
        let anew = again + seconds(11);
        hears(&mut schedule, ip(2), 6882, "b", anew);
        assert!(schedule.next(|_| SearchedState::Complete, anew).is_some());
        hears(&mut schedule, ip(5), 6882, "c", anew);
        assert_eq!(moments(&mut schedule, SearchedState::Complete, anew, seconds(10)), [1]);
    }

    #[test]
    fn what_is_fetched_is_not_answered_for_and_what_is_not_here_is_not_heard() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(HASH, 6881, now);
        moments(&mut schedule, SearchedState::Incomplete, now, seconds(10));
        let datagram = encode(GROUP_V4, 6882, HASH, "a");
        let found = schedule.hears(&datagram, ip(2), &[], |_| SearchedState::Incomplete, now + seconds(20));
        assert_eq!(found, [(HASH, SocketAddr::from(([10, 0, 0, 2], 6882)))]);
        assert!(moments(&mut schedule, SearchedState::Incomplete, now + seconds(20), seconds(10)).is_empty());
        let other = encode(GROUP_V4, 6882, hash(9), "a");
        assert!(schedule.hears(&other, ip(2), &[], |_| SearchedState::Complete, now).is_empty());
        schedule.remove(HASH);
        assert!(hears(&mut schedule, ip(2), 6882, "a", now).is_none() && schedule.due(now).is_none());
    }

    #[test]
    fn our_own_datagrams_services_and_ourselves_are_no_peers() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(HASH, 6881, now);
        let own: SocketAddr = ip(1);
        assert_eq!(hears(&mut schedule, ip(2), 6882, "00000007", now), None, "our own echo");
        assert_eq!(hears(&mut schedule, own, 6881, "a", now), None, "ourselves, under a cookie of somebody else");
        assert_eq!(hears(&mut schedule, ip(2), 1023, "a", now), None);
        assert_eq!(hears(&mut schedule, own, 6882, "b", now).map(|address| address.port()), Some(6882), "a neighbour");
        assert_eq!(hears(&mut schedule, ip(2), 1024, "c", now).map(|address| address.port()), Some(1024));
    }

    #[test]
    fn a_client_with_several_addresses_is_one_peer() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(HASH, 6881, now);
        let v6: SocketAddr = "[fe80::2%3]:6771".parse().unwrap();
        assert!(hears(&mut schedule, ip(2), 6882, "a", now).is_some());
        assert_eq!(hears(&mut schedule, v6, 6882, "a", now), None);
        assert!(hears(&mut schedule, ip(2), 6882, "a", now + seconds(2)).is_some(), "the same is heard again");
        // Whoever borrows a cookie hides its owner for a moment at most.
        assert!(hears(&mut schedule, v6, 6882, "a", now + SAME_CLIENT).is_some());
    }

    #[test]
    fn a_flood_is_bounded_for_one_host_and_for_all() {
        let now = Instant::now();
        let mut schedule = SearchSchedule::new(7);
        schedule.add(HASH, 6881, now);
        let believed = (1024..5000).filter(|port| hears(&mut schedule, ip(2), *port, "", now).is_some()).count();
        assert_eq!(believed, MAX_PORTS, "however many ports one host names");
        assert!(hears(&mut schedule, ip(3), 6882, "a", now).is_some(), "another is heard beside it");
        let hosts = (0..5000u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            SocketAddr::from(([10, 1, high, low], 6771))
        });
        let believed = hosts.filter(|host| hears(&mut schedule, *host, 6882, "", now).is_some()).count();
        assert!(believed <= OF_ALL.0 as usize && schedule.heard.len() <= MAX_HEARD, "{believed}");
        let sent = moments(&mut schedule, SearchedState::Complete, now + seconds(10), seconds(10)).len();
        assert!(sent <= 12, "{sent} datagrams for one torrent in ten seconds");
    }
}
