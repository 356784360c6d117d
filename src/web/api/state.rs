//! The state of this machine and of each file: put together from the library, the board and the swarm table.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{
    map::{self, PieceMap},
    rows::{Doing, Me, Row, RowSources, THIS_MACHINE},
};
use crate::{
    metainfo::InfoHash,
    status::report::{Activity, TorrentReport},
    web::{
        Kind, RateLimits, Site,
        access::May,
        address::lan_address,
        history::{HistoryAnswer, MAX_MACHINES, Sight},
        library::LibraryEntry,
        measure::{Fetcher, SwarmFigures, measure},
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
    /// Machines that were seen, those who left in the last hour among them.
    pub machines: usize,
    /// Machines of those that have it.
    pub done: usize,
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

/// Measured time beside what the links allow, and beside a server that sends every copy itself. The rates behind it are the
/// highest seen of each machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SwarmState {
    /// From the first machine's begin to the last one's end, or until now.
    pub elapsed_ms: u64,
    /// The least that the links allow.
    pub bound_ms: Option<u64>,
    /// What the source would need to send every copy itself.
    pub alone_ms: Option<u64>,
    /// Whether anybody still fetches.
    pub running: bool,
    /// All of it for people.
    pub sentence: String,
}

/// One file, with the machines that share it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FileView {
    /// The file.
    #[serde(flatten)]
    pub file: SharedFile,
    /// A row for each machine.
    pub rows: Vec<Row>,
    /// Which pieces are where; null where no session is.
    pub map: Option<PieceMap>,
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
        Here { machine, may: viewer.may, limits: site.limits() }
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

/// Notes who is connected: rates and who was here follow from it.
pub fn remember(site: &Site, report: &TorrentReport) {
    let geometry = report.metainfo.geometry();
    let sights = report.peers.iter().map(|peer| {
        let has = (u64::from(peer.have.count()) * u64::from(geometry.piece_length())).min(geometry.length());
        let left = if peer.have.is_full() { 0 } else { (geometry.length() - has).max(1) };
        let (peer_id, address) = (peer.peer_id, peer.address);
        Sight { peer_id, address, left: Some(left), told: HistoryAnswer::Connected { has } }
    });
    let me = Sight {
        peer_id: site.peer_id,
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        left: Some(geometry.length() - report.verified),
        told: HistoryAnswer::Connected { has: report.verified },
    };
    let is_known = !matches!(report.activity, Activity::Verifying | Activity::Failed(_));
    site.swarms.see(&report.metainfo.info_hash(), sights.chain(is_known.then_some(me)));
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

    /// The file with its rows, and its map where that is asked for.
    fn view(&self, found: KnownFile, viewer: &Viewer, with_map: bool) -> FileView {
        let report = found.report.as_deref();
        if let Some(report) = report {
            remember(self.site, report);
        }
        let snapshot = self.site.swarms.snapshot(&found.info_hash);
        let sessions = report.map_or(&[][..], |report| &report.peers);
        let me = report.map(|report| self.me(report));
        let parts =
            RowSources { snapshot: &snapshot, sessions, length: found.length, own: &self.own, lan: self.lan, me };
        let rows = parts.rows();
        let map = report.filter(|_| with_map).and_then(|it| map::of(&it.have, it.peers.iter().map(|peer| &peer.have)));
        FileView { file: self.file(&found, &snapshot, &rows, viewer), rows, map }
    }

    fn me(&self, report: &TorrentReport) -> Me {
        Me {
            peer_id: self.site.peer_id,
            left: report.metainfo.length() - report.verified,
            down_rate: report.down_rate,
            up_rate: report.up_rate,
            peak_down: report.peak_down,
            peak_up: report.peak_up,
        }
    }

    fn file(&self, found: &KnownFile, snapshot: &Snapshot, rows: &[Row], viewer: &Viewer) -> SharedFile {
        let report = found.report.as_deref();
        let geometry = report.map(|report| *report.metainfo.geometry());
        let listed_piece_length = found.entry.as_ref().map(|entry| entry.piece_length);
        let piece_length = geometry.map(|geometry| geometry.piece_length()).or(listed_piece_length);
        let links = found.links();
        let count = |states: &[Doing]| rows.iter().filter(|row| states.contains(&row.state)).count();
        // Of a swarm that is larger than what is looked at, the table counts those who are here.
        let unseen = (snapshot.counts.complete + snapshot.counts.incomplete) as usize > MAX_MACHINES;
        let (complete, incomplete) = (snapshot.counts.complete as usize, snapshot.counts.incomplete as usize);
        let seeders = if unseen { complete } else { count(&[Doing::Seeding]) };
        let leechers = if unseen { incomplete } else { count(&[Doing::Fetching]) };
        SharedFile {
            info_hash: found.info_hash.to_string(),
            name: found.name.clone(),
            length: found.length,
            piece_length,
            pieces: piece_length.and_then(|length| u32::try_from(found.length.div_ceil(length.into())).ok()),
            activity: found.activity(),
            trouble: found.trouble(),
            have: report.map(|report| report.have.count()),
            verified: report.map(|report| report.verified),
            down_rate: report.map(|report| report.down_rate),
            up_rate: report.map(|report| report.up_rate),
            time_left: report
                .filter(|report| report.activity == Activity::Fetching)
                .and_then(crate::status::report::TorrentReport::time_left)
                .map(|time| time.as_secs_f64()),
            downloaded: report.map(|report| report.downloaded),
            uploaded: report.map(|report| report.uploaded),
            limits: report.map(|it| RateLimits { upload: it.upload_limit, download: it.download_limit }),
            seeders,
            leechers,
            machines: seeders + leechers + count(&[Doing::Done, Doing::Gone]),
            done: seeders + count(&[Doing::Done]),
            command: format!("minitorrent fetch {}{}", viewer.base, links.json),
            links,
            swarm: swarm_state(found, snapshot, rows),
        }
    }
}

fn swarm_state(found: &KnownFile, snapshot: &Snapshot, rows: &[Row]) -> Option<SwarmState> {
    let rows: HashMap<&str, &Row> = rows.iter().map(|row| (&row.id[..], row)).collect();
    let machines = snapshot.machines.iter().filter_map(|(id, machine)| {
        let row = rows.get(&HEXLOWER.encode(&id.0)[..])?;
        Some((machine, *row))
    });
    let (sources, fetching): (Vec<_>, Vec<_>) = machines.partition(|(machine, _)| machine.is_source());
    let fetchers = fetching.iter().filter(|(machine, _)| machine.left.is_some()).map(|(machine, row)| Fetcher {
        began: machine.began,
        finished: machine.finished,
        is_here: matches!(row.state, Doing::Fetching | Doing::Seeding),
        peak_down: row.peak_down,
        peak_up: row.peak_up,
    });
    let source_up = sources.iter().filter_map(|(_, row)| row.peak_up).reduce(|a, b| a + b);
    let swarm = SwarmFigures { length: found.length, source_up, fetchers: fetchers.collect() };
    // A time alone tells nothing before it has ended.
    let measure = measure(&swarm, snapshot.now).filter(|measure| !measure.is_running || measure.alone.is_some())?;
    let source = match &sources[..] {
        [(_, row)] if row.live && row.name.as_deref() == Some(THIS_MACHINE) => THIS_MACHINE,
        [_] => "the seeder",
        _ => "the seeders",
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Some(SwarmState {
        elapsed_ms: ms(measure.elapsed),
        bound_ms: measure.bound.map(ms),
        alone_ms: measure.alone.map(ms),
        running: measure.is_running,
        sentence: measure.sentence(source),
    })
}
