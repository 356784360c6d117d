//! What people read: a stranger's text made harmless, and sizes, rates and times as people say them.

use std::{borrow::Cow, fmt, time::Duration};

/// The text with whatever could move the cursor, hide or turn letters written as `\u{…}`; letters of any script stay.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_deceptive(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// The same JSON with whatever [`escape`] would write out written as JSON does: `\u202e`. Line ends stay, since in JSON
/// only those of its layout are raw.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && (c.is_control() || is_deceptive(c)) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A text that is to be repeated in a message, without its middle where it is longer than `limit` bytes: a stranger may send
/// megabytes, and what is at the end of a sentence often says what to do.
pub fn excerpt(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return text.into();
    }
    let (mut start, mut end) = (limit / 2, text.len() - limit / 2);
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    format!("{} [{} bytes left out] {}", &text[..start], end - start, &text[end..]).into()
}

/// Characters that turn the writing direction, so that `exe.txt` is really `txt.exe`, end a line, or show nothing at
/// all: what Unicode calls default ignorable, but for the selectors of a letter's variant.
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e00ff}'
    )
}

/// The longest name of a machine for people, in characters.
pub const MAX_NAME: usize = 40;

/// A name for people as far as it is one: harmless, and no longer than [`MAX_NAME`].
pub fn name_of(bytes: &[u8]) -> Option<Box<str>> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_NAME)]);
    let kept = text.chars().filter(|c| !c.is_control() && !is_deceptive(*c) && *c != char::REPLACEMENT_CHARACTER);
    let name: String = kept.take(MAX_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.into())
}

/// A number of bytes: `1.5 GiB`.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let power = (self.0.max(1).ilog2() / 10) as usize;
        match power.checked_sub(1) {
            Some(unit) => write!(f, "{:.1} {}", self.0 as f64 / (1_u64 << (10 * power)) as f64, UNITS[unit]),
            None if self.0 == 1 => f.write_str("1 byte"),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Bytes a second: `11.2 MiB/s`.
#[derive(Debug, Clone, Copy)]
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0 as u64))
    }
}

/// A time: `3 min 20 s`. `static/said.js` says the same.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.as_secs_f64();
        // Where it would be rounded to 10.0 it is 10.
        if exact < 9.95 {
            return write!(f, "{exact:.1} s");
        }
        let whole = exact.round() as u64;
        match (whole / 3600, whole / 60 % 60, whole % 60) {
            (0, 0, seconds) => write!(f, "{seconds} s"),
            (0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (hours, minutes, _) if hours < 100 => write!(f, "{hours} h {minutes} min"),
            (hours, ..) => write!(f, "{} days", hours / 24),
        }
    }
}

/// A number of bytes with K, M or G behind it, or nothing; 1024 to the K.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number?.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_harmless() {
        assert_eq!(name_of("Bank 3 – 星".as_bytes()).as_deref(), Some("Bank 3 – 星"));
        assert_eq!(name_of("a\u{202e}b\n\u{200b}\0cÿ".as_bytes()).as_deref(), Some("abcÿ"));
        assert_eq!(name_of(b"\xff\xfe \x1b"), None);
        for length in [MAX_NAME, MAX_NAME + 1, 100_000] {
            assert_eq!(name_of("ü".repeat(length).as_bytes()).unwrap().chars().count(), MAX_NAME);
        }
    }

    #[test]
    fn rates_and_times_are_said_as_people_say_them() {
        assert_eq!(Rate(12.5 * 1048576.0).to_string(), "12.5 MiB/s");
        let time = |seconds: f64| Time(Duration::from_secs_f64(seconds)).to_string();
        for (seconds, said) in [
            (0.0, "0.0 s"),
            (1.234, "1.2 s"),
            (9.949, "9.9 s"),
            (9.95, "10 s"),
            (59.4, "59 s"),
            (59.5, "1 min 0 s"),
            (200.0, "3 min 20 s"),
            (7260.0, "2 h 1 min"),
            (86_399.0, "23 h 59 min"),
            (86_400.0 * 30.0, "30 days"),
        ] {
            assert_eq!(time(seconds), said);
        }
    }

    #[test]
    fn a_long_text_loses_its_middle_between_two_letters() {
        assert_eq!(excerpt("short", 5), "short");
        assert_eq!(excerpt("longer", 4), "lo [2 bytes left out] er");
        assert_eq!(excerpt("\u{e4}\u{e4}\u{e4}\u{e4}", 6), "\u{e4} [4 bytes left out] \u{e4}");
        assert!(excerpt(&"\u{202e}".repeat(1_000_000), 300).len() < 350);
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!(Size(0).to_string(), "0 bytes");
        assert_eq!(Size(1).to_string(), "1 byte");
        assert_eq!(Size(1023).to_string(), "1023 bytes");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn what_moves_the_cursor_or_hides_is_shown_and_letters_of_any_script_stay() {
        assert_eq!(escape("a\x1b[2Jb\n\u{202e}c"), r"a\u{1b}[2Jb\n\u{202e}c");
        assert_eq!(escape("Ünïcode, 文件, ملف"), "Ünïcode, 文件, ملف");
        assert_eq!(
            escape("\u{9b}2J\u{2028}\u{2069}\u{200d}\u{e0041}\r"),
            r"\u{9b}2J\u{2028}\u{2069}\u{200d}\u{e0041}\r"
        );
        assert_eq!(escape(&escape("\x1b\\")), escape("\x1b\\"), "twice is once");
    }

    #[test]
    fn harmless_json_says_the_same() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{9b}\n\x1b\u{e0041}", "größe"] });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&json);
            assert!(!escaped.chars().any(|c| c != '\n' && (c.is_control() || is_deceptive(c))), "{escaped:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
    }
}
