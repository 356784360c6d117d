//! The pages on which a seeder's torrent is listed: those of its trackers, where they are ours.
//!
//! A tracker is asked for nothing but whether it is one of ours, until it has said so. A metainfo that is meant for few, because
//! it is private or one of its URLs is a member's own, goes to a tracker on this machine at most, and without such URLs.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    thread,
    time::Duration,
};

use super::TRACKER_PORT;
use crate::{
    announce::client::{AnnounceError, Client, is_on_loopback},
    metainfo::Metainfo,
    net::shown_addresses,
    node::{Failure, Node},
    terminal,
    web::address::{UrlOrigin, lan_address},
};

/// How long to wait before a tracker that could not be reached is asked again, at first; then twice as long each time.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest of these waits: so soon a tracker that is started later hears of what is seeded.
const AGAIN_AT_LAST: Duration = Duration::from_secs(60);

/// How many trackers' pages are asked to list what is seeded: a forged metainfo could name a million of them.
const MAX_PAGES: usize = 8;

/// How long a tracker's page may take to list what is seeded.
const LIST_TIME: Duration = Duration::from_secs(5);

/// How long a tracker may take to say what it is.
const ASK_TIME: Duration = Duration::from_secs(3);

/// The same on this machine.
const ASK_TIME_HERE: Duration = Duration::from_millis(500);

/// The longest answer to that, in bytes; ours has three.
const MAX_ANSWER: u64 = 4096;

/// Where a tracker that was started without a port is looked for: on its own, or where it went when that was taken.
const OWN_PORTS: RangeInclusive<u16> = TRACKER_PORT..=TRACKER_PORT + 10;

/// What listens somewhere.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A tracker of ours, perhaps with a page.
    Ours { has_page: bool },
    /// Something else.
    Foreign,
    /// Nothing that answers.
    Nothing,
}

/// The announce URL of the tracker on this machine, as others reach it; a sentence where there is none yet.
pub fn own_tracker() -> (String, Option<String>) {
    let client = Client::new(0);
    let look =
        |port: u16| (port, ask(&client, &format!("http://127.0.0.1:{port}"), ASK_TIME_HERE).unwrap_or(Found::Nothing));
    let (port, is_there) = choose(OWN_PORTS.map(look));
    let address = lan_address(&shown_addresses()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let url = format!("http://{}/announce", SocketAddr::new(address, port));
    let sentence = (!is_there).then(|| {
        if port == TRACKER_PORT {
            return "no tracker runs on this machine yet; `minitorrent tracker` starts one".to_owned();
        }
        format!("port {TRACKER_PORT} is another program's, not a tracker of ours; `minitorrent tracker` would start one on {port}")
    });
    (url, sentence)
}

/// The port of the first tracker that is there, or the one that a tracker would have if it were started now.
fn choose(looks: impl Iterator<Item = (u16, Found)>) -> (u16, bool) {
    let mut free = None;
    for (port, found) in looks {
        match found {
            Found::Ours { .. } => return (port, true),
            Found::Nothing => free = free.or(Some(port)),
            Found::Foreign => {}
        }
    }
    (free.unwrap_or(TRACKER_PORT), false)
}

/// What a server says it is. An error is that nobody answers. A metainfo may have named it, on this machine too; the path is ours, and
/// no redirect is followed.
fn ask(client: &Client, base: &str, limit: Duration) -> Result<Found, AnnounceError> {
    match client.get_unfollowed(&format!("{base}/healthz"), limit, MAX_ANSWER) {
        Ok(body) => Ok(match body.serves.as_deref() {
            Some(serves) if serves.split(',').any(|one| one.trim() == "tracker") => {
                Found::Ours { has_page: serves.split(',').any(|one| one.trim() == "page") }
            }
            _ => Found::Foreign,
        }),
        Err(AnnounceError::Unreachable(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            Err(AnnounceError::Unreachable(error))
        }
        // It took the connection, so a tracker of ours cannot have that port.
        Err(error) if is_on_loopback(base) => {
            log::debug!("{base}: {error}");
            Ok(Found::Foreign)
        }
        Err(error) => Err(error),
    }
}

/// Has the pages of the trackers list what is seeded here; one that is started later hears of it then. Where the metainfo `has_none`,
/// that goes for a tracker on this machine. On a thread of its own, which ends when each has been found to be ours or not.
pub fn start(node: &Arc<Node>, metainfo: &Arc<Metainfo>, has_none: bool, quiet: bool) -> Result<(), Failure> {
    let mut bases = bases(metainfo, &shown_addresses());
    let (node, metainfo) = (node.clone(), metainfo.clone());
    let listing = move || {
        let (client, mut wait, mut awaits_own) = (Client::new(0), AGAIN, has_none);
        while awaits_own || !bases.is_empty() {
            if awaits_own && let (url, None) = own_tracker() {
                awaits_own = false;
                bases.extend(url.strip_suffix("/announce").map(str::to_owned));
                node.announce_also(metainfo.info_hash(), url);
            }
            bases.retain(|base| !is_settled(&client, base, &metainfo, quiet));
            thread::sleep(wait);
            wait = (wait * 2).min(AGAIN_AT_LAST);
        }
    };
    let started = thread::Builder::new().name("listing".into()).spawn(listing);
    started.map(|_| ()).map_err(|error| Failure::about("threads", error))
}

/// The servers whose page may list this.
fn bases(metainfo: &Metainfo, own: &[IpAddr]) -> Vec<String> {
    let is_for_few = metainfo.is_private() || metainfo.trackers().iter().flatten().any(|url| is_a_members(url));
    let bases = metainfo.trackers().iter().flatten().filter(|url| !is_a_members(url));
    let bases = bases.filter_map(|url| Some((url.strip_suffix("/announce")?, UrlOrigin::parse(url)?)));
    let may = |origin: &UrlOrigin| !is_for_few || origin.is_one_of(own);
    bases.filter(|(_, origin)| may(origin)).map(|(base, _)| base.to_owned()).take(MAX_PAGES).collect()
}

/// Whether an announce URL may be one that a tracker gave to a single member: it says more than a host and `/announce`.
fn is_a_members(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    authority.contains('@') || !["", "/", "/announce"].contains(&path)
}

/// Asks a page to list this, if it is one of ours. Whether it need not be asked again.
fn is_settled(client: &Client, base: &str, metainfo: &Metainfo, quiet: bool) -> bool {
    match ask(client, base, ASK_TIME) {
        Err(error) => {
            log::info!("{base} does not list it: {error}");
            return false;
        }
        Ok(Found::Ours { has_page: true }) => {}
        Ok(other) => {
            log::info!("{base} has no page of ours: {other:?}");
            return true;
        }
    }
    let trackers = metainfo.trackers().iter();
    let open = trackers.map(|tier| tier.iter().filter(|url| !is_a_members(url)).cloned().collect());
    let told = metainfo.clone().with_trackers(open.collect());
    match client.post(&format!("{base}/metainfos"), &told.to_torrent(), LIST_TIME) {
        Ok(body) if is_receipt(body.status, &body.bytes, metainfo) => {
            if !quiet {
                terminal::print(format_args!("listed at {base}/"));
            }
            true
        }
        // It has much to do, and says so.
        Ok(body) if body.status == 503 => false,
        Ok(body) => {
            let sentence = String::from_utf8_lossy(&body.bytes);
            log::warn!("{base} does not list it: HTTP status {}: {}", body.status, sentence.trim());
            true
        }
        Err(error) => {
            log::info!("{base} does not list it: {error}");
            false
        }
    }
}

/// Whether an answer says that the torrent is listed now.
fn is_receipt(status: u16, body: &[u8], metainfo: &Metainfo) -> bool {
    let told = serde_json::from_slice::<serde_json::Value>(body).ok();
    let hash = told.as_ref().and_then(|told| told["info_hash"].as_str());
    (200..300).contains(&status) && hash == Some(&metainfo.info_hash().to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    const OURS: &str =
        "HTTP/1.1 200 OK\r\nMinitorrent: tracker, page\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

    fn metainfo(trackers: &[&str], private: &str) -> Metainfo {
        let info = format!("d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:HHHHHHHHHHHHHHHHHHHH{private}e");
        let metainfo = Metainfo::read(format!("d4:info{info}e").as_bytes()).unwrap();
        metainfo.with_trackers(trackers.iter().map(|url| vec![url.to_string()]).collect())
    }

    /// A server that answers each request by its method, and passes on what it was asked.
    fn server(get: &'static str, post: String) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, questions) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = vec![0; 65536];
                let count = stream.read(&mut bytes).unwrap();
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let answer = if text.starts_with("GET") { get } else { &post };
                let _ = asked.send(text);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (base, questions)
    }

    #[test]
    fn a_tracker_that_is_not_ours_is_sent_no_metainfo() {
        let client = Client::new(0);
        let metainfo = metainfo(&[], "");
        for foreign in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
            "HTTP/1.1 400 Invalid Request\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nMinitorrent: page\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "",
        ] {
            let (base, questions) = server(foreign, OURS.into());
            assert!(is_settled(&client, &base, &metainfo, true), "{foreign}");
            assert!(questions.try_iter().all(|asked| asked.starts_with("GET /healthz")), "{foreign}");
        }
        assert!(!is_settled(&client, "http://127.0.0.1:1", &metainfo, true), "it may be started later");
    }

    #[test]
    fn one_of_ours_is_believed_when_it_names_the_torrent() {
        let client = Client::new(0);
        let metainfo = metainfo(&["http://a/announce", "http://b/announce?passkey=secret"], "");
        let body = format!("{{\"info_hash\":\"{}\"}}", metainfo.info_hash());
        let right = format!("HTTP/1.1 201 C\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        assert!(is_receipt(201, body.as_bytes(), &metainfo) && !is_receipt(200, b"ok", &metainfo));
        assert!(!is_receipt(400, body.as_bytes(), &metainfo));
        let (base, questions) = server(OURS, right);
        assert!(is_settled(&client, &base, &metainfo, true));
        let asked: Vec<String> = questions.try_iter().collect();
        assert!(asked[1].starts_with("POST /metainfos") && !asked.concat().contains("secret"), "{asked:?}");
        let (base, _questions) =
            server(OURS, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into());
        assert!(!is_settled(&client, &base, &metainfo, true));
    }

    #[test]
    fn what_is_meant_for_few_goes_to_this_machine_at_most() {
        let own: [IpAddr; 1] = [[10, 0, 0, 5].into()];
        let urls = ["http://t.example/announce", "http://10.0.0.5:5000/announce", "http://localhost:5000/announce"];
        let here = ["http://10.0.0.5:5000", "http://localhost:5000"];
        assert_eq!(bases(&metainfo(&urls, ""), &own).len(), 3);
        assert_eq!(bases(&metainfo(&urls, "7:privatei1e"), &own), here);
        for passkey in [
            "http://t.example/secret/announce",
            "http://t.example/announce?passkey=x",
            "http://me@t.example/announce",
            "udp://t.example:1/secret",
        ] {
            assert_eq!(bases(&metainfo(&[&urls[..], &[passkey]].concat(), ""), &own), here, "{passkey}");
        }
        assert_eq!(
            bases(&metainfo(&["udp://t.example:1/announce", "http://t/ann", "http://t.example"], ""), &own).len(),
            0
        );
    }

    #[test]
    fn the_tracker_of_this_machine_is_found_where_it_went() {
        let looks = |found: Vec<Found>| choose(OWN_PORTS.zip(found));
        let ours = || Found::Ours { has_page: true };
        assert_eq!(looks(vec![Found::Foreign, ours()]), (5001, true));
        assert_eq!(looks(vec![Found::Nothing, ours(), ours()]), (5001, true));
        assert_eq!(looks(vec![Found::Nothing, Found::Nothing]), (5000, false));
        assert_eq!(looks(vec![Found::Foreign, Found::Foreign, Found::Nothing]), (5002, false));
        assert_eq!(looks(vec![Found::Foreign]), (5000, false));
    }
}
