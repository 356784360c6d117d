//! Announcing: a few threads that tell trackers about every torrent of the process when it is due, and pass on what they
//! answer (BEP 3, "trackers"; BEP 12).
//!
//! The schedule is owned by one lock that is held to look and to note, never while a tracker is waited for. One announce
//! at a time is under way to each tracker host; with a tracker of our own process there is nothing to wait for.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;

use super::report::Board;
use crate::{
    metainfo::{InfoHash, PeerId},
    peer::Share,
    tracker::{
        announce::{Announce, DEFAULT_WANTED, Event},
        answer::Answer,
        client::Client,
        tiers::Tiers,
    },
};

/// Threads that announce, at most. Each waits for one tracker; one that never answers holds up one of them.
const MAX_THREADS: usize = 4;

/// How long a thread with nothing due stays.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread's stack, in bytes; TLS needs the most of it.
const STACK: usize = 512 * 1024;

/// What trackers say about a torrent that is being fetched.
#[derive(Debug)]
pub enum TrackerNews {
    /// Peers of its swarm.
    Peers(Vec<SocketAddr>),
    /// No answer, and why, as a sentence.
    Trouble(String),
}

/// A tracker that runs in this process and is called directly.
#[derive(Clone)]
pub struct OwnTracker {
    /// Its announce URL, as it stands in metainfos.
    pub is_own: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Announces to it.
    pub announce: Arc<dyn Fn(&Announce) -> Answer + Send + Sync>,
}

/// Announces every torrent it is given until it is ended.
#[derive(Clone)]
pub struct Announcer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where trouble is shown.
    board: Arc<Board>,
    client: Client,
    peer_id: PeerId,
    own: Option<OwnTracker>,
    /// What times of the schedule are counted from.
    epoch: Instant,
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

#[derive(Default)]
struct Schedule {
    entries: HashMap<InfoHash, Entry>,
    /// Tracker hosts that an announce is under way to.
    busy: HashSet<String>,
    threads: usize,
    idle: usize,
    ending: bool,
    /// The number of the entry that was added last.
    last: u64,
}

struct Entry {
    /// An announce that was under way for an earlier entry of the same torrent tells nothing about this one.
    number: u64,
    share: Arc<Share>,
    tiers: Tiers,
    port: u16,
    news: Option<Sender<TrackerNews>>,
    /// Whether it lacked something when it was announced last.
    was_incomplete: bool,
    /// Nothing is lacking since then, and the tracker has not been told.
    completed: bool,
    under_way: bool,
    /// To say goodbye, and then to be forgotten.
    leaving: bool,
    stopped: bool,
    /// The tracker that has no answer, and of which a person has been told.
    told_of: Option<String>,
}

/// An announce that is due.
struct Errand {
    number: u64,
    info_hash: InfoHash,
    url: String,
    host: String,
    tracker_id: Option<Vec<u8>>,
    announce: Announce,
    news: Option<Sender<TrackerNews>>,
}

/// What there is for a thread to do.
enum Next {
    Errand(Box<Errand>),
    Wait(Duration),
    Leave,
}

impl Announcer {
    /// Nothing to announce yet.
    pub fn new(client: Client, peer_id: PeerId, own: Option<OwnTracker>, board: Arc<Board>) -> Announcer {
        let (schedule, changed) = (Mutex::default(), Condvar::new());
        let inner = Inner { board, client, peer_id, own, epoch: Instant::now(), schedule, changed };
        Announcer { inner: Arc::new(inner) }
    }

    /// Announces this torrent, as listening on `port`, from now on. `chance` gives a random number below its argument.
    pub fn add(
        &self,
        share: Arc<Share>,
        trackers: &[Vec<String>],
        port: u16,
        news: Option<Sender<TrackerNews>>,
        chance: impl FnMut(usize) -> usize,
    ) {
        let entry = Entry::new(share, Tiers::new(trackers, chance), port, news);
        self.inner.lock().add(entry);
        self.wake();
    }

    /// Says goodbye for this torrent where its trackers know us, and forgets it.
    pub fn remove(&self, info_hash: InfoHash) {
        if let Some(entry) = self.inner.lock().entries.get_mut(&info_hash) {
            entry.leaving = true;
        }
        self.wake();
    }

    /// Something has changed that trackers should hear soon: the torrent is complete, or peers are needed.
    pub fn hurry(&self, info_hash: InfoHash) {
        let now = self.inner.epoch.elapsed();
        if let Some(entry) = self.inner.lock().entries.get_mut(&info_hash) {
            entry.tiers.hurry(now);
        }
        self.wake();
    }

    /// Begins to say goodbye to every tracker that knows us; nothing else is announced from now on.
    pub fn say_goodbye(&self) {
        self.inner.client.end();
        self.inner.lock().ending = true;
        self.wake();
    }

    /// Waits until every goodbye is said, or the deadline has passed.
    pub fn wait(&self, deadline: Instant) {
        let mut schedule = self.inner.lock();
        while schedule.entries.values().any(|entry| !entry.stopped && entry.tiers.current().is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            schedule = self.inner.changed.wait_timeout(schedule, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has a thread look at the schedule; starts one if all are busy.
    fn wake(&self) {
        let mut schedule = self.inner.lock();
        if schedule.idle == 0 && schedule.threads < MAX_THREADS {
            schedule.threads += 1;
            let announcer = self.clone();
            let started =
                thread::Builder::new().name("announcer".into()).stack_size(STACK).spawn(move || announcer.run());
            if let Err(error) = started {
                schedule.threads -= 1;
                log::warn!("no thread for announcing: {error}");
            }
        }
        drop(schedule);
        self.inner.changed.notify_all();
    }

    fn run(&self) {
        let mut schedule = self.inner.lock();
        loop {
            match schedule.next(&self.inner) {
                Next::Errand(errand) => {
                    let more = schedule.idle == 0 && schedule.threads < MAX_THREADS;
                    drop(schedule);
                    if more {
                        self.wake();
                    }
                    self.inner.run(*errand);
                    schedule = self.inner.lock();
                }
                Next::Wait(time) => {
                    schedule.idle += 1;
                    let waited = self.inner.changed.wait_timeout(schedule, time);
                    schedule = waited.unwrap_or_else(PoisonError::into_inner).0;
                    schedule.idle -= 1;
                }
                Next::Leave => break,
            }
        }
        schedule.threads -= 1;
        drop(schedule);
        self.inner.changed.notify_all();
    }
}

impl Schedule {
    fn add(&mut self, mut entry: Entry) {
        self.last += 1;
        entry.number = self.last;
        self.entries.insert(entry.share.metainfo.info_hash(), entry);
    }

    /// The announce that is due, or how long to wait for one. All but one thread leave when there is nothing to do.
    fn next(&mut self, inner: &Inner) -> Next {
        let now = inner.epoch.elapsed();
        let mut soonest = PATIENCE;
        self.entries.retain(|_, entry| !entry.is_gone());
        for (hash, entry) in &mut self.entries {
            if entry.under_way || entry.stopped {
                continue;
            }
            entry.look();
            let ending = self.ending || entry.leaving;
            let turn = match ending {
                true => entry.tiers.current(),
                false => entry.tiers.next(now),
            };
            let Some(turn) = turn else {
                let due = entry.tiers.due_at().map_or(PATIENCE, |due| due.saturating_sub(now));
                soonest = soonest.min(due.max(Duration::from_millis(10)));
                continue;
            };
            let host = host_of(turn.url).to_owned();
            if self.busy.contains(&host) {
                continue;
            }
            let event = match () {
                () if ending => Event::Stopped,
                () if turn.is_first => Event::Started,
                () if entry.completed => Event::Completed,
                () => Event::Regular,
            };
            let errand = Errand {
                number: entry.number,
                info_hash: *hash,
                url: turn.url.to_owned(),
                tracker_id: turn.tracker_id.map(<[u8]>::to_vec),
                announce: entry.announce(inner.peer_id, event),
                news: entry.news.clone(),
                host,
            };
            entry.under_way = true;
            self.busy.insert(errand.host.clone());
            return Next::Errand(Box::new(errand));
        }
        if self.ending || self.idle > 0 { Next::Leave } else { Next::Wait(soonest) }
    }
}

impl Entry {
    fn new(share: Arc<Share>, tiers: Tiers, port: u16, news: Option<Sender<TrackerNews>>) -> Entry {
        let was_incomplete = !share.have.is_full();
        Entry {
            number: 0,
            share,
            tiers,
            port,
            news,
            was_incomplete,
            completed: false,
            under_way: false,
            leaving: false,
            stopped: false,
            told_of: None,
        }
    }

    /// Whether it has said goodbye, or need not.
    fn is_gone(&self) -> bool {
        self.leaving && !self.under_way && (self.stopped || self.tiers.current().is_none())
    }

    /// Notices that the last piece has come.
    fn look(&mut self) {
        if self.was_incomplete && self.share.have.is_full() {
            (self.was_incomplete, self.completed) = (false, true);
        }
    }

    fn announce(&self, peer_id: PeerId, event: Event) -> Announce {
        Announce {
            info_hash: self.share.metainfo.info_hash(),
            peer_id,
            port: self.port,
            uploaded: self.share.traffic.uploaded.load(Ordering::Relaxed),
            downloaded: self.share.traffic.downloaded.load(Ordering::Relaxed),
            left: self.share.left(),
            event,
            // Whoever has everything waits for those that want it to come.
            wanted: if event == Event::Stopped || self.news.is_none() { 0 } else { DEFAULT_WANTED },
        }
    }
}

impl Inner {
    /// Announces, notes the answer, passes it on.
    fn run(&self, errand: Errand) {
        let own = self.own.as_ref().filter(|own| (own.is_own)(&errand.url));
        let answer = match own {
            Some(own) => Ok((own.announce)(&errand.announce)),
            None => self.client.announce(&errand.url, &errand.announce, errand.tracker_id.as_deref()),
        };
        let now = self.epoch.elapsed();
        let mut schedule = self.lock();
        schedule.busy.remove(&errand.host);
        let entry = schedule.entries.get_mut(&errand.info_hash).filter(|entry| entry.number == errand.number);
        let mut new_trouble = false;
        if let Some(entry) = entry {
            let is_told = entry.told_of.as_ref() == Some(&errand.url);
            new_trouble = answer.is_err() && !is_told;
            if new_trouble {
                entry.told_of = Some(errand.url.clone());
            } else if answer.is_ok() && is_told {
                entry.told_of = None;
            }
            entry.under_way = false;
            entry.stopped = errand.announce.event == Event::Stopped;
            match &answer {
                Ok(answer) => {
                    entry.completed &= errand.announce.event != Event::Completed;
                    entry.tiers.succeeded(&errand.url, now, answer);
                }
                Err(_) => entry.tiers.failed(&errand.url, now),
            }
        }
        drop(schedule);
        self.changed.notify_all();
        let news = match answer {
            Ok(answer) => {
                self.board.update(errand.info_hash, |report| report.trouble = None);
                log::debug!("{} names {} peers", errand.url, answer.peers.len());
                answer.warning.into_iter().for_each(|warning| log::warn!("{} warns: {warning}", errand.url));
                TrackerNews::Peers(answer.peers)
            }
            Err(error) => {
                let trouble = format!("tracker {}: {error}", errand.url);
                self.board.update(errand.info_hash, |report| report.trouble = Some(trouble.clone()));
                // Whoever takes is shown it for as long as it lasts; whoever gives hears of it once.
                match errand.news.is_none() && new_trouble {
                    true => log::error!("{trouble}; it is asked again until it answers"),
                    false => log::info!("{trouble}"),
                }
                TrackerNews::Trouble(trouble)
            }
        };
        // Whoever wanted to know may have ended meanwhile.
        errand.news.map(|to| to.send(news));
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scheme, host and port of a URL.
fn host_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};

    use super::*;
    use crate::peer::tests::Torrent;

    const INTERVAL: Duration = Duration::from_secs(5);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A tracker of this process that answers at once, and hears what it is told.
    fn own_tracker() -> (OwnTracker, Receiver<Announce>) {
        let (heard, hears) = unbounded();
        let announce = move |announce: &Announce| {
            heard.send(*announce).unwrap();
            let answer = Answer::parse(b"d5:peers0:e").unwrap();
            Answer { interval: INTERVAL, min_interval: Duration::ZERO, ..answer }
        };
        (OwnTracker { is_own: Arc::new(|url| url.starts_with("http://own")), announce: Arc::new(announce) }, hears)
    }

    /// An announcer whose threads are played by the test, and whose clock it moves.
    struct Stage {
        inner: Inner,
        hears: Receiver<Announce>,
    }

    impl Stage {
        fn new() -> Stage {
            let (own, hears) = own_tracker();
            let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), Arc::default());
            Stage { inner: Arc::into_inner(announcer.inner).unwrap(), hears }
        }

        fn add(&self, torrent: &Torrent, trackers: &[&str]) -> InfoHash {
            let tiers: Vec<_> = trackers.iter().map(|url| vec![url.to_string()]).collect();
            let entry = Entry::new(torrent.share.clone(), Tiers::new(&tiers, |_| 0), 6881, None);
            let hash = entry.share.metainfo.info_hash();
            self.inner.lock().add(entry);
            hash
        }

        fn next(&self) -> Option<Box<Errand>> {
            match self.inner.lock().next(&self.inner) {
                Next::Errand(errand) => Some(errand),
                Next::Wait(_) | Next::Leave => None,
            }
        }

        /// Carries out what is due, and says what the own tracker heard.
        fn run(&self) -> Vec<Event> {
            while let Some(errand) = self.next() {
                self.inner.run(*errand);
            }
            self.hears.try_iter().map(|announce| announce.event).collect()
        }

        fn pass(&mut self, time: Duration) {
            self.inner.epoch = self.inner.epoch.checked_sub(time).expect("this machine started before that");
        }
    }

    #[test]
    fn one_announce_at_a_time_is_under_way_to_a_host() {
        let (stage, torrents) = (Stage::new(), [1, 2, 3].map(Torrent::nothing_of));
        stage.add(&torrents[0], &["http://own:1/announce"]);
        stage.add(&torrents[1], &["http://own:1/other/path"]);
        stage.add(&torrents[2], &["http://own:2/announce"]);
        let errands: Vec<_> = std::iter::from_fn(|| stage.next()).collect();
        assert!(errands.len() == 2 && errands[0].host != errands[1].host);
        let (first, other): (Vec<_>, Vec<_>) = errands.into_iter().partition(|errand| errand.host == "http://own:1");
        other.into_iter().for_each(|errand| stage.inner.run(*errand));
        assert!(stage.next().is_none(), "the one is still under way");
        let before = first[0].info_hash;
        first.into_iter().for_each(|errand| stage.inner.run(*errand));
        assert!(stage.next().is_some_and(|next| next.host == "http://own:1" && next.info_hash != before));
    }

    #[test]
    fn a_tracker_hears_started_completed_and_stopped_in_order_and_once() {
        let (mut stage, torrent) = (Stage::new(), Torrent::nothing_of(1));
        let hash = stage.add(&torrent, &["http://own"]);
        assert_eq!(stage.run(), [Event::Started]);
        assert_eq!(stage.run(), [], "it is not due");
        stage.pass(INTERVAL);
        assert_eq!(stage.run(), [Event::Regular]);
        torrent.share.geometry().pieces().for_each(|piece| torrent.share.have.insert(piece));
        let now = stage.inner.epoch.elapsed();
        stage.inner.lock().entries.get_mut(&hash).unwrap().tiers.hurry(now);
        assert_eq!(stage.run(), [Event::Completed]);
        stage.pass(INTERVAL);
        assert_eq!(stage.run(), [Event::Regular]);
        stage.inner.lock().ending = true;
        assert_eq!(stage.run(), [Event::Stopped]);
        assert_eq!(stage.run(), []);
    }

    #[test]
    fn who_had_everything_from_the_start_never_completes() {
        let (mut stage, torrent) = (Stage::new(), Torrent::all_of(1));
        stage.add(&torrent, &["http://own"]);
        assert_eq!(stage.run(), [Event::Started]);
        stage.pass(INTERVAL);
        assert_eq!(stage.run(), [Event::Regular]);
    }

    #[test]
    fn where_one_tracker_fails_the_next_has_its_turn_and_hears_started() {
        let (stage, torrent) = (Stage::new(), Torrent::nothing_of(1));
        let hash = stage.add(&torrent, &["gopher://nobody", "http://own"]);
        assert_eq!(stage.run(), [Event::Started]);
        let schedule = stage.inner.lock();
        assert!(schedule.busy.is_empty() && !schedule.entries[&hash].under_way);
    }

    #[test]
    fn goodbye_is_said_only_where_we_are_known() {
        let (stage, known, unknown) = (Stage::new(), Torrent::all_of(1), Torrent::all_of(2));
        stage.add(&known, &["http://own"]);
        assert_eq!(stage.run(), [Event::Started]);
        stage.add(&unknown, &["gopher://nobody"]);
        assert_eq!(stage.run(), []);
        stage.inner.lock().ending = true;
        let goodbye = stage.next().unwrap();
        assert_eq!(goodbye.info_hash, known.share.metainfo.info_hash());
        assert_eq!((goodbye.announce.event, goodbye.announce.wanted), (Event::Stopped, 0));
        assert!(stage.next().is_none());
    }

    #[test]
    fn ending_waits_until_goodbye_is_said() {
        let (own, hears) = own_tracker();
        let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), Arc::default());
        let torrents = [1, 2, 3].map(Torrent::all_of);
        for torrent in &torrents {
            announcer.add(torrent.share.clone(), &[vec!["http://own".to_owned()]], 6881, None, |_| 0);
        }
        let started = torrents.each_ref().map(|_| hears.recv_timeout(PATIENCE).unwrap().event);
        assert_eq!(started, [Event::Started; 3]);
        announcer.say_goodbye();
        announcer.wait(Instant::now() + PATIENCE);
        let stopped: Vec<_> = hears.try_iter().map(|announce| announce.event).collect();
        assert_eq!(stopped, [Event::Stopped; 3]);
    }

    #[test]
    fn a_host_is_what_stands_before_the_path() {
        assert_eq!(host_of("http://10.0.0.1:5000/announce?x=/"), "http://10.0.0.1:5000");
        assert_eq!(host_of("udp://tracker:80"), "udp://tracker:80");
        assert_eq!(host_of("odd"), "odd");
    }
}
