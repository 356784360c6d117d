//! Requests that two readers would read in two ways (RFC 9112, section 11.2): each is refused once, and what it hides is
//! never answered.

use super::room::Room;
use crate::house::say;

/// The request that each of these hides. Nothing is there, so an answer to it would be a 404.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// Holds that these bytes get one answer, of one of these statuses, and the hidden request none.
fn refused(room: &Room, bytes: &[u8], statuses: &str) {
    let answer = String::from_utf8_lossy(&room.exchange(bytes)).into_owned();
    let said = &bytes[..bytes.len().min(300)].escape_ascii();
    let is_it = |status: &str| answer.starts_with(&format!("HTTP/1.1 {status} "));
    assert!(statuses.split(' ').any(is_it), "{said}: {answer}");
    assert_eq!(statuses_of(&answer).len(), 1, "{said} was answered twice: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{said}: {answer}");
}

/// The status of every answer. The sentences of some name a version, but no status behind it.
fn statuses_of(answers: &str) -> Vec<&str> {
    let behind =
        answers.match_indices("HTTP/1.1 ").filter_map(|(at, version)| answers.get(at + version.len()..)?.get(..3));
    behind.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

#[test]
fn a_body_whose_length_is_told_in_an_odd_way_is_refused() {
    let room = Room::open();
    let lengths = [
        "+5",
        "-5",
        "0x5",
        "5,5",
        "5, 5",
        "5 5",
        "5\t5",
        "5;",
        "5.0",
        "1e1",
        "",
        " ",
        "\u{665}",
        "five",
        "5\u{a0}",
        "'5'",
        "\"5\"",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "5\r\nContent-Length: 5",
        "5\r\nContent-Length: 6",
        "6\r\nContent-Length: 5",
        "5\r\ncontent-length:5",
        "5\r\nTransfer-Encoding: chunked",
        "0\r\nTransfer-Encoding: chunked",
        "5\r\nTransfer-Encoding: identity",
        "5\r\nTransfer-Encoding:",
        "5\r\n Content-Length: 0",
        "5\r\nContent-Length : 0",
        "5\r\nContent-Length\t: 0",
        "5\r\n\u{b}Content-Length: 0",
        "5\nContent-Length: 0",
        "5\rContent-Length: 0",
        "5\0",
    ];
    let encodings = [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;q=1",
        "xchunked",
        "chunkedx",
        "chunke",
        "\"chunked\"",
        "identity",
        "",
        ",",
        "chunked,",
        "\u{b}chunked",
        "chunked\u{b}",
        "chun ked",
        "chunked\0",
        "cow\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: cow",
        "chunked\r\nTransfer-Encoding: chunked",
        "\r\n chunked",
        "chunked\r\n x",
        "chunked\nX: y",
        "chunked\rX: y",
        "chunked\r\nContent-Length: 4",
        "chunked\r\nContent-Length: 0",
        "chunked\r\nTransfer-Encoding : x",
    ];
    let fields = lengths.map(|value| format!("Content-Length: {value}"));
    let fields = fields.into_iter().chain(encodings.map(|value| format!("Transfer-Encoding: {value}")));
    let mut count = 0;
    for field in fields {
        for target in ["/announce", "/metainfos"] {
            let head = format!("POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{field}\r\n\r\n");
            for body in ["0\r\n\r\n", "hello", ""] {
                refused(&room, format!("{head}{body}{HIDDEN}").as_bytes(), "400");
                count += 1;
            }
        }
    }
    let old = format!("POST /metainfos HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    refused(&room, old.as_bytes(), "400");
    say(&format!("hostile http: {} odd framings refused, none answered twice", count + 1));
}

#[test]
fn chunks_that_are_none_are_refused() {
    let room = Room::open();
    let bodies: Vec<Vec<u8>> = [
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "g\r\n",
        "\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a=\"\nb\"\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "0\r\r\n",
    ]
    .map(|body| body.as_bytes().to_vec())
    .into();
    let endless = ["5;", "0\r\n", "0\r\nX: "].map(|begin| [begin.as_bytes(), &[b'x'; 20_000]].concat());
    let mut count = 0;
    for body in bodies.iter().chain(&endless) {
        for target in ["/announce", "/metainfos", "/uploads/a"] {
            let method = if target == "/uploads/a" { "PUT" } else { "POST" };
            let head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n");
            // What is not to be had there is refused before its body is read, and the connection ends with that.
            let status = if target == "/announce" { "405" } else { "400" };
            refused(&room, &[head.as_bytes(), body, HIDDEN.as_bytes()].concat(), status);
            count += 1;
        }
    }
    assert!(room.names().is_empty());
    say(&format!("hostile http: {count} odd chunks refused, none answered twice"));
}

#[test]
fn heads_that_two_would_read_differently_are_refused() {
    let room = Room::open();
    let get = |fields: &str| format!("GET /healthz HTTP/1.1\r\n{fields}\r\n");
    let host = "Host: 127.0.0.1\r\n";
    let heads = [
        // Line ends, folded lines, and bytes that end a line or a string elsewhere.
        (get(host).replace("\r\n", "\n"), "400"),
        (get(host).replace("\r\n", "\r"), "400"),
        (get("Host: 127.0.0.1\nX: y\r\n"), "400"),
        (get("Host: 127.0.0.1\rX: y\r\n"), "400"),
        (get("Host: 127.0.0.1\r\n X: y\r\n"), "400"),
        (get("Host: 127.0.0.1\r\n\tX: y\r\n"), "400"),
        (get(" Host: 127.0.0.1\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX: a\0b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX\0: b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX : b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX\t: b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX y: b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\n: b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX\u{e4}: b\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nX: \u{7f}\r\n"), "400"),
        // No host, two, and targets that are no path and no URL of one.
        (get(""), "400"),
        (get("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"), "400"),
        (get("Host: 127.0.0.1\r\nhost: other\r\n"), "400"),
        (format!("GET http://user@other/healthz HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("GET ftp://127.0.0.1/healthz HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("GET //other/healthz HTTP/1.1\r\n{host}\r\n"), "404"),
        (format!("CONNECT other:80 HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), "400"),
        // Request lines and versions.
        (format!("GET  /healthz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /healthz  HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET\t/healthz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /heal thz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /healthz\0 HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /healthz HTTP/1.1 \r\n{host}\r\n"), "400 505"),
        (format!(" GET /healthz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("G\u{e4}T /healthz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET healthz HTTP/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /healthz http/1.1\r\n{host}\r\n"), "400 505"),
        (format!("GET /healthz HTTP/2.0\r\n{host}\r\n"), "505"),
        (format!("GET /healthz HTTP/1.2\r\n{host}\r\n"), "505"),
        (format!("GET /healthz HTTP/0.9\r\n{host}\r\n"), "505"),
        (format!("GET /healthz\r\n{host}\r\n"), "400 505"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505"),
        // Other protocols.
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{7c}\u{3}\u{3}".to_owned(), "400"),
        ("\u{13}BitTorrent protocol\0\0\0\0\0\0\0\0".to_owned(), "400"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), "400 505"),
        ("{\"jsonrpc\":\"2.0\"}\n\n".to_owned(), "400"),
        // Size.
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(10_000)), "414"),
        (get(&format!("{host}X: {}\r\n", "x".repeat(20_000))), "431"),
        (get(&(host.to_owned() + &"X: y\r\n".repeat(100))), "431"),
        (get(&format!("{host}Expect: a miracle\r\n")), "417"),
    ];
    for (head, statuses) in &heads {
        // A bare reading of the head would end here, and take the next as a request.
        let hidden = if *statuses == "404" { "" } else { HIDDEN };
        if hidden.is_empty() {
            assert_eq!(room.exchange(head.as_bytes())[9..12], *b"404");
        } else {
            refused(&room, format!("{head}{hidden}").as_bytes(), statuses);
        }
    }
    say(&format!("hostile http: {} odd heads refused, none answered twice", heads.len()));
}

#[test]
fn what_is_framed_well_is_answered_as_often_as_it_was_asked() {
    let room = Room::open();
    let host = "Host: 127.0.0.1";
    let ok = format!("GET /healthz HTTP/1.1\r\n{host}\r\n\r\n");
    for (bytes, statuses) in [
        (ok.repeat(50), vec!["200"; 50]),
        // What is more than the length says is the next request, and what is less is no request at all.
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\n\r\nhello{ok}"), vec!["200"; 2]),
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\n\r\nhell"), vec![]),
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 4\r\n\r\nhello\0{ok}"), vec!["200", "400"]),
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 8192\r\n\r\n{ok}"), vec![]),
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 8193\r\n\r\n{ok}"), vec!["413"]),
        (
            format!("GET /healthz HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n{ok}"),
            vec!["200"; 2],
        ),
        (format!("GET /healthz HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n{ok}"), vec!["200"]),
        (format!("GET /healthz HTTP/1.0\r\n\r\n{ok}"), vec!["200"]),
        (format!("GET / HTTP/1.1\r\n{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{ok}"), vec!["200"; 2]),
        (
            format!("GET / HTTP/1.1\r\n{host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n{ok}"),
            vec!["200"; 2],
        ),
    ] {
        let answer = String::from_utf8_lossy(&room.exchange(bytes.as_bytes())).into_owned();
        assert_eq!(statuses_of(&answer), statuses, "{}: {answer}", bytes.escape_debug());
    }
}
