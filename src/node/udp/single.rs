//! Datagrams one by one, where the system has no calls for many. Which address of this machine each came to is not known there, and
//! the system chooses the one that answers come from.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{Datagram, MAX_DATAGRAM};

/// Answers until it is to end.
pub fn serve(socket: &UdpSocket, ending: &AtomicBool, mut answer: impl FnMut(Datagram<'_>, &mut Vec<u8>)) {
    let (mut buffer, mut out) = ([0; MAX_DATAGRAM], Vec::new());
    let reached = socket.local_addr().map_or(IpAddr::from([0; 4]), |address| address.ip());
    while !ending.load(Ordering::Acquire) {
        // A time-out, or an ICMP error that an earlier answer brought; neither is of any matter.
        let Ok((length, to)) = socket.recv_from(&mut buffer) else { continue };
        let from = SocketAddr::new(to.ip().to_canonical(), to.port());
        out.clear();
        answer(Datagram { bytes: &buffer[..length], from, reached }, &mut out);
        if !out.is_empty() {
            let _ = socket.send_to(&out, to);
        }
    }
}
