//! Turns uTP down ([`wire::utp`]) on the UDP port of the same number as the one that peers connect to, so that whoever tries uTP first
//! comes by TCP at once.

use std::{
    io,
    time::{Duration, Instant},
};

use super::udp::UdpThread;
use crate::{
    quota::{Allowances, Origin},
    wire::utp,
};

/// Resets that are sent in a second at most; whoever gets none comes by TCP later.
const MAX_RESETS: u32 = 100;

/// Resets that one origin gets at once: a room behind one router that is switched on.
const BURST: f64 = 40.0;

/// Resets a second that one origin goes on getting.
const REFILL: f64 = 4.0;

/// Opens the UDP port of that number on every address of this machine.
pub fn reset(port: u16) -> io::Result<UdpThread> {
    let mut pace = ResetRate::new(Instant::now());
    UdpThread::start("utp reset", port, move |datagram, out| {
        if let Some(reset) = utp::reset_for(datagram.bytes)
            && pace.may_send(Origin::of_peer(datagram.from.ip(), || Some(datagram.reached)), Instant::now())
        {
            out.extend(reset);
        }
    })
}

/// How many were sent in this second, and to whom of late. Pure.
struct ResetRate {
    since: Instant,
    sent: u32,
    origins: Allowances,
}

impl ResetRate {
    fn new(now: Instant) -> ResetRate {
        ResetRate { since: now, sent: 0, origins: Allowances::new(BURST, REFILL) }
    }

    fn may_send(&mut self, origin: Origin, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.sent) = (now, 0);
        }
        let may = self.sent < MAX_RESETS && self.origins.take(origin, now);
        self.sent += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    const SYN: [u8; 20] = [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0x10, 0, 0, 0xab, 0xcd, 0, 0];

    #[test]
    fn a_syn_is_answered_on_the_port_and_nothing_else_is() {
        let port = crate::net::open_udp(0).unwrap().local_addr().unwrap().port();
        let _reset = reset(port).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        for packet in [&[][..], &[SYN.as_slice(), &[0]].concat(), &SYN[..19], b"d1:q4:ping1:y1:qe", &SYN] {
            peer.send(packet).unwrap();
        }
        let mut answer = [0; 64];
        let length = peer.recv(&mut answer).unwrap();
        assert_eq!(answer[..length], utp::reset_for(&SYN).unwrap(), "only the last is answered");
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut answer).is_err(), "there is one answer");
    }

    #[test]
    fn a_hundred_resets_are_sent_in_a_second_and_no_more_and_to_one_origin_forty() {
        let now = Instant::now();
        let mut pace = ResetRate::new(now);
        let host =
            |last: u16| Origin::of(std::net::IpAddr::from([10, 0, last.to_be_bytes()[0], last.to_be_bytes()[1]]));
        assert_eq!((0..1000).filter(|_| pace.may_send(host(0), now)).count(), 40);
        assert_eq!((1..1000).filter(|last| pace.may_send(host(*last), now)).count(), 60);
        let mut sent = |now| (1..1000).filter(|last| pace.may_send(host(*last), now)).count();
        assert_eq!(sent(now + Duration::from_millis(999)), 0);
        assert_eq!(sent(now + Duration::from_secs(1)), 100);
    }
}
