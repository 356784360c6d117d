//! A tracker's answer to an announce, as a client reads it (BEP 3, 7, 23). What a stranger's tracker says is bounded
//! and checked here; what is left of it can be used as it is.

use std::{
    fmt, iter,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    bencode::{self, BencodeNode},
    text::escape,
    tracker::address,
};

/// How many peers are taken from one answer: more than anyone dials, and bounded memory.
pub const MAX_PEERS: usize = 1000;

/// The interval where the tracker names none.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(120);

/// How soon a peer in need may ask again where the tracker does not say. That is no matter of every second: whoever needs
/// peers doubles the wait each time.
pub const DEFAULT_MIN_INTERVAL: Duration = MIN_INTERVAL;

/// The shortest interval that a tracker is believed.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The longest interval that a tracker is believed: longer, and a swarm loses sight of its peers.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// The longest time that a tracker which refuses is left alone because it says so, unless it says "never": a day, so
/// that a seeder that runs for weeks comes back.
pub const MAX_RETRY_IN: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a tracker's own words is kept, in bytes.
const MAX_WORDS: usize = 300;

/// The longest tracker id that is sent back, in bytes; it has to fit a URL.
const MAX_TRACKER_ID: usize = 256;

/// What a tracker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Peers to dial, each once, at most [`MAX_PEERS`].
    pub peers: Vec<SocketAddr>,
    /// Time until the next announce, from [`MIN_INTERVAL`] to [`MAX_INTERVAL`].
    pub interval: Duration,
    /// Time until an announce is allowed at all; never above `interval`.
    pub min_interval: Duration,
    /// How many seed, where the tracker says so.
    pub complete: Option<u32>,
    /// How many fetch, where the tracker says so.
    pub incomplete: Option<u32>,
    /// What to send back next time.
    pub tracker_id: Option<Vec<u8>>,
    /// What the tracker wants a person to know, fit for a terminal.
    pub warning: Option<String>,
}

/// Why a body is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// The tracker refuses.
    Failure {
        /// Its reason, fit for a terminal.
        reason: String,
        /// When it may be asked again.
        retry: Retry,
    },
    /// A page for people.
    Html,
    /// No bencode.
    Bencode(bencode::BencodeError),
    /// Bencode, but no dictionary with peers in it.
    NoPeers,
    /// Compact peers of a length that does not divide by the size of one.
    RaggedPeers(usize),
}

/// When a tracker that refuses may be asked again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It does not say.
    Unsaid,
    /// After so long, at most [`MAX_RETRY_IN`].
    After(Duration),
    /// Not by this run.
    Never,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::Failure { reason, retry: Retry::Never } => {
                write!(f, "the tracker refuses, and is not to be asked again: {reason}")
            }
            AnswerError::Failure { reason, .. } => write!(f, "the tracker refuses: {reason}"),
            AnswerError::Html => f.write_str("the tracker answers with a web page; is this the announce URL?"),
            AnswerError::Bencode(error) => write!(f, "the tracker's answer is no bencode: {error}"),
            AnswerError::NoPeers => f.write_str("the tracker's answer has no list of peers"),
            AnswerError::RaggedPeers(length) => {
                write!(f, "the tracker's answer has {length} bytes of peers, a broken number")
            }
        }
    }
}

impl std::error::Error for AnswerError {}

impl Answer {
    /// Reads the body of an HTTP answer.
    pub fn parse(body: &[u8]) -> Result<Answer, AnswerError> {
        if body.trim_ascii_start().starts_with(b"<") {
            return Err(AnswerError::Html);
        }
        let (dict, _) = bencode::decode_prefix(body).map_err(AnswerError::Bencode)?;
        let failure = dict.get(b"failure reason").map(words);
        let (peers, peers6) = (dict.get(b"peers"), dict.get(b"peers6"));
        let has_peers = |node: &BencodeNode<'_>| {
            node.as_bytes().is_some_and(|compact| !compact.is_empty())
                || node.as_list().is_some_and(|mut list| list.next().is_some())
        };
        if let Some(reason) = failure.as_ref().filter(|_| !peers.iter().chain(&peers6).any(has_peers)) {
            let retry = dict.get(b"retry in").map_or(Retry::Unsaid, Retry::read);
            return Err(AnswerError::Failure { reason: reason.clone(), retry });
        }
        if peers.is_none() && peers6.is_none() {
            return Err(AnswerError::NoPeers);
        }
        // Looked at one by one: a full answer of compact peers names more than 100,000.
        type Found<'a> = Box<dyn Iterator<Item = SocketAddr> + 'a>;
        let v4: Found<'_> = match peers.map(|node| (node.as_bytes(), node.as_list())) {
            Some((Some(compact), _)) => Box::new(compact_v4(compact)?),
            Some((_, Some(list))) => Box::new(list.filter_map(peer_of_dict)),
            Some(_) => return Err(AnswerError::NoPeers),
            None => Box::new(iter::empty()),
        };
        let v6: Found<'_> = match peers6.map(|node| (node.as_bytes(), node.as_list())) {
            Some((Some(compact), _)) => Box::new(compact_v6(compact)?),
            Some((_, Some(list))) => Box::new(list.filter_map(peer_of_dict)),
            Some(_) | None => Box::new(iter::empty()),
        };
        let interval = seconds(dict, b"interval").unwrap_or(DEFAULT_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL);
        Ok(Answer {
            peers: usable(v4.chain(v6)),
            interval,
            min_interval: seconds(dict, b"min interval").unwrap_or(DEFAULT_MIN_INTERVAL).clamp(MIN_INTERVAL, interval),
            complete: count(dict, b"complete"),
            incomplete: count(dict, b"incomplete"),
            tracker_id: dict.get(b"tracker id").and_then(tracker_id),
            // Some trackers complain and name peers all the same.
            warning: dict.get(b"warning message").map(words).or(failure),
        })
    }
}

impl Retry {
    /// BEP 31: minutes, or "never".
    fn read(node: BencodeNode<'_>) -> Retry {
        let written = node.as_str().unwrap_or_default();
        match node.as_integer().or_else(|| written.parse().ok()).map(u64::try_from) {
            Some(Ok(minutes @ 1..)) => Retry::After(Duration::from_secs(minutes.saturating_mul(60)).min(MAX_RETRY_IN)),
            None if written == "never" => Retry::Never,
            Some(_) | None => Retry::Unsaid,
        }
    }
}

/// Peers of 6 bytes each (BEP 23).
pub fn compact_v4(bytes: &[u8]) -> Result<impl Iterator<Item = SocketAddr> + '_, AnswerError> {
    compact::<6>(bytes, |peer| {
        let [a, b, c, d, high, low] = *peer;
        SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
    })
}

/// Peers of 18 bytes each (BEP 7).
pub fn compact_v6(bytes: &[u8]) -> Result<impl Iterator<Item = SocketAddr> + '_, AnswerError> {
    compact::<18>(bytes, |peer| {
        let ip: [u8; 16] = std::array::from_fn(|at| peer[at]);
        SocketAddr::from((ip, u16::from_be_bytes([peer[16], peer[17]])))
    })
}

fn compact<const SIZE: usize>(
    bytes: &[u8],
    read: fn(&[u8; SIZE]) -> SocketAddr,
) -> Result<impl Iterator<Item = SocketAddr> + '_, AnswerError> {
    let (peers, rest) = bytes.as_chunks::<SIZE>();
    if rest.is_empty() { Ok(peers.iter().map(read)) } else { Err(AnswerError::RaggedPeers(bytes.len())) }
}

/// The peers that can be dialled, each once, in their order.
pub fn usable(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = std::collections::HashSet::new();
    let canonical = found.into_iter().map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let usable = canonical.filter(|peer| peer.port() != 0 && address::is_dialable(peer.ip()) && seen.insert(*peer));
    usable.take(MAX_PEERS).collect()
}

/// A peer that is named by a host name is passed over: nobody resolves names that a stranger chose.
fn peer_of_dict(node: BencodeNode<'_>) -> Option<SocketAddr> {
    let ip = node.get(b"ip")?.as_str()?;
    // Some trackers write an IPv6 address as in a URL.
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    let ip: IpAddr = ip.parse().ok()?;
    let port = node.get(b"port")?.as_integer()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

fn seconds(dict: BencodeNode<'_>, key: &[u8]) -> Option<Duration> {
    let seconds = dict.get(key)?.as_integer()?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn count(dict: BencodeNode<'_>, key: &[u8]) -> Option<u32> {
    dict.get(key)?.as_integer()?.try_into().ok()
}

fn tracker_id(node: BencodeNode<'_>) -> Option<Vec<u8>> {
    node.as_bytes().filter(|id| !id.is_empty() && id.len() <= MAX_TRACKER_ID).map(<[u8]>::to_vec)
}

fn words(node: BencodeNode<'_>) -> String {
    plain_words(node.as_bytes().unwrap_or(b"(no reason given)"))
}

/// A tracker's words, shortened and made harmless: they are shown on a page and in a terminal.
pub fn plain_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_WORDS)]).into_owned();
    let line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    escape(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Answer, AnswerError> {
        Answer::parse(body.as_bytes())
    }

    fn peers(body: &[u8]) -> Vec<String> {
        Answer::parse(body).unwrap().peers.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_compact_answer_is_read() {
        let body =
            b"d8:completei4e10:incompletei2e8:intervali1800e12:min intervali900e5:peers12:\x01\x02\x03\x04\x1a\xe1\
                     \x05\x06\x07\x08\x00\x506:peers618: \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00P10:tracker id2:\x00x\
                     15:warning message3:a\x1bbe";
        let answer = Answer::parse(body).unwrap();
        assert_eq!(peers(body), ["1.2.3.4:6881", "5.6.7.8:80", "[2001:db8::1]:80"]);
        assert_eq!((answer.complete, answer.incomplete), (Some(4), Some(2)));
        assert_eq!((answer.interval.as_secs(), answer.min_interval.as_secs()), (1800, 900));
        assert_eq!(answer.tracker_id.as_deref(), Some(&b"\x00x"[..]));
        assert_eq!(answer.warning.as_deref(), Some("a b"));
    }

    #[test]
    fn a_list_of_dictionaries_is_read_and_host_names_are_passed_over() {
        let body = b"d5:peersld2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip11:2001:db8::14:porti1ee\
                     d2:ip9:localhost4:porti6881eed2:ip7:1.2.3.44:porti65536eei7eee";
        assert_eq!(peers(body), ["1.2.3.4:6881", "[2001:db8::1]:1"]);
    }

    #[test]
    fn what_nobody_can_dial_and_what_comes_twice_is_dropped() {
        let body = b"d5:peers30:\x01\x02\x03\x04\0\0\0\0\0\0\0\x01\xe0\0\0\x01\0\x01\x09\x09\x09\x09\0\x01\x09\x09\x09\x09\0\x01e";
        assert_eq!(peers(body), ["9.9.9.9:1"]);
        let body = b"d6:peers618:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04\0\x01e";
        assert_eq!(peers(body), ["1.2.3.4:1"], "an IPv4 address in an IPv6 one");
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let all: Vec<u8> =
            (0..MAX_PEERS as u32 + 1).flat_map(|n| [&(0x0a00_0000 + n).to_be_bytes()[..], &[0, 1]].concat()).collect();
        let body = |bytes: &[u8]| [format!("d5:peers{}:", bytes.len()).as_bytes(), bytes, b"e"].concat();
        assert_eq!(peers(&body(&all[6..])).len(), MAX_PEERS);
        assert_eq!(peers(&body(&all)).len(), MAX_PEERS);
    }

    #[test]
    fn an_interval_is_held_within_bounds() {
        let interval = |fields: &str| {
            let answer = parse(&format!("d{fields}5:peers0:e")).unwrap();
            (answer.interval.as_secs(), answer.min_interval.as_secs())
        };
        assert_eq!(interval(""), (120, 1));
        assert_eq!(interval("8:intervali0e"), (1, 1));
        assert_eq!(interval("8:intervali-5e"), (1, 1));
        assert_eq!(interval("8:intervali3600e"), (3600, 1));
        assert_eq!(interval("8:intervali3601e"), (3600, 1));
        assert_eq!(interval("8:intervali9e12:min intervali10e"), (9, 9));
        assert_eq!(interval("8:intervali9e12:min intervali2e"), (9, 2));
    }

    #[test]
    fn what_is_no_answer_says_what_it_is() {
        let failure = parse("d14:failure reason7:go away8:intervali5ee").unwrap_err();
        assert_eq!(failure.to_string(), "the tracker refuses: go away");
        assert_eq!(parse("\n<!doctype html>"), Err(AnswerError::Html));
        assert!(matches!(parse("Not found"), Err(AnswerError::Bencode(_))));
        assert!(matches!(parse(""), Err(AnswerError::Bencode(_))));
        assert_eq!(parse("d8:intervali5ee"), Err(AnswerError::NoPeers));
        assert_eq!(parse("le"), Err(AnswerError::NoPeers));
        assert_eq!(parse("d5:peersi1ee"), Err(AnswerError::NoPeers));
        assert_eq!(parse("d5:peers7:1234567e"), Err(AnswerError::RaggedPeers(7)));
        assert_eq!(parse("d6:peers66:123456e"), Err(AnswerError::RaggedPeers(6)));
        let nasty = parse("d14:failure reason8:a\n\u{9b}\u{202e}be").unwrap_err();
        assert_eq!(nasty.to_string(), r"the tracker refuses: a  \u{202e}b");
        let long = format!("d14:failure reason{}:{}e", MAX_WORDS + 1, "x".repeat(MAX_WORDS + 1));
        assert_eq!(parse(&long), Err(AnswerError::Failure { reason: "x".repeat(MAX_WORDS), retry: Retry::Unsaid }));
    }

    #[test]
    fn an_ipv6_peer_comes_in_brackets_and_in_dictionaries_of_peers6() {
        let body = b"d5:peersld2:ip13:[2001:db8::1]4:porti1eed2:ip13:[2001:db8::2x4:porti1eee\
                     6:peers6ld2:ip11:2001:db8::34:porti3eed2:ip3:::14:porti0eeee";
        assert_eq!(peers(body), ["[2001:db8::1]:1", "[2001:db8::3]:3"]);
        assert_eq!(peers(b"d6:peers6ld2:ip11:2001:db8::34:porti3eeee"), ["[2001:db8::3]:3"]);
    }

    #[test]
    fn a_tracker_that_complains_and_names_peers_is_used() {
        let answer = Answer::parse(b"d14:failure reason4:hmm!5:peers6:\x09\x09\x09\x09\0\x01e").unwrap();
        assert_eq!((answer.peers.len(), answer.warning.as_deref()), (1, Some("hmm!")));
        for none in ["5:peers0:", "5:peersle", "6:peers60:"] {
            assert!(
                matches!(parse(&format!("d14:failure reason4:hmm!{none}e")), Err(AnswerError::Failure { .. })),
                "{none}"
            );
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let retry = |value: &str| match parse(&format!("d14:failure reason1:x8:retry in{value}e")) {
            Err(AnswerError::Failure { retry, .. }) => retry,
            other => panic!("{value}: {other:?}"),
        };
        let minutes = |minutes: u64| Retry::After(Duration::from_secs(60 * minutes));
        assert_eq!((retry("i5e"), retry("2:15"), retry("i1440e")), (minutes(5), minutes(15), minutes(1440)));
        assert_eq!((retry("i1441e"), retry("i9223372036854775807e")), (minutes(1440), minutes(1440)));
        assert_eq!(retry("5:never"), Retry::Never);
        for odd in ["i0e", "i-1e", "5:later", "0:", "le"] {
            assert_eq!(retry(odd), Retry::Unsaid, "{odd}");
        }
        let never = parse("d14:failure reason4:gone8:retry in5:nevere").unwrap_err();
        assert_eq!(never.to_string(), "the tracker refuses, and is not to be asked again: gone");
    }
}
