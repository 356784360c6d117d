//! A relay on the tracker's machine, such as socat or stunnel, by which the whole world comes from loopback and no field says so.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::room::{Answer, Room};
use crate::house::{say, wait_until};

const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";

/// Copies bytes both ways between whoever connects and that port; it ends with the test's process.
fn relay(to: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
            for (mut from, mut to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))]
                .map(|(from, to): (io::Result<TcpStream>, io::Result<TcpStream>)| (from.unwrap(), to.unwrap()))
            {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

/// Whoever knocks at the door of another program of this machine.
struct Inside(TcpListener);

impl Inside {
    fn open(address: &str) -> Inside {
        let listener = TcpListener::bind((address, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Inside(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn was_asked(&self) -> bool {
        self.0.accept().is_ok()
    }
}

#[test]
fn whoever_comes_by_way_of_a_relay_controls_nothing_before_the_link_is_opened_there() {
    let room = Room::open();
    let relay = SocketAddr::from((Ipv4Addr::LOCALHOST, relay(room.port)));
    let post = |path: &str, fields: &str, body: &str| {
        let fields = format!("{JSON}{fields}");
        room.ask_at(relay, &format!("POST {path}"), &fields, body.as_bytes())
    };
    let inside = Inside::open("127.0.0.1");
    let fetch = format!("{{\"url\":\"http://{}/secret.json\"}}", inside.address());
    let hash = "0".repeat(40);
    let mut orders = vec![("/api/limits".to_owned(), "{\"upload\":1}"), ("/api/fetch".to_owned(), &fetch)];
    orders.extend(["pause", "resume", "remove", "limits"].map(|verb| (format!("/api/files/{hash}/{verb}"), "{}")));
    for (path, body) in &orders {
        let answer = post(path, "", body);
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert_eq!(room.ask(&format!("POST {path}"), JSON, body.as_bytes()).status, 403, "{path}: without a relay");
    }

    let open = |link: &str| {
        let (_, path) = link.split_once("/control").unwrap();
        room.ask_at(relay, &format!("GET /control{path}"), "", b"")
    };
    let link = room.tracker.control_link().unwrap();
    let cookie = cookie(&open(&link));
    assert_eq!(post("/api/limits", &cookie, "{\"upload\":0}").status, 200);
    assert_eq!(open(&link).status, 403, "a link that was used");
    let next = || room.tracker.control_link().filter(|next| *next != link);
    assert!(wait_until(crate::house::browser::PATIENCE, || next().is_some()), "{}", room.tracker.stdout());
    let answer = post("/api/fetch", &cookie, &fetch);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(!inside.was_asked());
}

#[test]
fn what_is_added_on_the_page_has_no_tracker_asked_on_the_machine_that_serves_it() {
    let room = Room::open_to_listen();
    let link = room.tracker.control_link().unwrap();
    let (_, path) = link.split_once("/control").unwrap();
    let cookie = cookie(&room.get(&format!("/control{path}")));
    let tcp = Inside::open("127.0.0.1");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let (tcp_port, udp_port) = (tcp.address().port(), udp.local_addr().unwrap().port());
    let urls = [
        format!("http://127.0.0.1:{tcp_port}/announce"),
        format!("http://localhost:{tcp_port}/announce"),
        format!("http://0x7f.1:{tcp_port}/announce"),
        format!("http://2130706433:{tcp_port}/announce"),
        format!("http://[::ffff:127.0.0.1]:{tcp_port}/announce"),
        format!("udp://127.0.0.1:{udp_port}/announce"),
        format!("udp://localhost:{udp_port}/announce"),
    ];
    // Our own tracker is there for it by any of its names, without being asked over the network.
    let own = [format!("http://localhost:{}/announce", room.port), format!("http://127.0.0.1:{}/announce", room.port)];
    let tiers: String = urls.iter().chain(&own).map(|url| format!("l{}:{url}e", url.len())).collect();
    let info = "d6:lengthi1e4:name1:m12:piece lengthi16384e6:pieces20:12345678901234567890e";
    let metainfo = format!("d13:announce-listl{tiers}e4:info{info}e");
    let added = room.ask("POST /api/fetch", &format!("Accept: application/json\r\n{cookie}"), metainfo.as_bytes());
    assert_eq!(added.status, 200, "{}", added.text());
    let refused = || {
        let text = room.tracker.stderr();
        urls.iter().all(|url| text.lines().any(|line| line.contains(url.as_str()) && line.contains("this machine")))
    };
    // Every one of them had its turn.
    assert!(wait_until(crate::house::browser::PATIENCE, refused), "{}", room.tracker.stderr());
    assert!(
        own.iter().all(|url| !room.tracker.stderr().contains(&format!("tracker {url}"))),
        "{}",
        room.tracker.stderr()
    );
    assert!(!tcp.was_asked() && udp.recv(&mut [0; 16]).is_err(), "a program of this machine was asked");
    say("hostile http: seven spellings of a tracker on this machine, none asked");
}

/// The field with the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}
