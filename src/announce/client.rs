//! Asks a tracker for peers, over HTTP with ureq or over UDP: the scheme of the URL decides.
//!
//! It blocks its caller, for a bounded time, and reads a bounded answer: a tracker is a stranger that a metainfo
//! chose. It keeps no torrent's state; whose turn it is, is for [`tiers`](super::tiers) to say.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    config::ConfigBuilder,
    http::Response,
    typestate::AgentScope,
    unversioned::{resolver::DefaultResolver, transport::DefaultConnector},
};

use crate::{
    announce::{
        answer::{self, Answer},
        encoding,
        error::MAX_REDIRECTS,
        reach::{Hop, OtherMachines},
        redirect,
        tls::Distrust,
        udp,
    },
    net::read_bounded,
    tracker::announce::{Announce, AnnounceEvent},
};

pub use crate::announce::{
    error::AnnounceError,
    reach::{Reach, TrackerReach},
};

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to begin once it is asked for.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an announce may take in all, redirects and lost packets included.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The same for a goodbye: a process that ends has 2 s for everything.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The longest body that is read, in bytes. A thousand peers in the longest form take 70 KB.
const MAX_BODY: u64 = 1024 * 1024;

/// What a server answered.
#[derive(Debug)]
pub struct BoundedBody {
    /// HTTP status.
    pub status: u16,
    /// All of it.
    pub bytes: Vec<u8>,
    /// What a server of ours says that it serves, in its field `Minitorrent`.
    pub serves: Option<String>,
}

/// Asks trackers, from any number of threads.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// Asks other machines alone.
    confined: Agent,
    key: u32,
    is_ending: AtomicBool,
}

impl Client {
    /// A client with this `key`, a random number by which trackers know it again when its address changes.
    pub fn new(key: u32) -> Client {
        let config = config().build();
        let confined = Agent::with_parts(
            config.clone(),
            DefaultConnector::default(),
            OtherMachines::new(DefaultResolver::default()),
        );
        Client { agent: config.new_agent(), confined, key, is_ending: AtomicBool::new(false) }
    }

    /// One that trusts this certificate authority, in PEM, and no other.
    #[cfg(all(test, feature = "tls"))]
    pub fn trusting(authority: &[u8]) -> Client {
        use ureq::tls::{Certificate, RootCerts, TlsConfig};
        let certificate = Certificate::from_pem(authority).expect("it is a certificate");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build();
        Client { agent: config().tls_config(tls).build().new_agent(), ..Client::new(1) }
    }

    /// Announces to the tracker at `url` and waits for its answer.
    pub fn announce(
        &self,
        url: &str,
        announce: &Announce,
        tracker_id: Option<&[u8]>,
        reach: Reach,
    ) -> Result<Answer, AnnounceError> {
        let is_ending = || self.is_ending.load(Ordering::Relaxed);
        // Both are said even by a process that ends.
        let is_cancelled =
            || !matches!(announce.event, AnnounceEvent::Completed | AnnounceEvent::Stopped) && is_ending();
        let is_goodbye = announce.event == AnnounceEvent::Stopped || is_ending();
        let limit = if is_goodbye { GOODBYE_TIMEOUT } else { TOTAL_TIMEOUT };
        if is_cancelled() {
            return Err(AnnounceError::Cancelled);
        }
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| AnnounceError::Url(format!("{url:?} has no scheme")))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "https" if !cfg!(feature = "tls") => Err(AnnounceError::NoTls),
            "http" | "https" => {
                let body = self.get(&announce.url(url, self.key, tracker_id), limit, MAX_BODY, reach)?;
                match Answer::parse(&body.bytes) {
                    // Servers say so in their words: "The plain HTTP request was sent to HTTPS port".
                    Err(_) if body.status == 400 && body.bytes.windows(5).any(|word| word == b"HTTPS") => {
                        Err(AnnounceError::NeedsTls)
                    }
                    Err(error) if !body.is_success() && !matches!(error, answer::AnswerError::Failure { .. }) => {
                        Err(AnnounceError::Status(body.status))
                    }
                    outcome => outcome.map_err(AnnounceError::Answer),
                }
            }
            "udp" => udp::announce(authority, announce, self.key, limit, &is_cancelled, reach),
            _ => Err(AnnounceError::Scheme(scheme.to_owned())),
        }
    }

    /// From now on only `completed` and `stopped` are announced; whatever else waits for a UDP tracker stops waiting.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// What an http(s) URL answers, whatever its status, and wherever it redirects to; at most `max_bytes`, within `limit`. Each
    /// place on the way is within `reach`, or is not asked.
    pub fn get(&self, url: &str, limit: Duration, max_bytes: u64, reach: Reach) -> Result<BoundedBody, AnnounceError> {
        let deadline = Instant::now() + limit;
        let (mut url, mut hop) = (url.to_owned(), Hop::First);
        for _ in 0..=MAX_REDIRECTS {
            let (response, next) = self.ask_within(&url, deadline, reach, hop)?;
            let Some(location) = redirect::location(&response) else { return read(response, max_bytes) };
            (url, hop) = (redirect::joined(&url, location), next);
        }
        Err(AnnounceError::Redirects)
    }

    /// What a URL that a user of this machine named answers by itself, without a redirect.
    pub fn get_unfollowed(&self, url: &str, limit: Duration, max_bytes: u64) -> Result<BoundedBody, AnnounceError> {
        read(ask(&self.agent, url, Instant::now() + limit)?, max_bytes)
    }

    /// Asks one URL, if it is within reach, and says where a redirect would come from.
    ///
    /// Another machine is what it is looked up for first. Only where that shows that it leads to this one, and it may, is it asked
    /// without that limit.
    fn ask_within(
        &self,
        url: &str,
        deadline: Instant,
        reach: Reach,
        hop: Hop,
    ) -> Result<(Response<Body>, Hop), AnnounceError> {
        match ask(&self.confined, url, deadline) {
            Err(AnnounceError::ThisMachine(ip)) => {
                reach.check_here(url, hop, ip)?;
                Ok((ask(&self.agent, url, deadline)?, Hop::FromHere))
            }
            // Nobody knows where it leads: it is asked only if it may be on this machine, and trusted only as another one.
            Err(AnnounceError::OwnAddresses(error)) => {
                let here = reach.check_here(url, hop, Ipv4Addr::UNSPECIFIED.into());
                here.map_err(|_| AnnounceError::OwnAddresses(error))?;
                Ok((ask(&self.agent, url, deadline)?, Hop::FromElsewhere))
            }
            outcome => Ok((outcome?, Hop::FromElsewhere)),
        }
    }

    /// What this http(s) URL answers to these bytes, within `limit`. They go nowhere else.
    pub fn post(&self, url: &str, bytes: &[u8], limit: Duration) -> Result<BoundedBody, AnnounceError> {
        let request = self.agent.post(checked(url)?).config().timeout_global(Some(limit)).build();
        let request = request.header("Content-Type", "application/octet-stream");
        read(request.send(bytes).map_err(|error| from_ureq(error, url))?, MAX_BODY)
    }
}

impl BoundedBody {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Whether the tracker at this URL is asked by this machine's loopback address.
pub fn is_on_loopback(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let authority = authority.unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Asks a URL, and no other that it redirects to.
fn ask(agent: &Agent, url: &str, deadline: Instant) -> Result<Response<Body>, AnnounceError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(AnnounceError::Timeout);
    }
    let request = agent.get(checked(url)?).config().timeout_global(Some(left)).build();
    request.call().map_err(|error| from_ureq(error, url))
}

/// A URL that is asked over HTTP; no other scheme leads anywhere, whatever a redirect or a metainfo says.
fn checked(url: &str) -> Result<&str, AnnounceError> {
    let (scheme, _) = url.split_once("://").ok_or_else(|| AnnounceError::Url(format!("{url:?} has no scheme")))?;
    match scheme.to_ascii_lowercase().as_str() {
        "https" if !cfg!(feature = "tls") => Err(AnnounceError::NoTls),
        "http" | "https" => Ok(url),
        _ => Err(AnnounceError::Scheme(scheme.to_owned())),
    }
}

fn read(mut response: Response<Body>, max_bytes: u64) -> Result<BoundedBody, AnnounceError> {
    let bytes =
        read_bounded(response.body_mut().as_reader(), max_bytes).map_err(|error| from_ureq(error.into(), ""))?;
    let bytes = bytes.ok_or(AnnounceError::TooLarge(max_bytes))?;
    let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let bytes = encoding::decode(field("content-encoding").unwrap_or_default(), bytes, max_bytes)?;
    let serves = field("minitorrent").map(str::to_owned);
    Ok(BoundedBody { status: response.status().as_u16(), bytes, serves })
}

fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .user_agent(concat!("minitorrent/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .http_status_as_error(false)
        // Each is looked at before it is followed.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(RESOLVE_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
}

/// What went wrong, for a request of this URL.
fn from_ureq(error: ureq::Error, url: &str) -> AnnounceError {
    // What an https server does with plain HTTP differs: it closes, it sends an alert of TLS, or it says so (status 400).
    let hint = match url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        true => "; if its port speaks https, write https:// in its URL",
        false => "",
    };
    match error {
        ureq::Error::Timeout(_) => AnnounceError::Timeout,
        ureq::Error::Io(error) => match (Distrust::within(&error), error.kind()) {
            (Some(why), _) => AnnounceError::Tls(why),
            (None, ErrorKind::TimedOut) => AnnounceError::Timeout,
            (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                AnnounceError::Http(format!("it closes the connection without a whole answer{hint}"))
            }
            (None, _) => AnnounceError::Unreachable(error),
        },
        ureq::Error::HostNotFound => AnnounceError::Unreachable(io::Error::new(ErrorKind::NotFound, "no such host")),
        ureq::Error::BadUri(why) => AnnounceError::Url(why),
        ureq::Error::Http(error) => AnnounceError::Url(error.to_string()),
        ureq::Error::Tls(why) => AnnounceError::Tls(Distrust::Other(why.to_owned())),
        // What our resolver refused.
        ureq::Error::Other(error) => match error.downcast() {
            Ok(ours) => *ours,
            Err(error) => AnnounceError::Http(format!("{error}{hint}")),
        },
        other => AnnounceError::Http(format!("{other}{hint}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::{InfoHash, PeerId};
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{SocketAddr, TcpListener, UdpSocket},
        sync::mpsc,
        thread,
    };
    use ureq::{
        config::Config,
        http::Uri,
        unversioned::{
            resolver::{ResolvedSocketAddrs, Resolver},
            transport::NextTimeout,
        },
    };

    fn sample(event: AnnounceEvent) -> Announce {
        let (info_hash, peer_id) = (InfoHash([1; 20]), PeerId([b'p'; 20]));
        Announce { info_hash, peer_id, port: 6881, uploaded: 0, downloaded: 0, left: 9, event, wanted: 50 }
    }

    /// A server that gives these answers, one to a connection, and passes on what was asked.
    fn server(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, questions) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
                let _ = asked.send(head.join("\n"));
                let _ = stream.write_all(&answer);
            }
        });
        (base, questions)
    }

    fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn ask(answers: Vec<Vec<u8>>) -> Result<Answer, AnnounceError> {
        Client::new(1).announce(
            &format!("{}/announce", server(answers).0),
            &sample(AnnounceEvent::Started),
            None,
            Reach::Anywhere,
        )
    }

    fn sentence(answer: Vec<u8>) -> String {
        ask(vec![answer]).unwrap_err().to_string()
    }

    const GOOD: &[u8] = b"d8:intervali7e5:peers6:\x01\x02\x03\x04\0\x50e";

    #[test]
    fn a_tracker_is_asked_as_bep_3_says_and_its_answer_read() {
        let (base, questions) = server(vec![response("200 OK", "", GOOD)]);
        let answer = Client::new(0xbeef)
            .announce(&format!("{base}/a?pass=1"), &sample(AnnounceEvent::Started), Some(b"id"), Reach::Anywhere)
            .unwrap();
        assert_eq!(answer.peers, ["1.2.3.4:80".parse().unwrap()]);
        let question = questions.recv().unwrap();
        assert!(question.starts_with("GET /a?pass=1&info_hash=%01%01%01%01"), "{question}");
        assert!(question.contains("&key=0000beef&event=started&trackerid=id HTTP/1.1"), "{question}");
        assert!(question.to_lowercase().contains("user-agent: minitorrent/"), "{question}");
    }

    #[test]
    fn an_answer_in_gzip_is_read_and_a_bomb_is_refused() {
        let gzip = |bytes: &[u8]| {
            let mut packed = Vec::new();
            flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
            packed
        };
        let encoded = |bytes: &[u8]| response("200 OK", "Content-Encoding: gzip\r\n", bytes);
        assert_eq!(ask(vec![encoded(&gzip(GOOD))]).unwrap().peers.len(), 1);
        let bomb = gzip(&vec![b'd'; 10_000_000]);
        assert!(matches!(ask(vec![encoded(&bomb)]), Err(AnnounceError::TooLarge(MAX_BODY))));
    }

    #[test]
    fn redirects_are_followed_to_the_limit() {
        let (end, _) = server(vec![response("200 OK", "", GOOD)]);
        let to = |url: &str| response("302 Found", &format!("Location: {url}\r\n"), b"");
        let hops = |count: u32, end: &str| (1..count).fold(to(end), |next, _| to(&server(vec![next]).0));
        assert!(ask(vec![hops(MAX_REDIRECTS, &end)]).is_ok());
        assert!(matches!(ask(vec![hops(MAX_REDIRECTS + 1, &end)]), Err(AnnounceError::Redirects)));
        for elsewhere in ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://x/", "http://"] {
            assert!(ask(vec![to(elsewhere)]).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn a_body_is_read_to_the_limit() {
        let body = |length: usize| {
            let padding = length - "d7:padding1048000:5:peers0:e".len();
            format!("d7:padding{padding}:{}5:peers0:e", "x".repeat(padding)).into_bytes()
        };
        let (fits, not) = (body(MAX_BODY as usize), body(MAX_BODY as usize + 1));
        assert_eq!((fits.len() as u64, not.len() as u64), (MAX_BODY, MAX_BODY + 1));
        assert!(ask(vec![response("200 OK", "", &fits)]).is_ok());
        assert!(matches!(ask(vec![response("200 OK", "", &not)]), Err(AnnounceError::TooLarge(_))));
    }

    #[test]
    fn every_failure_is_a_sentence() {
        let html = b"<html>hello</html>";
        let refusal = b"d14:failure reason7:go awaye";
        for (answer, want) in [
            (response("200 OK", "", html), "the tracker answers with a web page; is this the announce URL?"),
            (response("404 Not Found", "", html), "the tracker answers with HTTP status 404"),
            (response("400 Bad Request", "", refusal), "the tracker refuses: go away"),
            (
                response("200 OK", "", b""),
                "the tracker's answer is no bencode: the bencoded data ends within a value (at byte 0)",
            ),
        ] {
            assert_eq!(sentence(answer), want);
        }
        assert!(sentence(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()).starts_with("the tracker speaks no proper HTTP: "));
        let closed = sentence(Vec::new());
        assert!(closed.starts_with("the tracker speaks no proper HTTP: it closes the connection"), "{closed}");
        assert!(closed.ends_with("; if its port speaks https, write https:// in its URL"), "{closed}");
        let told = response("400 Bad Request", "", b"Client sent an HTTP request to an HTTPS server.");
        assert_eq!(sentence(told), "the server's port speaks https; write https:// in its URL");
    }

    #[test]
    fn other_schemes_are_not_asked() {
        let ask = |url: &str| {
            Client::new(1)
                .announce(url, &sample(AnnounceEvent::Started), None, Reach::Anywhere)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(ask("file:///etc/passwd"), "a tracker is asked over http, https or udp, not over \"file\"");
        assert_eq!(ask("wss://tracker"), "a tracker is asked over http, https or udp, not over \"wss\"");
        assert!(ask("tracker/announce").ends_with("\"tracker/announce\" has no scheme"));
        assert!(ask("udp://tracker/announce").starts_with("the tracker cannot be reached: "), "no port");
        assert!(ask("http://").starts_with("the tracker's URL cannot be asked: "));
    }

    #[test]
    fn a_closed_port_and_a_silent_tracker_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Client::new(1).announce(
            &format!("http://{closed}/"),
            &sample(AnnounceEvent::Started),
            None,
            Reach::Anywhere,
        );
        assert!(matches!(error, Err(AnnounceError::Unreachable(_))));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert!(matches!(
            Client::new(1).announce(&url, &sample(AnnounceEvent::Stopped), None, Reach::Anywhere),
            Err(AnnounceError::Timeout)
        ));
        assert!(start.elapsed() < Duration::from_secs(5), "a goodbye is short");
    }

    #[test]
    fn a_tracker_is_on_this_machine_where_its_url_says_so() {
        let here = ["localhost:80", "LOCALHOST", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "[::1]", "a:b@127.0.0.1:1"];
        let elsewhere =
            ["tracker:80", "10.0.0.1:80", "[fd00::1]:80", "127.0.0.1@evil.example", "localhost.evil:80", ""];
        let is_here = |authority: &str| {
            let urls = [
                format!("http://{authority}/announce"),
                format!("udp://{authority}"),
                format!("HTTP://{authority}?a#b"),
            ];
            let all: Vec<_> = urls.iter().map(|url| is_on_loopback(url)).collect();
            assert!(all.iter().all(|one| *one == all[0]), "{authority}");
            all[0]
        };
        assert!(here.into_iter().all(is_here) && !elsewhere.into_iter().any(is_here));
        assert!(
            !is_on_loopback("http://evil/127.0.0.1")
                && !is_on_loopback("127.0.0.1")
                && !is_on_loopback("http://evil?@127.0.0.1")
        );
    }

    #[test]
    fn an_answer_that_drips_is_given_up_in_time() {
        for begin in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nd"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/announce", listener.local_addr().unwrap());
            let dripping = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut sent = stream.write_all(begin.as_bytes());
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(50));
                    sent = stream.write_all(b"x");
                }
            });
            let start = Instant::now();
            let error =
                Client::new(1).announce(&url, &sample(AnnounceEvent::Stopped), None, Reach::Anywhere).unwrap_err();
            assert!(matches!(error, AnnounceError::Timeout), "{begin:?}: {error}");
            assert!(start.elapsed() < GOODBYE_TIMEOUT * 3, "{begin:?}: {:?}", start.elapsed());
            dripping.join().unwrap();
        }
    }

    #[test]
    fn who_is_ending_only_says_goodbye() {
        let (base, _) = server(vec![response("200 OK", "", GOOD)]);
        let client = Client::new(1);
        client.end();
        assert!(matches!(
            client.announce(&base, &sample(AnnounceEvent::Regular), None, Reach::Anywhere),
            Err(AnnounceError::Cancelled)
        ));
        assert!(client.announce(&base, &sample(AnnounceEvent::Stopped), None, Reach::Anywhere).is_ok());
    }

    #[test]
    fn a_udp_url_is_asked_over_udp() {
        let tracker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("UDP://{}/announce?x", tracker.local_addr().unwrap());
        let asking = thread::spawn(move || {
            Client::new(1).announce(&url, &sample(AnnounceEvent::Started), None, Reach::Anywhere)
        });
        let mut packet = [0; 100];
        let (_, from) = tracker.recv_from(&mut packet).unwrap();
        tracker.send_to(&[b"\0\0\0\x03", &packet[12..16], b"no"].concat(), from).unwrap();
        assert_eq!(asking.join().unwrap().unwrap_err().to_string(), "the tracker refuses: no");
    }
    /// Looks up a name of another machine that is this one, and what it is not asked for as ever.
    #[derive(Debug)]
    struct WithElsewhere<R>(SocketAddr, R);

    impl<R: Resolver> Resolver for WithElsewhere<R> {
        fn resolve(
            &self,
            uri: &Uri,
            config: &Config,
            timeout: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            if uri.host() != Some("elsewhere.example") {
                return self.1.resolve(uri, config, timeout);
            }
            let mut found = self.empty();
            found.push(self.0);
            Ok(found)
        }
    }

    #[test]
    fn a_metainfo_has_this_machine_asked_as_a_tracker_alone() {
        let announce = |base: &str, path: &str, reach: Reach| {
            Client::new(1).announce(&format!("{base}{path}"), &sample(AnnounceEvent::Started), None, reach)
        };
        for path in ["/admin/delete?all", "/", "/announce/../admin", "/?/announce"] {
            let (base, questions) = server(vec![response("200 OK", "", GOOD)]);
            let refusal = announce(&base, path, Reach::Trackers).unwrap_err();
            assert!(matches!(refusal, AnnounceError::ServiceHere(_)), "{path}: {refusal}");
            assert!(questions.try_recv().is_err(), "{path} was asked");
            assert!(refusal.to_string().contains("--tracker"), "{refusal}");
            assert!(announce(&base, path, Reach::Anywhere).is_ok(), "{path}");
        }
        let (base, _questions) = server(vec![response("200 OK", "", GOOD)]);
        assert!(announce(&base, "/announce?passkey=1", Reach::Trackers).is_ok());
    }

    #[test]
    fn while_this_machines_addresses_are_unknown_only_what_may_be_here_is_asked() {
        #[derive(Debug)]
        struct Unknown;
        impl Resolver for Unknown {
            fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
                let error = io::Error::from(ErrorKind::PermissionDenied);
                Err(ureq::Error::Other(Box::new(AnnounceError::OwnAddresses(error))))
            }
        }
        let to_itself = response("302 Found", "Location: /announce\r\n", b"");
        for (first, path, reach, may) in [
            (response("200 OK", "", GOOD), "/announce", Reach::Trackers, true),
            (response("200 OK", "", GOOD), "/any", Reach::Anywhere, true),
            (response("200 OK", "", GOOD), "/any", Reach::Trackers, false),
            (response("200 OK", "", GOOD), "/announce", Reach::OtherMachines, false),
            (to_itself.clone(), "/announce", Reach::Trackers, false),
            (to_itself, "/announce", Reach::Anywhere, false),
        ] {
            let (base, _questions) = server(vec![first, response("200 OK", "", GOOD)]);
            let confined = Agent::with_parts(config().build(), DefaultConnector::default(), Unknown);
            let client = Client { confined, ..Client::new(1) };
            let answer = client.announce(&(base + path), &sample(AnnounceEvent::Started), None, reach);
            let is_right = match &answer {
                Ok(_) => may,
                Err(error) => !may && matches!(error, AnnounceError::OwnAddresses(_)),
            };
            assert!(is_right, "{path} {reach:?}: {answer:?}");
        }
    }

    #[test]
    fn a_tracker_here_redirects_here_as_a_tracker_and_one_elsewhere_does_not_at_all() {
        let to = |url: &str| response("302 Found", &format!("Location: {url}\r\n"), b"");
        let ask = |first: Vec<u8>, named: &str, reach: Reach| {
            let (base, _questions) = server(vec![first]);
            let address = base.strip_prefix("http://").unwrap().parse().unwrap();
            let resolver = WithElsewhere(address, OtherMachines::new(DefaultResolver::default()));
            let confined = Agent::with_parts(config().build(), DefaultConnector::default(), resolver);
            let url = base.replace("127.0.0.1", named) + "/announce";
            Client { confined, ..Client::new(1) }.announce(&url, &sample(AnnounceEvent::Started), None, reach)
        };
        for reach in [Reach::Trackers, Reach::Anywhere] {
            for path in ["/announce", "/admin"] {
                let (inside, questions) = server(vec![response("200 OK", "", GOOD); 2]);
                let from_elsewhere = ask(to(&format!("{inside}{path}")), "elsewhere.example", reach);
                assert!(matches!(from_elsewhere, Err(AnnounceError::RedirectHere(_))), "{path}: {from_elsewhere:?}");
                assert!(questions.try_recv().is_err(), "{path} was asked");
                let from_here = ask(to(&format!("{inside}{path}")), "127.0.0.1", reach);
                let may = reach == Reach::Anywhere || path == "/announce";
                assert_eq!((from_here.is_ok(), questions.try_recv().is_ok()), (may, may), "{path}: {from_here:?}");
            }
        }
        // By way of a third one, and beside what was asked.
        let (inside, questions) = server(vec![response("200 OK", "", GOOD)]);
        let (third, _third) = server(vec![to(&format!("{inside}/announce"))]);
        let through = ask(to(&third.replace("127.0.0.1", "localhost")), "elsewhere.example", Reach::Trackers);
        assert!(matches!(through, Err(AnnounceError::RedirectHere(_))), "{through:?}");
        assert!(questions.try_recv().is_err());
    }
}
