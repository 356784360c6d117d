//! The writing half of a session: what the outbox holds, control before blocks, runs of blocks in one read and one write.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, IoSlice, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    metainfo::{Block, PieceIndex},
    policy::PeerEvent,
    session::{
        End, LocalPeer, SessionHandle,
        limiter::{MAX_NAP, RateLimiters},
        outgoing::{
            backlog::{self, Backlog},
            queue::NextOutgoing,
            turns::{UplinkTurn, UplinkTurns},
        },
    },
    wire::{self, Message, mse::Cipher},
};

/// How long we may be silent before a keep-alive is due (BEP 3: peers close after 2 minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// Bytes of blocks sent before the outbox is looked at again: large enough that a fast link does not notice the look,
/// small enough that on 100 Mbit/s control waits 5 ms at most.
pub(crate) const MAX_RUN: u64 = 64 * 1024;

/// How long control waits at most while its session waits for a turn: as long as behind blocks that are on their way.
const LOOK: Duration = Duration::from_millis(10);

/// Pieces of which some blocks were sent that are remembered at most; peers work on a few at a time.
const MAX_BEGUN: usize = 256;

/// Writes until the session ends.
pub fn run(host: &LocalPeer, handle: &SessionHandle, cipher: Option<Cipher>) -> Result<(), End> {
    let socket = SocketWriter { socket: handle.socket().clone(), cipher };
    let mut writer =
        BlockWriter { handle, socket, run: Vec::new(), begun: BTreeMap::new(), backlog: Backlog::new(Instant::now()) };
    let limits = RateLimiters([&host.upload, &handle.share.upload]);
    let mut due = Default::default();
    let mut turn = None::<UplinkTurn<'_>>;
    let mut left_of_turn = 0;
    loop {
        let held_up = limits.wait(due);
        let next = match held_up.is_zero() {
            // A turn with nothing to send ends at once.
            true => handle.outgoing.wait(MAX_RUN, if turn.is_some() { Duration::ZERO } else { KEEP_ALIVE }),
            false => handle.outgoing.wait(0, held_up.min(MAX_NAP)),
        };
        match next {
            NextOutgoing::Closed => return Ok(()),
            NextOutgoing::Batch(batch) => {
                writer.send_control(&batch.control)?;
                if batch.run.is_empty() {
                    continue;
                }
                if turn.is_none() {
                    (turn, left_of_turn) = (writer.wait_for_turn(&host.turns)?, host.turns.rules().bytes);
                }
                let sent = writer.send_run(&batch.run)?;
                due = limits.spend(sent);
                left_of_turn = left_of_turn.saturating_sub(sent);
                if left_of_turn == 0 || !limits.wait(due).is_zero() {
                    turn = None;
                }
            }
            NextOutgoing::Nothing if turn.take().is_some() => writer.run = Vec::new(),
            NextOutgoing::Nothing if !held_up.is_zero() => {}
            NextOutgoing::Nothing => {
                let mut keep_alive = Vec::new();
                wire::encode(Message::KeepAlive, &mut keep_alive);
                writer.send_control(&keep_alive)?;
            }
        }
    }
}

struct BlockWriter<'a> {
    handle: &'a SessionHandle,
    socket: SocketWriter,
    /// The bytes of one run; let go when nothing is left to send, so that an idle session costs nothing.
    run: Vec<u8>,
    /// How many bytes were sent of pieces of which not all were.
    begun: BTreeMap<PieceIndex, u64>,
    backlog: Backlog,
}

impl BlockWriter<'_> {
    fn send_control(&mut self, control: &[u8]) -> Result<(), End> {
        if control.is_empty() { Ok(()) } else { self.socket.write(&mut [IoSlice::new(control)]) }
    }

    /// Waits until it is this session's turn to send blocks; control goes out meanwhile. `None` when it must go without one.
    fn wait_for_turn<'t>(&mut self, turns: &'t UplinkTurns) -> Result<Option<UplinkTurn<'t>>, End> {
        let deadline = Instant::now() + turns.rules().patience;
        loop {
            let turn = turns.take(LOOK);
            if turn.is_some() || Instant::now() >= deadline {
                return Ok(turn);
            }
            match self.handle.outgoing.wait(0, Duration::ZERO) {
                NextOutgoing::Batch(batch) => self.send_control(&batch.control)?,
                NextOutgoing::Closed => return Ok(None),
                NextOutgoing::Nothing => {}
            }
        }
    }

    /// Sends blocks that follow one another, and says how many bytes of them there were.
    fn send_run(&mut self, run: &[Block]) -> Result<u64, End> {
        let bytes: u64 = run.iter().map(|block| u64::from(block.length)).sum();
        let heads: Vec<_> = run.iter().map(|block| wire::piece_head(*block)).collect();
        let sending = Sending::begin(&self.handle.share.sending);
        self.read(run, bytes as usize)?;
        let mut parts = Vec::with_capacity(2 * heads.len());
        let mut rest = &self.run[..];
        for (head, block) in heads.iter().zip(run) {
            let (bytes, after) = rest.split_at(block.length as usize);
            parts.extend([IoSlice::new(head), IoSlice::new(bytes)]);
            rest = after;
        }
        self.socket.write(&mut parts)?;
        if let Some(limit) = self.backlog.sent(bytes, Instant::now()) {
            backlog::limit(self.handle.socket(), limit)?;
        }
        for traffic in [&self.handle.traffic, &self.handle.share.traffic] {
            traffic.uploaded.fetch_add(bytes, Ordering::Relaxed);
        }
        drop(sending);
        if let Some(piece) = run.first().map(|block| block.piece) {
            self.note_uploaded(piece, bytes)?;
        }
        Ok(bytes)
    }

    /// Notes a piece as uploaded with its last byte. The blocks of a run are all of one piece.
    fn note_uploaded(&mut self, piece: PieceIndex, bytes: u64) -> Result<(), End> {
        if self.begun.len() >= MAX_BEGUN && !self.begun.contains_key(&piece) {
            self.begun.pop_first();
        }
        let sent = self.begun.entry(piece).or_default();
        *sent += bytes;
        let share = &self.handle.share;
        if *sent >= u64::from(share.geometry().length_of(piece)) {
            self.begun.remove(&piece);
            self.handle.uploaded_pieces.insert(piece);
            if share.incoming.is_none() {
                self.handle.tell(PeerEvent::Sent(self.handle.id(), piece))?;
            }
        }
        Ok(())
    }

    /// Fills `self.run` with the bytes of blocks that follow one another.
    fn read(&mut self, run: &[Block], bytes: usize) -> Result<(), End> {
        self.run.resize(bytes, 0);
        let Some(first) = run.first() else { return Ok(()) };
        let offset = self.handle.share.geometry().block_offset(*first);
        self.handle.share.read(offset, &mut self.run).map_err(End::Storage)
    }
}

/// The sending end of a socket.
struct SocketWriter {
    socket: Arc<TcpStream>,
    /// Where the stream is encrypted.
    cipher: Option<Cipher>,
}

impl SocketWriter {
    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> Result<(), End> {
        let written = match &mut self.cipher {
            None => write_all(&self.socket, parts),
            Some(cipher) => {
                let mut bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
                cipher.apply(&mut bytes);
                write_all(&self.socket, &mut [IoSlice::new(&bytes)])
            }
        };
        written.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Slow,
            _ => End::Io(error),
        })
    }
}

/// Counts a session among those that send blocks, while it does.
struct Sending<'a>(&'a AtomicUsize);

impl<'a> Sending<'a> {
    fn begin(count: &'a AtomicUsize) -> Sending<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Sending(count)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn write_all(mut socket: &TcpStream, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match socket.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
