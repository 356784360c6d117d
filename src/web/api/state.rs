//! The state of this machine and of each file: put together from the library, the board and the swarm table.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::{
    bitfield::Bitfield,
    metainfo::{Geometry, InfoHash},
    status::report::{Activity, TorrentReport},
    web::{
        Kind, RateLimits, Site,
        access::May,
        address::lan_address,
        library::LibraryEntry,
        live::{
            MAX_MACHINES, Measure, OwnPart, Picture, PictureSources, PieceMap, Row, Sighting, SightingKind, kept_as,
        },
        names,
        swarms::Snapshot,
    },
};

/// Whom an answer is for: what he may do, and under which address he knows this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Viewer {
    /// What he may do.
    pub may: May,
    /// `http://host:port` of this machine.
    pub base: String,
}

/// What every page shows: whose it is, and what its viewer may do.
#[derive(Debug, Clone, Serialize)]
pub struct Here {
    /// The machine that serves the page.
    pub machine: MachineState,
    /// What the viewer may do.
    pub may: May,
    /// What all transfers together may use.
    pub limits: RateLimits,
    /// The address under which the rows show the viewer's own machine; only in pages, since events are the same for all.
    #[serde(skip)]
    pub you: Option<IpAddr>,
}

/// All that the first page shows.
#[derive(Debug, Clone, Serialize)]
pub struct PageState {
    /// The page itself.
    #[serde(flatten)]
    pub here: Here,
    /// The files, in the order of their names.
    pub files: Vec<SharedFile>,
}

/// The machine that serves the page.
#[derive(Debug, Clone, Serialize)]
pub struct MachineState {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub kind: Kind,
    /// The version of the program.
    pub version: &'static str,
    /// `http://host:port`, to tell the others.
    pub address: String,
}

/// One file. What is not known is null.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SharedFile {
    /// Names the torrent, as 40 hex digits.
    pub info_hash: String,
    /// Its name here.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Bytes of a piece.
    pub piece_length: Option<u32>,
    /// How many pieces.
    pub pieces: Option<u32>,
    /// What this machine does with it: `listed` when nothing.
    pub activity: &'static str,
    /// What is wrong with it, in a sentence.
    pub trouble: Option<String>,
    /// Pieces that are here.
    pub have: Option<u32>,
    /// Bytes of those.
    pub verified: Option<u64>,
    /// Bytes a second that this machine takes.
    pub down_rate: Option<f64>,
    /// Bytes a second that this machine gives.
    pub up_rate: Option<f64>,
    /// Seconds until it is here.
    pub time_left: Option<f64>,
    /// Bytes that this machine has taken since it started.
    pub downloaded: Option<u64>,
    /// Bytes that this machine has given since it started.
    pub uploaded: Option<u64>,
    /// What its transfers may use; null where it is not on this machine.
    pub limits: Option<RateLimits>,
    /// Machines that are here and have it.
    pub seeders: usize,
    /// Machines that are here and lack some of it.
    pub leechers: usize,
    /// Machines that are here.
    pub machines: usize,
    /// Machines of those that have it.
    pub done: usize,
    /// Machines that had it and left in the last hour.
    pub departed: usize,
    /// Bytes of it that the machines here have, all together.
    pub held: u64,
    /// Bytes that they will have.
    pub wanted: u64,
    /// Where its metainfo and its content are.
    pub links: Links,
    /// What fetches it, for a terminal.
    pub command: String,
    /// How well the swarm does; null before anybody has fetched it.
    pub swarm: Option<SwarmState>,
}

/// Paths on this machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Links {
    /// The metainfo in JSON.
    pub json: String,
    /// The metainfo as `.torrent`.
    pub torrent: String,
    /// The content, where it is here to be downloaded.
    pub download: Option<String>,
    /// Its own page.
    pub page: String,
}

/// Measured time of the round that runs, or else of the last one, beside what the links allow, and beside one server that sends every copy
/// itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SwarmState {
    /// From the first machine's begin to the last one's end, or until now.
    pub elapsed_ms: u64,
    /// Machines that fetch or have fetched in it.
    pub machines: usize,
    /// The least that the links allow, by the highest rate seen of each machine.
    pub bound_ms: Option<u64>,
    /// What one server would need: the fastest source, at the rate that it goes on sending at.
    pub alone_ms: Option<u64>,
    /// How many times faster than one server it is.
    pub factor: Option<f64>,
    /// How much of `wanted` would be here with one server alone, from 0 to 1.
    pub ghost: Option<f64>,
    /// Whether anybody still fetches.
    pub running: bool,
    /// All of it for people; null where there is nothing to compare.
    pub sentence: Option<String>,
}

/// A round that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastRound {
    /// When it ended, in seconds since 1970.
    pub ended: u64,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Machines that fetched in it.
    pub machines: usize,
    /// How many times faster than one server it was.
    pub factor: Option<f64>,
}

/// One file, with the machines that share it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FileView {
    /// The file.
    #[serde(flatten)]
    pub file: SharedFile,
    /// A row for each machine.
    pub rows: Vec<Row>,
    /// Which pieces are where; null where that is not known of any machine.
    pub map: Option<PieceMap>,
    /// The last rounds that are over, the newest first.
    pub rounds: Vec<PastRound>,
}

/// One piece, and where it is.
#[derive(Debug, Serialize)]
pub struct PieceView {
    /// Its number, from 0.
    pub piece: u32,
    /// Bytes.
    pub length: u32,
    /// The hash that it must have, in hex, where the metainfo is at hand.
    pub sha1: Option<String>,
    /// The machines here that have it.
    pub machines: Vec<PieceHolder>,
    /// Machines here of which that is not known.
    pub unknown: usize,
    /// How it moved last, as far as that was watched.
    pub last: Option<PieceMove>,
}

/// A machine that has a piece.
#[derive(Debug, Serialize)]
pub struct PieceHolder {
    /// The `id` of its row.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// What people call it.
    pub name: Option<String>,
}

/// A piece that moved.
#[derive(Debug, Serialize)]
pub struct PieceMove {
    /// The other machine: the `id` of its row.
    pub peer: String,
    /// From this machine, to it, or elsewhere.
    pub way: &'static str,
}

/// One file of `/api/files`.
#[derive(Debug, Default, Serialize)]
pub struct FileList {
    /// Its name here.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Names the torrent, as 40 hex digits.
    pub info_hash: String,
    /// How many have all of it.
    pub seeding: u32,
    /// How many lack some of it.
    pub fetching: u32,
    /// How many said that they got all of it.
    pub fetched: u32,
    /// Where to download it, when its content is on this machine.
    pub download: Option<String>,
    /// The metainfo in JSON.
    pub json: String,
    /// The metainfo as `.torrent`.
    pub torrent: String,
}

/// A file of the page before anything is known of its swarm: it is in the library, on the board, or both.
struct KnownFile {
    name: String,
    info_hash: InfoHash,
    length: u64,
    entry: Option<LibraryEntry>,
    report: Option<Arc<TorrentReport>>,
}

/// The list, with the swarms as they are now.
pub fn list(site: &Site) -> Vec<FileList> {
    let listed = found(site).into_iter().map(|found| {
        let counts = site.swarms.counts(&found.info_hash);
        let Links { json, torrent, download, .. } = found.links();
        FileList {
            length: found.length,
            info_hash: found.info_hash.to_string(),
            seeding: counts.complete,
            fetching: counts.incomplete,
            fetched: counts.downloaded,
            download,
            json,
            torrent,
            name: found.name,
        }
    });
    listed.collect()
}

impl Here {
    /// As it is now.
    pub fn of(site: &Site, viewer: &Viewer) -> Here {
        let machine = MachineState {
            name: site.machine_name.clone(),
            kind: site.kind,
            version: env!("CARGO_PKG_VERSION"),
            address: viewer.base.clone(),
        };
        Here { machine, may: viewer.may, limits: site.limits(), you: None }
    }
}

impl PageState {
    /// As it is now.
    pub fn of(site: &Site, viewer: &Viewer) -> PageState {
        PageState { here: Here::of(site, viewer), files: all(site, viewer) }
    }
}

/// Every file of the page.
pub fn all(site: &Site, viewer: &Viewer) -> Vec<SharedFile> {
    let lookout = Lookout::new(site);
    found(site).into_iter().map(|found| lookout.view(found, viewer, false).file).collect()
}

/// One file with all that is known of it; nothing where there is no such file.
pub fn view(site: &Site, viewer: &Viewer, hash: InfoHash) -> Option<FileView> {
    let found = find(site, hash)?;
    Some(Lookout::new(site).view(found, viewer, true))
}

fn found(site: &Site) -> Vec<KnownFile> {
    let mut reports = site.board.torrents();
    let entries = site.shelf.as_ref().map(|shelf| shelf.library.entries()).unwrap_or_default();
    let mut all: Vec<KnownFile> = entries
        .into_iter()
        .map(|(name, entry)| {
            let at = reports.iter().position(|report| report.metainfo.info_hash() == entry.info_hash);
            KnownFile::new(Some((name, entry)), at.map(|at| reports.swap_remove(at)))
        })
        .collect();
    all.extend(reports.into_iter().map(|report| KnownFile::new(None, Some(report))));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn find(site: &Site, hash: InfoHash) -> Option<KnownFile> {
    let entry = site.shelf.as_ref().and_then(|shelf| shelf.library.find_hash(hash));
    let report = site.board.torrent(&hash);
    (entry.is_some() || report.is_some()).then(|| KnownFile::new(entry, report))
}

impl KnownFile {
    /// At least one of them is there.
    fn new(entry: Option<(String, LibraryEntry)>, report: Option<Arc<TorrentReport>>) -> KnownFile {
        let of_report = report.as_ref().map(|report| {
            let metainfo = &report.metainfo;
            (metainfo.name().to_owned(), metainfo.info_hash(), metainfo.length())
        });
        let of_entry = entry.as_ref().map(|(name, entry)| (name.clone(), entry.info_hash, entry.length));
        let (name, info_hash, length) = of_entry.or(of_report).unwrap_or((String::new(), InfoHash([0; 20]), 0));
        KnownFile { name, info_hash, length, entry: entry.map(|(_, entry)| entry), report }
    }

    fn links(&self) -> Links {
        let hash = self.info_hash.to_string();
        // A name can be two torrents' on a machine without a library.
        let stem = if self.entry.is_some() { Cow::Owned(names::encode(&self.name)) } else { Cow::Borrowed(&hash[..]) };
        let is_upload = self.entry.as_ref().is_some_and(LibraryEntry::is_upload);
        let is_whole = || self.report.as_ref().is_some_and(|report| report.whole_file().is_some());
        Links {
            json: format!("/metainfos/{stem}.json"),
            torrent: format!("/metainfos/{stem}.torrent"),
            download: match is_upload {
                true => Some(format!("/uploads/{stem}")),
                false => is_whole().then(|| format!("/content/{hash}")),
            },
            page: format!("/files/{hash}"),
        }
    }

    fn piece_length(&self) -> Option<u32> {
        let of_report = self.report.as_ref().map(|report| report.metainfo.geometry().piece_length());
        of_report.or(self.entry.as_ref().map(|entry| entry.piece_length))
    }

    fn pieces(&self) -> Option<u32> {
        u32::try_from(self.length.div_ceil(self.piece_length()?.into())).ok()
    }

    fn activity(&self) -> &'static str {
        match self.report.as_ref().map(|report| &report.activity) {
            None => "listed",
            Some(Activity::Verifying) => "verifying",
            Some(Activity::Fetching) => "fetching",
            Some(Activity::Seeding) => "seeding",
            Some(Activity::Paused) => "paused",
            Some(Activity::Failed(_)) => "failed",
        }
    }

    fn trouble(&self) -> Option<String> {
        let report = self.report.as_ref()?;
        match &report.activity {
            Activity::Failed(why) => Some(why.clone()),
            _ => report.trouble.clone(),
        }
    }
}

/// Takes in who is connected and what this process has: rates and rounds follow from it.
pub fn remember(site: &Site, report: &TorrentReport) {
    let geometry = report.metainfo.geometry();
    let own = site.swarms.own_addresses();
    let noted = site.swarms.at(report.noted);
    let sessions = report.peers.iter().map(|peer| {
        let has = bytes_of(geometry, &peer.have);
        let told = SightingKind::Session { left: geometry.length() - has, has, name: peer.name.clone() };
        let address = SocketAddr::new(kept_as(peer.address.ip(), &own), peer.address.port());
        Sighting { peer_id: peer.peer_id, address, at: noted, told }
    });
    let (uploaded, downloaded) = (report.uploaded, report.downloaded);
    let me = Sighting {
        peer_id: site.peer_id,
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        at: site.swarms.at(Instant::now()),
        told: SightingKind::Own { left: geometry.length() - report.verified, uploaded, downloaded },
    };
    site.swarms.see(&report.metainfo.info_hash(), geometry.length(), sessions.chain(is_sharing(report).then_some(me)));
}

fn is_sharing(report: &TorrentReport) -> bool {
    matches!(report.activity, Activity::Fetching | Activity::Seeding)
}

/// Bytes of the pieces of a set.
fn bytes_of(geometry: &Geometry, have: &Bitfield) -> u64 {
    let all = u64::from(have.count()) * u64::from(geometry.piece_length());
    let last = geometry.piece(geometry.piece_count().saturating_sub(1));
    let missing =
        last.filter(|last| have.get(last.get())).map(|last| geometry.piece_length() - geometry.length_of(last));
    all - u64::from(missing.unwrap_or(0))
}

/// One piece of a file, and where it is.
pub fn piece(site: &Site, hash: InfoHash, piece: u32) -> Option<PieceView> {
    let found = find(site, hash)?;
    let report = found.report.as_deref();
    let pieces = found.pieces()?;
    let piece_length = found.piece_length()?;
    if piece >= pieces {
        return None;
    }
    let lookout = Lookout::new(site);
    let (holders, unknown) = lookout.look(&found, |sources| sources.holders(piece)).1;
    let name = |row: Row| PieceHolder { id: row.id, address: row.address, name: row.name };
    let (moves, _) = site.board.transfers_since(0);
    let last = moves.into_iter().rev().find(|it| it.info_hash == hash && it.piece == piece);
    Some(PieceView {
        piece,
        length: u32::try_from(found.length - u64::from(piece) * u64::from(piece_length))
            .unwrap_or(piece_length)
            .min(piece_length),
        sha1: report
            .and_then(|report| Some(report.metainfo.piece_hash(report.metainfo.geometry().piece(piece)?)))
            .map(|hash| HEXLOWER.encode(&hash[..])),
        machines: holders.into_iter().map(name).collect(),
        unknown,
        last: last.map(|it| PieceMove { peer: HEXLOWER.encode(&it.peer.0), way: super::way(it.way) }),
    })
}

/// What is the same for all files of one look.
struct Lookout<'a> {
    site: &'a Site,
    own: Arc<[IpAddr]>,
    lan: Option<IpAddr>,
}

impl Lookout<'_> {
    fn new(site: &Site) -> Lookout<'_> {
        let own = site.swarms.own_addresses();
        let lan = lan_address(&own);
        Lookout { site, own, lan }
    }

    /// Makes something of all that is known of a file.
    fn look<T>(&self, found: &KnownFile, make: impl FnOnce(&PictureSources<'_>) -> T) -> (Snapshot, T) {
        let report = found.report.as_deref();
        if let Some(report) = report {
            remember(self.site, report);
        }
        let snapshot = self.site.swarms.snapshot(&found.info_hash);
        let made = make(&PictureSources {
            now: snapshot.now,
            room: &snapshot.room,
            present: &snapshot.present,
            sessions: report.map_or(&[][..], |report| &report.peers),
            // A tracker knows better than its own earlier answers.
            complete: report.and_then(|report| report.complete).filter(|_| self.site.kind != Kind::Tracker),
            length: found.length,
            pieces: found.pieces().unwrap_or(0),
            own: &self.own,
            lan: self.lan,
            me: report.map(|report| self.me(report)),
        });
        (snapshot, made)
    }

    /// The file with its rows, and its map where that is asked for.
    fn view(&self, found: KnownFile, viewer: &Viewer, with_map: bool) -> FileView {
        let (snapshot, picture) = self.look(&found, |sources| sources.picture(with_map));
        let file = self.file(&found, &snapshot, &picture, viewer);
        FileView { file, rows: picture.rows, map: picture.map, rounds: self.past_rounds(&snapshot) }
    }

    fn me<'a>(&self, report: &'a TorrentReport) -> OwnPart<'a> {
        OwnPart {
            peer_id: self.site.peer_id,
            have: &report.have,
            left: report.metainfo.length() - report.verified,
            down_rate: report.down_rate,
            up_rate: report.up_rate,
            peak_down: report.peak_down,
            peak_up: report.peak_up,
            is_sharing: is_sharing(report),
        }
    }

    fn past_rounds(&self, snapshot: &Snapshot) -> Vec<PastRound> {
        let mut rounds: Vec<PastRound> =
            snapshot.room.past_rounds().map(|round| self.past_round(&round.measure)).collect();
        rounds.reverse();
        rounds
    }

    fn past_round(&self, measure: &Measure) -> PastRound {
        let ended = self.site.swarms.time_of(measure.began + measure.elapsed);
        PastRound {
            ended: ended.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            elapsed_ms: milliseconds(measure.elapsed),
            machines: measure.machines,
            factor: measure.factor(),
        }
    }

    fn file(&self, found: &KnownFile, snapshot: &Snapshot, picture: &Picture, viewer: &Viewer) -> SharedFile {
        let report = found.report.as_deref();
        let links = found.links();
        // Of a swarm that is larger than what is looked at, the table counts those that are here.
        let (complete, incomplete) = (snapshot.counts.complete as usize, snapshot.counts.incomplete as usize);
        let is_large = complete + incomplete > MAX_MACHINES;
        let seeders = if is_large { complete } else { picture.seeders };
        let leechers = if is_large { incomplete } else { picture.leechers };
        let shown = (picture.seeders + picture.leechers) as u64;
        // Of one machine that fetches, or waits for a source, there is nothing to tell each second anew.
        let told = snapshot.room.round().filter(|measure| !measure.is_running || measure.machines > 1);
        SharedFile {
            info_hash: found.info_hash.to_string(),
            name: found.name.clone(),
            length: found.length,
            piece_length: found.piece_length(),
            pieces: found.pieces(),
            activity: found.activity(),
            trouble: found.trouble(),
            have: report.map(|report| report.have.count()),
            verified: report.map(|report| report.verified),
            down_rate: report.map(|report| report.down_rate),
            up_rate: report.map(|report| report.up_rate),
            time_left: report
                .filter(|report| report.activity == Activity::Fetching)
                .and_then(TorrentReport::time_left)
                .map(|time| time.as_secs_f64()),
            downloaded: report.map(|report| report.downloaded),
            uploaded: report.map(|report| report.uploaded),
            limits: report.map(|it| RateLimits { upload: it.upload_limit, download: it.download_limit }),
            seeders,
            leechers,
            machines: seeders + leechers,
            done: seeders,
            departed: picture.departed,
            held: picture.held,
            wanted: shown * found.length,
            command: format!("minitorrent fetch {}{}", viewer.base, links.json),
            links,
            swarm: told.map(|measure| swarm_state(&measure, shown * found.length)),
        }
    }
}

fn swarm_state(measure: &Measure, wanted: u64) -> SwarmState {
    let elapsed = measure.elapsed.as_secs_f64();
    let ghost = measure.alone.filter(|_| measure.machines > 1).map(|alone| {
        let sent = (elapsed / alone.as_secs_f64().max(0.001)).min(1.0) * measure.bytes as f64;
        let had = wanted.saturating_sub(measure.bytes) as f64;
        ((had + sent) / wanted.max(1) as f64).min(1.0)
    });
    SwarmState {
        elapsed_ms: milliseconds(measure.elapsed),
        machines: measure.machines,
        bound_ms: measure.bound.map(milliseconds),
        alone_ms: measure.alone.map(milliseconds),
        factor: measure.factor(),
        ghost,
        running: measure.is_running,
        sentence: measure.sentence(),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
