//! Listening sockets: which port, and on both address families.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
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

fn bind(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    // A port whose last connections are still winding down is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

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
