//! The whole site behind a door on a real port, as curl and browsers use it.

use crate::metainfo::Metainfo;
use std::path::PathBuf;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use super::{library::Library, *};
use crate::{
    metainfo::{PeerId, PieceHasher, create::CreateOptions},
    status::report::Board,
};

/// Orders as they went out: name, file and port.
type Orders = Arc<Mutex<Vec<(String, PathBuf, Option<u16>)>>>;

pub struct Room {
    pub folder: tempfile::TempDir,
    orders: Orders,
    /// All other orders, as they print.
    pub heard: Arc<Mutex<Vec<String>>>,
    /// Whether all other orders are refused.
    refuses: Arc<std::sync::atomic::AtomicBool>,
    pub port: u16,
    /// The field with the cookie that the control link gave, where there is no password.
    pub cookie: String,
    /// Each further link.
    pub links: Arc<Mutex<Vec<String>>>,
    pub web: Arc<Web>,
    pub board: Arc<Board>,
    pub door: Door,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Room {
    pub fn new() -> Room {
        Room::with(|_| Ok(()))
    }

    fn with(answer: impl Fn(Option<u16>) -> Result<(), String> + Send + Sync + 'static) -> Room {
        Room::open(tempfile::tempdir().unwrap(), true, answer, |_| ())
    }

    /// A room whose page is set up otherwise.
    pub fn set_up(adapt: impl FnOnce(&mut Setup)) -> Room {
        Room::open(tempfile::tempdir().unwrap(), true, |_| Ok(()), adapt)
    }

    fn open(
        folder: tempfile::TempDir,
        has_page: bool,
        answer: impl Fn(Option<u16>) -> Result<(), String> + Send + Sync + 'static,
        adapt: impl FnOnce(&mut Setup),
    ) -> Room {
        Room::called(Names::new(Some("http://room:5000/"), Vec::new()), folder, has_page, answer, adapt)
    }

    /// A room whose machine has these names.
    pub fn called(
        names: Names,
        folder: tempfile::TempDir,
        has_page: bool,
        answer: impl Fn(Option<u16>) -> Result<(), String> + Send + Sync + 'static,
        adapt: impl FnOnce(&mut Setup),
    ) -> Room {
        let swarms = Arc::new(Swarms::new(crate::tracker::TrackerLimits::default(), names).unwrap());
        let (orders, heard) = (Orders::default(), Arc::<Mutex<Vec<String>>>::default());
        let (ordered, told) = (Arc::clone(&orders), Arc::clone(&heard));
        let refuses = Arc::<std::sync::atomic::AtomicBool>::default();
        let is_refused = Arc::clone(&refuses);
        let carry_out = Box::new(move |order| match order {
            NodeOrder::Seed { metainfo, file, port } => {
                ordered.lock().unwrap().push((metainfo.name().to_owned(), file, port));
                answer(port)
            }
            _ if is_refused.load(std::sync::atomic::Ordering::Relaxed) => Err("not now".into()),
            order => {
                told.lock().unwrap().push(format!("{order:?}"));
                Ok(())
            }
        });
        let library = Arc::new(Library::open(folder.path()).unwrap());
        let mut setup = Setup {
            peer_id: PeerId(*b"-MI0100-abcdefghijkl"),
            board: Arc::default(),
            rules: Rules::default(),
            limits: RateLimits::default(),
            carry_out,
        };
        adapt(&mut setup);
        let board = Arc::clone(&setup.board);
        let site = Site::open(library, crate::metainfo::Limits::STRANGER, Arc::clone(&swarms), setup).unwrap();
        let web = Arc::new(Web::new(swarms, has_page.then_some(site)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let limits = DoorLimits { connections_per_host: 500, ..DoorLimits::for_descriptors(20_000) };
        let door = web.serve(listener, limits).unwrap();
        let links = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&links);
        let link = web.first_link(move |link| told.lock().unwrap().push(link.to_owned())).unwrap();
        let mut room = Room { folder, orders, heard, refuses, port, cookie: String::new(), links, web, board, door };
        room.cookie = link.map(|link| room.open_link(&link)).unwrap_or_default();
        room
    }

    /// As a browser that opens a control link: the field with the cookie that it got.
    pub fn open_link(&self, link: &str) -> String {
        let answer = self.ask_for("localhost", &format!("GET {link}"), "", b"");
        assert_eq!((answer.status, answer.field("Location")), (303, Some("/")), "{}", answer.text());
        let cookie = answer.field("Set-Cookie").unwrap();
        format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub fn ask(&self, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.ask_for("a:5000", line, fields, body)
    }

    /// As a browser asks that has opened this machine under that name.
    pub fn ask_for(&self, host: &str, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.send(self.connect(), host, line, fields, body)
    }

    /// As another machine of the room asks.
    fn ask_from(&self, from: u8, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.send(self.connect_from(from), "a:5000", line, fields, body)
    }

    fn connect_from(&self, from: u8) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address = |ip, port| std::net::SocketAddr::from((ip, port)).into();
        socket.bind(&address(Ipv4Addr::new(127, 0, 1, from), 0)).unwrap();
        socket.connect(&address(Ipv4Addr::LOCALHOST, self.port)).unwrap();
        socket.into()
    }

    fn send(&self, mut stream: TcpStream, host: &str, line: &str, fields: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head =
            format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A refusal may come before the last byte is taken.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Answer { status: head[9..12].parse().unwrap(), head, body: bytes.split_off(end) }
    }

    /// As a browser that has opened the control link, where there is no password.
    pub fn order(&self, path: &str, fields: &str, body: &str) -> Answer {
        let fields = format!("{}{fields}", self.cookie);
        self.ask_for("localhost", &format!("POST {path}"), &fields, body.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> Answer {
        self.ask(&format!("PUT /uploads/{name}"), "Accept: application/json\r\n", bytes)
    }

    fn form(&self, parts: &[(&str, &[u8])], fields: &str) -> Answer {
        let mut body = Vec::new();
        for (disposition, content) in parts {
            let head = format!("--xyz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xyz--\r\n");
        self.ask("POST /upload", &format!("Content-Type: multipart/form-data; boundary=xyz\r\n{fields}"), &body)
    }

    fn names(&self) -> Vec<String> {
        let files = self.get("/api/files").json();
        files.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    }

    fn orders(&self) -> Vec<(String, PathBuf, Option<u16>)> {
        self.orders.lock().unwrap().clone()
    }

    fn waits_for_transfers(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.door.stats().transfers > 0 {
            assert!(Instant::now() < deadline, "a transfer does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub fn metainfo(name: &str, bytes: &[u8]) -> Metainfo {
    let mut hasher = PieceHasher::new(16 * 1024);
    hasher.update(bytes);
    Metainfo::from_hashes(name, &hasher.finish(), &CreateOptions::default()).unwrap()
}

#[test]
fn a_file_sent_by_the_form_is_saved_listed_ordered_and_linked() {
    let room = Room::new();
    let bytes = content(1_000_000);
    let name = "Gro\u{df}er \u{661f} <b>.iso";
    let file = format!("name=\"file\"; filename=\"{name}\"");
    let answer = room.form(&[("name=\"port\"", b"6890"), (&file, &bytes)], "Accept: text/html,*/*\r\n");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.text().contains("Gro\u{df}er \u{661f} &lt;b&gt;.iso"), "{}", answer.text());
    assert!(answer.field("Content-Security-Policy").is_some_and(|policy| !policy.contains("unsafe")));
    let path = room.folder.path().join("uploads").join(name);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(room.orders(), [(name.to_owned(), path, Some(6890))]);

    let listed = &room.get("/api/files").json()[0];
    let [download, json, torrent] = ["download", "json", "torrent"].map(|key| room.get(listed[key].as_str().unwrap()));
    assert_eq!(download.body, bytes);
    let disposition = download.field("Content-Disposition").unwrap();
    assert!(disposition.ends_with("filename*=UTF-8''Gro%C3%9Fer%20%E6%98%9F%20%3Cb%3E.iso"), "{disposition}");
    let (json, torrent) = (Metainfo::read(&json.body).unwrap(), Metainfo::read(&torrent.body).unwrap());
    assert_eq!(json.info_hash(), torrent.info_hash());
    assert_eq!(json.trackers().last().unwrap(), &["http://room:5000/announce"]);
    assert_eq!(json.trackers(), torrent.trackers());
    assert_eq!(listed["info_hash"], json.info_hash().to_string());
    assert!(room.get("/").text().contains("&lt;b&gt;.iso"));
    let page = room.get(&format!("/files/{}", json.info_hash())).text();
    assert!(page.contains("minitorrent fetch http://room:5000/metainfos/Gro%C3%9Fer") && !page.contains("<b>.iso"));
}

#[test]
fn several_files_and_a_late_port_travel_in_one_form() {
    let room = Room::new();
    let parts: [(&str, &[u8]); 3] = [
        ("name=\"file\"; filename=\"a\"", b"one"),
        ("name=\"file\"; filename=\"a\"", b"two"),
        ("name=\"port\"", b"6890"),
    ];
    let answer = room.form(&parts, "Accept: application/json\r\n");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!((&answer.json()[1]["name"], &answer.json()[1]["asked_name"]), (&"a (2)".into(), &"a".into()));
    assert_eq!(room.orders().iter().map(|(_, _, port)| *port).collect::<Vec<_>>(), [Some(6890), Some(6890)]);
}

#[test]
fn a_put_that_broke_off_is_not_listed_and_goes_on() {
    let room = Room::new();
    let bytes = content(700_000);
    let mut stream = room.connect();
    stream.write_all(b"PUT /uploads/big.iso HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n").unwrap();
    stream.write_all(&bytes[..300_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    room.waits_for_transfers();
    assert!(room.names().is_empty() && room.orders().is_empty());
    assert_eq!(room.get("/uploads/big.iso").status, 404);

    let told = room.ask("HEAD /uploads/big.iso", "", b"");
    assert_eq!((told.status, told.field("Upload-Offset")), (202, Some("300000")));
    let put = |range: &str, bytes: &[u8]| {
        room.ask("PUT /uploads/big.iso", &format!("Content-Range: bytes {range}/700000\r\n"), bytes)
    };
    assert_eq!(put("200000-299999", &bytes[200_000..300_000]).status, 409);
    let partly = put("300000-499999", &bytes[300_000..500_000]);
    assert_eq!((partly.status, partly.field("Upload-Offset")), (202, Some("500000")));
    let whole = put("500000-699999", &bytes[500_000..]);
    assert_eq!(whole.status, 201, "{}", whole.text());
    assert_eq!(room.get("/uploads/big.iso").body, bytes);
    let stored = Metainfo::read(&room.get("/metainfos/big.iso.torrent").body).unwrap();
    let mut hasher = PieceHasher::new(stored.geometry().piece_length());
    hasher.update(&bytes);
    assert_eq!(stored.piece_hash(stored.geometry().piece(2).unwrap()), &hasher.finish().pieces[40..60]);
    assert_eq!(room.ask("HEAD /uploads/big.iso", "", b"").field("Content-Length"), Some("700000"));
}

#[test]
fn only_who_began_an_upload_goes_on_with_it() {
    let room = Room::new();
    let bytes = content(100_000);
    let put = |from, range: &str, fields: &str, bytes: &[u8]| {
        let fields = format!("Content-Range: bytes {range}/100000\r\n{fields}");
        room.ask_from(from, "PUT /uploads/big.iso", &fields, bytes)
    };
    let head = |from, fields: &str| room.ask_from(from, "HEAD /uploads/big.iso", fields, b"");
    // By its address.
    assert_eq!(put(1, "0-39999", "", &bytes[..40_000]).status, 202);
    assert_eq!((head(1, "").field("Upload-Offset"), head(2, "").status), (Some("40000"), 404));
    assert_eq!(put(2, "40000-99999", "", &[0; 60_000]).status, 409);
    // Nor does anything that begins anew disturb it: another's upload, another's form, its own form.
    assert_eq!(put(2, "0-9", "", b"0123456789").status, 202);
    let form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big.iso\"\r\n\r\nother\r\n--x--\r\n";
    for from in [1, 2] {
        let kind = "Content-Type: multipart/form-data; boundary=x\r\n";
        assert_eq!(room.ask_from(from, "POST /upload", kind, form).status, 201);
    }
    let whole = put(1, "40000-99999", "", &bytes[40_000..]);
    assert_eq!(whole.status, 201, "{}", whole.text());
    assert_eq!(room.get("/uploads/big%20(2).iso").body, bytes);
    // By its tag, from whatever address.
    let tag = "Upload-Tag: 4f7c0a-1\r\n";
    assert_eq!(put(3, "0-39999", tag, &bytes[1..40_001]).status, 202);
    assert_eq!(head(3, "").status, 200, "without the tag it is the file that is here");
    assert_eq!(head(4, tag).field("Upload-Offset"), Some("40000"));
    assert_eq!(put(4, "40000-99999", "Upload-Tag: 4f7c0a-2\r\n", &[0; 60_000]).status, 409);
    assert_eq!(put(4, "40000-99999", tag, &bytes[40_000..]).status, 201);
}

#[test]
fn two_uploads_of_one_name_at_once_are_both_saved() {
    let room = Room::new();
    let begin = |letter: &[u8]| {
        let mut stream = room.connect();
        let head = "PUT /uploads/a.iso HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&letter.repeat(1000)).unwrap();
        stream
    };
    let parts = || std::fs::read_dir(room.folder.path().join("uploads/.part")).unwrap().count();
    let mut streams = Vec::new();
    for (number, letter) in [b"a", b"b", b"c"].into_iter().enumerate() {
        streams.push((begin(letter), letter));
        let deadline = Instant::now() + Duration::from_secs(20);
        while parts() <= number {
            assert!(Instant::now() < deadline, "an upload does not begin");
            thread::sleep(Duration::from_millis(5));
        }
    }
    for (mut stream, letter) in streams {
        stream.write_all(&letter.repeat(1000)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
    for (name, letter) in [("a.iso", b"a"), ("a%20(2).iso", b"b"), ("a%20(3).iso", b"c")] {
        assert_eq!(room.get(&format!("/uploads/{name}")).body, letter.repeat(2000));
    }
}

#[test]
fn an_empty_file_keeps_no_other_of_its_form_from_being_shared() {
    let room = Room::new();
    let files: [(&str, &[u8]); 3] = [
        ("name=\"file\"; filename=\"first.txt\"", b"one"),
        ("name=\"file\"; filename=\"__init__.py\"", b""),
        ("name=\"file\"; filename=\"third.txt\"", b"three"),
    ];
    let json = room.form(&files, "Accept: application/json\r\n");
    assert_eq!((json.status, json.json().as_array().unwrap().len()), (201, 3));
    assert_eq!(json.json()[2]["name"], "__init__.py");
    assert!(json.json()[2]["problem"].as_str().unwrap().contains("is empty"));
    assert_eq!(room.names(), ["first.txt", "third.txt"]);
    let lines = room.form(&files, "").text();
    assert_eq!(
        lines.lines().collect::<Vec<_>>(),
        [
            "first.txt is shared: http://room:5000/metainfos/first.txt.torrent",
            "third.txt is shared: http://room:5000/metainfos/third.txt.torrent",
            "__init__.py is not shared: __init__.py is empty: a torrent without a single byte has nothing to share",
        ]
    );
    let page = room.form(&files, "Accept: text/html\r\n").text();
    assert!(page.contains("They are shared.") && page.contains("<b>__init__.py</b> is not shared"), "{page}");
    // With nothing else there is nothing to share.
    let nothing = room.form(&[files[1], ("name=\"file\"; filename=\"b\"", b"")], "");
    assert_eq!((nothing.status, nothing.text().lines().count()), (400, 1));
    assert!(nothing.text().contains("__init__.py is empty") && nothing.text().contains("b is empty"));
    assert_eq!(room.put("c", b"").status, 400);
    let chunked =
        "PUT /uploads/d HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut stream = room.connect();
    stream.write_all(chunked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("d is empty"), "{answer}");
    assert_eq!(std::fs::read_dir(room.folder.path().join("uploads/.part")).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_sent_elsewhere_is_taken_or_told_where_to_go() {
    let room = Room::new();
    let bytes = content(300_000);
    let top = room.ask("PUT /up.bin", "", &bytes);
    assert_eq!((top.status, &*top.text()), (201, "up.bin is shared: http://room:5000/metainfos/up.bin.torrent\n"));
    assert_eq!(top.field("Location"), Some("http://room:5000/metainfos/up.bin.json"));
    assert_eq!(room.get("/uploads/up.bin").body, bytes);
    for (line, status) in [
        ("PUT /", 405),
        ("PUT /files/up.bin", 405),
        ("PUT /files/a/b", 404),
        ("PUT /announce", 405),
        ("PUT /upload", 405),
        ("PUT /static/", 404),
    ] {
        let answer = room.ask(line, "", &bytes);
        assert!(answer.status == status && answer.text().contains("PUT /uploads/NAME"), "{line}: {answer:?}");
    }
    // What is wrong anyway is said before the length of the body.
    for (line, status) in
        [("POST /nowhere", 404), ("POST /", 405), ("DELETE /uploads/up.bin", 405), ("GET /up.bin", 404)]
    {
        assert_eq!(room.ask(line, "", &bytes).status, status, "{line}");
    }
    assert_eq!(room.ask("POST /login", "", &bytes).status, 413);
}

#[test]
fn names_of_any_length_are_saved_with_both_forms() {
    let room = Room::new();
    for length in [200, 235, 244, 250, 255, 1000] {
        let name = format!("{}.iso", "n".repeat(length - 4));
        let unlike = |kind: &str| format!("{kind}{length}").into_bytes();
        let put = room.put(&name, &unlike("put")).json()["name"].as_str().unwrap().to_owned();
        let registered = room.ask("POST /metainfos", "", &metainfo(&name, &unlike("registered")).to_json());
        let form = room
            .form(&[(&format!("name=\"file\"; filename=\"{name}\""), &unlike("form"))], "Accept: application/json\r\n");
        let (registered, form) = (registered.json()["name"].clone(), form.json()[0]["name"].clone());
        for name in [&put, registered.as_str().unwrap(), form.as_str().unwrap()] {
            for form in ["json", "torrent"] {
                assert_eq!(
                    room.get(&format!("/metainfos/{}.{form}", names::encode(name))).status,
                    200,
                    "{name}.{form}"
                );
            }
            assert!(name.ends_with(".iso") && name.len() <= 210, "{name}");
        }
    }
    let cjk = names::encode(&format!("{}.txt", "\u{5fd8}".repeat(80)));
    assert_eq!(room.put(&cjk, b"content").status, 201);
}

#[test]
fn a_name_that_is_taken_gets_another_and_the_same_file_does_not() {
    let room = Room::new();
    assert_eq!(room.put("a.iso", b"one").json()["name"], "a.iso");
    let second = room.put("a.iso", b"two").json();
    assert_eq!((&second["name"], &second["asked_name"]), (&"a (2).iso".into(), &"a.iso".into()));
    let again = room.put("a.iso", b"one").json();
    assert_eq!((&again["name"], again["asked_name"].is_null()), (&"a.iso".into(), true));
    assert_eq!(room.names(), ["a (2).iso", "a.iso"]);
    assert_eq!(room.orders().len(), 2);
}

#[test]
fn a_port_that_cannot_be_had_is_said_and_the_file_is_shared_all_the_same() {
    let room = Room::with(|port| if port.is_some() { Err("port 6890 is taken".into()) } else { Ok(()) });
    let answer = room.ask("PUT /uploads/a?port=6890", "Accept: application/json\r\n", b"content");
    assert_eq!((answer.status, &answer.json()["warning"]), (201, &"port 6890 is taken".into()));
    for port in 7000..7000 + library::MAX_PORTS + 1 {
        let answer = room.ask(&format!("PUT /uploads/a{port}?port={port}"), "", port.to_string().as_bytes());
        assert_eq!(answer.status, 201, "what could not be had counts for nothing: {}", answer.text());
    }
    for bad in ["80", "65536", "x", "+6890"] {
        assert_eq!(room.ask(&format!("PUT /uploads/b?port={bad}"), "", b"content").status, 400, "{bad}");
    }
    assert_eq!(room.form(&[("name=\"port\"", b"80"), ("name=\"file\"; filename=\"b\"", b"x")], "").status, 400);
    assert_eq!(room.names().len(), library::MAX_PORTS + 2);
}

#[test]
fn what_is_no_upload_is_refused_with_a_sentence() {
    let room = Room::new();
    assert_eq!(room.form(&[("name=\"file\"; filename=\"\"", b"")], "").status, 400);
    assert!(room.put("empty", b"").text().contains("without a single byte"));
    assert_eq!(room.ask("POST /upload", "", b"x").status, 415);
    let cut = b"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc";
    let cut = room.ask("POST /upload", "Content-Type: multipart/form-data; boundary=xyz\r\n", cut);
    assert_eq!(cut.status, 400);
    let mut lengthless = room.connect();
    lengthless.write_all(b"PUT /uploads/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    lengthless.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    let space = room.connect();
    let huge = "PUT /uploads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n";
    (&space).write_all(huge.as_bytes()).unwrap();
    let mut answer = [0; 12];
    (&space).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 507");
    for (length, status) in [("9223372036854775807", 507), ("7", 202)] {
        let told = room.ask("HEAD /uploads/a", &format!("Upload-Tag: x\r\nUpload-Length: {length}\r\n"), b"");
        assert_eq!(told.status, status, "who asks first is told before the first byte");
    }
    let foreign = room.ask("PUT /uploads/a", "Origin: http://evil.example\r\n", b"x");
    assert_eq!(foreign.status, 403);
    assert_eq!(room.ask("PUT /uploads/a", "Origin: http://a:5000\r\n", b"x").status, 201);
    assert_eq!(room.ask("DELETE /uploads/a", "", b"").field("Allow"), Some("GET, HEAD, PUT"));
    assert_eq!(room.names(), ["a"]);
}

#[test]
fn names_never_leave_the_folder() {
    let room = Room::new();
    std::fs::write(room.folder.path().join("secret"), b"secret").unwrap();
    for path in
        ["/uploads/../secret", "/uploads/%2e%2e/secret", "/uploads/..%2fsecret", "/uploads//secret", "/uploads/.part"]
    {
        assert_eq!(room.get(path).status, 404, "{path}");
    }
    assert_eq!(room.get("/metainfos/.library.json").status, 404);
    assert_eq!(room.put("..%2f..%2fsecret", b"x").json()["name"], "secret");
    assert_eq!(room.put(".part", b"y").json()["name"], "_.part");
    assert_eq!(room.get("/uploads/%ff").status, 400);
    assert_eq!(std::fs::read(room.folder.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn downloads_come_whole_in_part_or_not_at_all() {
    let room = Room::new();
    let bytes = content(300_000);
    room.put("a.iso", &bytes);
    let whole = room.get("/uploads/a.iso");
    let tag = whole.field("ETag").unwrap();
    let date = whole.field("Last-Modified").unwrap();
    let get = |fields: &str| room.ask("GET /uploads/a.iso", &format!("{fields}\r\n"), b"");
    for (range, from, to) in [("0-0", 0, 1), ("5-9", 5, 10), ("100000-", 100_000, 300_000), ("-7", 299_993, 300_000)] {
        let part = get(&format!("Range: bytes={range}"));
        assert_eq!((part.status, &part.body[..]), (206, &bytes[from..to]), "{range}");
        assert_eq!(part.field("Content-Range"), Some(&format!("bytes {from}-{}/300000", to - 1)[..]));
    }
    let outside = get("Range: bytes=300000-");
    assert_eq!((outside.status, outside.field("Content-Range")), (416, Some("bytes */300000")));
    for whole in ["bytes=0-1,5-6", "bytes=x", "pages=1-2", "bytes=5-4"] {
        assert_eq!(get(&format!("Range: {whole}")).status, 200, "{whole}");
    }
    for (known, status) in [(tag, 206), (date, 206), ("\"other\"", 200)] {
        assert_eq!(get(&format!("Range: bytes=0-1\r\nIf-Range: {known}")).status, status);
    }
    let known = get(&format!("If-None-Match: \"x\", {tag}"));
    assert_eq!((known.status, known.body.len(), known.field("Content-Length")), (304, 0, Some("300000")));
    assert_eq!(get(&format!("If-Modified-Since: {date}")).status, 304);
    assert_eq!(get("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT").status, 200);
    assert_eq!(whole.field("X-Content-Type-Options"), Some("nosniff"));
    let head = room.ask("HEAD /uploads/a.iso", "Range: bytes=0-1\r\n", b"");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("300000")), "parts are for GET alone");
}

#[test]
fn conditions_are_judged_in_the_order_of_the_standard_on_every_route_that_has_versions() {
    let room = Room::new();
    room.put("a.iso", b"content");
    let held = metainfo("held.iso", b"held");
    room.ask("POST /metainfos", "", &held.to_json());
    let past = "Thu, 01 Jan 1970 00:00:00 GMT";
    for path in [
        "/uploads/a.iso",
        "/metainfos/a.iso.json",
        "/metainfos/a.iso.torrent",
        "/metainfos/held.iso.json",
        "/static/main.js",
    ] {
        let first = room.get(path);
        let tag = first.field("ETag").unwrap_or_else(|| panic!("{path} has no version"));
        let get = |fields: &str| room.ask(&format!("GET {path}"), &format!("{fields}\r\n"), b"").status;
        for (fields, status) in [
            (format!("If-Match: {tag}"), 200),
            ("If-Match: *".into(), 200),
            (format!("If-Match: \"x\", {tag}"), 200),
            (format!("If-Match: \"x\"\r\nIf-Match: {tag}"), 200),
            ("If-Match: \"x\"".into(), 412),
            (format!("If-Match: W/{tag}"), 412),
            ("If-Match: \u{e9}".into(), 412),
            (format!("If-Match: \"x\"\r\nIf-None-Match: {tag}"), 412),
            (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {past}"), 200),
            (format!("If-Match: {tag}\r\nIf-None-Match: {tag}"), 304),
            (format!("If-None-Match: W/{tag}"), 304),
            ("If-None-Match: *".into(), 304),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {}", "Fri, 31 Dec 9999 23:59:59 GMT"), 200),
            ("If-Unmodified-Since: yesterday".into(), 200),
            ("If-Modified-Since: yesterday".into(), 200),
        ] {
            assert_eq!(get(&fields), status, "{path}: {fields}");
        }
        let Some(date) = first.field("Last-Modified") else { continue };
        for (fields, status) in [
            (format!("If-Unmodified-Since: {date}"), 200),
            (format!("If-Unmodified-Since: {past}"), 412),
            (format!("If-Unmodified-Since: {past}\r\nIf-Modified-Since: {date}"), 412),
            (format!("Range: bytes=1-\r\nIf-Match: {tag}\r\nIf-Unmodified-Since: {date}"), 206),
            ("Range: bytes=1-\r\nIf-Match: \"x\"".into(), 412),
            (format!("Range: bytes=1-\r\nIf-None-Match: {tag}"), 304),
            (format!("Range: bytes=1-\r\nIf-Range: W/{tag}"), 200),
            (format!("Range: bytes=1-\r\nIf-Range: {past}"), 200),
        ] {
            assert_eq!(get(&fields), status, "{path}: {fields}");
        }
    }
}

#[test]
fn a_target_in_absolute_form_leads_where_its_path_does_for_the_host_in_it() {
    let room = Room::new();
    let port = room.port;
    assert_eq!(room.get(&format!("http://127.0.0.1:{port}/healthz")).status, 200);
    assert_eq!(room.get(&format!("http://127.0.0.1:{port}")).status, 200);
    let foreign = room.ask_for(&format!("127.0.0.1:{port}"), "GET http://evil.example/", "", b"");
    let as_field = room.ask_for("evil.example", "GET /", "", b"");
    assert_eq!((foreign.status, foreign.body), (as_field.status, as_field.body));
    assert_ne!(foreign.status, 200);
}

#[test]
fn a_metainfo_is_registered_once_and_never_replaces_another() {
    let room = Room::new();
    let (one, two) = (metainfo("a.iso", b"one"), metainfo("a.iso", b"two"));
    let register = |bytes: &[u8]| room.ask("POST /metainfos", "", bytes);
    assert_eq!(register(&one.to_json()).status, 201);
    assert_eq!(register(&one.to_torrent()).status, 200);
    let second = register(&two.to_torrent());
    assert_eq!((second.status, &second.json()["name"]), (201, &"a (2).iso".into()));
    let served = Metainfo::read(&room.get("/metainfos/a.iso.json").body).unwrap();
    assert_eq!(served.info_bytes(), one.info_bytes());
    assert_eq!(room.get("/uploads/a.iso").status, 404);
    assert_eq!(register(b"<html>").status, 400);
    let long = [b"d".to_vec(), vec![b'1'; crate::metainfo::Limits::STRANGER.bytes as usize]].concat();
    assert_eq!(register(&long).status, 413);
    room.web.sweep().unwrap();
    assert_eq!(room.names(), ["a (2).iso", "a.iso"]);
    assert!(room.orders().is_empty());
}

#[test]
fn whoever_may_control_lists_more_than_one_address_may() {
    let room = Room::new();
    let register = |number: usize, fields: &str| {
        let bytes = metainfo(&number.to_string(), &number.to_be_bytes()).to_torrent();
        room.ask_for("localhost", "POST /metainfos", fields, &bytes).status
    };
    for number in 0..=library::MAX_REGISTERED_OF_ADDRESS {
        assert_eq!(register(number, &room.cookie), 201, "{number}");
    }
    for number in 1000..1000 + library::MAX_REGISTERED_OF_ADDRESS {
        assert_eq!(register(number, ""), 201, "{number}");
    }
    assert_eq!(register(2000, ""), 507);
    assert_eq!(register(2001, &room.cookie), 201);
    // Nor does what strangers list from there bound what is fetched.
    let bytes = metainfo("fetched", b"fetched").to_torrent();
    let cookie = &room.cookie;
    let fetched =
        room.ask_for("localhost", "POST /api/fetch", &format!("{cookie}Accept: application/json\r\n"), &bytes);
    assert_eq!(fetched.status, 200, "{}", fetched.text());
}

#[test]
fn a_fetch_that_cannot_be_listed_is_not_ordered_and_one_that_cannot_be_ordered_is_not_listed() {
    let room = Room::new();
    let fetch = |name: &str| {
        let bytes = metainfo(name, name.as_bytes()).to_torrent();
        let fields = format!("{}Accept: application/json\r\n", room.cookie);
        room.ask_for("localhost", "POST /api/fetch", &fields, &bytes).status
    };
    // What is in the way of a metainfo's second form.
    std::fs::create_dir_all(room.folder.path().join("metainfos/blocked.torrent/x")).unwrap();
    assert_eq!(fetch("blocked"), 500);
    assert_eq!(*room.heard.lock().unwrap(), Vec::<String>::new());
    room.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(fetch("refused"), 409);
    assert!(room.names().is_empty() && !room.folder.path().join("metainfos/refused.json").exists());
    room.refuses.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!((fetch("refused"), room.names()), (200, vec!["refused".to_owned()]));
}

#[test]
fn no_name_and_no_tag_goes_on_with_what_came_under_another() {
    let room = Room::new();
    let bytes = content(1000);
    let parts = || std::fs::read_dir(room.folder.path().join("uploads/.part")).unwrap().count();
    // Two uploads of one name at once from one address; the second breaks off.
    let begun: Vec<_> = (1..=2)
        .map(|number| {
            let mut stream = room.connect_from(1);
            stream.write_all(b"PUT /uploads/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").unwrap();
            stream.write_all(&bytes[..400]).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while parts() < number {
                assert!(Instant::now() < deadline, "an upload does not begin");
                thread::sleep(Duration::from_millis(5));
            }
            stream
        })
        .collect();
    begun[1].shutdown(std::net::Shutdown::Write).unwrap();
    let _ = (&begun[1]).read_to_end(&mut Vec::new());
    // Keys were made of the name, a tilde, and the address or the tag; of the second one of a name, with a number.
    for name in ["a", "a~2", "a~@127.0.1.1", "a~@127.0.1.1~2", "a~form@127.0.1.1"] {
        for tag in ["2", "t", "127-0-1-1"] {
            let (line, fields) = (format!("HEAD /uploads/{}", names::encode(name)), format!("Upload-Tag: {tag}\r\n"));
            let told = room.ask_from(2, &line, &fields, b"");
            assert_eq!(told.field("Upload-Offset"), Some("0"), "{name} with {tag}");
        }
        assert_eq!(room.ask_from(2, &format!("HEAD /uploads/{}", names::encode(name)), "", b"").status, 404, "{name}");
    }
    (&begun[0]).write_all(&bytes[400..]).unwrap();
    let mut answer = [0; 12];
    (&begun[0]).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(room.get("/uploads/a").body, bytes);
}

#[test]
fn what_others_have_and_what_was_removed_by_hand_can_be_uploaded() {
    let room = Room::new();
    let mut hasher = PieceHasher::new(crate::metainfo::create::DEFAULT_PIECE_LENGTH);
    hasher.update(b"content");
    let registered = Metainfo::from_hashes("a", &hasher.finish(), &CreateOptions::default()).unwrap();
    assert_eq!(room.ask("POST /metainfos", "", &registered.to_json()).status, 201);
    assert_eq!(room.get("/uploads/a").status, 404);
    for _ in 0..2 {
        let answer = room.put("a", b"content").json();
        assert_eq!((&answer["name"], &answer["info_hash"]), (&"a".into(), &registered.info_hash().to_string().into()));
        assert_eq!(room.get("/uploads/a").body, b"content");
        std::fs::remove_file(room.folder.path().join("uploads/a")).unwrap();
    }
    assert_eq!(room.names(), ["a"]);
}

#[test]
fn announces_are_answered_in_both_forms_and_counted_on_the_page() {
    let room = Room::new();
    let entry = room.put("a.iso", b"content").json();
    let hash = entry["info_hash"].as_str().unwrap();
    let query = format!("info_hash={hash}&peer_id=-XX0000-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0");
    let bencoded = room.get(&format!("/announce?{query}&compact=1"));
    assert!(bencoded.body.starts_with(b"d8:completei1e"), "{}", bencoded.text());
    let json = room.get(&format!("/tracker?{query}")).json();
    assert!(json["interval"].is_number(), "{json}");
    assert!(room.get("/announce?port=1").body.starts_with(b"d14:failure reason"));
    assert_eq!(room.get("/tracker?port=1").status, 400);
    assert!(room.get(&format!("/scrape?info_hash={hash}")).body.starts_with(b"d5:filesd20:"));
    assert_eq!(room.get("/api/files").json()[0]["seeding"], 1);
    assert!(room.get("/metrics").text().contains("\nminitorrent_peers 1\n"));
}

#[test]
fn a_tracker_without_a_page_announces_and_nothing_else() {
    let room = Room::open(tempfile::tempdir().unwrap(), false, |_| Ok(()), |_| ());
    let health = room.get("/healthz");
    assert_eq!((health.text().as_str(), health.field("Minitorrent")), ("ok\n", Some("tracker")));
    assert_eq!(Room::new().get("/healthz").field("Minitorrent"), Some("tracker, page"));
    assert_eq!(room.get("/announce").status, 200);
    assert_eq!(room.get("/metrics").status, 200);
    for path in ["/", "/api/files", "/uploads/a", "/static/style.css"] {
        assert_eq!(room.get(path).status, 404, "{path}");
    }
    assert_eq!(room.put("a", b"x").status, 404);
}

#[test]
fn uploads_are_stamped_and_shared_again_after_a_restart() {
    let room = Room::new();
    assert_eq!(room.ask("PUT /uploads/a?port=6890", "Accept: application/json\r\n", b"content").status, 201);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let shared = Library::open(room.folder.path()).unwrap().shared();
        assert_eq!((shared.len(), shared[0].port), (1, Some(6890)));
        if shared[0].is_unchanged {
            break;
        }
        assert!(Instant::now() < deadline, "the upload is never noted as whole");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_upload_that_was_removed_by_hand_is_not_listed_any_longer() {
    let room = Room::new();
    room.put("a", b"content");
    std::fs::remove_file(room.folder.path().join("uploads/a")).unwrap();
    room.web.sweep().unwrap();
    assert!(room.names().is_empty());
    assert_eq!(room.get("/metainfos/a.json").status, 404);
}

#[test]
fn an_upload_whose_file_is_back_is_listed_again_once_it_is_known_to_be_the_same() {
    let room = Room::new();
    let (file, elsewhere) = (room.folder.path().join("uploads/a"), room.folder.path().join("elsewhere"));
    room.put("a", b"content");
    // It is listed, and then seeded.
    let seeded = |times: usize| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while room.names().is_empty() || room.orders().len() < times {
            assert!(Instant::now() < deadline, "{:?} is listed, and {} orders", room.names(), room.orders().len());
            room.web.sweep().unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(room.orders().len(), times);
    };
    let go_away = || {
        std::fs::rename(&file, &elsewhere).unwrap();
        room.web.sweep().unwrap();
        assert!(room.names().is_empty());
    };
    // Once it is noted as whole and on disk.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(room.folder.path().join("metainfos/.library.json")).unwrap().contains("seconds") {
        assert!(Instant::now() < deadline, "an upload is not noted as whole");
        thread::sleep(Duration::from_millis(5));
    }
    go_away();
    std::fs::rename(&elsewhere, &file).unwrap();
    room.web.sweep().unwrap();
    assert_eq!((room.names(), room.orders().len()), (vec!["a".to_owned()], 2), "the same is trusted at once");
    assert_eq!((room.get("/metainfos/a.torrent").status, room.get("/uploads/a").body), (200, b"content".to_vec()));

    go_away();
    std::fs::write(&file, b"content").unwrap();
    std::fs::File::open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    seeded(3); // A copy is verified first.

    // Another file of the same length, a shorter one, and a folder are not what was uploaded.
    go_away();
    for other in [&b"CONTENT"[..], b"con"] {
        std::fs::write(&file, other).unwrap();
        room.web.sweep().unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    room.web.sweep().unwrap();
    assert!(room.names().is_empty());
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&elsewhere, &file).unwrap();
    seeded(4);

    // What was uploaded again meanwhile is listed once.
    go_away();
    let orders = room.orders().len();
    assert_eq!(room.put("a", b"content").json()["name"], "a");
    room.web.sweep().unwrap();
    assert_eq!((room.names(), room.orders().len()), (vec!["a".to_owned()], orders + 1));
}

#[test]
fn what_is_embedded_is_asked_for_each_time_and_sent_once() {
    let room = Room::new();
    for path in ["/static/main.js", "/static/style.css", "/api/openapi.json"] {
        let first = room.get(path);
        let tag = first.field("ETag").unwrap();
        assert_eq!((first.status, first.field("Cache-Control")), (200, Some("no-cache")));
        let known = room.ask(&format!("GET {path}"), &format!("If-None-Match: \"x\", W/{tag}\r\n"), b"");
        assert_eq!((known.status, known.body.len(), known.field("ETag")), (304, 0, Some(tag)));
        let other = room.ask(&format!("GET {path}"), "If-None-Match: \"x\"\r\n", b"");
        assert_eq!((other.status, other.body), (200, first.body.clone()));
    }
    let tags = ["/static/main.js", "/static/live.js"].map(|path| room.get(path).field("ETag").unwrap().to_owned());
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn what_a_torrent_has_whole_is_handed_out_and_nothing_before() {
    let room = Room::new();
    let bytes = content(100_000);
    let file = metainfo("moon.bin", &bytes);
    let (hash, path) = (file.info_hash(), room.folder.path().join("moon.bin"));
    std::fs::write(&path, &bytes).unwrap();
    let pieces = file.geometry().piece_count();
    room.board.add(file.into(), room.folder.path(), crate::status::report::Activity::Fetching);
    let link = || room.get(&format!("/api/files/{hash}")).json()["links"]["download"].clone();
    let early = room.get(&format!("/content/{hash}"));
    assert_eq!((early.status, link()), (409, serde_json::Value::Null));
    assert_eq!(early.text(), "moon.bin is not whole on this machine: 0 of 7 pieces are here\n");
    room.board.update(hash, |report| report.set_have(crate::bitfield::Bitfield::full(pieces)));
    let whole = room.get(link().as_str().unwrap());
    assert_eq!((whole.status, &whole.body[..]), (200, &bytes[..]));
    assert!(whole.field("Content-Disposition").unwrap().contains("moon.bin"));
    let part = room.ask(&format!("GET /content/{hash}"), "Range: bytes=5-9\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &bytes[5..10]));
    for nothing in ["/content/x", "/content/0000000000000000000000000000000000000000", "/content/moon.bin"] {
        assert_eq!(room.get(nothing).status, 404, "{nothing}");
    }
    room.board.update(hash, |report| report.activity = crate::status::report::Activity::Failed("gone".into()));
    assert_eq!(room.get(&format!("/content/{hash}")).status, 409);
}
