//! What the torrents of this process show to whoever looks: plain values, and the [`Board`] that they hang on.
//!
//! Coordinators and the node that they belong to write on the board, each its own fields; the page reads. Its locks are
//! held for one pure call. What costs something is done only while somebody watches: then what is live comes every
//! [`WATCHED`] instead of every [`UNWATCHED`], and transfers are kept.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::{
    bitfield::Bitfield,
    metainfo::{InfoHash, Metainfo, PeerId},
};

/// How often what is live comes while somebody watches: as smooth as an eye wants it.
pub const WATCHED: Duration = Duration::from_millis(250);

/// How often it comes while nobody does, and only of torrents that somebody is connected for.
pub const UNWATCHED: Duration = Duration::from_secs(1);

/// Transfers that are kept for those who watch: of usual pieces, more than a fast machine moves between two looks.
/// 160 KiB.
const MAX_TRANSFERS: usize = 2048;

/// The torrents of a process, as they are at this moment.
#[derive(Debug, Default)]
pub struct Board {
    torrents: Mutex<HashMap<InfoHash, Arc<TorrentReport>>>,
    transfers: Mutex<RecentTransfers>,
    watching: Arc<AtomicUsize>,
}

/// Somebody watches for as long as this lives.
#[derive(Debug)]
pub struct Watching(Arc<AtomicUsize>);

/// A torrent at one moment.
#[derive(Debug, Clone)]
pub struct TorrentReport {
    /// What it is.
    pub metainfo: Arc<Metainfo>,
    /// The folder that it lies in.
    pub dir: PathBuf,
    /// What is being done with it.
    pub activity: Activity,
    /// The pieces that are verified and here.
    pub have: Bitfield,
    /// Bytes of those.
    pub verified: u64,
    /// Bytes of blocks taken from peers by this run, those in vain among them.
    pub downloaded: u64,
    /// Bytes of blocks uploaded to peers by this run.
    pub uploaded: u64,
    /// Bytes of blocks taken in vain.
    pub wasted: u64,
    /// Bytes a second taken, over the last seconds.
    pub down_rate: f64,
    /// Bytes a second uploaded.
    pub up_rate: f64,
    /// The highest rate at which bytes were taken for about a second; 0 before any was seen.
    pub peak_down: f64,
    /// The same of bytes uploaded.
    pub peak_up: f64,
    /// Bytes a second that may be uploaded; 0 for no limit.
    pub upload_limit: u64,
    /// Bytes a second that may be taken; 0 for no limit.
    pub download_limit: u64,
    /// When this process was told of it.
    pub began: SystemTime,
    /// When its last piece was verified, where that happened in this run.
    pub finished: Option<SystemTime>,
    /// Why its tracker has no answer, while it has none.
    pub trouble: Option<String>,
    /// Seeders in its swarm, by the last answer of a tracker.
    pub complete: Option<u32>,
    /// When rates and peers were noted.
    pub noted: Instant,
    /// The peers connected for it, those that came first ahead.
    pub peers: Vec<PeerReport>,
}

/// What is being done with a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// What lies on the disk is being hashed.
    Verifying,
    /// Pieces are downloaded, and uploaded.
    Fetching,
    /// All is here and uploaded.
    Seeding,
    /// Nothing is, until somebody says so.
    Paused,
    /// Nothing is, and this is why.
    Failed(String),
}

/// A connected peer at one moment.
#[derive(Debug, Clone)]
pub struct PeerReport {
    /// Its address on this connection.
    pub address: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Its client's name, where it sent one (BEP 10, `v`).
    pub client: Option<String>,
    /// What it calls itself for people, where it says so.
    pub name: Option<Box<str>>,
    /// Whether it says that it only uploads (BEP 21).
    pub upload_only: bool,
    /// The pieces that it says it has, and those that were sent to it whole.
    pub have: Bitfield,
    /// Bytes a second that it uploads to us, over the last seconds.
    pub down_rate: f64,
    /// Bytes a second that we upload to it.
    pub up_rate: f64,
    /// The highest rate at which it uploaded for about a second; 0 before any was seen.
    pub peak_down: f64,
    /// The same of what we uploaded to it.
    pub peak_up: f64,
    /// Bytes of blocks that it uploaded to us.
    pub downloaded: u64,
    /// Bytes of blocks that we uploaded to it.
    pub uploaded: u64,
    /// Whether it answers none of our requests.
    pub they_choke: bool,
    /// Whether we answer none of its.
    pub we_choke: bool,
    /// Whether it wants something that we have.
    pub they_want: bool,
    /// Whether it ever wanted something that we have.
    pub has_wanted: bool,
    /// When it connected.
    pub since: SystemTime,
}

/// A piece that has passed between two machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Which piece.
    pub piece: u32,
    /// The other machine.
    pub peer: PeerId,
    /// Its address.
    pub address: SocketAddr,
    /// Which way the piece went.
    pub way: TransferKind,
}

/// Which way a piece went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// From here: all of its blocks were sent.
    Uploaded,
    /// To here, where it is verified; from several peers perhaps, of which the one that sent the end of it is named.
    Downloaded,
    /// The peer has it now, and not from here.
    Elsewhere,
}

#[derive(Debug, Default)]
struct RecentTransfers {
    /// The number of the first that is kept.
    first: u64,
    kept: VecDeque<Transfer>,
}

impl Board {
    /// All torrents, the oldest first.
    pub fn torrents(&self) -> Vec<Arc<TorrentReport>> {
        let mut torrents: Vec<_> = self.lock().values().cloned().collect();
        torrents.sort_by_key(|torrent| (torrent.began, torrent.metainfo.info_hash()));
        torrents
    }

    /// One of them.
    pub fn torrent(&self, hash: &InfoHash) -> Option<Arc<TorrentReport>> {
        self.lock().get(hash).cloned()
    }

    /// The transfers from number `seq` on, as far as they are kept, and the number that the next will have. To begin with,
    /// ask from 0.
    pub fn transfers_since(&self, seq: u64) -> (Vec<Transfer>, u64) {
        let transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = transfers.first + transfers.kept.len() as u64;
        let seen = seq.clamp(transfers.first, next) - transfers.first;
        (transfers.kept.iter().skip(seen as usize).cloned().collect(), next)
    }

    /// Has what is live come more often, and transfers kept, for as long as what this returns lives.
    pub fn watch(&self) -> Watching {
        self.watching.fetch_add(1, Ordering::AcqRel);
        Watching(self.watching.clone())
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Acquire) > 0
    }

    /// Puts a torrent on the board; one that is there already stays as it is.
    pub fn add(&self, metainfo: Arc<Metainfo>, dir: &Path, activity: Activity) {
        let new = || Arc::new(TorrentReport::new(metainfo.clone(), dir, activity));
        self.lock().entry(metainfo.info_hash()).or_insert_with(new);
    }

    /// Changes what is said of a torrent, if it is there.
    pub fn update(&self, hash: InfoHash, change: impl FnOnce(&mut TorrentReport)) {
        if let Some(report) = self.lock().get_mut(&hash) {
            change(Arc::make_mut(report));
        }
    }

    /// Takes a torrent off the board.
    pub fn remove(&self, hash: InfoHash) {
        self.lock().remove(&hash);
    }

    /// Keeps what has passed; forgets it all when nobody watches.
    pub fn record(&self, passed: impl IntoIterator<Item = Transfer>) {
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_watched() {
            transfers.first += transfers.kept.len() as u64;
            transfers.kept = VecDeque::new();
            return;
        }
        for transfer in passed {
            if transfers.kept.len() == MAX_TRANSFERS {
                transfers.kept.pop_front();
                transfers.first += 1;
            }
            transfers.kept.push_back(transfer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InfoHash, Arc<TorrentReport>>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TorrentReport {
    /// Of a torrent of which nothing is known but what it is.
    pub fn new(metainfo: Arc<Metainfo>, dir: &Path, activity: Activity) -> TorrentReport {
        TorrentReport {
            have: Bitfield::empty(metainfo.geometry().piece_count()),
            metainfo,
            dir: dir.to_owned(),
            activity,
            verified: 0,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            down_rate: 0.0,
            up_rate: 0.0,
            peak_down: 0.0,
            peak_up: 0.0,
            upload_limit: 0,
            download_limit: 0,
            began: SystemTime::now(),
            finished: None,
            trouble: None,
            complete: None,
            noted: Instant::now(),
            peers: Vec::new(),
        }
    }

    /// These pieces are here.
    pub fn set_have(&mut self, have: Bitfield) {
        let geometry = self.metainfo.geometry();
        let lengths = have.iter().filter_map(|index| geometry.piece(index)).map(|piece| geometry.length_of(piece));
        self.verified = lengths.map(u64::from).sum();
        self.have = have;
    }

    /// Where the file lies, if the torrent is one and all of it was verified.
    pub fn whole_file(&self) -> Option<PathBuf> {
        let is_right = self.have.is_full() && !matches!(self.activity, Activity::Verifying | Activity::Failed(_));
        (is_right && self.metainfo.is_single_file()).then(|| self.dir.join(self.metainfo.name()))
    }

    /// Time until all is here at the rate of now; `None` while nothing comes.
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.metainfo.length().saturating_sub(self.verified) as f64;
        (self.down_rate >= 1.0).then(|| Duration::from_secs_f64(left / self.down_rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Torrent;

    fn board_of(torrents: &[&Torrent]) -> Board {
        let board = Board::default();
        for torrent in torrents {
            board.add(torrent.share.metainfo.clone(), Path::new(""), Activity::Seeding);
        }
        board
    }

    fn transfer(piece: usize) -> Transfer {
        let (info_hash, peer) = (InfoHash([7; 20]), PeerId([1; 20]));
        Transfer {
            info_hash,
            piece: piece as u32,
            peer,
            address: ([127, 0, 0, 1], 1).into(),
            way: TransferKind::Uploaded,
        }
    }

    #[test]
    fn each_writes_its_own_fields_and_a_reader_keeps_what_it_saw() {
        let (one, two) = (Torrent::all_of(1), Torrent::all_of(2));
        let board = board_of(&[&one, &two]);
        let hash = one.share.metainfo.info_hash();
        let seen = board.torrent(&hash).unwrap();
        board.update(hash, |report| report.uploaded = 5);
        board.update(hash, |report| report.activity = Activity::Paused);
        board.add(one.share.metainfo.clone(), Path::new(""), Activity::Verifying);
        let now = board.torrent(&hash).unwrap();
        assert_eq!((now.uploaded, &now.activity), (5, &Activity::Paused));
        assert_eq!((seen.uploaded, &seen.activity), (0, &Activity::Seeding));
        let hashes: Vec<_> = board.torrents().iter().map(|report| report.metainfo.info_hash()).collect();
        assert_eq!(hashes, [hash, two.share.metainfo.info_hash()]);
        board.remove(hash);
        board.update(hash, |_| panic!("it is gone"));
        assert!(board.torrent(&hash).is_none());
    }

    #[test]
    fn transfers_are_kept_while_somebody_watches_and_forgotten_after() {
        let board = Board::default();
        board.record([transfer(0)]);
        assert_eq!(board.transfers_since(0), (Vec::new(), 0));
        let (first, second) = (board.watch(), board.watch());
        board.record([transfer(1), transfer(2)]);
        drop(first);
        board.record([transfer(3)]);
        assert_eq!(board.transfers_since(0), ([1, 2, 3].map(transfer).to_vec(), 3));
        assert_eq!(board.transfers_since(2), (vec![transfer(3)], 3));
        drop(second);
        board.record([transfer(4)]);
        assert_eq!(board.transfers_since(0), (Vec::new(), 3));
        let _again = board.watch();
        board.record([transfer(5)]);
        assert_eq!(board.transfers_since(3), (vec![transfer(5)], 4));
    }

    #[test]
    fn the_newest_transfers_are_kept_and_no_more_than_there_is_room_for() {
        let board = Board::default();
        let _watching = board.watch();
        board.record((0..MAX_TRANSFERS).map(transfer));
        assert_eq!(board.transfers_since(0).0.len(), MAX_TRANSFERS);
        board.record([transfer(MAX_TRANSFERS)]);
        let (kept, next) = board.transfers_since(0);
        assert_eq!((kept.len(), kept[0].piece, next), (MAX_TRANSFERS, 1, MAX_TRANSFERS as u64 + 1));
        assert_eq!(board.transfers_since(next + 9), (Vec::new(), next), "a number of an earlier run");
    }

    #[test]
    fn the_time_left_follows_from_what_is_left_and_the_rate() {
        let torrent = Torrent::nothing_of(1);
        let mut report = TorrentReport::new(torrent.share.metainfo.clone(), Path::new(""), Activity::Fetching);
        assert_eq!(report.time_left(), None);
        report.down_rate = report.metainfo.length() as f64 / 4.0;
        assert_eq!(report.time_left(), Some(Duration::from_secs(4)));
    }
}
