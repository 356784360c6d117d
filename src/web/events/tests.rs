//! Open pages against a whole door on a real port.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Instant,
};

use super::*;
use crate::{
    metainfo::PeerId,
    status::report::{Activity, Transfer, TransferKind},
    web::tests::{Room, metainfo},
};

/// An open page.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn open(room: &Room, path: &str) -> Listener {
        Listener::open_as(room, "localhost", path)
    }

    fn open_as(room: &Room, host: &str, path: &str) -> Listener {
        let mut stream = room.connect();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        Listener(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn head(&mut self) -> Vec<String> {
        std::iter::repeat_with(|| self.line()).take_while(|line| !line.is_empty()).collect()
    }

    /// The value of the next event of that name.
    fn event(&mut self, name: &str) -> serde_json::Value {
        let wanted = format!("event: {name}");
        while self.line() != wanted {}
        serde_json::from_str(self.line().strip_prefix("data: ").unwrap()).unwrap()
    }
}

fn announce(room: &Room, hash: &str, number: u16, left: u64) -> u16 {
    let query =
        format!("info_hash={hash}&peer_id=-qB4650-{number:012}&port={number}&uploaded=0&downloaded=0&left={left}");
    room.get(&format!("/announce?{query}")).status
}

#[test]
fn an_open_page_hears_of_the_swarm_of_a_file_and_of_its_pieces() {
    let room = Room::new();
    let hash = room.put("a.iso", &[7; 1000]).json()["info_hash"].as_str().unwrap().to_owned();
    let mut all = Listener::open(&room, "/api/events");
    let head = all.head();
    assert!(head[0].ends_with(" 200 OK") && head.contains(&"Content-Type: text/event-stream".to_owned()), "{head:?}");
    assert!(!head.iter().any(|line| line.starts_with("Content-Length")) && head.contains(&"Connection: close".into()));
    assert_eq!(all.line(), "retry: 2000");
    assert_eq!(all.event("state")["files"][0]["leechers"], 0);
    let mut one = Listener::open(&room, &format!("/api/events?file={hash}"));
    assert!(one.event("file")["rows"].as_array().unwrap().is_empty());

    announce(&room, &hash, 6881, 250);
    assert_eq!(all.event("file")["leechers"], 1, "only what has changed is told");
    let row = &one.event("file")["rows"][0];
    assert_eq!((&row["client"], &row["percent"]), (&"qBittorrent 4.6.5".into(), &75.0.into()));

    let way = TransferKind::Elsewhere;
    let (peer, address) = (PeerId(*b"-qB4650-000000006881"), ([10, 0, 0, 1], 6881).into());
    let passed = |hash: &str| Transfer { info_hash: hash.parse().unwrap(), piece: 3, peer, address, way };
    room.board.record([passed(&"1".repeat(40)), passed(&hash)]);
    let told = one.event("transfers");
    let want = serde_json::json!([{ "file": hash, "piece": 3, "peer": row["id"], "way": "elsewhere" }]);
    assert_eq!(told, want);
    assert_eq!(all.event("transfers").as_array().unwrap().len(), 2);
    for (path, status) in [("/api/events?file=x", 404), ("/api/transfers?since=x", 400)] {
        assert_eq!(room.get(path).status, status);
    }
}

#[test]
fn who_asks_now_and_then_misses_no_transfer() {
    let room = Room::new();
    let first = room.get("/api/transfers").json();
    assert_eq!(first, serde_json::json!({ "seq": 0, "transfers": [] }));
    let (peer, address) = (PeerId(*b"-qB4650-000000006881"), ([10, 0, 0, 1], 6881).into());
    let passed = |piece| Transfer { info_hash: InfoHash([1; 20]), piece, peer, address, way: TransferKind::Uploaded };
    room.board.record((0..100).map(passed));
    let next = room.get("/api/transfers?since=0").json();
    let pieces: Vec<_> = next["transfers"].as_array().unwrap().iter().map(|it| it["piece"].as_u64().unwrap()).collect();
    assert_eq!((next["seq"].as_u64(), pieces), (Some(100), (36..100).collect()), "the newest of them");
    assert!(room.board.is_watched());
}

#[test]
fn all_who_may_do_the_same_are_told_the_same_however_they_spell_this_machine() {
    let room = Room::new();
    room.put("a.iso", &[7; 1000]);
    let port = room.connect().peer_addr().unwrap().port();
    let name = crate::web::address::machine_name();
    let hosts = [
        format!("{name}:{port}"),
        format!("{name}..:{port}"),
        format!("{name}:000{port}"),
        format!("{}:{port}", name.to_uppercase()),
        format!("127.0.0.1:{port}"),
    ];
    let mut pages: Vec<_> = hosts.iter().map(|host| Listener::open_as(&room, host, "/api/events")).collect();
    let told: Vec<_> = pages.iter_mut().map(|page| page.event("state")).collect();
    assert!(told.iter().all(|state| *state == told[0]), "{told:?}");
    assert_eq!(room.web.site.as_ref().unwrap().newsroom.made().len(), 1, "each spelling has an event of its own");
}

#[test]
fn what_does_not_change_is_made_once_and_told_once() {
    let room = Room::new();
    let site = room.web.site.as_ref().unwrap();
    let may = crate::web::access::May { upload: true, control: false, login: false };
    let viewer = Viewer { may, base: "http://a".into() };
    let now = Instant::now();
    let page = |after: Duration| match site.newsroom.page(site, &viewer, None, now + after) {
        PageNews::All(all) => all,
        PageNews::One(_) => panic!("that is another page"),
    };
    let first = page(Duration::ZERO);
    assert!(Arc::ptr_eq(&first, &page(TICK * 4)), "nothing has changed");
    room.board.add(metainfo("new", b"content").into(), room.folder.path(), Activity::Seeding);
    let second = page(TICK * 8);
    assert!(second.last > first.last);
    assert!(Arc::ptr_eq(&second.since(Some(first.last)).unwrap(), &second.newest.1), "it is made once for all");
    let other = Viewer { base: "http://b".into(), ..viewer.clone() };
    site.newsroom.page(site, &other, None, now + TICK * 8 + KEPT_TIME);
    assert_eq!(site.newsroom.made().len(), 1, "what nobody asks for is forgotten");
}

/// The names of the events, and the info hashes that they are about.
fn told(bytes: Option<Arc<[u8]>>) -> Vec<(String, String)> {
    let text = String::from_utf8(bytes.map(|bytes| bytes.to_vec()).unwrap_or_default()).unwrap();
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, json) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        (name.to_owned(), value["info_hash"].as_str().unwrap_or_default()[..2].to_owned())
    });
    events.collect()
}

#[test]
fn whoever_missed_changes_is_told_of_each_file_once_and_of_those_that_are_gone() {
    let file = |digit: u8, leechers| SharedFile {
        info_hash: format!("{digit:02}").repeat(20),
        leechers,
        ..SharedFile::default()
    };
    let number = AtomicU64::new(0);
    let after = |before: &AllFiles, files: &[SharedFile]| {
        AllFiles::after(before, b"{\"machine\":1}\n".to_vec(), files, || number.fetch_add(1, Ordering::Relaxed) + 1)
    };
    let first = after(&AllFiles::default(), &[file(1, 0), file(2, 0)]).unwrap();
    assert!(after(&first, &[file(1, 0), file(2, 0)]).is_none(), "nothing has changed");
    let second = after(&first, &[file(1, 1), file(2, 0)]).unwrap();
    let third = after(&second, &[file(1, 2), file(3, 0)]).unwrap();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
    assert_eq!(told(second.since(Some(first.last))), pairs(&[("file", "01")]));
    assert_eq!(told(third.since(Some(second.last))), pairs(&[("file", "01"), ("file", "03"), ("gone", "02")]));
    assert_eq!(told(third.since(Some(first.last))), pairs(&[("file", "01"), ("file", "03"), ("gone", "02")]));
    assert!(third.since(Some(third.last)).is_none());
    let text = String::from_utf8(third.since(None).unwrap().to_vec()).unwrap();
    let state: serde_json::Value = serde_json::from_str(text.strip_prefix("event: state\ndata: ").unwrap()).unwrap();
    assert_eq!(state["files"].as_array().unwrap().len(), 2);
    let many: Vec<_> =
        (0..MAX_GONE + 1).map(|at| SharedFile { info_hash: format!("{at:040x}"), ..SharedFile::default() }).collect();
    let (full, empty) = (after(&third, &many).unwrap(), AllFiles::default());
    let none = after(&full, &[]).unwrap();
    assert!(none.since(Some(third.last)).unwrap().starts_with(b"event: state"), "too many are gone: {}", empty.last);
}

#[test]
fn three_hundred_files_of_which_one_moves_cost_an_open_page_little() {
    const SECONDS: u64 = 5;
    let room = Room::new();
    for at in 0..301 {
        room.board.add(
            metainfo(&format!("a name as files have it {at}"), &[7; 9]).into(),
            room.folder.path(),
            Activity::Seeding,
        );
    }
    for report in room.board.torrents() {
        room.board.update(report.metainfo.info_hash(), |report| report.set_have(crate::bitfield::Bitfield::full(1)));
    }
    let moving = metainfo("a name as files have it 5", &[7; 9]).info_hash();
    let mut page = Listener::open(&room, "/api/events");
    assert_eq!(page.event("state")["files"].as_array().unwrap().len(), 301);
    let (end, mut bytes, mut files) = (Instant::now() + Duration::from_secs(SECONDS), 0, 0);
    let peer = PeerId(*b"-qB4650-000000006881");
    while Instant::now() < end {
        room.board.update(moving, |report| report.uploaded += 123_456);
        let one = |piece| {
            let address = ([10, 0, 0, 1], 6881).into();
            Transfer { info_hash: moving, piece, peer, address, way: TransferKind::Uploaded }
        };
        room.board.record((0..50).map(one));
        let line = page.line();
        bytes += line.len() + 1;
        files += usize::from(line == "event: file");
    }
    assert!(files >= 2, "it tells of {files} changes");
    let most = 4000 * (SECONDS as usize + 1);
    assert!(bytes < most, "{bytes} bytes in {SECONDS} seconds");
}

#[test]
fn two_hundred_open_pages_do_not_keep_announces_waiting() {
    const PAGES: usize = 200;
    const ANNOUNCES: u16 = 300;
    let room = Room::new();
    let hash = room.put("a.iso", &[7; 1000]).json()["info_hash"].as_str().unwrap().to_owned();
    let longest_and_rate = |first: u16| {
        let start = Instant::now();
        let times = (first..first + ANNOUNCES).map(|number| {
            let start = Instant::now();
            assert_eq!(announce(&room, &hash, number, 500), 200);
            start.elapsed()
        });
        let longest = times.max().unwrap();
        (longest, f64::from(ANNOUNCES) / start.elapsed().as_secs_f64())
    };
    let (_, alone) = longest_and_rate(10_000);
    let paths = ["/api/events".to_owned(), format!("/api/events?file={hash}")];
    let mut pages: Vec<_> = (0..PAGES).map(|number| Listener::open(&room, &paths[number % 2])).collect();
    for (number, page) in pages.iter_mut().enumerate() {
        page.event(["state", "file"][number % 2]);
    }
    assert_eq!(room.door.stats().streams, PAGES);
    // Every announce changes what all of them show, and none of them reads it.
    let (longest, beside) = longest_and_rate(20_000);
    println!("{alone:.0} announces a second alone, {beside:.0} beside {PAGES} open pages: {:.2}", beside / alone);
    assert!(longest < Duration::from_secs(1), "an announce took {longest:?}");
    assert_eq!(room.door.stats().streams, PAGES);
    drop(pages);
    let deadline = Instant::now() + Duration::from_secs(20);
    while room.door.stats().streams > 0 {
        assert!(Instant::now() < deadline, "closed pages are still told what happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}
