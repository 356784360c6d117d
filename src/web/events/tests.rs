//! Open pages against a whole door on a real port.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Instant,
};

use super::*;
use crate::{
    metainfo::PeerId,
    status::report::{Activity, Transfer},
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
    assert_eq!(all.event("state")["files"][0]["leechers"], 1);
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
    let event = |after: Duration| site.newsroom.event(site, &viewer, None, now + after).unwrap();
    let first = event(Duration::ZERO);
    assert!(Arc::ptr_eq(&first, &event(TICK * 4)), "nothing has changed");
    room.board.add(metainfo("new", b"content").into(), room.folder.path(), Activity::Seeding);
    assert!(!Arc::ptr_eq(&first, &event(TICK * 8)));
    let other = Viewer { base: "http://b".into(), ..viewer.clone() };
    site.newsroom.event(site, &other, None, now + TICK * 8 + KEPT_TIME).unwrap();
    assert_eq!(site.newsroom.made().len(), 1, "what nobody asks for is forgotten");
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
