//! The coordinator, decision by decision.

use super::{
    flights::{HELP_AFTER, MAX_PIECE_IN_MEMORY},
    *,
};
use crate::{
    metainfo::BLOCK_LENGTH,
    policy::{Buffers, Home, Payload},
    session::Requests,
};

const BLOCK: u64 = BLOCK_LENGTH as u64;
const SECOND: Duration = Duration::from_secs(1);

/// A coordinator of a torrent of four pieces, four blocks each, and what it wants done.
struct Stage {
    coordinator: Coordinator,
    now: Instant,
    out: Vec<Action>,
}

impl Stage {
    fn new() -> Stage {
        Stage::of(Geometry::new(16 * BLOCK, 4 * BLOCK).unwrap(), u64::MAX)
    }

    fn of(geometry: Geometry, memory: u64) -> Stage {
        let now = Instant::now();
        let settings = FetchSettings { max_peers: 8, upload_slots: 2, memory };
        let have = Bitfield::empty(geometry.piece_count());
        let coordinator = Coordinator::new(&geometry, &have, PeerId([200; 20]), settings, 1, now);
        Stage { coordinator, now, out: Vec::new() }
    }

    fn piece(&self, index: u32) -> PieceIndex {
        self.coordinator.geometry.piece(index).unwrap()
    }

    /// A peer comes that has these pieces.
    fn comes(&mut self, number: u8, pieces: impl IntoIterator<Item = u32>) -> SessionId {
        let remote = Remote::for_tests(number);
        self.coordinator.opened(&remote, self.now, &mut self.out);
        let mut bits = Bitfield::empty(self.coordinator.geometry.piece_count());
        pieces.into_iter().for_each(|piece| _ = bits.set(piece));
        self.tell(PeerEvent::Has(remote.session, bits));
        remote.session
    }

    /// A peer comes, unchokes us, and that many blocks are wanted of it.
    fn unchokes(&mut self, number: u8, pieces: impl IntoIterator<Item = u32>, blocks: u64) -> SessionId {
        let id = self.comes(number, pieces);
        self.tell(PeerEvent::Unchoked(id, blocks * BLOCK));
        id
    }

    fn tell(&mut self, event: PeerEvent) {
        self.coordinator.event(event, self.now, &mut self.out);
    }

    fn closes(&mut self, session: SessionId, pieces: Vec<PieceInFlight>) {
        self.coordinator.closed(session, false, pieces, self.now, &mut self.out);
    }

    fn tick(&mut self, paces: &[(SessionId, SessionPace)]) {
        self.coordinator.tick(paces, self.now, &mut self.out);
    }

    /// The pieces assigned since the last call, and to which session.
    fn assigned(&mut self) -> Vec<(SessionId, PieceInFlight)> {
        let assigned = std::mem::take(&mut self.out).into_iter().filter_map(|action| match action {
            Action::Assign(id, piece) => Some((id, piece)),
            _ => None,
        });
        assigned.collect()
    }

    fn owners(&mut self) -> Vec<(SessionId, u32)> {
        self.assigned().into_iter().map(|(id, piece)| (id, piece.piece().get())).collect()
    }

    /// What was to be done since the last call, as text.
    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out).iter().map(|action| format!("{action:?}")).collect()
    }
}

fn busy() -> SessionPace {
    SessionPace {
        waited: Duration::ZERO,
        time_left: Some(SECOND),
        rate: Some(1e6),
        bytes_wanted: 0,
        idle: false,
        spare: None,
        downloaded: 0,
        uploaded: 0,
    }
}

fn idle() -> SessionPace {
    SessionPace { time_left: None, bytes_wanted: BLOCK, idle: true, ..busy() }
}

fn stalled() -> SessionPace {
    SessionPace { waited: STALL + SECOND, bytes_wanted: BLOCK, ..busy() }
}

#[test]
fn a_peer_that_unchokes_us_gets_pieces_until_enough_are_requested() {
    let mut stage = Stage::new();
    let id = stage.unchokes(1, 0..4, 5);
    assert_eq!(stage.owners().len(), 2, "five blocks are more than one piece");
    stage.tell(PeerEvent::BytesWanted(id, BLOCK));
    assert_eq!(stage.owners().len(), 1);
    stage.tell(PeerEvent::BytesWanted(id, 0));
    assert!(stage.owners().is_empty());
}

#[test]
fn a_peer_that_chokes_us_or_has_nothing_new_gets_no_piece() {
    let mut stage = Stage::new();
    stage.comes(1, 0..4);
    stage.unchokes(2, [], 9);
    assert!(stage.owners().is_empty());
    stage.tell(PeerEvent::Gained(SessionId(2), stage.piece(3)));
    stage.tick(&[]);
    assert_eq!(stage.owners(), [(SessionId(2), 3)]);
}

#[test]
fn what_a_choke_brings_back_goes_on_to_the_next_with_all_its_blocks() {
    let mut stage = Stage::new();
    let one = stage.unchokes(1, [0], 4);
    let (_, mut piece) = stage.assigned().pop().unwrap();
    let first = piece.missing_blocks().next().unwrap();
    let buffer = Arc::new(Buffers::default()).take(first.length);
    piece.place(first, Payload::Held(buffer), &Remote::for_tests(1));
    let two = stage.unchokes(2, [0], 4);
    stage.out.clear();
    stage.tell(PeerEvent::Choked(one, vec![piece]));
    let (id, piece) = stage.assigned().pop().unwrap();
    assert_eq!((id, piece.missing_blocks().count()), (two, 3));
    assert_eq!(stage.coordinator.memory, 4 * BLOCK, "counted once");
}

#[test]
fn a_piece_that_a_session_could_not_take_goes_to_another() {
    let mut stage = Stage::new();
    let one = stage.unchokes(1, [2], 4);
    let (_, piece) = stage.assigned().pop().unwrap();
    let two = stage.unchokes(2, [2], 4);
    stage.out.clear();
    stage.coordinator.unassigned(one, piece, stage.now, &mut stage.out);
    assert_eq!(stage.owners(), [(two, 2)]);
}

#[test]
fn pieces_beyond_the_budget_and_long_ones_go_by_way_of_the_disk() {
    let mut stage = Stage::of(Geometry::new(16 * BLOCK, 4 * BLOCK).unwrap(), 9 * BLOCK);
    stage.unchokes(1, 0..4, 16);
    let homes: Vec<_> = stage.assigned().iter().map(|(_, piece)| piece.home()).collect();
    assert_eq!(homes, [Home::Memory, Home::Memory, Home::Disk, Home::Disk]);
    let long = u64::from(MAX_PIECE_IN_MEMORY) + BLOCK;
    let mut stage = Stage::of(Geometry::new(long, long).unwrap(), u64::MAX);
    stage.unchokes(1, [0], 1);
    assert_eq!(stage.assigned()[0].1.home(), Home::Disk);
}

#[test]
fn in_the_endgame_whoever_has_nothing_to_do_helps_where_nothing_has_moved_for_longest() {
    let mut stage = Stage::new();
    let [slow, slower, fast] = [1, 2, 3].map(|number| stage.unchokes(number, [u32::from(number)], 4));
    stage.out.clear();
    let waited = |seconds| SessionPace { waited: SECOND * seconds, ..busy() };
    stage.tick(&[(slow, waited(3)), (slower, waited(5)), (fast, SessionPace { waited: HELP_AFTER, ..busy() })]);
    let helper = stage.unchokes(4, 1..4, 4);
    let helps = |stage: &mut Stage| {
        let helps = stage.done().into_iter().filter(|action| action.starts_with("Help"));
        helps.collect::<Vec<_>>()
    };
    let help = |owner, piece| format!("{:?}", Action::Help { helper, owner, piece });
    assert_eq!(helps(&mut stage), [help(slower, stage.piece(2))]);
    stage.tell(PeerEvent::BytesWanted(helper, BLOCK));
    assert_eq!(helps(&mut stage), [help(slow, stage.piece(1))], "the next, since it is at work on the first");
    stage.tell(PeerEvent::BytesWanted(helper, BLOCK));
    assert!(helps(&mut stage).is_empty(), "what moves needs no help");
    stage.tick(&[(helper, idle())]);
    assert_eq!(helps(&mut stage), [help(slower, stage.piece(2))], "its requests are answered, so it helps again");
}

#[test]
fn in_the_endgame_a_piece_that_waits_moves_to_a_peer_that_is_free() {
    let mut stage = Stage::new();
    let busy_one = stage.unchokes(1, 0..4, 100);
    stage.out.clear();
    let spare = stage.piece(3);
    stage.tick(&[(busy_one, SessionPace { spare: Some(spare), time_left: Some(SECOND * 3), ..busy() })]);
    stage.unchokes(2, 0..4, 4);
    let recalled = |action: &Action| matches!(action, Action::Recall(id, piece) if *id == busy_one && *piece == spare);
    assert_eq!(stage.out.iter().filter(|action| recalled(action)).count(), 1);
}

#[test]
fn what_a_helper_brings_goes_to_the_owner_and_the_helper_is_called_back_in_the_end() {
    let mut stage = Stage::new();
    let owner = stage.unchokes(1, [0], 4);
    stage.tick(&[(owner, SessionPace { waited: HELP_AFTER + SECOND, ..busy() })]);
    let helper = stage.unchokes(2, [0], 4);
    stage.out.clear();
    let block = stage.coordinator.geometry.nth_block(stage.piece(0), 3);
    stage.tell(PeerEvent::EndgameBlock(Remote::for_tests(2), block, Payload::Stored));
    assert!(matches!(stage.out[..], [Action::Deliver(to, brought, ..)] if to == owner && brought == block));
    stage.out.clear();
    stage.coordinator.verified(stage.piece(0), &[], stage.now, &mut stage.out);
    assert!(matches!(stage.out[0], Action::Recall(id, piece) if id == helper && piece == block.piece));
    stage.out.clear();
    stage.tell(PeerEvent::EndgameBlock(Remote::for_tests(2), block, Payload::Stored));
    assert!(stage.out.is_empty(), "nobody waits for it any more");
}

#[test]
fn a_peer_that_stalls_loses_its_pieces_and_gets_none_while_others_can_upload() {
    let mut stage = Stage::new();
    let stalling = stage.unchokes(1, 0..4, 4);
    let (_, piece) = stage.assigned().pop().unwrap();
    let other = stage.unchokes(2, 0..4, 4);
    stage.out.clear();
    stage.tick(&[(stalling, stalled()), (other, idle())]);
    assert!(stage.out.iter().any(|action| matches!(action, Action::Recall(id, _) if *id == stalling)));
    assert!(stage.assigned().iter().all(|(id, _)| *id == other));
    stage.coordinator.returned(piece, stage.now, &mut stage.out);
    stage.tell(PeerEvent::BytesWanted(stalling, 4 * BLOCK));
    assert!(stage.assigned().iter().all(|(id, _)| *id == other));
    stage.now += SNUB;
    stage.tell(PeerEvent::BytesWanted(stalling, BLOCK));
    assert_eq!(stage.assigned()[0].0, stalling, "it gets another chance");
}

#[test]
fn a_fetch_lacks_peers_until_one_that_has_something_for_it_answers_its_requests() {
    let mut stage = Stage::new();
    let lacks = |stage: &Stage| stage.coordinator.lacks_peers(stage.now);
    assert!(lacks(&stage));
    stage.comes(1, 0..4);
    stage.unchokes(2, [], 4);
    assert!(lacks(&stage), "one chokes us, the other has nothing");
    let good = stage.unchokes(3, 0..4, 4);
    assert!(!lacks(&stage));
    stage.tick(&[(good, stalled())]);
    assert!(lacks(&stage), "it uploads nothing either");
    stage.now += SNUB;
    assert!(!lacks(&stage));
    let mut out = Vec::new();
    stage.coordinator.pause(&mut out);
    assert!(!lacks(&stage), "nobody is needed during a pause");
    stage.coordinator.resume(stage.now, &mut out);
    stage.closes(good, Vec::new());
    assert!(lacks(&stage), "the last one has left");
}

#[test]
fn a_peer_that_stalled_gets_pieces_again_where_no_other_has_anything_for_us() {
    let mut stage = Stage::new();
    let stalling = stage.unchokes(1, 0..4, 4);
    stage.unchokes(2, [], 4);
    stage.out.clear();
    stage.tick(&[(stalling, stalled())]);
    assert!(matches!(stage.out[0], Action::Recall(id, _) if id == stalling));
    assert_eq!(stage.owners()[0].0, stalling);
}

#[test]
fn interest_is_told_once_and_taken_back_when_nothing_is_wanted_any_more() {
    let mut stage = Stage::new();
    stage.comes(1, [0]);
    stage.tell(PeerEvent::Gained(SessionId(1), stage.piece(1)));
    let said = |stage: &mut Stage| {
        let orders = stage.done().into_iter().filter(|action| action.contains("nterested"));
        orders.collect::<Vec<_>>()
    };
    assert_eq!(said(&mut stage), ["Order(SessionId(1), Interested)"]);
    for index in [0, 1] {
        stage.tick(&[]);
        assert!(said(&mut stage).is_empty());
        stage.coordinator.verified(stage.piece(index), &[], stage.now, &mut stage.out);
    }
    stage.tick(&[]);
    assert_eq!(said(&mut stage), ["Order(SessionId(1), NotInterested)"]);
    stage.tell(PeerEvent::Gained(SessionId(1), stage.piece(2)));
    assert_eq!(said(&mut stage), ["Order(SessionId(1), Interested)"]);
}

#[test]
fn one_that_uploads_is_dialled_again_and_again_however_soon_and_why_its_sessions_end() {
    for violation in [false, true] {
        let mut stage = Stage::new();
        let address = Remote::for_tests(1).address;
        stage.coordinator.found([address], stage.now, &mut stage.out);
        for number in 0..50 {
            assert!(stage.done().iter().any(|action| action.starts_with("Dial")), "{number}: it is not dialled");
            let remote = Arc::new(Remote { session: SessionId(100 + number), ..*Remote::for_tests(1) });
            stage.coordinator.opened(&remote, stage.now, &mut stage.out);
            stage.coordinator.moved(remote.session, 20 * BLOCK, 0, stage.now);
            stage.coordinator.closed(remote.session, violation, Vec::new(), stage.now, &mut stage.out);
            stage.now += SECOND;
            stage.out.clear();
            stage.tick(&[]);
        }
    }
}

#[test]
fn a_peer_that_sent_wrong_bytes_is_dropped_and_not_let_in_again() {
    let mut stage = Stage::new();
    let (liar, honest) = (stage.comes(1, 0..4), stage.comes(2, 0..4));
    stage.out.clear();
    stage.coordinator.verified(stage.piece(0), &[Remote::for_tests(1)], stage.now, &mut stage.out);
    let ended = |stage: &mut Stage| {
        let ended = std::mem::take(&mut stage.out).into_iter().filter_map(|action| match action {
            Action::End(id) => Some(id),
            _ => None,
        });
        ended.collect::<Vec<_>>()
    };
    assert_eq!(ended(&mut stage), [liar]);
    stage.closes(liar, Vec::new());
    let again = Arc::new(Remote { session: SessionId(77), ..*Remote::for_tests(1) });
    stage.coordinator.opened(&again, stage.now, &mut stage.out);
    assert_eq!(ended(&mut stage), [SessionId(77)]);
    assert!(stage.coordinator.peers.keys().eq([&honest]));
}

/// Two peers fill half of a piece each, and its hash is wrong.
fn spoil(piece: &mut PieceInFlight, uploaders: [u8; 2]) {
    let blocks: Vec<_> = piece.missing_blocks().collect();
    for (number, block) in blocks.iter().enumerate() {
        piece.place(*block, Payload::Stored, &Remote::for_tests(uploaders[number % 2]));
    }
    assert!(piece.reject(&[[1; 20]; 4]).is_none());
}

#[test]
fn a_suspect_gets_the_piece_again_only_where_nobody_else_has_it() {
    let mut stage = Stage::new();
    let [one, two] = [1, 2].map(|number| stage.unchokes(number, [0], 4));
    let (_, mut piece) = stage.assigned().pop().unwrap();
    spoil(&mut piece, [1, 2]);
    let suspect = piece.suspect().unwrap().session;
    let other = if suspect == one { two } else { one };
    stage.tell(PeerEvent::BytesWanted(suspect, BLOCK));
    stage.tell(PeerEvent::BytesWanted(other, 0));
    stage.out.clear();
    stage.coordinator.failed(piece, None, stage.now, &mut stage.out);
    assert!(stage.owners().is_empty(), "it is left for the other, which is busy");
    stage.tell(PeerEvent::Choked(other, Vec::new()));
    stage.tick(&[]);
    assert_eq!(stage.owners(), [(suspect, 0)]);
}

#[test]
fn a_piece_that_was_spoilt_goes_to_a_peer_that_has_sent_a_right_one_before_it_goes_to_strangers() {
    let mut stage = Stage::new();
    let proven = stage.unchokes(1, 0..2, 8);
    let (_, right) = stage.assigned().pop().unwrap();
    stage.coordinator.verified(right.piece(), &[], stage.now, &mut stage.out);
    let left = 1 - right.piece().get();
    let stranger = stage.unchokes(4, [left], 4);
    let mut piece = PieceInFlight::new(&stage.coordinator.geometry, stage.piece(left), Home::Memory);
    spoil(&mut piece, [2, 3]);
    stage.out.clear();
    stage.coordinator.failed(piece, None, stage.now, &mut stage.out);
    assert!(stage.owners().is_empty(), "it is left for the proven one, which is busy");
    stage.tell(PeerEvent::BytesWanted(proven, BLOCK));
    assert_eq!(stage.owners(), [(proven, left)]);
    stage.tell(PeerEvent::BytesWanted(stranger, BLOCK));
    assert!(stage.owners().is_empty());
}

#[test]
fn only_who_is_proven_helps_with_a_piece_that_was_spoilt() {
    let mut stage = Stage::of(Geometry::new(8 * BLOCK, 4 * BLOCK).unwrap(), u64::MAX);
    let silent = stage.unchokes(1, [0], 4);
    let mut piece = stage.assigned().pop().unwrap().1;
    spoil(&mut piece, [2, 3]);
    stage.coordinator.failed(piece, None, stage.now, &mut stage.out);
    stage.tell(PeerEvent::BytesWanted(silent, BLOCK));
    assert_eq!(stage.owners(), [(silent, 0)], "nobody else has it yet");
    stage.tick(&[(silent, SessionPace { waited: HELP_AFTER + SECOND, ..busy() })]);
    let honest = stage.unchokes(4, 0..2, 4);
    let right = stage.assigned().pop().unwrap().1.piece();
    stage.unchokes(5, 0..2, 4);
    let helps =
        |stage: &mut Stage| stage.done().into_iter().filter(|action| action.starts_with("Help")).collect::<Vec<_>>();
    assert!(helps(&mut stage).is_empty(), "a stranger is not asked");
    stage.coordinator.verified(right, &[], stage.now, &mut stage.out);
    stage.tell(PeerEvent::BytesWanted(honest, BLOCK));
    let help = Action::Help { helper: honest, owner: silent, piece: stage.piece(0) };
    assert_eq!(helps(&mut stage), [format!("{help:?}")]);
}

#[test]
fn when_all_is_there_those_that_have_it_too_are_let_go() {
    let mut stage = Stage::new();
    let (seeder, leecher) = (stage.comes(1, 0..4), stage.comes(2, [0]));
    stage.out.clear();
    for index in 0..4 {
        stage.coordinator.verified(stage.piece(index), &[], stage.now, &mut stage.out);
    }
    assert!(stage.coordinator.is_complete() && stage.coordinator.is_needed());
    let done = stage.done();
    assert!(done.contains(&format!("{:?}", Action::End(seeder))));
    assert!(done.contains(&format!("{:?}", Action::Order(leecher, SendOrder::NotInterested))));
    (1..4).for_each(|index| stage.tell(PeerEvent::Gained(leecher, stage.piece(index))));
    assert_eq!(stage.done(), [format!("{:?}", Action::End(leecher))]);
    stage.comes(3, 0..4);
    assert!(stage.done().contains(&format!("{:?}", Action::End(SessionId(3)))));
}

#[test]
fn a_session_and_the_coordinator_agree_on_how_much_is_wanted() {
    let mut stage = Stage::new();
    let mut requests = Requests::new(&stage.coordinator.geometry, Remote::for_tests(1), stage.now);
    let id = stage.comes(1, 0..4);
    stage.tell(PeerEvent::Unchoked(id, requests.unchoke()));
    let assigned = stage.assigned();
    assigned.into_iter().for_each(|(_, piece)| assert!(requests.assign(piece, stage.now).is_ok()));
    assert_eq!(requests.bytes_wanted().saturating_sub(stage.coordinator.peers[&id].bytes_wanted), 0);
}

#[test]
fn during_a_pause_everybody_is_sent_away_and_after_it_what_came_before_counts() {
    let mut stage = Stage::new();
    let one = stage.unchokes(1, 0..4, 4);
    let (_, mut piece) = stage.assigned().pop().unwrap();
    let first = piece.missing_blocks().next().unwrap();
    let buffer = Arc::new(Buffers::default()).take(first.length);
    piece.place(first, Payload::Held(buffer), &Remote::for_tests(1));
    let index = piece.piece().get();

    stage.coordinator.pause(&mut stage.out);
    assert_eq!(stage.done(), [format!("End({one:?})")]);
    stage.closes(one, vec![piece]);
    let two = stage.unchokes(2, 0..4, 4);
    stage.coordinator.found([SocketAddr::from(([10, 0, 0, 9], 6881))], stage.now, &mut stage.out);
    stage.tick(&[]);
    assert_eq!(stage.done(), [format!("End({two:?})")], "nobody is dialled, asked or kept");

    stage.coordinator.resume(stage.now, &mut stage.out);
    assert!(stage.done().iter().any(|action| action == "Dial(10.0.0.9:6881)"));
    stage.unchokes(3, [index], 4);
    let (_, again) = stage.assigned().pop().unwrap();
    assert_eq!((again.piece().get(), again.missing_blocks().count()), (index, 3));
}

#[test]
fn silent_peers_make_room_for_addresses_that_wait_and_only_for_as_many() {
    let mut stage = Stage::new();
    let address = |number: u8| SocketAddr::from(([10, 0, 0, number], 6881));
    let silent: Vec<_> = (1..=7).map(|number| stage.comes(number, 0..4)).collect();
    let busy_one = stage.unchokes(8, 0..4, 4);
    stage.out.clear();
    let ends = |stage: &mut Stage| {
        let end = |action| if let Action::End(id) = action { Some(id) } else { None };
        std::mem::take(&mut stage.out).into_iter().filter_map(end).collect::<Vec<_>>()
    };
    let downloaded = |downloaded| (busy_one, SessionPace { downloaded, ..busy() });
    stage.now += USELESS_AFTER + SECOND;
    stage.tick(&[downloaded(1)]);
    assert_eq!(ends(&mut stage), [], "nobody waits for their places");
    stage.coordinator.found([address(100), address(101)], stage.now, &mut stage.out);
    stage.tick(&[downloaded(2)]);
    assert_eq!(ends(&mut stage), silent[..2], "those that have been silent for longest");
    stage.closes(silent[0], Vec::new());
    let dials: Vec<_> = std::mem::take(&mut stage.out)
        .into_iter()
        .filter_map(|action| if let Action::Dial(address) = action { Some(address) } else { None })
        .collect();
    assert_eq!(dials, [address(100)], "the place goes to who waited");
    // Whoever comes by its own account has its time as well.
    stage.closes(silent[1], Vec::new());
    stage.out.clear();
    stage.coordinator.found((102..110).map(address), stage.now, &mut stage.out);
    stage.tick(&[downloaded(3)]);
    assert_eq!(ends(&mut stage), silent[2..], "and never one that uploads");
}
