//! One row for each machine of a swarm (pure): what it announced, what is remembered of it, and the session that we have with
//! it, put together by peer id, or else by address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::super::{clients, history::Machine, swarms::Snapshot};
use crate::{
    metainfo::PeerId,
    status::report::PeerReport,
    tracker::{announce::LEFT_UNKNOWN, table::PeerView},
};

/// A rate that was measured longer ago tells nothing of now: three announces of a room, or two of libtorrent in a hurry.
const RATE_TIME: Duration = Duration::from_secs(20);

/// What the machine is called that serves the page.
pub const THIS_MACHINE: &str = "this machine";

/// One machine of a swarm. What is not known is null.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// Names the machine in this list and in transfers: its peer id in hex.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// What people call it.
    pub name: Option<String>,
    /// Its program, as far as its peer id or its handshake tell.
    pub client: Option<String>,
    /// How much it has.
    pub percent: Option<f64>,
    /// Bytes a second that it takes.
    pub down_rate: Option<f64>,
    /// Bytes a second that it gives.
    pub up_rate: Option<f64>,
    /// The highest rate it was seen to take at.
    pub peak_down: Option<f64>,
    /// The highest rate it was seen to give at.
    pub peak_up: Option<f64>,
    /// Seconds until it has everything, at the rate of now.
    pub time_left: Option<f64>,
    /// What it does.
    pub state: Doing,
    /// Whether it is connected to this machine, so that its figures are of now.
    pub live: bool,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// It lacks something.
    #[default]
    Fetching,
    /// It has everything and gives it.
    Seeding,
    /// It has everything, and has left.
    Done,
    /// It has left without everything.
    Gone,
}

/// What rows are made of.
pub struct RowSources<'a> {
    /// The swarm, and what is remembered of it.
    pub snapshot: &'a Snapshot,
    /// Who is connected.
    pub sessions: &'a [PeerReport],
    /// Bytes of the torrent.
    pub length: u64,
    /// This machine's addresses.
    pub own: &'a [IpAddr],
    /// What others call this machine by, in the place of 127.0.0.1.
    pub lan: Option<IpAddr>,
    /// This process, where it has to do with the torrent.
    pub me: Option<Me>,
}

/// What this process knows of itself, which is more than it announces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Me {
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Bytes it lacks.
    pub left: u64,
    /// Bytes a second that it takes.
    pub down_rate: f64,
    /// Bytes a second that it gives.
    pub up_rate: f64,
    /// The highest rate it took at; 0 before any.
    pub peak_down: f64,
    /// The highest rate it gave at; 0 before any.
    pub peak_up: f64,
}

#[derive(Default)]
struct Draft<'a> {
    announced: Option<&'a PeerView>,
    machine: Option<&'a Machine>,
    session: Option<&'a PeerReport>,
    me: Option<&'a Me>,
}

impl RowSources<'_> {
    /// All rows: who fetches first, the furthest ahead; then who gives; then who has left.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.drafts().into_iter().map(|(id, draft)| self.row(id, &draft)).collect();
        let rank = |row: &Row| (row.state as u8, std::cmp::Reverse(row.percent.map(|percent| percent as u32)));
        rows.sort_by(|a, b| {
            rank(a).cmp(&rank(b)).then_with(|| a.address.cmp(&b.address)).then_with(|| a.id.cmp(&b.id))
        });
        rows
    }

    fn drafts(&self) -> HashMap<PeerId, Draft<'_>> {
        let mut drafts: HashMap<PeerId, Draft<'_>> = HashMap::new();
        for (id, machine) in &self.snapshot.machines {
            drafts.entry(*id).or_default().machine = Some(machine);
        }
        for peer in &self.snapshot.peers {
            // A client that announces over both families is one machine.
            drafts.entry(peer.peer_id).or_default().announced.get_or_insert(peer);
        }
        for session in self.sessions {
            let id = self.match_of(session, &drafts).unwrap_or(session.peer_id);
            drafts.entry(id).or_default().session.get_or_insert(session);
        }
        if let Some(me) = &self.me {
            drafts.entry(me.peer_id).or_default().me = Some(me);
        }
        drafts
    }

    /// Who in the swarm a session is with, where its id is not found there: whoever announced its very address, or the
    /// only one at that machine that no session is known of.
    fn match_of(&self, session: &PeerReport, drafts: &HashMap<PeerId, Draft<'_>>) -> Option<PeerId> {
        if drafts.contains_key(&session.peer_id) {
            return Some(session.peer_id);
        }
        let ip = self.kept_as(session.address.ip());
        let free = drafts.iter().filter(|(_, draft)| draft.session.is_none());
        let mut there = free.filter_map(|(id, draft)| Some((*id, draft.announced?.address)));
        let there: Vec<_> = there.by_ref().filter(|(_, address)| address.ip() == ip).collect();
        let same = there.iter().find(|(_, address)| address.port() == session.address.port());
        match (same, &there[..]) {
            (Some((id, _)), _) => Some(*id),
            // Others of the same machine may be connected under their own names.
            (None, [(id, _)]) if !ip.is_loopback() => Some(*id),
            _ => None,
        }
    }

    /// The address that the swarm table keeps a machine under.
    fn kept_as(&self, ip: IpAddr) -> IpAddr {
        let ip = ip.to_canonical();
        let is_own = ip.is_loopback() || self.own.iter().any(|own| own.to_canonical() == ip);
        if is_own { Ipv4Addr::LOCALHOST.into() } else { ip }
    }

    fn row(&self, id: PeerId, draft: &Draft<'_>) -> Row {
        let Draft { announced, machine, session, me } = *draft;
        let left = self.left(draft);
        let is_here = announced.is_some() || session.is_some() || me.is_some();
        let state = match (is_here, left == Some(0)) {
            (true, false) => Doing::Fetching,
            (true, true) => Doing::Seeding,
            (false, true) => Doing::Done,
            (false, false) => Doing::Gone,
        };
        let down = match state {
            Doing::Fetching => self.down_rate(draft),
            Doing::Seeding => Some(0.0),
            Doing::Done | Doing::Gone => None,
        };
        let seen = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0);
        let peak_down = [machine.and_then(Machine::peak_down), seen(session.map(|it| it.peak_up))];
        let peak_up = [machine.and_then(Machine::peak_up), seen(session.map(|it| it.peak_down))];
        let told = announced.map(|peer| peer.address).or(machine.map(|machine| machine.address));
        let address = told.or(session.map(|session| session.address));
        let is_own = address.is_some_and(|address| self.kept_as(address.ip()).is_loopback());
        Row {
            id: HEXLOWER.encode(&id.0),
            address: address.map_or_else(String::new, |address| self.shown(address)),
            name: match (me.is_some(), is_own) {
                (true, _) => Some(THIS_MACHINE.to_owned()),
                (false, true) => Some("another program on this machine".to_owned()),
                (false, false) => None,
            },
            client: session.and_then(|session| session.client.clone()).or_else(|| clients::name(&id)),
            percent: left.map(|left| 100.0 * (1.0 - left.min(self.length) as f64 / self.length.max(1) as f64)),
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
        }
    }

    fn left(&self, draft: &Draft<'_>) -> Option<u64> {
        let announced = draft.announced.map(|peer| peer.left).filter(|left| *left != LEFT_UNKNOWN);
        let of_session = draft.session.map(|session| {
            let (has, of) = (u128::from(session.have.count()), u128::from(session.have.len().max(1)));
            self.length - (u128::from(self.length) * has / of) as u64
        });
        match (draft.me, announced) {
            (Some(me), _) => Some(me.left),
            // A client may tell its tracker that it has everything before it tells us.
            (None, Some(0)) => Some(0),
            (None, announced) => of_session.or(announced).or(draft.machine.and_then(|machine| machine.left)),
        }
    }

    fn down_rate(&self, draft: &Draft<'_>) -> Option<f64> {
        let meters = self.meters(draft);
        match (draft.me, draft.session) {
            (Some(me), _) => Some(me.down_rate),
            // What it tells to have grows by what it takes of everybody.
            (None, Some(session)) => highest([meters.and_then(|it| it.held.rate()), Some(session.up_rate)]),
            (None, None) => meters.and_then(|it| it.taken.rate()),
        }
    }

    fn up_rate(&self, draft: &Draft<'_>) -> Option<f64> {
        let given = self.meters(draft).and_then(|it| it.given.rate());
        match draft.me {
            Some(me) => Some(me.up_rate),
            None => highest([given, draft.session.map(|session| session.down_rate)]),
        }
    }

    /// What was measured of it so lately that it tells of now.
    fn meters<'a>(&self, draft: &Draft<'a>) -> Option<&'a Machine> {
        let is_here = draft.announced.is_some() || draft.session.is_some();
        draft.machine.filter(|it| is_here && self.snapshot.now.saturating_sub(it.seen) < RATE_TIME)
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        bitfield::Bitfield,
        metainfo::InfoHash,
        tracker::table::Counts,
        web::history::{History, HistoryAnswer, Sight},
    };

    const FILE: InfoHash = InfoHash([1; 20]);

    fn id(name: &str) -> PeerId {
        let mut id = [b'x'; 20];
        id[..name.len()].copy_from_slice(name.as_bytes());
        PeerId(id)
    }

    fn view(name: &str, address: &str, left: u64) -> PeerView {
        let (uploaded, downloaded, seen) = (0, 0, Duration::ZERO);
        PeerView { address: address.parse().unwrap(), peer_id: id(name), left, uploaded, downloaded, seen }
    }

    fn session(name: &str, address: &str, has: u32) -> PeerReport {
        let mut have = Bitfield::empty(10);
        (0..has).for_each(|piece| _ = have.set(piece));
        PeerReport {
            address: address.parse().unwrap(),
            peer_id: id(name),
            client: None,
            have,
            down_rate: 0.0,
            up_rate: 100.0,
            peak_down: 0.0,
            peak_up: 300.0,
            downloaded: 0,
            uploaded: 0,
            they_choke: false,
            we_choke: false,
            they_want: true,
            since: SystemTime::now(),
        }
    }

    fn snapshot(peers: Vec<PeerView>, machines: Vec<(PeerId, Machine)>) -> Snapshot {
        Snapshot { now: Duration::from_secs(100), counts: Counts::default(), peers, machines }
    }

    fn rows(snapshot: &Snapshot, sessions: &[PeerReport]) -> Vec<Row> {
        RowSources { snapshot, sessions, length: 1000, own: &["10.0.0.9".parse().unwrap()], lan: None, me: None }.rows()
    }

    fn remembered(name: &str, told: &[(u64, HistoryAnswer)]) -> (PeerId, Machine) {
        let mut history = History::default();
        history.follow(FILE);
        for (number, (left, told)) in told.iter().enumerate() {
            let sight =
                Sight { peer_id: id(name), address: "10.0.0.1:6881".parse().unwrap(), left: Some(*left), told: *told };
            history.see(&FILE, &sight, Duration::from_secs(90 + 5 * number as u64));
        }
        history.machines(&FILE)[0]
    }

    fn took(downloaded: u64) -> HistoryAnswer {
        HistoryAnswer::Announced { uploaded: downloaded / 2, downloaded }
    }

    #[test]
    fn an_announce_alone_tells_program_percent_and_rates_between_two_of_them() {
        let machine = remembered("-qB4650-", &[(900, took(100)), (400, took(600))]);
        let snapshot = snapshot(vec![view("-qB4650-", "10.0.0.1:6881", 400)], vec![machine]);
        let [row] = &rows(&snapshot, &[])[..] else { panic!() };
        assert_eq!(
            (row.client.as_deref(), row.percent, row.state),
            (Some("qBittorrent 4.6.5"), Some(60.0), Doing::Fetching)
        );
        assert_eq!((row.down_rate, row.up_rate, row.time_left), (Some(100.0), Some(50.0), Some(4.0)));
        assert_eq!((row.peak_down, row.live, &row.name), (Some(100.0), false, &None));
    }

    #[test]
    fn a_session_and_an_announce_of_one_machine_are_one_row_by_id_or_by_address() {
        let one = snapshot(vec![view("a", "10.0.0.1:6881", 900)], Vec::new());
        for session in
            [session("a", "10.0.0.1:51000", 7), session("b", "10.0.0.1:6881", 7), session("b", "10.0.0.1:51000", 7)]
        {
            let [row] = &rows(&one, &[session])[..] else { panic!() };
            assert_eq!((row.percent, row.down_rate, row.peak_down), (Some(70.0), Some(100.0), Some(300.0)));
            assert!(row.live && row.id == HEXLOWER.encode(&id("a").0));
        }
        let two = snapshot(vec![view("a", "10.0.0.1:1", 900), view("b", "10.0.0.1:2", 900)], Vec::new());
        assert_eq!(rows(&two, &[session("c", "10.0.0.1:51000", 7)]).len(), 3, "nobody knows which of them it is");
    }

    #[test]
    fn whoever_has_left_is_done_or_gone_and_has_no_rate() {
        let done = remembered("done", &[(900, took(0)), (0, took(900)), (0, HistoryAnswer::Goodbye)]);
        let gone = remembered("gone", &[(900, took(0)), (700, took(200)), (700, HistoryAnswer::Goodbye)]);
        let rows = rows(&snapshot(Vec::new(), vec![gone, done]), &[]);
        assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [Doing::Done, Doing::Gone]);
        assert!(rows.iter().all(|row| row.down_rate.is_none() && row.up_rate.is_none()));
    }

    #[test]
    fn what_nobody_told_is_not_known() {
        let row = &rows(&snapshot(vec![view("a", "10.0.0.1:1", LEFT_UNKNOWN)], Vec::new()), &[])[0];
        assert_eq!((row.percent, row.down_rate, row.time_left, &row.client), (None, None, None, &None));
        assert_eq!(row.state, Doing::Fetching);
    }

    #[test]
    fn the_machine_of_this_page_is_named_and_found_under_all_its_addresses() {
        let snapshot = snapshot(vec![view("a", "127.0.0.1:6882", 900)], Vec::new());
        let [row] = &rows(&snapshot, &[session("b", "10.0.0.9:6882", 7)])[..] else { panic!() };
        assert_eq!(row.name.as_deref(), Some("another program on this machine"));
        let me = Me { peer_id: id("a"), left: 250, down_rate: 50.0, up_rate: 0.0, peak_down: 0.0, peak_up: 0.0 };
        let parts = RowSources { snapshot: &snapshot, sessions: &[], length: 1000, own: &[], lan: None, me: Some(me) };
        let [row] = &parts.rows()[..] else { panic!() };
        assert_eq!((row.name.as_deref(), row.percent, row.time_left), (Some("this machine"), Some(75.0), Some(5.0)));
        assert!(row.live && row.peak_down.is_none());
    }

    #[test]
    fn an_address_has_a_port_only_where_one_is_known() {
        let snapshot = snapshot(vec![view("a", "127.0.0.1:0", 900), view("b", "127.0.0.1:6882", 900)], Vec::new());
        let lan = Some("10.0.0.9".parse().unwrap());
        let rows = RowSources { snapshot: &snapshot, sessions: &[], length: 1000, own: &[], lan, me: None }.rows();
        assert_eq!(rows.iter().map(|row| &row.address[..]).collect::<Vec<_>>(), ["10.0.0.9", "10.0.0.9:6882"]);
    }
}
