//! Pages of other sites that somebody in the room has open: what they make a browser send must change nothing here, and what
//! it gets they must not read (cross-site requests, DNS rebinding).

use super::room::Room;
use crate::house::say;

const METAINFO: &[u8] = b"d4:infod6:lengthi1e4:name1:m12:piece lengthi16384e6:pieces20:12345678901234567890ee";

const FORM: &[u8] = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ncontent\r\n--x--\r\n";

/// Each request that changes something.
const CHANGES: [(&str, &str, &[u8]); 3] = [
    ("POST /upload", "Content-Type: multipart/form-data; boundary=x\r\n", FORM),
    ("PUT /uploads/p", "", b"content"),
    ("POST /metainfos", "", METAINFO),
];

const ANNOUNCE: &str = "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-HO0001-bbbbbbbbbbbb&port=6881&left=1";

const SCRAPE: &str = "GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa";

#[test]
fn what_a_page_of_another_site_sends_changes_nothing() {
    let room = Room::open();
    let port = room.port;
    let foreign = [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Origin: file://\r\n".to_owned(),
        "Origin:\r\n".to_owned(),
        format!("Origin: http://127.0.0.1:{}\r\n", port ^ 1),
        "Origin: http://127.0.0.1\r\n".to_owned(),
        format!("Origin: http://127.0.0.1:{port}.evil.example\r\n"),
        format!("Origin: http://127.0.0.1:{port}@evil.example\r\n"),
        format!("Origin: http://localhost:{port}\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        format!("Sec-Fetch-Site: cross-site\r\nOrigin: http://127.0.0.1:{port}\r\n"),
        format!("Sec-Fetch-Site: same-site\r\nOrigin: http://127.0.0.1:{}\r\n", port ^ 1),
        "Referer: http://evil.example/page\r\n".to_owned(),
        format!("Referer: http://evil.example/http://127.0.0.1:{port}/\r\n"),
        format!("Referer: http://evil.example?http://127.0.0.1:{port}/\r\n"),
        format!("Referer: data:http://127.0.0.1:{port}/\r\n"),
        format!("Origin: http://evil.example\r\nReferer: http://127.0.0.1:{port}/\r\n"),
    ];
    let mut count = 0;
    for sender in &foreign {
        for (line, fields, body) in CHANGES {
            let answer = room.ask(line, &format!("{fields}{sender}"), body);
            assert_eq!(answer.status, 403, "{line} with {sender}: {}", answer.text());
            count += 1;
        }
        for line in [ANNOUNCE, &ANNOUNCE.replace("/announce", "/tracker"), SCRAPE] {
            assert_eq!(room.ask(line, sender, b"").status, 403, "{line} with {sender}");
        }
    }
    assert!(room.names().is_empty());
    assert!(room.get("/metrics").text().contains("minitorrent_peers 0"), "an image on a page lists whoever sees it");
    say(&format!("hostile http: {} requests of other sites' pages refused", count + foreign.len()));

    // A page of ours, and whoever is no browser.
    let own = [
        format!("Origin: http://127.0.0.1:{port}\r\n"),
        format!("Referer: http://127.0.0.1:{port}/\r\n"),
        format!(
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://127.0.0.1:{port}\r\nReferer: http://127.0.0.1:{port}/\r\n"
        ),
        String::new(),
    ];
    for sender in own {
        for (line, fields, body) in CHANGES {
            let answer = room.ask(line, &format!("{fields}{sender}"), body);
            assert!([200, 201].contains(&answer.status), "{line} with {sender}: {}", answer.text());
        }
        assert_eq!(room.ask(ANNOUNCE, &sender, b"").status, 200);
    }
}

/// What browsers send for an image, a navigation, a script's request on a page that keeps `Referer` back: over plain HTTP there is
/// no `Sec-Fetch-Site`, but the languages that their user reads are always there.
#[test]
fn what_a_browser_sends_without_saying_for_which_page_lists_nobody() {
    let room = Room::open();
    for fields in [
        "User-Agent: Mozilla/5.0\r\nAccept: image/avif,image/webp,*/*\r\nAccept-Language: en-US,en;q=0.9\r\n",
        "User-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Language: de\r\nAccept-Encoding: gzip, deflate\r\n",
        "User-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Language: *\r\n",
        "Accept: text/html\r\nUpgrade-Insecure-Requests: 1\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        "Sec-Fetch-Dest: image\r\n",
        "Sec-Purpose: prefetch\r\n",
    ] {
        for line in [ANNOUNCE, &ANNOUNCE.replace("/announce", "/tracker"), SCRAPE] {
            let answer = room.ask(line, fields, b"");
            assert_eq!(answer.status, 403, "{line} with {fields}: {}", answer.text());
        }
    }
    assert!(room.get("/metrics").text().contains("minitorrent_peers 0"), "somebody was listed");

    // What clients send: aria2 1.36, libtorrent 2.0, Transmission 3.00 (libcurl), rqbit 9 (reqwest), WebTorrent in Node, Python, Go.
    for fields in [
        "User-Agent: aria2/1.36.0\r\nAccept: */*\r\n",
        "User-Agent: aria2/1.36.0\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n",
        "User-Agent: libtorrent/2.0.13.0\r\nAccept-Encoding: gzip\r\n",
        "User-Agent: Transmission/3.00\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n",
        "Accept: */*\r\nAccept-Encoding: gzip\r\n",
        "User-Agent: node\r\nAccept: */*\r\nAccept-Language: *\r\nSec-Fetch-Mode: cors\r\nAccept-Encoding: br, gzip, deflate\r\n",
        "User-Agent: python-requests/2.32\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n",
        "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
    ] {
        let answer = room.ask(ANNOUNCE, fields, b"");
        assert!(answer.body.starts_with(b"d8:complete"), "{fields}: {}", answer.text());
        assert_eq!(room.ask(SCRAPE, fields, b"").status, 200, "{fields}");
    }
}

#[test]
fn no_page_of_another_site_embeds_anything_and_no_upload_is_a_script() {
    let room = Room::open();
    for name in ["a.js", "a.mjs", "a.css", "a.html", "a.svg", "a.json", "a.xml", "a.xhtml", "a.txt", "a"] {
        assert_eq!(room.put(name, b"document.title = 'mine'").status, 201);
        let answer = room.get(&format!("/uploads/{name}"));
        assert!(answer.head.contains("Content-Type: application/octet-stream\r\n"), "{name}: {}", answer.head);
        assert!(answer.head.contains("Content-Disposition: attachment"), "{name}: {}", answer.head);
    }
    room.put("a.png", b"image");
    assert!(room.get("/uploads/a.png").head.contains("Content-Type: image/png\r\n"));
    let announce = ANNOUNCE.strip_prefix("GET ").unwrap();
    for path in [
        "/",
        "/uploads/a.js",
        "/uploads/a.png",
        "/uploads/none",
        "/metainfos/a.js.json",
        "/metainfos/a.js.torrent",
        "/static/main.js",
        "/static/icon.svg",
        "/api/state",
        "/api/files",
        "/api/openapi.json",
        "/metrics",
        "/healthz",
        "/scrape",
        "/nothing",
        announce,
        "/qr.svg?text=x",
    ] {
        let head = room.get(path).head;
        assert!(head.contains("Cross-Origin-Resource-Policy: same-origin\r\n"), "{path}: {head}");
        assert!(head.contains("X-Content-Type-Options: nosniff\r\n"), "{path}: {head}");
        assert!(!head.contains("Access-Control-"), "{path}: {head}");
    }
}

#[test]
fn a_name_that_somebody_else_gave_this_machine_shows_him_nothing() {
    let room = Room::open();
    let port = room.port;
    let evil = [
        "evil.example",
        "EVIL.example.",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "1.evil.example",
        "a b",
        "[evil]",
        "8.8.8.8",
        "192.0.2.1",
    ];
    let mut count = 0;
    for name in evil {
        for host in [name.to_owned(), format!("{name}:{port}")] {
            // To the browser such a page is of the same origin, so it says what our own would say.
            let sender = format!("Host: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
            for (line, fields, body) in CHANGES {
                let answer = room.ask(line, &format!("{fields}{sender}"), body);
                assert_eq!(answer.status, 421, "{line} as {host}: {}", answer.text());
                count += 1;
            }
            for path in ["/", "/api/files"] {
                assert_eq!(room.ask(&format!("GET {path}"), &sender, b"").status, 421, "{path} as {host}");
                count += 1;
            }
        }
    }
    assert!(room.names().is_empty());
    say(&format!("hostile http: {count} requests under a name that is not ours refused"));

    for host in
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), format!("pi:{port}")]
    {
        let answer = room.ask("GET /", &format!("Host: {host}\r\n"), b"");
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
    }
    // Clients announce by whatever name their metainfo has.
    for name in evil {
        let answer = room.ask(ANNOUNCE, &format!("Host: {name}\r\n"), b"");
        assert!(answer.body.starts_with(b"d8:complete"), "{name}: {}", answer.text());
    }
}
