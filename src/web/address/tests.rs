//! Names and addresses alone, and then as they come to a whole page on a real port.

use super::*;
use crate::{
    metainfo::Metainfo,
    web::tests::{Answer, Room, metainfo},
};

#[test]
fn only_a_plain_host_enters_a_url() {
    for good in ["a", "tracker.lan:5000", "192.168.1.5:5000", "[fd00::1]:5000", "[::1]", "my_pi"] {
        assert!(is_plain_host(good), "{good}");
    }
    for bad in ["", ":80", "a:", "a:0", "a:65536", "a:+5", "a/b", "a@b", "a b", "a?b", "a#b", "[x]", "a\"", "\u{e4}"] {
        assert!(!is_plain_host(bad), "{bad}");
    }
    assert!(!is_plain_host(&"a".repeat(MAX_HOST + 1)));
}

#[test]
fn the_own_machine_is_known_by_all_its_names() {
    for own in ["localhost", "LOCALHOST:5000", "a.localhost", "127.0.0.1:5000", "127.1.2.3", "[::1]:80", "0.0.0.0"] {
        assert!(is_loopback(own), "{own}");
    }
    for other in ["192.168.1.5:5000", "localhost.example", "[fd00::1]"] {
        assert!(!is_loopback(other), "{other}");
    }
}

#[test]
fn a_name_is_the_machines_own_alone_or_with_an_ending_that_nobody_owns() {
    for name in ["pi", "pi.local", "pi.lan", "pi.home.arpa"] {
        assert!(is_own_name(name, "Pi") && is_own_name(name, "pi.example.org"), "{name}");
    }
    assert!(is_own_name("pi.example.org", "pi.example.org"));
    for name in ["", "pie", "pi.example.org", "pi.evil.example", "local", ".local"] {
        assert!(!is_own_name(name, "pi") && !is_own_name(name, ""), "{name}");
    }
}

#[test]
fn the_rooms_address_is_the_first_that_another_machine_can_use() {
    let own: Vec<IpAddr> =
        ["127.0.0.1", "fe80::1", "9.9.9.9", "192.168.1.5", "fd00::1"].map(|ip| ip.parse().unwrap()).to_vec();
    assert_eq!(lan_address(&own), Some("9.9.9.9".parse().unwrap()));
    assert_eq!(all_urls(&own, 5000), ["http://9.9.9.9:5000", "http://192.168.1.5:5000", "http://[fd00::1]:5000"]);
    assert_eq!(lan_address(&own[..2]), None);
}

#[test]
fn an_origin_is_the_same_whichever_way_it_is_written() {
    let same = |a: &str, b: &str| UrlOrigin::parse(a).is_some() && UrlOrigin::parse(a) == UrlOrigin::parse(b);
    assert!(same("https://share.lab.example", "HTTPS://Share.Lab.Example.:443/page?a#b"));
    assert!(same("http://192.168.1.5:80", "http://192.168.1.5"));
    assert!(same("http://[FD00::1]:5000", "http://[fd00:0::1]:5000"));
    assert!(!same("http://a", "https://a") && !same("http://a", "http://a:8080") && !same("http://a:443", "https://a"));
    for none in ["null", "", "file://", "data:http://a", "http://", "http://a@b", "http://a:b", "http://a b"] {
        assert_eq!(UrlOrigin::parse(none), None, "{none}");
    }
}

#[test]
fn a_proxy_writes_an_address_with_or_without_its_port() {
    for (text, ip) in [
        (" 10.0.0.9", "10.0.0.9"),
        ("10.0.0.9:55", "10.0.0.9"),
        ("[fd00::9]:55", "fd00::9"),
        ("[fd00::9]", "fd00::9"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
    ] {
        assert_eq!(forwarded_address(text), Some(ip.parse().unwrap()), "{text}");
    }
    assert!(["", "unknown", "_hidden", "10.0.0"].iter().all(|text| forwarded_address(text).is_none()));
}

/// A room whose machine was told these names at its start.
fn room(public_url: Option<&str>, proxies: &[&str]) -> Room {
    let names = Names::new(public_url, proxies.iter().map(|ip| ip.parse().unwrap()).collect());
    Room::called(names, tempfile::tempdir().unwrap(), true, |_| Ok(()), |_| ())
}

/// The trackers of `NAME.json` and of `NAME.torrent`, which are the same.
fn trackers(room: &Room, name: &str, host: &str, fields: &str) -> Vec<String> {
    let forms = ["json", "torrent"].map(|form| {
        let answer = room.ask_for(host, &format!("GET /metainfos/{name}.{form}"), fields, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metainfo::read(&answer.body).unwrap().trackers().concat()
    });
    assert_eq!(forms[0], forms[1]);
    forms[0].clone()
}

/// This machine as another one would write it, where it has an address for others.
fn outside(room: &Room) -> String {
    let ip = lan_address(&own_addresses().unwrap()).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    SocketAddr::new(ip, room.port).to_string()
}

const FOREIGN: [&str; 6] =
    ["evil.example", "router:8080", "8.8.8.8", "127.0.0.1.evil.example", "pi.evil.example", "a b"];

#[test]
fn whoever_lists_a_file_first_the_page_names_its_own_tracker_first() {
    let room = room(None, &[]);
    let own = format!("http://{}/announce", outside(&room));
    let foreign = metainfo("f.bin", b"one").with_trackers(vec![
        vec!["http://evilname:1/announce".into(), format!("http://127.0.0.1:{}/announce", room.port)],
        vec![own.clone(), format!("udp://127.0.0.1:{}/announce", room.port), format!("UDP://{}", outside(&room))],
    ]);
    assert_eq!(room.ask_for("evilname:1", "POST /metainfos", "", &foreign.to_torrent()).status, 201);
    assert_eq!(trackers(&room, "f.bin", "localhost", ""), [&own[..], "http://evilname:1/announce"]);
    let honest = metainfo("f.bin", b"one").with_trackers(vec![vec![own.clone()]]);
    assert_eq!(room.ask("POST /metainfos", "", &honest.to_json()).status, 200);
    assert_eq!(trackers(&room, "f.bin", "localhost", "")[0], own);
}

#[test]
fn what_another_has_asked_for_stays_out_of_everybodys_metainfo() {
    let room = room(None, &[]);
    let own = format!("http://{}/announce", outside(&room));
    for (number, host) in ["router:8080", "router", "teachers-laptop:5000"].into_iter().enumerate() {
        let put = room.ask_for(host, &format!("PUT /uploads/{number}"), "", host.as_bytes());
        assert_eq!(put.status, 201, "{}", put.text());
        assert!(!put.text().contains(host), "{}", put.text());
        assert_eq!(trackers(&room, &number.to_string(), host, ""), [&own[..]]);
    }
    let stored = std::fs::read(room.folder.path().join("metainfos/0.torrent")).unwrap();
    assert!(Metainfo::read(&stored).unwrap().trackers().is_empty());
}

#[test]
fn a_metainfo_names_the_tracker_under_the_address_at_which_it_is_asked_for() {
    let room = room(None, &[]);
    room.put("a", b"content");
    let (port, outside, name) = (room.port, outside(&room), machine_name());
    let mut own = vec![outside.clone()];
    if is_plain_host(&name) && !is_loopback(&name) {
        own.extend([format!("{name}:{port}"), format!("{name}.local:{port}")]);
    }
    for host in &own {
        assert_eq!(trackers(&room, "a", host, ""), [format!("http://{host}/announce")]);
    }
    let others = FOREIGN.map(str::to_owned).into_iter();
    // Our own name, but another's port; and our own loopback, which is another machine elsewhere.
    let others = others.chain([outside.replace(&port.to_string(), "1"), name, format!("localhost:{port}")]);
    for host in others {
        assert_eq!(trackers(&room, "a", &host, ""), [format!("http://{outside}/announce")], "{host}");
    }
    let (one, other) = (&own[0], &FOREIGN[0]);
    let tag = |host: &str| room.ask_for(host, "GET /metainfos/a.json", "", b"").field("ETag").unwrap().to_owned();
    assert_eq!(tag(one), tag(other));
    let known = room.ask_for(one, "GET /metainfos/a.json", &format!("If-None-Match: {}\r\n", tag(one)), b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[test]
fn a_foreign_host_locks_no_client_out_and_lets_no_browser_in() {
    let room = room(None, &[]);
    room.put("a", b"content");
    let announce = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0000-abcdefghijkl&port=6881&left=1";
    let for_clients = [announce, &announce.replace("announce", "tracker"), "/scrape", "/metainfos/a.json"];
    for host in ["evil.example", "8.8.8.8", "tracker.school.example:5000"] {
        for path in for_clients {
            let ask = |fields| room.ask_for(host, &format!("GET {path}"), fields, b"").status;
            assert_eq!(ask(""), 200, "{path} as {host}");
            for browser in [
                "Accept-Language: de\r\n",
                "Accept-Language:\r\n",
                "Accept-Language: *\r\n",
                "Sec-Fetch-Site: same-origin\r\n",
            ] {
                assert_eq!(ask(browser), 421, "{path} as {host} with {browser}");
            }
            assert!([403, 421].contains(&ask(&format!("Origin: http://{host}\r\n"))), "{path} as {host}");
        }
        for path in ["/", "/metrics", "/api/state", "/api/files", "/uploads/a", "/api/openapi.json", "/qr.svg"] {
            let answer = room.ask_for(host, &format!("GET {path}"), "", b"");
            assert_eq!(answer.status, 421, "{path} as {host}: {}", answer.text());
        }
        assert_eq!(room.ask_for(host, "GET /healthz", "", b"").status, 200);
    }
    for host in ["localhost", "pi", "tracker:5000"] {
        for path in ["/", "/metrics"] {
            assert_eq!(room.ask_for(host, &format!("GET {path}"), "Accept-Language: de\r\n", b"").status, 200);
        }
    }
    assert_eq!(room.ask_for("share.lab.example", "GET /metrics", "", b"").status, 421);
    let named = self::room(Some("https://share.lab.example"), &[]);
    assert_eq!(named.ask_for("share.lab.example", "GET /metrics", "", b"").status, 200);
}

#[test]
fn behind_a_proxy_the_pages_own_upload_is_taken_whichever_host_the_proxy_sends() {
    let room = room(Some("https://share.lab.example/"), &[]);
    let mut number = 0;
    let mut put = |host: &str, origin: &str| {
        number += 1;
        let fields = format!("Origin: {origin}\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Host: evil.example\r\n");
        room.ask_for(host, &format!("PUT /uploads/{number}"), &fields, &[number]).status
    };
    let page = "https://share.lab.example";
    for host in ["127.0.0.1:5000", "share.lab.example:443", "share.lab.example", "SHARE.lab.example."] {
        for origin in [page, "HTTPS://SHARE.lab.example", "https://share.lab.example:443", "https://share.lab.example."]
        {
            assert_eq!(put(host, origin), 201, "{host} {origin}");
        }
    }
    let foreign = ["https://evil.example", "https://share.lab.example:444", "https://share.lab.example.evil.example"];
    for origin in foreign.into_iter().chain(["null", "https://share.lab.example@evil.example", "http://127.0.0.1"]) {
        assert_eq!(put("127.0.0.1:5000", origin), 403, "{origin}");
    }
}

#[test]
fn a_proxy_that_is_not_named_is_announced_past() {
    let elsewhere = room(Some("http://share.lab.example:8088"), &[]);
    elsewhere.put("a", b"content");
    let direct = format!("http://{}/announce", outside(&elsewhere));
    let public = "http://share.lab.example:8088/announce";
    for fields in ["X-Forwarded-For: 10.0.0.9\r\n", "Via: 1.1 x\r\n", ""] {
        for host in ["127.0.0.1:5000", "share.lab.example:8088"] {
            assert_eq!(trackers(&elsewhere, "a", host, fields), [&direct[..], public], "{host} {fields}");
        }
    }
    // One that is named tells who announces.
    let named = room(Some("http://share.lab.example:8088"), &["127.0.0.1"]);
    named.put("a", b"content");
    assert_eq!(trackers(&named, "a", "share.lab.example:8088", "X-Forwarded-For: 10.0.0.9\r\n"), [public]);
}

#[test]
fn forwarding_fields_count_from_a_named_proxy_alone() {
    let rows = |answer: &Answer| -> Vec<String> {
        let rows = answer.json()["rows"].as_array().unwrap().clone();
        rows.iter().filter_map(|row| row["address"].as_str().map(str::to_owned)).collect()
    };
    let announced = |room: &Room, fields: &str| {
        let hash = room.put("a", b"content").json()["info_hash"].as_str().unwrap().to_owned();
        let line = format!("GET /announce?info_hash={hash}&peer_id=-XX0000-abcdefghijkl&port=6999&left=1");
        assert_eq!(room.ask_for("localhost", &line, fields, b"").status, 200);
        rows(&room.get(&format!("/api/files/{hash}")))
    };
    let listed = |fields: &str| announced(&room(None, &["127.0.0.1", "10.0.0.1"]), fields);
    assert_eq!(listed("X-Forwarded-For: 10.0.0.9\r\n"), ["10.0.0.9:6999"]);
    // What the client itself wrote stands before what the proxies add.
    assert_eq!(listed("X-Forwarded-For: 6.6.6.6, 10.0.0.9, 10.0.0.1\r\n"), ["10.0.0.9:6999"]);
    assert_eq!(listed("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 10.0.0.9:1234\r\n"), ["10.0.0.9:6999"]);
    for unknown in ["Via: 1.1 x\r\n", "X-Real-IP: 10.0.0.9\r\n", "X-Forwarded-For: unknown\r\n"] {
        assert!(listed(unknown).is_empty(), "{unknown}");
    }
    for stranger in [room(None, &[]), room(None, &["10.0.0.1"])] {
        assert!(announced(&stranger, "X-Forwarded-For: 10.0.0.9\r\n").is_empty());
    }
}
