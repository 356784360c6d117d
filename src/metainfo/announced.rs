//! A metainfo that lies in a file, with other trackers: which bytes of the file stay, and what is put between them.
//!
//! Whoever hands out a metainfo names its own tracker first, and that may differ from one request to the next. So the trackers
//! are put in as it goes out, and nothing but the few bytes around them is read: the info dictionary, however long, stays in the
//! file, byte for byte. Both forms must be as [`Metainfo`](super::Metainfo) writes them.

use std::{
    io::{self, BufRead},
    ops::Range,
};

use super::{
    outer::{Outer, Trackers},
    torrent::read_urls,
};
use crate::bencode::{self, Encoder};

/// The most bytes of trackers that are kept, as they lie in the file: some hundred URLs. More is not worth its memory.
const MAX_KEPT: usize = 16 * 1024;

/// The keys of the JSON form before its trackers.
const FIRST_FIELDS: [&str; 6] = ["name", "length", "executable", "files", "piece_length", "private"];

/// How the bytes of a file become those that go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Stretches of the file that come first.
    pub before: Vec<Range<u64>>,
    /// What follows them.
    pub trackers: Vec<u8>,
    /// Where in the file that begins which comes last, in bytes.
    pub rest: u64,
}

/// Reads so far and no further.
struct Scan<R> {
    reader: R,
    at: u64,
}

/// The `.torrent` form. `own` come first, each in a tier of its own; what the file names is left out unless it is `kept`.
pub fn torrent(reader: impl BufRead, own: &[String], kept: bool) -> io::Result<Announced> {
    let mut scan = Scan { reader, at: 0 };
    if scan.byte()? != b'd' {
        return Err(malformed());
    }
    let (mut before, mut first) = (Vec::new(), 0);
    let (mut announce, mut tiers) = (None, Vec::new());
    loop {
        let start = scan.at;
        if scan.peek()? == b'e' {
            break;
        }
        let mut key = Vec::new();
        scan.value(&mut key)?;
        let key = bencode::decode(&key).ok().and_then(|key| key.as_bytes().map(<[u8]>::to_vec));
        // A key too long to be kept is none of ours.
        match key.as_deref() {
            Some(key) if key > b"announce-list".as_slice() => {
                before.push(first..start);
                return Ok(Announced {
                    before,
                    trackers: bencoded(announced(own, kept, announce, tiers)),
                    rest: start,
                });
            }
            Some(b"announce" | b"announce-list") => {
                let mut value = Vec::new();
                scan.value(&mut value)?;
                match bencode::decode(&value) {
                    Ok(node) if node.as_list().is_some() => {
                        tiers = node.as_list().into_iter().flatten().map(read_urls).collect();
                    }
                    Ok(node) => announce = node.as_str().map(str::to_owned),
                    Err(_) => {}
                }
                before.push(first..start);
                first = scan.at;
            }
            // Between the two there is no place for the new ones.
            Some(key) if key.starts_with(b"announce") => {
                scan.value(&mut Vec::new())?;
                before.push(first..start);
                first = scan.at;
            }
            _ => scan.value(&mut Vec::new())?,
        }
    }
    Err(malformed())
}

/// The JSON form, in the same way.
pub fn json(reader: impl BufRead, own: &[String], kept: bool) -> io::Result<Announced> {
    let mut scan = Scan { reader, at: 0 };
    let (mut before, mut first) = (Vec::new(), 0);
    let (mut announce, mut tiers) = (None, Vec::new());
    loop {
        let start = scan.at;
        let mut line = Vec::new();
        if !scan.line(&mut line)? {
            return Err(malformed());
        }
        // What is indented further belongs to the list of files, and no text has a line of its own.
        let Some(field) = line.strip_prefix(b"  \"") else { continue };
        if field.starts_with(b"tracker_url\":") {
            announce = value_of(&line);
        } else if field.starts_with(b"trackers\":") {
            let mut last = line.clone();
            while !last.starts_with(b"  ]") {
                last.clear();
                if !scan.line(&mut last)? {
                    return Err(malformed());
                }
                line.extend_from_slice(&last[..last.len().min(MAX_KEPT.saturating_sub(line.len()))]);
            }
            tiers = value_of(&line).unwrap_or_default();
        } else if FIRST_FIELDS.iter().any(|name| field.starts_with(name.as_bytes())) {
            continue;
        } else {
            before.push(first..start);
            return Ok(Announced { before, trackers: in_json(announced(own, kept, announce, tiers)), rest: start });
        }
        before.push(first..start);
        first = scan.at;
    }
}

fn announced(own: &[String], kept: bool, announce: Option<String>, tiers: Vec<Vec<String>>) -> Trackers {
    let there = if kept { Trackers::new(announce, tiers) } else { Trackers::default() };
    there.after(own)
}

fn bencoded(trackers: Trackers) -> Vec<u8> {
    let entries = Outer { trackers, ..Outer::default() }.entries();
    let key = |key: &[u8]| {
        let mut out = Encoder::new();
        out.bytes(key);
        out.finish()
    };
    entries.into_iter().flat_map(|(name, value)| [key(name), value]).flatten().collect()
}

fn in_json(trackers: Trackers) -> Vec<u8> {
    let url = trackers.announce().map(|url| format!("  \"tracker_url\": {},\n", serde_json::Value::from(url)));
    let tiers = trackers.list().map(|tiers| {
        let list = serde_json::to_string_pretty(tiers).expect("lists of text always serialise");
        format!("  \"trackers\": {},\n", list.replace('\n', "\n  "))
    });
    url.into_iter().chain(tiers).collect::<String>().into_bytes()
}

/// What stands behind a field's name, if all of it was kept.
fn value_of<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].trim_ascii_end();
    serde_json::from_slice(value.strip_suffix(b",").unwrap_or(value)).ok()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the metainfo is not as it was written")
}

impl<R: BufRead> Scan<R> {
    fn peek(&mut self) -> io::Result<u8> {
        self.reader.fill_buf()?.first().copied().ok_or_else(malformed)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = self.peek()?;
        self.reader.consume(1);
        self.at += 1;
        Ok(byte)
    }

    /// Reads one bencoded value; of its bytes the first are kept.
    fn value(&mut self, kept: &mut Vec<u8>) -> io::Result<()> {
        let mut depth = 0_u64;
        loop {
            let first = self.byte()?;
            keep(kept, &[first]);
            match first {
                b'l' | b'd' => depth += 1,
                b'e' if depth > 0 => depth -= 1,
                b'i' => while keep_one(kept, self.byte()?) != b'e' {},
                b'0'..=b'9' => {
                    let mut length = u64::from(first - b'0');
                    loop {
                        match keep_one(kept, self.byte()?) {
                            digit @ b'0'..=b'9' => {
                                length = length.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                            }
                            b':' => break,
                            _ => return Err(malformed()),
                        }
                    }
                    self.bytes(length, kept)?;
                }
                _ => return Err(malformed()),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn bytes(&mut self, mut length: u64, kept: &mut Vec<u8>) -> io::Result<()> {
        while length > 0 {
            let buffer = self.reader.fill_buf()?;
            let count = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(malformed());
            }
            keep(kept, &buffer[..count]);
            self.reader.consume(count);
            self.at += count as u64;
            length -= count as u64;
        }
        Ok(())
    }

    /// Reads a line with its end; of its bytes the first are kept. Whether there was one.
    fn line(&mut self, kept: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(buffer.len(), |end| end + 1);
            keep(kept, &buffer[..count]);
            self.reader.consume(count);
            self.at += count as u64;
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_KEPT.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn keep_one(kept: &mut Vec<u8>, byte: u8) -> u8 {
    keep(kept, &[byte]);
    byte
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Metainfo;

    const OWN: &str = "http://192.168.1.5:5000/announce";

    fn spliced(bytes: &[u8], announced: Announced) -> Vec<u8> {
        let stretch = |range: &Range<u64>| bytes[range.start as usize..range.end as usize].to_vec();
        let before: Vec<u8> = announced.before.iter().flat_map(stretch).collect();
        [before, announced.trackers, bytes[announced.rest as usize..].to_vec()].concat()
    }

    /// What goes out of both forms; the buffer is small so that every value is split.
    fn out(metainfo: &Metainfo, own: &[&str], kept: bool) -> [Metainfo; 2] {
        let own: Vec<String> = own.iter().map(std::string::ToString::to_string).collect();
        let (first, second) = (metainfo.to_torrent(), metainfo.to_json());
        let read = |bytes: &[u8]| Metainfo::read(bytes).unwrap();
        let small = |bytes| io::BufReader::with_capacity(7, bytes);
        let torrent = spliced(&first, torrent(small(&first[..]), &own, kept).unwrap());
        let json = spliced(&second, json(small(&second[..]), &own, kept).unwrap());
        let (torrent, json) = (read(&torrent), read(&json));
        // And they are as they would have been written.
        assert_eq!(torrent.to_torrent(), spliced(&first, self::torrent(&first[..], &own, kept).unwrap()));
        assert_eq!(json.to_json(), spliced(&second, self::json(&second[..], &own, kept).unwrap()));
        [torrent, json]
    }

    fn metainfo(outer: &str, after: &str) -> Metainfo {
        let info = "d5:filesld6:lengthi5e4:pathl10:trackers\":eed6:lengthi5e4:pathl1:a1:beee4:name5:a.bin\
                    12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHH7:privatei1ee";
        Metainfo::read(format!("d{outer}4:info{info}{after}e").as_bytes()).unwrap()
    }

    #[test]
    fn own_trackers_come_first_and_the_torrent_stays_the_same() {
        let foreign = "8:announce8:http://x13:announce-listll8:http://x8:http://yel8:http://zee";
        let after = "8:url-list8:http://w";
        for (outer, kept, want) in [
            ("", true, vec![vec![OWN]]),
            ("8:announce8:http://x", true, vec![vec![OWN], vec!["http://x"]]),
            (foreign, true, vec![vec![OWN], vec!["http://x", "http://y"], vec!["http://z"]]),
            (foreign, false, vec![vec![OWN]]),
            ("8:announce32:http://192.168.1.5:5000/announce", true, vec![vec![OWN]]),
            ("3:abci1e8:announce8:http://x10:announce-li1e7:comment2:hi", true, vec![vec![OWN], vec!["http://x"]]),
        ] {
            let stored = metainfo(outer, after);
            for served in out(&stored, &[OWN], kept) {
                assert_eq!(served.trackers(), want, "{outer}");
                assert_eq!((served.info_bytes(), served.web_seeds()), (stored.info_bytes(), stored.web_seeds()));
                assert_eq!(served.comment(), stored.comment());
            }
        }
    }

    /// Behind the trackers in one form and before them in the other, what a single file has and what a folder has.
    #[test]
    fn trackers_are_replaced_whatever_else_the_metainfo_says() {
        let outer = "8:announce8:http://x13:announce-listll8:http://xel8:http://yee7:comment1:c10:created by1:m\
                     13:creation datei1e";
        let rest = "12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHH";
        for content in ["4:attr1:x6:lengthi5e4:name1:a", "5:filesld4:attr1:x6:lengthi5e4:pathl1:aeee4:name1:a"] {
            for info in ["", "7:privatei1e", "7:privatei1e6:source1:s"] {
                let torrent = format!("d{outer}4:infod{content}{rest}{info}e8:url-listl8:http://v8:http://wee");
                let stored = Metainfo::read(torrent.as_bytes()).unwrap();
                for served in out(&stored, &[OWN], true) {
                    assert_eq!(served, stored.clone().announced_first(&[OWN.to_owned()]));
                }
                for served in out(&stored, &[OWN], false) {
                    assert_eq!(served, stored.clone().with_trackers(vec![vec![OWN.to_owned()]]));
                }
            }
        }
    }

    #[test]
    fn several_own_trackers_are_tiers_in_their_order() {
        for served in out(&metainfo("8:announce8:http://x", ""), &[OWN, "http://b"], true) {
            assert_eq!(served.trackers(), [vec![OWN], vec!["http://b"], vec!["http://x"]]);
        }
    }

    #[test]
    fn trackers_without_end_are_left_out_and_cost_no_memory() {
        let url = format!("http://{}", "x".repeat(MAX_KEPT));
        let tiers = format!("{}:{url}", url.len());
        for outer in [format!("8:announce{tiers}"), format!("13:announce-listll{tiers}{tiers}ee")] {
            for served in out(&metainfo(&outer, ""), &[OWN], true) {
                assert_eq!(served.trackers(), [[OWN]]);
            }
        }
    }

    #[test]
    fn what_is_no_metainfo_is_an_error() {
        let stored = metainfo("8:announce8:http://x", "");
        let (first, second) = (stored.to_torrent(), stored.to_json());
        for end in 0..27 {
            assert!(torrent(&first[..end], &[], true).is_err(), "cut at {end}");
        }
        for end in 0..100 {
            assert!(json(&second[..end], &[], true).is_err(), "cut at {end}");
        }
        assert!(torrent(&b"d1:ax"[..], &[], true).is_err() && torrent(&b"l"[..], &[], true).is_err());
    }
}
