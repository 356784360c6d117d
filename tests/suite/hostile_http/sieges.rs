//! Every way to keep a web server busy, with an announce beside it that must not notice.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::herd::Attack;
use super::room::Room;
use super::siege::siege;

const NO_PAUSE: Duration = Duration::ZERO;
const A_MOMENT: Duration = Duration::from_millis(50);

/// Longer than what the kernel buffers of one connection on loopback.
const LARGE: usize = 32 * 1024 * 1024;

#[test]
fn heads_without_end_keep_nobody_waiting() {
    let room = Room::open();
    let begun = "GET / HTTP/1.1\r\nHost: a\r\n";
    let one = |name, attack: Attack| siege(&room, name, &attack);
    one("slow heads", Attack::new(800, begun).then("X", A_MOMENT));
    one("slow heads, the honest one's address", Attack::new(800, begun).then("X", A_MOMENT).from(0));
    one("a thousand idle connections", Attack::new(1000, ""));
    one("endless header fields", Attack::new(100, begun).then("A: b\r\n".repeat(1000), NO_PAUSE));
    one("one endless header field", Attack::new(100, begun).then("X".repeat(8000), NO_PAUSE));
    one("an endless target", Attack::new(100, "GET /").then("X".repeat(8000), NO_PAUSE));
    one("empty lines without end", Attack::new(100, "").then("\r\n".repeat(8000), NO_PAUSE));
}

#[test]
fn what_is_no_http_keeps_nobody_waiting() {
    let room = Room::open();
    let one = |name, attack: Attack| siege(&room, name, &attack);
    let hello = [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[7; 505]].concat();
    one("TLS hellos", Attack::new(300, hello));
    one("HTTP/2 prefaces", Attack::new(300, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").then([0; 9], A_MOMENT));
    one("HTTP/0.9", Attack::new(300, "GET /\r\n"));
    one("noise", Attack::new(100, [0xff; 4096]).then([0xff; 4096], NO_PAUSE));
    let upgrade = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    one("websocket upgrades", Attack::new(300, upgrade).then([0x81, 0x85, 0, 0, 0, 0, 1, 2, 3, 4, 5], A_MOMENT));
}

#[test]
fn bodies_without_end_keep_nobody_waiting() {
    let room = Room::open();
    let one = |name, attack: Attack| siege(&room, name, &attack);
    let post = |path: &str, framing: &str| format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n");
    let form = |framing: &str| post("/upload", &format!("Content-Type: multipart/form-data; boundary=x\r\n{framing}"));
    let (long, chunked) = ("Content-Length: 60000", "Transfer-Encoding: chunked");
    one("slow bodies, read whole", Attack::new(300, post("/announce", long)).then("X", A_MOMENT));
    one("slow bodies, read as they come", Attack::new(300, form(long)).then("X", A_MOMENT));
    one("slow bodies, the honest one's address", Attack::new(300, form(long)).then("X", A_MOMENT).from(0));
    one("chunks of one byte", Attack::new(100, post("/announce", chunked)).then("1\r\nX\r\n".repeat(1000), NO_PAUSE));
    let extended = format!("1;{}\r\nX\r\n", "e".repeat(250)).repeat(30);
    one("chunks with long extensions", Attack::new(100, post("/announce", chunked)).then(extended, NO_PAUSE));
    let lines = "1;".to_owned() + &"e".repeat(8000);
    one("a chunk size without end", Attack::new(100, form(chunked)).then(lines, NO_PAUSE));
    one("trailers without end", Attack::new(100, form(chunked) + "0\r\n").then("A: b\r\n".repeat(1000), NO_PAUSE));
    let preamble = "1000\r\n".to_owned() + &"x".repeat(4096) + "\r\n";
    one("a form that never begins", Attack::new(40, form(chunked)).then(preamble, NO_PAUSE));
    let metainfo = "1000\r\n".to_owned() + &"1".repeat(4096) + "\r\n";
    one("metainfos without end", Attack::new(40, post("/metainfos", chunked)).then(metainfo, NO_PAUSE));
}

#[test]
fn uploads_that_never_end_keep_nobody_waiting() {
    let room = Room::open();
    let put = "PUT /uploads/a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    siege(&room, "uploads of one name without end", &Attack::new(60, put).then(chunk(1000), A_MOMENT));
    let form = "POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: multipart/form-data; boundary=x\r\n\r\n";
    let field = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let opening = format!("{form}{:x}\r\n{field}\r\n", field.len());
    siege(&room, "forms with a file without end", &Attack::new(60, opening).then(chunk(10_000), A_MOMENT));
}

#[test]
fn downloads_keep_nobody_waiting() {
    let room = Room::open();
    assert_eq!(room.put("large.bin", &vec![7; LARGE]).status, 201);
    let get = |fields: &str| format!("GET /uploads/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n");
    let one = |name, attack: Attack| siege(&room, name, &attack);
    one("readers that never read", Attack::new(100, get("")));
    one("readers that never read, many times over", Attack::new(40, get("").repeat(100)));
    let many: String = (0..3000).map(|number| format!("{number}-,")).collect::<String>() + "0-";
    let ranges = format!("Range: bytes={}\r\n", &many[..15_000]);
    one("thousands of ranges", Attack::new(60, get(&ranges)).then(get(&ranges), NO_PAUSE));
    let one_byte = get("Range: bytes=0-0\r\n").repeat(50);
    one("one byte at a time", Attack::new(60, one_byte.clone()).then(one_byte, NO_PAUSE).reading());
    let asks = get("If-None-Match: *\r\n").repeat(50);
    one("whether it has changed", Attack::new(60, asks.clone()).then(asks, NO_PAUSE).reading());
}

#[test]
fn requests_without_end_keep_nobody_waiting() {
    let room = Room::open();
    let one = |name, attack: Attack| siege(&room, name, &attack);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let announce = get("/announce?info_hash=cccccccccccccccccccc&peer_id=-AT0001-bbbbbbbbbbbb&port=7000&left=1");
    let many = announce.repeat(100);
    one("pipelined announces", Attack::new(200, many.clone()).then(many.clone(), NO_PAUSE).reading());
    one("pipelined announces that nobody reads", Attack::new(200, many.clone()).then(many, NO_PAUSE));
    let hashes: String = (0..74).map(|number| format!("&info_hash={number:020}")).collect();
    let scrapes = get(&format!("/scrape?{}", &hashes[1..])).repeat(20);
    one("pipelined scrapes", Attack::new(200, scrapes.clone()).then(scrapes, NO_PAUSE).reading());
    let closing = announce.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    one("a connection for each announce", Attack::new(300, closing).reading());
    one("half a request, kept alive", Attack::new(300, get("/healthz")).then("GET /h", A_MOMENT).reading());
    one("connections that end at once", Attack::new(300, "GET / HTTP/9.9\r\n\r\n").reading());
}

#[test]
fn pages_of_a_long_list_keep_nobody_waiting() {
    let room = Room::open();
    for number in 0..200 {
        let metainfo = format!(
            "d4:infod6:lengthi1e4:name{}:{}{number}12:piece lengthi16384e6:pieces20:{number:020}ee",
            100 + number.to_string().len(),
            "n".repeat(100),
        );
        let from = Ipv4Addr::new(127, 0, 1, 1 + (number / 20) as u8);
        assert_eq!(room.ask_from(from, "POST /metainfos", "", metainfo.as_bytes()).status, 201);
    }
    for path in ["/", "/api/files", "/metrics"] {
        let pages = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").repeat(20);
        let attack = Attack::new(300, pages.clone()).then(pages, NO_PAUSE);
        siege(&room, &format!("GET {path} without end"), &attack.clone().reading());
        siege(&room, &format!("GET {path} that nobody reads"), &attack);
    }
}
