//! How a connection begins: the handshake of BEP 3, and where a peer that has connected tries that first, an encrypted one
//! before it ([`mse`]). Everything here has to be done by a deadline.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{End, SharedTorrent, exchanges::Exchanges};
use crate::{
    metainfo::InfoHash,
    quota::Origin,
    wire::{
        HANDSHAKE_LENGTH, Handshake,
        mse::{self, Ciphers, MseStep, PRIVATE_KEY_LENGTH, Responder},
    },
};

/// How long the other side may take over its handshake.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take over an encrypted one, and the one inside.
const ENCRYPTED_TIMEOUT: Duration = Duration::from_secs(5);

/// A handshake up to its info hash, which is enough to answer it.
const UP_TO_INFO_HASH: usize = HANDSHAKE_LENGTH - 20;

/// How a handshake names its torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// In the clear.
    InfoHash(InfoHash),
    /// Encrypted: [`mse::request_hash`].
    RequestHash([u8; 20]),
}

/// A connection before its first message.
pub struct Opening<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
    /// What was read and not yet used, decrypted.
    read: Vec<u8>,
    ciphers: Option<Ciphers>,
    /// What an encrypted handshake was about.
    requested: Option<InfoHash>,
}

/// What the handshake leaves to the session.
pub struct Unread {
    /// What was read behind the handshake, decrypted.
    pub bytes: Vec<u8>,
    /// Where the stream goes on encrypted.
    pub ciphers: Option<Ciphers>,
}

impl<'a> Opening<'a> {
    /// A connection on which nothing has been read.
    pub fn new(stream: &'a TcpStream) -> Opening<'a> {
        Opening { stream, deadline: Instant::now() + TIMEOUT, read: Vec::new(), ciphers: None, requested: None }
    }

    /// Goes through an encrypted handshake, if that is what comes: what does not begin like one in the clear.
    pub fn decrypt(
        &mut self,
        exchanges: &Exchanges,
        route: impl Fn(Wanted) -> Option<Arc<SharedTorrent>>,
    ) -> Result<(), End> {
        while Handshake::may_begin_with(&self.read) {
            if self.read.len() >= UP_TO_INFO_HASH {
                return Ok(());
            }
            self.fill(UP_TO_INFO_HASH.min(self.read.len() + 1), UP_TO_INFO_HASH)?;
        }
        self.deadline = self.deadline.min(Instant::now() + ENCRYPTED_TIMEOUT);
        let mut responder = Responder::default();
        loop {
            responder.feed(&std::mem::take(&mut self.read));
            match responder.step().map_err(End::Encrypted)? {
                MseStep::Read => self.fill(1, mse::MAX_READ)?,
                MseStep::Exchange => {
                    let mut private = [0; PRIVATE_KEY_LENGTH];
                    getrandom::fill(&mut private).map_err(|error| std::io::Error::other(error.to_string()))?;
                    let reached = || self.stream.local_addr().ok().map(|reached| reached.ip());
                    let origin = Origin::of_peer(self.stream.peer_addr()?.ip(), reached);
                    let permit = exchanges.begin(origin, self.deadline).ok_or(End::TooManyExchanges)?;
                    let ours = responder.exchange(private);
                    drop(permit);
                    self.write(&ours)?;
                }
                MseStep::Torrent(hash) => {
                    let share = route(Wanted::RequestHash(hash)).ok_or(End::UnknownRequest)?;
                    let info_hash = share.metainfo.info_hash();
                    responder.torrent(info_hash);
                    self.requested = Some(info_hash);
                }
                MseStep::Done(established) => {
                    self.write(&established.answer)?;
                    (self.read, self.ciphers) = (established.begun, established.ciphers);
                    return Ok(());
                }
            }
        }
    }

    /// The torrent that the handshake is about; the rest of it may come later.
    pub fn info_hash(&mut self) -> Result<InfoHash, End> {
        self.fill_handshake(UP_TO_INFO_HASH)?;
        let mut bytes = [0; HANDSHAKE_LENGTH];
        bytes[..UP_TO_INFO_HASH].copy_from_slice(&self.read[..UP_TO_INFO_HASH]);
        let info_hash = Handshake::from_bytes(&bytes).map_err(End::Handshake)?.info_hash;
        match self.requested {
            Some(requested) if requested != info_hash => Err(End::OtherTorrent(info_hash)),
            _ => Ok(info_hash),
        }
    }

    /// All of the handshake.
    pub fn handshake(&mut self) -> Result<Handshake, End> {
        self.fill_handshake(HANDSHAKE_LENGTH)?;
        let bytes = self.read.drain(..HANDSHAKE_LENGTH).collect::<Vec<u8>>();
        Handshake::from_bytes(bytes.as_slice().try_into().expect("as many bytes were cut")).map_err(End::Handshake)
    }

    /// Sends something of ours.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut bytes = bytes.to_vec();
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.outgoing.apply(&mut bytes);
        }
        Ok((&mut &*self.stream).write_all(&bytes)?)
    }

    /// What is left for the session.
    pub fn unread(self) -> Unread {
        Unread { bytes: self.read, ciphers: self.ciphers }
    }

    /// Reads a handshake up to there and no further; a first byte of another protocol ends it there.
    fn fill_handshake(&mut self, total: usize) -> Result<(), End> {
        loop {
            if !Handshake::may_begin_with(&self.read) {
                return Err(End::Handshake(crate::wire::HandshakeError::Protocol));
            }
            if self.read.len() >= total {
                return Ok(());
            }
            self.fill(self.read.len() + 1, total)?;
        }
    }

    /// Reads until there are so many bytes, and no more than that many in all.
    fn fill(&mut self, least: usize, most: usize) -> Result<(), End> {
        let mut have = self.read.len();
        self.read.resize(most.max(have), 0);
        let filled = self.fill_buffer(&mut have, least);
        self.read.truncate(have);
        filled
    }

    fn fill_buffer(&mut self, have: &mut usize, least: usize) -> Result<(), End> {
        while *have < least {
            let rest = self.deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(End::Silent);
            }
            self.stream.set_read_timeout(Some(rest))?;
            match (&mut &*self.stream).read(&mut self.read[*have..]) {
                Ok(0) => return Err(End::ClosedByPeer),
                Ok(got) => {
                    if let Some(ciphers) = &mut self.ciphers {
                        ciphers.incoming.apply(&mut self.read[*have..*have + got]);
                    }
                    *have += got;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Silent);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
