//! Requests, case by case and against their invariant: whatever happens, what is missing is requested or waits to be.

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::*;
use crate::policy::Buffers;

const PIECES: u32 = 6;
const BLOCKS: u32 = 5;

/// Five blocks a piece, the last of them short; the last piece has three.
fn geometry() -> Geometry {
    let piece = u64::from(BLOCKS) * u64::from(BLOCK_LENGTH) - 1000;
    Geometry::new(piece * u64::from(PIECES) - 30_000, piece).unwrap()
}

fn piece(index: u32) -> PieceInFlight {
    PieceInFlight::new(&geometry(), geometry().piece(index).unwrap(), Home::Memory)
}

fn block(index: u32, number: u32) -> Block {
    geometry().nth_block(geometry().piece(index).unwrap(), number)
}

fn payload(block: Block) -> Payload {
    Payload::Held(Arc::new(Buffers::default()).take(block.length))
}

fn session(now: Instant) -> Requests {
    let mut session = Requests::new(&geometry(), Remote::for_tests(1), now);
    session.unchoke();
    session
}

#[test]
fn a_session_begins_choked_and_hands_back_what_it_is_given() {
    let now = Instant::now();
    let mut session = Requests::new(&geometry(), Remote::for_tests(1), now);
    assert_eq!(session.bytes_wanted(), 0);
    assert_eq!(session.assign(piece(2), now).unwrap_err().piece(), block(2, 0).piece);
    assert!(session.request_endgame_block(block(0, 0), now).is_empty() && session.is_idle());
    assert!(session.unchoke() >= u64::from(BLOCK_LENGTH));
}

#[test]
fn a_piece_is_requested_in_order_as_far_as_the_pipeline_goes() {
    let now = Instant::now();
    let mut session = session(now);
    session.limit_pipeline(3);
    assert_eq!(session.assign(piece(0), now).unwrap(), [block(0, 0), block(0, 1), block(0, 2)]);
    assert!(session.assign(piece(1), now).unwrap().is_empty());
    assert!(session.place(block(0, 0), payload(block(0, 0)), now).requests.is_empty(), "two of three are under way");
    assert_eq!(session.place(block(0, 1), payload(block(0, 1)), now).requests, [block(0, 3), block(0, 4)]);
}

#[test]
fn the_last_block_brings_the_piece() {
    let now = Instant::now();
    let mut session = session(now);
    let asked = session.assign(piece(5), now).unwrap();
    let placed: Vec<_> = asked.iter().map(|block| session.place(*block, payload(*block), now)).collect();
    let finished: Vec<_> = placed.into_iter().filter_map(|placed| placed.finished).collect();
    assert!(finished.len() == 1 && finished[0].is_complete() && finished[0].held_runs().len() == 1);
    assert!(session.is_idle());
}

#[test]
fn a_choke_takes_everything_back_and_late_answers_are_known_for_what_they_are() {
    let now = Instant::now();
    let mut session = session(now);
    session.request_endgame_block(block(1, 4), now);
    session.assign(piece(0), now).unwrap();
    session.place(block(0, 0), payload(block(0, 0)), now);
    let back = session.choke();
    assert!(back.len() == 1 && back[0].missing_blocks().count() == 4);
    assert!(session.is_idle() && session.waited(now + Duration::from_secs(60)).is_zero());
    for late in [block(0, 1), block(1, 4)] {
        assert_eq!(session.expects(late.into()), Expected::NoLonger);
        assert_eq!(session.expects(late.into()), Expected::Never, "one answer for one request");
    }
    assert_eq!(session.expects(block(0, 0).into()), Expected::Never, "it was answered");
}

#[test]
fn blocks_that_are_cut_otherwise_than_we_asked_were_never_asked_for() {
    let now = Instant::now();
    let mut session = session(now);
    session.assign(piece(0), now).unwrap();
    let right: RawBlock = block(0, 0).into();
    assert_eq!(session.expects(right), Expected::Yes(block(0, 0), Home::Memory));
    for wrong in [
        RawBlock { length: right.length - 1, ..right },
        RawBlock { begin: 1, ..right },
        RawBlock { index: PIECES, ..right },
        RawBlock { begin: u32::MAX, ..right },
    ] {
        assert_eq!(session.expects(wrong), Expected::Never, "{wrong}");
    }
}

#[test]
fn an_endgame_request_brings_a_block_for_another_session_and_is_made_once() {
    let now = Instant::now();
    let mut session = session(now);
    assert_eq!(session.request_endgame_block(block(3, 4), now), [block(3, 4)]);
    assert!(session.request_endgame_block(block(3, 4), now).is_empty());
    assert_eq!(session.expects(block(3, 4).into()), Expected::Yes(block(3, 4), Home::Memory));
    let placed = session.place(block(3, 4), payload(block(3, 4)), now);
    assert!(placed.finished.is_none() && placed.endgame_block.is_some_and(|(brought, _)| brought == block(3, 4)));
    session.assign(piece(0), now).unwrap();
    assert!(session.request_endgame_block(block(0, 4), now).is_empty(), "its own piece needs no endgame request");
}

#[test]
fn what_a_helper_brings_is_asked_for_no_more_and_what_waits_takes_its_place() {
    let now = Instant::now();
    let mut session = session(now);
    let first = session.assign(piece(0), now).unwrap();
    assert!(session.assign(piece(1), now).unwrap().is_empty());
    let helper = Remote::for_tests(2);
    for number in 0..BLOCKS {
        let (finished, asked) = session.receive(block(0, number), payload(block(0, number)), helper.clone());
        assert!(asked == first.contains(&block(0, number)) && finished.is_some() == (number + 1 == BLOCKS));
    }
    let requests = session.next_requests(now);
    let as_many = (0..first.len() as u32).map(|number| block(1, number));
    assert_eq!(requests, as_many.collect::<Vec<_>>(), "or nothing ever would be");
    let (finished, asked) = session.receive(block(4, 0), payload(block(4, 0)), helper);
    assert!(finished.is_none() && !asked, "a piece that is not here stays away");
}

#[test]
fn a_piece_that_is_recalled_takes_its_requests_along() {
    let now = Instant::now();
    let mut session = session(now);
    session.limit_pipeline(3);
    session.assign(piece(0), now).unwrap();
    session.assign(piece(1), now).unwrap();
    let (recalled, cancelled) = session.recall(block(0, 0).piece);
    assert!(recalled.is_some_and(|piece| piece.piece() == block(0, 0).piece));
    assert_eq!(cancelled, [block(0, 0), block(0, 1), block(0, 2)]);
    assert_eq!(session.next_requests(now), [block(1, 0), block(1, 1), block(1, 2)]);
    assert!(session.recall(block(0, 0).piece).0.is_none());
}

#[test]
fn helpers_are_shown_the_end_of_a_piece() {
    let now = Instant::now();
    let mut session = session(now);
    session.assign(piece(0), now).unwrap();
    assert_eq!(session.last_missing(block(0, 0).piece, 2), [block(0, 4), block(0, 3)]);
    assert_eq!(session.last_missing(block(1, 0).piece, 2), []);
}

#[test]
fn nobody_else_writes_where_a_block_is_being_written_and_what_was_withdrawn_is_not() {
    let now = Instant::now();
    let mut session = session(now);
    session.assign(PieceInFlight::new(&geometry(), block(0, 0).piece, Home::Disk), now).unwrap();
    assert_eq!(session.expects(block(0, 0).into()), Expected::Yes(block(0, 0), Home::Disk));
    assert!(session.claim(block(0, 0)));
    assert!(session.recall(block(0, 0).piece).0.is_none(), "its piece stays");
    let (finished, asked) = session.receive(block(0, 0), payload(block(0, 0)), Remote::for_tests(2));
    assert!(finished.is_none() && !asked, "no other takes its place");
    session.place(block(0, 0), Payload::Stored, now);
    let (recalled, _) = session.recall(block(0, 0).piece);
    assert_eq!(recalled.unwrap().missing_blocks().count(), 4);
    assert!(!session.claim(block(0, 1)), "it was recalled while it came");
}

#[test]
fn that_more_is_wanted_is_told_once_until_a_piece_comes_even_with_a_pipeline_of_one() {
    for blocks in [1, 2, 3, 16] {
        let now = Instant::now();
        let mut session = session(now);
        session.pipeline.open(blocks);
        for index in 0..2 {
            let mut due: VecDeque<_> = session.assign(piece(index), now).unwrap().into();
            let mut wanted = Vec::new();
            while let Some(next) = due.pop_front() {
                let placed = session.place(next, payload(next), now);
                due.extend(placed.requests);
                wanted.extend(placed.bytes_wanted);
            }
            assert!(session.is_idle());
            assert!(wanted.len() == 1 && wanted[0] > 0, "a pipeline of {blocks} told {wanted:?}");
        }
    }
}

#[test]
fn waiting_is_counted_from_the_last_block_or_the_first_request() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let mut session = session(now);
    session.assign(piece(0), now + second).unwrap();
    assert_eq!(session.waited(now + 3 * second), 2 * second);
    session.assign(piece(1), now + 3 * second).unwrap();
    assert_eq!(session.waited(now + 4 * second), 3 * second, "more work is no progress");
    session.place(block(0, 0), payload(block(0, 0)), now + 4 * second);
    assert_eq!(session.waited(now + 5 * second), second);
}

/// What may happen to a session's requests; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Happening {
    Unchoke,
    Choke,
    Limit(u32),
    Assign(u32),
    /// The other side answers one of the requests it got, withdrawn or not.
    Answer(usize),
    Stray(u32, u32),
    Endgame(u32, u32),
    Delivery(u32, u32),
    Recall(u32),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::*;
    let spot = || (0..PIECES, 0..BLOCKS);
    let happening = prop_oneof![
        3 => prop::strategy::Just(Unchoke),
        1 => prop::strategy::Just(Choke),
        1 => (1..20u32).prop_map(Limit),
        6 => (0..PIECES).prop_map(Assign),
        20 => any::<usize>().prop_map(Answer),
        2 => spot().prop_map(|(piece, number)| Stray(piece, number)),
        5 => spot().prop_map(|(piece, number)| Endgame(piece, number)),
        5 => spot().prop_map(|(piece, number)| Delivery(piece, number)),
        2 => (0..PIECES).prop_map(Recall),
    ];
    prop::collection::vec(happening, 0..150)
}

/// The requests of a session, the pieces that are not assigned to it, and the requests that the other side has seen and not answered.
struct Room {
    session: Requests,
    shelf: Vec<PieceInFlight>,
    sent: Vec<Block>,
    /// Whether it may say that it wants more.
    has_work: bool,
    now: Instant,
}

impl Room {
    fn new() -> Room {
        let now = Instant::now();
        let session = Requests::new(&geometry(), Remote::for_tests(1), now);
        Room { session, shelf: (0..PIECES).map(piece).collect(), sent: Vec::new(), has_work: false, now }
    }

    fn play(&mut self, happening: Happening) {
        self.now += Duration::from_millis(7);
        match happening {
            Happening::Unchoke => {
                assert_eq!(self.session.unchoke(), self.session.bytes_wanted());
                self.has_work = false;
            }
            Happening::Choke => {
                let back = self.session.choke();
                self.shelf.extend(back);
                assert!(self.session.is_idle() && self.session.pieces.is_empty() && self.session.endgame.is_empty());
            }
            Happening::Limit(blocks) => self.session.limit_pipeline(blocks),
            Happening::Assign(index) => self.assign(index),
            Happening::Answer(which) => {
                if let Some(at) = which.checked_rem(self.sent.len()) {
                    let block = self.sent.swap_remove(at);
                    self.answer(block);
                }
            }
            Happening::Stray(index, number) => {
                let stray = block(index, number % geometry().block_count(geometry().piece(index).unwrap()));
                if !self.sent.contains(&stray) {
                    assert_eq!(self.session.expects(stray.into()), Expected::Never);
                }
            }
            Happening::Endgame(index, number) => {
                let block = block(index, number % geometry().block_count(geometry().piece(index).unwrap()));
                let requests = self.session.request_endgame_block(block, self.now);
                self.send(requests);
            }
            Happening::Delivery(index, number) => {
                let block = block(index, number % geometry().block_count(geometry().piece(index).unwrap()));
                if self.session.endgame_position(block).is_some() {
                    return; // Blocks are delivered to whoever owns the piece, and that is another session.
                }
                let was_asked = self.session.asked.contains(&block);
                let (finished, asked) = self.session.receive(block, payload(block), Remote::for_tests(2));
                assert_eq!(asked, was_asked);
                self.finished(finished);
                self.go_on();
            }
            Happening::Recall(index) => {
                let (recalled, cancelled) = self.session.recall(geometry().piece(index).unwrap());
                assert!(cancelled.iter().all(|block| block.piece.get() == index && self.sent.contains(block)));
                self.shelf.extend(recalled);
                self.go_on();
            }
        }
        self.check();
    }

    fn assign(&mut self, index: u32) {
        let Some(at) = self.shelf.iter().position(|piece| piece.piece().get() == index) else { return };
        // Endgame requests for a piece are recalled before the session may get the piece itself.
        self.session.recall(geometry().piece(index).unwrap());
        let piece = self.shelf.swap_remove(at);
        match self.session.assign(piece, self.now) {
            Ok(requests) => {
                self.has_work = true;
                self.send(requests);
            }
            Err(piece) => {
                assert!(self.session.choked);
                self.shelf.push(piece);
            }
        }
    }

    fn answer(&mut self, block: Block) {
        let asked = self.session.asked.contains(&block);
        match self.session.expects(block.into()) {
            Expected::Yes(..) => assert!(asked),
            other => {
                assert!(other == Expected::NoLonger && !asked, "{other:?} for {block:?}");
                return;
            }
        }
        let is_endgame = self.session.endgame_position(block).is_some();
        let placed = self.session.place(block, payload(block), self.now);
        assert_eq!(placed.endgame_block.is_some(), is_endgame);
        assert!(placed.bytes_wanted.is_none() || std::mem::take(&mut self.has_work), "it was said before");
        self.finished(placed.finished);
        self.send(placed.requests);
    }

    fn go_on(&mut self) {
        let requests = self.session.next_requests(self.now);
        self.send(requests);
    }

    fn finished(&mut self, finished: Option<PieceInFlight>) {
        if let Some(finished) = finished {
            assert!(finished.is_complete());
            self.shelf.push(piece(finished.piece().get()));
        }
    }

    fn send(&mut self, requests: Vec<Block>) {
        assert!(
            requests.is_empty() || self.session.asked.len() <= self.session.pipeline.blocks(),
            "more than the pipeline holds"
        );
        self.sent.extend(requests);
    }

    fn check(&self) {
        let session = &self.session;
        let sorted = |blocks: Vec<Block>| {
            let mut blocks = blocks;
            blocks.sort();
            blocks
        };
        let missing = session.pieces.iter().flat_map(PieceInFlight::missing_blocks);
        let due = sorted(missing.chain(session.endgame.iter().copied()).collect());
        let under_way = sorted(session.asked.iter().chain(&session.waiting).copied().collect());
        assert_eq!(due, under_way, "each missing block is asked for or waits, and none is both");
        let known = sorted(session.asked.iter().chain(&session.withdrawn).copied().collect());
        assert_eq!(known, sorted(self.sent.clone()), "every request that was sent is remembered");
        assert!(session.waiting.is_empty() || !session.asked.is_empty(), "work waits and nothing is under way");
        assert!(!session.choked || session.is_idle());
        assert_eq!(session.pieces.len() + self.shelf.len(), PIECES as usize);
        assert!(session.pieces.iter().all(|piece| !piece.is_complete()));
    }
}

proptest! {
    #[test]
    fn whatever_happens_all_that_is_missing_is_asked_for_or_waits_to_be(happenings in happenings()) {
        let mut room = Room::new();
        happenings.into_iter().for_each(|happening| room.play(happening));
    }
}
