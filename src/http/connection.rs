//! A connection while it has no thread: what it waits for, and how far it got. Every call returns at once.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use tiny_http::HTTPVersion;

use super::{
    HttpService, Intake,
    framing::{BodyDecoder, Framing},
    head::{self, Fault, Head, MAX_HEAD},
    limits::DoorLimits,
    pace::Pace,
    reply::{Reply, ReplyContent},
};
use crate::quota::Seat;

/// The most bytes of a body that is read whole, before anyone is troubled with it. The forms of a page take 1 KiB, and every
/// connection may hold so much.
pub const MAX_WHOLE_BODY: u64 = 8 * 1024;

/// How long a connection that is being closed may go on sending, so that it reads why before it is reset.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much it may send in that time, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// How often one connection is read from before the others have their turn: who sends without end must not be all that
/// the watcher ever reads. Once is enough for a request, and the shortest turn there is.
const READS_A_TURN: usize = 1;

/// Empty lines before a request that are passed over, in bytes (RFC 9112, section 2.2, asks for one line).
const MAX_EMPTY_LINES: usize = 8;

/// What is sent to a client that waits for a yes before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection. Its socket does not block, unless a transfer has it.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// Bytes that came in and nobody has taken.
    pub(super) unread: Vec<u8>,
    pub(super) seat: Seat,
    phase: ConnectionPhase,
}

/// What a connection is waiting for.
#[derive(Debug)]
enum ConnectionPhase {
    /// A whole head, of which `searched` bytes are known not to end it. It has `begun` with its first byte.
    Head { searched: usize, begun: bool, deadline: Instant },
    /// The rest of a small body.
    Body { head: Head, decoder: BodyDecoder, body: Vec<u8>, pace: Pace },
    /// Room to send the rest of an answer in.
    Answer { bytes: Vec<u8>, sent: usize, then: Then, pace: Pace },
    /// The client's end, after ours.
    Linger { taken: usize, deadline: Instant },
}

/// What becomes of a connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    Next,
    /// All was read, and all was said: it is closed.
    Close,
    /// It may be sending still: it is closed once it had time to read the answer.
    Linger,
}

/// How a connection goes on.
#[derive(Debug)]
pub enum ConnectionStep {
    /// It waits until its socket is ready.
    Wait,
    /// There may be more to read; others come first.
    Yield,
    /// A request and its whole body are there.
    Answer(Head, Vec<u8>),
    /// A request is there, whose body is read as it comes.
    Stream(Head),
    /// It is done for.
    Close,
}

/// What a socket must become ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
}

/// How much a connection may still read before others have their turn, and what it reads into.
struct ReadTurn<'a> {
    scratch: &'a mut [u8],
    reads: usize,
}

impl ReadTurn<'_> {
    /// Some bytes, none at the end of the stream; `None` when the turn is over.
    fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<&[u8]>> {
        if self.reads == 0 {
            return Ok(None);
        }
        self.reads -= 1;
        let count = stream.read(self.scratch)?;
        Ok(Some(&self.scratch[..count]))
    }
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream, peer: SocketAddr, seat: Seat, limits: &DoorLimits, now: Instant) -> Connection {
        let phase = ConnectionPhase::Head { searched: 0, begun: true, deadline: now + limits.head_time };
        Connection { stream, peer, unread: Vec::new(), seat, phase }
    }

    /// The address of this machine that it came to; unspecified when it is gone already.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// When it must have got further.
    pub fn deadline(&self) -> Instant {
        match &self.phase {
            ConnectionPhase::Head { deadline, .. } | ConnectionPhase::Linger { deadline, .. } => *deadline,
            ConnectionPhase::Body { pace, .. } | ConnectionPhase::Answer { pace, .. } => pace.deadline(),
        }
    }

    /// What its socket is watched for.
    pub fn wants(&self) -> Wants {
        if matches!(self.phase, ConnectionPhase::Answer { .. }) { Wants::Write } else { Wants::Read }
    }

    /// Bytes of memory that it holds while it waits: what has come and what is to go out.
    pub fn held(&self) -> usize {
        let of_phase = match &self.phase {
            ConnectionPhase::Body { head, body, .. } => head.held() + body.capacity(),
            ConnectionPhase::Answer { bytes, .. } => bytes.capacity(),
            ConnectionPhase::Head { .. } | ConnectionPhase::Linger { .. } => 0,
        };
        self.unread.capacity() + of_phase
    }

    /// Whether it is without a complete head: these are closed first when there are too many.
    pub fn is_without_head(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Head { .. })
    }

    /// Goes on as far as that is possible without waiting. `scratch` is what is read into.
    pub fn step(&mut self, service: &dyn HttpService, limits: &DoorLimits, scratch: &mut [u8]) -> ConnectionStep {
        let mut turn = ReadTurn { scratch, reads: READS_A_TURN };
        loop {
            let went = match &mut self.phase {
                ConnectionPhase::Head { .. } => self.step_head(service, limits, &mut turn),
                ConnectionPhase::Body { .. } => self.step_body(limits, &mut turn),
                ConnectionPhase::Answer { .. } => self.step_answer(limits),
                ConnectionPhase::Linger { .. } => self.step_linger(&mut turn),
            };
            match went {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ConnectionStep::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ConnectionStep::Close,
            }
        }
    }

    /// Sends an answer as far as that goes at once, and keeps the rest for [`Connection::step`]. Tells whether the
    /// connection is of further use.
    pub fn answer(&mut self, bytes: Vec<u8>, then: Then, limits: &DoorLimits) -> bool {
        self.phase = ConnectionPhase::Answer { bytes, sent: 0, then, pace: Pace::new(limits, Instant::now()) };
        let goes_on = match self.step_answer(limits) {
            Ok(step) => step.is_none(),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if let ConnectionPhase::Answer { bytes, sent, .. } = &mut self.phase {
            // What the system has taken need not lie here too.
            bytes.drain(..std::mem::take(sent));
            bytes.shrink_to_fit();
        }
        goes_on
    }

    /// Takes bytes off those that came in; when none is left they hold no memory.
    fn take_unread(&mut self, count: usize) {
        self.unread.drain(..count);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
    }

    fn step_head(
        &mut self,
        service: &dyn HttpService,
        limits: &DoorLimits,
        turn: &mut ReadTurn<'_>,
    ) -> io::Result<Option<ConnectionStep>> {
        let ConnectionPhase::Head { searched, begun, deadline } = &mut self.phase else { return Ok(None) };
        let empty_lines = head::empty_lines(&self.unread);
        if empty_lines > MAX_EMPTY_LINES || head::is_no_method(&self.unread[empty_lines..]) {
            return Ok(self.refuse(Fault::Malformed.status().0, &Fault::Malformed, limits));
        }
        if let Some(length) = head::end(&self.unread[empty_lines..], searched.saturating_sub(empty_lines)) {
            let head = Head::parse(&self.unread[empty_lines..][..length]);
            self.take_unread(empty_lines + length);
            return match head {
                Ok(head) => Ok(self.begin_body(head, service, limits)),
                Err(fault) => Ok(self.refuse(fault.status().0, &fault, limits)),
            };
        }
        if self.unread.len() >= MAX_HEAD {
            return Ok(self.refuse(Fault::TooLarge.status().0, &Fault::TooLarge, limits));
        }
        *searched = self.unread.len();
        let Some(bytes) = turn.read(&mut self.stream)? else { return Ok(Some(ConnectionStep::Yield)) };
        if bytes.is_empty() {
            return Ok(Some(ConnectionStep::Close));
        }
        if !std::mem::replace(begun, true) {
            *deadline = Instant::now() + limits.head_time;
        }
        self.unread.extend_from_slice(bytes);
        Ok(None)
    }

    fn begin_body(&mut self, head: Head, service: &dyn HttpService, limits: &DoorLimits) -> Option<ConnectionStep> {
        if service.intake(&head) == Intake::Stream {
            return Some(ConnectionStep::Stream(head));
        }
        match head.framing() {
            Framing::Length(0) => return Some(ConnectionStep::Answer(head, Vec::new())),
            Framing::Length(length) if length > MAX_WHOLE_BODY => {
                let sentence = format!("a body of {length} bytes; at most {MAX_WHOLE_BODY} are taken here");
                return self.refuse(413, &sentence, limits);
            }
            _ => {}
        }
        if head.expects_continue() && self.unread.is_empty() && self.stream.write_all(CONTINUE).is_err() {
            return Some(ConnectionStep::Close);
        }
        let decoder = BodyDecoder::new(head.framing());
        self.phase = ConnectionPhase::Body { head, decoder, body: Vec::new(), pace: Pace::new(limits, Instant::now()) };
        None
    }

    fn step_body(&mut self, limits: &DoorLimits, turn: &mut ReadTurn<'_>) -> io::Result<Option<ConnectionStep>> {
        let ConnectionPhase::Body { decoder, body, pace, .. } = &mut self.phase else { return Ok(None) };
        if self.unread.is_empty() {
            let Some(bytes) = turn.read(&mut self.stream)? else { return Ok(Some(ConnectionStep::Yield)) };
            if bytes.is_empty() {
                return Ok(Some(ConnectionStep::Close));
            }
            pace.moved(bytes.len(), Instant::now());
            self.unread.extend_from_slice(bytes);
        }
        let decoded = match decoder.decode(&mut self.unread) {
            Ok(decoded) => decoded,
            Err(bad) => return Ok(self.refuse(400, &bad, limits)),
        };
        let (length, is_at_end) = (body.len() + decoded.payload, decoder.is_at_end());
        if length as u64 > MAX_WHOLE_BODY {
            return Ok(self.refuse(413, &format!("a body of more than {MAX_WHOLE_BODY} bytes"), limits));
        }
        body.extend_from_slice(&self.unread[..decoded.payload]);
        self.take_unread(decoded.used);
        if !is_at_end {
            return Ok(None);
        }
        let waiting = ConnectionPhase::Head { searched: 0, begun: false, deadline: Instant::now() };
        match std::mem::replace(&mut self.phase, waiting) {
            ConnectionPhase::Body { head, body, .. } => Ok(Some(ConnectionStep::Answer(head, body))),
            _ => Ok(None),
        }
    }

    fn step_answer(&mut self, limits: &DoorLimits) -> io::Result<Option<ConnectionStep>> {
        let ConnectionPhase::Answer { bytes, sent, then, pace } = &mut self.phase else { return Ok(None) };
        while *sent < bytes.len() {
            let count = self.stream.write(&bytes[*sent..])?;
            *sent += count;
            pace.moved(count, Instant::now());
        }
        match then {
            Then::Close => return Ok(Some(ConnectionStep::Close)),
            Then::Next => {
                let deadline = Instant::now() + limits.idle_time;
                self.phase = ConnectionPhase::Head { searched: 0, begun: !self.unread.is_empty(), deadline };
                self.unread.shrink_to_fit();
            }
            Then::Linger => {
                self.stream.shutdown(Shutdown::Write)?;
                self.unread = Vec::new();
                self.phase = ConnectionPhase::Linger { taken: 0, deadline: Instant::now() + LINGER_TIME };
            }
        }
        Ok(None)
    }

    fn step_linger(&mut self, turn: &mut ReadTurn<'_>) -> io::Result<Option<ConnectionStep>> {
        let ConnectionPhase::Linger { taken, .. } = &mut self.phase else { return Ok(None) };
        let Some(bytes) = turn.read(&mut self.stream)? else { return Ok(Some(ConnectionStep::Yield)) };
        *taken += bytes.len();
        Ok((bytes.is_empty() || *taken > LINGER_BYTES).then_some(ConnectionStep::Close))
    }

    /// Answers with a sentence in the place of whoever would have, and lets go of the connection.
    fn refuse(&mut self, status: u16, sentence: &dyn std::fmt::Display, limits: &DoorLimits) -> Option<ConnectionStep> {
        let (mut bytes, content) = Reply::text(status, sentence).print(&HTTPVersion(1, 1), false);
        if let ReplyContent::Bytes(sentence) = content {
            bytes.extend_from_slice(&sentence);
        }
        self.phase =
            ConnectionPhase::Answer { bytes, sent: 0, then: Then::Linger, pace: Pace::new(limits, Instant::now()) };
        None
    }
}
