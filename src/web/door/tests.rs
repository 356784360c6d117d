//! Each fault that keeps tiny_http's own listener out of the street, played against a whole door on a real port.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Answers a few paths in the simplest way.
struct Bench {
    file: File,
}

/// Longer than what the kernel buffers of one connection on loopback.
const LONG: usize = 12 * 1024 * 1024;

impl Service for Bench {
    fn intake(&self, head: &Head) -> Intake {
        match head.path() {
            "/upload" => Intake::Stream,
            "/healthz" | "/slow-quick" => Intake::Quick,
            _ => Intake::Whole,
        }
    }

    fn answer(&self, request: &mut Request<'_>) -> Reply {
        match request.path() {
            "/healthz" => Reply::text(200, "ok"),
            "/long" => Reply::new(200, "text/plain", vec![b'x'; LONG]),
            "/file" => {
                let file = self.file.try_clone().unwrap();
                Reply::with_content(200, "text/plain", Content::File { file, offset: 0, length: LONG as u64 })
            }
            "/echo" | "/upload" => {
                let mut bytes = Vec::new();
                match request.body.read_to_end(&mut bytes) {
                    Ok(_) => Reply::new(200, "text/plain", bytes),
                    Err(error) => Reply::text(400, error),
                }
            }
            "/slow" | "/slow-quick" => {
                std::thread::sleep(Duration::from_millis(50));
                Reply::text(200, "at last")
            }
            "/stream" => {
                let feed = Talk { message: vec![b'x'; 16].into() };
                Reply::with_content(200, "text/plain", Content::Stream(Box::new(feed)))
            }
            "/flood" => {
                let feed = Talk { message: vec![b'x'; LONG].into() };
                Reply::with_content(200, "text/plain", Content::Stream(Box::new(feed)))
            }
            "/refuse" => Reply::text(507, "no room"),
            "/panic" => panic!("on purpose"),
            _ => Reply::text(404, "nothing here"),
        }
    }
}

/// Says the same again and again.
#[derive(Debug)]
struct Talk {
    message: Arc<[u8]>,
}

impl Feed for Talk {
    fn news(&mut self, _: Instant) -> Option<Arc<[u8]>> {
        Some(Arc::clone(&self.message))
    }
}

/// A door on a port of its own, with deadlines short enough for a test.
struct Street {
    door: Door,
    port: u16,
}

impl Street {
    fn new(adapt: impl FnOnce(&mut Limits)) -> Street {
        let mut limits = Limits::for_descriptors(20_000);
        limits.connections_per_address = limits.connections;
        limits.head_time = Duration::from_millis(500);
        limits.idle_time = Duration::from_millis(500);
        limits.grace = Duration::from_millis(500);
        adapt(&mut limits);
        let file = tempfile::tempfile().unwrap();
        file.set_len(LONG as u64).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Street { door: Door::open(listener, limits, Arc::new(Bench { file })).unwrap(), port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// A connection on which `text` was sent.
    fn say(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// All that comes back for `text` until the door closes.
    fn ask(&self, text: &str) -> String {
        let mut answer = Vec::new();
        // A reset behind the answer is an end as well.
        let _ = self.say(text).read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn is_alive(&self) {
        let start = Instant::now();
        assert!(self.ask(&get("/healthz")).ends_with("\r\n\r\nok\n"));
        assert!(start.elapsed() < Duration::from_secs(1), "answered only after {:?}", start.elapsed());
    }

    /// Waits until every connection and transfer is gone.
    fn comes_to_rest(&self) {
        let nothing = Stats::default();
        wait_until(|| self.door.stats() == nothing, &format!("{:?} is left", self.door));
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

fn wait_until(mut holds: impl FnMut() -> bool, otherwise: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One answer off a connection that stays open: its head and as many bytes as that says.
fn read_answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

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
fn bodies_that_are_announced_and_never_sent_hold_nobody_up() {
    for (count, path) in [(4, "/echo"), (200, "/echo"), (4, "/upload"), (200, "/upload")] {
        let street = Street::new(|_| ());
        let text = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let mut silent: Vec<_> = (0..count).map(|_| street.say(&text)).collect();
        street.is_alive();
        wait_until(|| street.door.stats().transfers == 0, "a transfer waits for ever");
        // The last ones met the caps on transfers and were told so; the others ran out of time.
        let mut answer = String::new();
        let _ = silent.pop().unwrap().read_to_string(&mut answer);
        let told = answer.starts_with("HTTP/1.1 503 ") || answer.starts_with("HTTP/1.1 400 ") || answer.is_empty();
        assert!(told, "{answer}");
        drop(silent);
        street.comes_to_rest();
    }
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    for (count, path) in [(4, "/long"), (10, "/long"), (4, "/file"), (40, "/file")] {
        let street = Street::new(|_| ());
        let deaf: Vec<_> = (0..count).map(|_| street.say(&get(path))).collect();
        street.is_alive();
        street.comes_to_rest();
        drop(deaf);
    }
}

#[test]
fn answers_that_are_taken_late_arrive_whole() {
    let street = Street::new(|limits| limits.grace = Duration::from_secs(60));
    for _ in 0..3 {
        // More in all than may lie in memory at once, one after the other.
        let mut late = street.say(&get("/long"));
        wait_until(|| late.peek(&mut [0; 1]).unwrap() == 1, "no answer begins");
        street.is_alive();
        assert_eq!(read_answer(&mut late).1.len(), LONG);
    }
    let late: Vec<_> = (0..4).map(|_| street.say(&get("/long"))).collect();
    wait_until(|| street.door.stats().connections == 1, "answers pile up in memory");
    drop(late);
    street.comes_to_rest();
}

#[test]
fn connections_kept_open_and_opened_at_once_are_all_answered() {
    let street = Street::new(|_| ());
    let mut streams: Vec<_> = (0..5).map(|_| street.connect()).collect();
    for _ in 0..20 {
        for stream in &mut streams {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            assert_eq!(read_answer(stream).1, b"ok\n");
        }
    }
    drop(streams);
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
fn who_sends_without_end_has_no_more_than_its_turn() {
    let street = Street::new(|_| ());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for text in ["\r\n".repeat(8000), "A: b\r\n".repeat(3000), "\u{ff}".repeat(8000)] {
            let (street, stop) = (&street, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = street.say("GET / HTTP/1.1\r\nA: b\r\n");
                    while !stop.load(Ordering::Relaxed) && stream.write_all(text.as_bytes()).is_ok() {}
                }
            });
        }
        let alive = catch_unwind(AssertUnwindSafe(|| (0..100).for_each(|_| street.is_alive())));
        stop.store(true, Ordering::Relaxed);
        alive.unwrap();
    });
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
fn neither_kind_of_request_waits_for_a_crowd_of_the_other() {
    for (crowded, other) in [("/slow", "/healthz"), ("/slow-quick", "/echo")] {
        let street = Street::new(|limits| limits.handlers = 2);
        // 40 answers of 50 ms each, by two handlers, of which one looks after the others first.
        let waiting: Vec<_> = (0..40).map(|_| street.say(&get(crowded))).collect();
        let start = Instant::now();
        assert!(street.ask(&get(other)).starts_with("HTTP/1.1 200 "));
        assert!(start.elapsed() < Duration::from_millis(500), "{other} waited {:?} for {crowded}", start.elapsed());
        drop(waiting);
        street.comes_to_rest();
    }
}

#[test]
fn a_thousand_idle_connections_cost_no_thread_and_make_room_for_new_ones() {
    let street = Street::new(|limits| {
        limits.connections = 600;
        limits.head_time = Duration::from_secs(60);
    });
    let idle: Vec<_> = (0..1000).map(|_| street.connect()).collect();
    street.is_alive();
    assert!(street.door.stats().connections <= 600);
    assert_eq!(street.door.stats().transfers, 0);
    // The one that has waited longest was closed, the newest was not.
    let mut byte = [0];
    assert_eq!((&idle[0]).read(&mut byte).unwrap_or(0), 0);
    let mut newest = idle.last().unwrap();
    newest.write_all(get("/healthz").as_bytes()).unwrap();
    assert_eq!(newest.read(&mut byte).unwrap(), 1);
    drop(idle);
    street.comes_to_rest();
}

#[test]
fn one_address_cannot_take_the_places_of_others() {
    let street = Street::new(|limits| limits.connections_per_address = 10);
    let many: Vec<_> = (0..50).map(|_| street.connect()).collect();
    wait_until(|| street.door.stats().connections == 10, "the cap for one address does not hold");
    street.is_alive();
    drop(many);
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

#[test]
fn a_door_that_stops_ends_everything_within_a_second_and_a_half() {
    let mut street = Street::new(|limits| limits.grace = Duration::from_secs(60));
    let upload = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let _busy = [street.say(upload), street.say(&get("/file")), street.say(&get("/long")), street.connect()];
    wait_until(
        || street.door.stats() == Stats { connections: 4, transfers: 2, streams: 0 },
        "the clients were not taken in",
    );
    let start = Instant::now();
    street.door.stop();
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!(street.door.stats(), Stats::default());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, street.port)).is_err());
}

/// Runs the test below in a process of its own, because it takes all descriptors away.
#[test]
fn running_out_of_descriptors_ends_nothing() {
    let test = "web::door::tests::descriptors_run_out_and_come_back";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "started by running_out_of_descriptors_ends_nothing, in a process of its own"]
fn descriptors_run_out_and_come_back() {
    let street = Street::new(|limits| limits.head_time = Duration::from_secs(60));
    let open =
        || [std::fs::read_dir("/proc/self/fd"), std::fs::read_dir("/proc/self/task")].map(|dir| dir.unwrap().count());
    let at_first = open();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    // Each connection takes two; the clients' ends are made first, so the door finds none for the last of its own.
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, street.port)) {
        clients.push(stream);
    }
    assert!(clients.len() > 20, "only {} clients", clients.len());
    drop(clients);
    street.comes_to_rest();
    street.is_alive();
    let busy = ["/file", "/file", "/long"].map(|path| street.say(&get(path)));
    wait_until(|| street.door.stats().transfers == 2, "no download begins");
    drop(busy);
    street.comes_to_rest();
    wait_until(|| open() == at_first, "descriptors or threads are left");
}

#[test]
fn streams_go_on_without_a_thread_each_and_are_capped() {
    let street = Street::new(|limits| (limits.streams, limits.streams_per_address) = (9, 3));
    let mut streams = [(); 3].map(|()| street.say(&get("/stream")));
    for stream in &mut streams {
        let mut bytes = [0; 1024];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200 ") && bytes.ends_with(b"xxxx"));
    }
    assert_eq!(street.door.stats(), Stats { connections: 3, transfers: 0, streams: 3 });
    let refused = street.ask(&get("/stream"));
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    let [first, ..] = streams;
    drop(first);
    wait_until(|| street.door.stats().streams == 2, "a stream outlives its client");
    let mut again = street.say(&get("/stream"));
    again.read_exact(&mut [0; 1024]).unwrap();
    street.is_alive();
}

#[test]
fn a_stream_that_nobody_reads_is_closed_and_holds_up_no_other() {
    let street = Street::new(|_| ());
    let unread = street.say(&get("/flood"));
    wait_until(|| street.door.stats().streams == 1, "the stream has not begun");
    let mut read = street.say(&get("/stream"));
    let start = Instant::now();
    read.read_exact(&mut [0; 1024]).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    wait_until(|| street.door.stats().streams == 1, "what nobody reads is still open");
    read.read_exact(&mut [0; 64]).unwrap();
    drop((read, unread));
    street.comes_to_rest();
}
