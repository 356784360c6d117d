//! From a request to its answer: what a handler thread does, and a transfer thread at its end.

use std::{
    borrow::Cow,
    io::{self, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, select_biased};
use mio::Waker;
use tiny_http::Method;

use super::{
    HttpService, Request,
    body::Body,
    connection::{Connection, Then},
    feed::Streams,
    head::Head,
    limits::DoorLimits,
    reply::{Reply, ReplyContent, ReplyPart},
    transfer::{Transfers, send_parts},
};

/// A file, or a stretch of one, that a handler sends itself has at most so many bytes.
const SMALL_FILE: u64 = 64 * 1024;

/// From so many bytes on an answer is not copied behind its head.
const LONG_CONTENT: usize = 64 * 1024;

/// A request whose body is there, on its way to a handler.
#[derive(Debug)]
pub struct HandlerJob {
    pub(super) connection: Connection,
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

/// What every thread that answers shares.
pub struct Answering {
    pub(super) service: Arc<dyn HttpService>,
    pub(super) limits: DoorLimits,
    pub(super) transfers: Arc<Transfers>,
    pub(super) streams: Arc<Streams>,
    /// Connections that wait for their socket again go back to the watcher, which the waker tells.
    pub(super) returns: Sender<Connection>,
    pub(super) waker: Waker,
}

impl Answering {
    /// Answers jobs of two queues, the first before the second, until the watcher, who sends them, is gone.
    pub fn run(self: &Arc<Answering>, first: &Receiver<Box<HandlerJob>>, second: &Receiver<Box<HandlerJob>>) {
        loop {
            let job = select_biased! {
                recv(first) -> job => job,
                recv(second) -> job => job,
            };
            let Ok(job) = job else { return };
            let HandlerJob { connection, head, body } = *job;
            let (peer, local) = (connection.peer, connection.local());
            let mut request = Request { head: &head, peer, local, body: Body::whole(body) };
            let reply = self.ask(&mut request);
            let then = if head.keep_alive() { Then::Next } else { Then::Close };
            self.send(connection, &head, reply, then);
        }
    }

    /// Answers a request whose body is read as it comes, on a thread of its own.
    pub fn stream(self: &Arc<Answering>, connection: Connection, head: Head) {
        let Some(permit) = self.transfers.permit(connection.seat.origin()) else {
            return self.send(connection, &head, busy(), Then::Linger);
        };
        let answering = Arc::clone(self);
        let started = self.transfers.start(permit, connection, move |mut connection| {
            let (peer, local) = (connection.peer, connection.local());
            let body = Body::stream(&mut connection, &head, &answering.limits);
            let mut request = Request { head: &head, peer, local, body };
            let reply = answering.ask(&mut request);
            let then = match (request.body.is_off_the_wire(), head.keep_alive()) {
                (false, _) => Then::Linger,
                (true, false) => Then::Close,
                (true, true) => Then::Next,
            };
            if connection.stream.set_nonblocking(true).is_ok() {
                answering.send(connection, &head, reply, then);
            }
        });
        if let Err(error) = started {
            log::warn!("an upload cannot be taken: {error}");
        }
    }

    /// The service's reply, or a 500 when it panics: one bad request must not take a handler with it.
    fn ask(&self, request: &mut Request<'_>) -> Reply {
        let reply = catch_unwind(AssertUnwindSafe(|| self.service.answer(request)));
        reply.unwrap_or_else(|_| Reply::text(500, "this request met a fault of the program; its log says more"))
    }

    /// Sends a reply: at once what fits the socket, files on a thread of their own, and what is left over by the watcher.
    fn send(self: &Arc<Answering>, connection: Connection, head: &Head, reply: Reply, then: Then) {
        let keeps_on = then == Then::Next && !reply.is_stream();
        let length = reply.length();
        let (mut bytes, content) = reply.print(head.version(), keeps_on);
        if *head.method() != Method::Head {
            match content {
                ReplyContent::Bytes(content) => bytes = joined(bytes, content),
                ReplyContent::Omitted(_) => {}
                ReplyContent::Stream(feed) => {
                    let Some(seat) = self.streams.seat(connection.seat.origin()) else {
                        return self.send(connection, head, no_stream(), then);
                    };
                    return self.streams.add(seat, connection, bytes, feed);
                }
                // As parts; see [`AnnounceReply::print`].
                ReplyContent::File { .. } => {}
                ReplyContent::Parts { mut file, parts } if length <= SMALL_FILE => {
                    if let Err(error) = parts.into_iter().try_for_each(|part| read_part(&mut file, part, &mut bytes)) {
                        return log::warn!("a file cannot be read: {error}");
                    }
                }
                ReplyContent::Parts { file, parts } => {
                    let Some(permit) = self.transfers.permit(connection.seat.origin()) else {
                        return self.send(connection, head, busy(), then);
                    };
                    let answering = Arc::clone(self);
                    let started = self.transfers.start(permit, connection, move |connection| {
                        let sent = send_parts(&connection.stream, &bytes, file, parts, &answering.limits);
                        match sent.and_then(|()| connection.stream.set_nonblocking(true)) {
                            Ok(()) => answering.finish(connection, Vec::new(), then),
                            Err(error) => log::debug!("a download broke off: {error}"),
                        }
                    });
                    return started.unwrap_or_else(|error| log::warn!("a download cannot be sent: {error}"));
                }
            }
        }
        self.finish(connection, bytes, then);
    }

    /// Sends the last bytes of an answer, and gives the connection back if it is of further use.
    fn finish(&self, mut connection: Connection, bytes: Vec<u8>, then: Then) {
        // The channel has room for every connection that the door may have. Only a door that has closed takes none back.
        if connection.answer(bytes, then, &self.limits) && self.returns.try_send(connection).is_ok() {
            self.waker.wake().unwrap_or_else(|error| log::warn!("the door cannot be woken: {error}"));
        }
    }
}

/// Head and content as they go out. A long content stays where it is, so that it never lies in memory twice.
fn joined(mut head: Vec<u8>, content: Cow<'static, [u8]>) -> Vec<u8> {
    match content {
        Cow::Owned(mut content) if content.len() > LONG_CONTENT => {
            content.splice(..0, head);
            content
        }
        content => {
            head.extend_from_slice(&content);
            head
        }
    }
}

fn read_part(file: &mut std::fs::File, part: ReplyPart, bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = part.length();
    let range = match part {
        ReplyPart::File(range) => range,
        ReplyPart::Bytes(part) => {
            bytes.extend_from_slice(&part);
            return Ok(());
        }
    };
    file.seek(SeekFrom::Start(range.start))?;
    if file.take(length).read_to_end(bytes)? as u64 == length {
        return Ok(());
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn no_stream() -> Reply {
    Reply::text(503, "this machine has as many open pages as it can tell of all that happens; ask now and then instead")
        .with("Retry-After", "30")
}

fn busy() -> Reply {
    Reply::text(503, "this machine has as many uploads and downloads as it can take; try again in a moment")
        .with("Retry-After", "5")
}
