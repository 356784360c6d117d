//! Bencode (BEP 3, "bencoding"): a checked view of bytes, and values back to bytes.
//!
//! Reading checks the whole input once and builds nothing: a [`BencodeNode`] is a span of the input that is known to be one
//! value, and its items and entries are found when they are asked for. So memory does not depend on what a stranger
//! nests, and [`BencodeNode::raw`] is the exact span that an info hash is made of. Dictionaries keep the order they came in,
//! because real files break the rule that keys ascend; among equal keys the first one counts. Writing sorts nothing:
//! [`Encoder`] asks its caller for keys in order and checks that in debug builds.
//!
//! Nothing here knows what a torrent is.

use std::fmt;

/// How deep lists and dictionaries may nest. A metainfo needs 5; the limit keeps recursion off the stack's end.
pub const MAX_DEPTH: usize = 64;

/// How many values one input may hold unless the caller says less. Whatever is built of them takes a few dozen bytes
/// each, where one may cost two on the wire.
pub const MAX_NODES: usize = 4_000_000;

/// One value: bytes that were checked to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BencodeNode<'a> {
    raw: &'a [u8],
}

/// The four kinds of values.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `i…e`, within 64 bits.
    Integer(i64),
    /// `N:…`
    Bytes(&'a [u8]),
    /// `l…e`
    List(Items<'a>),
    /// `d…e`, in the order of the input.
    Dict(Entries<'a>),
}

/// The items of a list.
#[derive(Debug, Clone)]
pub struct Items<'a>(Decoder<'a>);

/// The entries of a dictionary, in the order of the input.
#[derive(Debug, Clone)]
pub struct Entries<'a>(Decoder<'a>);

/// Why an input is not bencode, and the offset in bytes at which that showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BencodeError {
    /// What was wrong.
    pub kind: ErrorKind,
    /// Offset in the input, in bytes.
    pub at: usize,
}

/// What can be wrong with bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input ends within a value.
    Truncated,
    /// Bytes follow after the value's end.
    Trailing,
    /// No value begins with this byte.
    UnknownType(u8),
    /// An integer that is empty, has leading zeros, is `-0` or exceeds 64 bits.
    BadInteger,
    /// A string length that has leading zeros or exceeds the input.
    BadLength,
    /// A dictionary key that is no string.
    BadKey,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// More values than this.
    TooMany(usize),
}

impl fmt::Display for BencodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Truncated => write!(f, "the bencoded data ends within a value")?,
            ErrorKind::Trailing => write!(f, "bytes follow after the bencoded value")?,
            ErrorKind::UnknownType(byte) => write!(f, "no bencoded value begins with byte 0x{byte:02x}")?,
            ErrorKind::BadInteger => write!(f, "a malformed bencoded integer")?,
            ErrorKind::BadLength => write!(f, "a malformed bencoded string length")?,
            ErrorKind::BadKey => write!(f, "a dictionary key that is no string")?,
            ErrorKind::TooDeep => write!(f, "lists and dictionaries nested more than {MAX_DEPTH} deep")?,
            ErrorKind::TooMany(limit) => write!(f, "more than {limit} bencoded values")?,
        }
        write!(f, " (at byte {})", self.at)
    }
}

impl std::error::Error for BencodeError {}

/// Reads an input that is one value and nothing else.
pub fn decode(input: &[u8]) -> Result<BencodeNode<'_>, BencodeError> {
    let (node, used) = decode_prefix(input)?;
    if used < input.len() {
        return Err(BencodeError { kind: ErrorKind::Trailing, at: used });
    }
    Ok(node)
}

/// Reads the value that an input begins with, and tells how many bytes it took.
pub fn decode_prefix(input: &[u8]) -> Result<(BencodeNode<'_>, usize), BencodeError> {
    decode_prefix_within(input, MAX_NODES)
}

/// The same, of at most `max_nodes` values.
pub fn decode_prefix_within(input: &[u8], max_nodes: usize) -> Result<(BencodeNode<'_>, usize), BencodeError> {
    let mut decoder = Decoder { input, at: 0, nodes: 0, max_nodes };
    let node = decoder.node(0)?;
    Ok((node, decoder.at))
}

impl<'a> BencodeNode<'a> {
    /// The exact bytes this value was read from.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// What kind of value it is.
    pub fn value(self) -> Value<'a> {
        let mut decoder = Decoder { input: self.raw, at: 1, nodes: 0, max_nodes: usize::MAX };
        match self.raw[0] {
            b'i' => Value::Integer(decoder.integer().expect("a node was checked")),
            b'l' => Value::List(Items(decoder)),
            b'd' => Value::Dict(Entries(decoder)),
            _ => {
                decoder.at = 0;
                Value::Bytes(decoder.string().expect("a node was checked"))
            }
        }
    }

    /// The bytes of a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.value() {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// An integer.
    pub fn as_integer(self) -> Option<i64> {
        match self.value() {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(self) -> Option<Items<'a>> {
        match self.value() {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary, in the order of the input.
    pub fn as_dict(self) -> Option<Entries<'a>> {
        match self.value() {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`, when this is a dictionary that has it.
    pub fn get(self, key: &[u8]) -> Option<BencodeNode<'a>> {
        self.as_dict()?.find(|(name, _)| *name == key).map(|(_, node)| node)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = BencodeNode<'a>;

    fn next(&mut self) -> Option<BencodeNode<'a>> {
        // The list was checked whole; only its end is no value.
        self.0.node(0).ok()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], BencodeNode<'a>);

    fn next(&mut self) -> Option<(&'a [u8], BencodeNode<'a>)> {
        Some((self.0.string().ok()?, self.0.node(0).ok()?))
    }
}

#[derive(Debug, Clone)]
struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    nodes: usize,
    max_nodes: usize,
}

impl<'a> Decoder<'a> {
    /// Steps over one value and checks it.
    fn node(&mut self, depth: usize) -> Result<BencodeNode<'a>, BencodeError> {
        let start = self.at;
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            return Err(self.error(ErrorKind::TooMany(self.max_nodes)));
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                self.integer()?;
            }
            b'0'..=b'9' => {
                self.string()?;
            }
            b'l' | b'd' if depth >= MAX_DEPTH => return Err(self.error(ErrorKind::TooDeep)),
            b'l' => {
                self.at += 1;
                while !self.ends()? {
                    self.node(depth + 1)?;
                }
            }
            b'd' => {
                self.at += 1;
                while !self.ends()? {
                    if !self.peek()?.is_ascii_digit() {
                        return Err(self.error(ErrorKind::BadKey));
                    }
                    self.string()?;
                    self.node(depth + 1)?;
                }
            }
            other => return Err(self.error(ErrorKind::UnknownType(other))),
        }
        Ok(BencodeNode { raw: &self.input[start..self.at] })
    }

    /// Steps over the `e` of a list or dictionary, if that is what comes next.
    fn ends(&mut self) -> Result<bool, BencodeError> {
        let ends = self.peek()? == b'e';
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn integer(&mut self) -> Result<i64, BencodeError> {
        let rest = &self.input[self.at..];
        // A sign, 19 digits and the end: what is longer cannot fit 64 bits, and is not searched further.
        let window = &rest[..rest.len().min(21)];
        let Some(len) = window.iter().position(|byte| *byte == b'e') else {
            let kind = if rest.len() < 21 { ErrorKind::Truncated } else { ErrorKind::BadInteger };
            return Err(self.error(kind));
        };
        let digits = &rest[..len];
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        let canonical = match unsigned {
            [] => false,
            [b'0', ..] => digits == b"0",
            _ => unsigned.iter().all(u8::is_ascii_digit),
        };
        let number = std::str::from_utf8(digits).ok().filter(|_| canonical).and_then(|text| text.parse().ok());
        let number = number.ok_or(self.error(ErrorKind::BadInteger))?;
        self.at += len + 1;
        Ok(number)
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        let start = self.at;
        let mut len: usize = 0;
        loop {
            match self.peek()? {
                byte @ b'0'..=b'9' => {
                    len = len
                        .checked_mul(10)
                        .and_then(|len| len.checked_add(usize::from(byte - b'0')))
                        .ok_or(self.error(ErrorKind::BadLength))?;
                    self.at += 1;
                }
                b':' => break,
                _ => return Err(self.error(ErrorKind::BadLength)),
            }
        }
        if self.input[start] == b'0' && self.at > start + 1 {
            return Err(BencodeError { kind: ErrorKind::BadLength, at: start });
        }
        self.at += 1;
        let bytes = self.input[self.at..].get(..len).ok_or(self.error(ErrorKind::Truncated))?;
        self.at += len;
        Ok(bytes)
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.input.get(self.at).copied().ok_or(self.error(ErrorKind::Truncated))
    }

    fn error(&self, kind: ErrorKind) -> BencodeError {
        BencodeError { kind, at: self.at }
    }
}

/// Writes bencode, value by value, into one buffer.
///
/// ```
/// let mut out = minitorrent::bencode::Encoder::new();
/// out.dict(|dict| {
///     dict.key("interval").integer(5);
///     dict.key("peers").bytes(b"");
/// });
/// assert_eq!(out.finish(), b"d8:intervali5e5:peers0:e");
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An empty buffer.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// `i…e`
    pub fn integer(&mut self, number: impl Into<i128>) {
        self.out.extend_from_slice(format!("i{}e", number.into()).as_bytes());
    }

    /// `N:…`
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// A value that is bencode already, as it is.
    pub fn raw(&mut self, bencoded: &[u8]) {
        self.out.extend_from_slice(bencoded);
    }

    /// `l…e`, with what `fill` writes in it.
    pub fn list(&mut self, fill: impl FnOnce(&mut Encoder)) {
        self.out.push(b'l');
        fill(self);
        self.out.push(b'e');
    }

    /// `d…e`, with the entries that `fill` writes.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.out.push(b'd');
        fill(&mut DictEncoder { encoder: self, last: None });
        self.out.push(b'e');
    }
}

/// Writes the entries of one dictionary; keys must come in ascending order (BEP 3).
#[derive(Debug)]
pub struct DictEncoder<'a> {
    encoder: &'a mut Encoder,
    last: Option<Vec<u8>>,
}

impl DictEncoder<'_> {
    /// Writes a key; its value must be written next.
    pub fn key(&mut self, key: impl AsRef<[u8]>) -> &mut Encoder {
        let key = key.as_ref();
        if cfg!(debug_assertions) {
            assert!(self.last.as_deref().is_none_or(|last| last < key), "keys must ascend");
            self.last = Some(key.to_vec());
        }
        self.encoder.bytes(key);
        self.encoder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(input: &[u8]) -> ErrorKind {
        decode(input).unwrap_err().kind
    }

    #[test]
    fn the_examples_of_bep_3_decode() {
        assert_eq!(decode(b"4:spam").unwrap().as_bytes(), Some(&b"spam"[..]));
        assert_eq!(decode(b"i-3e").unwrap().as_integer(), Some(-3));
        assert_eq!(decode(b"l4:spam4:eggse").unwrap().as_list().unwrap().count(), 2);
        let dict = decode(b"d3:cow3:moo4:spaml1:a1:bee").unwrap();
        assert_eq!(dict.get(b"cow").unwrap().as_str(), Some("moo"));
        assert_eq!(dict.get(b"spam").unwrap().raw(), b"l1:a1:be");
        assert!(dict.get(b"dog").is_none());
    }

    #[test]
    fn malformed_numbers_and_lengths_are_refused() {
        for bad in [
            &b"ie"[..],
            b"i-0e",
            b"i03e",
            b"i--1e",
            b"i1 e",
            b"i+1e",
            b"i9223372036854775808e",
            b"i111111111111111111111e",
        ] {
            assert_eq!(kind(bad), ErrorKind::BadInteger, "{}", bad.escape_ascii());
        }
        assert_eq!(kind(b"01:a"), ErrorKind::BadLength);
        assert_eq!(kind(b"99999999999999999999999:a"), ErrorKind::BadLength);
        assert_eq!(kind(b"5:abcd"), ErrorKind::Truncated);
        assert_eq!(kind(b"9223372036854775807:a"), ErrorKind::Truncated);
        assert_eq!(kind(b"di1e1:ae"), ErrorKind::BadKey);
        assert_eq!(kind(b"x"), ErrorKind::UnknownType(b'x'));
        assert_eq!(decode(b"i9223372036854775807e").unwrap().as_integer(), Some(i64::MAX));
        assert_eq!(decode(b"i-9223372036854775808e").unwrap().as_integer(), Some(i64::MIN));
    }

    #[test]
    fn every_truncation_of_a_value_is_an_error() {
        let whole = b"d3:cow3:moo4:spaml1:ai42e1:bee";
        for end in 0..whole.len() {
            assert_eq!(kind(&whole[..end]), ErrorKind::Truncated, "cut at {end}");
        }
        assert_eq!(kind(b"i1ei2e"), ErrorKind::Trailing);
        assert_eq!(decode_prefix(b"i1ei2e").unwrap().1, 3);
    }

    #[test]
    fn nesting_is_bounded_at_the_limit_and_not_before() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(decode(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(kind(&nested(MAX_DEPTH + 1)), ErrorKind::TooDeep);
        assert_eq!(kind(&nested(10_000)), ErrorKind::TooDeep);
    }

    #[test]
    fn values_are_bounded_at_the_limit_and_not_before() {
        let flat = |count: usize| [&b"l"[..], &b"le".repeat(count - 1), b"e"].concat();
        assert!(decode_prefix_within(&flat(5), 5).is_ok());
        assert_eq!(decode_prefix_within(&flat(6), 5).unwrap_err().kind, ErrorKind::TooMany(5));
        assert!(decode(&flat(MAX_NODES)).is_ok());
        assert_eq!(kind(&flat(MAX_NODES + 1)), ErrorKind::TooMany(MAX_NODES));
    }

    #[test]
    fn the_first_of_equal_keys_counts_and_order_is_kept() {
        let dict = decode(b"d1:bi1e1:ai2e1:bi3ee").unwrap();
        assert_eq!(dict.get(b"b").unwrap().as_integer(), Some(1));
        let keys: Vec<_> = dict.as_dict().unwrap().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"b", b"a", b"b"]);
    }
}
