//! Listening sockets: which port, and on both address families. And which addresses that others name may be dialled, and which lead to
//! this machine itself.

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections waiting to be accepted: a room of peers that all dial at once.
const BACKLOG: i32 = 1024;

/// Ports tried after a default port that is taken.
const NEXT_PORTS: u16 = 100;

/// How a port is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// That one; taken is an error. 0 lets the system choose.
    Asked(u16),
    /// That one, or the next free one.
    From(u16),
}

/// Listens on every address of this machine, IPv6 too where there is any.
pub fn listen(choice: PortChoice) -> io::Result<TcpListener> {
    let (first, last) = match choice {
        PortChoice::Asked(port) => (port, port),
        PortChoice::From(port) => (port, port.saturating_add(NEXT_PORTS)),
    };
    let mut taken = None;
    for port in first..=last {
        match listen_on(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = Some(error),
            done => return done,
        }
    }
    Err(taken.expect("the range has at least one port"))
}

/// Whether this address leads to this machine, whose interfaces have the addresses `own`. An IPv4 address within an IPv6 one counts
/// as the IPv4 address.
pub fn is_this_machine(ip: IpAddr, own: &[IpAddr]) -> bool {
    let plain = |ip: IpAddr| match ip {
        // Mapped (::ffff:127.0.0.1) and, of old, compatible (::127.0.0.1); ::1 is neither.
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unspecified() => v6.to_ipv4().map_or(ip, IpAddr::V4),
        ip => ip,
    };
    let ip = plain(ip);
    // Of the net of 0.0.0.0 the kernel takes the first for loopback.
    let is_zero = matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 0);
    ip.is_loopback() || ip.is_unspecified() || is_zero || own.iter().any(|own| plain(*own) == ip)
}

/// One socket for both address families; IPv4 alone where the machine has no IPv6.
fn listen_on(port: u16) -> io::Result<TcpListener> {
    let both = || {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        bind(socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
    };
    match both() {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            bind(socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        done => done,
    }
}

/// A UDP port on every address of this machine, IPv6 too where there is any.
pub fn open_udp(port: u16) -> io::Result<UdpSocket> {
    let both = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        Ok(socket.into())
    };
    match both() {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)),
        done => done,
    }
}

fn bind(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    // A port whose last connections are still winding down is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// All that a reader has, unless it is more than `max_bytes`. One byte more is read to know that, and none after it.
pub fn read_bounded(reader: impl Read, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

/// Ports below this are those of a machine's own services (RFC 6335), and no client listens for peers there.
pub const FIRST_PEER_PORT: u16 = 1024;

/// Who named an address to be dialled, which says how far it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The user of this program, on its command line.
    User,
    /// A tracker that is asked by a loopback address, or runs in this process.
    LocalTracker,
    /// Any other tracker.
    Tracker,
    /// The peer itself, which says on which port of its own address it listens.
    Peer,
}

/// Whether an address may be dialled: somebody can listen there, it is not one of `own`, the addresses that we listen on, and
/// whoever named it does not send us to a machine's own services. Those that only this machine reaches, on its loopback,
/// are no remote tracker's business; ports below 1024 are nobody's but the user's.
pub fn may_dial(address: SocketAddr, named_by: NamedBy, own: &[SocketAddr]) -> bool {
    let (ip, port) = (address.ip().to_canonical(), address.port());
    let is_own = |own: &SocketAddr| own.port() == port && (ip.is_loopback() || own.ip().to_canonical() == ip);
    can_be_listened_on(address)
        && !own.iter().any(is_own)
        && (named_by == NamedBy::User || port >= FIRST_PEER_PORT)
        && (named_by != NamedBy::Tracker || !ip.is_loopback())
}

/// The address as it is dialled: one of IPv4 within IPv6 as the former, and a link-local one with its interface.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether one machine can listen at this address and be found there.
pub fn can_be_listened_on(address: SocketAddr) -> bool {
    let is_hosts = match address.ip().to_canonical() {
        // 0.0.0.0/8 means this network, 240.0.0.0/4 is reserved and ends with the broadcast address (RFC 6890).
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 240 && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    is_hosts && address.port() != 0
}

/// What the names of interfaces begin with that lead to containers and virtual machines, not to a room.
const INNER_INTERFACES: [&str; 9] = ["docker", "br-", "veth", "virbr", "podman", "cni", "lxc", "lxdbr", "vmnet"];

/// Addresses nobody has (RFC 5737, RFC 3849): the way to them is the way to everywhere.
const ELSEWHERE: [(&str, &str); 2] = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

/// Every address of this machine's interfaces, the one that others most likely reach it at first. What is refused because it is one
/// of them has to be refused on an error too.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?.into_iter().map(|interface| (interface.ip(), interface.name));
    Ok(in_order_of_use(interfaces.collect(), &route_addresses()))
}

/// The same where nothing hangs on an address that is missing: none on an error.
pub fn shown_addresses() -> Vec<IpAddr> {
    own_addresses().unwrap_or_else(|error| {
        log::warn!("this machine's addresses cannot be listed: {error}");
        Vec::new()
    })
}

/// The addresses that packets to everywhere leave with. No packet is sent.
fn route_addresses() -> Vec<IpAddr> {
    let source = |(any, elsewhere): (&str, &str)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(elsewhere).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ELSEWHERE.into_iter().filter_map(source).collect()
}

/// Those on the default route first, a room's before a virtual machine's, private before public, IPv4 before IPv6.
fn in_order_of_use(mut interfaces: Vec<(IpAddr, String)>, routes: &[IpAddr]) -> Vec<IpAddr> {
    let scope = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) if ip.is_link_local() => 3,
        IpAddr::V4(ip) if ip.is_private() => 0,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    };
    interfaces.sort_by_key(|(ip, name)| {
        let route = routes.iter().position(|route| route == ip).unwrap_or(routes.len());
        (route, INNER_INTERFACES.iter().any(|inner| name.starts_with(inner)), scope(ip))
    });
    interfaces.into_iter().map(|(ip, _)| ip).collect()
}

/// Where a listener on this port is reached, for [`may_dial`].
pub fn listening_on(port: u16) -> Vec<SocketAddr> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    shown_addresses().into_iter().chain([loopback]).map(|ip| SocketAddr::new(ip, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_on_the_default_route_is_told_before_all_others() {
        let own = |list: &[(&str, &str)], routes: &[&str]| {
            let list = list.iter().map(|(ip, name)| (ip.parse().unwrap(), (*name).to_owned())).collect();
            let routes: Vec<IpAddr> = routes.iter().map(|ip| ip.parse().unwrap()).collect();
            in_order_of_use(list, &routes).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
        };
        let campus =
            [("172.17.0.1", "docker0"), ("2001:db8::5", "eth0"), ("9.9.9.9", "eth0"), ("10.77.0.1", "mybridge")];
        assert_eq!(own(&campus, &["9.9.9.9", "2001:db8::5"]), "9.9.9.9 2001:db8::5 10.77.0.1 172.17.0.1");
        assert_eq!(own(&campus, &[]), "10.77.0.1 9.9.9.9 2001:db8::5 172.17.0.1", "a lab without a router");
        let room = [("169.254.1.1", "eth1"), ("172.17.0.1", "docker0"), ("192.168.1.5", "wlan0")];
        assert_eq!(own(&room, &[]), "192.168.1.5 169.254.1.1 172.17.0.1");
        assert_eq!(own(&room, &["169.254.1.1"]), "169.254.1.1 192.168.1.5 172.17.0.1");
    }

    #[test]
    fn who_named_an_address_decides_whether_it_may_be_dialled() {
        let own: Vec<SocketAddr> = ["10.0.0.9:6881", "[fd00::9]:6881"].map(|own| own.parse().unwrap()).to_vec();
        use NamedBy::{LocalTracker, Peer, Tracker, User};
        let table: &[(&str, &[NamedBy])] = &[
            ("10.0.0.1:6881", &[User, LocalTracker, Tracker, Peer]),
            ("10.0.0.1:1024", &[User, LocalTracker, Tracker, Peer]),
            ("[fd00::1]:6881", &[User, LocalTracker, Tracker, Peer]),
            ("[fe80::1]:6881", &[User, LocalTracker, Tracker, Peer]),
            // The machine's own services.
            ("10.0.0.1:1023", &[User]),
            ("10.0.0.1:22", &[User]),
            ("[fd00::1]:80", &[User]),
            ("127.0.0.1:80", &[User]),
            // What only this machine reaches.
            ("127.0.0.1:6882", &[User, LocalTracker, Peer]),
            ("127.9.9.9:6882", &[User, LocalTracker, Peer]),
            ("[::1]:6882", &[User, LocalTracker, Peer]),
            ("[::ffff:127.0.0.1]:6882", &[User, LocalTracker, Peer]),
            // Ourselves, and our neighbours on other ports and machines.
            ("10.0.0.9:6881", &[]),
            ("[::ffff:10.0.0.9]:6881", &[]),
            ("[fd00::9]:6881", &[]),
            ("127.0.0.1:6881", &[]),
            ("[::1]:6881", &[]),
            ("10.0.0.9:6882", &[User, LocalTracker, Tracker, Peer]),
            ("10.0.0.8:6881", &[User, LocalTracker, Tracker, Peer]),
            // Where nobody can listen.
            ("10.0.0.1:0", &[]),
            ("0.0.0.0:6881", &[]),
            ("0.1.2.3:6881", &[]),
            ("[::]:6881", &[]),
            ("[::ffff:0.0.0.0]:6881", &[]),
            ("224.0.0.1:6881", &[]),
            ("[::ffff:239.192.152.143]:6881", &[]),
            ("[ff02::1]:6881", &[]),
            ("240.0.0.1:6881", &[]),
            ("255.255.255.255:6881", &[]),
        ];
        for (address, may) in table {
            let parsed = address.parse().unwrap();
            for named_by in [User, LocalTracker, Tracker, Peer] {
                assert_eq!(may_dial(parsed, named_by, &own), may.contains(&named_by), "{address} by {named_by:?}");
            }
        }
    }

    #[test]
    fn an_address_is_known_again_by_its_interface_and_ipv4_as_such() {
        let canonical = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(canonical("[::ffff:10.0.0.1]:6881"), "10.0.0.1:6881");
        assert_eq!(canonical("[fe80::1%2]:6881"), "[fe80::1%2]:6881");
    }

    #[test]
    fn a_listener_is_reached_at_every_address_of_the_machine() {
        let own = listening_on(6881);
        assert!(own.contains(&"127.0.0.1:6881".parse().unwrap()));
        assert!(own_addresses().unwrap().into_iter().all(|ip| !may_dial(
            SocketAddr::new(ip, 6881),
            NamedBy::User,
            &own
        )));
    }

    #[test]
    fn a_default_port_moves_on_and_a_port_that_was_asked_for_does_not() {
        let first = listen(PortChoice::Asked(0)).unwrap();
        let port = first.local_addr().unwrap().port();
        assert_eq!(listen(PortChoice::Asked(port)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        if port < u16::MAX - NEXT_PORTS {
            let second = listen(PortChoice::From(port)).unwrap();
            assert!((port + 1..=port + NEXT_PORTS).contains(&second.local_addr().unwrap().port()));
        }
    }
}
