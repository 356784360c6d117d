//! The listener: a thread that accepts, a thread for each connection, and a count of both that has a limit.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Registry;
use crate::{
    net::{self, PortChoice},
    peer::{self, Host},
};

/// How long to wait after accepting failed, which it does when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The stack of a connection's reading thread, in bytes.
const STACK: usize = 256 * 1024;

/// Where peers connect to us. Dropping it closes the port; sessions go on.
#[derive(Debug)]
pub struct Listener {
    port: u16,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// Lets connections in, from all listeners of the process, as long as there are not too many.
#[derive(Debug)]
pub struct Gate {
    host: Arc<Host>,
    registry: Arc<Registry>,
    max_peers: usize,
    connected: Mutex<HashMap<IpAddr, usize>>,
}

impl Listener {
    /// Opens a port on every address of this machine, IPv6 too where there is any.
    pub fn open(choice: PortChoice, gate: Arc<Gate>) -> io::Result<Listener> {
        let socket = net::listen(choice)?;
        let port = socket.local_addr()?.port();
        let ending = Arc::new(AtomicBool::new(false));
        let accepting = thread::Builder::new().name("accept".into()).stack_size(STACK).spawn({
            let ending = ending.clone();
            move || accept(&socket, &gate, &ending)
        })?;
        Ok(Listener { port, ending, accepting: Some(accepting) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Accepting has no time limit; a connection of our own wakes it.
        let woken =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            let _ = thread.join();
        }
    }
}

fn accept(socket: &TcpListener, gate: &Arc<Gate>, ending: &AtomicBool) {
    while !ending.load(Ordering::Acquire) {
        match socket.accept() {
            Ok(_) if ending.load(Ordering::Acquire) => return,
            Ok((stream, address)) => gate.admit(stream, address.ip().to_canonical()),
            Err(error) => {
                log::warn!("accepting a connection failed: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

impl Gate {
    /// Lets in `max_peers` connections at a time, to the torrents of the registry.
    pub fn new(host: Arc<Host>, registry: Arc<Registry>, max_peers: usize) -> Gate {
        Gate { host, registry, max_peers, connected: Mutex::default() }
    }

    /// Starts a session, unless there are too many; the connection is closed then.
    fn admit(self: &Arc<Self>, stream: TcpStream, ip: IpAddr) {
        let Some(place) = self.take_place(ip) else {
            log::debug!("{ip}: too many connections");
            return;
        };
        let spawned = thread::Builder::new().name("session reader".into()).stack_size(STACK).spawn(move || {
            let gate = &place.gate;
            if let Err(end) = peer::accept(&gate.host, stream, |hash| gate.registry.find(hash)) {
                log::debug!("no session with {}: {end}", place.ip);
            }
        });
        if let Err(error) = spawned {
            log::warn!("no thread for a connection: {error}");
        }
    }

    fn take_place(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = connected.values().sum();
        let from_there = connected.entry(ip).or_default();
        // A room behind one router shares an address, but no single address may take all the places.
        let free = total < self.max_peers && *from_there < self.max_peers.div_ceil(2);
        if free {
            *from_there += 1;
        } else if *from_there == 0 {
            connected.remove(&ip);
        }
        free.then(|| Place { gate: self.clone(), ip })
    }
}

/// One connection's place in the count; given back when its thread is done, however it ends.
struct Place {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.gate.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connected.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&self.ip);
            }
        }
    }
}
