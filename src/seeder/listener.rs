//! The listener: a thread that accepts, and a thread for each connection that there is a place for.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    TorrentRegistry,
    places::{ConnectionSeats, SeatDecision, SeatId},
};
use crate::{
    net::{self, PortChoice},
    quota::Origin,
    session::{self, LocalPeer, PeerConnection},
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

/// Lets connections in, from all listeners of the process, as long as there are places.
#[derive(Debug)]
pub struct Admission {
    host: Arc<LocalPeer>,
    registry: Arc<TorrentRegistry>,
    state: Mutex<AdmissionState>,
}

/// Who holds which place.
#[derive(Debug)]
struct AdmissionState {
    places: ConnectionSeats,
    connections: HashMap<SeatId, PeerConnection>,
}

impl Listener {
    /// Opens a port on every address of this machine, IPv6 too where there is any.
    pub fn open(choice: PortChoice, gate: Arc<Admission>) -> io::Result<Listener> {
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

fn accept(socket: &TcpListener, gate: &Arc<Admission>, ending: &AtomicBool) {
    while !ending.load(Ordering::Acquire) {
        match socket.accept() {
            Ok(_) if ending.load(Ordering::Acquire) => return,
            Ok((stream, address)) => gate.admit(stream, address.ip()),
            Err(error) => {
                log::warn!("accepting a connection failed: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

impl Admission {
    /// Lets in `max_peers` connections at a time, to the torrents of the registry.
    pub fn new(host: Arc<LocalPeer>, registry: Arc<TorrentRegistry>, max_peers: usize) -> Admission {
        let hall = AdmissionState { places: ConnectionSeats::new(max_peers), connections: HashMap::new() };
        Admission { host, registry, state: Mutex::new(hall) }
    }

    /// Starts a session, unless there is no place for it; the connection is closed then.
    fn admit(self: &Arc<Self>, stream: TcpStream, ip: IpAddr) {
        let origin = Origin::of_peer(ip, || stream.local_addr().ok().map(|reached| reached.ip()));
        let ip = ip.to_canonical();
        let guest = PeerConnection::new(stream);
        let entry = self.state().enter(&guest, origin);
        let (id, leaves) = match entry {
            Ok(entry) => entry,
            Err(reason) => return log::debug!("{ip} is not let in: {reason}"),
        };
        if let Some(leaves) = leaves {
            log::debug!("a connection of no use makes room for {ip}");
            leaves.hang_up();
        }
        let place = AdmissionPermit { gate: self.clone(), id, ip, origin, connection: guest };
        let spawned = thread::Builder::new().name("session reader".into()).stack_size(STACK).spawn(move || {
            let gate = &place.gate;
            if let Err(end) =
                session::accept(&gate.host, place.connection.clone(), |wanted| gate.registry.wanted(wanted))
            {
                log::debug!("no session with {}: {end}", place.ip);
            }
        });
        if let Err(error) = spawned {
            log::warn!("no thread for a connection: {error}");
        }
    }

    fn state(&self) -> MutexGuard<'_, AdmissionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdmissionState {
    /// A place for this guest, and the guest that has to leave for it; or why there is none.
    fn enter(
        &mut self,
        guest: &PeerConnection,
        origin: Origin,
    ) -> Result<(SeatId, Option<PeerConnection>), &'static str> {
        let moved = |place| self.connections.get(&place).map_or(0, PeerConnection::moved);
        let (place, leaves) = match self.places.enter(origin, Instant::now(), moved) {
            SeatDecision::Free(place) => (place, None),
            SeatDecision::InsteadOf(place, old) => (place, self.connections.remove(&old)),
            SeatDecision::Refused(reason) => return Err(reason),
        };
        self.connections.insert(place, guest.clone());
        Ok((place, leaves))
    }
}

/// One connection's place; given back when its thread is done, however it ends.
struct AdmissionPermit {
    gate: Arc<Admission>,
    id: SeatId,
    ip: IpAddr,
    origin: Origin,
    connection: PeerConnection,
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut hall = self.gate.state();
        hall.connections.remove(&self.id);
        hall.places.leave(self.id, self.origin, self.connection.moved(), Instant::now());
    }
}
