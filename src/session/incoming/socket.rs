//! The receiving end of a socket: a small buffer for messages, and a way past it for the bytes of blocks.
//!
//! Time limits are kept here. A peer may be silent between messages for a while; once a message has begun, all of it
//! has to come within a deadline, so that one byte a minute holds nothing open.

use std::{
    io::{self, ErrorKind, IoSliceMut, Read},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{session::End, wire::mse::Cipher};

/// How long a peer may be silent between messages. Keep-alives are due every 2 minutes (BEP 3).
const MAX_SILENCE: Duration = Duration::from_secs(150);

/// How long a message may take from its first byte to its last; for a block of 16 KiB that is 273 bytes a second.
const MAX_FRAME_TIME: Duration = Duration::from_secs(60);

/// How often a waiting read looks at the clock.
const TICK: Duration = Duration::from_secs(5);

/// The buffer's size, in bytes, while no longer message is under way: a few control messages and the head of a block.
const SMALL: usize = 2048;

/// Bytes read past a block's end at most: the head of the next block and what little may stand between. What is read
/// too far is copied once more.
const LOOK_AHEAD: usize = 256;

/// A socket's incoming bytes.
#[derive(Debug)]
pub struct SocketReader {
    socket: Arc<TcpStream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    last_heard: Instant,
    frame_began: Option<Instant>,
    /// Where the stream is encrypted.
    cipher: Option<Cipher>,
}

impl SocketReader {
    /// Reads from this socket from now on, behind what has been read, which is decrypted already.
    pub fn new(socket: Arc<TcpStream>, read: Vec<u8>, cipher: Option<Cipher>) -> io::Result<SocketReader> {
        socket.set_read_timeout(Some(TICK))?;
        let (end, mut buffer) = (read.len(), read);
        buffer.resize(end.max(SMALL), 0);
        Ok(SocketReader { socket, buffer, start: 0, end, last_heard: Instant::now(), frame_began: None, cipher })
    }

    /// The bytes that have come and were not consumed.
    pub fn filled(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes bytes off the front: the end of a message, unless a block is to follow.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.end, "consumed more than there is");
        self.frame_began = None;
    }

    /// Waits until at least `total` bytes are there.
    pub fn fill(&mut self, total: usize) -> Result<(), End> {
        self.make_room(total);
        while self.end - self.start < total {
            let mut buffer = std::mem::take(&mut self.buffer);
            let got = self.read(&mut [IoSliceMut::new(&mut buffer[self.end..])], self.end > self.start);
            self.buffer = buffer;
            self.end += got?;
        }
        Ok(())
    }

    /// Reads exactly these bytes: what is in the buffer first, the rest straight from the socket.
    pub fn read_into(&mut self, target: &mut [u8]) -> Result<(), End> {
        self.read_on(target)?;
        self.frame_began = None;
        Ok(())
    }

    fn read_on(&mut self, target: &mut [u8]) -> Result<(), End> {
        let buffered = target.len().min(self.end - self.start);
        target[..buffered].copy_from_slice(&self.buffer[self.start..self.start + buffered]);
        self.start += buffered;
        let mut at = buffered;
        while at < target.len() {
            // The buffer is empty here, so what comes after the target may go to its front.
            (self.start, self.end) = (0, 0);
            let mut buffer = std::mem::take(&mut self.buffer);
            let rest = target.len() - at;
            let mut parts = [IoSliceMut::new(&mut target[at..]), IoSliceMut::new(&mut buffer[..LOOK_AHEAD])];
            let got = self.read(&mut parts, true);
            self.buffer = buffer;
            let got = got?;
            at += got.min(rest);
            self.end = got.saturating_sub(rest);
        }
        Ok(())
    }

    /// Steps over exactly that many bytes.
    pub fn skip(&mut self, mut bytes: usize) -> Result<(), End> {
        let mut void = [0; 1024];
        while bytes > 0 {
            let part = bytes.min(void.len());
            self.read_on(&mut void[..part])?;
            bytes -= part;
        }
        self.frame_began = None;
        Ok(())
    }

    /// We have not listened for a while; what did not come until now is not late.
    pub fn forgive(&mut self, now: Instant) {
        self.last_heard = now;
    }

    fn make_room(&mut self, total: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > SMALL && total <= SMALL {
                self.buffer = vec![0; SMALL];
            }
        }
        if self.start + total > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.buffer.resize(total.max(self.buffer.len()), 0);
        }
    }

    /// One read, however many waits that takes.
    fn read(&mut self, parts: &mut [IoSliceMut<'_>], within_frame: bool) -> Result<usize, End> {
        if within_frame {
            let began = *self.frame_began.get_or_insert(self.last_heard);
            if began.elapsed() > MAX_FRAME_TIME {
                return Err(End::Slow);
            }
        }
        loop {
            match (&*self.socket).read_vectored(parts) {
                Ok(0) => return Err(End::ClosedByPeer),
                Ok(got) => {
                    self.last_heard = Instant::now();
                    if let Some(cipher) = &mut self.cipher {
                        decrypt(cipher, parts, got);
                    }
                    return Ok(got);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.frame_began.is_some_and(|began| began.elapsed() > MAX_FRAME_TIME) {
                        return Err(End::Slow);
                    }
                    if self.last_heard.elapsed() > MAX_SILENCE {
                        return Err(End::Silent);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Io(error)),
            }
        }
    }
}

/// Decrypts the first `got` bytes of these buffers.
fn decrypt(cipher: &mut Cipher, parts: &mut [IoSliceMut<'_>], mut got: usize) {
    for part in parts {
        let here = got.min(part.len());
        cipher.apply(&mut part[..here]);
        got -= here;
    }
}
