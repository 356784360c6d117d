//! The UDP protocol (BEP 15): bytes ↔ values, at the tracker's end (pure).
//!
//! ```text
//! asked     connect    0 protocol · 8 action 0 · 12 transaction
//!           announce   0 connection id · 8 action 1 · 12 transaction · 16 info hash · 36 peer id · 56 downloaded · 64 left
//!                      72 uploaded · 80 event · 84 IP · 88 key · 92 wanted · 96 port · 98 options (BEP 41)
//!           scrape     0 connection id · 8 action 2 · 12 transaction · 16 info hashes
//! answered  connect    0 action 0 · 4 transaction · 8 connection id
//!           announce   0 action 1 · 4 transaction · 8 interval · 12 leechers · 16 seeders · 20 peers
//!           scrape     0 action 2 · 4 transaction · 8 seeders, completed, leechers of each
//!           error      0 action 3 · 4 transaction · 8 a sentence
//! ```
//!
//! Whoever sends a packet may have forged the address that it comes from. So nobody gets an answer that is longer than the
//! question before a right connection id has shown that he receives there, and nothing else of a packet is looked at until then.
//!
//! The IP field is not read ([`address`](super::address) says why), nor is the key, since a peer is known by its endpoint as it is
//! over HTTP, nor are the options: they carry the path of the announce URL, and the answer is the same under each.

use std::{hash::BuildHasher, net::IpAddr};

use super::{
    announce::{Announce, AnnounceEvent, DEFAULT_WANTED, MAX_WANTED},
    connection_ids::ConnectionIds,
    query::Refusal,
    scrape::MAX_SCRAPE,
    table::{AnnounceReply, Counts},
};
use crate::metainfo::{InfoHash, PeerId};

/// What a connect has in the place of a connection id.
pub const PROTOCOL: u64 = 0x0417_2710_1980;

/// The action of a connect and of its answer.
pub const CONNECT: u32 = 0;

/// The action of an announce and of its answer.
pub const ANNOUNCE: u32 = 1;

/// The action of a scrape and of its answer.
pub const SCRAPE: u32 = 2;

/// The action of an answer that is a refusal.
pub const ERROR: u32 = 3;

/// Bytes of an announce without options.
pub const ANNOUNCE_LENGTH: usize = 98;

/// Peers that one answer names over IPv6 at most: 18 bytes each, in a packet that every IPv6 link carries whole (1,280 bytes).
const MAX_WANTED_IPV6: usize = 67;

/// The answer to a connection id that is wrong or too old: short, so that the shortest scrape is longer.
const RECONNECT: &str = "id expired: connect again";

/// Bytes of an info hash.
const HASH_LENGTH: usize = 20;

/// What is asked of the swarms, by somebody who receives at the address that he sends from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpRequest<'a> {
    /// What the answer must repeat.
    pub transaction: u32,
    /// What is asked.
    pub question: UdpQuestion<'a>,
}

/// The two questions that only the swarms can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpQuestion<'a> {
    /// A peer reports on itself, and wants others.
    Announce(Announce),
    /// How many are in these swarms.
    Scrape(&'a [[u8; HASH_LENGTH]]),
}

/// Takes in a packet that came from `ip`. What needs no swarm is answered at once, by writing to `out`: a connect, and a refusal.
/// Where nothing is written and nothing returned, nothing is said.
pub fn receive<'a>(
    packet: &'a [u8],
    ip: IpAddr,
    ids: &ConnectionIds<impl BuildHasher>,
    now: u32,
    out: &mut Vec<u8>,
) -> Option<UdpRequest<'a>> {
    let (head, body) = packet.split_first_chunk::<16>()?;
    let connection = u64::from_be_bytes(field(head, 0));
    let (action, transaction) = (u32::from_be_bytes(field(head, 8)), u32::from_be_bytes(field(head, 12)));
    let question = match action {
        CONNECT if connection == PROTOCOL => {
            write_head(CONNECT, transaction, out);
            out.extend(ids.issue(ip, now).to_be_bytes());
            return None;
        }
        ANNOUNCE | SCRAPE if !ids.accepts(connection, ip, now) => {
            if packet.len() >= 8 + RECONNECT.len() {
                write_error(RECONNECT, transaction, out);
            }
            return None;
        }
        ANNOUNCE => read_announce(packet.first_chunk()?, ip.is_ipv6()).map(UdpQuestion::Announce),
        SCRAPE => read_scrape(body).map(UdpQuestion::Scrape),
        _ => return None,
    };
    match question {
        Ok(question) => Some(UdpRequest { transaction, question }),
        Err(refusal) => {
            write_error(&refusal.to_string(), transaction, out);
            None
        }
    }
}

fn read_announce(packet: &[u8; ANNOUNCE_LENGTH], is_ipv6: bool) -> Result<Announce, Refusal> {
    // Below 0 means that the client leaves it to the tracker.
    let wanted = usize::try_from(i32::from_be_bytes(field(packet, 92))).unwrap_or(DEFAULT_WANTED);
    let announce = Announce {
        info_hash: InfoHash(field(packet, 16)),
        peer_id: PeerId(field(packet, 36)),
        downloaded: u64::from_be_bytes(field(packet, 56)),
        left: u64::from_be_bytes(field(packet, 64)),
        uploaded: u64::from_be_bytes(field(packet, 72)),
        event: match u32::from_be_bytes(field(packet, 80)) {
            1 => AnnounceEvent::Completed,
            2 => AnnounceEvent::Started,
            3 => AnnounceEvent::Stopped,
            _ => AnnounceEvent::Regular,
        },
        wanted: wanted.min(if is_ipv6 { MAX_WANTED_IPV6 } else { MAX_WANTED }),
        port: u16::from_be_bytes(field(packet, 96)),
    };
    announce.check_port().map(|()| announce)
}

fn read_scrape(body: &[u8]) -> Result<&[[u8; HASH_LENGTH]], Refusal> {
    match body.as_chunks().0 {
        [] => Err(Refusal::Missing("info_hash")),
        hashes if hashes.len() > MAX_SCRAPE => Err(Refusal::TooManyHashes(MAX_SCRAPE)),
        hashes => Ok(hashes),
    }
}

/// Writes the answer to an announce. It has no place for an address of the other family than the asker's.
pub fn write_announce(reply: &AnnounceReply, is_ipv6: bool, transaction: u32, out: &mut Vec<u8>) {
    write_head(ANNOUNCE, transaction, out);
    for number in [reply.interval, reply.counts.incomplete, reply.counts.complete] {
        out.extend(number.to_be_bytes());
    }
    for peer in &reply.peers {
        match peer.address.ip() {
            IpAddr::V4(ip) if !is_ipv6 => out.extend(ip.octets()),
            IpAddr::V6(ip) if is_ipv6 => out.extend(ip.octets()),
            _ => continue,
        }
        out.extend(peer.address.port().to_be_bytes());
    }
}

/// Writes the answer to a scrape, in the order of the question.
pub fn write_scrape(swarms: impl Iterator<Item = Counts>, transaction: u32, out: &mut Vec<u8>) {
    write_head(SCRAPE, transaction, out);
    for Counts { complete, incomplete, downloaded } in swarms {
        for number in [complete, downloaded, incomplete] {
            out.extend(number.to_be_bytes());
        }
    }
}

/// Writes a refusal; `reason` is a sentence.
pub fn write_error(reason: &str, transaction: u32, out: &mut Vec<u8>) {
    write_head(ERROR, transaction, out);
    out.extend_from_slice(reason.as_bytes());
}

fn write_head(action: u32, transaction: u32, out: &mut Vec<u8>) {
    out.clear();
    out.extend(action.to_be_bytes());
    out.extend(transaction.to_be_bytes());
}

/// The bytes of a field; it must lie within the packet.
fn field<const N: usize>(packet: &[u8], at: usize) -> [u8; N] {
    packet[at..at + N].try_into().expect("a slice has the length that it was cut to")
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;
    use crate::tracker::table::PeerAddress;

    const NOW: u32 = 1000;

    fn ids() -> ConnectionIds<BuildHasherDefault<DefaultHasher>> {
        ConnectionIds::new(BuildHasherDefault::default())
    }

    fn them() -> IpAddr {
        IpAddr::from([192, 168, 1, 6])
    }

    /// What comes of a packet: what is asked, and what is answered at once.
    fn ask_from(ip: IpAddr, packet: &[u8]) -> (Option<UdpRequest<'_>>, Vec<u8>) {
        let mut out = Vec::new();
        (receive(packet, ip, &ids(), NOW, &mut out), out)
    }

    fn ask(packet: &[u8]) -> (Option<UdpRequest<'_>>, Vec<u8>) {
        ask_from(them(), packet)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// The packet of BEP 15 with a right connection id.
    fn packet(action: u8, body: &[u8]) -> Vec<u8> {
        [&ids().issue(them(), NOW).to_be_bytes()[..], &[0, 0, 0, action, 0x0a, 0x0b, 0x0c, 0x0d], body].concat()
    }

    /// Everything behind the head of an announce.
    fn announce_body() -> Vec<u8> {
        let numbers = "000000000000000100000000000000020000000000000003";
        [vec![b'h'; 20], vec![b'p'; 20], bytes(numbers), bytes("0000000201020304deadbeef000000321ae1")].concat()
    }

    fn announce_with(at: usize, field: &[u8]) -> Vec<u8> {
        let mut packet = packet(1, &announce_body());
        packet[at..at + field.len()].copy_from_slice(field);
        packet
    }

    fn announced(packet: &[u8]) -> Announce {
        match ask(packet) {
            (Some(UdpRequest { question: UdpQuestion::Announce(announce), .. }), _) => announce,
            other => panic!("{other:?}"),
        }
    }

    fn refused(packet: &[u8]) -> String {
        let (request, answer) = ask(packet);
        assert!(request.is_none() && answer.starts_with(b"\0\0\0\x03\x0a\x0b\x0c\x0d"), "{answer:?}");
        String::from_utf8(answer[8..].to_vec()).unwrap()
    }

    #[test]
    fn a_connect_is_answered_with_an_id_that_is_accepted() {
        let connect = bytes("0000041727101980000000000a0b0c0d");
        let (request, answer) = ask(&connect);
        assert!(request.is_none());
        assert_eq!(answer[..8], bytes("000000000a0b0c0d"));
        assert_eq!(answer.len(), 16);
        assert!(ids().accepts(u64::from_be_bytes(field(&answer, 8)), them(), NOW + 300));
    }

    #[test]
    fn an_announce_is_read_byte_for_byte() {
        let packet = packet(1, &announce_body());
        assert_eq!(packet.len(), ANNOUNCE_LENGTH);
        let want = Announce {
            info_hash: InfoHash([b'h'; 20]),
            peer_id: PeerId([b'p'; 20]),
            downloaded: 1,
            left: 2,
            uploaded: 3,
            event: AnnounceEvent::Started,
            wanted: 50,
            port: 0x1ae1,
        };
        let request = UdpRequest { transaction: 0x0a0b_0c0d, question: UdpQuestion::Announce(want) };
        assert_eq!(ask(&packet), (Some(request), Vec::new()));
        // BEP 41: the path, nothing, the end; and what only looks like an option.
        for options in [&b"\x02\x09/announce"[..], b"\x01\x01\0", b"\x02\xff/", b"\x02", b"\x07\x07", &[2; 1000]] {
            assert_eq!(ask(&[&packet, options].concat()).0, Some(request), "{options:?}");
        }
    }

    #[test]
    fn events_and_numwant_mean_what_they_mean_over_http() {
        use AnnounceEvent::{Completed, Regular, Started, Stopped};
        for (number, event) in [(0, Regular), (1, Completed), (2, Started), (3, Stopped), (4, Regular)] {
            assert_eq!(announced(&announce_with(80, &u32::to_be_bytes(number))).event, event);
        }
        for (asked, wanted) in
            [(0, 0), (1, 1), (200, 200), (201, 200), (i32::MAX, 200), (-1, DEFAULT_WANTED), (i32::MIN, DEFAULT_WANTED)]
        {
            assert_eq!(announced(&announce_with(92, &i32::to_be_bytes(asked))).wanted, wanted, "{asked}");
        }
    }

    #[test]
    fn port_0_may_only_leave() {
        assert_eq!(refused(&announce_with(96, &[0, 0])), "port=0 cannot be dialled; it must be from 1 to 65535");
        let mut leaves = announce_with(96, &[0, 0]);
        leaves[83] = 3;
        assert_eq!(announced(&leaves).event, AnnounceEvent::Stopped);
    }

    #[test]
    fn a_scrape_names_up_to_74_swarms() {
        let scrape = |count: usize| packet(2, &[7; HASH_LENGTH].repeat(count));
        for count in [1, 2, 74] {
            let hashes = vec![[7; HASH_LENGTH]; count];
            let request = UdpRequest { transaction: 0x0a0b_0c0d, question: UdpQuestion::Scrape(&hashes) };
            assert_eq!(ask(&scrape(count)), (Some(request), Vec::new()));
            // A hash that is not whole is none.
            assert_eq!(ask(&[&scrape(count)[..], &[7; 19]].concat()).0, Some(request));
        }
        assert_eq!(refused(&scrape(0)), "info_hash is missing");
        assert_eq!(refused(&scrape(75)), "a scrape may name 74 info hashes at most");
    }

    #[test]
    fn answers_are_bep_15s_byte_for_byte() {
        let peer = |address: &str| PeerAddress { address: address.parse().unwrap(), peer_id: PeerId([0; 20]) };
        let counts = Counts { complete: 1, incomplete: 2, downloaded: 3 };
        let peers = vec![peer("1.2.3.4:6881"), peer("[2001:db8::1]:80"), peer("5.6.7.8:1")];
        let reply = AnnounceReply { interval: 1800, min_interval: 900, counts, peers, unlisted: None };
        let mut out = b"what was there before".to_vec();
        write_announce(&reply, false, 0x0a0b_0c0d, &mut out);
        assert_eq!(out, bytes("000000010a0b0c0d000007080000000200000001010203041ae1050607080001"));
        write_announce(&reply, true, 0x0a0b_0c0d, &mut out);
        let six = "20010db80000000000000000000000010050";
        assert_eq!(out, bytes(&format!("000000010a0b0c0d000007080000000200000001{six}")));
        write_scrape([counts, Counts::default()].into_iter(), 0x0a0b_0c0d, &mut out);
        assert_eq!(out, bytes("000000020a0b0c0d000000010000000300000002000000000000000000000000"));
        write_error("no", 0x0a0b_0c0d, &mut out);
        assert_eq!(out, b"\0\0\0\x03\x0a\x0b\x0c\x0dno");
    }

    #[test]
    fn an_answer_fits_a_packet_that_is_not_cut_on_its_way() {
        const {
            assert!(20 + 6 * MAX_WANTED <= 1500 - 28);
            assert!(20 + 18 * MAX_WANTED_IPV6 <= 1280 - 48 && 20 + 18 * (MAX_WANTED_IPV6 + 1) > 1280 - 48);
        }
        let six: IpAddr = "fd00::6".parse().unwrap();
        let mut packet = announce_with(92, &i32::to_be_bytes(200));
        packet[..8].copy_from_slice(&ids().issue(six, NOW).to_be_bytes());
        let (Some(UdpRequest { question: UdpQuestion::Announce(announce), .. }), _) = ask_from(six, &packet) else {
            panic!("it is not answered");
        };
        assert_eq!(announce.wanted, MAX_WANTED_IPV6);
    }

    /// Packets of that many bytes, of every kind.
    fn of_length(length: usize) -> impl Iterator<Item = Vec<u8>> {
        let whole = [packet(0, &[]), packet(1, &announce_body()), packet(2, &[]), packet(3, &[]), packet(255, &[])];
        let connect = bytes("0000041727101980000000000a0b0c0d");
        let empty = [vec![0; 16], vec![0xff; 16]];
        let all = whole.into_iter().chain([connect]).chain(empty);
        all.map(move |packet| packet.into_iter().chain(std::iter::repeat(b'x')).take(length).collect())
    }

    #[test]
    fn packets_of_every_length_are_answered_in_order_or_not_at_all() {
        for length in (0..=200).chain([1496, 1497, 2048, 9000, 65_507]) {
            for packet in of_length(length) {
                let (request, answer) = ask(&packet);
                let is_announce = packet.get(11) == Some(&1) && packet.get(8..11) == Some(&[0; 3]);
                match request {
                    None => assert!(answer.len() <= length.max(8 + 60), "{length}: {answer:?}"),
                    Some(UdpRequest { question: UdpQuestion::Announce(_), .. }) => assert!(length >= ANNOUNCE_LENGTH),
                    Some(UdpRequest { question: UdpQuestion::Scrape(hashes), .. }) => {
                        assert_eq!(hashes.len(), (length - 16) / HASH_LENGTH);
                    }
                }
                assert!(length >= 16 || (request.is_none() && answer.is_empty()), "{length}");
                assert!(!is_announce || length >= ANNOUNCE_LENGTH || answer.is_empty(), "a cut announce: {length}");
            }
        }
    }

    #[test]
    fn without_a_right_id_nothing_is_asked_and_no_answer_is_longer_than_its_question() {
        let stranger = IpAddr::from([192, 168, 1, 7]);
        for length in (0..=200).chain([1496, 65_507]) {
            for packet in of_length(length) {
                let (request, answer) = ask_from(stranger, &packet);
                assert!(request.is_none() && answer.len() <= length, "{length}: {answer:?}");
            }
        }
        for packet in [packet(1, &announce_body()), packet(2, &[7; HASH_LENGTH])] {
            let (_, answer) = ask_from(stranger, &packet);
            assert_eq!(answer[8..], *RECONNECT.as_bytes());
        }
        assert!(ask_from(stranger, &packet(2, &[])).1.is_empty(), "the answer would be longer");
    }

    #[test]
    fn no_answer_is_answered() {
        let answers = ["000000000a0b0c0d1122334455667788", "000000010a0b0c0d000007080000000200000001010203041ae1"];
        for answer in
            answers.map(bytes).into_iter().chain([ask_from(IpAddr::from([1; 4]), &packet(1, &announce_body())).1])
        {
            assert_eq!(ask(&answer), (None, Vec::new()));
        }
    }
}
