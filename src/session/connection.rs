//! The beginning and the end of a session: dial or accept, shake hands, run both threads, tell the coordinator.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use super::{
    End, HaveSet, LocalPeer, PeerConnection, SessionEvent, SharedTorrent, Traffic,
    incoming::{protocol, requests::Requests, socket::SocketReader},
    opening::{Opening, Unread, Wanted},
    outgoing::{backlog, outbox::MAX_OPEN_REQUESTS, queue::OutgoingQueue, writer},
};
use crate::{
    bitfield::Bitfield,
    metainfo::Block,
    net,
    policy::{Direction, PeerEvent, PieceInFlight, Remote, SendOrder, SessionId},
    wire::{self, ExtendedHandshake, Handshake},
};

/// How long a connection may take to come about. On a LAN it takes a millisecond; a lost first packet costs one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one write may make no progress before the peer counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the other machine may leave unconfirmed what we sent it. TCP alone tries for a quarter of an hour, ever more seldom;
/// a new connection goes on sooner when the link is back.
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(30);

/// A session's stack, in bytes. Nothing in it recurses but bencode, which has a limit of its own.
const STACK: usize = 256 * 1024;

/// What our client calls itself (BEP 10, `v`).
const CLIENT: &str = concat!("minitorrent ", env!("CARGO_PKG_VERSION"));

/// What the peer ids of our own program begin with (BEP 20).
const OUR_PEER_IDS: &[u8] = b"-MI";

/// A session, as its coordinator and its own threads hold it.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    /// The other side.
    pub remote: Arc<Remote>,
    /// The torrent it is about.
    pub share: Arc<SharedTorrent>,
    /// Bytes of blocks that passed on this session.
    pub traffic: Arc<Traffic>,
    /// The pieces of which every block was sent on it.
    pub uploaded_pieces: Arc<HaveSet>,
    pub(super) outgoing: Arc<OutgoingQueue>,
    requests: Arc<Mutex<Requests>>,
    socket: Arc<TcpStream>,
}

/// Connects to a peer and runs the session until it ends, which its coordinator is told. An error says why it never began.
pub fn dial(host: &Arc<LocalPeer>, share: &Arc<SharedTorrent>, address: SocketAddr) -> Result<(), End> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    prepare(&stream)?;
    let info_hash = share.metainfo.info_hash();
    let mut opening = Opening::new(&stream);
    opening.write(&Handshake::ours(info_hash, host.peer_id()).to_bytes())?;
    let theirs = opening.handshake()?;
    if theirs.info_hash != info_hash {
        return Err(End::OtherTorrent(theirs.info_hash));
    }
    let unread = opening.unread();
    run(host, share.clone(), PeerConnection::new(stream), theirs, Direction::Dialled, unread)
}

/// Answers a peer that has connected, in the clear or encrypted, and runs the session until it ends; `route` finds the torrent it
/// asks about. An error says why it never began.
pub fn accept(
    host: &Arc<LocalPeer>,
    connection: PeerConnection,
    route: impl Fn(Wanted) -> Option<Arc<SharedTorrent>>,
) -> Result<(), End> {
    prepare(&connection.socket)?;
    let socket = connection.socket.clone();
    let mut opening = Opening::new(&socket);
    opening.decrypt(&host.exchanges, &route)?;
    let info_hash = opening.info_hash()?;
    let share = route(Wanted::InfoHash(info_hash)).ok_or(End::UnknownTorrent(info_hash))?;
    // Some send their peer id only after they have heard ours.
    opening.write(&Handshake::ours(info_hash, host.peer_id()).to_bytes())?;
    let theirs = opening.handshake()?;
    let unread = opening.unread();
    run(host, share, connection, theirs, Direction::Accepted, unread)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let socket = SockRef::from(stream);
    // A machine that was switched off or has another address now is noticed within a minute, even when we have nothing
    // to send it.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNHEARD))?;
    backlog::limit(stream, backlog::FIRST)
}

fn run(
    host: &Arc<LocalPeer>,
    share: Arc<SharedTorrent>,
    connection: PeerConnection,
    theirs: Handshake,
    direction: Direction,
    unread: Unread,
) -> Result<(), End> {
    if theirs.peer_id == host.peer_id() {
        return Err(End::Myself);
    }
    let handle = SessionHandle::new(host, share, connection, theirs, direction)?;
    if theirs.reserved.extension_protocol() {
        let ours = ExtendedHandshake {
            port: host.port(),
            request_queue: Some(MAX_OPEN_REQUESTS as u32),
            client: Some(CLIENT.to_owned()),
            name: host.name().map(Into::into),
            // A source that shows its pieces one by one would look like a leecher. Others are not told: libtorrent leaves a peer that
            // only uploads and shows nothing new for a moment.
            upload_only: handle.share.have.is_full() && theirs.peer_id.0.starts_with(OUR_PEER_IDS),
        };
        handle.order(SendOrder::Extended(wire::EXTENDED_HANDSHAKE, ours.to_bytes()));
    }
    let events = &handle.share.events;
    events.send(SessionEvent::Opened(handle.clone())).map_err(|_| End::ClosedByUs)?;
    let end = run_threads(host, &handle, unread);
    // Choked for good: what is assigned from now on comes back at once.
    let pieces = handle.requests().choke();
    // A coordinator that is gone needs no telling.
    let _ = events.send(SessionEvent::Closed { session: handle.id(), end, pieces });
    Ok(())
}

/// Reads on this thread, writes on another; both have ended when this returns. One that panics takes the session with
/// it and nothing else: its coordinator still hears that it is over.
fn run_threads(host: &Arc<LocalPeer>, handle: &SessionHandle, unread: Unread) -> End {
    let Unread { bytes, ciphers } = unread;
    let (incoming, outgoing) = ciphers.map(|ciphers| (ciphers.incoming, ciphers.outgoing)).unzip();
    thread::scope(|scope| {
        let writer =
            thread::Builder::new().name("session writer".into()).stack_size(STACK).spawn_scoped(scope, move || {
                let _ending = EndWhenDropped(handle);
                writer::run(host, handle, outgoing)
            });
        let writer = match writer {
            Ok(writer) => writer,
            Err(error) => return error.into(),
        };
        let read = || {
            SocketReader::new(handle.socket().clone(), bytes, incoming)
                .map_or_else(End::from, |reader| protocol::run(host, handle, reader))
        };
        let read = panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or(End::ClosedByUs);
        let ended_here = handle.outgoing.is_closed();
        match read {
            // It says no more, but may still listen: it gets what it has asked for. What it was asked for goes back at once.
            End::ClosedByPeer => {
                if handle.outgoing.finish() {
                    let pieces = handle.requests().choke();
                    // A coordinator that is gone needs no telling.
                    let _ = handle.tell(PeerEvent::Choked(handle.id(), pieces));
                }
            }
            _ => handle.end(),
        }
        match writer.join() {
            // Whoever found a reason told the other by closing; the reason counts, not the closing.
            Ok(Err(end)) if ended_here => end,
            _ if ended_here && matches!(read, End::ClosedByPeer | End::Io(_)) => End::ClosedByUs,
            _ => read,
        }
    })
}

/// Ends a session when its writer is done, however that comes about: the reader must not wait for what never comes.
struct EndWhenDropped<'a>(&'a SessionHandle);

impl Drop for EndWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl SessionHandle {
    fn new(
        host: &LocalPeer,
        share: Arc<SharedTorrent>,
        connection: PeerConnection,
        theirs: Handshake,
        direction: Direction,
    ) -> io::Result<SessionHandle> {
        let session = host.next_session();
        // A listener for both families shows IPv4 peers as IPv6 addresses that stand for them.
        let address = net::canonical(connection.socket.peer_addr()?);
        let remote = Arc::new(Remote { session, address, peer_id: theirs.peer_id, direction });
        let none = Bitfield::empty(share.geometry().piece_count());
        Ok(SessionHandle {
            requests: Arc::new(Mutex::new(Requests::new(share.geometry(), remote.clone(), Instant::now()))),
            remote,
            share,
            traffic: connection.traffic,
            uploaded_pieces: Arc::new(HaveSet::new(&none)),
            outgoing: Arc::default(),
            socket: connection.socket,
        })
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.remote.session
    }

    /// What we download on it, for one call.
    pub fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it to send something; a session that cannot take it ends.
    pub fn order(&self, order: SendOrder) {
        if let Err(overflow) = self.outgoing.push(order) {
            log::debug!("{}: {}", self.remote, End::from(overflow));
            self.end();
        }
    }

    /// Whether the other side has asked for blocks that are not sent yet.
    pub fn is_uploading(&self) -> bool {
        self.outgoing.is_uploading()
    }

    /// Gives it a piece to fetch, or hands the piece back.
    pub fn assign(&self, piece: PieceInFlight, now: Instant) -> Result<(), PieceInFlight> {
        let requests = self.requests().assign(piece, now)?;
        self.request(requests);
        Ok(())
    }

    /// Has it fetch a single block of a piece that another session owns.
    pub fn request_endgame_block(&self, block: Block, now: Instant) {
        let requests = self.requests().request_endgame_block(block, now);
        self.request(requests);
    }

    /// Asks for what waits, where requests that were withdrawn have made room.
    pub fn request_more(&self, now: Instant) {
        let requests = self.requests().next_requests(now);
        self.request(requests);
    }

    /// Asks for these blocks.
    pub(super) fn request(&self, blocks: Vec<Block>) {
        if !blocks.is_empty() {
            self.order(SendOrder::Request(blocks));
        }
    }

    /// Withdraws requests for these blocks.
    pub fn cancel(&self, blocks: Vec<Block>) {
        if !blocks.is_empty() {
            self.order(SendOrder::Cancel(blocks));
        }
    }

    /// Ends it: both of its threads see the socket closed.
    pub fn end(&self) {
        self.outgoing.close();
        // Fails where the other side was first; it is closed then as well.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Tells the coordinator what its peer did.
    pub(super) fn tell(&self, event: PeerEvent) -> Result<(), End> {
        self.send(SessionEvent::Peer(event))
    }

    pub(super) fn send(&self, event: SessionEvent) -> Result<(), End> {
        self.share.events.send(event).map_err(|_| End::ClosedByUs)
    }

    /// Counts bytes of a block, on this session and in all.
    pub(super) fn count(&self, bytes: u32, of: impl Fn(&Traffic) -> &AtomicU64) {
        of(&self.traffic).fetch_add(bytes.into(), Ordering::Relaxed);
        of(&self.share.traffic).fetch_add(bytes.into(), Ordering::Relaxed);
    }

    pub(super) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }
}
