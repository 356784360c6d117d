//! The two names of 20 bytes that BEP 3 gives: of a torrent, and of a peer.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;

/// Names a torrent: the SHA-1 of its bencoded info dictionary (BEP 3). Prints as 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

/// Names a peer for as long as its process runs (BEP 3; ours begin with the client code of BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

/// A text that is not 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnInfoHash;

/// A part of the version, of which a peer id has one digit each.
const fn digit(part: &str) -> u8 {
    assert!(part.len() == 1, "a peer id has one digit for each part of the version");
    part.as_bytes()[0]
}

impl PeerId {
    /// What our peer ids begin with (BEP 20, Azureus style): `MI` for minitorrent, then the version.
    pub const PREFIX: [u8; 8] = [
        b'-',
        b'M',
        b'I',
        digit(env!("CARGO_PKG_VERSION_MAJOR")),
        digit(env!("CARGO_PKG_VERSION_MINOR")),
        digit(env!("CARGO_PKG_VERSION_PATCH")),
        b'0',
        b'-',
    ];

    /// Our peer id with a random tail.
    pub fn ours(tail: [u8; 12]) -> PeerId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&PeerId::PREFIX);
        id[8..].copy_from_slice(&tail);
        PeerId(id)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for InfoHash {
    type Err = NotAnInfoHash;

    fn from_str(text: &str) -> Result<InfoHash, NotAnInfoHash> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NotAnInfoHash)?;
        bytes.try_into().map(InfoHash).map_err(|_| NotAnInfoHash)
    }
}

impl fmt::Display for NotAnInfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an info hash is 40 hex digits")
    }
}

impl std::error::Error for NotAnInfoHash {}

/// Printable as it is, or escaped: a peer id is any 20 bytes.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_hash_reads_what_it_prints() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(text.parse::<InfoHash>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<InfoHash>().unwrap().to_string(), text);
        for bad in ["", "01", &text[1..], "g123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(bad.parse::<InfoHash>(), Err(NotAnInfoHash));
        }
    }

    #[test]
    fn a_peer_id_of_any_bytes_prints_on_one_line() {
        let prefix = String::from_utf8(PeerId::PREFIX.to_vec()).unwrap();
        assert!(prefix.starts_with("-MI") && prefix.ends_with("0-"), "{prefix}");
        assert_eq!(PeerId::ours(*b"\n\x1babcdefghij").to_string(), prefix + r"\n\x1babcdefghij");
    }
}
