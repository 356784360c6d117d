//! Under which address this machine is known: to the browser that asks, and to the room.
//!
//! The rule for the field `Host`, in one place. A Host is *own* when its name is an address of this machine, its loopback, its
//! own name (alone or with an ending that no stranger can own), or the name of `--public-url`. What becomes of one that is not:
//!
//! | route | a Host that is not own |
//! |---|---|
//! | pages, `/api/…`, uploads, downloads, the program (`/get`, `/dist/…`), registrations, control, `/metrics` | refused (421): it may be a page of somebody whose name leads here (DNS rebinding). A name without a dot, which no stranger can own, may do what anyone may, and control nothing |
//! | `/announce`, `/tracker`, `/scrape`, `/metainfos/…` | answered: a router's DNS name, a short name or a forwarded port locks no client out. Refused when the fields of a browser come with it |
//! | `/healthz`, `/static/…` | answered: it tells nothing |
//!
//! Into an answer goes an own Host alone, and only with the port that was listened on; otherwise the address that the
//! connection came to. Nothing that a request brings is kept for another.

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::failure::HttpFailure;
use crate::{
    http::Request,
    net::{own_addresses, shown_addresses},
    quota::Origin,
};

/// Endings that no stranger can own: mDNS (RFC 6762), home and private networks (RFC 8375, RFC 9476 and ICANN's .internal).
const LOCAL_ENDINGS: [&str; 5] = ["", ".local", ".lan", ".home.arpa", ".internal"];

/// The longest host, in bytes (a DNS name's limit), with a port.
const MAX_HOST: usize = 253 + 6;

/// How long the list of this machine's addresses is believed; a cable or a new lease changes it.
const OWN_ADDRESSES_TIME: Duration = Duration::from_secs(30);

/// The address that others in the room most likely reach this machine at: the first of `own`, in the order of
/// [`own_addresses`], that another machine can use.
pub fn lan_address(own: &[IpAddr]) -> Option<IpAddr> {
    own.iter().copied().find(|ip| is_told(*ip))
}

/// `http://address:port` for each address that another machine can use, the likeliest first.
pub fn all_urls(own: &[IpAddr], port: u16) -> Vec<String> {
    own.iter().filter(|ip| is_told(**ip)).map(|ip| format!("http://{}", SocketAddr::new(*ip, port))).collect()
}

/// Whether an address means this machine on another one too. A link-local IPv6 address needs the name of an interface beside it.
fn is_told(ip: IpAddr) -> bool {
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !(ip.is_loopback() || ip.is_unspecified() || is_link_local)
}

/// What this machine is called: what it was told at its start, and what it sees of itself.
#[derive(Debug)]
pub struct Names {
    public_url: Option<String>,
    proxies: Vec<IpAddr>,
    own: Mutex<(Instant, Arc<[IpAddr]>)>,
}

impl Names {
    /// `public_url` is the address of the page as it was told, `proxies` are those whose `X-Forwarded-For` is believed.
    pub fn new(public_url: Option<&str>, proxies: Vec<IpAddr>) -> Names {
        Names {
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            proxies,
            own: Mutex::new((Instant::now(), shown_addresses().into())),
        }
    }

    /// The page's address as it was told.
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// This machine's addresses, as of a moment ago.
    pub fn own(&self) -> Arc<[IpAddr]> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.0.elapsed() > OWN_ADDRESSES_TIME {
            // Those of a moment ago are better than none.
            let now = own_addresses().map_or_else(|_| Arc::clone(&own.1), Arc::from);
            *own = (Instant::now(), now);
        }
        Arc::clone(&own.1)
    }

    /// The page's address as another machine would write it, without a `/` at its end.
    pub fn base_url(&self, request: &Request<'_>) -> String {
        self.public_url.clone().unwrap_or_else(|| self.direct_url(request))
    }

    /// The page's address as it is told to all alike.
    pub fn usual_url(&self, port: u16) -> String {
        let ip = || lan_address(&self.own()).unwrap_or(Ipv4Addr::LOCALHOST.into());
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", SocketAddr::new(ip(), port)))
    }

    /// Where the tracker of this machine takes announces, for whoever sent this request; the one to ask first comes first.
    ///
    /// Behind a proxy that does not tell who announces, all peers would have the proxy's address. So those who come by way of
    /// it are told to announce past it, and to the public URL where that fails.
    ///
    /// All are HTTP. The same tracker over UDP is gone whenever this is, and clients that announce to every tracker they are told
    /// would announce twice.
    pub fn announce_urls(&self, request: &Request<'_>) -> Vec<String> {
        let announce = |base: &str| format!("{base}/announce");
        let direct = || announce(&self.direct_url(request));
        let Some(public) = &self.public_url else { return vec![direct()] };
        let leads_here = UrlOrigin::parse(public).is_some_and(|it| !it.is_https && it.port == request.local().port());
        let hides_clients = match self.sender(request) {
            None => true,
            // A proxy on this machine that adds no field looks like somebody on this machine.
            Some(ip) => !is_handed_on(request) && self.is_this_machine(ip, request),
        };
        let direct = (!leads_here && hides_clients).then(direct).filter(|url| !is_loopback_url(url));
        direct.into_iter().chain([announce(public)]).collect()
    }

    /// Whether a tracker URL is one of this machine's own, under any of its names, with the port that was listened on.
    pub fn is_own_tracker(&self, url: &str, local: SocketAddr) -> bool {
        let is_here = |origin: &UrlOrigin| {
            origin.port == local.port() && !origin.is_https && is_own_name_or_address(&origin.host, local, &self.own())
        };
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        if scheme.eq_ignore_ascii_case("udp") {
            // Over UDP every path is answered.
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return UrlOrigin::of_host(host, false).is_some_and(|origin| is_here(&origin));
        }
        let is_announce = rest.split_once('/').is_some_and(|(_, path)| path == "announce");
        let Some(origin) = UrlOrigin::parse(url).filter(|_| is_announce) else { return false };
        let is_public = self.public_url.as_deref().and_then(UrlOrigin::parse).is_some_and(|public| public == origin);
        is_public || is_here(&origin)
    }

    /// The address of whoever sent this: the peer of the connection, or whom a named proxy has it from. Nothing when somebody
    /// else has handed it on; what he says of others could be said by anyone.
    pub fn sender(&self, request: &Request<'_>) -> Option<IpAddr> {
        let peer = request.peer().ip().to_canonical();
        if !is_handed_on(request) {
            return Some(peer);
        }
        let is_named = |ip: &IpAddr| self.proxies.iter().any(|proxy| proxy.to_canonical() == *ip);
        if !is_named(&peer) {
            return None;
        }
        // Each proxy adds at the end, so what stands left of a stranger's address is his word alone.
        let fields = request.values("x-forwarded-for").map(|field| std::str::from_utf8(field).unwrap_or_default());
        let hops = fields.flat_map(|field| field.split(',')).map(forwarded_address);
        let sender = hops.collect::<Vec<_>>().into_iter().rev().find(|hop| !hop.as_ref().is_some_and(is_named))??;
        let is_proxys_own = sender.is_loopback() && !self.is_this_machine(peer, request);
        Some(if is_proxys_own { peer } else { sender })
    }

    /// What counts as one with whoever sent this. Whoever a proxy that was not named hands on is counted with all others behind it.
    pub fn origin(&self, request: &Request<'_>) -> Origin {
        Origin::of_peer(self.sender(request).unwrap_or(request.peer().ip()), || Some(request.local().ip()))
    }

    /// The address of this machine to tell whoever sent this: the one that he reached, or where that is within this machine
    /// the likeliest.
    pub fn reached(&self, request: &Request<'_>) -> IpAddr {
        let local = request.local().ip().to_canonical();
        if is_told(local) { local } else { lan_address(&self.own()).unwrap_or(local) }
    }

    /// Whether a request comes under a name that is this machine's own.
    pub fn is_own_host(&self, request: &Request<'_>) -> bool {
        is_own_host(request, self.public_url(), &self.own())
    }

    fn is_this_machine(&self, ip: IpAddr, request: &Request<'_>) -> bool {
        is_own_name_or_address(&ip.to_string(), request.local(), &self.own())
    }

    /// The address without a proxy: the Host if it is own and is told to others, else the address of the connection.
    fn direct_url(&self, request: &Request<'_>) -> String {
        let port = request.local().port();
        let reached = SocketAddr::new(self.reached(request), port).to_string();
        let own = self.own();
        let is_good = |host: &&str| {
            is_plain_host(host)
                && UrlOrigin::of_host(host, false).is_some_and(|origin| {
                    origin.port == port && is_own_name_or_address(&origin.host, request.local(), &own)
                })
        };
        let asked = request.field("host").filter(is_good);
        let has_lan = lan_address(&own).is_some();
        let host = asked.filter(|host| !has_lan || !is_loopback(host)).unwrap_or(&reached);
        format!("http://{host}")
    }
}

/// An address of an `X-Forwarded-For`, with or without its port.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    let ip = ip.or_else(|_| text.trim_matches(['[', ']']).parse());
    ip.ok().map(|ip| ip.to_canonical())
}

fn is_loopback_url(url: &str) -> bool {
    UrlOrigin::parse(url).is_some_and(|origin| is_loopback(&origin.host))
}

/// Scheme, host and port of a URL (RFC 6454), in one form whichever way they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlOrigin {
    is_https: bool,
    /// In small letters, without brackets and the dot that may end it.
    host: String,
    port: u16,
}

impl UrlOrigin {
    /// Of an http(s) URL.
    pub fn parse(url: &str) -> Option<UrlOrigin> {
        let (scheme, rest) = url.split_once("://")?;
        let is_https = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return None,
        };
        UrlOrigin::of_host(rest.split(['/', '?', '#']).next().unwrap_or_default(), is_https)
    }

    /// Whether its host is one of these addresses, or within this machine.
    pub fn is_one_of(&self, own: &[IpAddr]) -> bool {
        let is_own = |ip: IpAddr| own.iter().any(|own| own.to_canonical() == ip.to_canonical());
        is_loopback(&self.host) || self.host.parse().is_ok_and(is_own)
    }

    /// Of the field `Host`, as it is meant by a page of that scheme.
    fn of_host(host: &str, is_https: bool) -> Option<UrlOrigin> {
        if !is_plain_host(host) {
            return None;
        }
        let port = match split_port(host).1 {
            Some(port) => port.parse().ok()?,
            None if is_https => 443,
            None => 80,
        };
        let host = name_of(host);
        let host = host.parse::<IpAddr>().map_or(host, |ip| ip.to_string());
        Some(UrlOrigin { is_https, host, port })
    }
}

/// Whether a browser says that another site's page made it send this: by `Sec-Fetch-Site`, which it sends to secure
/// addresses only, by `Origin`, or by `Referer` where that is all there is. Whoever says nothing is no browser. Our own site
/// is what the request names as its Host, and the public URL, whatever Host a proxy in front of it sends.
pub fn is_cross_site(request: &Request<'_>, public_url: Option<&str>) -> bool {
    if request.field("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let Some(page) = request.field("origin").or_else(|| request.field("referer")) else { return false };
    let Some(page) = UrlOrigin::parse(page) else { return true };
    let own = request.field("host").and_then(|host| UrlOrigin::of_host(host, page.is_https));
    own.as_ref() != Some(&page) && public_url.and_then(UrlOrigin::parse).as_ref() != Some(&page)
}

/// Whether a browser sent this, by the fields that browsers send and clients do not.
///
/// A page can keep `Origin` and `Referer` back, and over plain HTTP a browser sends no `Sec-Fetch-Site`; but it always says which
/// languages its user reads. Node, and so WebTorrent, sends `Accept-Language: *` and `Sec-Fetch-Mode: cors`; a page can make its
/// browser send the one, but never the other.
pub fn is_browser(request: &Request<'_>) -> bool {
    let names = [
        "origin",
        "referer",
        "sec-fetch-site",
        "sec-fetch-dest",
        "sec-fetch-user",
        "sec-purpose",
        "upgrade-insecure-requests",
    ];
    names.iter().any(|name| request.field(name).is_some())
        || request
            .field("accept-language")
            .is_some_and(|languages| languages.trim() != "*" || request.field("sec-fetch-mode").is_none())
}

/// Whether a proxy says that it hands this on for somebody. Then the address it comes from tells nothing of who that is; what
/// the proxy says of him could be said by anyone.
pub fn is_handed_on(request: &Request<'_>) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| request.field(name).is_some())
}

/// What this machine calls itself.
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a request names this machine by an address or a name that is its own. Any other name is somebody else's, who can
/// have it lead here (DNS rebinding): then his page counts as ours to the browser, and must not to us.
fn is_own_host(request: &Request<'_>, public_url: Option<&str>, own: &[IpAddr]) -> bool {
    let Some(host) = request.field("host").and_then(|host| UrlOrigin::of_host(host, false)) else { return false };
    let is_public = public_url.and_then(UrlOrigin::parse).is_some_and(|public| public.host == host.host);
    is_public || is_own_name_or_address(&host.host, request.local(), own)
}

/// The same of a name or an address alone, as [`Origin`] has it.
fn is_own_name_or_address(name: &str, local: SocketAddr, own: &[IpAddr]) -> bool {
    let reached = local.ip();
    let is_own = |ip: IpAddr| own.iter().chain([&reached]).any(|own| own.to_canonical() == ip.to_canonical());
    is_loopback(name) || name.parse().is_ok_and(is_own) || is_own_name(name, &machine_name())
}

/// The refusal of what came under a name that is none of this machine's.
pub fn foreign_host(request: &Request<'_>) -> HttpFailure {
    let host = crate::text::escape(request.field("host").unwrap_or_default());
    HttpFailure::new(
        421,
        format!(
            "{host} is no name that this machine knows itself by; open the page by its address, or start it with --public-url"
        ),
    )
}

/// Whether a request names a host by a name without a dot, or not at all (HTTP/1.0). No stranger can own such a name.
pub fn is_nobodys_host(request: &Request<'_>) -> bool {
    let is_short = |host| is_plain_host(host) && !name_of(host).contains(['.', ':']);
    request.field("host").is_none_or(is_short)
}

fn is_own_name(name: &str, own: &str) -> bool {
    let own = own.to_ascii_lowercase();
    let short = own.split('.').next().filter(|short| !short.is_empty());
    let rest = short.and_then(|short| name.strip_prefix(short));
    (!own.is_empty() && name == own) || rest.is_some_and(|ending| LOCAL_ENDINGS.contains(&ending))
}

/// A host without its port, its brackets and the dot that may end it, in small letters.
fn name_of(host: &str) -> String {
    split_port(host).0.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// A name or an address, and perhaps a port; nothing that could end a URL's host or a line.
fn is_plain_host(host: &str) -> bool {
    let (name, port) = split_port(host);
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    host.len() <= MAX_HOST && is_name && port.is_none_or(is_port)
}

/// Whether a host, with or without a port, says that it is within this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = name_of(host);
    let is_local_name = name == "localhost" || name.ends_with(".localhost");
    is_local_name || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback() || ip.is_unspecified())
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}
