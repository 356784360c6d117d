//! The handshake (BEP 3, "peer protocol"): 68 bytes each way before the first message.

use std::fmt;

use crate::metainfo::{InfoHash, PeerId};

/// Bytes of a handshake: the protocol's name with its length, reserved bits, info hash, peer id.
pub const HANDSHAKE_LENGTH: usize = 1 + PROTOCOL.len() + 8 + 20 + 20;

/// The first byte of every handshake.
const PROTOCOL_LENGTH: u8 = PROTOCOL.len() as u8;

const PROTOCOL: &[u8; 19] = b"BitTorrent protocol";

/// What each side says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The extensions its sender knows.
    pub reserved: Reserved,
    /// The torrent it is about.
    pub info_hash: InfoHash,
    /// Who speaks.
    pub peer_id: PeerId,
}

/// The reserved bits of a handshake. What we set is what we implement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved(pub [u8; 8]);

/// Why bytes are no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// They do not begin with the protocol's name.
    Protocol,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not speak the BitTorrent protocol in the clear")
    }
}

impl std::error::Error for HandshakeError {}

impl Reserved {
    /// What this program implements: the extension protocol (BEP 10), nothing else.
    pub const OURS: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);

    /// Whether the sender speaks the extension protocol (BEP 10).
    pub fn extension_protocol(self) -> bool {
        self.0[5] & 0x10 != 0
    }
}

impl Handshake {
    /// Our handshake for a torrent.
    pub fn ours(info_hash: InfoHash, peer_id: PeerId) -> Handshake {
        Handshake { reserved: Reserved::OURS, info_hash, peer_id }
    }

    /// Whether a handshake may begin with these bytes. Anything else is no BitTorrent in the clear, and often one byte says so.
    pub fn may_begin_with(bytes: &[u8]) -> bool {
        let name = [PROTOCOL_LENGTH].into_iter().chain(*PROTOCOL);
        bytes.iter().zip(name).all(|(byte, wanted)| *byte == wanted)
    }

    /// As it travels.
    pub fn to_bytes(&self) -> [u8; HANDSHAKE_LENGTH] {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        bytes[0] = PROTOCOL_LENGTH;
        bytes[1..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..68].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// From the bytes of the other side.
    pub fn from_bytes(bytes: &[u8; HANDSHAKE_LENGTH]) -> Result<Handshake, HandshakeError> {
        if bytes[0] != PROTOCOL_LENGTH || bytes[1..20] != *PROTOCOL {
            return Err(HandshakeError::Protocol);
        }
        let array = |from: usize| -> [u8; 20] { bytes[from..from + 20].try_into().expect("20 bytes were cut") };
        Ok(Handshake {
            reserved: Reserved(bytes[20..28].try_into().expect("8 bytes were cut")),
            info_hash: InfoHash(array(28)),
            peer_id: PeerId(array(48)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_these_68_bytes() {
        let ours = Handshake::ours(InfoHash([7; 20]), PeerId(*b"-MI0100-abcdefghijkl"));
        let mut golden = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
        golden.extend([7; 20]);
        golden.extend(b"-MI0100-abcdefghijkl");
        assert_eq!(ours.to_bytes().as_slice(), golden);
        assert_eq!(Handshake::from_bytes(&ours.to_bytes()), Ok(ours));
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut bytes = Handshake::ours(InfoHash([7; 20]), PeerId([8; 20])).to_bytes();
        assert!(Handshake::may_begin_with(&[]) && Handshake::may_begin_with(&bytes));
        bytes[5] ^= 1;
        assert!(Handshake::may_begin_with(&bytes[..5]) && !Handshake::may_begin_with(&bytes[..6]));
        assert_eq!(Handshake::from_bytes(&bytes), Err(HandshakeError::Protocol));
    }
}
