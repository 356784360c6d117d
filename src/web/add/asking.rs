//! Asking a URL for whoever controls the page, without lending more than this machine's way into the network.
//!
//! Each redirect is looked at as the first URL is: http(s) alone, and never this machine itself, whose programs may trust whoever
//! asks from here. Nobody is exempt: an address does not show that somebody sits at this machine.

use std::{net::IpAddr, time::Duration};

use super::{super::failure::HttpFailure, MAX_LENGTH};
use crate::announce::client::{AnnounceError, Client, Reach};

/// How long a URL may take to be read, redirects among it.
const URL_TIME: Duration = Duration::from_secs(30);

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// What lies at a URL within `reach`.
pub fn ask(url: &str, reach: Reach) -> Result<Vec<u8>, HttpFailure> {
    check(url)?;
    let body = Client::new(0).get(url, URL_TIME, MAX_LENGTH, reach).map_err(|error| match error {
        AnnounceError::TooLarge(limit) => HttpFailure::new(413, format!("{url}: longer than {limit} bytes")),
        AnnounceError::ThisMachine(ip) => HttpFailure::new(403, within(url, ip)),
        AnnounceError::Unreachable(error) => HttpFailure::new(502, format!("{url} cannot be reached: {error}")),
        AnnounceError::Timeout => HttpFailure::new(504, format!("{url} did not answer in time")),
        AnnounceError::Scheme(scheme) => HttpFailure::new(
            400,
            format!("{url}: it leads to a URL of {scheme}, and one begins with http:// or https://"),
        ),
        AnnounceError::Redirects => HttpFailure::new(502, format!("{url}: redirects without end")),
        error => HttpFailure::new(502, format!("{url}: {error}")),
    })?;
    match body.status {
        200..300 => Ok(body.bytes),
        status => Err(HttpFailure::new(502, format!("{url}: the server answers with HTTP status {status}"))),
    }
}

fn check(url: &str) -> Result<(), HttpFailure> {
    let is_web = |(scheme, rest): (&str, &str)| {
        ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
            && !rest.starts_with(['/', '?', '#', '\\'])
            && !rest.is_empty()
    };
    if url.len() <= MAX_URL && url.split_once("://").is_some_and(is_web) {
        return Ok(());
    }
    let start: String = url.chars().take(80).collect();
    Err(HttpFailure::new(
        400,
        format!("{start}: a URL begins with http:// or https:// and has at most {MAX_URL} bytes"),
    ))
}

fn within(url: &str, ip: IpAddr) -> String {
    format!(
        "{url} leads to {ip}, within the machine that serves this page, which the page does not have asked; \
         choose the metainfo's file instead, or run minitorrent fetch there"
    )
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
        thread,
    };

    use super::*;
    use crate::net;

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

    fn refusal(url: &str, reach: Reach) -> (u16, String) {
        let failure = ask(url, reach).unwrap_err();
        (failure.status, failure.to_string())
    }

    #[test]
    fn a_redirect_leads_to_the_web_alone() {
        for to in ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "data://x", "HTTPX://x/"] {
            let (status, sentence) = refusal(&format!("http://{}/a", redirect(to)), Reach::Anywhere);
            assert_eq!(status, 400, "{to}: {sentence}");
            assert!(sentence.contains("begins with http://"), "{sentence}");
        }
        for url in ["file:///etc/passwd", "/etc/passwd", "", "http:/x", "http:///x", "javascript://x"] {
            assert_eq!(refusal(url, Reach::Anywhere).0, 400, "{url}");
        }
        let long = format!("http://x/{}", "x".repeat(MAX_URL));
        assert_eq!(refusal(&long, Reach::Anywhere).0, 400);
    }

    #[test]
    fn no_spelling_and_no_redirect_has_this_machine_ask_itself() {
        let inside = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        inside.set_nonblocking(true).unwrap();
        let port = inside.local_addr().unwrap().port();
        let spelled = [
            "127.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.1",
            "127.9.9.9",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "0.0.0.0",
            "0",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "me@127.0.0.1",
            "example.net@127.0.0.1",
        ];
        let own = net::own_addresses().unwrap().into_iter().map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        for host in spelled.into_iter().map(str::to_owned).chain(own) {
            let (status, sentence) = refusal(&format!("http://{host}:{port}/"), Reach::OtherMachines);
            assert!(status == 403 || status == 502 && !sentence.contains("refused"), "{host}: {sentence}");
        }
        let (status, sentence) = refusal(&format!("http://127.0.0.1:{port}/"), Reach::OtherMachines);
        assert_eq!((status, sentence.contains("within the machine that serves this page")), (403, true), "{sentence}");
        // With a zone, as only a link-local address needs it: nothing may come of it.
        for zone in ["[fe80::1%lo]", "[fe80::1%25lo]", "[::1%lo]", "[::1%25lo]"] {
            assert!(ask(&format!("http://{zone}:{port}/"), Reach::OtherMachines).is_err(), "{zone}");
        }
        assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was asked");
    }

    #[test]
    fn redirects_are_followed_to_the_end_and_not_for_ever() {
        let end = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), |_| None);
        let mut hop = end;
        for _ in 0..3 {
            hop = redirect(&format!("http://{hop}/"));
            assert_eq!(ask(&format!("http://{hop}/a"), Reach::Anywhere).unwrap(), b"ok");
        }
        hop = redirect(&format!("http://{hop}/"));
        assert!(refusal(&format!("http://{hop}/a"), Reach::Anywhere).1.contains("redirects without end"));
        assert_eq!(refusal(&format!("http://{}/a", redirect("/a")), Reach::Anywhere).0, 502);
    }

    #[test]
    fn a_body_without_end_is_cut_off() {
        let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
        let endless = server(head, |_| Some(vec![b'd'; 1 << 20]));
        let (status, sentence) = refusal(&format!("http://{endless}/big.json"), Reach::Anywhere);
        assert_eq!((status, sentence.contains(&format!("longer than {MAX_LENGTH} bytes"))), (413, true), "{sentence}");
    }
}
