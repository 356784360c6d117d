//! Under which address this machine is known: to the browser that asks, and to the room.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::door::Request;

/// The longest host, in bytes (a DNS name's limit), with a port.
const MAX_HOST: usize = 253 + 6;

/// Every address of this machine's interfaces.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        log::warn!("this machine's addresses cannot be listed: {error}");
        Vec::new()
    });
    interfaces.into_iter().map(|interface| interface.ip()).collect()
}

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

/// Whether a browser says that another site's page made it send this.
pub fn is_cross_site(request: &Request<'_>) -> bool {
    if request.field("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let Some(origin) = request.field("origin") else { return false };
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_none_or(|host| request.field("host").is_none_or(|own| !own.eq_ignore_ascii_case(host)))
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

fn is_loopback(host: &str) -> bool {
    let name = split_port(host).0.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
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
    fn the_rooms_address_is_private_before_public_and_never_loopback() {
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = ips(&["127.0.0.1", "fe80::1", "169.254.1.1", "2001:db8::1", "9.9.9.9", "192.168.1.5", "::1"]);
        assert_eq!(lan_address(&all), Some("192.168.1.5".parse().unwrap()));
        assert_eq!(lan_address(&all[..5]), Some("9.9.9.9".parse().unwrap()));
        assert_eq!(lan_address(&all[..4]), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(lan_address(&all[..2]), None);
    }
}
