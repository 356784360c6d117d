//! The swarm table and the model of the rooms of the files on the page, with a clock, a lock and this machine's addresses
//! around them: what announces are answered from, and rows are made of.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use data_encoding::HEXLOWER;

use super::{
    address::{self, Names},
    live::{FileRoom, MAX_MACHINES, RoomModel, Sighting, SightingKind},
};
use crate::{
    http::{Reply, Request},
    metainfo::{InfoHash, PeerId},
    tracker::{
        Refusal,
        address::Asker,
        announce::{Announce, AnnounceEvent, LEFT_UNKNOWN},
        connection_ids::ConnectionIds,
        reply, scrape,
        table::{self, Counts, SwarmTable},
        udp::{self, UdpQuestion},
    },
};

/// What peers and swarms a table looks at in one sweep from outside; see [`SwarmTable::sweep`].
const SWEEP_LOOKS: usize = 100_000;

/// Told of a peer that lacks something and has just come to a swarm, by the address at which this process can dial it.
type Told = Box<dyn Fn(InfoHash, SocketAddr) + Send + Sync>;

/// Who has what. Shared by all that announce: browsers by the door, this process's own seeder directly.
pub struct Swarms {
    kept: Mutex<Kept>,
    began: Instant,
    began_at: SystemTime,
    tracker_id: String,
    chance: AtomicU64,
    names: Names,
    connection_ids: ConnectionIds,
    udp: UdpCounters,
    told: OnceLock<Told>,
}

/// What has come over UDP.
#[derive(Debug, Default)]
pub struct UdpCounters {
    /// Packets in all.
    pub packets: AtomicU64,
    /// Announces with a right connection id.
    pub announces: AtomicU64,
    /// Scrapes with a right connection id.
    pub scrapes: AtomicU64,
}

/// What one lock guards: an announce changes both.
#[derive(Debug)]
struct Kept {
    table: SwarmTable,
    model: RoomModel,
}

/// A swarm as it is now.
#[derive(Debug)]
pub struct Snapshot {
    /// On the clock of all times in it.
    pub now: Duration,
    /// How many are in it.
    pub counts: Counts,
    /// Who is in it; in a swarm of more than `MAX_MACHINES` some of them.
    pub present: HashSet<PeerId>,
    /// Its machines that the page remembers, those among them that have left.
    pub room: FileRoom,
}

/// The form that an announce is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFormat {
    /// For clients (BEP 3).
    Bencode,
    /// For people and scripts.
    Json,
}

impl Swarms {
    /// No swarms yet, on a machine of these names.
    pub fn new(limits: crate::tracker::TrackerLimits, names: Names) -> Result<Swarms, getrandom::Error> {
        Ok(Swarms {
            kept: Mutex::new(Kept { table: SwarmTable::new(limits), model: RoomModel::default() }),
            began: Instant::now(),
            began_at: SystemTime::now(),
            tracker_id: HEXLOWER.encode(&getrandom::u32()?.to_be_bytes()),
            chance: AtomicU64::new(getrandom::u64()?),
            names,
            connection_ids: ConnectionIds::default(),
            udp: UdpCounters::default(),
            told: OnceLock::new(),
        })
    }

    /// Has `told` called for every peer that lacks something, when it comes; it must not wait for anything.
    pub fn tell_of_leechers(&self, told: Told) {
        // There is one node a process.
        let _ = self.told.set(told);
    }

    /// Takes in an announce of this process or of anyone, and answers it.
    pub fn announce(&self, announce: &Announce, asker: &Asker) -> table::AnnounceReply {
        // The golden ratio's bits, added up and stirred: chance that nobody outside can foretell without the seed.
        let stride = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let chance = (stride ^ (stride >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let now = self.began.elapsed();
        let mut kept = self.kept();
        let told = self.told.get().filter(|_| announce.event != AnnounceEvent::Stopped && !announce.is_seeder());
        let told = told.filter(|_| !asker.is_this_process() && !kept.table.contains(announce, asker));
        let reply = kept.table.announce(announce, asker, now, chance ^ (chance >> 32));
        if reply.unlisted.is_none() {
            kept.model.see(&announce.info_hash, sighting(announce, asker, now));
        }
        drop(kept);
        if let Some(told) = told.filter(|_| reply.unlisted.is_none())
            && let Some(ip) = Asker::this_process().dials(asker.kept_as())
        {
            told(announce.info_hash, SocketAddr::new(ip, announce.port));
        }
        reply
    }

    /// Remembers the machines of a torrent of so many bytes that is on the page.
    pub(super) fn follow(&self, info_hash: InfoHash, length: u64) {
        self.kept().model.follow(info_hash, length);
    }

    /// Forgets what [`Swarms::follow`] has remembered.
    pub(super) fn unfollow(&self, info_hash: &InfoHash) {
        self.kept().model.unfollow(info_hash);
    }

    /// Forgets what is remembered of all torrents but these.
    pub(super) fn follow_only(&self, hashes: &HashSet<InfoHash>) {
        self.kept().model.follow_only(hashes);
    }

    /// Takes in what was seen of machines at a torrent of so many bytes, which is on the page.
    pub(super) fn see(&self, info_hash: &InfoHash, length: u64, sightings: impl Iterator<Item = Sighting>) {
        let mut kept = self.kept();
        kept.model.follow(*info_hash, length);
        sightings.for_each(|sighting| kept.model.see(info_hash, sighting));
    }

    /// Measures the rounds that run; to be called about once a second.
    pub(super) fn measure_rounds(&self) {
        let kept = &mut *self.kept();
        let table = &kept.table;
        kept.model.measure_rounds(self.began.elapsed(), |hash| present(table, hash));
    }

    /// A swarm as it is now.
    pub(super) fn snapshot(&self, info_hash: &InfoHash) -> Snapshot {
        let kept = &mut *self.kept();
        let now = self.began.elapsed();
        let present = present(&kept.table, info_hash);
        kept.model.measure_round(info_hash, now, &present);
        let room = kept.model.file(info_hash).cloned().unwrap_or_default();
        Snapshot { now, counts: kept.table.counts(info_hash), present, room }
    }

    /// A moment on the clock of all sightings.
    pub(super) fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// The time of day of a moment on that clock.
    pub(super) fn time_of(&self, moment: Duration) -> SystemTime {
        self.began_at + moment
    }

    /// How many are in a swarm.
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.kept().table.counts(info_hash)
    }

    /// How many swarms and peers there are.
    pub fn totals(&self) -> (usize, usize) {
        let table = &self.kept().table;
        (table.swarm_count(), table.peer_count())
    }

    /// Forgets who has not announced for long. Announces do so by themselves; a quiet tracker is told now and then.
    pub fn sweep(&self) {
        let mut kept = self.kept();
        let now = self.began.elapsed();
        kept.table.sweep(now, SWEEP_LOOKS);
        kept.model.sweep(now);
    }

    /// What this machine is called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// This machine's addresses, as of a moment ago.
    pub fn own_addresses(&self) -> Arc<[IpAddr]> {
        self.names.own()
    }

    /// Answers `/announce` and `/tracker`.
    pub(super) fn answer_announce(&self, request: &Request<'_>, form: AnswerFormat) -> Reply {
        let parsed = Announce::parse(request.query().as_bytes());
        let parsed = parsed.and_then(|(announce, peers_form)| {
            let asker = self.asker(request);
            check_port(&announce, &asker, request.local().port()).map(|()| (announce, peers_form, asker))
        });
        match (parsed, form) {
            (Ok((announce, peers_form, asker)), _) => {
                let answer = self.announce(&announce, &asker);
                match form {
                    AnswerFormat::Bencode => bencoded(reply::bencode(&answer, peers_form, &self.tracker_id)),
                    AnswerFormat::Json => Reply::new(200, "application/json", reply::json(&answer)),
                }
            }
            // Clients show the reason only when the status is 200.
            (Err(refusal), AnswerFormat::Bencode) => bencoded(reply::bencode_failure(&refusal.to_string())),
            (Err(refusal), AnswerFormat::Json) => {
                Reply::new(400, "application/json", reply::json_failure(&refusal.to_string()))
            }
        }
    }

    /// Answers a packet of the UDP protocol that came from the address `from` to `reached`, by writing to `out`, or says nothing.
    pub fn answer_packet(&self, packet: &[u8], from: IpAddr, reached: SocketAddr, out: &mut Vec<u8>) {
        self.udp.packets.fetch_add(1, Ordering::Relaxed);
        let now = self.began.elapsed().as_secs() as u32;
        let Some(request) = udp::receive(packet, from, &self.connection_ids, now, out) else { return };
        match request.question {
            UdpQuestion::Announce(announce) => {
                self.udp.announces.fetch_add(1, Ordering::Relaxed);
                let asker = Asker::new(from, reached.ip(), &self.own_addresses());
                match check_port(&announce, &asker, reached.port()) {
                    Ok(()) => {
                        let reply = self.announce(&announce, &asker);
                        udp::write_announce(&reply, asker.is_ipv6(), request.transaction, out);
                    }
                    Err(refusal) => udp::write_error(&refusal.to_string(), request.transaction, out),
                }
            }
            UdpQuestion::Scrape(hashes) => {
                self.udp.scrapes.fetch_add(1, Ordering::Relaxed);
                let kept = self.kept();
                let counts = hashes.iter().map(|hash| kept.table.counts(&InfoHash(*hash)));
                udp::write_scrape(counts, request.transaction, out);
            }
        }
    }

    /// What has come over UDP.
    pub fn udp(&self) -> &UdpCounters {
        &self.udp
    }

    fn asker(&self, request: &Request<'_>) -> Asker {
        // By way of a proxy the tracker is reached at its loopback, which is not where its peers are.
        let is_direct = !address::is_handed_on(request);
        let reached = if is_direct { request.local().ip() } else { self.names.reached(request) };
        let asker = |source| Asker::new(source, reached, &self.own_addresses());
        match self.names.sender(request) {
            Some(sender) => asker(sender),
            None => asker(request.peer().ip()).handed_on(),
        }
    }

    /// Answers `/scrape` (BEP 48).
    pub(super) fn answer_scrape(&self, request: &Request<'_>) -> Reply {
        bencoded(match scrape::parse(request.query().as_bytes()) {
            Ok(hashes) => scrape::reply(hashes.into_iter().map(|hash| (hash, self.counts(&hash))).collect()),
            Err(refusal) => reply::bencode_failure(&refusal.to_string()),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a peer that peers would find the tracker itself at.
fn check_port(announce: &Announce, asker: &Asker, trackers_port: u16) -> Result<(), Refusal> {
    match announce.port {
        port if port == trackers_port && asker.is_local() => Err(Refusal::TrackersPort(port)),
        _ => Ok(()),
    }
}

fn present(table: &SwarmTable, info_hash: &InfoHash) -> HashSet<PeerId> {
    table.peers(info_hash).take(MAX_MACHINES).map(|peer| peer.peer_id).collect()
}

fn sighting(announce: &Announce, asker: &Asker, at: Duration) -> Sighting {
    let Announce { uploaded, downloaded, .. } = *announce;
    let left = (announce.left != LEFT_UNKNOWN).then_some(announce.left);
    Sighting {
        peer_id: announce.peer_id,
        address: SocketAddr::new(asker.shown_as(), announce.port),
        at,
        told: match announce.event {
            AnnounceEvent::Stopped => SightingKind::Goodbye { left },
            _ => SightingKind::Announced { left, uploaded, downloaded },
        },
    }
}

fn bencoded(bytes: Vec<u8>) -> Reply {
    Reply::new(200, "text/plain", bytes)
}
