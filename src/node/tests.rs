//! Two nodes in one process: what one gives the other takes, however often somebody interferes.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    announce::answer::Answer,
    metainfo::{create, path::RECORDS},
    status::report::{TorrentReport, TransferKind},
    storage::Records,
    tracker::announce::Announce,
};

/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

const LENGTH: usize = 3_000_001;

/// A file, its metainfo, and a node that gives it.
struct Source {
    node: Arc<Node>,
    metainfo: Arc<Metainfo>,
    content: Vec<u8>,
    dir: TempDir,
}

impl Source {
    fn new() -> Source {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..LENGTH).map(|at| (at / 3) as u8 ^ (at >> 11) as u8).collect();
        fs::write(dir.path().join("it.bin"), &content).unwrap();
        let options = create::CreateOptions { piece_length: 64 << 10, ..create::CreateOptions::default() };
        let metainfo = Arc::new(create::create(&dir.path().join("it.bin"), &options, &|_| {}).unwrap().metainfo);
        let node = Node::open(options_in(dir.path(), None)).unwrap();
        let stamps = Stamps::of(&Store::open(metainfo.clone(), dir.path(), StoreAccess::Read).unwrap()).unwrap();
        node.seed(metainfo.clone(), dir.path(), stamps, Sources::of_trackers(vec![], Reach::Trackers), None).unwrap();
        Source { node, metainfo, content, dir }
    }

    fn hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    /// A node that fetches into a folder, and hears of this source from its tracker.
    fn taker(&self, folder: &Path) -> Arc<Node> {
        Node::open(options_in(folder, Some(self.node.port()))).unwrap()
    }
}

/// `source` is the port of the only peer that the node's own tracker knows.
fn options_in(folder: &Path, source: Option<u16>) -> NodeOptions {
    let announce = move |_: &Announce| Answer {
        peers: source.map(|port| ([127, 0, 0, 1], port).into()).into_iter().collect(),
        interval: Duration::from_secs(1),
        ..Answer::parse(b"d5:peers0:e").unwrap()
    };
    let own = OwnTracker { is_own: Arc::new(|_| true), announce: Arc::new(announce) };
    NodeOptions {
        upload_limit: 0,
        download_limit: 0,
        max_peers: 20,
        fetching: FetchSettings { max_peers: FETCH_PEERS, upload_slots: DEFAULT_UPLOAD_SLOTS, memory: FETCH_MEMORY },
        port: PortChoice::Asked(0),
        local_discovery: false,
        own_tracker: source.map(|_| ("http://own/announce".to_owned(), own)),
        folder: folder.to_owned(),
        memory: Some(folder.join(".settings.json")),
    }
}

fn report(node: &Node, hash: InfoHash) -> Arc<TorrentReport> {
    node.board().torrent(&hash).expect("it is on the board")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came about");
        std::thread::sleep(POLL);
    }
}

#[test]
fn what_is_ordered_is_fetched_shown_and_given_on() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let (hash, taker) = (source.hash(), source.taker(folder.path()));
    let _watching = (source.node.board().watch(), taker.board().watch());
    taker.fetch(source.metainfo.clone()).unwrap();
    assert!(taker.fetch(source.metainfo.clone()).unwrap_err().to_string().contains("here already"));
    wait_until("a whole file", || report(&taker, hash).activity == Activity::Seeding);
    assert!(fs::read(folder.path().join("it.bin")).unwrap() == source.content);
    let got = report(&taker, hash);
    assert_eq!((got.verified, got.have.is_full(), got.finished.is_some()), (LENGTH as u64, true, true));

    let count = source.metainfo.geometry().piece_count() as usize;
    let ways = |node: &Node| node.board().transfers_since(0).0.into_iter().map(|it| it.way).collect::<Vec<_>>();
    wait_until("each piece given", || ways(&source.node) == vec![TransferKind::Uploaded; count]);
    wait_until("each piece taken", || ways(&taker) == vec![TransferKind::Downloaded; count]);
    wait_until("what was given", || report(&source.node, hash).uploaded >= LENGTH as u64);

    // A third hears of the second alone.
    let third = tempfile::tempdir().unwrap();
    let last = Node::open(options_in(third.path(), Some(taker.port()))).unwrap();
    source.node.pause(hash).unwrap();
    last.fetch(source.metainfo.clone()).unwrap();
    wait_until("a file from the second", || report(&last, hash).activity == Activity::Seeding);
    assert!(fs::read(third.path().join("it.bin")).unwrap() == source.content);
}

#[test]
fn a_pause_at_either_end_stops_the_bytes_and_keeps_what_is_verified() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let (hash, taker) = (source.hash(), source.taker(folder.path()));
    // So slow that the file is not whole before the source has been paused, however busy this machine is.
    source.node.limit(Some(hash), Some(100_000), None).unwrap();
    taker.fetch(source.metainfo.clone()).unwrap();
    wait_until("the first pieces", || report(&taker, hash).verified > 0);
    // The source looks once a second at who is there, the first time before anybody has come.
    wait_until("a peer that is shown by its client's name", || {
        let peers = &report(&source.node, hash).peers;
        peers.first().is_some_and(|peer| peer.client.as_ref().is_some_and(|name| name.starts_with("minitorrent")))
    });

    for node in [&taker, &source.node] {
        node.pause(hash).unwrap();
        assert_eq!(report(node, hash).activity, Activity::Paused);
        wait_until("the end of sessions", || {
            report(&taker, hash).peers.is_empty() && report(&source.node, hash).peers.is_empty()
        });
        let before = report(&source.node, hash).uploaded;
        wait_until("a look at a quiet source", || report(&source.node, hash).up_rate == 0.0);
        assert_eq!(report(&source.node, hash).uploaded, before);
        assert!(report(&taker, hash).verified < LENGTH as u64);
        let verified = report(&taker, hash).verified;
        node.resume(hash).unwrap();
        wait_until("more pieces", || report(&taker, hash).verified > verified);
    }
    source.node.limit(Some(hash), Some(0), None).unwrap();
    wait_until("a whole file", || report(&taker, hash).activity == Activity::Seeding);
    assert!(fs::read(folder.path().join("it.bin")).unwrap() == source.content);
    let downloaded = report(&taker, hash).downloaded;
    assert!(downloaded < LENGTH as u64 * 5 / 4, "{downloaded} bytes came for {LENGTH}");
}

#[test]
fn what_was_ordered_and_set_outlasts_a_restart_until_it_is_removed() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let hash = source.hash();
    source.node.limit(Some(hash), Some(500_000), None).unwrap();
    let before = source.taker(folder.path());
    before.fetch(source.metainfo.clone()).unwrap();
    wait_until("the first pieces", || report(&before, hash).verified > 0);
    before.pause(hash).unwrap();
    before.end(PATIENCE);

    let after = source.taker(folder.path());
    after.fetch_again();
    wait_until("a look at the disk", || report(&after, hash).activity == Activity::Paused);
    let kept = report(&after, hash).verified;
    assert!(kept > 0 && kept < LENGTH as u64, "{kept} bytes were kept");
    source.node.limit(Some(hash), Some(0), None).unwrap();
    after.resume(hash).unwrap();
    wait_until("a whole file", || report(&after, hash).activity == Activity::Seeding);
    assert!(report(&after, hash).downloaded < LENGTH as u64);
    after.end(PATIENCE);

    let last = source.taker(folder.path());
    last.fetch_again();
    wait_until("a look at the disk", || report(&last, hash).activity == Activity::Seeding);
    assert!(matches!(last.torrents()[&hash].work, Work::Seeding(_)), "what is whole takes no threads");
    last.remove(hash).unwrap();
    assert!(last.board().torrent(&hash).is_none() && last.pause(hash).is_err());
    assert!(fs::read(folder.path().join("it.bin")).unwrap() == source.content, "the file stays");
    last.end(PATIENCE);
    let forgetful = source.taker(folder.path());
    forgetful.fetch_again();
    assert!(forgetful.board().torrents().is_empty());
}

#[test]
fn limits_of_a_torrent_and_of_all_hold_from_one_moment_to_the_next() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let (hash, taker) = (source.hash(), source.taker(folder.path()));
    taker.limit(None, None, Some(1)).unwrap();
    taker.fetch(source.metainfo.clone()).unwrap();
    wait_until("a first block", || report(&taker, hash).downloaded > 0);
    let stuck = report(&taker, hash).downloaded;
    assert!(stuck < LENGTH as u64 / 2, "{stuck} bytes came at a byte a second");
    taker.limit(Some(hash), Some(9), Some(100_000_000)).unwrap();
    let limits = report(&taker, hash);
    assert_eq!((limits.upload_limit, limits.download_limit), (9, 100_000_000));
    taker.limit(None, None, Some(0)).unwrap();
    wait_until("a whole file", || report(&taker, hash).activity == Activity::Seeding);
}

#[test]
fn a_file_that_is_changed_under_a_seeder_is_withdrawn_and_good_again_once_it_is_mended() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let (hash, taker) = (source.hash(), source.taker(folder.path()));
    let path = source.dir.path().join("it.bin");
    let mut changed = source.content.clone();
    changed[LENGTH - 1] ^= 1;
    fs::write(&path, &changed).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    taker.fetch(source.metainfo.clone()).unwrap();
    let failed = |node: &Node| match &report(node, hash).activity {
        Activity::Failed(why) => Some(why.clone()),
        _ => None,
    };
    wait_until("a withdrawal", || failed(&source.node).is_some());
    assert!(failed(&source.node).unwrap().contains("was changed by another program"));
    assert!(source.node.registry.find(hash).is_none());

    source.node.resume(hash).unwrap();
    wait_until("a second look", || failed(&source.node).is_some_and(|why| why.contains("45 of 46 pieces are right")));
    fs::write(&path, &source.content).unwrap();
    source.node.resume(hash).unwrap();
    wait_until("a mended file", || report(&source.node, hash).activity == Activity::Seeding);
    // It has tried for as long as this took, ever more seldom; now it tries at once.
    taker.pause(hash).unwrap();
    taker.resume(hash).unwrap();
    wait_until("a whole file", || report(&taker, hash).activity == Activity::Seeding);
}

fn failure(node: &Node, hash: InfoHash) -> Option<String> {
    match &report(node, hash).activity {
        Activity::Failed(why) => Some(why.clone()),
        _ => None,
    }
}

#[test]
fn somebody_elses_file_stays_as_it_is_after_a_restart_too_until_it_is_moved_away() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let hash = source.hash();
    let path = folder.path().join("it.bin");
    fs::write(&path, "a diary").unwrap();
    let taker = source.taker(folder.path());
    taker.fetch(source.metainfo.clone()).unwrap();
    wait_until("a refusal", || failure(&taker, hash).is_some_and(|why| why.contains("is there already")));
    taker.end(PATIENCE);

    let again = source.taker(folder.path());
    again.fetch_again();
    wait_until("a refusal after a restart", || {
        failure(&again, hash).is_some_and(|why| why.contains("is there already"))
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "a diary");
    fs::rename(&path, folder.path().join("diary")).unwrap();
    again.resume(hash).unwrap();
    wait_until("a whole file", || report(&again, hash).activity == Activity::Seeding);
    assert!(fs::read(&path).unwrap() == source.content);
}

#[test]
fn a_folder_of_somebody_else_is_not_added_to_by_the_page_nor_after_a_restart_nor_by_another_try() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    fs::create_dir(source.dir.path().join("docs")).unwrap();
    fs::write(source.dir.path().join("docs/a"), "of the torrent").unwrap();
    let options = create::CreateOptions::default();
    let docs = Arc::new(create::create(&source.dir.path().join("docs"), &options, &|_| {}).unwrap().metainfo);
    fs::create_dir(folder.path().join("docs")).unwrap();
    fs::write(folder.path().join("docs/diary"), "mine").unwrap();
    let refused = |node: &Node, when: &str| {
        wait_until(when, || failure(node, docs.info_hash()).is_some_and(|why| why.contains("docs/diary in it")));
        assert!(!folder.path().join("docs/a").exists(), "{when}");
    };
    let taker = source.taker(folder.path());
    taker.fetch(docs.clone()).unwrap();
    refused(&taker, "a refusal");
    taker.end(PATIENCE);
    let again = source.taker(folder.path());
    again.fetch_again();
    refused(&again, "a refusal after a restart");
    again.resume(docs.info_hash()).unwrap();
    refused(&again, "a refusal of another try");
    fs::rename(folder.path().join("docs/diary"), folder.path().join("diary")).unwrap();
    again.resume(docs.info_hash()).unwrap();
    wait_until("a fetch", || report(&again, docs.info_hash()).activity == Activity::Fetching);
}

#[test]
fn an_order_that_lies_where_a_torrent_can_put_one_is_not_obeyed() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let name = format!("{}.torrent", source.hash());
    fs::write(folder.path().join(format!(".{name}")), source.metainfo.to_torrent()).unwrap();
    let taker = source.taker(folder.path());
    taker.fetch_again();
    assert!(taker.board().torrents().is_empty());
    // Nor one that somebody else could have written.
    Records::make(folder.path()).unwrap().unwrap().replace(&name, &source.metainfo.to_torrent()).unwrap();
    let records = folder.path().join(RECORDS);
    fs::set_permissions(&records, fs::Permissions::from_mode(0o777)).unwrap();
    taker.fetch_again();
    assert!(taker.board().torrents().is_empty());
    fs::set_permissions(&records, fs::Permissions::from_mode(0o700)).unwrap();
    taker.fetch_again();
    wait_until("a whole file", || report(&taker, source.hash()).activity == Activity::Seeding);
}

#[test]
fn two_orders_of_one_name_do_not_write_to_one_file() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let other = source.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("it.bin"), vec![9; LENGTH]).unwrap();
    let options = create::CreateOptions { piece_length: 64 << 10, ..create::CreateOptions::default() };
    let other = Arc::new(create::create(&other.join("it.bin"), &options, &|_| {}).unwrap().metainfo);
    let taker = source.taker(folder.path());
    taker.fetch(source.metainfo.clone()).unwrap();
    wait_until("the first pieces", || report(&taker, source.hash()).verified > 0);
    taker.fetch(other.clone()).unwrap();
    wait_until("a refusal", || failure(&taker, other.info_hash()).is_some_and(|why| why.contains("is in use")));
    wait_until("a whole file", || report(&taker, source.hash()).activity == Activity::Seeding);
    assert!(fs::read(folder.path().join("it.bin")).unwrap() == source.content);
}

#[test]
fn what_was_fetched_and_is_changed_then_is_withdrawn_and_not_given_on() {
    let (source, folder) = (Source::new(), tempfile::tempdir().unwrap());
    let (hash, taker) = (source.hash(), source.taker(folder.path()));
    taker.fetch(source.metainfo.clone()).unwrap();
    wait_until("a whole file", || report(&taker, hash).activity == Activity::Seeding);
    wait_until("all of it on the disk", || taker.torrents()[&hash].work.share().unwrap().stamps.get().is_some());
    source.node.pause(hash).unwrap();
    let path = folder.path().join("it.bin");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut changed = source.content.clone();
    changed[LENGTH / 2] ^= 1;
    fs::write(&path, &changed).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    // Whoever comes before that has been noticed gets no byte of it either.
    let share = taker.torrents()[&hash].work.share().unwrap().clone();
    assert!(share.read(0, &mut [0; 100]).is_err());
    drop(share);

    wait_until("a withdrawal", || failure(&taker, hash).is_some_and(|why| why.contains("was changed")));
    assert!(taker.registry.find(hash).is_none());
    taker.end(PATIENCE);
    let again = source.taker(folder.path());
    again.fetch_again();
    wait_until("a look that finds the change", || report(&again, hash).activity == Activity::Fetching);
    assert!(report(&again, hash).verified < LENGTH as u64);
}
