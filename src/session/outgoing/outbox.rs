//! What a session is to send: control messages at once, blocks when nothing else waits.
//!
//! Invariant: nothing is sent before the session has started, because a bitfield may only be the first message; while
//! we choke the other side no block waits, but for requests that came before the first word on choking. Pure; the writer thread empties it, the reader and the coordinator fill it.

use std::{collections::VecDeque, mem};

use crate::{
    bitfield::Bitfield,
    metainfo::Block,
    policy::SendOrder,
    wire::{self, Message},
};

/// Requests that one peer may have open with us. It is told so (BEP 10, `reqq`); who exceeds it is dropped.
pub const MAX_OPEN_REQUESTS: usize = 512;

/// Control messages that may wait for a peer that does not read, in bytes: seconds of `have`s at the highest rates.
const MAX_CONTROL: usize = 256 * 1024;

/// Why an order cannot be taken; the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// More than [`MAX_OPEN_REQUESTS`].
    Requests,
    /// The peer has not read for so long that control messages pile up.
    Control,
}

/// What goes out next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Encoded messages.
    pub control: Vec<u8>,
    /// Blocks that follow one another in the torrent, to be read at once.
    pub run: Vec<Block>,
}

/// Everything that waits to be sent on one session.
#[derive(Debug, Default)]
pub struct Outbox {
    started: bool,
    control: Vec<u8>,
    /// `have`s, encoded: they go along with whatever goes, and may wait a moment for company.
    haves: Vec<u8>,
    /// Whether requests are answered; a session begins without (BEP 3).
    unchoked: bool,
    /// Whether that was ever said, either way. Requests that come before are no answer to it, and wait for it.
    was_told: bool,
    uploads: VecDeque<Block>,
}

impl Outbox {
    /// Takes an order.
    pub fn take(&mut self, order: SendOrder) -> Result<(), Overflow> {
        match order {
            SendOrder::Start(bits) => return self.start(bits),
            SendOrder::Extended(id, payload) => self.say(Message::Extended(id, &payload)),
            SendOrder::Unchoke => {
                (self.unchoked, self.was_told) = (true, true);
                self.say(Message::Unchoke);
            }
            SendOrder::Choke => {
                (self.unchoked, self.was_told) = (false, true);
                self.uploads.clear();
                self.say(Message::Choke);
            }
            SendOrder::Interested => self.say(Message::Interested),
            SendOrder::NotInterested => self.say(Message::NotInterested),
            SendOrder::Have(piece) => wire::encode(Message::Have(piece.get()), &mut self.haves),
            SendOrder::Request(blocks) => blocks.iter().for_each(|block| self.say(Message::Request((*block).into()))),
            SendOrder::Cancel(blocks) => blocks.iter().for_each(|block| self.say(Message::Cancel((*block).into()))),
            SendOrder::Upload(block) => return self.upload(block),
            SendOrder::CancelUpload(block) => self.uploads.retain(|waiting| *waiting != block),
        }
        if self.control.len() + self.haves.len() > MAX_CONTROL { Err(Overflow::Control) } else { Ok(()) }
    }

    /// What to send now; empty when there is nothing. A run holds at most `max_run` bytes, but at least a block;
    /// with a `max_run` of 0 there is none.
    pub fn next(&mut self, max_run: u64) -> Batch {
        if !self.started {
            return Batch::default();
        }
        let mut control = mem::take(&mut self.control);
        control.append(&mut self.haves);
        Batch { run: self.next_run(max_run), control }
    }

    /// Whether there is something that cannot wait.
    pub fn has_work(&self, max_run: u64) -> bool {
        let is_answering = self.unchoked && !self.uploads.is_empty() && max_run > 0;
        self.started && (is_answering || !self.control.is_empty())
    }

    /// Whether `have`s wait that may go.
    pub fn has_haves(&self) -> bool {
        self.started && !self.haves.is_empty()
    }

    /// Whether blocks wait that the other side has asked for.
    pub fn has_uploads(&self) -> bool {
        !self.uploads.is_empty()
    }

    /// The bitfield goes before what has gathered meanwhile, whatever its size: it is sent once.
    fn start(&mut self, bits: Option<Bitfield>) -> Result<(), Overflow> {
        let gathered = mem::take(&mut self.control);
        if let Some(bits) = bits {
            self.say(Message::from(&bits));
        }
        self.control.extend(gathered);
        self.started = true;
        Ok(())
    }

    fn say(&mut self, message: Message<'_>) {
        wire::encode(message, &mut self.control);
    }

    /// A request that crosses our choke on the way is forgotten, as BEP 3 has it.
    fn upload(&mut self, block: Block) -> Result<(), Overflow> {
        if self.was_told && !self.unchoked {
            return Ok(());
        }
        if self.uploads.len() >= MAX_OPEN_REQUESTS {
            return Err(Overflow::Requests);
        }
        self.uploads.push_back(block);
        Ok(())
    }

    fn next_run(&mut self, max_run: u64) -> Vec<Block> {
        let mut run: Vec<Block> = Vec::new();
        let mut bytes = 0;
        if max_run == 0 || !self.unchoked {
            return run;
        }
        while let Some(block) = self.uploads.front() {
            let follows =
                run.last().is_none_or(|last| last.piece == block.piece && last.begin + last.length == block.begin);
            if !follows || (!run.is_empty() && bytes + u64::from(block.length) > max_run) {
                break;
            }
            bytes += u64::from(block.length);
            run.extend(self.uploads.pop_front());
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::{metainfo::Geometry, wire::MessageLimits};

    #[derive(Debug, Clone)]
    enum Happening {
        Start,
        Choke,
        Unchoke,
        Have(u32),
        Request(u32),
        Give(u32),
        Forget(u32),
        Send(u64),
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        let happening = prop_oneof![
            1 => any::<()>().prop_map(|()| Happening::Start),
            1 => any::<()>().prop_map(|()| Happening::Choke),
            2 => any::<()>().prop_map(|()| Happening::Unchoke),
            2 => (0..9_u32).prop_map(Happening::Have),
            2 => (0..9_u32).prop_map(Happening::Request),
            8 => (0..9_u32).prop_map(Happening::Give),
            2 => (0..9_u32).prop_map(Happening::Forget),
            4 => (0..4_u64).prop_map(Happening::Send),
        ];
        prop::collection::vec(happening, 0..80)
    }

    /// How many messages there are in what goes out.
    fn count(mut control: &[u8]) -> usize {
        let mut count = 0;
        while let Ok(wire::DecodeStep::Message(_, used)) = wire::decode(control, MessageLimits::for_pieces(4096)) {
            control = &control[used..];
            count += 1;
        }
        assert!(control.is_empty(), "half a message goes out");
        count
    }

    proptest! {
        #[test]
        fn whatever_is_ordered_goes_out_once_in_order_and_nothing_does_while_we_choke(happenings in happenings()) {
            let mut outbox = Outbox::default();
            let (mut started, mut unchoked, mut told, mut said) = (false, false, false, 0);
            let mut waiting: VecDeque<Block> = VecDeque::new();
            for happening in happenings {
                let messages = usize::from(!matches!(happening, Happening::Give(_) | Happening::Forget(_)));
                match happening {
                    Happening::Start if started => continue,
                    Happening::Start => {
                        started = true;
                        outbox.take(SendOrder::Start(Some(Bitfield::full(4096)))).unwrap();
                    }
                    Happening::Choke => {
                        (unchoked, told) = (false, true);
                        waiting.clear();
                        outbox.take(SendOrder::Choke).unwrap();
                    }
                    Happening::Unchoke => {
                        (unchoked, told) = (true, true);
                        outbox.take(SendOrder::Unchoke).unwrap();
                    }
                    Happening::Have(number) => outbox.take(SendOrder::Have(block(number, 0).piece)).unwrap(),
                    Happening::Request(number) => outbox.take(SendOrder::Request(vec![block(0, number)])).unwrap(),
                    Happening::Give(number) => {
                        waiting.extend((unchoked || !told).then_some(block(number / 4, number % 4)));
                        outbox.take(SendOrder::Upload(block(number / 4, number % 4))).unwrap();
                    }
                    Happening::Forget(number) => {
                        waiting.retain(|other| *other != block(number / 4, number % 4));
                        outbox.take(SendOrder::CancelUpload(block(number / 4, number % 4))).unwrap();
                    }
                    Happening::Send(blocks) => {
                        let most = blocks * u64::from(crate::metainfo::BLOCK_LENGTH);
                        let had_work = outbox.has_work(most) || outbox.has_haves();
                        let batch = outbox.next(most);
                        prop_assert_eq!(had_work, batch != Batch::default());
                        if !started {
                            prop_assert!(!had_work);
                            continue;
                        }
                        prop_assert_eq!(count(&batch.control), std::mem::take(&mut said));
                        prop_assert!(batch.run.len() as u64 <= blocks && (blocks == 0 || !unchoked || waiting.is_empty() || !batch.run.is_empty()));
                        prop_assert!(unchoked || batch.run.is_empty());
                        let due: Vec<Block> = waiting.drain(..batch.run.len()).collect();
                        prop_assert_eq!(&batch.run, &due);
                        let follows = |two: &[Block]| two[0].piece == two[1].piece && two[0].begin + two[0].length == two[1].begin;
                        prop_assert!(batch.run.windows(2).all(follows));
                        continue;
                    }
                }
                said += messages;
            }
        }
    }

    fn block(index: u32, number: u32) -> Block {
        let geometry = Geometry::new(1 << 30, 1 << 18).unwrap();
        geometry.nth_block(geometry.piece(index).unwrap(), number)
    }

    fn started() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.take(SendOrder::Start(None)).unwrap();
        outbox.take(SendOrder::Unchoke).unwrap();
        outbox.next(0);
        outbox
    }

    #[test]
    fn the_bitfield_goes_first_whatever_was_ordered_before() {
        let mut outbox = Outbox::default();
        outbox.take(SendOrder::Interested).unwrap();
        assert!(!outbox.has_work(1) && outbox.next(1) == Batch::default());
        outbox.take(SendOrder::Start(Some(Bitfield::full(3)))).unwrap();
        assert_eq!(outbox.next(1).control, b"\0\0\0\x02\x05\xe0\0\0\0\x01\x02");
        assert!(!outbox.has_work(1));
    }

    #[test]
    fn blocks_that_follow_one_another_go_out_as_one_run() {
        let mut outbox = started();
        for (index, number) in [(0, 0), (0, 1), (0, 2), (0, 4), (1, 0)] {
            outbox.take(SendOrder::Upload(block(index, number))).unwrap();
        }
        assert_eq!(outbox.next(32 << 10).run, [block(0, 0), block(0, 1)]);
        assert_eq!(outbox.next(1 << 20).run, [block(0, 2)]);
        assert_eq!(outbox.next(1).run, [block(0, 4)]);
        assert_eq!(outbox.next(1 << 20).run, [block(1, 0)]);
        assert!(!outbox.has_work(1));
    }

    #[test]
    fn a_choke_and_a_cancel_forget_requests() {
        let mut outbox = started();
        outbox.take(SendOrder::Upload(block(0, 0))).unwrap();
        outbox.take(SendOrder::Upload(block(0, 1))).unwrap();
        outbox.take(SendOrder::CancelUpload(block(0, 0))).unwrap();
        assert_eq!(outbox.next(1 << 20).run, [block(0, 1)]);
        outbox.take(SendOrder::Upload(block(0, 2))).unwrap();
        outbox.take(SendOrder::Choke).unwrap();
        outbox.take(SendOrder::Upload(block(0, 3))).unwrap();
        let batch = outbox.next(1 << 20);
        assert!(batch.run.is_empty() && batch.control == b"\0\0\0\x01\0");
        assert!(!outbox.has_work(1));
    }

    #[test]
    fn requests_that_come_before_the_first_unchoke_are_answered_after_it() {
        let mut outbox = Outbox::default();
        outbox.take(SendOrder::Start(None)).unwrap();
        outbox.take(SendOrder::Upload(block(0, 0))).unwrap();
        assert!(!outbox.has_work(1) && outbox.next(1) == Batch::default());
        outbox.take(SendOrder::Unchoke).unwrap();
        assert_eq!(outbox.next(1).run, [block(0, 0)]);
    }

    #[test]
    fn a_rate_limit_holds_up_blocks_and_no_control() {
        let mut outbox = started();
        outbox.take(SendOrder::Upload(block(0, 0))).unwrap();
        assert!(!outbox.has_work(0));
        outbox.take(SendOrder::Interested).unwrap();
        assert!(outbox.has_work(0));
        assert_eq!(outbox.next(0), Batch { control: b"\0\0\0\x01\x02".to_vec(), run: Vec::new() });
        assert_eq!(outbox.next(1).run, [block(0, 0)]);
    }

    #[test]
    fn haves_go_along_with_whatever_goes_and_are_urgent_to_nobody() {
        let mut outbox = Outbox::default();
        outbox.take(SendOrder::Have(block(1, 0).piece)).unwrap();
        assert!(!outbox.has_haves(), "before the start");
        outbox.take(SendOrder::Start(Some(Bitfield::empty(3)))).unwrap();
        assert_eq!(outbox.next(0).control, b"\0\0\0\x02\x05\0\0\0\0\x05\x04\0\0\0\x01");
        outbox.take(SendOrder::Have(block(2, 0).piece)).unwrap();
        assert!(outbox.has_haves() && !outbox.has_work(1));
        outbox.take(SendOrder::Interested).unwrap();
        assert!(outbox.has_work(0));
        assert_eq!(outbox.next(0).control, b"\0\0\0\x01\x02\0\0\0\x05\x04\0\0\0\x02");
        assert!(!outbox.has_haves());
    }

    #[test]
    fn limits_hold_at_the_limit_and_not_before() {
        let mut outbox = started();
        for _ in 0..MAX_OPEN_REQUESTS {
            assert_eq!(outbox.take(SendOrder::Upload(block(0, 0))), Ok(()));
        }
        assert_eq!(outbox.take(SendOrder::Upload(block(0, 0))), Err(Overflow::Requests));
        let haves = MAX_CONTROL / 9;
        assert!((0..haves).all(|_| outbox.take(SendOrder::Have(block(0, 0).piece)).is_ok()));
        assert_eq!(outbox.take(SendOrder::Have(block(0, 0).piece)), Err(Overflow::Control));
    }
}
