//! An announce, both ways: what a client asks with, and what a tracker reads out of it (BEP 3, 7, 21, 23).

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::query::{self, Refusal};
use crate::metainfo::{InfoHash, PeerId};

/// How many peers an announce gets that does not say how many it wants: what BEP 3 suggests.
pub const DEFAULT_WANTED: usize = 50;

/// How many peers one announce gets at most: more than any client connects to at once, and a reply of 4 KiB.
pub const MAX_WANTED: usize = 200;

/// `left` of a peer that did not say how much it lacks.
pub const LEFT_UNKNOWN: u64 = u64::MAX;

/// What stays as it is in a query (RFC 3986, "unreserved").
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One peer's report on itself, and its wish for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// The swarm it is about.
    pub info_hash: InfoHash,
    /// Who reports.
    pub peer_id: PeerId,
    /// The TCP port it can be dialled at.
    pub port: u16,
    /// Bytes it gave since it started.
    pub uploaded: u64,
    /// Bytes it took since it started.
    pub downloaded: u64,
    /// Bytes it lacks; 0 for a seeder, [`LEFT_UNKNOWN`] where it did not say.
    pub left: u64,
    /// What happened.
    pub event: AnnounceEvent,
    /// How many peers it would like, at most [`MAX_WANTED`].
    pub wanted: usize,
}

/// What makes a peer announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceEvent {
    /// The interval is over. BEP 21's `paused` counts as this too: such a peer stays in the swarm and gives.
    Regular,
    /// It is the first announce of this run.
    Started,
    /// It has everything, since now.
    Completed,
    /// It is leaving.
    Stopped,
}

/// How a reply lists its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerListForm {
    /// 6 or 18 bytes each (BEP 23, BEP 7).
    Compact,
    /// A dictionary each (BEP 3).
    Dicts {
        /// Whether each names its peer id.
        peer_ids: bool,
    },
}

impl Announce {
    /// Reads the query of an announce. The info hash may also come as 40 hex digits.
    ///
    /// What a peer cannot be listed without is required: info hash, peer id and port. A figure that cannot be read
    /// counts as one that is not there, since no peer loses its place by what is only shown.
    pub fn parse(query: &[u8]) -> Result<(Announce, PeerListForm), Refusal> {
        let (mut info_hash, mut peer_id, mut port, mut left) = (None, None, None, None);
        let (mut uploaded, mut downloaded, mut wanted) = (0, 0, DEFAULT_WANTED);
        let (mut event, mut compact, mut peer_ids) = (AnnounceEvent::Regular, true, true);
        for (name, value) in query::fields(query) {
            match name {
                b"info_hash" => info_hash = Some(query::info_hash(&value)?),
                b"peer_id" => peer_id = Some(parse_peer_id(&value)?),
                b"port" => port = Some(parse_port(&value)?),
                b"uploaded" => uploaded = query::number(&value).unwrap_or(0),
                b"downloaded" => downloaded = query::number(&value).unwrap_or(0),
                b"left" => left = query::number(&value),
                b"numwant" => wanted = parse_wanted(&value),
                b"event" => event = AnnounceEvent::parse(&value),
                b"compact" => compact = *value != *b"0",
                b"no_peer_id" => peer_ids = *value != *b"1",
                _ => {}
            }
        }
        let announce = Announce {
            port: port.ok_or(Refusal::Missing("port"))?,
            info_hash: info_hash.ok_or(Refusal::Missing("info_hash"))?,
            peer_id: peer_id.ok_or(Refusal::Missing("peer_id"))?,
            uploaded,
            downloaded,
            left: left.unwrap_or(if event == AnnounceEvent::Completed { 0 } else { LEFT_UNKNOWN }),
            event,
            wanted,
        };
        announce.check_port()?;
        Ok((announce, if compact { PeerListForm::Compact } else { PeerListForm::Dicts { peer_ids } }))
    }

    /// The URL to ask the tracker at `url` by; one that has a query already is added to.
    pub fn url(&self, url: &str, key: u32, tracker_id: Option<&[u8]>) -> String {
        let mut out = url.split('#').next().unwrap_or_default().to_owned();
        match out.find('?') {
            None => out.push('?'),
            Some(at) if at + 1 < out.len() && !out.ends_with('&') => out.push('&'),
            Some(_) => {}
        }
        let (info_hash, peer_id) = (escaped(&self.info_hash.0), escaped(&self.peer_id.0));
        let Announce { port, uploaded, downloaded, left, wanted, .. } = self;
        let _ = write!(out, "info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded={uploaded}");
        let _ = write!(out, "&downloaded={downloaded}&left={left}&compact=1&numwant={wanted}&key={key:08x}");
        if let Some(name) = self.event.name() {
            let _ = write!(out, "&event={name}");
        }
        if let Some(id) = tracker_id {
            let _ = write!(out, "&trackerid={}", escaped(id));
        }
        out
    }

    /// Refuses a port that nobody can dial, unless the peer leaves.
    pub(super) fn check_port(&self) -> Result<(), Refusal> {
        match self.port {
            0 if self.event != AnnounceEvent::Stopped => Err(Refusal::Port("0".to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether the peer lacks nothing.
    pub fn is_seeder(&self) -> bool {
        self.left == 0
    }
}

impl AnnounceEvent {
    fn parse(value: &[u8]) -> AnnounceEvent {
        match value {
            b"started" => AnnounceEvent::Started,
            b"completed" => AnnounceEvent::Completed,
            b"stopped" => AnnounceEvent::Stopped,
            _ => AnnounceEvent::Regular,
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            AnnounceEvent::Regular => None,
            AnnounceEvent::Started => Some("started"),
            AnnounceEvent::Completed => Some("completed"),
            AnnounceEvent::Stopped => Some("stopped"),
        }
    }
}

fn parse_peer_id(value: &[u8]) -> Result<PeerId, Refusal> {
    value.try_into().map(PeerId).map_err(|_| Refusal::Length { field: "peer_id", got: value.len() })
}

fn parse_port(value: &[u8]) -> Result<u16, Refusal> {
    query::number(value).ok_or_else(|| Refusal::Port(query::echo(value)))
}

/// Below 0 means that the client leaves it to the tracker.
fn parse_wanted(value: &[u8]) -> usize {
    query::number(value).map_or(DEFAULT_WANTED, |wanted: usize| wanted.min(MAX_WANTED))
}

fn escaped(bytes: &[u8]) -> impl std::fmt::Display + '_ {
    percent_encode(bytes, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "info_hash=%12%34%56%78%9a%bc%de%f1%23%45%67%89%ab%cd%ef%12%34%56%78%9a";
    const PEER: &str = "peer_id=-XX0001-abcdefghijkl";

    fn parse(tail: &str) -> Result<(Announce, PeerListForm), Refusal> {
        Announce::parse(format!("{HASH}&{PEER}&port=6881&left=0{tail}").as_bytes())
    }

    fn sentence(query: &str) -> String {
        Announce::parse(query.as_bytes()).unwrap_err().to_string()
    }

    fn sample() -> Announce {
        let (announce, _) = parse("&uploaded=1&downloaded=2&event=started&numwant=3").unwrap();
        announce
    }

    #[test]
    fn the_announce_of_a_real_client_is_read() {
        let query = format!(
            "{HASH}&{PEER}&port=51413&uploaded=10&downloaded=20&left=30&numwant=80&key=5b28ce28&compact=1\
             &supportcrypto=1&event=started&ip=10.9.9.9&ipv6=fd00%3A%3A1"
        );
        let (announce, form) = Announce::parse(query.as_bytes()).unwrap();
        let want = Announce {
            info_hash: "123456789abcdef123456789abcdef123456789a".parse().unwrap(),
            peer_id: PeerId(*b"-XX0001-abcdefghijkl"),
            port: 51413,
            uploaded: 10,
            downloaded: 20,
            left: 30,
            event: AnnounceEvent::Started,
            wanted: 80,
        };
        assert_eq!((announce, form), (want, PeerListForm::Compact));
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let (announce, form) = Announce::parse(format!("{HASH}&{PEER}&port=1").as_bytes()).unwrap();
        assert_eq!(
            (announce.left, announce.wanted, announce.event),
            (LEFT_UNKNOWN, DEFAULT_WANTED, AnnounceEvent::Regular)
        );
        assert_eq!(form, PeerListForm::Compact);
        let completed = Announce::parse(format!("{HASH}&{PEER}&port=1&event=completed").as_bytes()).unwrap().0;
        assert!(completed.is_seeder());
        assert_eq!(parse("&event=paused").unwrap().0.event, AnnounceEvent::Regular);
        assert_eq!(parse("&compact=0").unwrap().1, PeerListForm::Dicts { peer_ids: true });
        assert_eq!(parse("&compact=0&no_peer_id=1").unwrap().1, PeerListForm::Dicts { peer_ids: false });
    }

    #[test]
    fn numwant_is_bounded_and_negative_means_the_default() {
        for (asked, wanted) in [("0", 0), ("200", 200), ("201", MAX_WANTED), ("-1", DEFAULT_WANTED)] {
            assert_eq!(parse(&format!("&numwant={asked}")).unwrap().0.wanted, wanted);
        }
    }

    #[test]
    fn a_figure_that_cannot_be_read_counts_as_one_that_is_not_there() {
        for odd in ["", "-5", "NaN", "1.5e9", "0x10", "18446744073709551616", "%ff", "+", "1 "] {
            let (announce, _) = parse(&format!("&uploaded={odd}&downloaded={odd}&numwant={odd}&left={odd}")).unwrap();
            let figures = (announce.uploaded, announce.downloaded, announce.wanted, announce.left);
            assert_eq!(figures, (0, 0, DEFAULT_WANTED, LEFT_UNKNOWN), "{odd:?}");
        }
        assert!(parse("&left=&event=completed").unwrap().0.is_seeder());
    }

    #[test]
    fn a_port_is_from_1_to_65535_and_0_may_only_leave() {
        for good in ["1", "65535"] {
            assert!(parse(&format!("&port={good}")).is_ok());
        }
        for bad in ["0", "65536", "-1", "", "http"] {
            let error = parse(&format!("&port={bad}")).unwrap_err();
            assert_eq!(error.to_string(), format!("port={bad} cannot be dialled; it must be from 1 to 65535"));
        }
        assert!(parse("&port=0&event=stopped").is_ok());
    }

    #[test]
    fn a_refusal_says_what_was_wrong() {
        assert_eq!(sentence(""), "port is missing");
        assert_eq!(sentence(&format!("{PEER}&port=1")), "info_hash is missing");
        assert_eq!(sentence(&format!("{HASH}&port=1")), "peer_id is missing");
        assert_eq!(sentence("info_hash=short"), "info_hash has 5 bytes; it must have exactly 20");
        for got in [19, 21] {
            let want = format!("peer_id has {got} bytes; it must have exactly 20");
            assert_eq!(sentence(&format!("peer_id={}", "x".repeat(got))), want);
        }
    }

    #[test]
    fn a_url_is_built_byte_for_byte() {
        let want = "http://t/announce?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-XX0001-abcdefghijkl\
                    &port=6881&uploaded=1&downloaded=2&left=0&compact=1&numwant=3&key=0000beef&event=started&trackerid=a%26b";
        assert_eq!(sample().url("http://t/announce", 0xbeef, Some(b"a&b")), want);
    }

    #[test]
    fn a_query_that_the_url_has_is_kept() {
        for (url, begins) in [
            ("http://t/a?passkey=1", "http://t/a?passkey=1&info_hash="),
            ("http://t/a?passkey=1&", "http://t/a?passkey=1&info_hash="),
            ("http://t/a?", "http://t/a?info_hash="),
            ("http://t/a#part", "http://t/a?info_hash="),
        ] {
            assert!(sample().url(url, 0, None).starts_with(begins), "{url}");
        }
    }

    #[test]
    fn what_is_built_reads_as_it_was() {
        for event in [AnnounceEvent::Regular, AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Stopped]
        {
            let announce = Announce { event, peer_id: PeerId(std::array::from_fn(|at| at as u8 * 13)), ..sample() };
            let url = announce.url("http://t/?", 0, None);
            assert_eq!(Announce::parse(&url.as_bytes()["http://t/?".len()..]), Ok((announce, PeerListForm::Compact)));
        }
    }
}
