//! A connection while it has no thread: what it waits for, and how far it got. Every call returns at once.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use tiny_http::HTTPVersion;

use super::{
    Intake, Service,
    census::Seat,
    framing::{Decoder, Framing},
    head::{self, Fault, Head, MAX_HEAD},
    limits::Limits,
    pace::Pace,
    reply::{Content, Reply},
};

/// The most bytes of a body that is read whole, before anyone is troubled with it. The forms of a page take 1 KiB.
pub const MAX_WHOLE_BODY: u64 = 64 * 1024;

/// How long a connection that is being closed may go on sending, so that it reads why before it is reset.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much it may send in that time, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

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
    phase: Phase,
}

/// What a connection is waiting for.
#[derive(Debug)]
enum Phase {
    /// A whole head, of which `searched` bytes are known not to end it. It has `begun` with its first byte.
    Head { searched: usize, begun: bool, deadline: Instant },
    /// The rest of a small body.
    Body { head: Head, decoder: Decoder, body: Vec<u8>, pace: Pace },
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
pub enum Step {
    /// It waits until its socket is ready.
    Wait,
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

impl Connection {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream, peer: SocketAddr, seat: Seat, limits: &Limits, now: Instant) -> Connection {
        let phase = Phase::Head { searched: 0, begun: true, deadline: now + limits.head_time };
        Connection { stream, peer, unread: Vec::new(), seat, phase }
    }

    /// The address of this machine that it came to; unspecified when it is gone already.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// When it must have got further.
    pub fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Head { deadline, .. } | Phase::Linger { deadline, .. } => *deadline,
            Phase::Body { pace, .. } | Phase::Answer { pace, .. } => pace.deadline(),
        }
    }

    /// What its socket is watched for.
    pub fn wants(&self) -> Wants {
        if matches!(self.phase, Phase::Answer { .. }) { Wants::Write } else { Wants::Read }
    }

    /// Bytes of an answer that are still to be sent.
    pub fn unsent(&self) -> usize {
        if let Phase::Answer { bytes, sent, .. } = &self.phase { bytes.len() - sent } else { 0 }
    }

    /// Whether it is without a complete head: these are closed first when there are too many.
    pub fn is_without_head(&self) -> bool {
        matches!(self.phase, Phase::Head { .. })
    }

    /// Goes on as far as that is possible without waiting. `scratch` is what is read into.
    pub fn step(&mut self, service: &dyn Service, limits: &Limits, scratch: &mut [u8]) -> Step {
        loop {
            let went = match &mut self.phase {
                Phase::Head { .. } => self.step_head(service, limits, scratch),
                Phase::Body { .. } => self.step_body(limits, scratch),
                Phase::Answer { .. } => self.step_answer(limits),
                Phase::Linger { .. } => self.step_linger(scratch),
            };
            match went {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Step::Close,
            }
        }
    }

    /// Sends an answer as far as that goes at once, and keeps the rest for [`Connection::step`]. Tells whether the
    /// connection is of further use.
    pub fn answer(&mut self, bytes: Vec<u8>, then: Then, limits: &Limits) -> bool {
        self.phase = Phase::Answer { bytes, sent: 0, then, pace: Pace::new(limits, Instant::now()) };
        match self.step_answer(limits) {
            Ok(step) => step.is_none(),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn step_head(&mut self, service: &dyn Service, limits: &Limits, scratch: &mut [u8]) -> io::Result<Option<Step>> {
        let Phase::Head { searched, begun, deadline } = &mut self.phase else { return Ok(None) };
        // Empty lines before a request are skipped (RFC 9112, section 2.2); they do not push the deadline.
        while *searched == 0 && self.unread.starts_with(b"\r\n") {
            self.unread.drain(..2);
        }
        if let Some(length) = head::end(&self.unread, *searched) {
            let head = Head::parse(&self.unread[..length]);
            self.unread.drain(..length);
            return match head {
                Ok(head) => Ok(self.begin_body(head, service, limits)),
                Err(fault) => Ok(self.refuse(fault.status().0, &fault, limits)),
            };
        }
        if self.unread.len() >= MAX_HEAD {
            return Ok(self.refuse(Fault::TooLarge.status().0, &Fault::TooLarge, limits));
        }
        *searched = self.unread.len();
        let count = self.stream.read(scratch)?;
        if count == 0 {
            return Ok(Some(Step::Close));
        }
        if !std::mem::replace(begun, true) {
            *deadline = Instant::now() + limits.head_time;
        }
        self.unread.extend_from_slice(&scratch[..count]);
        Ok(None)
    }

    fn begin_body(&mut self, head: Head, service: &dyn Service, limits: &Limits) -> Option<Step> {
        if service.intake(&head) == Intake::Stream {
            return Some(Step::Stream(head));
        }
        match head.framing() {
            Framing::Length(0) => return Some(Step::Answer(head, Vec::new())),
            Framing::Length(length) if length > MAX_WHOLE_BODY => {
                let sentence = format!("a body of {length} bytes; at most {MAX_WHOLE_BODY} are taken here");
                return self.refuse(413, &sentence, limits);
            }
            _ => {}
        }
        if head.expects_continue() && self.unread.is_empty() && self.stream.write_all(CONTINUE).is_err() {
            return Some(Step::Close);
        }
        let decoder = Decoder::new(head.framing());
        self.phase = Phase::Body { head, decoder, body: Vec::new(), pace: Pace::new(limits, Instant::now()) };
        None
    }

    fn step_body(&mut self, limits: &Limits, scratch: &mut [u8]) -> io::Result<Option<Step>> {
        let Phase::Body { decoder, body, pace, .. } = &mut self.phase else { return Ok(None) };
        if self.unread.is_empty() {
            let count = self.stream.read(scratch)?;
            if count == 0 {
                return Ok(Some(Step::Close));
            }
            pace.moved(count, Instant::now());
            self.unread.extend_from_slice(&scratch[..count]);
        }
        let decoded = match decoder.decode(&mut self.unread) {
            Ok(decoded) => decoded,
            Err(bad) => return Ok(self.refuse(400, &bad, limits)),
        };
        body.extend_from_slice(&self.unread[..decoded.payload]);
        self.unread.drain(..decoded.used);
        if body.len() as u64 > MAX_WHOLE_BODY {
            return Ok(self.refuse(413, &format!("a body of more than {MAX_WHOLE_BODY} bytes"), limits));
        }
        if !decoder.is_at_end() {
            return Ok(None);
        }
        let waiting = Phase::Head { searched: 0, begun: false, deadline: Instant::now() };
        match std::mem::replace(&mut self.phase, waiting) {
            Phase::Body { head, body, .. } => Ok(Some(Step::Answer(head, body))),
            _ => Ok(None),
        }
    }

    fn step_answer(&mut self, limits: &Limits) -> io::Result<Option<Step>> {
        let Phase::Answer { bytes, sent, then, pace } = &mut self.phase else { return Ok(None) };
        while *sent < bytes.len() {
            let count = self.stream.write(&bytes[*sent..])?;
            *sent += count;
            pace.moved(count, Instant::now());
        }
        match then {
            Then::Close => return Ok(Some(Step::Close)),
            Then::Next => {
                let deadline = Instant::now() + limits.idle_time;
                self.phase = Phase::Head { searched: 0, begun: !self.unread.is_empty(), deadline };
                self.unread.shrink_to_fit();
            }
            Then::Linger => {
                self.stream.shutdown(Shutdown::Write)?;
                self.unread = Vec::new();
                self.phase = Phase::Linger { taken: 0, deadline: Instant::now() + LINGER_TIME };
            }
        }
        Ok(None)
    }

    fn step_linger(&mut self, scratch: &mut [u8]) -> io::Result<Option<Step>> {
        let Phase::Linger { taken, .. } = &mut self.phase else { return Ok(None) };
        let count = self.stream.read(scratch)?;
        *taken += count;
        Ok((count == 0 || *taken > LINGER_BYTES).then_some(Step::Close))
    }

    /// Answers with a sentence in the place of whoever would have, and lets go of the connection.
    fn refuse(&mut self, status: u16, sentence: &dyn std::fmt::Display, limits: &Limits) -> Option<Step> {
        let (mut bytes, content) = Reply::text(status, sentence).print(&HTTPVersion(1, 1), false);
        if let Content::Bytes(sentence) = content {
            bytes.extend_from_slice(&sentence);
        }
        self.phase = Phase::Answer { bytes, sent: 0, then: Then::Linger, pace: Pace::new(limits, Instant::now()) };
        None
    }
}
