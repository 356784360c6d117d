//! The ground a zoo stands on: whom its animals annoy, what they know about the torrent, and when they are to stop.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::house::peer::{INTERESTED, UNCHOKE, Wire, handshake};
use crate::house::seeding_peer::Bytes;

/// How long an animal waits before it looks whether the zoo is over.
pub const GLANCE: Duration = Duration::from_millis(200);

/// How long a connection may take to come about; longer than a full backlog makes it wait once.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

/// How long a bad peer waits for the other side's handshake, and for its turn.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Dialled,
    Greeted,
    Unchoked,
}

/// What every animal of one zoo shares.
#[derive(Clone)]
pub struct Ground {
    pub target: SocketAddrV4,
    pub bytes: Bytes,
    over: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

/// The threads of a zoo; the animals go home when it is closed.
pub struct Zoo {
    pub ground: Ground,
    keepers: Vec<JoinHandle<()>>,
    kinds: BTreeSet<&'static str>,
}

impl Ground {
    /// Whether the animals are to go home.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sleeps in short steps, and says whether the zoo still is open.
    pub fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_over() && Instant::now() < until {
            thread::sleep(GLANCE.min(until.saturating_duration_since(Instant::now())));
        }
        !self.is_over()
    }

    /// Connects to the victim from an address of the animal's own.
    pub fn dial(&self, own: Ipv4Addr) -> io::Result<Wire> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddrV4::new(own, 0).into())?;
        socket.connect_timeout(&self.target.into(), DIAL_LIMIT)?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(GLANCE))?;
        Ok(Wire { stream })
    }

    /// Comes so far as an honest peer would.
    pub fn come_to(&self, stage: Stage, wire: &mut Wire) -> io::Result<()> {
        if stage == Stage::Dialled {
            return Ok(());
        }
        wire.stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut id = *b"-ZO0001-............";
        id[8..].copy_from_slice(&noise(12));
        wire.stream.write_all(&handshake(&self.bytes.torrent.info_hash, id))?;
        wire.read_greeting()?;
        if stage == Stage::Unchoked {
            wire.send(INTERESTED, &[])?;
            wire.await_message(UNCHOKE)?;
        }
        Ok(())
    }

    /// Stays without a word, and without reading, until the other side hangs up or the zoo closes.
    pub fn linger(&self, wire: &Wire) {
        wire.stream.set_read_timeout(Some(GLANCE)).unwrap();
        while !self.is_over() {
            match wire.stream.peek(&mut [0]) {
                Ok(0) => return,
                // Something to read, which stays unread; no need to look all the time.
                Ok(_) => thread::sleep(GLANCE),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
            // What was sent before cannot be read past with a peek; a socket error shows a reset.
            if SockRef::from(&wire.stream).take_error().is_ok_and(|error| error.is_some()) {
                return;
            }
        }
    }

    /// Says the same again and again as fast as it is taken, reading what is answered away, until it is hung up on.
    pub fn flood(&self, wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
        // Large writes, so that the victim has more to do with it than the animal.
        let once = bytes.repeat((64 * 1024 / bytes.len()).max(1));
        let mut void = [0; 65_536];
        while !self.is_over() {
            push(wire, &once)?;
            wire.stream.set_nonblocking(true)?;
            let read = wire.stream.read(&mut void);
            wire.stream.set_nonblocking(false)?;
            match read {
                Ok(0) => return Ok(()),
                Err(error) if !is_timeout(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes all, though a part of it may have to wait for the next try.
fn push(wire: &mut Wire, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !bytes.is_empty() {
        match wire.stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_timeout(&error) && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Zoo {
    pub fn open(target: SocketAddrV4, bytes: Bytes) -> Zoo {
        let ground = Ground { target, bytes, over: Arc::default(), connections: Arc::default() };
        Zoo { ground, keepers: Vec::new(), kinds: BTreeSet::new() }
    }

    /// Lets one animal in: it comes again and again, `pause` after it left.
    pub fn keep(
        &mut self,
        name: &'static str,
        own: Ipv4Addr,
        pause: Duration,
        visit: impl Fn(&mut Wire, &Ground) -> io::Result<()> + Send + 'static,
    ) {
        let ground = self.ground.clone();
        self.tend(name, move || {
            while ground.pause(pause) {
                // Being hung up on is what an animal expects.
                if let Ok(mut wire) = ground.dial(own) {
                    let _ = visit(&mut wire, &ground);
                }
            }
        });
    }

    /// A crowd of one thread: holds so many connections, from these addresses in turn, and replaces those that were closed.
    pub fn keep_crowd(&mut self, name: &'static str, addresses: Vec<Ipv4Addr>, size: usize) {
        let ground = self.ground.clone();
        self.tend(name, move || {
            let mut held: Vec<Wire> = Vec::new();
            let mut from = addresses.iter().cycle();
            while !ground.is_over() {
                held.retain(is_open);
                while held.len() < size && !ground.is_over() {
                    let Some(wire) = from.next().and_then(|own| ground.dial(*own).ok()) else { break };
                    let _ = wire.stream.set_nonblocking(true);
                    held.push(wire);
                }
                thread::sleep(GLANCE);
            }
        });
    }

    /// Lets one in that waits to be dialled, and gives its address.
    pub fn keep_host(
        &mut self,
        name: &'static str,
        own: Ipv4Addr,
        host: impl Fn(&mut Wire, &Ground) -> io::Result<()> + Clone + Send + 'static,
    ) -> SocketAddrV4 {
        let listener = TcpListener::bind((own, 0)).unwrap();
        let address = SocketAddrV4::new(own, listener.local_addr().unwrap().port());
        listener.set_nonblocking(true).unwrap();
        let ground = self.ground.clone();
        self.tend(name, move || {
            let mut visits = Vec::new();
            while !ground.is_over() {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(GLANCE);
                    continue;
                };
                let (host, ground) = (host.clone(), ground.clone());
                visits.push(thread::spawn(move || {
                    ground.connections.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(GLANCE)));
                    let _ = host(&mut Wire { stream }, &ground);
                }));
            }
            visits.into_iter().for_each(|visit| _ = visit.join());
        });
        address
    }

    fn tend(&mut self, name: &'static str, work: impl FnOnce() + Send + 'static) {
        self.kinds.insert(name);
        let keeper = thread::Builder::new().stack_size(512 * 1024).spawn(work).unwrap();
        self.keepers.push(keeper);
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.ground.connections.load(Ordering::Relaxed)
    }

    /// How many kinds of animal there are.
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Sends every animal home, and waits until it has left.
    pub fn close(self) {
        self.ground.over.store(true, Ordering::Relaxed);
        self.keepers.into_iter().for_each(|keeper| _ = keeper.join());
    }
}

/// Whether a connection of a crowd, which is not blocking, has not been closed by the other side.
fn is_open(wire: &Wire) -> bool {
    match wire.stream.peek(&mut [0]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => is_timeout(&error),
    }
}

/// Ends the half of a connection that the animal speaks on.
pub fn fall_silent(wire: &Wire) -> io::Result<()> {
    wire.stream.shutdown(Shutdown::Write)
}

/// So many random bytes.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
