//! What people read: a stranger's text made harmless, and numbers of bytes as people say them.

use std::fmt;

/// The text with whatever could move the cursor, hide or turn letters written as `\u{…}`; letters of any script stay.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_deceptive(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// Characters that are invisible or turn the writing direction: `exe.txt` that is really `txt.exe`.
pub fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
