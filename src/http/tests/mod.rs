//! Each fault that keeps tiny_http's own listener out of the street, played against a whole door on a real port.

mod crowds;
mod requests;

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

impl HttpService for Bench {
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
                Reply::with_content(200, "text/plain", ReplyContent::File { file, offset: 0, length: LONG as u64 })
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
                Reply::with_content(200, "text/plain", ReplyContent::Stream(Box::new(feed)))
            }
            "/versions" => Reply::with_content(200, "text/plain", ReplyContent::Stream(Box::new(Versions))),
            "/flood" => {
                let feed = Talk { message: vec![b'x'; LONG].into() };
                Reply::with_content(200, "text/plain", ReplyContent::Stream(Box::new(feed)))
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

/// Says something else each time.
#[derive(Debug)]
struct Versions;

impl Feed for Versions {
    fn news(&mut self, _: Instant) -> Option<Arc<[u8]>> {
        Some(vec![b'x'; LONG].into())
    }
}

/// A door on a port of its own, with deadlines short enough for a test.
struct Street {
    door: Door,
    port: u16,
}

impl Street {
    fn new(adapt: impl FnOnce(&mut DoorLimits)) -> Street {
        let mut limits = DoorLimits::for_descriptors(20_000);
        limits.connections_per_host = limits.connections;
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

    /// As another machine connects.
    fn connect_from(&self, host: u8) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 2, host], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into()).unwrap();
        let stream = TcpStream::from(socket);
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
