//! What is asserted of everything that reads what a stranger wrote: it never panics, what it takes it understands in one
//! way only, and how the bytes were cut on their way makes no difference.
//!
//! libFuzzer calls these with what it invents (`main.rs`), and `make test` with the corpus it left and mutations of it
//! (`tests/suite/fuzz.rs`).

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::path::Component;

use minitorrent::announce::answer::{self, Answer};
use minitorrent::announce::{client, encoding, local, udp};
use minitorrent::bencode::{self, BencodeNode, Value};
use minitorrent::http::framing::{BodyDecoder, Framing};
use minitorrent::http::head::{self, Head};
use minitorrent::metainfo::{InfoHash, Metainfo};
use minitorrent::tracker::announce::{Announce, PeerListForm};
use minitorrent::tracker::connection_ids::ConnectionIds;
use minitorrent::tracker::scrape;
use minitorrent::tracker::udp::{self as udp_tracker, UdpQuestion, UdpRequest};
use minitorrent::web::multipart::{FormEvent, Parser};
use minitorrent::web::range::{self, DownloadRange};
use minitorrent::wire::mse::{self, MAX_READ, PRIVATE_KEY_LENGTH, Responder};
use minitorrent::wire::utp;
use minitorrent::wire::{
    self, DecodeStep, EXTENDED_HANDSHAKE, ExtendedHandshake, HANDSHAKE_LENGTH, Handshake, Message, MessageLimits,
};

/// Reads some bytes, and panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const ALL: [(&str, Target); 13] = [
    ("bencode", bencode),
    ("torrent", torrent),
    ("json", json),
    ("wire", wire),
    ("mse", encrypted),
    ("utp", utp_packet),
    ("local", local_search),
    ("announce", announce),
    ("answer", answer),
    ("udp", udp_request),
    ("range", range),
    ("multipart", multipart),
    ("http", http),
];

/// Up to so many bytes every place to cut is tried, above it this many.
const CUTS: usize = 24;

/// Where to cut so many bytes in two.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).step_by((length / CUTS).max(1))
}

/// What is decoded encodes to the same bytes, no prefix of it decodes, and what stands behind it changes nothing.
fn bencode(bytes: &[u8]) {
    let Ok(node) = bencode::decode(bytes) else { return };
    let mut again = Vec::new();
    encode(node, &mut again);
    assert_eq!(again, bytes);
    assert_eq!(node.raw(), bytes);
    for cut in cuts(bytes.len() - 1) {
        assert!(bencode::decode(&bytes[..cut]).is_err(), "the first {cut} bytes are a value too");
    }
    let longer = [bytes, b"e"].concat();
    assert_eq!(bencode::decode_prefix(&longer), Ok((node, bytes.len())));
}

/// Bencode as BEP 3 has it, written apart from the code under test.
fn encode(node: BencodeNode<'_>, out: &mut Vec<u8>) {
    let string = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
    };
    match node.value() {
        Value::Integer(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::Bytes(bytes) => string(bytes, out),
        Value::List(items) => {
            out.push(b'l');
            items.for_each(|item| encode(item, out));
            out.push(b'e');
        }
        Value::Dict(entries) => {
            out.push(b'd');
            for (key, value) in entries {
                string(key, out);
                encode(value, out);
            }
            out.push(b'e');
        }
    }
}

fn torrent(bytes: &[u8]) {
    // Behind a `{` it would be JSON, which has a target of its own.
    if bytes.first() == Some(&b'd') {
        metainfo(bytes);
    }
}

fn json(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        metainfo(bytes);
    }
}

/// What is read says the same in both forms, over and over, and names no place outside of the folder.
fn metainfo(bytes: &[u8]) {
    let Ok(read) = Metainfo::read(bytes) else { return };
    let (torrent, json) = (read.to_torrent(), read.to_json());
    for form in [&torrent, &json] {
        let again = Metainfo::read(form).unwrap_or_else(|error| panic!("what was written is not read: {error}"));
        assert_eq!(again.info_hash(), read.info_hash());
        assert_eq!(again.to_torrent().escape_ascii().to_string(), torrent.escape_ascii().to_string());
        assert_eq!(String::from_utf8_lossy(&again.to_json()), String::from_utf8_lossy(&json));
    }
    let (files, geometry) = (read.files(), read.geometry());
    assert_eq!(files.iter().map(|file| file.length).sum::<u64>(), read.length());
    for file in files {
        let mut components = file.path.components();
        assert!(components.all(|part| matches!(part, Component::Normal(_))), "unsafe: {}", file.path.display());
    }
    let pieces = geometry.pieces().map(|piece| u64::from(geometry.length_of(piece)));
    assert_eq!(pieces.sum::<u64>(), read.length());
    assert!(!read.describe().chars().any(|c| c.is_control() && c != '\n'), "unfit for a terminal");
}

/// What a stream of messages says is the same however it is cut, and every message is encoded as it came.
fn wire(bytes: &[u8]) {
    let Some(([high, low], mut stream)) = bytes.split_first_chunk::<2>() else { return };
    if let Some((head, behind)) = stream.split_first_chunk::<HANDSHAKE_LENGTH>()
        && let Ok(handshake) = Handshake::from_bytes(head)
    {
        assert_eq!(handshake.to_bytes(), *head);
        stream = behind;
    }
    let limits = MessageLimits::for_pieces(u16::from_be_bytes([*high, *low]).into());
    let whole = messages(&[stream], limits);
    for cut in cuts(stream.len()) {
        let (before, behind) = stream.split_at(cut);
        assert_eq!(messages(&[before, behind], limits), whole, "cut at {cut}");
    }
}

/// What a reader makes of a stream that comes in parts: what each message takes, or the error that ends it.
fn messages(parts: &[&[u8]], limits: MessageLimits) -> Result<Vec<Vec<u8>>, wire::MessageError> {
    let (mut buffer, mut found, mut at, mut to_step_over) = (Vec::new(), Vec::new(), 0, 0);
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            let stepped = to_step_over.min(buffer.len() - at);
            at += stepped;
            to_step_over -= stepped;
            let here = &buffer[at..];
            let used = match wire::decode(here, limits)? {
                DecodeStep::Need(wanted) => {
                    assert!(wanted > here.len(), "{wanted} bytes are wanted, and {} are there", here.len());
                    break;
                }
                DecodeStep::Message(message, used) => {
                    understand(message, &here[..used]);
                    used
                }
                DecodeStep::Piece { block, used } => {
                    to_step_over = block.length as usize;
                    used
                }
                DecodeStep::Skip { used, length } => {
                    to_step_over = length;
                    used
                }
            };
            found.push(here[..used].to_vec());
            at += used;
        }
    }
    Ok(found)
}

/// An encrypted handshake ends the same however it is cut, and nothing is computed before there is a key.
fn encrypted(bytes: &[u8]) {
    let whole = established(&[bytes]);
    // Each cut computes keys, so these are few.
    for cut in [bytes.len() / 3, bytes.len().saturating_sub(1)] {
        let (before, behind) = bytes.split_at(cut);
        let parts = established(&[before, behind]);
        match (&whole, parts) {
            // What had not come when it was done is left on the connection.
            (Ok(Some((answer, begun))), Ok(Some((again, less)))) => {
                assert!(*answer == again && begun.starts_with(&less), "cut at {cut}");
            }
            (whole, parts) => assert_eq!(*whole, parts, "cut at {cut}"),
        }
    }
}

/// What a responder answers in the end, and what the other side began with; nothing while it waits for more.
type Established = Option<([u8; 14], Vec<u8>)>;

fn established(parts: &[&[u8]]) -> Result<Established, mse::MseError> {
    let (mut responder, mut fed) = (Responder::default(), 0);
    for part in parts.iter().flat_map(|part| part.chunks(MAX_READ)) {
        responder.feed(part);
        fed += part.len();
        loop {
            match responder.step()? {
                mse::MseStep::Read => break,
                mse::MseStep::Exchange => {
                    assert!(fed >= mse::KEY_LENGTH, "there is no key yet");
                    responder.exchange([0xb2; PRIVATE_KEY_LENGTH]);
                }
                // Whatever it asks for is here, so that what comes behind is looked at too.
                mse::MseStep::Torrent(_) => responder.torrent(InfoHash([7; 20])),
                mse::MseStep::Done(done) => {
                    assert!(done.begun.len() <= mse::MAX_HELD);
                    return Ok(Some((done.answer, done.begun)));
                }
            }
        }
    }
    Ok(None)
}

/// What is answered to a packet is never longer than it, and never answered itself.
fn utp_packet(bytes: &[u8]) {
    if let Some(reset) = utp::reset_for(bytes) {
        assert!(reset.len() <= bytes.len() && bytes.len() <= utp::MAX_SYN);
        assert!(bytes[0] == 0x41 && reset[2..4] == bytes[2..4] && reset[18..] == bytes[16..18]);
        assert_eq!(utp::reset_for(&reset), None);
    }
}

/// What is understood of a search is understood again when we send the same.
fn local_search(datagram: &[u8]) {
    let Some(search) = local::message::decode(datagram) else { return };
    assert!(local::message::can_be_told(search.port) && !search.info_hashes.is_empty());
    let Ok(cookie) = String::from_utf8(search.cookie.clone()) else { return };
    for hash in search.info_hashes {
        let again = local::message::encode(local::message::GROUP_V4, search.port, hash, &cookie);
        let again = local::message::decode(&again).unwrap();
        assert_eq!((again.port, again.info_hashes), (search.port, vec![hash]));
    }
}

fn understand(message: Message<'_>, raw: &[u8]) {
    let mut again = Vec::new();
    wire::encode(message, &mut again);
    assert_eq!(again, raw);
    if let Message::Extended(EXTENDED_HANDSHAKE, payload) = message
        && let Ok(handshake) = ExtendedHandshake::from_bytes(payload)
    {
        let again = ExtendedHandshake::from_bytes(&handshake.to_bytes()).unwrap();
        assert_eq!((again.port, again.request_queue), (handshake.port, handshake.request_queue));
        assert_ne!((handshake.port, handshake.request_queue), (Some(0), Some(0)));
    }
}

/// What is understood of an announce is understood again when we ask the same.
fn announce(query: &[u8]) {
    if let Ok(hashes) = scrape::parse(query) {
        assert!((1..=scrape::MAX_SCRAPE).contains(&hashes.len()));
    }
    match Announce::parse(query) {
        Ok((announce, _)) => {
            let url = announce.url("http://tracker/announce", 7, Some(b"&\0%"));
            let (_, asked) = url.split_once('?').expect("it has a query");
            assert!(asked.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(Announce::parse(asked.as_bytes()), Ok((announce, PeerListForm::Compact)));
        }
        Err(refusal) => assert!(!refusal.to_string().contains(|c: char| c.is_control())),
    }
}

/// Who has no right connection id gets nothing but an answer no longer than his question. What is understood of an announce is
/// understood again when we ask the same, and no answer is answered.
fn udp_request(bytes: &[u8]) {
    const NOW: u32 = 1000;
    let ids = ConnectionIds::new(BuildHasherDefault::<DefaultHasher>::default());
    for ip in [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])] {
        let mut out = Vec::new();
        let id = ids.issue(ip, NOW);
        let is_right = |packet: &[u8]| packet.starts_with(&id.to_be_bytes());
        if !is_right(bytes) {
            assert!(udp_tracker::receive(bytes, ip, &ids, NOW, &mut out).is_none());
            assert!(out.len() <= bytes.len());
        }
        let mut packet = bytes.to_vec();
        packet.iter_mut().zip(id.to_be_bytes()).for_each(|(byte, right)| *byte = right);
        out.clear();
        match udp_tracker::receive(&packet, ip, &ids, NOW, &mut out) {
            Some(UdpRequest { transaction, question: UdpQuestion::Announce(announce) }) => {
                let asked = udp::announce_request(id, transaction, &announce, 7);
                let again = UdpRequest { transaction, question: UdpQuestion::Announce(announce) };
                assert_eq!(udp_tracker::receive(&asked, ip, &ids, NOW, &mut out), Some(again));
            }
            Some(UdpRequest { question: UdpQuestion::Scrape(hashes), .. }) => {
                assert!((1..=scrape::MAX_SCRAPE).contains(&hashes.len()));
            }
            None => assert!(out.len() < 100 && !out.iter().skip(8).any(u8::is_ascii_control)),
        }
        let answer = std::mem::take(&mut out);
        assert!(udp_tracker::receive(&answer, ip, &ids, NOW, &mut out).is_none() && out.is_empty());
    }
}

/// What a tracker answers is kept within bounds, whichever way it comes.
fn answer(bytes: &[u8]) {
    let parsed = Answer::parse(bytes).map_err(client::AnnounceError::Answer);
    for encoding in ["", "gzip", "deflate"] {
        if let Ok(decoded) = encoding::decode(encoding, bytes.to_vec(), 4096) {
            assert!(decoded == bytes || decoded.len() <= 4096, "more comes out than is allowed");
        }
    }
    // A packet counts when it bears the number of the question: the one that this one bears.
    let number = bytes.get(4..8).map_or(0, |four| u32::from_be_bytes(four.try_into().expect("four bytes were cut")));
    let packets = [false, true].map(|is_ipv6| udp::read_announce(bytes, number, is_ipv6));
    let connected = udp::read_connect(bytes, number).map(|answer| answer.map(drop));
    assert!(udp::read_announce(bytes, !number, false).is_none(), "it answers another question");
    if let Some(Err(error)) = connected {
        assert!(!error.to_string().contains(|c: char| c.is_control()));
    }
    for read in [parsed].into_iter().chain(packets.into_iter().flatten()) {
        match read {
            Ok(answer) => judge(&answer),
            Err(error) => assert!(!error.to_string().contains(|c: char| c.is_control()), "unfit for a terminal"),
        }
    }
}

fn judge(answer: &Answer) {
    assert!(answer.peers.len() <= answer::MAX_PEERS);
    assert_eq!(answer.peers.iter().collect::<HashSet<_>>().len(), answer.peers.len(), "somebody is there twice");
    assert!(
        answer.peers.iter().all(|peer| peer.port() != 0 && !peer.ip().is_unspecified() && !peer.ip().is_multicast())
    );
    assert!((answer::MIN_INTERVAL..=answer::MAX_INTERVAL).contains(&answer.interval));
    assert!((answer::MIN_INTERVAL..=answer.interval).contains(&answer.min_interval));
    assert!(!answer.warning.iter().any(|words| words.contains(|c: char| c.is_control())));
}

/// A part is never empty and lies within the file.
fn range(bytes: &[u8]) {
    let Some((length, header)) = bytes.split_first_chunk::<8>() else { return };
    let (length, Ok(header)) = (u64::from_be_bytes(*length), str::from_utf8(header)) else { return };
    if let DownloadRange::Part { start, length: wanted } = range::stretch(header, length) {
        assert!(wanted > 0 && start.checked_add(wanted).is_some_and(|end| end <= length));
    }
}

/// A form says the same however it is cut. The first line is its content type.
fn multipart(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (Ok(content_type), body) = (str::from_utf8(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default()) else {
        return;
    };
    if Parser::new(content_type).is_err() {
        return;
    }
    let whole = fields(content_type, &[body]);
    for cut in cuts(body.len()) {
        let (before, behind) = body.split_at(cut);
        assert_eq!(fields(content_type, &[before, behind]), whole, "cut at {cut}");
    }
}

/// What a form that comes in parts says: its events in words, content glued together, up to its end or its error.
fn fields(content_type: &str, parts: &[&[u8]]) -> Vec<String> {
    let mut parser = Parser::new(content_type).expect("it was one before");
    let (mut buffer, mut at, mut content, mut found) = (Vec::new(), 0, Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            let here = &buffer[at..];
            let (used, event) = match parser.step(here) {
                Ok(step) => step,
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
            };
            match event {
                FormEvent::Field(field) => {
                    assert!(content.is_empty());
                    found.push(format!("{field:?}"));
                }
                FormEvent::Content(range) => {
                    assert!(!range.is_empty(), "content of nothing goes on for ever");
                    content.extend_from_slice(&here[range]);
                }
                FormEvent::FieldEnd => found.push(std::mem::take(&mut content).escape_ascii().to_string()),
                FormEvent::End => {
                    found.push("the end".into());
                    return found;
                }
                FormEvent::More => {
                    at += used;
                    break;
                }
            }
            at += used;
        }
    }
    found.push(content.escape_ascii().to_string());
    found
}

/// A request's end is found at every cut, what is accepted can be read in one way only, and its body is the same at
/// every cut.
fn http(bytes: &[u8]) {
    let end = head::end(bytes, 0);
    for cut in cuts(bytes.len()) {
        match head::end(&bytes[..cut], 0) {
            None => assert_eq!(head::end(bytes, cut), end, "cut at {cut}"),
            earlier => assert_eq!(earlier, end, "cut at {cut}"),
        }
    }
    let Some(end) = end else { return };
    let (raw, body) = bytes.split_at(end);
    match Head::parse(raw) {
        Ok(head) => {
            has_one_reading(&head, raw);
            let whole = payload(head.framing(), &[body]);
            for cut in cuts(body.len()) {
                let (before, behind) = body.split_at(cut);
                assert_eq!(payload(head.framing(), &[before, behind]), whole, "cut at {cut}");
            }
        }
        Err(fault) => assert!((400..=505).contains(&fault.status().0)),
    }
}

/// Looks at the lines of an accepted head as naively as another server might.
fn has_one_reading(head: &Head, raw: &[u8]) {
    assert!(head.path().starts_with('/') && head.path().bytes().all(|byte| byte > b' '));
    assert!(raw.len() <= head::MAX_HEAD);
    assert!(
        raw.iter().enumerate().all(|(at, byte)| *byte != b'\n' || at > 0 && raw[at - 1] == b'\r'),
        "a bare line feed"
    );
    let text = String::from_utf8_lossy(raw).to_ascii_lowercase();
    // Empty lines before a request are to be ignored (RFC 9112, section 2.2).
    let lines = text.trim_start_matches("\r\n").split("\r\n").skip(1).filter(|line| !line.is_empty());
    let names: Vec<&str> = lines
        .map(|line| {
            let (name, _) = line.split_once(':').expect("a line without a colon was accepted");
            assert!(
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()),
                "others read {name:?} differently"
            );
            name
        })
        .collect();
    assert!(names.len() <= head::MAX_FIELDS);
    let framings = names.iter().filter(|name| ["content-length", "transfer-encoding"].contains(name)).count();
    assert!(framings <= 1, "two framings were accepted");
    assert!(framings == 1 || head.framing() == Framing::Length(0));
    assert!(names.iter().filter(|name| **name == "host").count() <= 1, "two hosts were accepted");
}

/// The payload of a body that comes in parts, whether it is at its end, and how many bytes it took; nothing if it is bad.
fn payload(framing: Framing, parts: &[&[u8]]) -> Option<(Vec<u8>, bool, usize)> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut payload, mut used) = (Vec::new(), 0);
    for part in parts {
        let mut buffer = part.to_vec();
        let decoded = decoder.decode(&mut buffer).ok()?;
        assert!(decoded.payload <= decoded.used && decoded.used <= buffer.len());
        payload.extend_from_slice(&buffer[..decoded.payload]);
        used += decoded.used;
    }
    Some((payload, decoder.is_at_end(), used))
}
