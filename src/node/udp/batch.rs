//! Datagrams by the batch: one call takes as many as have come, and one sends the answers to them.
//!
//! The address that each came to is told beside it (IP_PKTINFO), and said again beside its answer.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    cmsg_space,
    libc::{in_addr, in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
        setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};

use super::{Datagram, MAX_DATAGRAM};

/// Datagrams that are taken with one call at most.
const BATCH: usize = 64;

/// Bytes of an answer for which room is kept; a longer one is rare, and its room is given back.
const USUAL_ANSWER: usize = 2048;

/// Which address of this machine a datagram came to, so that its answer is sent from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketInfo {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// Answers until it is to end.
pub fn serve(socket: &UdpSocket, ending: &AtomicBool, mut answer: impl FnMut(Datagram<'_>, &mut Vec<u8>)) {
    // For IPv4 too, where the socket is of both families. One of IPv4 alone refuses it.
    if setsockopt(socket, Ipv6RecvPacketInfo, &true).is_err() {
        let _ = setsockopt(socket, Ipv4PacketInfo, &true);
    }
    let mut buffers = vec![[0; MAX_DATAGRAM]; BATCH];
    let mut arrivals = headers();
    let mut answers = Answers::new();
    while !ending.load(Ordering::Acquire) {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        // It waits for the first, and takes those that have come by then.
        let taken = recvmmsg(socket.as_raw_fd(), &mut arrivals, &mut slices, MsgFlags::MSG_WAITFORONE, None);
        // A time-out, or an ICMP error that an earlier answer brought; neither is of any matter.
        let Ok(taken) = taken else { continue };
        let mut lacks_info = false;
        for message in taken {
            let Some((to, from, info)) = envelope(&message) else {
                lacks_info = true;
                continue;
            };
            let bytes = message.iovs().next().unwrap_or_default();
            let out = answers.begin();
            answer(Datagram { bytes, from, reached: info.reached() }, out);
            answers.end(to, info);
        }
        if lacks_info {
            // The headers have room for as much beside a datagram as came with the last one.
            arrivals = headers();
        }
        answers.send(socket);
    }
}

/// Where a datagram came from, as the kernel has it and as we do, and where to.
fn envelope(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<(SockaddrStorage, SocketAddr, PacketInfo)> {
    let to = message.address?;
    let from = match (to.as_sockaddr_in(), to.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::V4(SocketAddrV4::from(*v4)),
        (None, Some(v6)) => {
            let v6 = SocketAddrV6::from(*v6);
            SocketAddr::new(v6.ip().to_canonical(), v6.port())
        }
        (None, None) => return None,
    };
    let info = message.cmsgs().ok()?.find_map(|beside| match beside {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(PacketInfo::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(PacketInfo::V6(info)),
        _ => None,
    })?;
    Some((to, from, info))
}

impl PacketInfo {
    fn reached(&self) -> IpAddr {
        match self {
            PacketInfo::V4(info) => Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(),
            PacketInfo::V6(info) => Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical(),
        }
    }

    /// The same for an answer: the shorter form for IPv4, which the kernel takes without allocating. The interface that it leaves by
    /// is the routing table's to choose, but where the address means nothing without one.
    fn of_answer(self) -> PacketInfo {
        match (self, self.reached()) {
            (_, IpAddr::V4(ip)) => {
                let address = in_addr { s_addr: ip.to_bits().to_be() };
                PacketInfo::V4(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address })
            }
            (PacketInfo::V6(info), IpAddr::V6(ip)) if !ip.is_unicast_link_local() => {
                PacketInfo::V6(in6_pktinfo { ipi6_ifindex: 0, ..info })
            }
            _ => self,
        }
    }
}

/// The answers to a batch. Its buffers are used again.
struct Answers {
    /// With room for that much beside each datagram, which all of it is sent.
    v4_headers: MultiHeaders<SockaddrStorage>,
    v6_headers: MultiHeaders<SockaddrStorage>,
    bytes: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
    infos: Vec<PacketInfo>,
}

impl Answers {
    fn new() -> Answers {
        Answers {
            v4_headers: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in_pktinfo))),
            v6_headers: headers(),
            bytes: vec![Vec::new(); BATCH],
            to: Vec::with_capacity(BATCH),
            infos: Vec::with_capacity(BATCH),
        }
    }

    /// Where the next answer is to be written.
    fn begin(&mut self) -> &mut Vec<u8> {
        let out = &mut self.bytes[self.to.len()];
        out.clear();
        out.shrink_to(USUAL_ANSWER);
        out
    }

    /// Takes what was written there; nothing is no answer.
    fn end(&mut self, to: SockaddrStorage, info: PacketInfo) {
        if !self.bytes[self.to.len()].is_empty() {
            self.to.push(Some(to));
            self.infos.push(info.of_answer());
        }
    }

    /// Sends them all. What cannot be sent at once is lost, as any datagram may be: whoever waits for it asks again.
    fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while let Some(info) = self.infos.get(sent).copied() {
            // One call says one address that they come from.
            let run = self.infos[sent..].iter().take_while(|other| **other == info).count();
            let slices: Vec<_> = self.bytes[sent..sent + run].iter().map(|bytes| [IoSlice::new(bytes)]).collect();
            let (headers, by) = match &info {
                PacketInfo::V4(info) => (&mut self.v4_headers, [ControlMessage::Ipv4PacketInfo(info)]),
                PacketInfo::V6(info) => (&mut self.v6_headers, [ControlMessage::Ipv6PacketInfo(info)]),
            };
            let to = &self.to[sent..sent + run];
            let gone = sendmmsg(socket.as_raw_fd(), headers, &slices, to, by, MsgFlags::MSG_DONTWAIT);
            // It ends before the first that cannot be sent, and says why only if that is the very first.
            sent += gone.map_or(1, |gone| gone.count().max(1));
        }
        self.to.clear();
        self.infos.clear();
    }
}

/// Headers for a batch, with room for an address of either family beside each datagram.
fn headers() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in6_pktinfo)))
}
