//! A fetch with its real threads, sockets and files, and hardly any room in its queues.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use super::*;
use crate::{
    announce::{Announcer, client::Client},
    metainfo::PeerId,
    policy::{FetchSettings, SendOrder},
    session::{self, LocalPeer, PeerConnection, SessionEvent, tests::Torrent},
    status::report::Board,
    storage::{self, Journal},
};

/// How long a fetch of two megabytes may take; one whose threads wait for each other takes for ever.
const PATIENCE: Duration = Duration::from_secs(60);

const PIECES: usize = 60;

/// Peers that have everything, and addresses at which nobody is.
const SOURCES: u8 = 3;
const DEAD: u8 = 8;

/// A peer that has everything and uploads it to all that come. Its threads end with the tests.
fn source(number: u8) -> SocketAddr {
    let torrent = Torrent::all_of_long(1, PIECES);
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 7, number), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (share, host) = (torrent.share.clone(), Arc::new(LocalPeer::new(PeerId([100 + number; 20]), 0, 0)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (share, host) = (share.clone(), host.clone());
            thread::spawn(move || session::accept(&host, PeerConnection::new(stream), |_| Some(share.clone())));
        }
    });
    thread::spawn(move || {
        while let Ok(event) = torrent.events.recv() {
            if let SessionEvent::Opened(handle) = event {
                handle.order(SendOrder::Start(Some(torrent.share.have.snapshot())));
                handle.order(SendOrder::Unchoke);
            }
        }
    });
    address
}

fn fetches(sources: &[SocketAddr], room: QueueLimits) {
    let (dir, journal) = (tempfile::tempdir().unwrap(), Journal::start().unwrap());
    let torrent = Torrent::nothing_of_long(1, PIECES);
    let metainfo = torrent.share.metainfo.clone();
    let begun = storage::begin(&metainfo, dir.path(), storage::Writing::default(), 1, &|_, _| {}).unwrap();
    let (have, board) = (begun.have.clone(), Arc::<Board>::default());
    let plan = FetchPlan {
        host: Arc::new(LocalPeer::new(PeerId([1; 20]), 0, 0)),
        ledger: journal.attach(begun),
        have,
        announcer: Announcer::new(Client::new(1), PeerId([1; 20]), None, None),
        board,
        registry: Arc::default(),
        settings: FetchSettings { max_peers: 20, upload_slots: 4, memory: 1 << 20 },
        hash_workers: 2,
        seed: 1,
    };
    let fetch = Fetch::with_room(plan, room).unwrap();
    // Trackers say the same again and again, as they do.
    let dead = (0..DEAD).map(|number| SocketAddr::from(([127, 0, 8, number], 1)));
    let named: Vec<_> = dead.chain(sources.iter().copied()).collect();
    for _ in 0..20 {
        fetch
            .news()
            .send_timeout(TrackerNews::Peers(torrent.share.metainfo.info_hash(), named.clone(), None), PATIENCE)
            .expect("it takes what trackers say");
    }
    let outcome = fetch.view().outcome().recv_timeout(PATIENCE);
    assert!(matches!(outcome, Ok(FetchOutcome::Complete)), "{room:?}: {outcome:?}, {:?}", fetch.view().report());
    drop(fetch);
    assert!(fs::read(dir.path().join("t")).unwrap() == torrent.content, "{room:?}");
}

#[test]
fn with_any_queue_as_short_as_one_a_fetch_comes_to_its_end() {
    let sources: Vec<_> = (1..=SOURCES).map(source).collect();
    for each in [2, 3] {
        fetches(&sources, QueueLimits { events: each, unhashed: each, hashed: each, failures: each, news: each });
    }
    for which in 0..1 << 5 {
        let (usual, is_short) = (QueueLimits::default(), |queue: u32| which >> queue & 1 == 1);
        let length = |queue, usual| if is_short(queue) { 1 } else { usual };
        let room = QueueLimits {
            events: length(0, usual.events),
            unhashed: length(1, usual.unhashed),
            hashed: length(2, usual.hashed),
            failures: length(3, usual.failures),
            news: length(4, usual.news),
        };
        fetches(&sources, room);
    }
}
