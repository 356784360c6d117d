//! Whole sessions over loopback sockets: ours on one end, on the other a peer that the test plays byte by byte.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use super::*;
use crate::{
    bitfield::Bitfield,
    metainfo::{BLOCK_LENGTH, InfoHash, Metainfo, PeerId},
    policy::{Home, SendOrder},
    storage::{self, Ledger, Writing},
    wire::{
        self, HANDSHAKE_LENGTH, Handshake, Message, RawBlock, Reserved,
        mse::{self, tests::Initiator},
    },
};

/// How long anything may take that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two blocks and a bit.
const PIECE: usize = 2 * BLOCK_LENGTH as usize + 1000;

const US: PeerId = PeerId([1; 20]);
const THEM: PeerId = PeerId([2; 20]);

/// A torrent of three pieces, its bytes, and what its sessions tell.
pub(crate) struct Torrent {
    pub(crate) share: Arc<SharedTorrent>,
    pub(crate) content: Vec<u8>,
    host: Arc<LocalPeer>,
    pub(crate) events: Receiver<SessionEvent>,
    finished: Receiver<PieceInFlight>,
    _ledger: Arc<Ledger>,
    _dir: TempDir,
}

impl Torrent {
    /// One of which we have everything. Another `seed` makes another torrent.
    pub(crate) fn all_of(seed: u8) -> Torrent {
        Torrent::all_of_long(seed, 3)
    }

    /// One of that many pieces of which we have everything.
    pub(crate) fn all_of_long(seed: u8, pieces: usize) -> Torrent {
        let torrent = Torrent::nothing_of_long(seed, pieces);
        std::fs::write(torrent.share.store.path_of(0), &torrent.content).unwrap();
        torrent.share.geometry().pieces().for_each(|piece| torrent.share.have.insert(piece));
        torrent
    }

    /// One of which we have nothing.
    pub(crate) fn nothing_of(seed: u8) -> Torrent {
        Torrent::nothing_of_long(seed, 3)
    }

    /// One of that many pieces of which we have nothing.
    pub(crate) fn nothing_of_long(seed: u8, pieces: usize) -> Torrent {
        let content: Vec<u8> = (0..pieces * PIECE - 500).map(|at| (at / 7) as u8 ^ (at >> 9) as u8 ^ seed).collect();
        let hashes: Vec<u8> = content.chunks(PIECE).flat_map(Sha1::digest).collect();
        let mut bytes = format!("d4:infod6:lengthi{}e4:name1:t12:piece lengthi{PIECE}e", content.len()).into_bytes();
        bytes.extend(format!("6:pieces{}:", hashes.len()).bytes());
        bytes.extend(hashes);
        bytes.extend(b"ee");
        let metainfo = Arc::new(Metainfo::read(&bytes).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let begun = storage::begin(&metainfo, dir.path(), Writing::default(), 1, &|_, _| {}).unwrap();
        let ledger = Ledger::without_journal(begun);
        let (tell, events) = bounded(64);
        let (finish, finished) = bounded(4);
        let share = SharedTorrent {
            stamps: Arc::default(),
            have: Arc::new(HaveSet::new(&Bitfield::empty(metainfo.geometry().piece_count()))),
            metainfo,
            store: ledger.store().clone(),
            events: tell,
            incoming: Some(IncomingPieces { ledger: Arc::downgrade(&ledger), finished: finish }),
            upload: Limiter::new(0),
            download: Limiter::new(0),
            traffic: Traffic::default(),
            sending: AtomicUsize::new(0),
            lacks_peers: AtomicBool::new(false),
        };
        Torrent {
            share: Arc::new(share),
            content,
            host: Arc::new(LocalPeer::new(US, 0, 0)),
            events,
            finished,
            _ledger: ledger,
            _dir: dir,
        }
    }

    fn hash(&self) -> InfoHash {
        self.share.metainfo.info_hash()
    }

    fn bytes(&self, block: RawBlock) -> &[u8] {
        let start = block.index as usize * PIECE + block.begin as usize;
        &self.content[start..start + block.length as usize]
    }

    fn event(&self) -> SessionEvent {
        self.events.recv_timeout(PATIENCE).expect("something happens")
    }

    fn opened(&self) -> SessionHandle {
        match self.event() {
            SessionEvent::Opened(handle) => handle,
            other => panic!("{other:?} before it opened"),
        }
    }

    fn closed(&self) -> (End, Vec<PieceInFlight>) {
        match self.event() {
            SessionEvent::Closed { end, pieces, .. } => (end, pieces),
            other => panic!("{other:?} instead of an end"),
        }
    }
}

/// The other end of a connection.
struct Other(TcpStream);

impl Other {
    fn send(&mut self, message: Message<'_>) {
        let mut bytes = Vec::new();
        wire::encode(message, &mut bytes);
        self.send_bytes(&bytes);
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn send_block(&mut self, block: RawBlock, bytes: &[u8]) {
        let mut message = (9 + block.length).to_be_bytes().to_vec();
        message.push(7);
        message.extend(block.index.to_be_bytes());
        message.extend(block.begin.to_be_bytes());
        message.extend(bytes);
        self.send_bytes(&message);
    }

    fn shake_hands(&mut self, hash: InfoHash) {
        let ours = Handshake { reserved: Reserved([0; 8]), info_hash: hash, peer_id: THEM };
        self.send_bytes(&ours.to_bytes());
    }

    fn handshake(&mut self) -> Handshake {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        self.0.read_exact(&mut bytes).unwrap();
        Handshake::from_bytes(&bytes).unwrap()
    }

    /// The next message, its id first.
    fn message(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut message).unwrap();
        message
    }

    fn request(&mut self) -> RawBlock {
        let message = self.message();
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        assert!(message[0] == 6 && message.len() == 13, "{message:?} is no request");
        RawBlock { index: number(1), begin: number(5), length: number(9) }
    }

    /// Waits until the connection is closed; what comes before is of no matter.
    fn wait_for_end(&mut self) {
        let mut void = [0; 4096];
        while self.0.read(&mut void).is_ok_and(|got| got > 0) {}
    }
}

fn pair() -> (TcpStream, Other) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, Other(theirs))
}

/// A session that the other side has begun, before its handshake.
fn accepted(torrent: &Torrent) -> (JoinHandle<Result<(), End>>, Other) {
    let (ours, other) = pair();
    let share = torrent.share.clone();
    let hash = torrent.hash();
    let names = [Wanted::InfoHash(hash), Wanted::RequestHash(mse::request_hash(hash))];
    let find = move |wanted| names.contains(&wanted).then(|| share.clone());
    let host = torrent.host.clone();
    (thread::spawn(move || accept(&host, PeerConnection::new(ours), find)), other)
}

/// A session that we have begun, after our handshake.
fn dialled(torrent: &Torrent) -> (JoinHandle<Result<(), End>>, Other) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (share, address) = (torrent.share.clone(), listener.local_addr().unwrap());
    let host = torrent.host.clone();
    let session = thread::spawn(move || dial(&host, &share, address));
    let mut other = Other(listener.accept().unwrap().0);
    other.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let theirs = other.handshake();
    assert_eq!((theirs.info_hash, theirs.peer_id), (torrent.hash(), US));
    (session, other)
}

/// An accepted session that has started and lets the other side ask.
fn serving(torrent: &Torrent) -> (JoinHandle<Result<(), End>>, Other, SessionHandle) {
    let (session, mut other) = accepted(torrent);
    other.shake_hands(torrent.hash());
    assert_eq!(other.handshake().info_hash, torrent.hash());
    let handle = torrent.opened();
    handle.order(SendOrder::Start(Some(torrent.share.have.snapshot())));
    handle.order(SendOrder::Unchoke);
    (session, other, handle)
}

/// A dialled session that has started and may ask.
fn taking(torrent: &Torrent) -> (JoinHandle<Result<(), End>>, Other, SessionHandle) {
    let (session, mut other) = dialled(torrent);
    other.shake_hands(torrent.hash());
    let handle = torrent.opened();
    handle.order(SendOrder::Start(None));
    other.send(Message::Unchoke);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Unchoked(..))));
    (session, other, handle)
}

fn raw(index: u32, begin: u32, length: u32) -> RawBlock {
    RawBlock { index, begin, length }
}

/// The other end of an encrypted connection, after the handshake inside: it has provided these methods and sends this first.
fn encrypted(torrent: &Torrent, provided: u32, initial: usize) -> (JoinHandle<Result<(), End>>, Other, mse::Ciphers) {
    let (session, mut other) = accepted(torrent);
    let ours = Handshake { reserved: Reserved([0; 8]), info_hash: torrent.hash(), peer_id: THEM }.to_bytes();
    let begin = ours[..initial.min(HANDSHAKE_LENGTH)].to_vec();
    let initiator = Initiator { torrent: torrent.hash(), initial: begin, ..Initiator::that_provides(provided) };
    other.send_bytes(&initiator.begin());
    let mut key = [0; mse::KEY_LENGTH];
    other.0.read_exact(&mut key).unwrap();
    let (rest, mut ciphers) = initiator.go_on(&key);
    other.send_bytes(&rest);
    let mut answer = [0; 14];
    other.0.read_exact(&mut answer).unwrap();
    ciphers.incoming.apply(&mut answer);
    let chosen = if provided & 1 != 0 { 1 } else { 2 };
    assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, chosen, 0, 0]);
    let mut rest = ours[initial.min(HANDSHAKE_LENGTH)..].to_vec();
    if chosen == 2 {
        ciphers.outgoing.apply(&mut rest);
    }
    other.send_bytes(&rest);
    let mut theirs = vec![0; HANDSHAKE_LENGTH];
    other.0.read_exact(&mut theirs).unwrap();
    if chosen == 2 {
        ciphers.incoming.apply(&mut theirs);
    }
    assert_eq!(theirs, Handshake::ours(torrent.hash(), US).to_bytes());
    (session, other, ciphers)
}

#[test]
fn a_peer_that_encrypts_its_handshake_is_served_in_the_clear_where_it_allows_that() {
    let torrent = Torrent::all_of(1);
    for initial in [0, 48, HANDSHAKE_LENGTH] {
        let (session, mut other, ..) = encrypted(&torrent, 3, initial);
        let handle = torrent.opened();
        handle.order(SendOrder::Start(Some(torrent.share.have.snapshot())));
        handle.order(SendOrder::Unchoke);
        assert_eq!(other.message(), [5, 0b1110_0000]);
        assert_eq!(other.message(), [1]);
        let block = raw(2, BLOCK_LENGTH, 777);
        other.send(Message::Request(block));
        assert_eq!(other.message()[9..], *torrent.bytes(block));
        assert!(
            matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, true))),
            "a request says that it is"
        );
        drop(other);
        assert!(session.join().unwrap().is_ok());
        assert!(matches!(torrent.closed().0, End::ClosedByPeer));
    }
}

#[test]
fn a_peer_that_insists_on_encryption_gives_and_takes_encrypted() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, mut ciphers) = encrypted(&torrent, 2, HANDSHAKE_LENGTH);
    let handle = torrent.opened();
    handle.order(SendOrder::Start(Some(torrent.share.have.snapshot())));
    handle.order(SendOrder::Unchoke);
    let blocks = [raw(0, 0, BLOCK_LENGTH), raw(0, BLOCK_LENGTH, BLOCK_LENGTH), raw(2, 2 * BLOCK_LENGTH, 500)];
    let mut wanted = vec![0, 0, 0, 2, 5, 0b1110_0000, 0, 0, 0, 1, 1];
    for block in blocks {
        let mut request = Vec::new();
        wire::encode(Message::Request(block), &mut request);
        ciphers.outgoing.apply(&mut request);
        // However it is cut.
        request.chunks(3).for_each(|part| other.send_bytes(part));
        wanted.extend((9 + block.length).to_be_bytes());
        wanted.extend([&[7], &block.index.to_be_bytes()[..], &block.begin.to_be_bytes()].concat());
        wanted.extend(torrent.bytes(block));
    }
    let mut got = vec![0; wanted.len()];
    other.0.read_exact(&mut got).unwrap();
    ciphers.incoming.apply(&mut got);
    assert!(got == wanted, "what was sent encrypted is not what it should be");
    handle.end();
    other.wait_for_end();
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn a_block_that_comes_encrypted_is_taken() {
    let torrent = Torrent::nothing_of(1);
    let (session, mut other, mut ciphers) = encrypted(&torrent, 2, 0);
    let handle = torrent.opened();
    handle.order(SendOrder::Start(None));
    let mut say = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        ciphers.outgoing.apply(&mut bytes);
        other.send_bytes(&bytes);
    };
    say(&[0, 0, 0, 1, 1]);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Unchoked(..))));
    let piece = torrent.share.geometry().piece(2).unwrap();
    let length = torrent.share.geometry().length_of(piece);
    let work = PieceInFlight::new(torrent.share.geometry(), piece, Home::Memory);
    handle.assign(work, Instant::now()).unwrap();
    for begin in (0..length).step_by(BLOCK_LENGTH as usize) {
        let block = raw(2, begin, BLOCK_LENGTH.min(length - begin));
        let mut message = (9 + block.length).to_be_bytes().to_vec();
        message.extend([&[7], &block.index.to_be_bytes()[..], &block.begin.to_be_bytes()].concat());
        message.extend(torrent.bytes(block));
        say(&message);
    }
    torrent.finished.recv_timeout(PATIENCE).expect("the piece is finished");
    assert_eq!(handle.traffic.downloaded.load(Ordering::Relaxed), u64::from(length));
    drop(other);
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn a_handshake_is_answered_once_it_has_named_the_torrent() {
    let torrent = Torrent::all_of(1);
    let (session, mut other) = accepted(&torrent);
    let theirs = Handshake { reserved: Reserved([0; 8]), info_hash: torrent.hash(), peer_id: THEM }.to_bytes();
    other.send_bytes(&theirs[..48]);
    assert_eq!(other.handshake().peer_id, US);
    other.send_bytes(&theirs[48..]);
    assert_eq!(torrent.opened().remote.peer_id, THEM);
    drop(other);
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn what_is_no_handshake_in_the_clear_nor_encrypted_is_closed() {
    let torrent = Torrent::all_of(1);
    let (session, mut other) = accepted(&torrent);
    other.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    other.0.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(session.join().unwrap(), Err(End::ClosedByPeer)));
    let (session, mut other) = accepted(&torrent);
    other.send_bytes(&[b'x'; 96 + 532]);
    assert!(matches!(session.join().unwrap(), Err(End::Encrypted(mse::MseError::NoSync))));
    // One that is about a torrent that is not here.
    let (session, mut other) = accepted(&torrent);
    let stranger = Initiator::that_provides(3);
    other.send_bytes(&stranger.begin());
    let mut key = [0; mse::KEY_LENGTH];
    other.0.read_exact(&mut key).unwrap();
    other.send_bytes(&stranger.go_on(&key).0);
    assert!(matches!(session.join().unwrap(), Err(End::UnknownRequest)));
}

#[test]
fn a_session_that_gives_says_what_it_has_first_and_answers_requests_with_the_right_bytes() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, handle) = serving(&torrent);
    assert_eq!(other.message(), [5, 0b1110_0000], "the bitfield comes first");
    assert_eq!(other.message(), [1]);
    other.send(Message::Interested);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(id, true)) if id == handle.id()));
    let blocks = [raw(0, 0, BLOCK_LENGTH), raw(2, BLOCK_LENGTH, 777), raw(0, 16, 5), raw(2, 2 * BLOCK_LENGTH, 500)];
    blocks.into_iter().for_each(|block| other.send(Message::Request(block)));
    for block in blocks {
        let message = other.message();
        let head = [&[7], &block.index.to_be_bytes()[..], &block.begin.to_be_bytes()].concat();
        assert!(message[..9] == head && message[9..] == *torrent.bytes(block), "{block}");
    }
    let uploaded: u64 = blocks.iter().map(|block| u64::from(block.length)).sum();
    other.send(Message::KeepAlive);
    other.0.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(torrent.closed(), (End::ClosedByPeer | End::Io(_), pieces) if pieces.is_empty()));
    assert!(session.join().unwrap().is_ok());
    assert_eq!(handle.traffic.uploaded.load(Ordering::Relaxed), uploaded);
}

#[test]
fn a_choke_is_told_and_what_is_asked_meanwhile_stays_unanswered() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, handle) = serving(&torrent);
    assert_eq!([other.message()[0], other.message()[0]], [5, 1]);
    handle.order(SendOrder::Choke);
    assert_eq!(other.message(), [0]);
    other.send(Message::Request(raw(0, 0, 10)));
    assert!(
        matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, true))),
        "whoever asks for blocks is interested"
    );
    other.send(Message::NotInterested);
    assert!(
        matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, false))),
        "so the request was read, too"
    );
    handle.order(SendOrder::Unchoke);
    assert_eq!(other.message(), [1]);
    other.send(Message::Request(raw(1, 0, 10)));
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, true))));
    assert_eq!(other.message()[..5], [7, 0, 0, 0, 1]);
    handle.end();
    other.wait_for_end();
    assert!(matches!(torrent.closed().0, End::ClosedByUs));
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn whoever_closes_its_half_after_its_requests_gets_the_answers() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, _handle) = serving(&torrent);
    assert_eq!([other.message()[0], other.message()[0]], [5, 1]);
    let turns: Vec<_> = std::iter::from_fn(|| torrent.host.turns.take(Duration::ZERO)).collect();
    assert!(!turns.is_empty(), "they wait for a moment before they go");
    let blocks = [raw(0, 0, BLOCK_LENGTH), raw(2, BLOCK_LENGTH, BLOCK_LENGTH), raw(1, 0, BLOCK_LENGTH)];
    blocks.into_iter().for_each(|block| other.send(Message::Request(block)));
    other.0.shutdown(Shutdown::Write).unwrap();
    for block in blocks {
        assert!(other.message()[9..] == *torrent.bytes(block), "{block}");
    }
    other.wait_for_end();
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, true))));
    let mut event = torrent.event();
    if let SessionEvent::Peer(PeerEvent::Choked(_, pieces)) = event {
        assert!(pieces.is_empty());
        event = torrent.event();
    }
    assert!(matches!(event, SessionEvent::Closed { end: End::ClosedByPeer, .. }));
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn a_handshake_is_answered_once_the_torrent_is_known_and_the_peer_id_may_come_later() {
    let torrent = Torrent::all_of(1);
    let (session, mut other) = accepted(&torrent);
    let theirs = Handshake::ours(torrent.hash(), PeerId([9; 20])).to_bytes();
    other.send_bytes(&theirs[..30]);
    other.send_bytes(&theirs[30..48]);
    let mut ours = [0; HANDSHAKE_LENGTH];
    other.0.read_exact(&mut ours).unwrap();
    assert_eq!(Handshake::from_bytes(&ours).unwrap().peer_id, US);
    other.send_bytes(&theirs[48..]);
    let handle = torrent.opened();
    assert_eq!(handle.remote.peer_id, PeerId([9; 20]));
    handle.end();
    assert!(matches!(torrent.closed().0, End::ClosedByUs));
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn control_goes_out_while_blocks_wait_for_their_turn_and_they_go_in_the_end() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, handle) = serving(&torrent);
    assert_eq!([other.message()[0], other.message()[0]], [5, 1]);
    let turns: Vec<_> = std::iter::from_fn(|| torrent.host.turns.take(Duration::ZERO)).collect();
    assert!(!turns.is_empty());
    other.send(Message::Interested);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, true))));
    // It waits for a tenth of a second, in which a busy machine may not let this thread speak; so it may try again.
    let said_first = (0..20).any(|_| {
        other.send(Message::Request(raw(1, 0, 10)));
        other.send(Message::Interested);
        assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(..))));
        while !handle.outgoing.is_taken() {
            thread::yield_now();
        }
        handle.order(SendOrder::Interested);
        let said = [other.message()[0], other.message()[0]];
        assert!(said.contains(&2) && said.contains(&7), "{said:?}");
        said == [2, 7]
    });
    assert!(said_first);
    other.0.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(torrent.closed(), (End::ClosedByPeer | End::Io(_), _)));
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn a_session_that_takes_asks_for_its_pieces_and_hands_them_on_whole() {
    let torrent = Torrent::nothing_of(1);
    let (session, mut other) = dialled(&torrent);
    other.shake_hands(torrent.hash());
    let handle = torrent.opened();
    handle.order(SendOrder::Start(None));
    handle.order(SendOrder::Interested);
    assert_eq!(other.message(), [2], "who has nothing says nothing of it");
    other.send(Message::Have(1));
    other.send(Message::Unchoke);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Gained(_, piece)) if piece.get() == 1));
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Unchoked(_, bytes)) if bytes > 0));
    for home in [Home::Memory, Home::Disk] {
        let geometry = torrent.share.geometry();
        let piece = PieceInFlight::new(geometry, geometry.piece(1).unwrap(), home);
        handle.assign(piece, Instant::now()).unwrap();
        for _ in 0..3 {
            let asked = other.request();
            other.send_block(asked, torrent.bytes(asked));
        }
        let piece = torrent.finished.recv_timeout(PATIENCE).unwrap();
        let mut bytes = vec![0; PIECE];
        match piece.held_runs().pop() {
            Some((_, blocks)) => bytes = blocks.iter().flat_map(|block| block.iter().copied()).collect(),
            None => torrent.share.store.read(PIECE as u64, &mut bytes).unwrap(),
        }
        assert!(bytes == torrent.bytes(raw(1, 0, PIECE as u32)), "{home:?}");
        assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::BytesWanted(_, bytes)) if bytes > 0));
    }
    drop(other);
    assert!(matches!(torrent.closed().0, End::ClosedByPeer | End::Io(_)));
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn what_a_peer_leaves_unfinished_comes_back_with_what_it_gave() {
    let torrent = Torrent::nothing_of(1);
    let (session, mut other, handle) = taking(&torrent);
    let geometry = *torrent.share.geometry();
    let piece = PieceInFlight::new(&geometry, geometry.piece(0).unwrap(), Home::Memory);
    handle.assign(piece, Instant::now()).unwrap();
    let asked = [other.request(), other.request(), other.request()];
    other.send_block(asked[0], torrent.bytes(asked[0]));
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::BytesWanted(..))));
    other.send(Message::Choke);
    let SessionEvent::Peer(PeerEvent::Choked(_, mut pieces)) = torrent.event() else { panic!("it was choked") };
    let piece = pieces.pop().unwrap();
    assert_eq!(piece.missing_blocks().count(), 2);
    let piece = handle.assign(piece, Instant::now()).unwrap_err();
    // An answer that crosses the choke on its way is no offence.
    other.send_block(asked[1], torrent.bytes(asked[1]));
    other.send(Message::Unchoke);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Unchoked(..))));
    handle.assign(piece, Instant::now()).unwrap();
    assert_eq!([other.request(), other.request()], asked[1..]);
    other.send_block(asked[2], torrent.bytes(asked[2]));
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::BytesWanted(..))));
    other.0.shutdown(Shutdown::Both).unwrap();
    let missing: Vec<_> = torrent.closed().1.pop().unwrap().missing_blocks().map(RawBlock::from).collect();
    assert_eq!(missing, asked[1..2]);
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn a_dripped_block_that_was_recalled_meanwhile_leaves_the_disk_alone() {
    let torrent = Torrent::all_of(1);
    let (session, mut other, handle) = taking(&torrent);
    let geometry = torrent.share.geometry();
    let piece = PieceInFlight::new(geometry, geometry.piece(0).unwrap(), Home::Disk);
    let index = piece.piece();
    handle.assign(piece, Instant::now()).unwrap();
    let asked = other.request();
    let mut lie = Vec::new();
    lie.extend((9 + asked.length).to_be_bytes());
    lie.extend([7, 0, 0, 0, 0, 0, 0, 0, 0]);
    lie.extend(vec![0xee; asked.length as usize]);
    let (most, last) = lie.split_at(lie.len() - 1);
    other.send(Message::Interested);
    other.send_bytes(most);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(..))));
    let deadline = Instant::now() + PATIENCE;
    while Arc::strong_count(&torrent.host.buffers) == 1 {
        assert!(Instant::now() < deadline, "the block is being read into no buffer");
        thread::yield_now();
    }
    // The piece goes to others, which send it right.
    assert!(handle.requests().recall(index).0.is_some());
    other.send_bytes(last);
    other.send(Message::NotInterested);
    assert!(matches!(torrent.event(), SessionEvent::Peer(PeerEvent::Interested(_, false))));
    let mut bytes = vec![0; asked.length as usize];
    torrent.share.store.read(0, &mut bytes).unwrap();
    assert!(bytes == torrent.bytes(asked));
    handle.end();
    assert!(session.join().unwrap().is_ok());
}

#[test]
fn what_breaks_the_protocol_ends_the_session_and_says_why() {
    let torrent = Torrent::nothing_of(1);
    let unasked: Vec<u8> = (0..17).flat_map(|_| [&[0, 0, 0, 10, 7][..], &[0; 8], &[1]].concat()).collect();
    type Case<'a> = (&'a [u8], fn(&End) -> bool);
    let cases: [Case<'_>; 8] = [
        (b"\x7f\xff\xff\xff\x07", |end| matches!(end, End::Wire(_))),
        (b"\0\0\0\x02\x00\x00", |end| matches!(end, End::Wire(_))),
        (b"\0\0\0\x02\x05\x01", |end| matches!(end, End::Bitfield(_))),
        (b"\0\0\0\x05\x04\0\0\0\x03", |end| matches!(end, End::NoSuchPiece(3))),
        (b"\0\0\0\x0d\x06\0\0\0\0\0\0\0\0\0\0\x40\x01", |end| matches!(end, End::NoSuchBlock(_))),
        (b"\0\0\0\x0d\x06\0\0\0\0\0\0\0\0\0\0\x40\x00", |end| matches!(end, End::PieceNotHere(0))),
        (&unasked, |end| matches!(end, End::Unasked(_))),
        (b"\0\0\0\x04\x14\x00de\0\0\0\x04\x14\x00xx", |end| matches!(end, End::Extension(_))),
    ];
    for (bytes, is_right) in cases {
        let (session, mut other, _) = serving(&torrent);
        other.send_bytes(bytes);
        other.wait_for_end();
        let end = loop {
            match torrent.event() {
                SessionEvent::Closed { end, .. } => break end,
                SessionEvent::Peer(PeerEvent::ExtensionHandshake { .. }) => {}
                event => panic!("{event:?}"),
            }
        };
        assert!(is_right(&end) && end.is_violation(), "{end:?} after {bytes:?}");
        assert!(session.join().unwrap().is_ok());
    }
}

#[test]
fn strangers_are_turned_away_before_there_is_a_session() {
    let (torrent, elsewhere) = (Torrent::all_of(1), Torrent::all_of(2));
    let (session, mut other) = accepted(&torrent);
    other.shake_hands(elsewhere.hash());
    other.wait_for_end();
    assert!(matches!(session.join().unwrap(), Err(End::UnknownTorrent(hash)) if hash == elsewhere.hash()));

    // Whom we dial speaks in the clear. One that dials us may go on with an encrypted handshake.
    let (session, mut other) = dialled(&torrent);
    other.send_bytes(b"G");
    other.wait_for_end();
    assert!(matches!(session.join().unwrap(), Err(End::Handshake(_))), "one byte is enough to tell");

    let (session, mut other) = dialled(&torrent);
    other.shake_hands(elsewhere.hash());
    other.wait_for_end();
    assert!(matches!(session.join().unwrap(), Err(End::OtherTorrent(hash)) if hash == elsewhere.hash()));

    let (session, mut other) = accepted(&torrent);
    other.send_bytes(&Handshake::ours(torrent.hash(), US).to_bytes());
    other.wait_for_end();
    assert!(matches!(session.join().unwrap(), Err(End::Myself)));
    assert!(torrent.events.is_empty(), "nobody hears of any of them");
}
