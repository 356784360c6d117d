//! The query string of an announce or scrape: names and raw bytes, percent-encoded (BEP 3, "trackers").

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode;

use crate::metainfo::InfoHash;

/// How much of a bad value is repeated to whoever sent it, in bytes.
const MAX_ECHO: usize = 40;

/// Why a query is not answered. Each prints as the sentence for `failure reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A field that every query must have is not there.
    Missing(&'static str),
    /// `info_hash` or `peer_id` has another length than 20 bytes.
    Length {
        /// Which of the two.
        field: &'static str,
        /// Bytes that came.
        got: usize,
    },
    /// `port` is no port that could be dialled.
    Port(String),
    /// `port` is that at which the tracker itself is asked.
    TrackersPort(u16),
    /// A scrape of more than [`MAX_SCRAPE`](super::scrape::MAX_SCRAPE) swarms.
    TooManyHashes(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Missing(field) => write!(f, "{field} is missing"),
            Refusal::Length { field, got } => write!(f, "{field} has {got} bytes; it must have exactly 20"),
            Refusal::Port(got) => write!(f, "port={got} cannot be dialled; it must be from 1 to 65535"),
            Refusal::TrackersPort(port) => write!(f, "port={port} is the tracker's own; name that of your client"),
            Refusal::TooManyHashes(most) => write!(f, "a scrape may name {most} info hashes at most"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The fields of a query in their order: the name as it stands, the value decoded.
pub fn fields(query: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    query.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).map(|field| {
        let equals = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
        (&field[..equals], decoded(field.get(equals + 1..).unwrap_or_default()))
    })
}

/// Undoes percent-encoding, and the `+` that HTML forms write for a space.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if value.contains(&b'+') {
        let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return Cow::Owned(percent_decode(&spaced).collect());
    }
    percent_decode(value).into()
}

/// An info hash: 20 bytes, or for people and scripts its 40 hex digits.
pub fn info_hash(value: &[u8]) -> Result<InfoHash, Refusal> {
    let from_hex = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match value.try_into() {
        Ok(bytes) => Ok(InfoHash(bytes)),
        Err(_) => from_hex().ok_or(Refusal::Length { field: "info_hash", got: value.len() }),
    }
}

/// A number in decimal digits, if it is one that fits.
pub fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A stranger's value, fit to be repeated in a message.
pub fn echo(value: &[u8]) -> String {
    value[..value.len().min(MAX_ECHO)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(query: &[u8]) -> Vec<(String, Vec<u8>)> {
        fields(query).map(|(name, value)| (name.escape_ascii().to_string(), value.into_owned())).collect()
    }

    #[test]
    fn fields_are_decoded_to_raw_bytes() {
        let want = [("a", &b"\x00\xff b+"[..]), ("b", b""), ("c", b""), ("d", b"x=y%z"), ("", b"v")];
        let want: Vec<_> = want.map(|(name, value)| (name.to_owned(), value.to_vec())).into();
        assert_eq!(all(b"a=%00%fF+b%2B&b=&&c&d=x=y%z&=v"), want);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn an_info_hash_is_20_bytes_or_40_hex_digits() {
        let hash = InfoHash([0xab; 20]);
        assert_eq!(info_hash(&[0xab; 20]), Ok(hash));
        assert_eq!(info_hash(hash.to_string().as_bytes()), Ok(hash));
        for got in [0, 19, 21, 39, 40, 41] {
            assert_eq!(info_hash(&vec![b'x'; got]), Err(Refusal::Length { field: "info_hash", got }));
        }
    }

    #[test]
    fn a_number_fits_or_is_none_and_a_bad_value_is_shown_escaped_and_shortened() {
        assert_eq!(number::<u64>(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"-1", b"", b"1e3", b"\xff"] {
            assert_eq!(number::<u64>(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(echo(b"\x1b[2J"), r"\x1b[2J");
        assert_eq!(echo(&[b'a'; MAX_ECHO + 1]).len(), MAX_ECHO);
    }
}
