//! A metainfo in words, for a terminal.

use std::fmt::{self, Display, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{FileKind, Metainfo};
use crate::text::{Size, escape};

/// What RFC 3986 leaves unreserved stands in a magnet link as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn describe(metainfo: &Metainfo) -> String {
    let mut text = String::new();
    write(&mut text, metainfo).expect("a string takes all that is written");
    text
}

fn write(out: &mut String, metainfo: &Metainfo) -> fmt::Result {
    let geometry = metainfo.geometry();
    row(out, "name", metainfo.name())?;
    row(out, "info hash", metainfo.info_hash())?;
    row(out, "size", format_args!("{} ({} bytes)", Size(metainfo.length()), metainfo.length()))?;
    let piece_length = geometry.piece_length();
    let size = Size(piece_length.into());
    row(out, "pieces", format_args!("{} of {size} ({piece_length} bytes)", geometry.piece_count()))?;
    for (number, tier) in metainfo.trackers().iter().enumerate() {
        let label = if number == 0 { "trackers" } else { "  then" };
        tier.iter().enumerate().try_for_each(|(at, url)| row(out, if at == 0 { label } else { "" }, url))?;
    }
    metainfo.web_seeds().iter().try_for_each(|url| row(out, "web seed", url))?;
    if metainfo.is_private() {
        row(out, "private", "yes: peers from its trackers alone")?;
    }
    metainfo.comment().map_or(Ok(()), |comment| row(out, "comment", comment))?;
    metainfo.created_by().map_or(Ok(()), |program| row(out, "created by", program))?;
    metainfo.creation_date().map_or(Ok(()), |seconds| row(out, "created", Date(seconds)))?;
    row(out, "magnet", magnet(metainfo))?;
    if metainfo.is_single_file() { Ok(()) } else { write_files(out, metainfo) }
}

fn write_files(out: &mut String, metainfo: &Metainfo) -> fmt::Result {
    row(out, "files", metainfo.files().len())?;
    for (index, file) in metainfo.files().iter().enumerate() {
        let note = match (file.kind, metainfo.link_target(index)) {
            (FileKind::Normal, _) if file.is_executable => " (executable)".to_owned(),
            (FileKind::Normal, _) => String::new(),
            (FileKind::Pad, _) => " (padding, never written)".to_owned(),
            (FileKind::Symlink, Some(target)) => format!(" -> {}", target.display()),
            (FileKind::Symlink, None) => " (link out of the folder or to nothing, never made)".to_owned(),
        };
        writeln!(out, "  {:>12}  {}", file.length, escape(&format!("{}{note}", file.path.display())))?;
    }
    Ok(())
}

fn row(out: &mut String, label: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "{label:<10}  {}", escape(&value.to_string()))
}

/// A link that names the torrent without describing it (BEP 9, "magnet URI format").
fn magnet(metainfo: &Metainfo) -> String {
    let mut link = format!("magnet:?xt=urn:btih:{}", metainfo.info_hash());
    let trackers = metainfo.trackers().iter().flatten().map(|url| ("tr", url.as_str()));
    for (key, value) in std::iter::once(("dn", metainfo.name())).chain(trackers) {
        link.push_str(&format!("&{key}={}", utf8_percent_encode(value, QUERY)));
    }
    link
}

/// Seconds since 1970 as a date and time in UTC.
struct Date(i64);

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date(seconds) = *self;
        // Years begin in March here, so that the leap day is the last one of a cycle of 400 years, 146,097 days.
        let days = seconds.div_euclid(86_400) + 719_468;
        let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let time = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        write!(f, "{:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC", cycle * 400 + year + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::{PieceHasher, create::CreateOptions};

    #[test]
    fn every_fact_has_its_row_and_nothing_reaches_the_terminal_raw() {
        let mut hasher = PieceHasher::new(16_384);
        hasher.update(&[0; 20_000]);
        let options = CreateOptions {
            piece_length: 16_384,
            trackers: vec![vec!["http://a/announce".into(), "udp://b:1".into()], vec!["http://c/".into()]],
            comment: Some("\x1b[2Jgone \u{202e}".into()),
            private: true,
            creation_date: Some(1_700_000_000),
            ..CreateOptions::default()
        };
        let metainfo = Metainfo::from_hashes("größe.bin", &hasher.finish(), &options).unwrap();
        let hash = metainfo.info_hash();
        let want = format!(
            "name        größe.bin\n\
             info hash   {hash}\n\
             size        19.5 KiB (20000 bytes)\n\
             pieces      2 of 16.0 KiB (16384 bytes)\n\
             trackers    http://a/announce\n            udp://b:1\n  then      http://c/\n\
             private     yes: peers from its trackers alone\n\
             comment     \\u{{1b}}[2Jgone \\u{{202e}}\n\
             created by  minitorrent {}\n\
             created     2023-11-14 22:13:20 UTC\n\
             magnet      magnet:?xt=urn:btih:{hash}&dn=gr%C3%B6%C3%9Fe.bin\
             &tr=http%3A%2F%2Fa%2Fannounce&tr=udp%3A%2F%2Fb%3A1&tr=http%3A%2F%2Fc%2F\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(metainfo.describe(), want);
    }

    #[test]
    fn dates_follow_the_calendar_over_leap_days_and_centuries() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Date(seconds).to_string(), want);
        }
        assert!(Date(i64::MAX).to_string().ends_with("UTC") && Date(i64::MIN).to_string().ends_with("UTC"));
    }
}
