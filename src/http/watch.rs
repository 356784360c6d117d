//! The watch thread: it owns the listener and every connection that waits for something, so that waiting costs no thread.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::ErrorKind,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Interest, Poll, Token, net::TcpListener, unix::SourceFd};

use super::{
    Intake,
    connection::{Connection, ConnectionStep, Wants},
    handler::{Answering, HandlerJob},
};
use crate::quota::{Origin, OriginFull, Seat, SeatRefusal, Seats, Tally};

/// Tokens of the poller that are no connection's; connections count from there.
pub const LISTENER: Token = Token(0);
/// What handlers wake the watcher by.
pub const WAKER: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// How often deadlines are looked at while anybody waits.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// How long nothing is accepted after the system refused: longer than a blink, shorter than a person notices.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are accepted before the others get a turn.
const ACCEPT_BATCH: usize = 64;

/// Connections that have a turn before new ones are accepted again.
const TURNS_A_ROUND: usize = 64;

/// Bytes that all waiting connections may hold in memory: heads and bodies of which some is missing, answers that are not taken.
/// Above it some are closed of the origin that holds most, those first that have waited longest.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// Bytes that they hold at most after that, so that not every read of a flood has all of them looked at.
const HELD_THEN: usize = MAX_HELD - MAX_HELD / 8;

/// Bytes read at once; a whole announce is 400.
const SCRATCH_LENGTH: usize = 16 * 1024;

/// What the watch thread owns.
pub struct WatchThread {
    pub(super) poll: Poll,
    pub(super) listener: TcpListener,
    pub(super) answering: Arc<Answering>,
    pub(super) seats: Arc<Seats>,
    pub(super) quick_jobs: Sender<Box<HandlerJob>>,
    pub(super) jobs: Sender<Box<HandlerJob>>,
    pub(super) returns: Receiver<Connection>,
    pub(super) stopping: Arc<AtomicBool>,
}

/// The connections that wait, each under the token that the poller knows it by. A token is never used twice and grows
/// with time, so the first is the one that has waited longest.
struct Waiting {
    connections: BTreeMap<usize, Parked>,
    next: usize,
    /// Bytes that all of them hold.
    held: usize,
}

struct Parked {
    connection: Connection,
    /// Bytes that it held when they were counted last.
    held: usize,
}

impl Waiting {
    /// Counts the bytes that a connection holds now.
    fn count(&mut self, token: usize) {
        let Some(Parked { connection, held }) = self.connections.get_mut(&token) else { return };
        let before = std::mem::replace(held, connection.held());
        self.held = self.held - before + *held;
    }

    /// All that hold anything but this one, which has just come: of the origin that holds most first, and of one origin that which has
    /// waited longest.
    fn greediest(&self, kept: usize) -> Vec<usize> {
        let origin = |parked: &Parked| parked.connection.seat.origin();
        let others = || self.connections.iter().filter(|(token, parked)| **token != kept && parked.held > 0);
        let tally: Tally<u64> = others().map(|(_, parked)| (origin(parked), parked.held as u64)).collect();
        let mut tokens: Vec<_> =
            others().map(|(token, parked)| (Reverse(tally.weight(origin(parked))), *token)).collect();
        tokens.sort_unstable();
        tokens.into_iter().map(|(_, token)| token).collect()
    }
}

impl WatchThread {
    /// Runs until the door stops.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(TURNS_A_ROUND);
        let mut waiting = Waiting { connections: BTreeMap::new(), next: FIRST_CONNECTION, held: 0 };
        let mut scratch = vec![0; SCRATCH_LENGTH];
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        let mut accept_at = Some(Instant::now());
        loop {
            let now = Instant::now();
            let sweep_in = (!waiting.connections.is_empty()).then(|| next_sweep.saturating_duration_since(now));
            let accept_in = accept_at.map(|at| at.saturating_duration_since(now));
            let timeout = [sweep_in, accept_in].into_iter().flatten().min();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("the door cannot watch its connections any longer: {error}");
                return;
            }
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            if events.iter().any(|event| event.token() == LISTENER) {
                accept_at = accept_at.or(Some(Instant::now()));
            }
            if accept_at.is_some_and(|at| at <= Instant::now()) {
                accept_at = self.accept(&mut waiting, &mut scratch);
            }
            for event in &events {
                match event.token() {
                    LISTENER | WAKER => {}
                    Token(token) => self.go_on(token, &mut waiting, &mut scratch),
                }
            }
            // Those that come back meanwhile have their turn in the next round: the waker tells of them again.
            for connection in self.returns.try_iter().take(self.returns.len()) {
                self.advance(connection, &mut waiting, &mut scratch);
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + SWEEP_EVERY;
                self.sweep(&mut waiting);
            }
        }
    }

    /// Accepts a batch. Tells when to accept again, without having been told by the poller.
    fn accept(&self, waiting: &mut Waiting, scratch: &mut [u8]) -> Option<Instant> {
        for _ in 0..ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let reached = || stream.local_addr().ok().map(|reached| reached.ip());
                    let Some(seat) = self.seat(Origin::of_peer(peer.ip(), reached), waiting) else { continue };
                    let limits = &self.answering.limits;
                    let connection = Connection::new(stream.into(), peer, seat, limits, Instant::now());
                    self.advance(connection, waiting, scratch);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return None,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Descriptors or memory have run out. Both come back; whoever has most makes the start.
                        log::warn!("no connection can be accepted for now: {error}");
                        self.evict(|_| true, waiting);
                        return Some(Instant::now() + ACCEPT_PAUSE);
                    }
                },
            }
        }
        Some(Instant::now())
    }

    /// A seat for a new connection, if need be that of another.
    fn seat(&self, origin: Origin, waiting: &mut Waiting) -> Option<Seat> {
        loop {
            let evicted = match self.seats.take(origin) {
                Ok(seat) => return Some(seat),
                Err(SeatRefusal::All) => self.evict(|_| true, waiting),
                Err(SeatRefusal::Origin(OriginFull::Host)) => self.evict(|other| other == origin, waiting),
                Err(SeatRefusal::Origin(OriginFull::Network)) => {
                    self.evict(|other| other.network() == origin.network(), waiting)
                }
            };
            // Everybody is being answered, which ends soon; there is nobody to close for this one.
            if !evicted {
                return None;
            }
        }
    }

    /// Closes a connection among those origins: of the one that has most, the one that has waited longest for its head; if all have theirs,
    /// the one that has waited longest for anything; and if none of it waits, the same among the others.
    fn evict(&self, among: impl Fn(Origin) -> bool, waiting: &mut Waiting) -> bool {
        let found = self.seats.look(|tally| {
            let most = tally.most(&among);
            let is_among = |parked: &Parked| among(parked.connection.seat.origin());
            let has_most = |parked: &Parked| is_among(parked) && tally.weight(parked.connection.seat.origin()) == most;
            let first = |counts: &dyn Fn(&Parked) -> bool| {
                let those = || waiting.connections.iter().filter(|(_, parked)| counts(parked));
                let found = those().find(|(_, parked)| parked.connection.is_without_head()).or_else(|| those().next());
                found.map(|(token, _)| *token)
            };
            first(&has_most).or_else(|| first(&is_among))
        });
        found.is_some_and(|token| self.unpark(token, waiting).is_some())
    }

    /// Goes on with a connection whose socket is ready.
    fn go_on(&self, token: usize, waiting: &mut Waiting, scratch: &mut [u8]) {
        let Some(Parked { connection, .. }) = waiting.connections.get_mut(&token) else { return };
        let wanted = connection.wants();
        let step = connection.step(&*self.answering.service, &self.answering.limits, scratch);
        match step {
            ConnectionStep::Wait if connection.wants() == wanted => return self.keep(token, waiting),
            // What is left to read is told again, behind what others have sent meanwhile.
            ConnectionStep::Yield if connection.wants() == wanted && self.tell_again(token, connection) => {
                return self.keep(token, waiting);
            }
            _ => {}
        }
        if let Some(connection) = self.unpark(token, waiting) {
            self.follow(step, connection, waiting);
        }
    }

    /// Goes on with a connection that does not wait yet.
    fn advance(&self, mut connection: Connection, waiting: &mut Waiting, scratch: &mut [u8]) {
        let step = connection.step(&*self.answering.service, &self.answering.limits, scratch);
        self.follow(step, connection, waiting);
    }

    fn follow(&self, step: ConnectionStep, connection: Connection, waiting: &mut Waiting) {
        match step {
            ConnectionStep::Wait | ConnectionStep::Yield => self.park(connection, waiting),
            ConnectionStep::Answer(head, body) => {
                let queue = match self.answering.service.intake(&head) {
                    Intake::Quick => &self.quick_jobs,
                    _ => &self.jobs,
                };
                // Each queue has room for every connection, and one connection has one request at a time.
                let sent = queue.try_send(Box::new(HandlerJob { connection, head, body }));
                debug_assert!(sent.is_ok());
            }
            ConnectionStep::Stream(head) => self.answering.stream(connection, head),
            ConnectionStep::Close => {}
        }
    }

    /// Has the poller tell of this connection again although it was told of already.
    fn tell_again(&self, token: usize, connection: &Connection) -> bool {
        let socket = connection.stream.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&socket), Token(token), interest(connection)).is_ok()
    }

    fn park(&self, connection: Connection, waiting: &mut Waiting) {
        let token = waiting.next;
        let socket = connection.stream.as_raw_fd();
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&socket), Token(token), interest(&connection)) {
            return log::warn!("a connection cannot be watched: {error}");
        }
        waiting.next += 1;
        waiting.connections.insert(token, Parked { connection, held: 0 });
        self.keep(token, waiting);
    }

    /// Counts what a connection holds that goes on waiting, and closes others if all hold too much.
    fn keep(&self, token: usize, waiting: &mut Waiting) {
        waiting.count(token);
        if waiting.held <= MAX_HELD {
            return;
        }
        for other in waiting.greediest(token) {
            self.unpark(other, waiting);
            if waiting.held <= HELD_THEN {
                return;
            }
        }
    }

    fn unpark(&self, token: usize, waiting: &mut Waiting) -> Option<Connection> {
        let Parked { connection, held } = waiting.connections.remove(&token)?;
        waiting.held -= held;
        let socket = connection.stream.as_raw_fd();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&socket)) {
            log::warn!("a connection is still being watched: {error}");
        }
        Some(connection)
    }

    /// Closes what is past its deadline.
    fn sweep(&self, waiting: &mut Waiting) {
        let now = Instant::now();
        let late = waiting.connections.iter().filter(|(_, parked)| parked.connection.deadline() <= now);
        for token in late.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.unpark(token, waiting);
        }
    }
}

fn interest(connection: &Connection) -> Interest {
    match connection.wants() {
        Wants::Read => Interest::READABLE,
        Wants::Write => Interest::WRITABLE,
    }
}
