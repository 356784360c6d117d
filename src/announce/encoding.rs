//! Answers in gzip and deflate (RFC 9110, "Content-Encoding"), which some trackers send whether or not they were asked to.
//! Pure; what comes out is bounded, since ten kilobytes can hold ten megabytes.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::{announce::error::AnnounceError, net::read_bounded};

/// How many times its own size a body may unfold to beyond [`SMALL`]. A metainfo is mostly hashes, which do not fold at all;
/// what unfolds to more is made to fill memory.
const MAX_EXPANSION: u64 = 16;

/// What a body may unfold to however small it is, in bytes.
const SMALL: u64 = 1024 * 1024;

/// What gzip begins with, whatever the header says.
const GZIP: &[u8] = b"\x1f\x8b";

/// The content of a body that is encoded so; at most `max_bytes`.
pub fn decode(encoding: &str, bytes: Vec<u8>, max_bytes: u64) -> Result<Vec<u8>, AnnounceError> {
    let max_bytes = max_bytes.min(SMALL.max(MAX_EXPANSION * bytes.len() as u64));
    let encoding = encoding.trim().to_ascii_lowercase();
    if bytes.starts_with(GZIP) {
        return read(MultiGzDecoder::new(&bytes[..]), max_bytes).ok_or(AnnounceError::Encoding("gzip".to_owned()))?;
    }
    match encoding.as_str() {
        // What is no gzip is plain: a proxy has decoded it, and has left the header.
        "" | "identity" | "gzip" | "x-gzip" => Ok(bytes),
        // Some servers mean zlib's format by it, as they should, and some the bare one.
        "deflate" => read(ZlibDecoder::new(&bytes[..]), max_bytes)
            .or_else(|| read(DeflateDecoder::new(&bytes[..]), max_bytes))
            .unwrap_or(Ok(bytes)),
        _ => Err(AnnounceError::Encoding(encoding.escape_default().to_string())),
    }
}

/// All of it, or that it is too large; `None` where it is broken.
fn read(decoder: impl Read, max_bytes: u64) -> Option<Result<Vec<u8>, AnnounceError>> {
    read_bounded(decoder, max_bytes).ok().map(|bytes| bytes.ok_or(AnnounceError::TooLarge(max_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, read};

    const ANSWER: &[u8] = b"d8:intervali7e5:peers6:\x01\x02\x03\x04\0\x50e";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        all(read::GzEncoder::new(bytes, Compression::best()))
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        all(read::ZlibEncoder::new(bytes, Compression::best()))
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        all(read::DeflateEncoder::new(bytes, Compression::best()))
    }

    fn all(mut encoder: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        encoder.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_form_of_an_answer_is_read() {
        let two = [gzip(&ANSWER[..9]), gzip(&ANSWER[9..])].concat();
        for (encoding, bytes) in [
            ("", ANSWER.to_vec()),
            ("identity", ANSWER.to_vec()),
            ("gzip", gzip(ANSWER)),
            (" X-GZIP ", gzip(ANSWER)),
            ("gzip", two),
            ("", gzip(ANSWER)),
            ("gzip", ANSWER.to_vec()),
            ("deflate", zlib(ANSWER)),
            ("deflate", deflate(ANSWER)),
            ("deflate", gzip(ANSWER)),
            ("deflate", ANSWER.to_vec()),
        ] {
            assert_eq!(decode(encoding, bytes, 100).unwrap(), ANSWER, "{encoding:?}");
        }
    }

    #[test]
    fn the_limit_is_one_of_what_comes_out() {
        let mebibyte = 1 << 20;
        for (encoding, encode) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("deflate", zlib), ("deflate", deflate)] {
            assert!(decode(encoding, encode(&vec![0; mebibyte]), mebibyte as u64).is_ok(), "{encoding}");
            let over = decode(encoding, encode(&vec![0; mebibyte + 1]), mebibyte as u64);
            assert!(matches!(over, Err(AnnounceError::TooLarge(_))), "{encoding}");
        }
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 12_000, "{}", bomb.len());
        assert!(matches!(decode("gzip", bomb.clone(), mebibyte as u64), Err(AnnounceError::TooLarge(_))));
        let where_much_is_allowed = decode("gzip", bomb, u64::MAX / 2);
        assert!(matches!(where_much_is_allowed, Err(AnnounceError::TooLarge(SMALL))));
        assert!(decode("", vec![0; 4 * mebibyte], u64::MAX / 2).is_ok(), "what is not packed is not meant");
    }

    #[test]
    fn what_is_broken_or_unknown_is_refused() {
        let whole = gzip(ANSWER);
        for end in 2..whole.len() {
            assert!(
                matches!(decode("gzip", whole[..end].to_vec(), 100), Err(AnnounceError::Encoding(_))),
                "cut at {end}"
            );
        }
        let error = decode("br\x1b", ANSWER.to_vec(), 100).unwrap_err().to_string();
        assert!(error.starts_with("the answer cannot be decoded: it claims to be \"br"), "{error}");
        assert!(!error.contains('\x1b'));
    }
}
