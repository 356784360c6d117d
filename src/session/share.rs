//! What all sessions of one torrent have in common, and what all sessions of the process have.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use crossbeam_channel::Sender;

use super::{Limiter, SessionEvent, exchanges::Exchanges, outgoing::turns::UplinkTurns};
use crate::{
    bitfield::Bitfield,
    metainfo::{Geometry, Metainfo, PeerId, PieceIndex},
    policy::{Buffers, PieceInFlight, SessionId},
    storage::{self, Ledger, Stamps, Store},
};

/// Who we are on the wire: one a process.
#[derive(Debug)]
pub struct LocalPeer {
    peer_id: PeerId,
    /// What people call this machine, where its owner chose a name.
    name: OnceLock<Box<str>>,
    /// 0 until a listener is open.
    port: AtomicU16,
    next_session: AtomicU64,
    /// What all sessions may upload, together.
    pub upload: Limiter,
    /// What all sessions may download, together.
    pub download: Limiter,
    /// Which peers may exchange keys.
    pub(super) exchanges: Exchanges,
    /// Whose turn it is to send blocks.
    pub(super) turns: UplinkTurns,
    /// Block buffers for all of them.
    pub buffers: Arc<Buffers>,
}

/// One torrent, as its sessions see it.
pub struct SharedTorrent {
    /// What is shared.
    pub metainfo: Arc<Metainfo>,
    /// Where its bytes are.
    pub store: Arc<Store>,
    /// Its files as they were when all of it was known to be right; nothing while it is still written to.
    pub stamps: Arc<OnceLock<Stamps>>,
    /// Which pieces are verified and may be uploaded.
    pub have: Arc<HaveSet>,
    /// Where sessions tell what happens.
    pub events: Sender<SessionEvent>,
    /// Where blocks go that come; `None` where nothing is fetched.
    pub incoming: Option<IncomingPieces>,
    /// What the sessions of this torrent may send, together, besides what all of the process may.
    pub upload: Limiter,
    /// What they may take.
    pub download: Limiter,
    /// Totals of all sessions, those that have ended too.
    pub traffic: Traffic,
    /// How many sessions are sending blocks at this moment; with none the uplink idles.
    pub sending: AtomicUsize,
    /// Whether it is being fetched and no peer uploads any of it: its trackers are asked sooner.
    pub lacks_peers: AtomicBool,
}

/// Where the blocks of a torrent go that is fetched.
#[derive(Clone)]
pub struct IncomingPieces {
    /// Writes those of a piece that is not kept in memory. Gone once the fetch is over, however long somebody holds the torrent: the
    /// ledger keeps others from the files.
    pub ledger: Weak<Ledger>,
    /// Takes complete pieces, to be hashed.
    pub finished: Sender<PieceInFlight>,
}

/// Bytes of blocks that passed: the payload, as trackers count it (BEP 3).
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of blocks downloaded.
    pub downloaded: AtomicU64,
    /// Bytes of blocks uploaded.
    pub uploaded: AtomicU64,
    /// Bytes of blocks downloaded in vain: not asked for any more, there already, or wrong.
    pub wasted: AtomicU64,
}

/// Which pieces are verified: read by every session, a bit set by the hash worker that verified its piece.
#[derive(Debug)]
pub struct HaveSet {
    bytes: Box<[AtomicU8]>,
    len: u32,
    count: AtomicU32,
}

impl LocalPeer {
    /// A process of that name; rates in bytes a second, 0 for no limit.
    pub fn new(peer_id: PeerId, upload_limit: u64, download_limit: u64) -> LocalPeer {
        LocalPeer {
            peer_id,
            name: OnceLock::new(),
            port: AtomicU16::new(0),
            next_session: AtomicU64::new(0),
            upload: Limiter::new(upload_limit),
            download: Limiter::new(download_limit),
            exchanges: Exchanges::default(),
            turns: UplinkTurns::default(),
            buffers: Arc::default(),
        }
    }

    /// Our peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// What people call this machine; peers are told.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }

    /// From now on it is called that; the first name stays.
    pub fn set_name(&self, name: Box<str>) {
        _ = self.name.set(name);
    }

    /// The port on which we take connections, once there is one.
    pub fn port(&self) -> Option<u16> {
        Some(self.port.load(Ordering::Relaxed)).filter(|port| *port != 0)
    }

    /// From now on connections are taken on this port.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// A name for a new session.
    pub(super) fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for SharedTorrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedTorrent({})", self.metainfo.info_hash())
    }
}

impl SharedTorrent {
    /// How its bytes are cut.
    pub fn geometry(&self) -> &Geometry {
        self.metainfo.geometry()
    }

    /// Reads bytes of the torrent for a peer. Once all of it was right they come only from files that are as they were then.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), storage::StorageError> {
        match self.stamps.get() {
            Some(stamps) => self.store.read_unchanged(offset, buffer, stamps),
            None => self.store.read(offset, buffer),
        }
    }

    /// Whether the files are as they were when all of it was right, as far as that is so already.
    pub fn check(&self) -> Result<(), storage::StorageError> {
        self.stamps.get().map_or(Ok(()), |stamps| stamps.check(&self.store))
    }

    /// Bytes that are not verified yet (BEP 3, `left`).
    pub fn left(&self) -> u64 {
        if self.have.is_full() {
            return 0;
        }
        let have = self.have.snapshot();
        let geometry = self.geometry();
        let missing = geometry.pieces().filter(|piece| !have.get(piece.get()));
        missing.map(|piece| u64::from(geometry.length_of(piece))).sum()
    }
}

impl HaveSet {
    /// The set that `bits` is.
    pub fn new(bits: &Bitfield) -> HaveSet {
        let bytes = bits.as_bytes().iter().map(|byte| AtomicU8::new(*byte)).collect();
        HaveSet { bytes, len: bits.len(), count: AtomicU32::new(bits.count()) }
    }

    /// Whether this piece is in it.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bytes[piece.as_usize() / 8].load(Ordering::Acquire) & bit(piece) != 0
    }

    /// Puts a piece into it.
    pub fn insert(&self, piece: PieceIndex) {
        if self.bytes[piece.as_usize() / 8].fetch_or(bit(piece), Ordering::AcqRel) & bit(piece) == 0 {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How many pieces are in it.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether every piece is.
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// The set at this moment.
    pub fn snapshot(&self) -> Bitfield {
        let bytes: Vec<u8> = self.bytes.iter().map(|byte| byte.load(Ordering::Acquire)).collect();
        Bitfield::from_bytes(&bytes, self.len).expect("only bits of pieces are ever set")
    }
}

fn bit(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}
