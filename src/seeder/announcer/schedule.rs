//! The schedule: which torrent is announced next, where, and what the tracker is told. Pure.
//!
//! Whoever holds it asks [`Schedule::next`], announces, and tells [`Schedule::done`] what came of it. One announce at a time is
//! under way for a torrent, and one to a tracker host.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crossbeam_channel::Sender;

use super::TrackerNews;
use crate::{
    metainfo::{InfoHash, PeerId},
    peer::Share,
    tracker::{
        announce::{Announce, DEFAULT_WANTED, Event},
        answer::Answer,
        tiers::Tiers,
    },
};

/// How long a thread with nothing due stays.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shortest wait: an announce that is due at once comes after what is being done.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// What is announced, and how many threads there are to do it. Time is what has passed since any fixed moment.
#[derive(Default)]
pub struct Schedule {
    pub entries: HashMap<InfoHash, Entry>,
    /// Tracker hosts that an announce is under way to.
    pub busy: HashSet<String>,
    pub threads: usize,
    /// How many of the threads wait.
    pub idle: usize,
    /// Nothing but goodbyes is said from now on.
    pub ending: bool,
    /// The number of the entry that was added last.
    last: u64,
}

/// A torrent that is announced.
pub struct Entry {
    /// An announce that was under way for an earlier entry of the same torrent tells nothing about this one.
    number: u64,
    pub share: Arc<Share>,
    pub tiers: Tiers,
    port: u16,
    news: Sender<TrackerNews>,
    /// Whether it lacked something when it was announced last.
    was_incomplete: bool,
    /// Nothing is lacking since then, and the tracker has not been told.
    completed: bool,
    pub under_way: bool,
    /// To say goodbye, and then to be forgotten.
    pub leaving: bool,
    stopped: bool,
    /// The tracker that has no answer, and of which a person has been told.
    told_of: Option<String>,
}

/// An announce that is due.
pub struct Errand {
    number: u64,
    pub info_hash: InfoHash,
    pub url: String,
    pub host: String,
    pub tracker_id: Option<Vec<u8>>,
    pub announce: Announce,
    /// The coordinator to tell what comes of it.
    pub news: Sender<TrackerNews>,
}

/// What there is for a thread to do.
pub enum Next {
    Errand(Box<Errand>),
    Wait(Duration),
    Leave,
}

impl Schedule {
    /// Announces this torrent from now on, in the place of an earlier entry for it.
    pub fn add(&mut self, mut entry: Entry) {
        self.last += 1;
        entry.number = self.last;
        self.entries.insert(entry.share.metainfo.info_hash(), entry);
    }

    /// The announce that is due, or how long to wait for one. All but one thread leave when there is nothing to do.
    pub fn next(&mut self, ours: PeerId, now: Duration) -> Next {
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
                soonest = soonest.min(due.max(SHORTEST_WAIT));
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
                announce: entry.announce(ours, event),
                news: entry.news.clone(),
                host,
            };
            entry.under_way = true;
            self.busy.insert(errand.host.clone());
            return Next::Errand(Box::new(errand));
        }
        if self.ending || self.idle > 0 { Next::Leave } else { Next::Wait(soonest) }
    }

    /// An announce has been answered, or not. Whether a person is to hear of trouble that is new.
    pub fn done<E>(&mut self, errand: &Errand, answer: Result<&Answer, E>, now: Duration) -> bool {
        self.busy.remove(&errand.host);
        let entry = self.entries.get_mut(&errand.info_hash).filter(|entry| entry.number == errand.number);
        entry.is_some_and(|entry| entry.done(errand, answer.ok(), now))
    }

    /// Whether every goodbye is said that somebody waits for.
    pub fn is_over(&self) -> bool {
        self.entries.values().all(|entry| entry.stopped || entry.tiers.current().is_none())
    }
}

impl Entry {
    /// A torrent that listens on `port`, and its coordinator on `news`.
    pub fn new(share: Arc<Share>, tiers: Tiers, port: u16, news: Sender<TrackerNews>) -> Entry {
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
            // A seeder wants peers as well: it dials those that cannot dial it.
            wanted: if event == Event::Stopped { 0 } else { DEFAULT_WANTED },
        }
    }

    fn done(&mut self, errand: &Errand, answer: Option<&Answer>, now: Duration) -> bool {
        let is_told = self.told_of.as_ref() == Some(&errand.url);
        let is_news = answer.is_none() && !is_told;
        if is_news {
            self.told_of = Some(errand.url.clone());
        } else if answer.is_some() && is_told {
            self.told_of = None;
        }
        self.under_way = false;
        self.stopped = errand.announce.event == Event::Stopped;
        match answer {
            Some(answer) => {
                self.completed &= errand.announce.event != Event::Completed;
                self.tiers.succeeded(&errand.url, now, answer);
            }
            None => self.tiers.failed(&errand.url, now),
        }
        is_news
    }
}

/// Scheme, host and port of a URL.
pub fn host_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}
