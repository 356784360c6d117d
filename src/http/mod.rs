//! The door: it owns the public HTTP port, and lets nobody wait at another's expense.
//!
//! tiny_http 0.12 is small and pleasant, but its listener, its connections and its reading of bodies have faults that
//! cannot be reached from outside: a large `Content-Length` makes it allocate that much, a few clients that say nothing or
//! read nothing hold its threads for good, heads and threads grow without end. One way around them is a relay in front of it.
//! This is the simpler one: the door accepts, reads and frames requests by itself, hands them to a [`HttpService`], and
//! prints the answer with tiny_http's own `Response::raw_print`. So tiny_http stays the vocabulary (`Method`, `Header`,
//! `StatusCode`, `HTTPVersion`, `Response`), and every fault is out of reach, because its server never runs.
//!
//! | thread | owns |
//! |---|---|
//! | `web-watch` | the listener, and all connections that wait: for a head, for a small body, for room to write |
//! | `web-handler`, a fixed few | one request at a time, which is there as a whole; its answer never blocks |
//! | `web-transfer`, on demand | one upload or download, while it lasts |
//! | `web-feed` | all answers that go on and on |
//!
//! A connection costs a thread only once its head is complete, and a handler only while the service thinks. At a cap the
//! connection of the origin with the most that has waited longest without a complete head is closed, never the newest refused. What the door never
//! knows is what is served: that is the [`HttpService`]'s.
//!
//! The way of a small request is short: accept, one read, one queue to a handler, one write, close. With a connection for each,
//! that is about three times as many announces a second on one core as tiny_http's own server answers.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, bounded};
use mio::{Interest, Poll, Waker};
use socket2::SockRef;
use tiny_http::Method;

use crate::quota::Seats;

pub use body::Body;
pub use feed::{Feed, TICK};
pub use head::Head;
pub use limits::DoorLimits;
pub use reply::{Reply, ReplyContent, ReplyPart};

use connection::Connection;
use feed::Streams;
use handler::Answering;
use transfer::Transfers;
use watch::WatchThread;

mod body;
mod connection;
mod feed;
pub mod framing;
mod handler;
pub mod head;
mod limits;
mod pace;
mod reply;
mod transfer;
mod watch;

#[cfg(test)]
mod tests;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

/// How long a door that stops waits for its transfers to notice.
const STOP_TIME: Duration = Duration::from_secs(1);

/// What the door serves.
pub trait HttpService: Send + Sync {
    /// How the body of this request is to be read. Asked by the watch thread: it must not wait for anything.
    fn intake(&self, head: &Head) -> Intake;

    /// The answer to a request.
    fn answer(&self, request: &mut Request<'_>) -> Reply;
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// Whole, before the service is asked for an answer; at most 8 KiB, or the door answers 413.
    Whole,
    /// The same, and the answer takes microseconds: it never waits for a crowd of those that take longer.
    Quick,
    /// By the service, as it comes, on a transfer thread.
    Stream,
}

/// A request as its service sees it.
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a Head,
    peer: SocketAddr,
    local: SocketAddr,
    /// What follows the head.
    pub body: Body<'a>,
}

impl<'a> Request<'a> {
    /// What is to be done.
    pub fn method(&self) -> &Method {
        self.head.method()
    }

    /// The path, still percent-encoded; begins with `/`.
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// What follows the `?`, still percent-encoded.
    pub fn query(&self) -> &'a str {
        self.head.query()
    }

    /// The value of the first field of that name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.head.field(name)
    }

    /// The values of all fields of that name, whatever its case.
    pub fn values(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head.values(name)
    }

    /// Who asks.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address of this machine that was asked; unspecified when the connection is gone already.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// An open door. Dropping it closes it.
pub struct Door {
    answering: Arc<Answering>,
    gauge: Gauge,
    stopping: Arc<AtomicBool>,
    /// The watcher's queue of connections that come back, to empty it when the watcher has gone.
    returned: Option<Receiver<Connection>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a door has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Running uploads and downloads, each on a thread.
    pub transfers: usize,
    /// Answers that go on and on, all on one thread.
    pub streams: usize,
}

/// Tells what a door has in hand, to whoever does not own it.
#[derive(Debug, Clone)]
pub struct Gauge {
    seats: Arc<Seats>,
    transfers: Arc<Transfers>,
    streams: Arc<Streams>,
}

impl Gauge {
    /// What it has in hand now.
    pub fn stats(&self) -> Stats {
        Stats { connections: self.seats.total(), transfers: self.transfers.count(), streams: self.streams.count() }
    }
}

impl Door {
    /// Opens the door on a listener that is bound already.
    pub fn open(listener: TcpListener, limits: DoorLimits, service: Arc<dyn HttpService>) -> io::Result<Door> {
        let socket = SockRef::from(&listener);
        // Accepted sockets inherit it: the last bytes of an answer never wait for an acknowledgement.
        socket.set_tcp_nodelay(true)?;
        // std asks for 128: the rest of a room that comes in at once would try again only after a second.
        socket.listen(BACKLOG)?;
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, watch::LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), watch::WAKER)?;
        // Room for every connection: one has one request, so no channel is ever full.
        let (quick_jobs, quick_jobs_to_do) = bounded(limits.connections);
        let (jobs, jobs_to_do) = bounded(limits.connections);
        let (returns, returned) = bounded(limits.connections);
        let seats = Seats::new(limits.connections, limits.connections_per_host);
        let transfers = Arc::new(Transfers::new(&limits));
        let (streams, feeder) = Streams::start(&limits)?;
        let streams = Arc::new(streams);
        let gauge =
            Gauge { seats: Arc::clone(&seats), transfers: Arc::clone(&transfers), streams: Arc::clone(&streams) };
        let handlers = limits.handlers;
        let answering = Arc::new(Answering { service, limits, transfers, streams, returns, waker });
        let stopping = Arc::new(AtomicBool::new(false));
        let watch = WatchThread {
            poll,
            listener,
            answering: Arc::clone(&answering),
            seats,
            quick_jobs,
            jobs,
            returns: returned.clone(),
            stopping: Arc::clone(&stopping),
        };
        let mut door = Door { answering, gauge, stopping, returned: Some(returned), threads: vec![feeder] };
        door.threads.push(thread::Builder::new().name("web-watch".into()).spawn(move || watch.run())?);
        for number in 0..handlers {
            let answering = Arc::clone(&door.answering);
            // Neither kind of request waits for a crowd of the other: every second handler takes quick ones last.
            let queues = (quick_jobs_to_do.clone(), jobs_to_do.clone());
            let (first, second) = if number % 2 == 0 { queues } else { (queues.1, queues.0) };
            let handler = thread::Builder::new().name("web-handler".into());
            door.threads.push(handler.spawn(move || answering.run(&first, &second))?);
        }
        Ok(door)
    }

    /// What it has in hand.
    pub fn stats(&self) -> Stats {
        self.gauge.stats()
    }

    /// The same for whoever does not own the door.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Closes the port and every connection, and ends all threads.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Err(error) = self.answering.waker.wake() {
            log::error!("the door cannot be woken to close: {error}");
            return;
        }
        self.answering.streams.stop();
        self.answering.transfers.stop(STOP_TIME);
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_else(|_| log::error!("a thread of the door has panicked"));
        }
        // One that was given back when the watcher had gone would stay open in the channel for as long as there is a sender.
        self.returned.take().into_iter().for_each(|returned| returned.try_iter().for_each(drop));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
