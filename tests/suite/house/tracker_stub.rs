//! A tracker on loopback that answers every announce as it is told to, and remembers what it was told.
//!
//! Its thread ends with the test binary.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use minitorrent::bencode::Encoder;

/// What it answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These peers, and the wish to be asked again in a second.
    Peers(Vec<SocketAddrV4>),
    /// A web page, as a captive portal does.
    Html,
    /// Nothing, ever; the connection stays open.
    Silence,
    /// These bytes, head and all, and then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, and `x` without end.
    Endless(Vec<u8>),
}

/// A listening tracker.
pub struct TrackerStub {
    port: u16,
    answer: Arc<Mutex<Answer>>,
    queries: Arc<Mutex<Vec<String>>>,
}

impl TrackerStub {
    pub fn start(answer: Answer) -> TrackerStub {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stub = TrackerStub { port, answer: Arc::new(Mutex::new(answer)), queries: Arc::default() };
        let (answer, queries) = (stub.answer.clone(), stub.queries.clone());
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                queries.lock().unwrap().extend(read_target(&stream));
                let answer = answer.lock().unwrap().clone();
                match answer {
                    Answer::Peers(peers) => reply(&stream, "text/plain", &announce_answer(&peers)),
                    Answer::Html => reply(&stream, "text/html", b"<!doctype html><title>Please log in</title>"),
                    Answer::Silence => silent.push(stream),
                    Answer::Raw(bytes) => _ = (&stream).write_all(&bytes),
                    Answer::Endless(begin) => send_without_end(stream, begin.clone()),
                }
            }
        });
        stub
    }

    /// Answers in another way from now on.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn announce_url(&self) -> String {
        format!("http://127.0.0.1:{}/announce", self.port)
    }

    /// The targets of all requests so far, query and all.
    pub fn queries(&self) -> Vec<String> {
        self.queries.lock().unwrap().clone()
    }
}

/// Reads a request's head, and gives the target of its first line.
fn read_target(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    lines.find(String::is_empty)?;
    Some(target)
}

/// Answers once. Who is gone by then misses nothing.
fn reply(mut stream: &TcpStream, kind: &str, body: &[u8]) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Goes on until whoever asked has had enough.
fn send_without_end(mut stream: TcpStream, begin: Vec<u8>) {
    thread::spawn(move || {
        let mut sent = stream.write_all(&begin);
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 16 * 1024]);
        }
    });
}

/// An answer with these peers.
pub fn announce_answer(peers: &[SocketAddrV4]) -> Vec<u8> {
    let compact: Vec<u8> =
        peers.iter().flat_map(|peer| [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat()).collect();
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.key("interval").integer(1);
        dict.key("peers").bytes(compact);
    });
    out.finish()
}
