//! Admission of incoming connections: a thread for each that gets a seat.

use std::{
    collections::HashMap,
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::{
    TorrentRegistry,
    seats::{ConnectionSeats, SeatDecision, SeatId},
};
use crate::{
    quota::Origin,
    session::{self, LocalPeer, PeerConnection},
};

/// The stack of a connection's reading thread, in bytes.
const STACK: usize = 256 * 1024;

/// Lets connections in, from all listeners of the process, as long as there are seats.
#[derive(Debug)]
pub struct Admission {
    host: Arc<LocalPeer>,
    registry: Arc<TorrentRegistry>,
    state: Mutex<AdmissionState>,
}

/// Which connection holds which seat.
#[derive(Debug)]
struct AdmissionState {
    seats: ConnectionSeats,
    connections: HashMap<SeatId, PeerConnection>,
}

impl Admission {
    /// Lets in `max_peers` connections at a time, to the torrents of the registry.
    pub fn new(host: Arc<LocalPeer>, registry: Arc<TorrentRegistry>, max_peers: usize) -> Admission {
        let state = AdmissionState { seats: ConnectionSeats::new(max_peers), connections: HashMap::new() };
        Admission { host, registry, state: Mutex::new(state) }
    }

    /// Starts a session, unless there is no seat for it; the connection is closed then.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream, ip: IpAddr) {
        let origin = Origin::of_peer(ip, || stream.local_addr().ok().map(|reached| reached.ip()));
        let ip = ip.to_canonical();
        let connection = PeerConnection::new(stream);
        let entry = self.state().enter(&connection, origin);
        let (id, leaves) = match entry {
            Ok(entry) => entry,
            Err(reason) => return log::debug!("{ip} is not let in: {reason}"),
        };
        if let Some(leaves) = leaves {
            log::debug!("a connection of no use makes room for {ip}");
            leaves.hang_up();
        }
        let permit = AdmissionPermit { admission: self.clone(), id, ip, origin, connection };
        let spawned = thread::Builder::new().name("session reader".into()).stack_size(STACK).spawn(move || {
            let Admission { host, registry, .. } = &*permit.admission;
            if let Err(end) = session::accept(host, permit.connection.clone(), |wanted| registry.wanted(wanted)) {
                log::debug!("no session with {}: {end}", permit.ip);
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
    /// A seat for this connection, and the connection that has to leave for it; or why there is none.
    fn enter(
        &mut self,
        connection: &PeerConnection,
        origin: Origin,
    ) -> Result<(SeatId, Option<PeerConnection>), &'static str> {
        let moved = |seat| self.connections.get(&seat).map_or(0, PeerConnection::moved);
        let (seat, leaves) = match self.seats.enter(origin, Instant::now(), moved) {
            SeatDecision::Free(seat) => (seat, None),
            SeatDecision::InsteadOf(seat, old) => (seat, self.connections.remove(&old)),
            SeatDecision::Refused(reason) => return Err(reason),
        };
        self.connections.insert(seat, connection.clone());
        Ok((seat, leaves))
    }
}

/// One connection's seat, free again when its thread is done, however it ends.
struct AdmissionPermit {
    admission: Arc<Admission>,
    id: SeatId,
    ip: IpAddr,
    origin: Origin,
    connection: PeerConnection,
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.connections.remove(&self.id);
        state.seats.leave(self.id, self.origin, self.connection.moved(), Instant::now());
    }
}
