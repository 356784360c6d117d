//! One client and what it sends: framing, limits, refusals that it can read.

use super::*;

#[test]
fn requests_follow_each_other_on_one_connection_pipelined_or_not() {
    let street = Street::new(|_| ());
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n";
    let mut stream = street.say(&[request, chunked, request, chunked].concat());
    for expected in [b"hello", b"world", b"hello", b"world"] {
        assert_eq!(read_answer(&mut stream).1, expected);
    }
    stream.write_all(b"HEAD /file HTTP/1.1\r\nHost: a\r\n\r\nGET /file HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut head = vec![0; 4096];
    let count = stream.peek(&mut head).unwrap();
    let end = head[..count].windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    stream.read_exact(&mut head[..end]).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(read_answer(&mut stream).1.len(), LONG);
    stream.write_all(get("/panic").as_bytes()).unwrap();
    assert!(read_answer(&mut stream).0.starts_with("HTTP/1.1 500 "));
    street.is_alive();
    drop(stream);
    street.comes_to_rest();
}

#[test]
fn a_request_reads_the_same_at_every_split_point() {
    let street = Street::new(|_| ());
    let request = b"\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for split in 1..request.len() {
        let mut stream = street.connect();
        stream.write_all(&request[..split]).unwrap();
        stream.write_all(&request[split..]).unwrap();
        assert_eq!(read_answer(&mut stream).1, b"hello", "split at {split}");
    }
}

#[test]
fn a_huge_content_length_is_refused_or_left_unread_without_memory() {
    let street = Street::new(|_| ());
    for path in ["/healthz", "/echo", "/nothing"] {
        for length in ["65537", "100000000000", "18446744073709551615"] {
            let text = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            assert!(street.ask(&text).starts_with("HTTP/1.1 413 "), "{path} {length}");
        }
    }
    let text = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\nabc";
    let broken = street.say(text);
    broken.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = (&broken).read_to_string(&mut answer);
    assert!(answer.ends_with("the connection ended within the body\n"), "{answer}");
    street.is_alive();
    street.comes_to_rest();
}

#[test]
fn heads_and_lines_without_an_end_are_cut_off() {
    let street = Street::new(|_| ());
    let forever = "x".repeat(1024 * 1024);
    for (begin, status) in [
        ("GET /", "431"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: ", "431"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", "400"),
        ("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", "400"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n", "413"),
    ] {
        let answer = street.ask(&format!("{begin}{forever}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{begin:?}: {answer}");
    }
    // A line a moment would never end if every byte pushed the deadline.
    let mut drip = street.say("GET / HTTP/1.1\r\n");
    let start = Instant::now();
    while drip.write_all(b"A: b\r\n").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "a head may drip for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    street.is_alive();
    street.comes_to_rest();
}

#[test]
fn a_few_empty_lines_before_a_request_are_passed_over_and_many_are_not() {
    let street = Street::new(|_| ());
    for (lines, status) in [(0, "200"), (1, "200"), (4, "200"), (5, "400"), (8000, "400")] {
        let answer = street.ask(&("\r\n".repeat(lines) + &get("/healthz")));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines} lines: {answer}");
    }
}

#[test]
fn what_begins_like_no_request_is_refused_at_once() {
    let street = Street::new(|limits| limits.head_time = Duration::from_secs(60));
    for text in ["\u{16}\u{3}\u{1}\u{2}", " GET / HTTP/1.1\r\n", "\n\n", "\0", "{\"a\":1}"] {
        assert!(street.ask(text).starts_with("HTTP/1.1 400 "), "{text:?}");
    }
    street.comes_to_rest();
}

#[test]
fn bodies_framed_in_two_ways_are_refused() {
    let street = Street::new(|_| ());
    for fields in [
        "Content-Length: +5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\n folded: x",
        "Transfer-Encoding : chunked",
    ] {
        let text = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello");
        let answer = street.ask(&text);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    street.is_alive();
    street.comes_to_rest();
}

#[test]
fn a_client_that_asks_first_gets_its_yes_or_its_no() {
    let street = Street::new(|_| ());
    for path in ["/echo", "/upload"] {
        let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close";
        let mut stream = street.say(&format!("POST {path} HTTP/1.1\r\n{fields}\r\n\r\n"));
        let mut yes = [0; 25];
        stream.read_exact(&mut yes).unwrap();
        assert_eq!(&yes, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").unwrap();
        assert_eq!(read_answer(&mut stream).1, b"hello");
    }
    let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 99999999";
    assert!(street.ask(&format!("POST /echo HTTP/1.1\r\n{fields}\r\n\r\n")).starts_with("HTTP/1.1 413 "));
    street.comes_to_rest();
}

#[test]
fn a_refused_upload_reads_why_although_it_goes_on_sending() {
    let street = Street::new(|_| ());
    let mut stream = street.say("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n");
    let _ = stream.write_all(&vec![0; 4 * 1024 * 1024]);
    assert!(read_answer(&mut stream).0.starts_with("HTTP/1.1 413 "));
    drop(stream);
    street.comes_to_rest();
}

#[test]
fn a_small_page_is_there_at_once() {
    let street = Street::new(|_| ());
    let mut stream = street.connect();
    let mut times: Vec<_> = (0..51)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_answer(&mut stream);
            start.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[25] < Duration::from_millis(20), "the median is {:?}", times[25]);
}
