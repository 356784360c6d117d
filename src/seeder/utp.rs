//! Turns uTP down ([`wire::utp`]): a thread on the UDP port of the same number as the listener's, so that whoever tries uTP
//! first comes by TCP at once. It keeps nothing about anybody.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{net, wire::utp};

/// Resets that are sent in a second at most; whoever gets none comes by TCP later.
const MAX_RESETS: u32 = 100;

/// How often the thread looks whether it is to end, should the datagram that wakes it be lost.
const LOOK: Duration = Duration::from_secs(5);

/// The thread's stack, in bytes.
const STACK: usize = 128 * 1024;

/// The thread, and how it is ended. Dropping it closes the port.
#[derive(Debug)]
pub struct UtpReset {
    port: u16,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UtpReset {
    /// Opens the UDP port of that number on every address of this machine.
    pub fn open(port: u16) -> io::Result<UtpReset> {
        let socket = net::open_udp(port)?;
        socket.set_read_timeout(Some(LOOK))?;
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("utp reset".into()).stack_size(STACK).spawn({
            let ending = ending.clone();
            move || answer(&socket, &ending)
        })?;
        Ok(UtpReset { port, ending, thread: Some(thread) })
    }
}

impl Drop for UtpReset {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // A datagram of our own wakes it; if that is lost, so does the time-out.
        let woken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, ending: &AtomicBool) {
    let mut pace = Pace { since: Instant::now(), sent: 0 };
    // One byte more than an answerable packet has, so that a longer one is seen to be longer.
    let mut packet = [0; utp::MAX_SYN + 1];
    while !ending.load(Ordering::Acquire) {
        // A time-out, or an ICMP error that an earlier answer brought; neither is of any matter.
        let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
        if let Some(reset) = utp::reset_for(&packet[..length])
            && pace.may_send(Instant::now())
        {
            let _ = socket.send_to(&reset, from);
        }
    }
}

/// How many were sent in this second. Pure.
struct Pace {
    since: Instant,
    sent: u32,
}

impl Pace {
    fn may_send(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.sent) = (now, 0);
        }
        let may = self.sent < MAX_RESETS;
        self.sent += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: [u8; 20] = [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0x10, 0, 0, 0xab, 0xcd, 0, 0];

    fn free_port() -> u16 {
        net::open_udp(0).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_syn_is_answered_on_the_port_and_nothing_else_is() {
        let port = free_port();
        let reset = UtpReset::open(port).unwrap();
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
        // Where the port is taken there is none.
        assert_eq!(UtpReset::open(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(reset);
        assert!(UtpReset::open(port).is_ok());
    }

    #[test]
    fn a_hundred_resets_are_sent_in_a_second_and_no_more() {
        let now = Instant::now();
        let mut pace = Pace { since: now, sent: 0 };
        let mut sent = |now| (0..1000).filter(|_| pace.may_send(now)).count();
        assert_eq!(sent(now), 100);
        assert_eq!(sent(now + Duration::from_millis(999)), 0);
        assert_eq!(sent(now + Duration::from_secs(1)), 100);
    }
}
