//! The clock of a room, and what happens when.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Plan, Report, SourceOrder, Stay,
    host::{Host, Role, address, number, peer_id},
    link::{EndId, Link, Nanos, Segment, WINDOW},
    report::PARTS,
    writer::{ConnectionEnd, WriterState},
};
use crate::{
    bitfield::Bitfield,
    chance::Chance,
    metainfo::{Block, Geometry, PieceIndex},
    policy::{
        ChokeChange, Choker, DEFAULT_UPLOAD_SLOTS, Direction, FetchSettings, Home, Payload, PeerEvent, PieceInFlight,
        Remote, SendOrder, SessionId,
        coordinator::{Action, Coordinator, ENDGAME_BLOCKS, SessionPace},
        super_seed::{self, Showing, SuperSeeding},
    },
    session::{
        Expected, Requests,
        outgoing::{queue::HAVE_PAUSE, turns::UplinkState, writer::MAX_RUN},
    },
    wire::{self, DecodeStep, Message, MessageLimits},
};

/// How often a fetch looks at the clock.
const TICK: Nanos = 100_000_000;

/// How often a source does.
const SOURCE_TICK: Nanos = 1_000_000_000;

/// The time that a hash worker takes for a byte, and for a piece besides.
const HASH_BYTE: f64 = 1.2;
const HASH_PIECE: Nanos = 300_000;

/// How long a host that has everything hands on what nobody else has.
const HAND_ON: Nanos = 2_000_000_000;

/// How long nobody may need a host that has everything before it leaves.
const UNNEEDED: Nanos = 2_000_000_000;

/// Peers that the tracker names at once.
const NUMWANT: usize = 50;

/// A run ends after so many times the bound.
const GIVE_UP: f64 = 40.0;

/// What is due at some time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Start(usize),
    Leave(usize),
    Tick(usize),
    /// The source looks what peers ask for that say nothing of what they have.
    Look(usize),
    /// The uplink has sent what it was sending.
    Sent(usize),
    /// What the other end sent first of all that is under way has come.
    Arrived(EndId),
    Haves(EndId),
    TurnOver(EndId),
    Connected(usize, usize),
    Verified(usize, u32),
}

struct Room<'a> {
    plan: &'a Plan,
    geometry: Geometry,
    epoch: Instant,
    now: Nanos,
    due: BinaryHeap<Reverse<(Nanos, u64, Due)>>,
    order: u64,
    hosts: Vec<Host>,
    ends: Vec<ConnectionEnd>,
    /// What is under way to each end, first come first.
    under_way: Vec<VecDeque<Segment>>,
    announced: Vec<usize>,
    chance: Chance,
    next_session: u64,
    messages: u64,
    /// When the air is free, where it is shared.
    air_free: Nanos,
    /// Busy nanoseconds of the hosts' uplinks and of the source's, each hundredth of a second.
    use_of_uplinks: Vec<[f64; 2]>,
}

/// Plays a room until every host that stays has the file.
pub fn run(plan: &Plan) -> Report {
    let geometry = Geometry::new(plan.length, plan.piece_length).expect("the plan was checked");
    let mut room = Room {
        plan,
        geometry,
        epoch: Instant::now(),
        now: 0,
        due: BinaryHeap::new(),
        order: 0,
        hosts: Vec::new(),
        ends: Vec::new(),
        under_way: Vec::new(),
        announced: Vec::new(),
        chance: Chance::new(plan.seed),
        next_session: 0,
        messages: 0,
        air_free: 0,
        use_of_uplinks: Vec::new(),
    };
    room.furnish();
    room.play();
    room.report()
}

impl Room<'_> {
    fn furnish(&mut self) {
        let now = self.instant();
        let have = Bitfield::empty(self.geometry.piece_count());
        for number in 0..=self.plan.hosts {
            let role = if number == 0 {
                let offer = match self.plan.source_order {
                    SourceOrder::Super => Some(Box::new(SuperSeeding::new(&self.geometry, self.chance.next()))),
                    SourceOrder::Plain => None,
                };
                Role::Source {
                    offer,
                    has_look: false,
                    choker: Box::new(Choker::new(DEFAULT_UPLOAD_SLOTS, now)),
                    uploaded: HashMap::new(),
                }
            } else {
                let settings = FetchSettings {
                    max_peers: self.plan.max_peers,
                    upload_slots: DEFAULT_UPLOAD_SLOTS,
                    memory: 12 << 20,
                };
                let seed = self.chance.next();
                let ours = peer_id(number);
                let mut coordinator = Box::new(Coordinator::new(&self.geometry, &have, ours, settings, seed, now));
                coordinator.set_order(self.plan.picker);
                Role::Fetch(coordinator)
            };
            self.hosts.push(Host {
                role,
                link: Link::new(self.plan.link(number)),
                sessions: Default::default(),
                turns: UplinkState::new(self.plan.turns),
                turn_queue: VecDeque::new(),
                writing: 0,
                is_here: false,
                started: 0,
                finished: None,
                uploads: number == 0 || number > self.plan.free_riders,
                uploaded: 0,
                wasted: 0,
            });
        }
        self.at(0, Due::Start(0));
        let arrive = self.plan.arrive.as_nanos() as Nanos;
        for number in 1..=self.plan.hosts {
            // Programs that are started together come up within some milliseconds.
            let jitter = self.chance.below(20_000_000) as Nanos;
            self.at(arrive * (number as Nanos - 1) + jitter, Due::Start(number));
        }
        let leaving = (self.plan.leave * self.plan.hosts as f64) as usize;
        let half = (self.plan.bound() * 0.5e9) as Nanos;
        for number in 0..leaving {
            self.at(half, Due::Leave(self.plan.hosts - number));
        }
    }

    fn play(&mut self) {
        let arrive = self.plan.arrive.as_secs_f64() * self.plan.hosts as f64;
        let limit = ((self.plan.bound() * GIVE_UP + arrive) * 1e9) as Nanos;
        while let Some(Reverse((at, _, due))) = self.due.pop() {
            self.now = at;
            if at > limit || self.is_over() {
                return;
            }
            match due {
                Due::Start(host) => self.start(host),
                Due::Leave(host) => self.leave(host),
                Due::Tick(host) => self.tick(host),
                Due::Look(host) => self.look(host),
                Due::Sent(host) => self.sent(host),
                Due::Arrived(end) => self.arrived(end),
                Due::Haves(end) => {
                    self.ends[end].has_haves_timer = false;
                    self.write(end);
                }
                Due::TurnOver(end) => self.write(end),
                Due::Connected(from, to) => self.connected(from, to),
                Due::Verified(host, piece) => self.verified(host, piece),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.hosts[1..].iter().all(|host| host.finished.is_some() || (host.started > 0 && !host.is_here))
            && self.hosts.len() > 1
    }

    fn at(&mut self, at: Nanos, due: Due) {
        self.order += 1;
        self.due.push(Reverse((at, self.order, due)));
    }

    fn after(&mut self, wait: Nanos, due: Due) {
        self.at(self.now + wait, due);
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.now)
    }

    fn latency(&self) -> Nanos {
        self.plan.latency.as_nanos() as Nanos
    }

    // Hosts.

    fn start(&mut self, host: usize) {
        self.hosts[host].is_here = true;
        self.hosts[host].started = self.now.max(1);
        let mut named = self.announced.clone();
        while named.len() > NUMWANT {
            let gone = self.chance.below(named.len());
            named.swap_remove(gone);
        }
        self.announced.push(host);
        self.after(if host == 0 { SOURCE_TICK } else { TICK }, Due::Tick(host));
        let now = self.instant();
        let mut actions = Vec::new();
        if let Role::Fetch(coordinator) = &mut self.hosts[host].role {
            coordinator.found(named.into_iter().map(address), now, &mut actions);
        }
        self.perform(host, actions);
    }

    fn leave(&mut self, host: usize) {
        self.hosts[host].is_here = false;
        self.announced.retain(|other| *other != host);
        let ends: Vec<_> = self.hosts[host].sessions.values().copied().collect();
        ends.into_iter().for_each(|end| self.close(end));
    }

    fn tick(&mut self, host: usize) {
        if !self.hosts[host].is_here {
            return;
        }
        let now = self.instant();
        let paces: Vec<_> =
            self.hosts[host].sessions.iter().map(|(id, end)| (*id, pace(&self.ends[*end], now))).collect();
        let mut actions = Vec::new();
        match &mut self.hosts[host].role {
            Role::Fetch(coordinator) => {
                coordinator.tick(&paces, now, &mut actions);
                self.after(TICK, Due::Tick(host));
                self.perform(host, actions);
                self.leave_if_not_needed(host);
            }
            Role::Source { .. } => {
                self.after(SOURCE_TICK, Due::Tick(host));
                self.source_tick(host, &paces);
            }
        }
    }

    fn leave_if_not_needed(&mut self, host: usize) {
        let Some(finished) = self.hosts[host].finished else { return };
        let Role::Fetch(coordinator) = &self.hosts[host].role else { return };
        let since = self.now - finished;
        let is_to_leave = match self.plan.stay {
            Stay::WhileNeeded => since > UNNEEDED && !coordinator.is_needed(),
            Stay::HandOn => since > HAND_ON || !coordinator.is_last_holder(),
        };
        if is_to_leave {
            self.leave(host);
        }
    }

    fn source_tick(&mut self, host: usize, paces: &[(SessionId, SessionPace)]) {
        let now = self.instant();
        let is_idle = self.hosts[host].writing == 0;
        let Role::Source { offer, choker, uploaded, .. } = &mut self.hosts[host].role else { return };
        let mut shown = Vec::new();
        if let Some(offer) = offer {
            for (id, pace) in paces {
                if uploaded.insert(*id, pace.uploaded).is_some_and(|before| before < pace.uploaded) {
                    offer.moves(*id, now);
                }
            }
            shown = offer.tick(is_idle, now);
        }
        let mut changes = choker.rotate(now, |_| 0);
        changes.extend(choker.take_unused(now, |id| uploaded.get(&id).copied().unwrap_or(0)));
        self.tell(host, changes);
        self.show(host, shown);
    }

    fn look(&mut self, host: usize) {
        let now = self.instant();
        let (hosts, ends) = (&mut self.hosts, &self.ends);
        let Host { role, sessions, writing, .. } = &mut hosts[host];
        let Role::Source { offer: Some(offer), has_look, .. } = role else { return };
        *has_look = false;
        let is_uploading = |end: &EndId| {
            let end = &ends[*end];
            end.outbox.has_uploads() || !matches!(end.writing, WriterState::Nothing)
        };
        let shown = offer.look(*writing == 0, |id| sessions.get(&id).is_some_and(is_uploading), now);
        self.show(host, shown);
        self.look_later(host);
    }

    fn look_later(&mut self, host: usize) {
        if let Role::Source { offer: Some(offer), has_look, .. } = &mut self.hosts[host].role
            && !*has_look
            && offer.needs_look()
        {
            *has_look = true;
            self.after(super_seed::LOOK.as_nanos() as Nanos, Due::Look(host));
        }
    }

    fn show(&mut self, host: usize, shown: Vec<Showing>) {
        shown.into_iter().for_each(|(id, piece)| self.order(host, id, SendOrder::Have(piece)));
    }

    fn tell(&mut self, host: usize, changes: Vec<ChokeChange>) {
        for change in changes {
            let (id, order) = change.order();
            self.order(host, id, order);
        }
    }

    // Connections.

    fn connected(&mut self, from: usize, to: usize) {
        let now = self.instant();
        if !self.hosts[from].is_here {
            return;
        }
        if !self.hosts[to].is_here {
            if let Role::Fetch(coordinator) = &mut self.hosts[from].role {
                coordinator.dial_failed(address(to), false, now);
            }
            return;
        }
        let first = self.ends.len();
        for (host, other, direction) in [(from, to, Direction::Dialled), (to, from, Direction::Accepted)] {
            self.next_session += 1;
            let mut at = address(other);
            if direction == Direction::Accepted {
                at.set_port(40_000 + (self.next_session % 20_000) as u16);
            }
            let session = SessionId(self.next_session);
            let remote = Arc::new(Remote { session, address: at, peer_id: peer_id(other), direction });
            let requests = Requests::new(&self.geometry, remote.clone(), now);
            self.hosts[host].sessions.insert(session, self.ends.len());
            self.ends.push(ConnectionEnd::new(host, remote, requests, self.geometry.piece_count(), now));
            self.under_way.push(VecDeque::new());
        }
        self.opened(first);
        self.opened(first + 1);
    }

    fn opened(&mut self, end: EndId) {
        let (host, remote) = (self.ends[end].host, self.ends[end].remote.clone());
        let now = self.instant();
        let mut actions = Vec::new();
        match &mut self.hosts[host].role {
            Role::Fetch(coordinator) => {
                coordinator.opened(&remote, now, &mut actions);
                let session = remote.session;
                let named = PeerEvent::ExtensionHandshake {
                    session,
                    port: Some(6881),
                    client: None,
                    name: None,
                    upload_only: false,
                };
                coordinator.event(named, now, &mut actions);
            }
            Role::Source { offer, choker, .. } => {
                choker.opened(remote.session, now);
                let count = self.geometry.piece_count();
                let first = match offer {
                    Some(offer) => {
                        let mut first = Bitfield::empty(count);
                        offer.opened(remote.session, now).iter().for_each(|piece| _ = first.set(piece.get()));
                        first
                    }
                    None => Bitfield::full(count),
                };
                actions.push(Action::Order(remote.session, SendOrder::Start((!first.is_empty()).then_some(first))));
            }
        }
        self.perform(host, actions);
    }

    /// Both ends are over; what is under way is lost.
    fn close(&mut self, end: EndId) {
        for end in [end, end ^ 1] {
            let one = &mut self.ends[end];
            if one.is_over {
                continue;
            }
            one.is_over = true;
            one.kernel.clear();
            let (host, id) = (one.host, one.remote.session);
            let pieces = one.requests.choke();
            if matches!(std::mem::replace(&mut one.writing, WriterState::Nothing), WriterState::Run { .. }) {
                self.hosts[host].writing -= 1;
            }
            self.release_turn(end);
            self.hosts[host].sessions.remove(&id);
            let (downloaded, uploaded) = (self.ends[end].downloaded, self.ends[end].uploaded);
            let now = self.instant();
            let mut actions = Vec::new();
            match &mut self.hosts[host].role {
                Role::Fetch(coordinator) => {
                    coordinator.moved(id, downloaded, uploaded, now);
                    coordinator.closed(id, false, pieces, now, &mut actions);
                    self.perform(host, actions);
                }
                Role::Source { offer, choker, uploaded, .. } => {
                    uploaded.remove(&id);
                    let shown = offer.as_mut().map(|offer| offer.closed(id, now)).unwrap_or_default();
                    let changes = choker.closed(id, now);
                    self.show(host, shown);
                    self.tell(host, changes);
                }
            }
        }
    }

    fn end_of(&self, host: usize, id: SessionId) -> Option<EndId> {
        self.hosts[host].sessions.get(&id).copied()
    }

    // What a coordinator's thread does.

    fn perform(&mut self, host: usize, mut actions: Vec<Action>) {
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                self.act(host, action, &mut actions);
            }
        }
    }

    fn act(&mut self, host: usize, action: Action, more: &mut Vec<Action>) {
        let now = self.instant();
        match action {
            Action::Order(id, order) => self.order(host, id, order),
            Action::Assign(id, piece) => {
                let unassigned = match self.end_of(host, id) {
                    Some(end) => match self.ends[end].requests.assign(piece, now) {
                        Ok(blocks) => {
                            self.request(end, blocks);
                            None
                        }
                        Err(piece) => Some(piece),
                    },
                    None => Some(piece),
                };
                if let (Some(piece), Role::Fetch(coordinator)) = (unassigned, &mut self.hosts[host].role) {
                    coordinator.unassigned(id, piece, now, more);
                }
            }
            Action::Help { helper, owner, piece } => {
                let (Some(owner), Some(helper)) = (self.end_of(host, owner), self.end_of(host, helper)) else { return };
                for block in self.ends[owner].requests.last_missing(piece, ENDGAME_BLOCKS) {
                    let blocks = self.ends[helper].requests.request_endgame_block(block, now);
                    self.request(helper, blocks);
                }
            }
            Action::Deliver(owner, block, payload, uploader) => {
                let Some(owner) = self.end_of(host, owner) else { return };
                let (finished, is_to_cancel) = self.ends[owner].requests.receive(block, payload, uploader);
                if is_to_cancel {
                    self.push(owner, SendOrder::Cancel(vec![block]));
                    let blocks = self.ends[owner].requests.next_requests(now);
                    self.request(owner, blocks);
                }
                self.hash(host, finished);
            }
            Action::Recall(id, piece) => {
                let Some(end) = self.end_of(host, id) else { return };
                let (recalled, cancelled) = self.ends[end].requests.recall(piece);
                if !cancelled.is_empty() {
                    self.push(end, SendOrder::Cancel(cancelled));
                }
                let blocks = self.ends[end].requests.next_requests(now);
                self.request(end, blocks);
                if let (Some(piece), Role::Fetch(coordinator)) = (recalled, &mut self.hosts[host].role) {
                    coordinator.returned(piece, now, more);
                }
            }
            Action::End(id) => {
                if let Some(end) = self.end_of(host, id) {
                    self.close(end);
                }
            }
            Action::Dial(to) => {
                if let Some(to) = number(to) {
                    self.after(4 * self.latency(), Due::Connected(host, to));
                }
            }
        }
    }

    fn order(&mut self, host: usize, id: SessionId, order: SendOrder) {
        // A free rider unchokes nobody.
        let is_refused = matches!(order, SendOrder::Unchoke) && !self.hosts[host].uploads;
        if let Some(end) = self.end_of(host, id).filter(|_| !is_refused) {
            self.push(end, order);
        }
    }

    fn push(&mut self, end: EndId, order: SendOrder) {
        if !self.ends[end].is_over {
            self.ends[end].outbox.take(order).expect("the hosts of the lab keep to the limits");
            self.write(end);
        }
    }

    fn request(&mut self, end: EndId, blocks: Vec<Block>) {
        if !blocks.is_empty() {
            self.push(end, SendOrder::Request(blocks));
        }
    }

    fn event(&mut self, end: EndId, event: PeerEvent) {
        let host = self.ends[end].host;
        let now = self.instant();
        let mut actions = Vec::new();
        let is_idle = self.hosts[host].writing == 0;
        match &mut self.hosts[host].role {
            Role::Fetch(coordinator) => {
                coordinator.event(event, now, &mut actions);
                self.perform(host, actions);
            }
            Role::Source { offer, choker, .. } => {
                let mut shown = Vec::new();
                match (event, offer) {
                    (PeerEvent::Has(id, bits), Some(offer)) => shown = offer.has(id, &bits, now),
                    (PeerEvent::Gained(id, piece), Some(offer)) => shown = offer.gained(id, piece, is_idle, now),
                    (PeerEvent::Sent(id, piece), Some(offer)) => shown = offer.sent(id, piece, is_idle, now),
                    (PeerEvent::Interested(id, interested), _) => {
                        let changes = choker.interested(id, interested, now);
                        self.tell(host, changes);
                    }
                    _ => {}
                }
                self.show(host, shown);
                self.look_later(host);
                if self.ends[end].theirs.is_full() {
                    self.close(end);
                }
            }
        }
    }

    fn hash(&mut self, host: usize, piece: Option<PieceInFlight>) {
        if let Some(piece) = piece {
            let bytes = f64::from(self.geometry.length_of(piece.piece()));
            let time = HASH_PIECE + (bytes * HASH_BYTE) as Nanos;
            self.after(time, Due::Verified(host, piece.piece().get()));
        }
    }

    fn verified(&mut self, host: usize, piece: u32) {
        let now = self.instant();
        let piece = self.geometry.piece(piece).expect("it was one");
        let mut actions = Vec::new();
        if let Role::Fetch(coordinator) = &mut self.hosts[host].role {
            coordinator.verified(piece, &[], now, &mut actions);
            if coordinator.is_complete() {
                self.hosts[host].finished.get_or_insert(self.now);
            }
        }
        self.perform(host, actions);
    }

    // What the reading thread of a session does.

    fn arrived(&mut self, end: EndId) {
        let Some(segment) = self.under_way[end].pop_front() else { return };
        let sender = end ^ 1;
        self.ends[sender].under_way -= segment.bytes();
        if self.ends[sender].is_blocked {
            self.ends[sender].is_blocked = false;
            self.offer_to_link(sender);
        }
        if self.ends[end].is_over {
            return;
        }
        match segment {
            Segment::Control(bytes) => self.read(end, &bytes),
            Segment::Block(block) => self.block(end, block),
        }
    }

    fn read(&mut self, end: EndId, mut bytes: &[u8]) {
        let limits = MessageLimits::for_pieces(self.geometry.piece_count());
        while !self.ends[end].is_over
            && let Ok(DecodeStep::Message(message, used)) = wire::decode(bytes, limits)
        {
            self.messages += 1;
            self.message(end, message);
            bytes = &bytes[used..];
        }
    }

    fn message(&mut self, end: EndId, message: Message<'_>) {
        let one = &mut self.ends[end];
        let id = one.remote.session;
        let event = match message {
            Message::Choke => PeerEvent::Choked(id, one.requests.choke()),
            Message::Unchoke => PeerEvent::Unchoked(id, one.requests.unchoke()),
            Message::Interested | Message::NotInterested => {
                one.wants = message == Message::Interested;
                PeerEvent::Interested(id, one.wants)
            }
            Message::Have(index) => {
                one.spoke = true;
                if !one.theirs.set(index) {
                    return;
                }
                PeerEvent::Gained(id, self.geometry.piece(index).expect("the other side names no others"))
            }
            Message::Bitfield(bytes) => {
                one.spoke = true;
                one.theirs = Bitfield::from_bytes(bytes, self.geometry.piece_count()).expect("it is one");
                PeerEvent::Has(id, one.theirs.clone())
            }
            Message::Request(raw) => {
                let block = self.geometry.block(raw.index, raw.begin, raw.length).expect("it is one");
                if !std::mem::replace(&mut one.wants, true) {
                    self.event(end, PeerEvent::Interested(id, true));
                }
                return self.push(end, SendOrder::Upload(block));
            }
            Message::Cancel(raw) => {
                let block = self.geometry.block(raw.index, raw.begin, raw.length).expect("it is one");
                return self.push(end, SendOrder::CancelUpload(block));
            }
            Message::KeepAlive | Message::Extended(..) => return,
        };
        self.event(end, event);
    }

    fn block(&mut self, end: EndId, block: Block) {
        let now = self.instant();
        let one = &mut self.ends[end];
        let host = one.host;
        let home = match one.requests.expects(block.into()) {
            Expected::Yes(_, home) => home,
            Expected::NoLonger | Expected::Never => {
                self.hosts[host].wasted += u64::from(block.length);
                return;
            }
        };
        one.downloaded += u64::from(block.length);
        if home == Home::Disk && !one.requests.claim(block) {
            self.hosts[host].wasted += u64::from(block.length);
            return;
        }
        let placed = one.requests.place(block, Payload::Stored, now);
        let (id, remote) = (one.remote.session, one.remote.clone());
        self.request(end, placed.requests);
        self.hash(host, placed.finished);
        if let Some((block, payload)) = placed.endgame_block {
            self.event(end, PeerEvent::EndgameBlock(remote, block, payload));
        }
        if let Some(bytes) = placed.bytes_wanted {
            self.event(end, PeerEvent::BytesWanted(id, bytes));
        }
    }

    // What the writing thread of a session does.

    fn write(&mut self, end: EndId) {
        loop {
            let one = &mut self.ends[end];
            if one.is_over {
                return;
            }
            let host = one.host;
            match std::mem::replace(&mut one.writing, WriterState::Nothing) {
                WriterState::Nothing => {
                    if one.unsent >= one.max_unsent {
                        return;
                    }
                    let may_send_haves = one.outbox.has_haves() && one.haves_from <= self.now;
                    if !one.outbox.has_work(MAX_RUN) && !may_send_haves {
                        if one.outbox.has_haves() && !one.has_haves_timer {
                            one.has_haves_timer = true;
                            let at = one.haves_from;
                            self.at(at, Due::Haves(end));
                        }
                        return self.release_turn(end);
                    }
                    self.write_control(end, MAX_RUN);
                }
                WriterState::Waiting { run, until } => {
                    let now = self.epoch + Duration::from_nanos(self.now);
                    let turn = self.hosts[host].turns.take(now);
                    if turn.is_none() && self.now < until {
                        self.ends[end].writing = WriterState::Waiting { run, until };
                        if self.ends[end].outbox.has_work(0) {
                            self.write_control(end, 0);
                        }
                        return;
                    }
                    self.hosts[host].turn_queue.retain(|waiting| *waiting != end);
                    let one = &mut self.ends[end];
                    (one.turn, one.left_of_turn) = (turn, self.plan.turns.bytes);
                    self.begin_run(end, run);
                }
                WriterState::Run { mut run, bytes, piece } => {
                    while let Some(block) = run.front() {
                        if one.unsent >= one.max_unsent {
                            one.writing = WriterState::Run { run, bytes, piece };
                            return self.offer_to_link(end);
                        }
                        one.write(Segment::Block(*block));
                        run.pop_front();
                    }
                    self.offer_to_link(end);
                    self.end_run(end, piece, bytes);
                }
            }
        }
    }

    fn write_control(&mut self, end: EndId, max_run: u64) {
        let one = &mut self.ends[end];
        if one.outbox.has_haves() {
            one.haves_from = self.now + HAVE_PAUSE.as_nanos() as Nanos;
        }
        let batch = one.outbox.next(max_run);
        if !batch.control.is_empty() {
            one.write(Segment::Control(batch.control));
            self.offer_to_link(end);
        }
        if batch.run.is_empty() {
            return;
        }
        let run: VecDeque<_> = batch.run.into();
        if self.ends[end].turn.is_some() {
            return self.begin_run(end, run);
        }
        let until = self.now + self.plan.turns.patience.as_nanos() as Nanos;
        self.ends[end].writing = WriterState::Waiting { run, until };
        let host = self.ends[end].host;
        self.hosts[host].turn_queue.push_back(end);
        self.at(until, Due::TurnOver(end));
    }

    fn begin_run(&mut self, end: EndId, run: VecDeque<Block>) {
        let piece = run[0].piece;
        let bytes = run.iter().map(|block| u64::from(block.length)).sum();
        let host = self.ends[end].host;
        self.hosts[host].writing += 1;
        self.ends[end].writing = WriterState::Run { run, bytes, piece };
    }

    fn end_run(&mut self, end: EndId, piece: PieceIndex, bytes: u64) {
        let now = self.instant();
        let length = u64::from(self.geometry.length_of(piece));
        let one = &mut self.ends[end];
        let host = one.host;
        if let Some(limit) = one.backlog.sent(bytes, now) {
            one.max_unsent = u64::from(limit);
        }
        let is_whole = one.note_sent(piece, bytes, length);
        let id = one.remote.session;
        one.left_of_turn = one.left_of_turn.saturating_sub(bytes);
        let is_over = one.left_of_turn == 0;
        self.hosts[host].writing -= 1;
        self.hosts[host].uploaded += bytes;
        if is_over {
            self.release_turn(end);
        }
        if is_whole && host == 0 {
            self.event(end, PeerEvent::Sent(id, piece));
        }
    }

    fn release_turn(&mut self, end: EndId) {
        let host = self.ends[end].host;
        if let Some(turn) = self.ends[end].turn.take() {
            self.hosts[host].turns.give_back(turn);
            if let Some(next) = self.hosts[host].turn_queue.front().copied() {
                self.write(next);
            }
        }
    }

    // What links do.

    /// A connection has something for its uplink.
    fn offer_to_link(&mut self, end: EndId) {
        let one = &mut self.ends[end];
        if one.kernel.is_empty() || one.is_blocked {
            return;
        }
        let link = &mut self.hosts[one.host].link;
        if link.sending != Some(end) && !link.ready.contains(&end) {
            link.ready.push_back(end);
        }
        let host = one.host;
        self.send(host);
    }

    fn send(&mut self, host: usize) {
        while self.hosts[host].link.sending.is_none() {
            let Some(end) = self.hosts[host].link.ready.pop_front() else { return };
            let one = &mut self.ends[end];
            if one.kernel.is_empty() {
                continue;
            }
            if one.under_way >= WINDOW {
                one.is_blocked = true;
                continue;
            }
            let segment = one.kernel.pop_front().expect("it is not empty");
            one.under_way += segment.bytes();
            let other = self.ends[end ^ 1].host;
            let mut time = self.hosts[host].link.send(&segment);
            self.note_use(host, time);
            if let Some(air) = self.plan.air {
                let passes = if host == 0 { 1.0 } else { 2.0 };
                self.air_free = self.now.max(self.air_free) + segment.time_at(air / passes);
                time = time.max(self.air_free - self.now);
            }
            let begins = self.now + self.latency();
            let arrives = self.hosts[other].link.receive(&segment, begins, begins + time);
            self.hosts[host].link.sending = Some(end);
            self.ends[end].unsent -= segment.bytes();
            self.under_way[end ^ 1].push_back(segment);
            self.at(arrives, Due::Arrived(end ^ 1));
            self.after(time, Due::Sent(host));
        }
    }

    fn sent(&mut self, host: usize) {
        let Some(end) = self.hosts[host].link.sending.take() else { return };
        if !self.ends[end].kernel.is_empty() {
            self.hosts[host].link.ready.push_back(end);
        }
        self.send(host);
        self.write(end);
    }

    fn note_use(&mut self, host: usize, time: Nanos) {
        let slot = (self.now / 10_000_000) as usize;
        if self.use_of_uplinks.len() <= slot {
            self.use_of_uplinks.resize(slot + 1, [0.0; 2]);
        }
        self.use_of_uplinks[slot][usize::from(host == 0)] += time as f64;
    }

    fn report(&self) -> Report {
        let staying = self.hosts[1..].iter().filter(|host| host.finished.is_some() || host.is_here);
        let last_start = staying.clone().map(|host| host.started).max().unwrap_or(0);
        let last: Option<Vec<_>> = staying.map(|host| host.finished).collect();
        let seconds = last.and_then(|all| all.into_iter().max()).map(|last| (last - last_start.min(last)) as f64 / 1e9);
        let bound = self.plan.bound();
        let needed = self.plan.length as f64 * self.plan.hosts as f64;
        let length = self.use_of_uplinks.len().max(1);
        let share = |which: usize, count: f64| -> Vec<f64> {
            let part = |number: usize| {
                let slots = &self.use_of_uplinks[number * length / PARTS..(number + 1) * length / PARTS];
                slots.iter().map(|slot| slot[which]).sum::<f64>() / (slots.len().max(1) as f64 * 1e7 * count)
            };
            if self.use_of_uplinks.is_empty() { Vec::new() } else { (0..PARTS).map(part).collect() }
        };
        let took = |host: &Host| host.finished.map(|finished| (finished - host.started) as f64 / 1e9);
        Report {
            seconds,
            bound,
            efficiency: seconds.map_or(0.0, |seconds| bound / seconds),
            ceiling: self.plan.ceiling(),
            copies: self.hosts[0].uploaded as f64 / self.plan.length as f64,
            wasted: self.hosts.iter().map(|host| host.wasted).sum::<u64>() as f64 / needed,
            uplinks: share(0, self.plan.hosts as f64),
            source_uplink: share(1, 1.0),
            hosts: self.hosts[1..].iter().map(took).collect(),
            messages: self.messages,
        }
    }
}

fn pace(end: &ConnectionEnd, now: Instant) -> SessionPace {
    SessionPace {
        waited: end.requests.waited(now),
        time_left: end.requests.time_left(),
        rate: end.requests.bytes_per_second(),
        bytes_wanted: end.requests.bytes_wanted(),
        idle: end.requests.is_idle(),
        spare: end.requests.spare(),
        downloaded: end.downloaded,
        uploaded: end.uploaded,
    }
}
