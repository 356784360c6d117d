//! Which program a peer runs, by its peer id (BEP 20): a hint that anyone can forge, for people to look at.

use crate::metainfo::PeerId;

/// Codes of Azureus style, `-XX1234-`, and who uses them.
const CODES: [(&[u8; 2], &str); 26] = [
    (b"MI", "minitorrent"),
    (b"AZ", "Vuze"),
    (b"BC", "BitComet"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FL", "Folx"),
    (b"GT", "anacrolix"),
    (b"HL", "Halite"),
    (b"KT", "KTorrent"),
    (b"LT", "libtorrent"),
    (b"PI", "PicoTorrent"),
    (b"RN", "rain"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TX", "Tixati"),
    (b"UM", "\u{b5}Torrent for Mac"),
    (b"UT", "\u{b5}Torrent"),
    (b"UW", "\u{b5}Torrent Web"),
    (b"WD", "WebTorrent Desktop"),
    (b"WW", "WebTorrent"),
    (b"XL", "Xunlei"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
    (b"rQ", "rqbit"),
];

/// Name and version, as in `qBittorrent 4.6.5`; nothing where the id tells nothing.
pub fn name(id: &PeerId) -> Option<String> {
    azureus(&id.0).or_else(|| dashed(&id.0))
}

fn azureus(id: &[u8; 20]) -> Option<String> {
    let [b'-', a, b, major, minor, patch, last, b'-', ..] = id else { return None };
    let (_, name) = CODES.iter().find(|(code, _)| **code == [*a, *b])?;
    let numbers = [major, minor, patch, last].map(|digit| char::from(*digit).to_digit(36));
    Some(match numbers {
        [Some(major), Some(minor), Some(patch), Some(0)] => format!("{name} {major}.{minor}.{patch}"),
        [Some(major), Some(minor), Some(patch), Some(last)] => format!("{name} {major}.{minor}.{patch}.{last}"),
        _ => (*name).to_owned(),
    })
}

/// `A2-1-37-0-` of aria2 and `M7-10-5--` of the first client of all.
fn dashed(id: &[u8; 20]) -> Option<String> {
    let (name, rest) = match id {
        [b'A', b'2', b'-', ..] => ("aria2", &id[3..]),
        [b'M', b'0'..=b'9', ..] => ("BitTorrent", &id[1..]),
        _ => return None,
    };
    let mut numbers = rest.split(|byte| *byte == b'-').take(3).map(|number| {
        let is_number = (1..=3).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
        is_number.then(|| String::from_utf8_lossy(number).into_owned())
    });
    match (numbers.next()?, numbers.next()?, numbers.next()?) {
        (Some(major), Some(minor), Some(patch)) => Some(format!("{name} {major}.{minor}.{patch}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Option<String> {
        let mut bytes = [b'x'; 20];
        bytes[..id.len()].copy_from_slice(id.as_bytes());
        name(&PeerId(bytes))
    }

    #[test]
    fn clients_of_every_style_are_known_by_name_and_version() {
        for (id, name) in [
            ("-MI0100-", "minitorrent 0.1.0"),
            ("-qB4650-", "qBittorrent 4.6.5"),
            ("-TR4060-", "Transmission 4.0.6"),
            ("-LT20D0-", "libtorrent 2.0.13"),
            ("-rQ0001-", "rqbit 0.0.0.1"),
            ("-UT35\u{1}0-", "\u{b5}Torrent"),
            ("A2-1-37-0-", "aria2 1.37.0"),
            ("M7-10-5--", "BitTorrent 7.10.5"),
        ] {
            assert_eq!(named(id).as_deref(), Some(name), "{id}");
        }
    }

    #[test]
    fn an_id_that_tells_nothing_has_no_name() {
        for id in ["", "-XX0001-", "-qB4650", "A2-x-37-0-", "A2-1-37", "Mx", "<b>"] {
            assert_eq!(named(id), None, "{id}");
        }
    }
}
