//! A tracker with its page on loopback, as hostile clients find it: the binary, with the descriptors that systems usually allow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::house::process::{MINITORRENT, Process};
use crate::house::{folder, wait_until};

/// What most systems allow a process: the door's caps follow from it.
const DESCRIPTORS: &str = "--nofile=1024";

/// How long anything may take that has no limit of its own.
const LIMIT: Duration = Duration::from_secs(20);

/// A running tracker.
pub struct Room {
    pub tracker: Process,
    pub port: u16,
    /// What `--data` names.
    pub data: PathBuf,
    /// Around it: nothing here may change.
    pub work: TempDir,
}

/// One answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Room {
    pub fn open() -> Room {
        Room::start(Command::new("prlimit"), &[])
    }

    /// One that may have as many connections as the door ever takes, for tests that open a thousand themselves.
    pub fn open_for_crowds() -> Room {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        Room::start_within("--nofile=10000", Command::new("prlimit"), &[])
    }

    /// One that logs what happens.
    pub fn open_to_listen() -> Room {
        Room::start(Command::new("prlimit"), &["-v"])
    }

    /// A room whose files lie on a disk of so many MiB, in a mount namespace of its own; nothing where that cannot be had.
    pub fn open_on_small_disk(mebibytes: u64) -> Option<Room> {
        let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            return None;
        }
        // The folder of the data is the last argument, and the disk is gone with the process.
        let script =
            format!("for data; do :; done; mount -t tmpfs -o size={mebibytes}m tmpfs \"$data\" && exec prlimit \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]);
        Some(Room::start(command, &[]))
    }

    /// `command` is to be followed by what prlimit takes.
    fn start(command: Command, options: &[&str]) -> Room {
        Room::start_within(DESCRIPTORS, command, options)
    }

    fn start_within(descriptors: &str, mut command: Command, options: &[&str]) -> Room {
        let work = folder();
        let data = work.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        command
            .args([descriptors, MINITORRENT, "tracker", "--port", "0", "--seed-port", "0", "--no-announce"])
            .args(options);
        command.arg("--data").arg(&data);
        // The folder stays the last word, which a room on a small disk mounts.
        let tracker = Process::start_announced(command, work.path(), "tracker");
        let port = || tracker.stdout().split_once("/announce;")?.0.rsplit_once(':')?.1.parse().ok();
        assert!(wait_until(LIMIT, || port().is_some()), "it does not say its port: {}", tracker.stderr());
        let room = Room { port: port().unwrap(), tracker, data, work };
        assert_eq!(room.get("/healthz").status, 200);
        room
    }

    /// Its data folder as it sees it.
    pub fn disk(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.tracker.pid().as_raw_nonzero()));
        root.join(self.data.strip_prefix("/").unwrap())
    }

    /// A connection from this machine.
    pub fn connect(&self) -> TcpStream {
        let stream = connect_from(Ipv4Addr::LOCALHOST, self.port).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// All that comes back for some bytes, behind which nothing more is sent.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange_from(Ipv4Addr::LOCALHOST, bytes)
    }

    fn exchange_from(&self, from: Ipv4Addr, bytes: &[u8]) -> Vec<u8> {
        let mut stream = connect_from(from, self.port).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // Who is refused early is reset while it still writes; what was answered before that is read all the same.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// One request with a body, and its answer.
    pub fn ask(&self, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.ask_from(Ipv4Addr::LOCALHOST, line, fields, body)
    }

    /// The same from another address of this machine.
    pub fn ask_from(&self, from: Ipv4Addr, line: &str, fields: &str, body: &[u8]) -> Answer {
        let (port, length) = (self.port, body.len());
        let host = if fields.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{port}\r\n") };
        let head = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
        Answer::read(&self.exchange_from(from, &[head.as_bytes(), body].concat()))
    }

    /// The same by way of somebody who listens there.
    pub fn ask_at(&self, at: SocketAddr, line: &str, fields: &str, body: &[u8]) -> Answer {
        let (port, length) = (self.port, body.len());
        let host = format!("Host: 127.0.0.1:{port}\r\n");
        let head = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> Answer {
        self.ask(&format!("PUT /uploads/{name}"), "", bytes)
    }

    /// An upload that does not say how long it is; its status.
    pub fn put_in_chunks_from(&self, from: Ipv4Addr, name: &str, bytes: &[u8]) -> u16 {
        let mut stream = connect_from(from, self.port).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let host = "Host: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked";
        let head = format!("PUT /uploads/{name} HTTP/1.1\r\n{host}\r\n\r\n{:x}\r\n", bytes.len());
        // Who is refused midway may be reset while it still writes; the answer is there all the same.
        let _ = stream.write_all(&[head.as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer).status
    }

    /// The names on the page.
    pub fn names(&self) -> Vec<String> {
        let files: serde_json::Value = serde_json::from_slice(&self.get("/api/files").body).unwrap();
        files.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let text = bytes[..bytes.len().min(500)].escape_ascii();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
        Answer { status: head[9..12].parse().unwrap(), head, body: bytes[end + 4..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection to the tracker from any address of 127.0.0.0/8: to the door each is a machine of its own.
pub fn connect_from(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), Duration::from_millis(500))?;
    Ok(socket.into())
}
