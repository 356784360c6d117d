//! The head of a request (RFC 9112): found, parsed once by httparse, and held to rules that leave no two readings.
//!
//! Stricter than httparse where that is lenient: every line ends in CR LF, the target is a path or the http(s) URL of
//! one, HTTP/1.1 names exactly one host, and the body has exactly one framing. What fails is a [`Fault`] with the status it is answered by.

use std::{fmt, ops::Range, str::FromStr};

use tiny_http::{HTTPVersion, Method, StatusCode};

use super::framing::Framing;

/// The longest head, in bytes, from the method to the empty line. Browsers send 1 KiB, with large cookies 8.
pub const MAX_HEAD: usize = 16 * 1024;

/// The longest request target, in bytes. An announce takes 400.
pub const MAX_TARGET: usize = 8 * 1024;

/// The most header fields.
pub const MAX_FIELDS: usize = 64;

/// A request up to its empty line.
#[derive(Debug)]
pub struct Head {
    raw: Vec<u8>,
    method: Method,
    target: Range<usize>,
    /// The host that a target in absolute-form names.
    authority: Option<Range<usize>>,
    fields: Vec<HeadField>,
    version: HTTPVersion,
    framing: Framing,
    keep_alive: bool,
    expects_continue: bool,
}

/// Name and value, as ranges of the raw head.
#[derive(Debug)]
struct HeadField {
    name: Range<usize>,
    value: Range<usize>,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not HTTP, or HTTP that can be read in two ways.
    Malformed,
    /// A version that is neither 1.0 nor 1.1.
    Version,
    /// More than [`MAX_HEAD`] bytes or [`MAX_FIELDS`] fields.
    TooLarge,
    /// A target of more than [`MAX_TARGET`] bytes.
    TargetTooLong,
    /// A target that is neither a path nor the http(s) URL of one.
    Target,
    /// No host, or more than one.
    Host,
    /// A body whose length is told twice, in two ways, or in a way that is not understood.
    Framing,
    /// An expectation other than `100-continue`.
    Expectation,
}

impl Fault {
    /// The status it is answered by.
    pub fn status(self) -> StatusCode {
        StatusCode(match self {
            Fault::Malformed | Fault::Target | Fault::Host | Fault::Framing => 400,
            Fault::TargetTooLong => 414,
            Fault::Expectation => 417,
            Fault::TooLarge => 431,
            Fault::Version => 505,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Malformed => f.write_str("the request is not well-formed HTTP"),
            Fault::Version => f.write_str("only HTTP/1.0 and HTTP/1.1 are spoken here"),
            Fault::TooLarge => write!(f, "the head exceeds {MAX_HEAD} bytes or {MAX_FIELDS} fields"),
            Fault::TargetTooLong => write!(f, "the address exceeds {MAX_TARGET} bytes"),
            Fault::Target => f.write_str("the request's target must be a path, or an http(s) URL without a user"),
            Fault::Host => f.write_str("the request must name exactly one host"),
            Fault::Framing => {
                f.write_str("the body needs exactly one Content-Length in digits, or Transfer-Encoding: chunked")
            }
            Fault::Expectation => f.write_str("only 100-continue may be expected"),
        }
    }
}

/// How many bytes of `buffer` are a whole head; `None` when its end has not come. The first `searched` bytes are known
/// not to end one. Line ends are not judged here: a head of bare line feeds must be found to be refused.
pub fn end(buffer: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let mut at = from;
    while let Some(found) = buffer[at..].iter().position(|byte| *byte == b'\n') {
        at += found + 1;
        match &buffer[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// How many bytes of empty lines come before a request.
pub fn empty_lines(buffer: &[u8]) -> usize {
    2 * buffer.chunks_exact(2).take_while(|line| line == b"\r\n").count()
}

/// Whether this cannot begin a request, whatever follows: another protocol speaks here, such as TLS.
pub fn is_no_method(buffer: &[u8]) -> bool {
    buffer.first().is_some_and(|byte| *byte != b'\r' && !byte.is_ascii_alphabetic())
}

impl Head {
    /// Reads what [`end`] found to be a whole head.
    pub fn parse(raw: &[u8]) -> Result<Head, Fault> {
        if raw.len() > MAX_HEAD {
            return Err(Fault::TooLarge);
        }
        if !has_strict_line_ends(raw) {
            return Err(Fault::Malformed);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(raw) {
            Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge),
            Err(httparse::Error::Version) => return Err(Fault::Version),
            _ => return Err(Fault::Malformed),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(Fault::Malformed);
        };
        if target.len() > MAX_TARGET {
            return Err(Fault::TargetTooLong);
        }
        let (authority, target) = split_target(target).ok_or(Fault::Target)?;
        let fields = request.headers.iter().map(|field| HeadField {
            name: range_within(raw, field.name.as_bytes()),
            value: range_within(raw, field.value),
        });
        let mut head = Head {
            raw: raw.to_vec(),
            method: Method::from_str(method).map_err(|()| Fault::Malformed)?,
            target: range_within(raw, target.as_bytes()),
            authority: authority.map(|authority| range_within(raw, authority.as_bytes())),
            fields: fields.collect(),
            version: HTTPVersion(1, minor),
            framing: Framing::Length(0),
            keep_alive: minor == 1,
            expects_continue: false,
        };
        head.judge()?;
        Ok(head)
    }

    /// Draws the conclusions that a connection needs, in one pass over the fields.
    fn judge(&mut self) -> Result<(), Fault> {
        let is_1_1 = self.version == (1, 1);
        let (mut hosts, mut framings) = (0, 0);
        for field in &self.fields {
            let (name, value) = (&self.raw[field.name.clone()], &self.raw[field.value.clone()]);
            if name.eq_ignore_ascii_case(b"host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                framings += 1;
                self.framing = Framing::Length(parse_length(value).ok_or(Fault::Framing)?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                framings += 1;
                if !is_1_1 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Framing);
                }
                self.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case(b"connection") {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") && !is_1_1 {
                        self.keep_alive = true;
                    }
                }
            } else if name.eq_ignore_ascii_case(b"expect") {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
                self.expects_continue = is_1_1;
            }
        }
        if framings > 1 {
            return Err(Fault::Framing);
        }
        if hosts > 1 || (hosts == 0 && is_1_1) {
            return Err(Fault::Host);
        }
        Ok(())
    }

    /// What is to be done.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target up to its `?`, still percent-encoded; begins with `/`.
    pub fn path(&self) -> &str {
        let target = self.target();
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        // In absolute-form the path may be left out (RFC 9112, section 3.2.2).
        if path.is_empty() { "/" } else { path }
    }

    /// The target behind its `?`, still percent-encoded; empty when there is none.
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    fn target(&self) -> &str {
        std::str::from_utf8(&self.raw[self.target.clone()]).expect("httparse gave it as a str")
    }

    /// The value of the first field of that name, when it is UTF-8. A host in the target counts before one in its field.
    pub fn field(&self, name: &str) -> Option<&str> {
        if let Some(authority) = self.authority.clone().filter(|_| name.eq_ignore_ascii_case("host")) {
            return std::str::from_utf8(&self.raw[authority]).ok();
        }
        std::str::from_utf8(self.values(name).next()?).ok()
    }

    /// The values of all fields of that name, which together are one list where the field is a list.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it = move |field: &&HeadField| self.raw[field.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_it).map(|field| &self.raw[field.value.clone()])
    }

    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.raw.capacity() + self.fields.capacity() * size_of::<HeadField>()
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub(super) fn version(&self) -> &HTTPVersion {
        &self.version
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        self.framing != Framing::Length(0)
    }

    /// How the body is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client would go on with this connection.
    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) fn expects_continue(&self) -> bool {
        self.expects_continue && self.framing != Framing::Length(0)
    }
}

/// The authority that a target names, if it does, and what of it is path and query; none where it is of no form that
/// is understood (RFC 9112, section 3.2).
fn split_target(target: &str) -> Option<(Option<&str>, &str)> {
    if target.starts_with('/') {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (is_http && !authority.is_empty() && !authority.contains('@')).then_some((Some(authority), path))
}

/// Whether every CR is followed by LF, and every LF preceded by CR.
fn has_strict_line_ends(raw: &[u8]) -> bool {
    let mut previous = 0;
    raw.iter().all(|byte| {
        let fine = (previous == b'\r') == (*byte == b'\n');
        previous = *byte;
        fine
    })
}

/// Digits and nothing else, within 64 bits.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Where `part`, which borrows from `whole`, lies in it.
fn range_within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    // An empty value may be a literal of httparse's own, which lies anywhere.
    if part.is_empty() { 0..0 } else { start..start + part.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_at_all_do_harm(line in "[A-Z]{0,4} ?/?[ -~\\x00-\\xff]{0,20} HTTP/1.[01]", rest in any::<Vec<u8>>()) {
            let bytes = [line.as_bytes(), b"\r\nHost: a\r\n", &rest, b"\r\n\r\n"].concat();
            if let Some(length) = end(&bytes, 0)
                && let Ok(head) = Head::parse(&bytes[..length])
            {
                prop_assert!(head.path().starts_with('/') && head.field("host") == Some("a"));
                prop_assert!(!head.query().contains(char::is_control));
            }
        }
    }

    fn parse(text: &str) -> Result<Head, Fault> {
        assert_eq!(end(text.as_bytes(), 0), Some(text.len()), "{text:?} is no whole head");
        Head::parse(text.as_bytes())
    }

    fn with(fields: &str) -> Result<Head, Fault> {
        parse(&format!("POST /upload HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn a_head_is_found_at_every_split_point_and_read() {
        let text = b"GET /announce?a=%20b HTTP/1.1\r\nHost: tracker:5000\r\nUser-Agent:  \r\nX-Y: z \r\n\r\nrest";
        let length = text.len() - 4;
        for split in 0..length {
            assert_eq!(end(&text[..split], 0), None);
            assert_eq!(end(text, split), Some(length), "searched {split}");
        }
        let head = Head::parse(&text[..length]).unwrap();
        assert_eq!((head.method(), head.path(), head.query()), (&Method::Get, "/announce", "a=%20b"));
        assert_eq!(head.field("HOST"), Some("tracker:5000"));
        assert_eq!((head.field("user-agent"), head.field("x-y"), head.field("x")), (Some(""), Some("z"), None));
        assert!(head.keep_alive());
        assert_eq!(head.framing(), Framing::Length(0));
    }

    #[test]
    fn a_connection_is_kept_as_the_versions_say() {
        let keeps = |text: &str| parse(text).unwrap().keep_alive();
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_body_has_exactly_one_framing() {
        assert_eq!(with("Content-Length: 5\r\n").unwrap().framing(), Framing::Length(5));
        assert_eq!(with("Content-Length: 18446744073709551615\r\n").unwrap().framing(), Framing::Length(u64::MAX));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().framing(), Framing::Chunked);
        for bad in [
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert_eq!(with(bad).unwrap_err(), Fault::Framing, "{bad:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(old).unwrap_err(), Fault::Framing);
    }

    #[test]
    fn shapes_that_two_readers_would_read_differently_are_refused() {
        for bad in ["A: b\r\n folded\r\n", "A : b\r\n", " A: b\r\n", "A\r\n", "A: b\0c\r\n", "A: b\rc\r\n", ": b\r\n"] {
            assert_eq!(with(bad).unwrap_err(), Fault::Malformed, "{bad:?}");
        }
        for bad in
            ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"]
        {
            assert_eq!(parse(bad).unwrap_err(), Fault::Malformed, "{bad:?}");
        }
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n").unwrap_err(), Fault::Host);
        assert_eq!(with("Host: b\r\n").unwrap_err(), Fault::Host);
        assert_eq!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err(), Fault::Target);
        assert_eq!(parse("GET / HTTP/2.0\r\nHost: a\r\n\r\n").unwrap_err(), Fault::Version);
        assert_eq!(with("Expect: a miracle\r\n").unwrap_err(), Fault::Expectation);
    }

    #[test]
    fn a_target_may_be_a_whole_url_whose_host_counts() {
        for (target, host, path, query) in [
            ("http://b:5000/announce?a=b?c", "b:5000", "/announce", "a=b?c"),
            ("HTTP://b/", "b", "/", ""),
            ("https://[::1]:80/x//y", "[::1]:80", "/x//y", ""),
            ("http://b", "b", "/", ""),
            ("http://b?q=/", "b", "/", "q=/"),
            ("/http://b/", "a", "/http://b/", ""),
        ] {
            let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
            assert_eq!((head.field("Host"), head.path(), head.query()), (Some(host), path, query), "{target}");
        }
        for bad in
            ["ftp://b/", "http:///x", "http://", "http:/b", "http://user@b/", "http://?q", "b:80", "*", "//:b://"]
        {
            let read = parse(&format!("GET {bad} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(matches!(read, Err(Fault::Target)) || bad.starts_with('/'), "{bad}");
        }
        // The field is asked for all the same.
        assert_eq!(parse("GET http://b/ HTTP/1.1\r\n\r\n").unwrap_err(), Fault::Host);
    }

    #[test]
    fn size_and_fields_are_bounded_at_the_limit_and_not_before() {
        let fields = |count: usize| with(&"a: b\r\n".repeat(count - 1));
        assert!(fields(MAX_FIELDS).is_ok());
        assert_eq!(fields(MAX_FIELDS + 1).unwrap_err(), Fault::TooLarge);
        let target = |length: usize| parse(&format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(length - 1)));
        assert!(target(MAX_TARGET).is_ok());
        assert_eq!(target(MAX_TARGET + 1).unwrap_err(), Fault::TargetTooLong);
        let frame = "GET / HTTP/1.0\r\na: \r\n\r\n".len();
        let sized = |length: usize| parse(&format!("GET / HTTP/1.0\r\na: {}\r\n\r\n", "b".repeat(length - frame)));
        assert!(sized(MAX_HEAD).is_ok());
        assert_eq!(sized(MAX_HEAD + 1).unwrap_err(), Fault::TooLarge);
    }
}
