//! Long transfers: bodies that are read as they come, and files that are sent. Each runs on a thread of its own for as
//! long as it lasts, so that the few handlers stay free for announces.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{connection::Connection, limits::DoorLimits, pace::Pace, reply::ReplyPart};
use crate::quota::{Origin, Seat, Seats};

/// How long a transfer's socket blocks before its pace is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Bytes that are copied at once.
const COPY_LENGTH: usize = 128 * 1024;

/// The transfers that are running.
#[derive(Debug)]
pub struct Transfers {
    seats: Arc<Seats>,
    running: Mutex<Running>,
    one_ended: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    stopping: bool,
    sockets: HashMap<u64, TcpStream>,
}

/// Leave to run one transfer.
#[derive(Debug)]
pub struct Permit {
    _seat: Seat,
}

impl Transfers {
    /// None running, within the caps of `limits`.
    pub fn new(limits: &DoorLimits) -> Transfers {
        let seats = Seats::new(limits.transfers, limits.transfers_per_host);
        Transfers { seats, running: Mutex::default(), one_ended: Condvar::new() }
    }

    /// Leave for `origin` to run one more, if the caps allow it.
    pub fn permit(&self, origin: Origin) -> Option<Permit> {
        self.seats.take(origin).ok().map(|seat| Permit { _seat: seat })
    }

    /// How many are running.
    pub fn count(&self) -> usize {
        self.seats.total()
    }

    /// Runs `work` on a thread of its own, with the connection's socket set to block for a tick at most.
    pub fn start(
        self: &Arc<Transfers>,
        permit: Permit,
        connection: Connection,
        work: impl FnOnce(Connection) + Send + 'static,
    ) -> io::Result<()> {
        let socket = connection.stream.try_clone()?;
        connection.stream.set_nonblocking(false)?;
        connection.stream.set_read_timeout(Some(TICK))?;
        connection.stream.set_write_timeout(Some(TICK))?;
        let ended = Ended { number: self.enlist(socket)?, transfers: Arc::clone(self) };
        thread::Builder::new().name("web-transfer".into()).spawn(move || {
            // Dropped last: whoever waits for the end finds nothing of this transfer left.
            let _ended = ended;
            let _permit = permit;
            work(connection);
        })?;
        Ok(())
    }

    fn enlist(&self, socket: TcpStream) -> io::Result<u64> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.stopping {
            return Err(io::Error::other("the door is closing"));
        }
        let number = running.next;
        running.next += 1;
        running.sockets.insert(number, socket);
        Ok(number)
    }

    /// Breaks off what is running and waits until it has ended, `patience` at most.
    pub fn stop(&self, patience: Duration) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.stopping = true;
        for socket in running.sockets.values() {
            // A socket that cannot be shut is shut already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let waited = self.one_ended.wait_timeout_while(running, patience, |running| !running.sockets.is_empty());
        drop(waited);
    }
}

/// Strikes a transfer off the list when its thread ends, by whatever way.
struct Ended {
    transfers: Arc<Transfers>,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.transfers.running.lock().unwrap_or_else(PoisonError::into_inner).sockets.remove(&self.number);
        self.transfers.one_ended.notify_all();
    }
}

/// Sends `head`, then the parts of `file` and what is between them. It is an error when the file turns out shorter.
pub fn send_parts(
    stream: &TcpStream,
    head: &[u8],
    mut file: File,
    parts: Vec<ReplyPart>,
    limits: &DoorLimits,
) -> io::Result<()> {
    let mut pace = Pace::new(limits, Instant::now());
    send(stream, head, &mut pace)?;
    let mut buffer = vec![0; COPY_LENGTH];
    for part in parts {
        let mut left = part.length();
        match part {
            ReplyPart::Bytes(bytes) => send(stream, &bytes, &mut pace)?,
            ReplyPart::File(range) => {
                file.seek(SeekFrom::Start(range.start))?;
                while left > 0 {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(COPY_LENGTH);
                    file.read_exact(&mut buffer[..count])?;
                    send(stream, &buffer[..count], &mut pace)?;
                    left -= count as u64;
                }
            }
        }
    }
    Ok(())
}

/// Sends `bytes` over a socket that blocks for a tick at most, unless the client takes them too slowly.
fn send(mut stream: &TcpStream, mut bytes: &[u8], pace: &mut Pace) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => {
                bytes = &bytes[count..];
                pace.moved(count, Instant::now());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() > pace.deadline() {
                    return Err(io::Error::new(ErrorKind::TimedOut, "the answer was taken too slowly"));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
