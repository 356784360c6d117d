//! The peer protocol in small (BEP 3), written apart from the code under test: enough to be a peer, or to be a bad one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long a peer of the tests waits for the other side's next byte.
const PATIENCE: Duration = Duration::from_secs(120);

pub const CHOKE: u8 = 0;
pub const UNCHOKE: u8 = 1;
pub const INTERESTED: u8 = 2;
pub const NOT_INTERESTED: u8 = 3;
pub const HAVE: u8 = 4;
pub const BITFIELD: u8 = 5;
pub const REQUEST: u8 = 6;
pub const PIECE: u8 = 7;
pub const CANCEL: u8 = 8;
pub const EXTENDED: u8 = 20;

/// One connection to a peer.
pub struct Wire {
    pub stream: TcpStream,
}

/// One message that is no keep-alive.
#[derive(Debug)]
pub struct Message {
    pub id: u8,
    pub payload: Vec<u8>,
}

/// The range of a piece that a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    pub piece: u32,
    pub begin: u32,
    pub length: u32,
}

/// Listens at `address`, and lets `behave` treat each connection on a thread of its own, to the end of the test binary.
pub fn listen(address: Ipv4Addr, behave: impl Fn(Wire) -> io::Result<()> + Clone + Send + 'static) -> SocketAddrV4 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behave = behave.clone();
            // A peer that is hung up on is an ordinary end.
            thread::spawn(move || behave(Wire { stream }));
        }
    });
    SocketAddrV4::new(address, port)
}

/// A message as it travels.
pub fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = 1 + payload.len() as u32;
    [&length.to_be_bytes()[..], &[id], payload].concat()
}

/// A handshake that names no extension.
pub fn handshake(info_hash: &[u8; 20], peer_id: [u8; 20]) -> Vec<u8> {
    [b"\x13BitTorrent protocol", &[0; 8][..], info_hash, &peer_id].concat()
}

impl Wire {
    pub fn dial(address: SocketAddrV4) -> io::Result<Wire> {
        TcpStream::connect(address).map(|stream| Wire { stream })
    }

    /// Dials from an address of its own, so that what it does is not held against the others.
    pub fn dial_from(own: Ipv4Addr, address: SocketAddrV4) -> io::Result<Wire> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddrV4::new(own, 0).into())?;
        socket.connect(&address.into())?;
        Ok(Wire { stream: socket.into() })
    }

    /// Sends a handshake and reads the other one. A client that wants encryption is hung up on, and dials again in the clear.
    pub fn greet(&mut self, info_hash: &[u8; 20]) -> io::Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let id = format!("-TS0001-{:012}", self.stream.local_addr()?.port());
        self.stream.write_all(&handshake(info_hash, *id.as_bytes().first_chunk().unwrap()))?;
        self.read_greeting().map(drop)
    }

    /// Reads the other side's handshake, and gives its peer id.
    pub fn read_greeting(&mut self) -> io::Result<[u8; 20]> {
        let mut theirs = [0; 68];
        self.stream.read_exact(&mut theirs)?;
        if theirs[0] == 19 { Ok(*theirs.last_chunk().unwrap()) } else { Err(ErrorKind::InvalidData.into()) }
    }

    pub fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(id, payload))
    }

    pub fn receive(&mut self) -> io::Result<Message> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame)?;
            if let Some((id, payload)) = frame.split_first() {
                return Ok(Message { id: *id, payload: payload.to_vec() });
            }
        }
    }

    /// The next message, or `None` when none begins within `limit`.
    pub fn receive_within(&mut self, limit: Duration) -> io::Result<Option<Message>> {
        self.stream.set_read_timeout(Some(limit))?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match peeked {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error),
            Ok(_) => self.receive().map(Some),
        }
    }

    /// Reads on until a message of this kind comes.
    pub fn await_message(&mut self, id: u8) -> io::Result<Message> {
        loop {
            let message = self.receive()?;
            if message.id == id {
                return Ok(message);
            }
        }
    }

    /// Whether the other side hangs up within `limit`, whatever it still says.
    pub fn is_hung_up_within(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }
}

impl Message {
    /// What a `request` asks for.
    pub fn as_request(&self) -> Option<Request> {
        let numbers: [u8; 12] = self.payload.as_slice().try_into().ok()?;
        let number = |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        (self.id == REQUEST).then(|| Request { piece: number(0), begin: number(4), length: number(8) })
    }
}

impl Request {
    /// As the payload of a `request`.
    pub fn payload(self) -> Vec<u8> {
        [self.piece, self.begin, self.length].into_iter().flat_map(u32::to_be_bytes).collect()
    }
}
