//! Answers that go on and on: one thread writes to all of them four times a second, and none costs a thread of its own.
//!
//! A stream that does not take what it was sent gets nothing new meanwhile, so what lies in memory for it is one message, which
//! all share that get the same. One that stands still for a whole grace is closed, and so is one whose client is gone.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fmt,
    io::{ErrorKind, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::{connection::Connection, limits::DoorLimits};
use crate::quota::{Origin, Seat, Seats};

/// How often every stream is looked at: as smooth as an eye wants it.
pub const TICK: Duration = Duration::from_millis(250);

/// Messages that one stream gets at one look, so that none with much to say keeps the others waiting.
const MAX_MESSAGES: usize = 4;

/// Bytes of messages that may lie in memory because clients do not take them. Above it those streams are closed whose message is the
/// oldest: all others share the newest.
const MAX_UNTAKEN: usize = 16 * 1024 * 1024;

/// Bytes that a client may send while it listens, read at once and thrown away.
const SCRATCH_LENGTH: usize = 4096;

/// What a stream is fed from.
pub trait Feed: fmt::Debug + Send {
    /// What is new since it was asked last; nothing, if nothing is. Asked a [`TICK`] apart, once all before was taken, on the
    /// thread that feeds all streams: it must not wait for anything.
    fn news(&mut self, now: Instant) -> Option<Arc<[u8]>>;
}

/// The streams of a door.
#[derive(Debug)]
pub struct Streams {
    seats: Arc<Seats>,
    /// Gone once the door closes.
    to_feeder: Mutex<Option<Sender<Stream>>>,
}

/// One stream, on its way to the feeder or there.
#[derive(Debug)]
struct Stream {
    connection: Connection,
    feed: Box<dyn Feed>,
    /// What is being sent, and how much of it was.
    sending: Arc<[u8]>,
    sent: usize,
    /// When it began with that.
    began: Instant,
    /// When the client last took something, or had taken everything.
    moved: Instant,
    _seat: Seat,
}

impl Streams {
    /// None yet, and the thread that will feed them.
    pub fn start(limits: &DoorLimits) -> std::io::Result<(Streams, JoinHandle<()>)> {
        // Room for all that may be: a stream has its seat before it is sent.
        let (to_feeder, new) = bounded(limits.streams);
        let grace = limits.grace;
        let feeder = thread::Builder::new().name("web-feed".into()).spawn(move || run(&new, grace))?;
        let seats = Seats::new(limits.streams, limits.streams_per_host);
        Ok((Streams { seats, to_feeder: Mutex::new(Some(to_feeder)) }, feeder))
    }

    /// A seat for one more of `origin`, if the caps allow it.
    pub fn seat(&self, origin: Origin) -> Option<Seat> {
        self.seats.take(origin).ok()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seats.total()
    }

    /// Sends `head` on a connection, and then what `feed` has, until the client leaves.
    pub fn add(&self, seat: Seat, mut connection: Connection, head: Vec<u8>, feed: Box<dyn Feed>) {
        // No request follows that will be answered.
        connection.unread = Vec::new();
        let now = Instant::now();
        let stream = Stream { connection, feed, sending: head.into(), sent: 0, began: now, moved: now, _seat: seat };
        let to_feeder = self.to_feeder.lock().unwrap_or_else(PoisonError::into_inner);
        // Only a door that closes takes none.
        if let Some(to_feeder) = to_feeder.as_ref()
            && let Err(TrySendError::Full(_)) = to_feeder.try_send(stream)
        {
            log::warn!("a stream cannot be fed: too many have come at once");
        }
    }

    /// Ends them all, and the thread with them.
    pub fn stop(&self) {
        self.to_feeder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Feeds until the door closes.
fn run(new: &Receiver<Stream>, grace: Duration) {
    let mut streams: Vec<Stream> = Vec::new();
    let mut scratch = vec![0; SCRATCH_LENGTH];
    let mut next = Instant::now();
    loop {
        let came = match streams.is_empty() {
            true => new.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => new.recv_deadline(next),
        };
        match came {
            Ok(mut stream) => {
                // Who has just come waits for nothing.
                if stream.step(Instant::now(), grace, &mut scratch) {
                    streams.push(stream);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                streams.retain_mut(|stream| stream.step(now, grace, &mut scratch));
                close_the_slowest(&mut streams, MAX_UNTAKEN);
                next = Instant::now() + TICK;
            }
        }
    }
}

/// Closes streams until the messages that their clients have not taken fit so many bytes.
fn close_the_slowest(streams: &mut Vec<Stream>, most: usize) {
    // By where a message lies, since many share one: when somebody began with it last, and its bytes.
    let mut untaken: HashMap<*const u8, (Instant, usize)> = HashMap::new();
    for stream in streams.iter().filter(|stream| stream.is_untaken()) {
        let message = untaken.entry(stream.sending.as_ptr()).or_insert((stream.began, stream.sending.len()));
        message.0 = message.0.max(stream.began);
    }
    if untaken.values().map(|(_, bytes)| bytes).sum::<usize>() <= most {
        return;
    }
    let mut newest_first: Vec<_> = untaken.into_iter().collect();
    newest_first.sort_by_key(|(_, (began, _))| Reverse(*began));
    let (mut held, mut kept) = (0, HashSet::new());
    for (message, (_, bytes)) in newest_first {
        held += bytes;
        if held > most && !kept.is_empty() {
            break;
        }
        kept.insert(message);
    }
    streams.retain(|stream| !stream.is_untaken() || kept.contains(&stream.sending.as_ptr()));
}

impl Stream {
    /// Whether some of what it was sent lies here.
    fn is_untaken(&self) -> bool {
        self.sent < self.sending.len()
    }

    /// Sends as much as the client takes at once. Tells whether it is to be kept.
    fn step(&mut self, now: Instant, grace: Duration, scratch: &mut [u8]) -> bool {
        match self.connection.stream.read(scratch) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
        for _ in 0..MAX_MESSAGES {
            while self.sent < self.sending.len() {
                match self.connection.stream.write(&self.sending[self.sent..]) {
                    Ok(count) => (self.sent, self.moved) = (self.sent + count, now),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return now.saturating_duration_since(self.moved) < grace;
                    }
                    Err(_) => return false,
                }
            }
            self.moved = now;
            match self.feed.news(now) {
                Some(news) => (self.sending, self.sent, self.began) = (news, 0, now),
                None => return true,
            }
        }
        true
    }
}
