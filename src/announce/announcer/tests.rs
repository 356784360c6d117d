//! The announcer with its clock in our hands, and once as it runs.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::announce::reach::Reach;
use crate::{announce::hosts::MAX_RETRY, session::tests::Torrent, tracker::announce::AnnounceEvent};

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
    (OwnTracker { is_own: Arc::new(|url| url.contains("://own")), announce: Arc::new(announce) }, hears)
}

/// An announcer whose threads are played by the test, and whose clock it moves.
struct Stage {
    inner: Inner,
    hears: Receiver<Announce>,
    /// Whether the tracker of this process is away, so that its URL leads nowhere.
    is_away: Arc<AtomicBool>,
}

impl Stage {
    fn new() -> Stage {
        let (own, hears) = own_tracker();
        let is_away = Arc::new(AtomicBool::new(false));
        let (away, is_own) = (is_away.clone(), own.is_own);
        let own = OwnTracker { is_own: Arc::new(move |url| is_own(url) && !away.load(Ordering::Relaxed)), ..own };
        let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
        Stage { inner: Arc::into_inner(announcer.inner).unwrap(), hears, is_away }
    }

    fn add(&self, torrent: &Torrent, trackers: &[&str]) -> InfoHash {
        let tiers: Vec<_> = trackers.iter().map(|url| vec![url.to_string()]).collect();
        let entry = AnnouncedTorrent::new(torrent.share.clone(), Tiers::new(&tiers, |_| 0), 6881, unbounded().0);
        let hash = entry.share.metainfo.info_hash();
        self.inner.lock().add(entry);
        hash
    }

    fn next(&self) -> Option<Box<DueAnnounce>> {
        match self.inner.lock().next(self.inner.peer_id, self.inner.epoch.elapsed()) {
            Next::Announce(due) => Some(due),
            Next::Wait(_) | Next::Leave => None,
        }
    }

    /// Carries out what is due, and says what the own tracker heard.
    fn run(&self) -> Vec<AnnounceEvent> {
        while let Some(due) = self.next() {
            self.inner.run(*due);
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
    let due: Vec<_> = std::iter::from_fn(|| stage.next()).collect();
    assert!(due.len() == 2 && due[0].host != due[1].host);
    let (first, other): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.host == "http://own:1");
    other.into_iter().for_each(|due| stage.inner.run(*due));
    assert!(stage.next().is_none(), "the one is still under way");
    let before = first[0].info_hash;
    first.into_iter().for_each(|due| stage.inner.run(*due));
    assert!(stage.next().is_some_and(|next| next.host == "http://own:1" && next.info_hash != before));
}

#[test]
fn a_tracker_hears_started_completed_and_stopped_in_order_and_once() {
    let (mut stage, torrent) = (Stage::new(), Torrent::nothing_of(1));
    stage.add(&torrent, &["http://own"]);
    assert_eq!(stage.run(), [AnnounceEvent::Started]);
    assert_eq!(stage.run(), [], "it is not due");
    stage.pass(INTERVAL);
    assert_eq!(stage.run(), [AnnounceEvent::Regular]);
    torrent.share.geometry().pieces().for_each(|piece| torrent.share.have.insert(piece));
    assert_eq!(stage.run(), [AnnounceEvent::Completed]);
    stage.pass(INTERVAL);
    assert_eq!(stage.run(), [AnnounceEvent::Regular]);
    stage.inner.lock().ending = true;
    assert_eq!(stage.run(), [AnnounceEvent::Stopped]);
    assert_eq!(stage.run(), []);
}

#[test]
fn who_had_everything_from_the_start_never_completes() {
    let (mut stage, torrent) = (Stage::new(), Torrent::all_of(1));
    stage.add(&torrent, &["http://own"]);
    assert_eq!(stage.run(), [AnnounceEvent::Started]);
    stage.pass(INTERVAL);
    assert_eq!(stage.run(), [AnnounceEvent::Regular]);
}

#[test]
fn where_one_tracker_fails_the_next_has_its_turn_and_hears_started() {
    let (stage, torrent) = (Stage::new(), Torrent::nothing_of(1));
    let hash = stage.add(&torrent, &["gopher://nobody", "http://own"]);
    assert_eq!(stage.run(), [AnnounceEvent::Started]);
    let schedule = stage.inner.lock();
    assert!(!schedule.entries[&hash].tiers.is_under_way());
}

#[test]
fn a_tracker_that_is_away_for_an_hour_is_asked_once_a_minute_and_found_again_within_one() {
    // A scheme that nobody is asked over, so that every try while it is away comes to nothing at once.
    let (mut stage, torrent) = (Stage::new(), Torrent::nothing_of(1));
    let hash = stage.add(&torrent, &["gone://own"]);
    assert_eq!(stage.run(), [AnnounceEvent::Started]);
    stage.is_away.store(true, Ordering::Relaxed);
    let mut tries = 0;
    for _ in 0..3600 {
        stage.pass(Duration::from_secs(1));
        while let Some(due) = stage.next() {
            tries += 1;
            stage.inner.run(*due);
        }
    }
    let once_a_minute = 3600 / MAX_RETRY.as_secs() as usize;
    assert!((once_a_minute..once_a_minute + 10).contains(&tries), "it was asked {tries} times");
    assert!(stage.hears.is_empty());
    // It forgot us meanwhile; what it is told, whatever it is called, lists us again.
    stage.is_away.store(false, Ordering::Relaxed);
    let mut seconds = 0;
    let heard = loop {
        let heard = stage.run();
        if !heard.is_empty() {
            break heard;
        }
        seconds += 1;
        assert!(Duration::from_secs(seconds) <= MAX_RETRY, "not asked again");
        stage.pass(Duration::from_secs(1));
    };
    assert_eq!(heard, [AnnounceEvent::Regular]);
    stage.pass(INTERVAL);
    assert_eq!(stage.run(), [AnnounceEvent::Regular], "its interval counts again, not the wait of one that failed");
    assert!(!stage.inner.lock().entries[&hash].tiers.is_under_way());
}

#[test]
fn goodbye_is_said_only_where_we_are_known() {
    let (stage, known, unknown) = (Stage::new(), Torrent::all_of(1), Torrent::all_of(2));
    stage.add(&known, &["http://own"]);
    assert_eq!(stage.run(), [AnnounceEvent::Started]);
    stage.add(&unknown, &["gopher://nobody"]);
    assert_eq!(stage.run(), []);
    stage.inner.lock().ending = true;
    let goodbye = stage.next().unwrap();
    assert_eq!(goodbye.info_hash, known.share.metainfo.info_hash());
    assert_eq!((goodbye.announce.event, goodbye.announce.wanted), (AnnounceEvent::Stopped, 0));
    assert!(stage.next().is_none());
}

#[test]
fn ending_waits_until_goodbye_is_said() {
    let (own, hears) = own_tracker();
    let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
    let torrents = [1, 2, 3].map(Torrent::all_of);
    for torrent in &torrents {
        announcer.add(
            torrent.share.clone(),
            &[vec!["http://own".to_owned()]],
            6881,
            unbounded().0,
            Reach::Anywhere,
            |_| 0,
        );
    }
    let started = torrents.each_ref().map(|_| hears.recv_timeout(PATIENCE).unwrap().event);
    assert_eq!(started, [AnnounceEvent::Started; 3]);
    announcer.say_goodbye();
    announcer.wait(Instant::now() + PATIENCE);
    let stopped: Vec<_> = hears.try_iter().map(|announce| announce.event).collect();
    assert_eq!(stopped, [AnnounceEvent::Stopped; 3]);
}

#[test]
fn a_seeder_asks_for_peers_and_its_coordinator_gets_them() {
    let peers = vec![SocketAddr::from(([10, 0, 0, 1], 6881))];
    let named = peers.clone();
    let announce = move |announce: &Announce| {
        assert!(announce.is_seeder() && announce.wanted > 0);
        Answer { peers: named.clone(), ..Answer::parse(b"d5:peers0:e").unwrap() }
    };
    let own = OwnTracker { is_own: Arc::new(|_| true), announce: Arc::new(announce) };
    let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
    let (torrent, (news, hears)) = (Torrent::all_of(1), unbounded());
    announcer.add(torrent.share.clone(), &[vec!["http://own".to_owned()]], 6881, news, Reach::Anywhere, |_| 0);
    match hears.recv_timeout(PATIENCE).unwrap() {
        TrackerNews::Peers(hash, found, _) => assert_eq!((hash, found), (torrent.share.metainfo.info_hash(), peers)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_the_peers_that_a_tracker_names_only_those_that_may_be_dialled_are_passed_on() {
    let stage = Stage::new();
    let torrent = Torrent::nothing_of(1);
    let (news, told) = unbounded();
    // One of this machine, a service of it, ourselves, and one that is nowhere.
    let peers = b"\x7f\0\0\x01\x1a\xe2\x7f\0\0\x01\0\x16\x7f\0\0\x01\x1a\xe1\0\0\0\0\x1a\xe1";
    let body = [b"d5:peers24:".as_slice(), peers, b"e"].concat();
    let own = OwnTracker { is_own: Arc::new(|_| true), announce: Arc::new(move |_| Answer::parse(&body).unwrap()) };
    let inner = Inner { own: Some(own), ..stage.inner };
    let trackers = [vec!["http://own:1/announce".to_owned()]];
    let entry = AnnouncedTorrent::new(torrent.share.clone(), Tiers::new(&trackers, |_| 0), 6881, news);
    inner.lock().add(entry);
    let Next::Announce(due) = inner.lock().next(inner.peer_id, inner.epoch.elapsed()) else { panic!("nothing due") };
    inner.run(*due);
    let Ok(TrackerNews::Peers(_, named, _)) = told.try_recv() else { panic!("no peers") };
    assert_eq!(named, ["127.0.0.1:6882".parse().unwrap()]);
}

#[test]
fn a_torrent_that_ends_as_soon_as_it_is_complete_says_so_first() {
    let (own, hears) = own_tracker();
    let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
    let torrent = Torrent::nothing_of(1);
    announcer.add(torrent.share.clone(), &[vec!["http://own".to_owned()]], 6881, unbounded().0, Reach::Anywhere, |_| 0);
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap().event, AnnounceEvent::Started);
    torrent.share.geometry().pieces().for_each(|piece| torrent.share.have.insert(piece));
    announcer.say_goodbye();
    announcer.wait(Instant::now() + PATIENCE);
    let said: Vec<_> = hears.try_iter().map(|announce| (announce.event, announce.left)).collect();
    assert_eq!(said, [(AnnounceEvent::Completed, 0), (AnnounceEvent::Stopped, 0)]);
}

#[test]
fn trackers_that_take_a_connection_and_say_nothing_hold_up_neither_the_others_nor_the_end() {
    let silent = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let (own, hears) = own_tracker();
    let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
    let silent = silent.each_ref().map(|listener| format!("http://{}/announce", listener.local_addr().unwrap()));
    let trackers: Vec<_> =
        silent.iter().map(String::as_str).chain(["http://own"]).map(|url| vec![url.to_owned()]).collect();
    let (torrent, start) = (Torrent::nothing_of(1), Instant::now());
    announcer.add(torrent.share.clone(), &trackers, 6881, unbounded().0, Reach::Anywhere, |_| 0);
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap().event, AnnounceEvent::Started);
    // One timeout of a single silent tracker is 10 s.
    assert!(start.elapsed() < Duration::from_secs(9), "it was asked after {:?}", start.elapsed());
    let end = Instant::now();
    announcer.say_goodbye();
    announcer.wait(end + PATIENCE);
    assert!(end.elapsed() < Duration::from_secs(5), "it ended after {:?}", end.elapsed());
    assert_eq!(hears.try_iter().map(|announce| announce.event).collect::<Vec<_>>(), [AnnounceEvent::Stopped]);
}

#[test]
fn a_peer_that_joins_at_our_own_tracker_is_named_at_once_and_one_address_names_few() {
    let (own, _hears) = own_tracker();
    let announcer = Announcer::new(Client::new(1), PeerId([1; 20]), Some(own), None);
    let (torrent, elsewhere) = (Torrent::all_of(1), Torrent::all_of(2));
    let (news, heard) = unbounded();
    for (torrent, url) in [(&torrent, "http://own/announce"), (&elsewhere, "http://127.0.0.1:1/announce")] {
        let entry = AnnouncedTorrent::new(
            torrent.share.clone(),
            Tiers::new(&[vec![url.to_owned()]], |_| 0),
            6881,
            news.clone(),
        );
        announcer.inner.lock().add(entry);
    }
    let (hash, other) = (torrent.share.metainfo.info_hash(), elsewhere.share.metainfo.info_hash());
    let peer = |number, port| SocketAddr::from(([10, 0, 0, number], port));
    announcer.joined(hash, peer(1, 6881));
    assert!(
        heard.try_recv().is_ok_and(
            |news| matches!(news, TrackerNews::Peers(of, peers, _) if of == hash && peers == [peer(1, 6881)])
        )
    );
    announcer.joined(other, peer(2, 6881));
    announcer.joined(InfoHash([9; 20]), peer(2, 6881));
    announcer.joined(hash, peer(2, 80));
    announcer.joined(hash, SocketAddr::from(([127, 0, 0, 1], 6881)));
    assert!(heard.is_empty(), "another tracker's, nobody's, nobody's port, and ourselves");
    (2000..4000).for_each(|port| announcer.joined(hash, peer(3, port)));
    assert!((1..20).contains(&heard.len()), "{} of one address", heard.len());
    announcer.joined(hash, peer(4, 6881));
    assert!(heard.try_iter().any(|news| matches!(news, TrackerNews::Peers(_, peers, _) if peers == [peer(4, 6881)])));
}
