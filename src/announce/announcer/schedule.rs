//! The schedule: which torrent is announced next, where, and what the tracker is told. Pure.
//!
//! Whoever holds it asks [`Schedule::next`], announces, and tells [`Schedule::done`] what came of it. One announce at a time is
//! under way to a tracker host; whose turn it is among the trackers of a torrent is for [`Tiers`] to say.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crossbeam_channel::Sender;

use super::TrackerNews;
use crate::{
    announce::{
        answer::Answer,
        client::{Reach, TrackerReach},
        hosts::Hosts,
        tiers::{AnnounceFailure, AnnounceState, Tiers},
    },
    metainfo::{InfoHash, PeerId},
    session::SharedTorrent,
    tracker::announce::{Announce, AnnounceEvent, DEFAULT_WANTED},
};

/// How long a thread with nothing due stays.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a torrent that is being fetched is looked at: whether its last peer has left.
const LOOK: Duration = Duration::from_secs(1);

/// The shortest wait: an announce that is due at once comes after what is being done.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// What is announced, and how many threads there are to do it. Time is what has passed since any fixed moment.
#[derive(Default)]
pub struct Schedule {
    pub entries: HashMap<InfoHash, AnnouncedTorrent>,
    pub hosts: Hosts,
    pub threads: usize,
    /// How many of the threads wait.
    pub idle: usize,
    /// Nothing but goodbyes is said from now on.
    pub ending: bool,
    /// The number of the entry that was added last.
    last: u64,
}

/// A torrent that is announced.
pub struct AnnouncedTorrent {
    /// An announce that was under way for an earlier entry of the same torrent tells nothing about this one.
    number: u64,
    pub share: Arc<SharedTorrent>,
    pub tiers: Tiers,
    pub port: u16,
    reach: TrackerReach,
    pub news: Sender<TrackerNews>,
    /// Whether something was missing when it was added.
    began_incomplete: bool,
    /// To say goodbye, and then to be forgotten.
    pub leaving: bool,
}

/// An announce that is due.
pub struct DueAnnounce {
    number: u64,
    pub info_hash: InfoHash,
    pub url: String,
    pub host: String,
    pub tracker_id: Option<Vec<u8>>,
    pub announce: Announce,
    pub reach: Reach,
    /// The coordinator to tell what comes of it.
    pub news: Sender<TrackerNews>,
}

/// What there is for a thread to do.
pub enum Next {
    Announce(Box<DueAnnounce>),
    Wait(Duration),
    Leave,
}

/// What an announce that came to nothing means to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Another tracker answers, or nobody is announced any more.
    Harmless,
    /// The torrent has no tracker; it was so before.
    Known,
    /// The same, and this tracker is the first to fail, or failed for the first time.
    New,
}

impl Schedule {
    /// Announces this torrent from now on, in the place of an earlier entry for it.
    pub fn add(&mut self, mut entry: AnnouncedTorrent) {
        self.last += 1;
        entry.number = self.last;
        self.entries.insert(entry.share.metainfo.info_hash(), entry);
    }

    /// The announce that is due, or how long to wait for one. All but one thread leave when there is nothing to do.
    pub fn next(&mut self, ours: PeerId, now: Duration) -> Next {
        let mut soonest = PATIENCE;
        self.entries.retain(|_, entry| !entry.is_gone());
        for (hash, entry) in &mut self.entries {
            let torrent = entry.torrent();
            entry.tiers.look(torrent, now);
            let turn = match self.ending || entry.leaving {
                true => entry.tiers.farewell(torrent, &self.hosts),
                false => entry.tiers.next(torrent, &self.hosts, now),
            };
            let Some(turn) = turn else {
                if let Some(at) = entry.tiers.due_at(torrent, &self.hosts, now) {
                    soonest = soonest.min(at.saturating_sub(now).max(SHORTEST_WAIT));
                }
                if !torrent.is_complete {
                    soonest = soonest.min(LOOK);
                }
                continue;
            };
            let due = DueAnnounce {
                number: entry.number,
                info_hash: *hash,
                url: turn.url.to_owned(),
                host: turn.host.to_owned(),
                tracker_id: turn.tracker_id.map(<[u8]>::to_vec),
                announce: entry.announce(ours, turn.event),
                reach: entry.reach.of(turn.url),
                news: entry.news.clone(),
            };
            self.hosts.begin(&due.host, now);
            entry.tiers.begin(&due.url, torrent, now);
            return Next::Announce(Box::new(due));
        }
        if self.ending || self.idle > 0 { Next::Leave } else { Next::Wait(soonest) }
    }

    /// An announce has been answered, or not; what the latter means to a person.
    pub fn done(&mut self, due: &DueAnnounce, outcome: Result<&Answer, AnnounceFailure>, now: Duration) -> Trouble {
        self.hosts.end(&due.host, outcome != Err(AnnounceFailure::Host), now);
        let entry = self.entries.get_mut(&due.info_hash).filter(|entry| entry.number == due.number);
        let Some(entry) = entry else { return Trouble::Harmless };
        let (event, tiers) = (due.announce.event, &mut entry.tiers);
        let is_ending = self.ending || entry.leaving;
        let is_new = match outcome {
            Ok(answer) => {
                tiers.succeeded(&due.url, event, answer, now);
                return Trouble::Harmless;
            }
            Err(failure) => tiers.failed(&due.url, event, failure, is_ending, now),
        };
        match () {
            () if is_ending || tiers.is_heard() => Trouble::Harmless,
            () if is_new => Trouble::New,
            () => Trouble::Known,
        }
    }

    /// Whether every goodbye is said that somebody waits for. A tracker that has not answered yet is waited for a moment:
    /// it would list us without it.
    pub fn is_over(&self, now: Duration) -> bool {
        self.entries.values().all(|entry| entry.tiers.is_unknown() && !entry.tiers.is_introducing(now))
    }
}

impl AnnouncedTorrent {
    /// A torrent that listens on `port`, and its coordinator on `news`.
    pub fn new(share: Arc<SharedTorrent>, tiers: Tiers, port: u16, news: Sender<TrackerNews>) -> AnnouncedTorrent {
        let began_incomplete = !share.have.is_full();
        AnnouncedTorrent {
            number: 0,
            share,
            tiers,
            port,
            reach: Reach::Trackers.into(),
            news,
            began_incomplete,
            leaving: false,
        }
    }

    /// The same, with only those trackers asked that are within `reach`.
    pub fn within(self, reach: TrackerReach) -> AnnouncedTorrent {
        AnnouncedTorrent { reach, ..self }
    }

    /// Whether it has said goodbye, or need not.
    fn is_gone(&self) -> bool {
        self.leaving && self.tiers.is_unknown() && !self.tiers.is_under_way()
    }

    fn torrent(&self) -> AnnounceState {
        let is_complete = self.share.have.is_full();
        AnnounceState {
            began_incomplete: self.began_incomplete,
            is_complete,
            lacks_peers: !is_complete && self.share.lacks_peers.load(Ordering::Relaxed),
            is_private: self.share.metainfo.is_private(),
        }
    }

    fn announce(&self, peer_id: PeerId, event: AnnounceEvent) -> Announce {
        Announce {
            info_hash: self.share.metainfo.info_hash(),
            peer_id,
            port: self.port,
            uploaded: self.share.traffic.uploaded.load(Ordering::Relaxed),
            downloaded: self.share.traffic.downloaded.load(Ordering::Relaxed),
            left: self.share.left(),
            event,
            // A seeder wants peers as well: it dials those that cannot dial it.
            wanted: if event == AnnounceEvent::Stopped { 0 } else { DEFAULT_WANTED },
        }
    }
}
