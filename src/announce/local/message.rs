//! The datagram of local discovery (BEP 14): bytes ↔ values. Pure.
//!
//! Sent is what every real client reads: these header lines in this order and case, one info hash a datagram, and less than the
//! 200 bytes that aria2 has room for. Read is what any of them sends: names and hex digits in either case, several info hashes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::metainfo::InfoHash;

/// The port of local discovery, the same everywhere.
const PORT: u16 = 6771;

/// Where it is sent over IPv4.
pub const GROUP_V4: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), PORT));

/// Where it is sent over IPv6.
pub const GROUP_V6: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f), PORT, 0, 0));

/// The longest datagram that is read, in bytes: one packet on Ethernet (BEP 14).
pub const MAX_LENGTH: usize = 1400;

/// The longest cookie that is compared, in bytes; of a longer one this much counts.
const MAX_COOKIE: usize = 32;

/// The port that libtorrent takes for none.
const NO_PORT: u16 = u16::MAX;

/// Somebody looks for peers of torrents, and is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The port of its own address on which it takes connections.
    pub port: u16,
    /// The torrents; at least one.
    pub info_hashes: Vec<InfoHash>,
    /// By which a program knows its own datagrams again; empty where there is none.
    pub cookie: Vec<u8>,
}

/// Whether a port can be told to others: libtorrent refuses the last one.
pub fn can_be_told(port: u16) -> bool {
    port != 0 && port != NO_PORT
}

/// The datagram that looks for one torrent, for this group.
pub fn encode(group: SocketAddr, port: u16, info_hash: InfoHash, cookie: &str) -> Vec<u8> {
    format!(
        "BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {port}\r\nInfohash: {info_hash}\r\ncookie: {cookie}\r\n\r\n\r\n"
    )
    .into_bytes()
}

/// What a datagram says; nothing where it is no search, or one without a torrent or a port that can be dialled.
pub fn decode(datagram: &[u8]) -> Option<Search> {
    let mut lines = datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    if datagram.len() > MAX_LENGTH || !is_request_line(lines.next()?) {
        return None;
    }
    let (mut port, mut info_hashes, mut cookie) = (None, Vec::new(), Vec::new());
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"port") {
            port = Some(str::from_utf8(value).ok()?.parse().ok().filter(|port| can_be_told(*port))?);
        } else if name.eq_ignore_ascii_case(b"infohash") {
            let info_hash: Option<InfoHash> = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            info_hashes.extend(info_hash.filter(|hash| !info_hashes.contains(hash)));
        } else if name.eq_ignore_ascii_case(b"cookie") {
            cookie = value[..value.len().min(MAX_COOKIE)].to_vec();
        }
    }
    let port = port.filter(|_| !info_hashes.is_empty())?;
    Some(Search { port, info_hashes, cookie })
}

fn is_request_line(line: &[u8]) -> bool {
    const START: &[u8] = b"BT-SEARCH * HTTP/1.";
    line.get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([0xab; 20]);

    #[test]
    fn what_is_sent_is_byte_for_byte_what_real_clients_read() {
        let sent = encode(GROUP_V4, 6881, HASH, "12abcdef");
        let want = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
                    Infohash: abababababababababababababababababababab\r\ncookie: 12abcdef\r\n\r\n\r\n";
        assert_eq!(String::from_utf8(sent.clone()).unwrap(), want);
        let v6 = encode(GROUP_V6, 6881, HASH, "12abcdef");
        assert!(v6.starts_with(b"BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 6881\r\n"));
        assert_eq!((sent.len(), v6.len()), (136, 138));
        assert!(encode(GROUP_V6, 65534, HASH, "12abcdef").len() <= 200);
    }

    #[test]
    fn what_real_clients_send_is_read() {
        let want = Search { port: 6881, info_hashes: vec![HASH], cookie: b"12abcdef".to_vec() };
        assert_eq!(decode(&encode(GROUP_V6, 6881, HASH, "12abcdef")), Some(want));
        // Hex in capitals; nothing behind the last line; another order; a second hash, a third twice, one that is none.
        let hash = "ABABABABABABABABABABABABABABABABABABABAB";
        let other = "0123456789012345678901234567890123456789";
        let odd = format!(
            "bt-search * http/1.1\nINFOHASH:{hash}\nport:51413 \r\nInfohash: {other}\r\ninfohash: {hash}\r\n\
             Infohash: 0\r\nnonsense\r\nx: y"
        );
        let read = decode(odd.as_bytes()).unwrap();
        assert_eq!(read, Search { port: 51413, info_hashes: vec![HASH, other.parse().unwrap()], cookie: vec![] });
    }

    #[test]
    fn what_is_no_search_or_names_no_torrent_or_no_port_is_nothing() {
        let with = |port: &str, hash: &str| format!("BT-SEARCH * HTTP/1.1\r\nPort: {port}\r\nInfohash: {hash}\r\n\r\n");
        let hash = HASH.to_string();
        assert!(decode(with("6881", &hash).as_bytes()).is_some());
        for port in ["", "0", "65535", "65536", "-1", "6881x", "\u{ff16}"] {
            assert_eq!(decode(with(port, &hash).as_bytes()), None, "{port}");
        }
        for hash in ["", "ab", &format!("{hash}a"), "gbababababababababababababababababababab"] {
            assert_eq!(decode(with("6881", hash).as_bytes()), None, "{hash}");
        }
        for line in ["", "BT-SEARCH", "M-SEARCH * HTTP/1.1", "BT-SEARCH * HTTP/2"] {
            assert_eq!(decode(with("6881", &hash).replace("BT-SEARCH * HTTP/1.1", line).as_bytes()), None, "{line}");
        }
        let padded = |length: usize| format!("{:<length$}", with("6881", &hash)).into_bytes();
        assert!(decode(&padded(MAX_LENGTH)).is_some() && decode(&padded(MAX_LENGTH + 1)).is_none());
        assert_eq!(decode(b"\xff\n\xff:\xff\n"), None);
    }

    #[test]
    fn a_cookie_is_compared_as_far_as_it_is_kept() {
        let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {HASH}\r\nCOOKIE: {}\r\n", "x".repeat(100));
        assert_eq!(decode(text.as_bytes()).unwrap().cookie, vec![b'x'; MAX_COOKIE]);
    }
}
