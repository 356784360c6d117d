//! What is shown of one file (pure): a row for each machine, how many have it, how much of it the room holds, and the piece map, all made of
//! the same machines.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{
    super::clients,
    FileRoom, Machine,
    map::{self, PieceMap},
};
use crate::{bitfield::Bitfield, metainfo::PeerId, status::report::PeerReport};

/// A rate that was measured longer ago tells nothing of now: three announces of a room, or two of libtorrent in a hurry.
const RATE_TIME: Duration = Duration::from_secs(20);

/// A peer that is taken for a source by the tracker's count has been connected for so long without ever wanting anything.
const LEAST_AGE: Duration = Duration::from_secs(2);

/// What the machine is called that serves the page.
pub const THIS_MACHINE: &str = "this machine";

/// One machine of a swarm. What is not known is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// Names the machine in this list and in transfers: its peer id in hex.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// What people call it; what it calls itself is its own claim.
    pub name: Option<String>,
    /// Its program, as far as its peer id or its handshake tell.
    pub client: Option<String>,
    /// How much it has.
    pub percent: Option<f64>,
    /// Bytes a second that it receives.
    pub down_rate: Option<f64>,
    /// Bytes a second that it sends.
    pub up_rate: Option<f64>,
    /// The highest rate it was seen to receive at.
    pub peak_down: Option<f64>,
    /// The highest rate it was seen to send at.
    pub peak_up: Option<f64>,
    /// Seconds until it has everything, at the rate of now.
    pub time_left: Option<f64>,
    /// What it does.
    pub state: Doing,
    /// Whether it is connected to this machine, so that its figures are of now; else they are of its last announce.
    pub live: bool,
    /// Whether it has everything and shows its pieces one by one (super-seeding).
    pub super_seeding: bool,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// It lacks something.
    #[default]
    Fetching,
    /// It has everything and shares it.
    Seeding,
    /// It is this machine, and shares nothing for now.
    Paused,
    /// It has everything, and has left.
    Done,
    /// It has left without everything.
    Gone,
}

/// What a picture is made of.
pub struct PictureSources<'a> {
    /// On the clock of all sightings.
    pub now: Duration,
    /// The machines that are remembered.
    pub room: &'a FileRoom,
    /// Who is in the tracker's table.
    pub present: &'a HashSet<PeerId>,
    /// Who is connected, and where as sightings have it.
    pub sessions: &'a [PeerReport],
    /// Seeders by the answer of another machine's tracker.
    pub complete: Option<u32>,
    /// Bytes of the torrent.
    pub length: u64,
    /// How many pieces it has, where that is known.
    pub pieces: u32,
    /// This machine's addresses.
    pub own: &'a [IpAddr],
    /// What others call this machine by, in the place of 127.0.0.1.
    pub lan: Option<IpAddr>,
    /// This process, where it has to do with the torrent.
    pub me: Option<OwnPart<'a>>,
}

/// What this process knows of itself, which is more than it announces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnPart<'a> {
    /// What it calls itself.
    pub peer_id: PeerId,
    /// The pieces that are here.
    pub have: &'a Bitfield,
    /// Bytes it lacks.
    pub left: u64,
    /// Bytes a second that it receives.
    pub down_rate: f64,
    /// Bytes a second that it sends.
    pub up_rate: f64,
    /// The highest rate it received at; 0 before any.
    pub peak_down: f64,
    /// The highest rate it sent at; 0 before any.
    pub peak_up: f64,
    /// Whether it shares the torrent at this moment.
    pub is_sharing: bool,
}

/// One file, as it is shown.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// All rows: who fetches first, the furthest ahead; then who seeds; then who has left.
    pub rows: Vec<Row>,
    /// Machines that are here and have it.
    pub seeders: usize,
    /// Machines that are here and lack some of it.
    pub leechers: usize,
    /// Machines that had it and left.
    pub departed: usize,
    /// Bytes that the machines here have, all together.
    pub held: u64,
    /// Which pieces are where.
    pub map: Option<PieceMap>,
}

/// All that is known of one machine.
struct Draft<'a> {
    machine: Option<&'a Machine>,
    session: Option<&'a PeerReport>,
    me: Option<&'a OwnPart<'a>>,
    is_present: bool,
    /// Whether it is a source that shows its pieces one by one.
    super_seeding: bool,
}

/// The address that a machine is kept under: this machine's own are one.
pub fn kept_as(ip: IpAddr, own: &[IpAddr]) -> IpAddr {
    let ip = ip.to_canonical();
    let is_own = ip.is_loopback() || own.iter().any(|own| own.to_canonical() == ip);
    if is_own { Ipv4Addr::LOCALHOST.into() } else { ip }
}

impl PictureSources<'_> {
    /// The picture; with the map where that is asked for.
    pub fn picture(&self, with_map: bool) -> Picture {
        let drafts = self.drafts();
        let mut picture = Picture::default();
        for (id, draft) in &drafts {
            let row = self.row(id, draft);
            match row.state {
                Doing::Seeding => picture.seeders += 1,
                Doing::Fetching => picture.leechers += 1,
                Doing::Done => picture.departed += 1,
                Doing::Paused | Doing::Gone => {}
            }
            if matches!(row.state, Doing::Seeding | Doing::Fetching) {
                picture.held += self.left(draft).map_or(0, |left| self.length.saturating_sub(left));
            }
            picture.rows.push(row);
        }
        let rank = |row: &Row| (row.state as u8, Reverse(row.percent.map(|percent| percent as u32)));
        picture.rows.sort_by(|a, b| {
            rank(a).cmp(&rank(b)).then_with(|| a.address.cmp(&b.address)).then_with(|| a.id.cmp(&b.id))
        });
        if with_map {
            picture.map = self.map(&drafts);
        }
        picture
    }

    /// Which of the machines that are here have a piece, as the names of their rows; and of how many that is not known.
    pub fn holders(&self, piece: u32) -> (Vec<Row>, usize) {
        let (mut holders, mut unknown) = (Vec::new(), 0);
        for (id, draft) in &self.drafts() {
            if !self.is_here(draft) {
                continue;
            }
            match self.has_piece(draft, piece) {
                Some(true) => holders.push(self.row(id, draft)),
                Some(false) => {}
                None => unknown += 1,
            }
        }
        holders.sort_by(|a, b| a.address.cmp(&b.address).then_with(|| a.id.cmp(&b.id)));
        (holders, unknown)
    }

    fn has_piece(&self, draft: &Draft<'_>, piece: u32) -> Option<bool> {
        match (draft.me, draft.session) {
            _ if self.left(draft) == Some(0) => Some(true),
            (Some(me), _) => Some(me.have.get(piece)),
            (None, Some(session)) => Some(session.have.get(piece)),
            (None, None) => (self.left(draft) == Some(self.length)).then_some(false),
        }
    }

    fn map(&self, drafts: &HashMap<PeerId, Draft<'_>>) -> Option<PieceMap> {
        let empty = Bitfield::empty(self.pieces);
        let (mut some, mut whole, mut unknown) = (Vec::new(), 0, 0);
        for draft in drafts.values().filter(|draft| self.is_here(draft)) {
            match (draft.me, draft.session) {
                _ if self.left(draft) == Some(0) => whole += 1,
                (Some(me), _) => some.push(me.have),
                (None, Some(session)) => some.push(&session.have),
                (None, None) if self.left(draft) == Some(self.length) => some.push(&empty),
                (None, None) => unknown += 1,
            }
        }
        map::of(self.pieces, self.me.as_ref().map(|me| me.have), some.into_iter(), whole, unknown)
    }

    fn drafts(&self) -> HashMap<PeerId, Draft<'_>> {
        let draft = |machine, is_present| Draft { machine, session: None, me: None, is_present, super_seeding: false };
        let mut drafts: HashMap<PeerId, Draft<'_>> =
            self.room.machines().map(|(id, machine)| (*id, draft(Some(machine), self.present.contains(id)))).collect();
        for session in self.sessions {
            let id = self.room.key_of(session.peer_id, kept_as(session.address.ip(), self.own));
            drafts.entry(id).or_insert_with(|| draft(None, false)).session.get_or_insert(session);
        }
        if let Some(me) = &self.me {
            drafts.entry(me.peer_id).or_insert_with(|| draft(None, false)).me = Some(me);
        }
        self.find_super_seeders(&mut drafts);
        drafts
    }

    /// A source that shows its pieces one by one looks like a machine that lacks most of them. It says that it only uploads (BEP 21), or
    /// the tracker counts more seeders than are seen and it is the only one that could be meant.
    fn find_super_seeders(&self, drafts: &mut HashMap<PeerId, Draft<'_>>) {
        for draft in drafts.values_mut() {
            let is_ours =
                |session: &PeerReport| session.client.as_deref().is_some_and(|it| it.starts_with("minitorrent"));
            let is_source = draft.session.is_some_and(|session| session.upload_only && is_ours(session));
            let shows_less = draft.session.is_some_and(|session| !session.have.is_full());
            let was_whole = draft.machine.is_some_and(Machine::is_whole);
            draft.super_seeding = shows_less && (is_source || was_whole);
        }
        let Some(complete) = self.complete else { return };
        let seeders = drafts.values().filter(|draft| self.is_here(draft) && self.left(draft) == Some(0)).count();
        let now = SystemTime::now();
        let may_be = |draft: &Draft<'_>| {
            draft.session.is_some_and(|session| {
                let age = now.duration_since(session.since).unwrap_or_default();
                !session.has_wanted && !session.have.is_full() && age >= LEAST_AGE
            })
        };
        let unseen = (complete as usize).saturating_sub(seeders);
        let candidates = drafts.values_mut().filter(|draft| !draft.super_seeding && may_be(draft));
        let candidates: Vec<&mut Draft<'_>> = candidates.collect();
        if candidates.len() <= unseen {
            candidates.into_iter().for_each(|draft| draft.super_seeding = true);
        }
    }

    fn is_here(&self, draft: &Draft<'_>) -> bool {
        match draft.me {
            Some(me) => me.is_sharing,
            None => draft.is_present || draft.session.is_some(),
        }
    }

    fn row(&self, id: &PeerId, draft: &Draft<'_>) -> Row {
        let Draft { machine, session, me, .. } = *draft;
        let left = self.left(draft);
        let state = match (self.is_here(draft), left == Some(0)) {
            _ if me.is_some_and(|me| !me.is_sharing) => Doing::Paused,
            (true, false) => Doing::Fetching,
            (true, true) => Doing::Seeding,
            (false, true) => Doing::Done,
            (false, false) => Doing::Gone,
        };
        let down = match state {
            Doing::Fetching => self.down_rate(draft),
            Doing::Seeding => Some(0.0),
            Doing::Done | Doing::Gone | Doing::Paused => None,
        };
        let seen = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0);
        let peak_down = [machine.and_then(Machine::peak_down), seen(session.map(|it| it.peak_up))];
        let peak_up = [machine.and_then(Machine::peak_up), seen(session.map(|it| it.peak_down))];
        let address = machine.map(Machine::address).or(session.map(|session| session.address));
        let is_own = address.is_some_and(|address| kept_as(address.ip(), self.own).is_loopback());
        let claimed = session.and_then(|session| session.name.as_deref()).or(machine.and_then(Machine::name));
        Row {
            id: HEXLOWER.encode(&id.0),
            address: address.map_or_else(String::new, |address| self.shown(address)),
            name: match (me.is_some(), claimed, is_own) {
                (true, ..) => Some(THIS_MACHINE.to_owned()),
                (false, Some(claimed), _) => Some(claimed.to_owned()),
                (false, None, true) => Some("another program on this machine".to_owned()),
                (false, None, false) => None,
            },
            client: session.and_then(|session| session.client.clone()).or_else(|| clients::name(id)),
            percent: left.map(|left| 100.0 * self.length.saturating_sub(left) as f64 / self.length.max(1) as f64),
            down_rate: down,
            up_rate: self.up_rate(draft),
            peak_down: seen(me.map(|me| me.peak_down)).or(highest(peak_down)),
            peak_up: seen(me.map(|me| me.peak_up)).or(highest(peak_up)),
            time_left: left
                .zip(down)
                .filter(|(left, rate)| *left > 0 && *rate >= 1.0)
                .map(|(left, rate)| left as f64 / rate),
            state,
            live: session.is_some() || me.is_some(),
            super_seeding: draft.super_seeding,
        }
    }

    fn left(&self, draft: &Draft<'_>) -> Option<u64> {
        match (draft.me, draft.machine, draft.session) {
            (Some(me), ..) => Some(me.left),
            _ if draft.super_seeding => Some(0),
            (None, Some(machine), _) => machine.left(),
            (None, None, Some(session)) => {
                let (has, of) = (u128::from(session.have.count()), u128::from(session.have.len().max(1)));
                Some(self.length - (u128::from(self.length) * has / of) as u64)
            }
            (None, None, None) => None,
        }
    }

    fn down_rate(&self, draft: &Draft<'_>) -> Option<f64> {
        match (draft.me, draft.session) {
            (Some(me), _) => Some(me.down_rate),
            // What it tells to have grows by what it takes of everybody.
            (None, Some(session)) => {
                let held = draft.machine.and_then(|it| it.held.rate_within(RATE_TIME, self.now));
                highest([held, Some(session.up_rate)])
            }
            (None, None) => draft.machine.and_then(|it| it.taken.rate_within(RATE_TIME, self.now)),
        }
    }

    fn up_rate(&self, draft: &Draft<'_>) -> Option<f64> {
        let given = draft.machine.and_then(|it| it.given.rate_within(RATE_TIME, self.now));
        match draft.me {
            Some(me) if me.is_sharing => Some(me.up_rate),
            None if self.is_here(draft) => highest([given, draft.session.map(|session| session.down_rate)]),
            Some(_) | None => None,
        }
    }

    fn shown(&self, address: SocketAddr) -> String {
        let ip = address.ip().to_canonical();
        let ip = if ip.is_loopback() { self.lan.unwrap_or(ip) } else { ip };
        match address.port() {
            // This process on a page of its own: it is not announced here, so no port is told.
            0 => ip.to_string(),
            port => SocketAddr::new(ip, port).to_string(),
        }
    }
}

fn highest(rates: [Option<f64>; 2]) -> Option<f64> {
    rates.into_iter().flatten().reduce(f64::max)
}
