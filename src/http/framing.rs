//! Where a request's body ends (RFC 9112, section 6): a decoder without I/O, fed with bytes as they come.
//!
//! It works in place: what is payload moves to the front of the buffer that was read into. Chunk-size lines and
//! trailers are bounded, and every line must end in CR LF: what is ambiguous is refused, because two readers that
//! disagree about a body's end is what request smuggling is made of.

use std::fmt;

/// The longest chunk-size line with its extensions, in bytes. Sizes take 16; nobody uses extensions.
pub const MAX_SIZE_LINE: usize = 256;

/// The longest trailer section, in bytes. Its fields are dropped.
pub const MAX_TRAILER: usize = 4 * 1024;

/// How a head says that its body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 when the head says nothing.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What one call of [`BodyDecoder::decode`] made of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the buffer belong to this body; what follows is the next request's.
    pub used: usize,
    /// How many bytes of payload now lie at the buffer's front.
    pub payload: usize,
}

/// A chunked body that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadChunk {
    /// A size that is no hexadecimal number of at most 64 bits.
    Size,
    /// A size line or trailer that is longer than its limit.
    TooLong,
    /// A line or a chunk that does not end in CR LF.
    LineEnd,
}

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadChunk::Size => "a chunk of the body has a malformed size",
            BadChunk::TooLong => "a chunk-size line or trailer of the body is too long",
            BadChunk::LineEnd => "a chunk of the body does not end in CR LF",
        })
    }
}

impl std::error::Error for BadChunk {}

/// Takes the framing off a body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: BodyState,
}

#[derive(Debug)]
enum BodyState {
    /// Plain bytes up to the end.
    Plain(u64),
    /// Within the digits of a chunk's size; `line` bytes of its line have been seen.
    Size {
        size: u64,
        digits: usize,
    },
    /// Behind the digits, where extensions are skipped.
    Extension {
        size: u64,
        line: usize,
    },
    SizeLineFeed {
        size: u64,
    },
    /// Within a chunk.
    Chunk(u64),
    ChunkReturn,
    ChunkLineFeed,
    /// Within the trailer section, of which `seen` bytes have passed; `line` of them in this line.
    Trailer {
        seen: usize,
        line: usize,
    },
    TrailerLineFeed {
        seen: usize,
        last: bool,
    },
    End,
}

impl BodyDecoder {
    /// A decoder at the body's begin.
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::Length(0) => BodyState::End,
            Framing::Length(length) => BodyState::Plain(length),
            Framing::Chunked => BodyState::Size { size: 0, digits: 0 },
        };
        BodyDecoder { state }
    }

    /// Whether the whole body has passed.
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, BodyState::End)
    }

    /// Moves the payload among `buffer` to its front. Stops where the body ends.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, BadChunk> {
        let (mut used, mut payload) = (0, 0);
        while used < buffer.len() && !self.is_at_end() {
            if let BodyState::Plain(left) | BodyState::Chunk(left) = &mut self.state {
                let run = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len() - used);
                *left -= run as u64;
                if used > payload {
                    buffer.copy_within(used..used + run, payload);
                }
                used += run;
                payload += run;
                match self.state {
                    BodyState::Plain(0) => self.state = BodyState::End,
                    BodyState::Chunk(0) => self.state = BodyState::ChunkReturn,
                    _ => {}
                }
            } else {
                self.line_byte(buffer[used])?;
                used += 1;
            }
        }
        Ok(Decoded { used, payload })
    }

    fn line_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.state = match (&self.state, byte) {
            (BodyState::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if *digits == 16 {
                    return Err(BadChunk::Size);
                }
                let digit = (byte as char).to_digit(16).expect("it is a hexadecimal digit");
                BodyState::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (BodyState::Size { digits: 0, .. }, _) => return Err(BadChunk::Size),
            (BodyState::Size { size, .. } | BodyState::Extension { size, .. }, b'\r') => {
                BodyState::SizeLineFeed { size: *size }
            }
            (BodyState::Size { size, digits }, b';' | b' ' | b'\t') => {
                BodyState::Extension { size: *size, line: digits + 1 }
            }
            (BodyState::Size { .. }, _) => return Err(BadChunk::Size),
            (BodyState::Extension { .. }, b'\n' | b'\0') => return Err(BadChunk::LineEnd),
            (BodyState::Extension { line: MAX_SIZE_LINE, .. }, _) => return Err(BadChunk::TooLong),
            (BodyState::Extension { size, line }, _) => BodyState::Extension { size: *size, line: line + 1 },
            (BodyState::SizeLineFeed { size: 0 }, b'\n') => BodyState::Trailer { seen: 0, line: 0 },
            (BodyState::SizeLineFeed { size }, b'\n') => BodyState::Chunk(*size),
            (BodyState::ChunkReturn, b'\r') => BodyState::ChunkLineFeed,
            (BodyState::ChunkLineFeed, b'\n') => BodyState::Size { size: 0, digits: 0 },
            (BodyState::Trailer { seen: MAX_TRAILER, .. }, _) => return Err(BadChunk::TooLong),
            (BodyState::Trailer { seen, line }, b'\r') => {
                BodyState::TrailerLineFeed { seen: seen + 1, last: *line == 0 }
            }
            (BodyState::Trailer { .. }, b'\n' | b'\0') => return Err(BadChunk::LineEnd),
            (BodyState::Trailer { seen, line }, _) => BodyState::Trailer { seen: seen + 1, line: line + 1 },
            (BodyState::TrailerLineFeed { last: true, .. }, b'\n') => BodyState::End,
            (BodyState::TrailerLineFeed { seen, .. }, b'\n') => BodyState::Trailer { seen: *seen, line: 0 },
            _ => return Err(BadChunk::LineEnd),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `parts`, each in a buffer of its own; the payload, whether the end came, and what was left over.
    fn decode(framing: Framing, parts: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), BadChunk> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut payload, mut rest) = (Vec::new(), Vec::new());
        for part in parts {
            let mut buffer = part.to_vec();
            let decoded = decoder.decode(&mut buffer)?;
            payload.extend_from_slice(&buffer[..decoded.payload]);
            rest.extend_from_slice(&buffer[decoded.used..]);
        }
        Ok((payload, decoder.is_at_end(), rest))
    }

    #[test]
    fn a_body_reads_the_same_at_every_split_point() {
        let chunked = b"5\r\nhello\r\n00B;name=value \r\n, planet 42\r\n0\r\nTrailer: dropped\r\n\r\nGET /next";
        let plain = b"hello, planet 42GET /next";
        for (framing, body) in [(Framing::Chunked, &chunked[..]), (Framing::Length(16), &plain[..])] {
            let expected = Ok((b"hello, planet 42".to_vec(), true, b"GET /next".to_vec()));
            for split in 0..=body.len() {
                assert_eq!(decode(framing, &[&body[..split], &body[split..]]), expected, "split at {split}");
            }
            let single: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(decode(framing, &single), expected);
        }
    }

    #[test]
    fn a_body_that_stops_is_not_at_its_end() {
        let body = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 0..body.len() {
            assert!(!decode(Framing::Chunked, &[&body[..end]]).unwrap().1, "cut at {end}");
        }
        assert!(!decode(Framing::Length(6), &[b"hello"]).unwrap().1);
        assert!(decode(Framing::Length(0), &[b""]).unwrap().1);
    }

    #[test]
    fn ambiguous_chunks_are_refused() {
        for (bad, why) in [
            (&b"x\r\n"[..], BadChunk::Size),
            (b"\r\n", BadChunk::Size),
            (b"+5\r\nhello\r\n", BadChunk::Size),
            (b"-1\r\n", BadChunk::Size),
            (b"0x5\r\n", BadChunk::Size),
            (b"5_0\r\n", BadChunk::Size),
            (b"00000000000000001\r\n", BadChunk::Size),
            (b"5\nhello\r\n", BadChunk::Size),
            (b"5;a\nhello\r\n", BadChunk::LineEnd),
            (b"5\rhello", BadChunk::LineEnd),
            (b"5\r\nhelloX", BadChunk::LineEnd),
            (b"5\r\nhello\n", BadChunk::LineEnd),
            (b"5\r\nhello\rX", BadChunk::LineEnd),
            (b"0\r\nTrailer\n", BadChunk::LineEnd),
        ] {
            assert_eq!(decode(Framing::Chunked, &[bad]), Err(why), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn lines_are_bounded_at_the_limit_and_not_before() {
        let extension = |length: usize| [b"1;".to_vec(), vec![b'x'; length - 2], b"\r\n".to_vec()].concat();
        assert!(decode(Framing::Chunked, &[&extension(MAX_SIZE_LINE)]).is_ok());
        assert_eq!(decode(Framing::Chunked, &[&extension(MAX_SIZE_LINE + 1)]), Err(BadChunk::TooLong));
        let trailer = |length: usize| [b"0\r\n".to_vec(), vec![b'x'; length]].concat();
        assert!(decode(Framing::Chunked, &[&trailer(MAX_TRAILER)]).is_ok());
        assert_eq!(decode(Framing::Chunked, &[&trailer(MAX_TRAILER + 1)]), Err(BadChunk::TooLong));
        assert!(decode(Framing::Chunked, &[b"FFFFFFFFFFFFFFFF\r\nx"]).is_ok());
    }
}
