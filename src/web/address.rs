//! Under which address this machine is known: to the browser that asks, and to the room.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::door::Request;
pub use crate::net::own_addresses;

/// Endings that no stranger can own: mDNS (RFC 6762), home and private networks (RFC 8375, RFC 9476 and ICANN's .internal).
const LOCAL_ENDINGS: [&str; 5] = ["", ".local", ".lan", ".home.arpa", ".internal"];

/// The longest host, in bytes (a DNS name's limit), with a port.
const MAX_HOST: usize = 253 + 6;

/// The address that others in the room most likely reach this machine at: private before public, IPv4 before IPv6.
pub fn lan_address(own: &[IpAddr]) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => None,
        IpAddr::V4(ip) if ip.is_link_local() => Some(3),
        IpAddr::V4(ip) if ip.is_private() => Some(0),
        IpAddr::V4(_) => Some(1),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() => None,
        IpAddr::V6(_) => Some(2),
    };
    own.iter().filter_map(|ip| Some((rank(ip)?, *ip))).min_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}

/// What counts as one address: an IPv4 address, an IPv6 /64, of which anyone has a whole one.
pub fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    }
}

/// `http://host:port` as another machine would write it, without a `/` at its end: what the browser asked for, unless it asked
/// for its own machine, which means another one to everybody else.
pub fn base_url(request: &Request<'_>, public_url: Option<&str>, own: &[IpAddr]) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let local = request.local();
    let asked = request.field("host").filter(|host| is_plain_host(host));
    match asked.filter(|host| !is_loopback(host)) {
        Some(host) => format!("http://{host}"),
        None => {
            let lan = lan_address(own).map(|ip| SocketAddr::new(ip, local.port()).to_string());
            format!("http://{}", lan.as_deref().or(asked).unwrap_or(&local.to_string()))
        }
    }
}

/// Whether a browser says that another site's page made it send this: by `Sec-Fetch-Site`, which it sends to secure
/// addresses only, by `Origin`, or by `Referer` where that is all there is. Whoever says nothing is no browser.
pub fn is_cross_site(request: &Request<'_>) -> bool {
    if request.field("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let Some(page) = request.field("origin").or_else(|| request.field("referer")) else { return false };
    let rest = page.strip_prefix("http://").or_else(|| page.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_none_or(|host| request.field("host").is_none_or(|own| !own.eq_ignore_ascii_case(host)))
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
pub fn is_own_host(request: &Request<'_>, public_url: Option<&str>, own: &[IpAddr]) -> bool {
    let Some(host) = request.field("host").filter(|host| is_plain_host(host)) else { return false };
    let is_public = public_url
        .and_then(|url| url.split_once("://"))
        .is_some_and(|(_, rest)| name_of(rest.split('/').next().unwrap_or_default()) == name_of(host));
    let name = name_of(host);
    let is_own_address = || {
        let ip = name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let reached = request.local().ip();
        ip.is_some_and(|ip| own.iter().chain([&reached]).any(|own| own.to_canonical() == ip))
    };
    is_public || is_loopback(host) || is_own_address() || is_own_name(&name, &machine_name())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_host_enters_a_url() {
        for good in ["a", "tracker.lan:5000", "192.168.1.5:5000", "[fd00::1]:5000", "[::1]", "my_pi"] {
            assert!(is_plain_host(good), "{good}");
        }
        for bad in
            ["", ":80", "a:", "a:0", "a:65536", "a:+5", "a/b", "a@b", "a b", "a?b", "a#b", "[x]", "a\"", "\u{e4}"]
        {
            assert!(!is_plain_host(bad), "{bad}");
        }
        assert!(!is_plain_host(&"a".repeat(MAX_HOST + 1)));
    }

    #[test]
    fn the_own_machine_is_known_by_all_its_names() {
        for own in ["localhost", "LOCALHOST:5000", "a.localhost", "127.0.0.1:5000", "127.1.2.3", "[::1]:80", "0.0.0.0"]
        {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["192.168.1.5:5000", "localhost.example", "[fd00::1]"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn a_name_is_the_machines_own_alone_or_with_an_ending_that_nobody_owns() {
        for name in ["pi", "pi.local", "pi.lan", "pi.home.arpa"] {
            assert!(is_own_name(name, "Pi") && is_own_name(name, "pi.example.org"), "{name}");
        }
        assert!(is_own_name("pi.example.org", "pi.example.org"));
        for name in ["", "pie", "pi.example.org", "pi.evil.example", "local", ".local"] {
            assert!(!is_own_name(name, "pi") && !is_own_name(name, ""), "{name}");
        }
    }

    #[test]
    fn the_rooms_address_is_private_before_public_and_never_loopback() {
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = ips(&["127.0.0.1", "fe80::1", "169.254.1.1", "2001:db8::1", "9.9.9.9", "192.168.1.5", "::1"]);
        assert_eq!(lan_address(&all), Some("192.168.1.5".parse().unwrap()));
        assert_eq!(lan_address(&all[..5]), Some("9.9.9.9".parse().unwrap()));
        assert_eq!(lan_address(&all[..4]), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(lan_address(&all[..2]), None);
    }
}
