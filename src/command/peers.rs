//! The peers that the user names on the command line.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::{
    cli::NamedPeer,
    net::{NamedBy, may_dial},
    node::Failure,
};

/// Where these peers are. Of a name with several addresses one is taken, IPv4 before IPv6, so that nobody is connected to twice. A name
/// that nobody knows is an error: nothing could come of it.
pub fn resolve(peers: &[NamedPeer]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for NamedPeer { host, port } in peers {
        let found = (&**host, *port).to_socket_addrs();
        let found = found
            .map_err(|error| Failure::about(host, format_args!("--peer names no machine that is known: {error}")))?;
        let address = found.filter(|address| may_dial(*address, NamedBy::User, &[])).min_by_key(SocketAddr::is_ipv6);
        let refused = || Failure::about(host, "--peer takes the address of one machine, on which somebody can listen");
        addresses.push(address.ok_or_else(refused)?);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(host: &str) -> Result<Vec<SocketAddr>, Failure> {
        resolve(&[NamedPeer { host: host.to_owned(), port: 80 }])
    }

    #[test]
    fn a_peer_is_a_machine_that_is_known_at_whatever_port() {
        assert_eq!(resolved("127.0.0.1").unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolved("fd00::1").unwrap(), ["[fd00::1]:80".parse().unwrap()]);
        assert!(resolved("localhost").unwrap().iter().all(|address| address.ip().is_loopback()));
        for nowhere in ["0.0.0.0", "224.0.0.1", "::", "255.255.255.255"] {
            assert!(resolved(nowhere).unwrap_err().to_string().contains("one machine"), "{nowhere}");
        }
        assert!(resolved("no-such-machine.invalid").unwrap_err().to_string().contains("no machine that is known"));
    }
}
