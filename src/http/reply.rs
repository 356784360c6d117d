//! What a request is answered with: a status, fields, and bytes or a stretch of a file.
//!
//! The head is printed by tiny_http's `Response`, without its body and with a length of 0, whose line the door then
//! replaces: tiny_http counts lengths in `usize`, and gives no way to say whether the connection goes on.

use std::{borrow::Cow, fs::File, io, ops::Range};

use tiny_http::{HTTPVersion, Header, Response, StatusCode};

use super::feed::Feed;
use crate::text::{escape, excerpt};

/// The longest sentence that is answered, in bytes: one of our own, and what it repeats of the request.
const MAX_SENTENCE: usize = 4 * 1024;

/// What tiny_http prints last, for a length of 0.
const LENGTH_ZERO: &[u8] = b"Content-Length: 0\r\n\r\n";

/// An answer that has not been sent.
pub struct Reply {
    response: Response<io::Empty>,
    content: ReplyContent,
}

/// What follows an answer's head.
#[derive(Debug)]
pub enum ReplyContent {
    /// Bytes in memory.
    Bytes(Cow<'static, [u8]>),
    /// `length` bytes of a file from `offset` on.
    File {
        /// Open for reading.
        file: File,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Parts of a file, and bytes between them.
    Parts {
        /// Open for reading.
        file: File,
        /// In their order.
        parts: Vec<ReplyPart>,
    },
    /// Whatever a feed has, until the client leaves. The connection ends with it.
    Stream(Box<dyn Feed>),
    /// Nothing, though the head tells the length of what there would be (a 304, RFC 9110 section 15.4.5).
    Omitted(u64),
}

/// One of [`ReplyContent::Parts`].
#[derive(Debug)]
pub enum ReplyPart {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A stretch of the file, as offsets in bytes.
    File(Range<u64>),
}

impl ReplyPart {
    /// Bytes.
    pub fn length(&self) -> u64 {
        match self {
            ReplyPart::Bytes(bytes) => bytes.len() as u64,
            ReplyPart::File(range) => range.end.saturating_sub(range.start),
        }
    }
}

impl Reply {
    /// An answer with bytes of that type.
    pub fn new(status: u16, content_type: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Reply {
        Reply::with_content(status, content_type, ReplyContent::Bytes(bytes.into()))
    }

    /// An answer with any content.
    pub fn with_content(status: u16, content_type: &str, content: ReplyContent) -> Reply {
        let response = Response::new(StatusCode(status), Vec::new(), io::empty(), Some(0), None);
        Reply { response: response.with_chunked_threshold(usize::MAX), content }.with("Content-Type", content_type)
    }

    /// A line of plain text, made harmless: it may end up in a terminal.
    pub fn text(status: u16, sentence: impl std::fmt::Display) -> Reply {
        let sentence = sentence.to_string();
        let line = escape(&excerpt(&sentence, MAX_SENTENCE)) + "\n";
        Reply::new(status, "text/plain; charset=utf-8", line.into_bytes())
    }

    /// The same with one more field. A byte that no field may carry becomes `?`: a name can never end its line.
    pub fn with(mut self, field: &'static str, value: &str) -> Reply {
        let value: Vec<u8> = value.bytes().map(|byte| if matches!(byte, b' '..=b'~') { byte } else { b'?' }).collect();
        self.response.add_header(Header::from_bytes(field, value).expect("both are ASCII"));
        self
    }

    /// Whether it has a field of that name.
    pub fn has(&self, field: &'static str) -> bool {
        self.response.headers().iter().any(|header| header.field.equiv(field))
    }

    /// Whether it goes on and on.
    pub fn is_stream(&self) -> bool {
        matches!(self.content, ReplyContent::Stream(_))
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status_code()
    }

    /// Bytes that follow the head, unless it answers HEAD.
    pub fn length(&self) -> u64 {
        match &self.content {
            ReplyContent::Bytes(bytes) => bytes.len() as u64,
            ReplyContent::File { length, .. } | ReplyContent::Omitted(length) => *length,
            ReplyContent::Parts { parts, .. } => parts.iter().map(ReplyPart::length).sum(),
            ReplyContent::Stream(_) => 0,
        }
    }

    /// The printed head, and what follows it.
    pub fn print(self, version: &HTTPVersion, keep_alive: bool) -> (Vec<u8>, ReplyContent) {
        let (length, is_stream) = (self.length(), self.is_stream());
        let mut head = Vec::with_capacity(512);
        self.response
            .with_header(Header::from_bytes("Server", "minitorrent").expect("both are ASCII"))
            .raw_print(&mut head, HTTPVersion(1, 1), &[], true, None)
            .expect("writing to memory does not fail");
        debug_assert!(head.ends_with(LENGTH_ZERO));
        head.truncate(head.len() - LENGTH_ZERO.len());
        if !is_stream {
            head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        head.extend_from_slice(match (keep_alive, *version <= (1, 0)) {
            (false, _) => b"Connection: close\r\n\r\n",
            (true, true) => b"Connection: keep-alive\r\n\r\n",
            (true, false) => b"\r\n",
        });
        let content = match self.content {
            ReplyContent::File { file, offset, length } => {
                ReplyContent::Parts { file, parts: vec![ReplyPart::File(offset..offset + length)] }
            }
            content => content,
        };
        (head, content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(reply: Reply, keep_alive: bool) -> String {
        String::from_utf8(reply.print(&HTTPVersion(1, 1), keep_alive).0).unwrap()
    }

    #[test]
    fn a_head_tells_length_and_whether_the_connection_goes_on() {
        let kept = print(Reply::text(200, "ok"), true);
        assert!(kept.starts_with("HTTP/1.1 200 OK\r\n"), "{kept}");
        assert!(kept.ends_with("Content-Length: 3\r\n\r\n"), "{kept}");
        assert!(!kept.contains("Connection") && !kept.contains("Transfer-Encoding"), "{kept}");
        assert!(print(Reply::text(200, "ok"), false).ends_with("\r\nConnection: close\r\n\r\n"));
        let huge = Reply::with_content(304, "text/plain", ReplyContent::Omitted(u64::MAX));
        assert!(print(huge, true).contains("Content-Length: 18446744073709551615\r\n"));
    }

    #[test]
    fn a_sentence_with_a_strangers_text_is_harmless_in_a_terminal() {
        let (_, content) = Reply::text(400, "no\u{9b}2J\n\u{202e}").print(&HTTPVersion(1, 1), true);
        let ReplyContent::Bytes(bytes) = content else { panic!("{content:?}") };
        assert_eq!(String::from_utf8_lossy(&bytes), "no\\u{9b}2J\\n\\u{202e}\n");
    }

    #[test]
    fn a_field_never_ends_its_line() {
        let reply = Reply::text(200, "ok").with("X-Name", "a\r\nSet-Cookie: b\0\u{e4}");
        assert!(print(reply, true).contains("X-Name: a??Set-Cookie: b???\r\n"));
    }
}
