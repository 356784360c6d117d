//! The body of an upload form, `multipart/form-data` (RFC 7578): a parser without I/O, fed with bytes as they come.
//!
//! It never holds content: [`Parser::step`] tells which stretch of the caller's own buffer is content, and keeps back only
//! what may turn out to begin the next boundary.

use std::{fmt, ops::Range};

use percent_encoding::percent_decode_str;

/// The longest boundary, in bytes (RFC 2046, section 5.1.1).
pub const MAX_BOUNDARY: usize = 70;

/// The longest head of a field, in bytes: two lines, one of them with a file's name.
pub const MAX_FIELD_HEAD: usize = 4 * 1024;

/// The most fields of one form.
pub const MAX_FIELDS: usize = 256;

/// Takes a form apart.
#[derive(Debug)]
pub struct Parser {
    /// CR LF, two dashes, and the boundary.
    delimiter: Vec<u8>,
    state: ParserState,
    fields: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    /// Before the first boundary, which has no CR LF in front of it.
    Start,
    /// Behind a boundary: a line end and a field, or two dashes and the end.
    Boundary,
    FieldHead,
    Content,
    End,
}

/// What a form's bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormEvent {
    /// A field begins.
    Field(FormField),
    /// These bytes of the buffer are its content.
    Content(Range<usize>),
    /// The field is complete.
    FieldEnd,
    /// The form is complete; what follows has no meaning.
    End,
    /// Nothing can be said before there are more bytes.
    More,
}

/// What a field is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormField {
    /// The field's name.
    pub name: String,
    /// The file's name, as the browser tells it, when the field is a file.
    pub file_name: Option<String>,
}

/// Why bytes are no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// The content type names no boundary that may be one.
    Boundary,
    /// No boundary where one must be.
    Malformed,
    /// The head of a field exceeds [`MAX_FIELD_HEAD`] or has no name.
    FieldHead,
    /// More than [`MAX_FIELDS`].
    TooManyFields,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormError::Boundary => f.write_str("the form must be multipart/form-data with a boundary"),
            FormError::Malformed => f.write_str("the form has no boundary where one must be"),
            FormError::FieldHead => {
                write!(f, "a field of the form has no name, or more than {MAX_FIELD_HEAD} bytes of head")
            }
            FormError::TooManyFields => write!(f, "the form has more than {MAX_FIELDS} fields"),
        }
    }
}

impl std::error::Error for FormError {}

impl Parser {
    /// A parser for a form of that content type.
    pub fn new(content_type: &str) -> Result<Parser, FormError> {
        let (kind, parameters) = content_type.split_once(';').ok_or(FormError::Boundary)?;
        let boundary = parameter(parameters, "boundary").ok_or(FormError::Boundary)?;
        let fits = (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_graphic());
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") || !fits {
            return Err(FormError::Boundary);
        }
        Ok(Parser { delimiter: format!("\r\n--{boundary}").into_bytes(), state: ParserState::Start, fields: 0 })
    }

    /// What `input` begins with, and how many of its bytes that takes. The next call gets what follows them, with more
    /// behind it after [`FormEvent::More`].
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, FormEvent), FormError> {
        match self.state {
            ParserState::Start => match begins_with(input, &self.delimiter[2..]) {
                Some(true) => self.enter(ParserState::Boundary, self.delimiter.len() - 2, input),
                Some(false) => Err(FormError::Malformed),
                None => Ok((0, FormEvent::More)),
            },
            ParserState::Boundary => match input {
                [b'-', b'-', ..] => self.enter(ParserState::End, 2, input),
                [b'\r', b'\n', ..] => {
                    self.fields += 1;
                    if self.fields > MAX_FIELDS {
                        return Err(FormError::TooManyFields);
                    }
                    self.enter(ParserState::FieldHead, 2, input)
                }
                [] | [b'-' | b'\r'] => Ok((0, FormEvent::More)),
                _ => Err(FormError::Malformed),
            },
            ParserState::FieldHead => {
                let window = &input[..input.len().min(MAX_FIELD_HEAD)];
                match window.windows(4).position(|four| four == b"\r\n\r\n") {
                    Some(end) => {
                        self.state = ParserState::Content;
                        Ok((end + 4, FormEvent::Field(parse_field(&input[..end]).ok_or(FormError::FieldHead)?)))
                    }
                    None if input.len() >= MAX_FIELD_HEAD => Err(FormError::FieldHead),
                    None => Ok((0, FormEvent::More)),
                }
            }
            ParserState::Content => self.content(input),
            ParserState::End => Ok((input.len(), FormEvent::End)),
        }
    }

    fn enter(&mut self, state: ParserState, used: usize, input: &[u8]) -> Result<(usize, FormEvent), FormError> {
        self.state = state;
        let (more, event) = self.step(&input[used..])?;
        Ok((used + more, event))
    }

    fn content(&mut self, input: &[u8]) -> Result<(usize, FormEvent), FormError> {
        let mut at = 0;
        while let Some(found) = input[at..].iter().position(|byte| *byte == b'\r') {
            at += found;
            match begins_with(&input[at..], &self.delimiter) {
                Some(true) if at == 0 => {
                    self.state = ParserState::Boundary;
                    return Ok((self.delimiter.len(), FormEvent::FieldEnd));
                }
                Some(false) => at += 1,
                // The boundary, or perhaps its beginning: what lies before it is content.
                _ if at > 0 => return Ok((at, FormEvent::Content(0..at))),
                _ => return Ok((0, FormEvent::More)),
            }
        }
        if input.is_empty() { Ok((0, FormEvent::More)) } else { Ok((input.len(), FormEvent::Content(0..input.len()))) }
    }
}

/// Whether `input` begins with `prefix`; `None` when it is too short to tell.
fn begins_with(input: &[u8], prefix: &[u8]) -> Option<bool> {
    let common = input.len().min(prefix.len());
    if input[..common] != prefix[..common] {
        return Some(false);
    }
    (common == prefix.len()).then_some(true)
}

fn parse_field(head: &[u8]) -> Option<FormField> {
    let head = String::from_utf8_lossy(head);
    let disposition = head.split("\r\n").find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    // RFC 5987 has no place in forms, but some clients use it for names that are not ASCII.
    let extended = parameter(parameters, "filename*").and_then(|value| {
        let (_, encoded) = value.split_once("''")?;
        percent_decode_str(encoded).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    });
    let file_name = extended.or_else(|| parameter(parameters, "filename"));
    Some(FormField { name: parameter(parameters, "name")?, file_name })
}

/// The value of a parameter among `; name=value; name="value"`. In quotes, `\"` and `%22` are what browsers and curl write
/// for a quote; a backslash before anything else is a backslash.
fn parameter(mut rest: &str, wanted: &str) -> Option<String> {
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, behind) = rest.split_once('=')?;
        let mut value = String::new();
        if let Some(quoted) = behind.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            loop {
                match chars.next()? {
                    (end, '"') => {
                        rest = &quoted[end + 1..];
                        break;
                    }
                    (at, '\\') if quoted[at + 1..].starts_with(['"', '\\']) => value.push(chars.next()?.1),
                    (_, c) => value.push(c),
                }
            }
            value = value.replace("%22", "\"");
        } else {
            let end = behind.find(';').unwrap_or(behind.len());
            value.push_str(behind[..end].trim());
            rest = &behind[end..];
        }
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_content_comes_out_as_it_went_in(content in "[\r\nx-]{0,60}|[ -~]{0,20}", cut in 0_usize..200) {
            prop_assume!(!content.contains("\r\n------x"));
            let form = format!("------x\r\nContent-Disposition: form-data; name=a\r\n\r\n{content}\r\n------x--\r\n");
            let (before, behind) = form.as_bytes().split_at(cut.min(form.len()));
            prop_assert_eq!(read(&[before, behind]), Ok((vec![(field("a", None), content.into_bytes())], true)));
        }

        #[test]
        fn no_bytes_at_all_do_harm(parts in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let parts: Vec<&[u8]> = std::iter::once(&b"------x\r\n"[..]).chain(parts.iter().map(Vec::as_slice)).collect();
            let _ = read(&parts);
        }
    }

    const TYPE: &str = "multipart/form-data; boundary=----x";

    type Fields = Vec<(FormField, Vec<u8>)>;

    /// Every field with its content, read through a buffer that gets one of `parts` at a time.
    fn read(parts: &[&[u8]]) -> Result<(Fields, bool), FormError> {
        let mut parser = Parser::new(TYPE).unwrap();
        let (mut buffer, mut fields, mut ended) = (Vec::new(), Fields::new(), 0);
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                let (used, event) = parser.step(&buffer)?;
                match event {
                    FormEvent::Field(field) => fields.push((field, Vec::new())),
                    FormEvent::Content(range) => fields.last_mut().unwrap().1.extend_from_slice(&buffer[range]),
                    FormEvent::FieldEnd => ended += 1,
                    FormEvent::End => {
                        assert_eq!(ended, fields.len());
                        return Ok((fields, true));
                    }
                    FormEvent::More => {
                        buffer.drain(..used);
                        break;
                    }
                }
                buffer.drain(..used);
            }
        }
        Ok((fields, false))
    }

    fn field(name: &str, file_name: Option<&str>) -> FormField {
        FormField { name: name.to_owned(), file_name: file_name.map(str::to_owned) }
    }

    #[test]
    fn a_form_reads_the_same_at_every_split_point() {
        let form = b"------x\r\nContent-Disposition: form-data; name=\"port\"\r\n\r\n6881\r\n------x\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\"; c.iso\"\r\nContent-Type: x/y\r\n\r\n\
            \r\n-----\r\n\r\n----x\r------\r\n------\r\n------x\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n------x--\r\n";
        let expected = vec![
            (field("port", None), b"6881".to_vec()),
            (field("file", Some("a \"b\"; c.iso")), b"\r\n-----\r\n\r\n----x\r------\r\n------".to_vec()),
            (field("empty", None), Vec::new()),
        ];
        for split in 0..=form.len() {
            assert_eq!(read(&[&form[..split], &form[split..]]), Ok((expected.clone(), true)), "split at {split}");
        }
        let single: Vec<&[u8]> = form.chunks(1).collect();
        assert_eq!(read(&single), Ok((expected, true)));
        for end in 0..form.len() - 4 {
            assert!(!read(&[&form[..end]]).unwrap().1, "cut at {end}");
        }
    }

    #[test]
    fn file_names_of_every_client_are_understood() {
        for (text, name) in [
            (r#"form-data; name="file"; filename="caf\u{e9}""#, r"caf\u{e9}"),
            ("form-data; name=\"file\"; filename=\"\u{661f}.iso\"", "\u{661f}.iso"),
            ("form-data; name=file; filename=plain.iso", "plain.iso"),
            ("form-data; filename=\"x; name=y\"; name=\"file\"", "x; name=y"),
            ("form-data; name=\"file\"; filename=\"%22quoted%22\"", "\"quoted\""),
            ("form-data; name=\"file\"; filename=\"C:\\\\dir\\file\"", "C:\\dir\\file"),
            ("form-data; name=\"file\"; filename=\"x\"; filename*=utf-8''%e6%98%9f.iso", "\u{661f}.iso"),
        ] {
            let head = format!("Content-Disposition: {text}");
            assert_eq!(parse_field(head.as_bytes()), Some(field("file", Some(name))), "{text}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for bad in ["multipart/form-data", "multipart/form-data; boundary=", "text/plain; boundary=x", "x"] {
            assert_eq!(Parser::new(bad).unwrap_err(), FormError::Boundary, "{bad}");
        }
        let boundary =
            |length: usize| Parser::new(&format!("multipart/form-data; boundary=\"{}\"", "x".repeat(length)));
        assert!(boundary(MAX_BOUNDARY).is_ok());
        assert_eq!(boundary(MAX_BOUNDARY + 1).unwrap_err(), FormError::Boundary);
        assert_eq!(read(&[b"no form"]), Err(FormError::Malformed));
        assert_eq!(read(&[b"------xy"]), Err(FormError::Malformed));
        assert_eq!(read(&[b"------x\r\nContent-Type: text/plain\r\n\r\n"]), Err(FormError::FieldHead));
        let head = |length: usize| [&b"------x\r\nA: "[..], &vec![b'x'; length - 3]].concat();
        assert!(read(&[&head(MAX_FIELD_HEAD - 1)]).is_ok());
        assert_eq!(read(&[&head(MAX_FIELD_HEAD)]), Err(FormError::FieldHead));
        let parts = |count| "------x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(count);
        assert!(read(&[parts(MAX_FIELDS).as_bytes()]).is_ok());
        assert_eq!(read(&[parts(MAX_FIELDS + 1).as_bytes()]), Err(FormError::TooManyFields));
    }
}
