//! A request's body as its service reads it: whole already, or as it comes.

use std::{
    io::{self, Cursor, ErrorKind, Read, Write},
    time::Instant,
};

use super::{
    connection::{CONTINUE, Connection},
    framing::BodyDecoder,
    head::Head,
    limits::DoorLimits,
    pace::Pace,
};

/// The payload of a body. `Ok(0)` is its true end; a body that breaks off, is malformed or too slow is an error.
#[derive(Debug)]
pub struct Body<'a> {
    source: Source<'a>,
    received: u64,
}

#[derive(Debug)]
enum Source<'a> {
    Whole(Cursor<Vec<u8>>),
    Stream(BodyStream<'a>),
}

#[derive(Debug)]
struct BodyStream<'a> {
    connection: &'a mut Connection,
    decoder: BodyDecoder,
    pace: Pace,
    owes_continue: bool,
}

impl<'a> Body<'a> {
    /// A body that was read whole.
    pub(super) fn whole(bytes: Vec<u8>) -> Body<'a> {
        Body { source: Source::Whole(Cursor::new(bytes)), received: 0 }
    }

    /// A body that comes in on a connection whose socket blocks for a tick at most.
    pub(super) fn stream(connection: &'a mut Connection, head: &Head, limits: &DoorLimits) -> Body<'a> {
        let stream = BodyStream {
            owes_continue: head.expects_continue() && connection.unread.is_empty(),
            connection,
            decoder: BodyDecoder::new(head.framing()),
            pace: Pace::new(limits, Instant::now()),
        };
        Body { source: Source::Stream(stream), received: 0 }
    }

    /// Bytes of payload that were read so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether nothing of it is left on the connection.
    pub(super) fn is_off_the_wire(&self) -> bool {
        match &self.source {
            Source::Whole(_) => true,
            Source::Stream(stream) => stream.decoder.is_at_end(),
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.source {
            Source::Whole(bytes) => bytes.read(buffer)?,
            Source::Stream(stream) => stream.read(buffer)?,
        };
        self.received += count as u64;
        Ok(count)
    }
}

impl BodyStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.decoder.is_at_end() && !buffer.is_empty() {
            let count = self.receive(buffer)?;
            let decoded = match self.decoder.decode(&mut buffer[..count]) {
                Ok(decoded) => decoded,
                Err(bad) => return Err(io::Error::new(ErrorKind::InvalidData, bad)),
            };
            // What lies behind the body is the next request's, and comes before what is still unread.
            self.connection.unread.splice(..0, buffer[decoded.used..count].iter().copied());
            if decoded.payload > 0 {
                return Ok(decoded.payload);
            }
        }
        Ok(0)
    }

    /// Some bytes off the connection, framing and all.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unread = &mut self.connection.unread;
        if !unread.is_empty() {
            let count = unread.len().min(buffer.len());
            buffer[..count].copy_from_slice(&unread[..count]);
            unread.drain(..count);
            return Ok(count);
        }
        if std::mem::take(&mut self.owes_continue) {
            self.connection.stream.write_all(CONTINUE)?;
        }
        loop {
            match self.connection.stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended within the body"));
                }
                Ok(count) => {
                    self.pace.moved(count, Instant::now());
                    return Ok(count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() > self.pace.deadline() {
                        return Err(io::Error::new(ErrorKind::TimedOut, "the body came in too slowly"));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
