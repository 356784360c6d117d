//! Names of uploads: as files on this machine, in URLs, and in header fields.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::metainfo::path;

/// Bytes that a name may have, so that `NAME (99999).torrent` and a temporary name still fit 255.
const MAX_NAME: usize = 200;

/// What stays as it is in a URL and in RFC 5987: letters, digits and `-._~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name that a stranger's file is saved under. It begins with no dot: such names are our own.
pub fn clean(raw: &str) -> String {
    let last = raw.rsplit(['/', '\\']).next().unwrap_or(raw);
    let name = path::top_name(last.trim().as_bytes()).unwrap_or_else(|| "file".to_owned());
    match path::shorten(&name, MAX_NAME).trim_end_matches(['.', ' ']) {
        "" => "file".to_owned(),
        name => name.to_owned(),
    }
}

/// The same name with a number: `name (2).iso`.
pub fn numbered(name: &str, number: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 8 => format!("{stem} ({number}).{extension}"),
        _ => format!("{name} ({number})"),
    }
}

/// A name as one part of a URL's path.
pub fn encode(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// A part of a URL's path as the name that it means; nothing when that is no UTF-8.
pub fn decode(part: &str) -> Option<String> {
    percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// `Content-Disposition` of a download (RFC 6266): a name in ASCII for the old, and the true one for all others.
pub fn disposition(name: &str) -> String {
    let ascii = |c: char| if c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let fallback: String = name.chars().map(ascii).collect();
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", encode(name))
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_name_is_empty_however_it_is_cut() {
        for spaces in 190..260 {
            // What shows nothing is dropped, and spaces are cut where they end a name.
            let name = super::clean(&format!("\u{200b}{}x", " ".repeat(spaces)));
            assert!(!name.is_empty() && name.trim_end() == name, "{spaces}: {name:?}");
        }
    }

    use super::*;

    #[test]
    fn a_strangers_name_becomes_a_plain_visible_one() {
        for (raw, name) in [
            ("big.iso", "big.iso"),
            ("C:\\fakepath\\big.iso", "big.iso"),
            ("../../etc/passwd", "passwd"),
            (".part", "_.part"),
            ("..", "file"),
            ("", "file"),
            (" a. ", "a"),
            ("\u{661f}.iso", "\u{661f}.iso"),
        ] {
            assert_eq!(clean(raw), name, "{raw:?}");
        }
        let long = clean(&format!("{}.iso", "x".repeat(300)));
        assert!(long.len() <= MAX_NAME && long.ends_with(".iso"));
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        assert_eq!(numbered("big.iso", 2), "big (2).iso");
        assert_eq!(numbered("big", 2), "big (2)");
        assert_eq!(numbered("v1. notes of the day", 2), "v1. notes of the day (2)");
    }

    #[test]
    fn names_of_every_alphabet_travel_in_urls_and_fields() {
        for name in ["a b.iso", "\u{e4}\u{661f}.iso", "100%\"';#?&/\\.iso", "a\r\nb"] {
            let encoded = encode(name);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            assert_eq!(decode(&encoded).as_deref(), Some(name));
            assert!(disposition(name).bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", disposition(name));
        }
        assert_eq!(disposition("\u{e4}\".iso"), "attachment; filename=\"__.iso\"; filename*=UTF-8''%C3%A4%22.iso");
        assert_eq!(decode("%ff"), None);
    }
}
