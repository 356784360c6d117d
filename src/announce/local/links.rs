//! The interfaces over which local discovery is sent and heard, and the socket of each (BEP 14).
//!
//! A socket belongs to one interface, and hears nothing but what was sent to the group there: neither what came to another interface, nor
//! what somebody sent to this machine alone. So a sender that is not on the link of its socket is known as such.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use if_addrs::{IfAddr, Interface};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::message::{GROUP_V4, GROUP_V6};

/// Sockets at most: a machine full of containers has hundreds of interfaces.
const MAX_LINKS: usize = 32;

/// How many routers a datagram passes: none.
const HOPS: u32 = 1;

/// One address family on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastLink {
    index: u32,
    /// The address that is sent from. Over IPv6 the system chooses.
    source: IpAddr,
    /// The interface's own addresses of the family, each with the mask of its network.
    networks: Vec<(IpAddr, IpAddr)>,
    is_loopback: bool,
}

/// The links of this machine as they are now, and all of its addresses.
pub fn look() -> io::Result<(Vec<MulticastLink>, Vec<IpAddr>)> {
    let interfaces = if_addrs::get_if_addrs()?;
    let own = interfaces.iter().map(Interface::ip).collect();
    Ok((of(&interfaces), own))
}

/// Loopback is a link only where there is no other: two programs on one machine find each other over any.
fn of(interfaces: &[Interface]) -> Vec<MulticastLink> {
    let is_up = |interface: &&Interface| interface.is_oper_up() && !interface.is_p2p;
    let mut links: Vec<MulticastLink> = Vec::new();
    for interface in interfaces.iter().filter(is_up) {
        let Some(index) = interface.index else { continue };
        let (network, is_loopback) = (network_of(&interface.addr), interface.is_loopback());
        if is_loopback && network.0.is_ipv6() {
            continue; // Its multicast goes nowhere.
        }
        let family = |link: &&mut MulticastLink| link.index == index && link.source.is_ipv6() == network.0.is_ipv6();
        links.iter_mut().filter(family).for_each(|link| link.networks.push(network));
        // Clients that look at the sender's network want each IPv4 address to send for itself.
        if network.0.is_ipv4() || !links.iter_mut().any(|link| family(&link)) {
            let networks = links.iter_mut().find(family).map_or_else(|| vec![network], |link| link.networks.clone());
            links.push(MulticastLink { index, source: network.0, networks, is_loopback });
        }
    }
    if links.iter().any(|link| !link.is_loopback) {
        links.retain(|link| !link.is_loopback);
    }
    // A peer that is heard over both is dialled over IPv4.
    links.sort_by_key(|link| (link.source.is_ipv6(), link.index));
    links.truncate(MAX_LINKS);
    links
}

fn network_of(address: &IfAddr) -> (IpAddr, IpAddr) {
    match address {
        IfAddr::V4(v4) => (v4.ip.into(), v4.netmask.into()),
        IfAddr::V6(v6) => (v6.ip.into(), v6.netmask.into()),
    }
}

impl MulticastLink {
    /// The group of its family.
    pub fn group(&self) -> SocketAddr {
        if self.source.is_ipv6() { GROUP_V6 } else { GROUP_V4 }
    }

    /// Where to send, over this interface.
    pub fn to(&self) -> SocketAddr {
        let mut to = self.group();
        if let SocketAddr::V6(to) = &mut to {
            to.set_scope_id(self.index);
        }
        to
    }

    /// Whether somebody with this address can have sent what came here: from loopback over loopback alone.
    pub fn has(&self, sender: IpAddr) -> bool {
        if sender.is_loopback() != self.is_loopback {
            return false;
        }
        if let IpAddr::V6(ip) = sender
            && ip.is_unicast_link_local()
        {
            return self.source.is_ipv6();
        }
        self.networks.iter().any(|(ip, mask)| match (ip, mask, sender) {
            (IpAddr::V4(ip), IpAddr::V4(mask), IpAddr::V4(sender)) => *ip & *mask == sender & *mask,
            (IpAddr::V6(ip), IpAddr::V6(mask), IpAddr::V6(sender)) => *ip & *mask == sender & *mask,
            _ => false,
        })
    }

    /// Opens its socket, which never blocks. Other clients on this machine have theirs at the same port.
    pub fn open(&self) -> io::Result<UdpSocket> {
        let domain = if self.source.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        match self.source {
            IpAddr::V4(source) => self.join_v4(&socket, source)?,
            IpAddr::V6(_) => self.join_v6(&socket)?,
        }
        socket.set_nonblocking(true)?;
        socket.bind(&self.to().into())?;
        Ok(socket.into())
    }

    fn join_v4(&self, socket: &Socket, source: Ipv4Addr) -> io::Result<()> {
        let IpAddr::V4(group) = GROUP_V4.ip() else { return Ok(()) };
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        socket.set_multicast_if_v4(&source)?;
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(self.index))
    }

    fn join_v6(&self, socket: &Socket) -> io::Result<()> {
        let IpAddr::V6(group) = GROUP_V6.ip() else { return Ok(()) };
        socket.set_only_v6(true)?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v6(false)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_multicast_if_v6(self.index)?;
        socket.join_multicast_v6(&group, self.index)
    }
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    use std::net::Ipv6Addr;

    use super::*;

    fn interface(index: u32, address: &str, prefix: u8, status: IfOperStatus) -> Interface {
        let addr = match address.parse().unwrap() {
            IpAddr::V4(ip) => {
                let netmask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
                IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen: prefix, broadcast: None })
            }
            IpAddr::V6(ip) => {
                let netmask = Ipv6Addr::from(u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0));
                IfAddr::V6(Ifv6Addr { ip, netmask, prefixlen: prefix, broadcast: None })
            }
        };
        Interface { name: format!("if{index}"), addr, index: Some(index), oper_status: status, is_p2p: false }
    }

    fn sources(interfaces: &[Interface]) -> Vec<String> {
        of(interfaces).iter().map(|link| format!("{}%{}", link.source, link.index)).collect()
    }

    #[test]
    fn every_interface_that_is_up_is_a_link_and_loopback_only_where_there_is_no_other() {
        use IfOperStatus::{Unknown, Up};
        let loopback = [interface(1, "127.0.0.1", 8, Up), interface(1, "::1", 128, Up)];
        assert_eq!(sources(&loopback), ["127.0.0.1%1"]);
        let mut room = loopback.to_vec();
        room.extend([interface(2, "fe80::1", 64, Up), interface(2, "fd00::1", 64, Up)]);
        room.extend([interface(3, "10.0.0.1", 8, Unknown), interface(2, "192.168.1.5", 24, Up)]);
        room.push(interface(2, "10.1.0.5", 16, Up));
        assert_eq!(sources(&room), ["192.168.1.5%2", "10.1.0.5%2", "fe80::1%2"]);
        room.push(Interface { is_p2p: true, ..interface(4, "10.8.0.1", 24, Up) });
        assert_eq!(of(&room).len(), 3);
        room.extend((0..100).map(|number| interface(10 + number, "172.17.0.1", 16, Up)));
        assert_eq!(of(&room).len(), MAX_LINKS);
    }

    #[test]
    fn a_sender_is_on_its_link_or_is_not_heard() {
        use IfOperStatus::Up;
        let room = [
            interface(2, "192.168.1.5", 24, Up),
            interface(2, "10.1.0.5", 16, Up),
            interface(2, "fe80::1", 64, Up),
            interface(2, "fd00::1", 64, Up),
        ];
        let links = of(&room);
        let has = |link: usize, sender: &str| links[link].has(sender.parse().unwrap());
        for own_or_near in ["192.168.1.5", "192.168.1.9", "10.1.9.9"] {
            assert!(has(0, own_or_near) && !has(2, own_or_near), "{own_or_near}");
        }
        for near in ["fe80::9", "fd00::9"] {
            assert!(has(2, near) && !has(0, near), "{near}");
        }
        for far in ["192.168.2.9", "8.8.8.8", "127.0.0.1", "::1", "2001:db8::1", "fd00:0:0:1::9"] {
            assert!(!has(0, far) && !has(1, far) && !has(2, far), "{far}");
        }
        let alone = of(&[interface(1, "127.0.0.1", 8, Up)]);
        assert!(alone[0].has("127.0.0.1".parse().unwrap()) && !alone[0].has("192.168.1.5".parse().unwrap()));
    }
}
