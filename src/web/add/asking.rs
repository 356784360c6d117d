//! Asking a URL for whoever controls the page, without lending him more than this machine's way into the network.
//!
//! Each redirect is looked at as the first URL is: http(s) alone, and this machine itself only for who sits at it. Other
//! programs on it may trust whoever asks from here.

use std::{
    net::{IpAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::{
    super::{address, failure::Failure},
    MAX_LENGTH,
};
use crate::tracker::client::{self, Client};

/// How long a URL may take to be read, redirects among it.
const URL_TIME: Duration = Duration::from_secs(30);

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// How many redirects are followed: http to https, a name to another, and one more.
const MAX_REDIRECTS: usize = 3;

/// Where a URL leads, as far as that matters here.
struct Target<'a> {
    scheme: &'a str,
    /// `user@host:port`.
    authority: &'a str,
}

/// What lies at a URL. `is_home` is whether the asker sits at this machine.
pub fn ask(url: &str, is_home: bool) -> Result<Vec<u8>, Failure> {
    let (client, deadline) = (Client::new(0), Instant::now() + URL_TIME);
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        check(&url, is_home)?;
        let time = deadline.saturating_duration_since(Instant::now());
        let body = client.get_unfollowed(&url, time, MAX_LENGTH).map_err(|error| match error {
            client::Error::TooLarge(limit) => Failure::new(413, format!("{url}: longer than {limit} bytes")),
            client::Error::Unreachable(error) => Failure::new(502, format!("{url} cannot be reached: {error}")),
            client::Error::Timeout => Failure::new(504, format!("{url} did not answer in time")),
            error => Failure::new(502, format!("{url}: {error}")),
        })?;
        match (body.status, body.location) {
            (200..300, _) => return Ok(body.bytes),
            (300..400, Some(location)) => url = joined(&url, &location),
            (status, _) => {
                return Err(Failure::new(502, format!("{url}: the server answers with HTTP status {status}")));
            }
        }
    }
    Err(Failure::new(502, format!("{url}: redirects without end, more than {MAX_REDIRECTS} of them")))
}

fn check(url: &str, is_home: bool) -> Result<(), Failure> {
    let target = Target::of(url).filter(|target| {
        let is_web = ["http", "https"].iter().any(|scheme| target.scheme.eq_ignore_ascii_case(scheme));
        is_web && url.len() <= MAX_URL
    });
    let target = target.ok_or_else(|| {
        let start: String = url.chars().take(80).collect();
        Failure::new(400, format!("{start}: a URL begins with http:// or https:// and has at most {MAX_URL} bytes"))
    })?;
    if !is_home && target.is_this_machine() {
        let sentence = format!("{url} is within the machine that serves this page; only who sits at it may ask that");
        return Err(Failure::new(403, sentence));
    }
    Ok(())
}

/// Where a redirect leads: whole, from the top of the server, or beside what was asked (RFC 3986, section 5.2).
fn joined(base: &str, location: &str) -> String {
    let Some(target) = Target::of(base).filter(|_| !location.contains("://")) else { return location.to_owned() };
    let (scheme, authority) = (target.scheme, target.authority);
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let path = base[scheme.len() + 3 + authority.len()..].split(['?', '#']).next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    format!("{scheme}://{authority}{folder}{location}")
}

impl<'a> Target<'a> {
    fn of(url: &'a str) -> Option<Target<'a>> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next().filter(|authority| !authority.is_empty())?;
        Some(Target { scheme, authority })
    }

    /// Whether it is inside this machine, by a name that says so or that leads there.
    fn is_this_machine(&self) -> bool {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => host.to_owned(),
            _ => format!("{host}:80"),
        };
        // What has no address leads nowhere at all.
        let mut found = with_port.to_socket_addrs().into_iter().flatten();
        address::is_loopback(host) || found.any(|address| is_inside(address.ip()))
    }
}

fn is_inside(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{Ipv4Addr, SocketAddr, TcpListener},
        thread,
    };

    use super::*;

    /// A server that answers each request with `head`, and then sends as much of `body` as is taken.
    fn server(head: String, body: impl Fn(usize) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(head.as_bytes());
                for part in (0..).map_while(&body) {
                    match stream.write_all(&part) {
                        Err(error) if error.kind() != ErrorKind::Interrupted => break,
                        _ => {}
                    }
                }
            }
        });
        address
    }

    fn redirect(to: &str) -> SocketAddr {
        server(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"), |_| None)
    }

    fn refusal(url: &str, is_home: bool) -> (u16, String) {
        let failure = ask(url, is_home).unwrap_err();
        (failure.status, failure.to_string())
    }

    #[test]
    fn a_redirect_leads_to_the_web_alone() {
        for to in ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "data://x", "HTTPX://x/"] {
            let (status, sentence) = refusal(&format!("http://{}/a", redirect(to)), true);
            assert_eq!(status, 400, "{to}: {sentence}");
            assert!(sentence.starts_with(to) && sentence.contains("begins with http://"), "{sentence}");
        }
        for url in ["file:///etc/passwd", "/etc/passwd", "", "http:/x", "http:///x", "javascript://x"] {
            assert_eq!(refusal(url, true).0, 400, "{url}");
        }
        let long = format!("http://x/{}", "x".repeat(MAX_URL));
        assert_eq!(refusal(&long, true).0, 400);
    }

    #[test]
    fn only_who_sits_at_this_machine_has_it_ask_itself() {
        let inside = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), |_| None);
        let port = inside.port();
        assert_eq!(ask(&format!("http://{inside}/"), true).unwrap(), b"ok");
        for host in
            ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "me@127.0.0.1"]
        {
            let (status, sentence) = refusal(&format!("http://{host}:{port}/"), false);
            assert_eq!(status, 403, "{host}: {sentence}");
            assert!(sentence.contains("within the machine that serves this page"), "{sentence}");
        }
        let (target, there) = (format!("http://localhost:{port}/"), "http://example.net:81/a");
        assert!(check(there, false).is_ok() && check(&joined(there, &target), false).unwrap_err().status == 403);
    }

    #[test]
    fn redirects_are_followed_to_the_end_and_not_for_ever() {
        let end = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), |_| None);
        let mut hop = end;
        for _ in 0..MAX_REDIRECTS {
            hop = redirect(&format!("http://{hop}/"));
            assert_eq!(ask(&format!("http://{hop}/a"), true).unwrap(), b"ok");
        }
        hop = redirect(&format!("http://{hop}/"));
        assert!(refusal(&format!("http://{hop}/a"), true).1.contains("redirects without end"));
        assert_eq!(refusal(&format!("http://{}/a", redirect("/a")), true).0, 502);
    }

    #[test]
    fn a_body_without_end_is_cut_off() {
        let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
        let endless = server(head, |_| Some(vec![b'd'; 1 << 20]));
        let (status, sentence) = refusal(&format!("http://{endless}/big.json"), true);
        assert_eq!((status, sentence.contains(&format!("longer than {MAX_LENGTH} bytes"))), (413, true), "{sentence}");
    }

    #[test]
    fn a_redirect_may_be_whole_or_a_part() {
        let base = "https://me@a.example:81/x/y?z=/q#f";
        for (location, joined_to) in [
            ("http://b/c", "http://b/c"),
            ("//b/c", "https://b/c"),
            ("/c", "https://me@a.example:81/c"),
            ("c", "https://me@a.example:81/x/c"),
        ] {
            assert_eq!(joined(base, location), joined_to);
        }
        assert_eq!(joined("http://a", "c"), "http://a/c");
    }
}
