//! The coordinator's decisions: who fetches which piece, who is helped, who is dropped. Pure.
//!
//! Events go in, [`Action`]s come out; `now` and the seed of chance are arguments. The thread around it, in `downloader`, owns
//! the sessions' handles and does what the actions say.
//!
//! Invariants: a piece in flight has one owner, or is being hashed; everything that is neither verified nor in flight can
//! be picked, and is picked as soon as an unchoked peer that has it wants more; memory promised to pieces in flight stays
//! within the budget, and what exceeds it goes by way of the disk. `flights` assigns the pieces and keeps what comes back, `peer`
//! is what decisions about a peer go by.

mod action;
mod flights;
mod peer;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::action::{Action, SessionPace};
use self::{flights::Flight, peer::FetchPeer};
use crate::{
    bitfield::Bitfield,
    chance::Chance,
    metainfo::{Geometry, PeerId, PieceIndex},
    policy::{
        ChokeChange, Choker, Direction, PeerEvent, PeerKnowledge, PieceInFlight, Remote, SendOrder, SessionId,
        picker::{Picker, PieceOrder},
        roster::{Parting, Roster, SessionVerdict},
    },
};

/// Addresses dialled at once: a room comes together at once, a list of dead addresses takes a few seconds each.
const MAX_DIALLING: usize = 24;

/// Blocks of another session's piece that an idle session requests at once in the endgame.
pub const ENDGAME_BLOCKS: usize = 8;

/// How long a block that was asked for may be awaited before its piece goes to others.
const STALL: Duration = Duration::from_secs(8);

/// How long a peer that stalled gets work only where nobody else has it.
const SNUB: Duration = Duration::from_secs(30);

/// How long a session on which nothing passes keeps its place while addresses wait to be dialled and there is none left: longer
/// than a turn of anybody's upload slots. So an address that was never tried has its turn this much later for every
/// `max_peers` silent ones before it, by whomever they were named.
const USELESS_AFTER: Duration = Duration::from_secs(15);

/// What the process was told about how to fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchSettings {
    /// Sessions at most.
    pub max_peers: usize,
    /// Peers served at once.
    pub upload_slots: usize,
    /// Bytes that pieces in flight may hold in memory.
    pub memory: u64,
}

/// Everything that is decided about one torrent that is being fetched.
pub struct Coordinator {
    geometry: Geometry,
    ours: PeerId,
    settings: FetchSettings,
    picker: Picker,
    roster: Roster,
    choker: Choker,
    peers: BTreeMap<SessionId, FetchPeer>,
    flights: BTreeMap<PieceIndex, Flight>,
    /// Pieces that came back with blocks in them, or with a record of lies.
    shelf: BTreeMap<PieceIndex, PieceInFlight>,
    memory: u64,
    chance: Chance,
    paused: bool,
}

impl Coordinator {
    /// Begins with the pieces that are verified already.
    pub fn new(
        geometry: &Geometry,
        have: &Bitfield,
        ours: PeerId,
        settings: FetchSettings,
        seed: u64,
        now: Instant,
    ) -> Self {
        Coordinator {
            geometry: *geometry,
            ours,
            settings,
            picker: Picker::new(geometry, have),
            roster: Roster::default(),
            choker: Choker::new(settings.upload_slots, now),
            peers: BTreeMap::new(),
            flights: BTreeMap::new(),
            shelf: BTreeMap::new(),
            memory: 0,
            chance: Chance::new(seed),
            paused: false,
        }
    }

    /// Fetches pieces in another order than the rarest first.
    pub fn set_order(&mut self, order: PieceOrder) {
        let picker = Picker::new(&self.geometry, self.picker.have()).in_order(order);
        self.picker = picker;
    }

    /// The pieces and their state.
    pub fn picker(&self) -> &Picker {
        &self.picker
    }

    /// The peers that are known.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether every piece is verified.
    pub fn is_complete(&self) -> bool {
        self.picker.is_complete()
    }

    /// How many of the peers have everything.
    pub fn seeds(&self) -> usize {
        self.peers.values().filter(|peer| peer.theirs.is_full()).count()
    }

    /// What a session's peer has, and whether we answer its requests.
    pub fn peer_knowledge(&self, id: SessionId) -> Option<PeerKnowledge<'_>> {
        let have = &self.peers.get(&id)?.theirs;
        Some(PeerKnowledge { have, we_choke: !self.choker.is_unchoked(id) })
    }

    /// The session that a piece in flight is assigned to, or was when it was completed.
    pub fn owner(&self, piece: PieceIndex) -> Option<SessionId> {
        self.flights.get(&piece).map(|flight| flight.owner)
    }

    /// Nothing is downloaded or uploaded from now on. What has come stays, blocks of incomplete pieces too.
    pub fn pause(&mut self, out: &mut Vec<Action>) {
        self.paused = true;
        out.extend(self.peers.keys().map(|id| Action::End(*id)));
    }

    /// It goes on: everybody who is known may be dialled, however lately they left.
    pub fn resume(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.paused = false;
        self.roster.hurry(now);
        self.dial(now, out);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether pieces are missing, and no peer that has any answers our requests.
    pub fn lacks_peers(&self, now: Instant) -> bool {
        let uploads = |peer: &FetchPeer| peer.interesting && peer.can_upload(now);
        !self.paused && !self.is_complete() && !self.peers.values().any(uploads)
    }

    /// Whether some peer is still fetching.
    pub fn is_needed(&self) -> bool {
        self.peers.values().any(|peer| !peer.theirs.is_full())
    }

    /// Whether a peer that is still fetching would miss a piece that only we have, if we left now.
    pub fn is_last_holder(&self) -> bool {
        let held = |index| self.geometry.piece(index).is_some_and(|piece| self.picker.availability(piece) == 0);
        self.is_needed() && self.picker.have().iter().any(held)
    }

    /// Trackers or peers have named addresses.
    pub fn found(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, now: Instant, out: &mut Vec<Action>) {
        addresses.into_iter().for_each(|address| self.roster.add(address, now));
        self.dial(now, out);
    }

    /// The user has named addresses.
    pub fn given(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, now: Instant, out: &mut Vec<Action>) {
        addresses.into_iter().for_each(|address| self.roster.keep(address, now));
        self.dial(now, out);
    }

    /// Dialling an address came to nothing; `violation` says whether what listens there broke the protocol.
    pub fn dial_failed(&mut self, address: SocketAddr, violation: bool, now: Instant) {
        self.roster.failed(address, violation, now);
    }

    /// An address could not be dialled for lack of a worker; its turn comes again.
    pub fn not_dialled(&mut self, address: SocketAddr, now: Instant) {
        self.roster.postponed(address, now);
    }

    /// A session has opened.
    pub fn opened(&mut self, remote: &Arc<Remote>, now: Instant, out: &mut Vec<Action>) {
        let id = remote.session;
        if self.paused {
            if remote.direction == Direction::Dialled {
                self.roster.failed(remote.address, false, now);
            }
            out.push(Action::End(id));
            return;
        }
        if remote.direction == Direction::Accepted && self.roster.connected() >= self.settings.max_peers {
            log::debug!("{remote}: there are {} peers already", self.settings.max_peers);
            out.push(Action::End(id));
            return;
        }
        match self.roster.opened(remote, self.ours) {
            SessionVerdict::Refuse(reason) => {
                log::debug!("{remote}: {reason}");
                self.roster.refused(remote, now);
                out.push(Action::End(id));
                return;
            }
            SessionVerdict::Replace(older) => out.push(Action::End(older)),
            SessionVerdict::Keep => {}
        }
        self.choker.opened(id, now);
        let theirs = Bitfield::empty(self.geometry.piece_count());
        self.peers.insert(id, FetchPeer::new(remote.clone(), theirs, now));
        let have = self.picker.have();
        out.push(Action::Order(id, SendOrder::Start((!have.is_empty()).then(|| have.clone()))));
    }

    /// A peer did something.
    pub fn event(&mut self, event: PeerEvent, now: Instant, out: &mut Vec<Action>) {
        match event {
            // A fetch shows everybody all that it has.
            PeerEvent::Sent(..) => {}
            PeerEvent::ExtensionHandshake { session, port, .. } => {
                if let Some(port) = port {
                    self.roster.listens(session, port, now);
                }
            }
            PeerEvent::Has(id, bits) => self.has(id, bits, now, out),
            PeerEvent::Gained(id, piece) => self.gained(id, piece, now, out),
            PeerEvent::Unchoked(id, bytes) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    (peer.choked, peer.bytes_wanted) = (false, bytes);
                }
                self.assign_pieces(id, now, out);
            }
            PeerEvent::Choked(id, pieces) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    (peer.choked, peer.bytes_wanted) = (true, 0);
                }
                self.take_back(pieces, now, out);
            }
            PeerEvent::Interested(id, interested) => {
                let changes = self.choker.interested(id, interested, now);
                self.tell_choke_changes(changes, out);
            }
            PeerEvent::BytesWanted(id, bytes) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.bytes_wanted = bytes;
                }
                self.assign_pieces(id, now, out);
            }
            PeerEvent::EndgameBlock(uploader, block, payload) => {
                if let Some(flight) = self.flights.get(&block.piece) {
                    out.push(Action::Deliver(flight.owner, block, payload, uploader));
                }
            }
        }
    }

    /// A session is over; `violation` says whether its peer broke the protocol, and `pieces` come back.
    pub fn closed(
        &mut self,
        id: SessionId,
        violation: bool,
        pieces: Vec<PieceInFlight>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if let Some(peer) = self.peers.remove(&id) {
            self.picker.peer_leaves(&peer.theirs);
            let parting = match () {
                // A peer that uploads is of use however it behaves besides, and may be the only one that has the piece.
                () if violation && peer.downloaded == 0 => Parting::ForGood,
                () if peer.was_of_use => Parting::OfUse,
                () => Parting::OfNoUse,
            };
            self.roster.closed(id, parting, peer.theirs.is_full(), now);
        }
        let changes = self.choker.closed(id, now);
        self.tell_choke_changes(changes, out);
        self.take_back(pieces, now, out);
        self.dial(now, out);
    }

    /// A piece has proved right and is on disk; `liars` sent other bytes in earlier attempts.
    pub fn verified(&mut self, piece: PieceIndex, liars: &[Arc<Remote>], now: Instant, out: &mut Vec<Action>) {
        if let Some(owner) = self.owner(piece).and_then(|owner| self.peers.get_mut(&owner)) {
            owner.proven = true;
        }
        self.end_flight(piece, None, out);
        self.picker.verified(piece);
        liars.iter().for_each(|liar| self.ban(liar, "it sent wrong bytes", out));
        // Those that have it hear it too: a source goes by it when it chooses what to show us next.
        out.extend(self.peers.keys().map(|id| Action::Order(*id, SendOrder::Have(piece))));
        if self.is_complete() {
            self.finish(out);
        } else {
            self.assign_all(now, out);
        }
    }

    /// A piece has proved wrong and starts again; `liar` sent all of it.
    pub fn failed(&mut self, piece: PieceInFlight, liar: Option<Arc<Remote>>, now: Instant, out: &mut Vec<Action>) {
        if let Some(liar) = liar {
            self.ban(&liar, "it sent a piece whose hash is wrong", out);
        }
        log::info!("piece {} came wrong and is fetched again", piece.piece());
        self.keep(piece, out);
        self.assign_all(now, out);
    }

    /// A session could not take a piece: it was choked, or ended, and will say so in a moment.
    pub fn unassigned(&mut self, id: SessionId, piece: PieceInFlight, now: Instant, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            (peer.choked, peer.bytes_wanted) = (true, 0);
        }
        self.take_back([piece], now, out);
    }

    /// A piece that was recalled comes back.
    pub fn returned(&mut self, piece: PieceInFlight, now: Instant, out: &mut Vec<Action>) {
        self.take_back([piece], now, out);
    }

    /// So many bytes of blocks have passed on a session in all.
    pub fn moved(&mut self, id: SessionId, downloaded: u64, uploaded: u64, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.moved(downloaded, uploaded, now);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, paces: &[(SessionId, SessionPace)], now: Instant, out: &mut Vec<Action>) {
        for (id, pace) in paces {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.moved(pace.downloaded, pace.uploaded, now);
            (peer.time_left, peer.rate) = (pace.time_left, pace.rate);
            (peer.waited, peer.spare) = (pace.waited, pace.spare);
            peer.bytes_wanted = pace.bytes_wanted;
            if pace.idle {
                // Its endgame requests are answered; it may get others for the same piece.
                self.flights.values_mut().for_each(|flight| _ = flight.helpers.remove(id));
            }
            if pace.waited > STALL && !peer.is_snubbed(now) {
                log::debug!("{}: stalled", peer.remote);
                peer.snubbed_until = Some(now + SNUB);
                let stuck = self.flights.iter().filter(|(_, flight)| flight.owner == *id);
                out.extend(stuck.map(|(piece, _)| Action::Recall(*id, *piece)));
            }
        }
        let mut changes = self.choker.rotate(now, |id| self.peers.get(&id).map_or(0, |peer| peer.downloaded));
        changes.extend(self.choker.take_unused(now, |id| self.peers.get(&id).map_or(0, |peer| peer.uploaded)));
        self.tell_choke_changes(changes, out);
        self.review_interest(out);
        self.assign_all(now, out);
        self.dial(now, out);
        self.make_room(now, out);
    }

    fn has(&mut self, id: SessionId, bits: Bitfield, now: Instant, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        self.picker.peer_has(&bits);
        peer.theirs = bits;
        self.review_peer(id, now, out);
    }

    fn gained(&mut self, id: SessionId, piece: PieceIndex, now: Instant, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.theirs.set(piece.get()) {
            self.picker.peer_gains(piece);
            self.review_peer(id, now, out);
        }
    }

    /// A peer has more than before: is it of use, does it want a piece, is it done?
    fn review_peer(&mut self, id: SessionId, now: Instant, out: &mut Vec<Action>) {
        let complete = self.is_complete();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if complete && peer.theirs.is_full() {
            out.push(Action::End(id));
            return;
        }
        if !peer.interesting && self.picker.interesting(&peer.theirs) {
            peer.interesting = true;
            out.push(Action::Order(id, SendOrder::Interested));
        }
        self.assign_pieces(id, now, out);
    }

    /// Everything is here: nothing is wanted any more, and other seeders have no use for us.
    fn finish(&mut self, out: &mut Vec<Action>) {
        self.review_interest(out);
        let seeds = self.peers.iter().filter(|(_, peer)| peer.theirs.is_full());
        out.extend(seeds.map(|(id, _)| Action::End(*id)));
    }

    fn review_interest(&mut self, out: &mut Vec<Action>) {
        for (id, peer) in &mut self.peers {
            if peer.interesting && !self.picker.interesting(&peer.theirs) {
                peer.interesting = false;
                out.push(Action::Order(*id, SendOrder::NotInterested));
            }
        }
    }

    fn ban(&mut self, liar: &Remote, why: &str, out: &mut Vec<Action>) {
        // A piece that it had spoilt before may prove so only now.
        if self.roster.ban(liar) {
            log::warn!("banned {liar}: {why}");
        }
        let again = self.peers.values().filter(|peer| peer.remote.is_same_peer(liar));
        out.extend(again.map(|peer| Action::End(peer.remote.session)));
    }

    fn tell_choke_changes(&self, changes: Vec<ChokeChange>, out: &mut Vec<Action>) {
        out.extend(changes.into_iter().map(|change| {
            let (id, order) = change.order();
            Action::Order(id, order)
        }));
    }

    fn dial(&mut self, now: Instant, out: &mut Vec<Action>) {
        while !self.paused && self.roster.dialling() < MAX_DIALLING && !self.is_full() {
            let Some(address) = self.roster.next_to_dial(self.is_complete(), now) else { return };
            out.push(Action::Dial(address));
        }
    }

    /// Ends the sessions on which nothing has passed for longest, as many as there are addresses that wait for a place.
    fn make_room(&self, now: Instant, out: &mut Vec<Action>) {
        if self.paused || !self.is_full() {
            return;
        }
        let waiting = self.roster.waiting(self.is_complete(), now).min(MAX_DIALLING);
        let idle = self.peers.iter().filter(|(_, peer)| now.saturating_duration_since(peer.moved) > USELESS_AFTER);
        let mut idle: Vec<_> = idle.map(|(id, peer)| (peer.moved, *id)).collect();
        idle.sort_unstable();
        out.extend(idle.into_iter().take(waiting).map(|(_, id)| Action::End(id)));
    }

    /// Whether every place is taken, or will be.
    fn is_full(&self) -> bool {
        self.roster.dialling() + self.roster.connected() >= self.settings.max_peers
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
