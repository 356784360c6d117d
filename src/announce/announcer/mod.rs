//! Announcing: a few threads that tell trackers about every torrent of the process when it is due, and pass on what they
//! answer (BEP 3, "trackers"; BEP 12).
//!
//! The `schedule` is owned by one lock that is held to look and to note, never while a tracker is waited for. One announce
//! at a time is under way to each tracker host; with a tracker of our own process there is nothing to wait for. A tracker
//! that is silent holds up one thread until its timeout, and no other tracker.

mod schedule;

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;

use self::schedule::{AnnouncedTorrent, DueAnnounce, Next, Schedule, Trouble};
use crate::{
    announce::{
        LocalDiscovery,
        answer::Answer,
        client::{self, Client, TrackerReach},
        tiers::Tiers,
    },
    metainfo::{InfoHash, PeerId},
    net::{self, NamedBy},
    quota::{Allowances, Origin},
    session::SharedTorrent,
    text::excerpt,
    tracker::announce::Announce,
};

/// Threads that announce, at most. Each waits for one tracker; they are started when there is something to wait for. There are
/// more than [`MAX_DOUBTFUL`](crate::announce::hosts::MAX_DOUBTFUL), so that silent trackers never hold all of them.
const MAX_THREADS: usize = 16;

/// How much is shown of why a tracker has no answer, in bytes; its URL alone may be longer.
const MAX_TROUBLE: usize = 600;

/// How much is shown of a tracker's URL, in bytes.
const MAX_URL_SHOWN: usize = 200;

/// Peers of one address that our own tracker's news may name at once, and in a second from then on: a machine that makes up
/// peers keeps no coordinator busy. Who is passed over is named when we announce next.
const JOINED_AT_ONCE: f64 = 8.0;
const JOINED_A_SECOND: f64 = 1.0;

/// How often a wait for goodbyes looks whether it still waits for a tracker that is silent.
const END_CHECK: Duration = Duration::from_millis(100);

/// A thread's stack, in bytes; TLS needs the most of it.
const STACK: usize = 512 * 1024;

/// What is said about a torrent by others, for its coordinator.
#[derive(Debug)]
pub enum TrackerNews {
    /// Peers of its swarm, those that may be dialled, and how many seeders the tracker counts, where it says so.
    Peers(InfoHash, Vec<SocketAddr>, Option<u32>),
    /// No answer, and why, as a sentence.
    Trouble(InfoHash, String),
    /// Peers that local discovery has heard of, those that may be dialled.
    Named(InfoHash, Vec<SocketAddr>),
    /// Peers that the user has named, which are never forgotten.
    Given(InfoHash, Vec<SocketAddr>),
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
    /// Whom else to ask, without any tracker; gone once goodbye is said.
    local: Mutex<Option<LocalDiscovery>>,
    client: Client,
    peer_id: PeerId,
    own: Option<OwnTracker>,
    /// What times of the schedule are counted from.
    epoch: Instant,
    schedule: Mutex<Schedule>,
    changed: Condvar,
    /// How often peers of an address are named that join at our own tracker.
    joined: Mutex<Allowances>,
}

impl Announcer {
    /// Nothing to announce yet.
    pub fn new(client: Client, peer_id: PeerId, own: Option<OwnTracker>, local: Option<LocalDiscovery>) -> Announcer {
        let (schedule, changed) = (Mutex::default(), Condvar::new());
        let joined = Mutex::new(Allowances::new(JOINED_AT_ONCE, JOINED_A_SECOND));
        let (local, epoch) = (Mutex::new(local), Instant::now());
        let inner = Inner { local, client, peer_id, own, epoch, schedule, changed, joined };
        Announcer { inner: Arc::new(inner) }
    }

    /// Announces this torrent, as listening on `port`, from now on, on the local network too unless it is private, and tells
    /// `news` what comes of it. Only trackers within `reach` are asked. `chance` gives a random number below its argument.
    pub fn add(
        &self,
        share: Arc<SharedTorrent>,
        trackers: &[Vec<String>],
        port: u16,
        news: Sender<TrackerNews>,
        reach: impl Into<TrackerReach>,
        chance: impl FnMut(usize) -> usize,
    ) {
        if !share.metainfo.is_private()
            && let Some(local) = &*self.inner.local()
        {
            local.add(share.clone(), port, news.clone());
        }
        let entry = AnnouncedTorrent::new(share, Tiers::new(trackers, chance), port, news).within(reach.into());
        self.inner.lock().add(entry);
        self.wake();
    }

    /// Says goodbye for this torrent where its trackers know us, and forgets it.
    pub fn remove(&self, info_hash: InfoHash) {
        self.inner.local().iter().for_each(|local| local.remove(info_hash));
        if let Some(entry) = self.inner.lock().entries.get_mut(&info_hash) {
            entry.leaving = true;
        }
        self.wake();
    }

    /// A torrent is complete, which its trackers hear at once; without this call they would hear of it a second later.
    pub fn hurry(&self) {
        self.wake();
    }

    /// A peer has announced itself to the tracker of this process. Where that is a tracker of one of our torrents, its coordinator
    /// hears of the peer now, and not only with our next announce. Never waits.
    pub fn joined(&self, info_hash: InfoHash, peer: SocketAddr) {
        let (port, news, trackers) = {
            let schedule = self.inner.lock();
            let Some(entry) = schedule.entries.get(&info_hash).filter(|entry| !entry.leaving) else { return };
            (entry.port, entry.news.clone(), entry.tiers.urls())
        };
        let is_own = |url: &String| self.inner.own.as_ref().is_some_and(|own| (own.is_own)(url));
        let mut joined = self.inner.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let is_heard = joined.take(Origin::of(peer.ip()), Instant::now());
        drop(joined);
        let is_heard = is_heard && trackers.iter().any(is_own);
        if is_heard && net::may_dial(peer, NamedBy::LocalTracker, &net::listening_on(port)) {
            // A coordinator that has much to do hears of it with our next announce.
            let _ = news.try_send(TrackerNews::Peers(info_hash, vec![peer], None));
        }
    }

    /// Begins to say goodbye to every tracker that knows us; nothing else is announced from now on.
    pub fn say_goodbye(&self) {
        let local = self.inner.local().take();
        drop(local);
        self.inner.client.end();
        self.inner.lock().ending = true;
        self.wake();
    }

    /// Waits until every goodbye is said, or the deadline has passed.
    pub fn wait(&self, deadline: Instant) {
        let mut schedule = self.inner.lock();
        while !schedule.is_over(self.inner.epoch.elapsed()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            schedule = self
                .inner
                .changed
                .wait_timeout(schedule, left.min(END_CHECK))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
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
            match schedule.next(self.inner.peer_id, self.inner.epoch.elapsed()) {
                Next::Announce(due) => {
                    let more = schedule.idle == 0 && schedule.threads < MAX_THREADS;
                    drop(schedule);
                    if more {
                        self.wake();
                    }
                    self.inner.run(*due);
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

impl Inner {
    /// Announces, notes the answer, passes it on.
    fn run(&self, due: DueAnnounce) {
        let own = self.own.as_ref().filter(|own| (own.is_own)(&due.url));
        let answer = match own {
            Some(own) => Ok((own.announce)(&due.announce)),
            None => self.client.announce(&due.url, &due.announce, due.tracker_id.as_deref(), due.reach),
        };
        let now = self.epoch.elapsed();
        let trouble = self.lock().done(&due, answer.as_ref().map_err(client::AnnounceError::failure), now);
        self.changed.notify_all();
        let news = match answer {
            Ok(mut answer) => {
                let named_by = match own.is_some() || client::is_on_loopback(&due.url) {
                    true => NamedBy::LocalTracker,
                    false => NamedBy::Tracker,
                };
                let listening = net::listening_on(due.announce.port);
                answer.peers.retain(|peer| net::may_dial(*peer, named_by, &listening));
                log::debug!("{} names {} peers", due.url, answer.peers.len());
                answer.warning.into_iter().for_each(|warning| log::warn!("{} warns: {warning}", due.url));
                TrackerNews::Peers(due.info_hash, answer.peers, answer.complete)
            }
            Err(error) => {
                let sentence = format!("tracker {}: {error}", excerpt(&due.url, MAX_URL_SHOWN));
                let sentence = excerpt(&sentence, MAX_TROUBLE).into_owned();
                // A person at a fetch is shown it for as long as it lasts; the log of a seeder has it once.
                match due.announce.is_seeder() && trouble == Trouble::New {
                    true => log::error!("{sentence}; it is asked again until it answers"),
                    false => log::info!("{sentence}"),
                }
                if trouble == Trouble::Harmless {
                    return;
                }
                TrackerNews::Trouble(due.info_hash, sentence)
            }
        };
        // The coordinator may have ended meanwhile. While its queue is full this thread waits, and holds no lock.
        let _ = due.news.send(news);
    }

    fn local(&self) -> MutexGuard<'_, Option<LocalDiscovery>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
