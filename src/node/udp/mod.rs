//! A thread that answers the datagrams of a UDP port, each by itself and from the address that it came to: on a machine of several
//! addresses a client drops what comes from another one. What the datagrams say is for whoever starts it; it keeps nothing about
//! anybody.

#[cfg(target_os = "linux")]
mod batch;
#[cfg(any(test, not(target_os = "linux")))]
mod single;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

#[cfg(target_os = "linux")]
use batch::serve;
#[cfg(not(target_os = "linux"))]
use single::serve;
use socket2::SockRef;

use crate::net;

/// Bytes of a datagram that are read. The longest that means something here is a scrape of 74 swarms, 1,496 bytes.
const MAX_DATAGRAM: usize = 2048;

/// Bytes that wait in the kernel while the thread is busy, as far as the system allows: some thousand datagrams.
const RECEIVE_BUFFER: usize = 1 << 20;

/// How often the thread looks whether it is to end, should the datagram that wakes it be lost.
const LOOK: Duration = Duration::from_secs(5);

/// The thread's stack, in bytes.
const STACK: usize = 128 * 1024;

/// One datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What it says, up to `MAX_DATAGRAM` bytes.
    pub bytes: &'a [u8],
    /// Who sent it, as far as that is not forged; an IPv4 address is one, not within an IPv6 one.
    pub from: SocketAddr,
    /// The address of this machine that it came to.
    pub reached: IpAddr,
}

/// The thread, and how it is ended. Dropping it closes the port.
#[derive(Debug)]
pub struct UdpThread {
    port: u16,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpThread {
    /// Opens the UDP port of that number on every address of this machine. `answer` is shown each datagram and an empty answer; what
    /// it writes there is sent back.
    pub fn start(
        name: &str,
        port: u16,
        answer: impl FnMut(Datagram<'_>, &mut Vec<u8>) + Send + 'static,
    ) -> io::Result<UdpThread> {
        let socket = net::open_udp(port)?;
        socket.set_read_timeout(Some(LOOK))?;
        // Less than this is what the system gives without asking; then there are more losses under load, and nothing else.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let port = socket.local_addr()?.port();
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name(name.into()).stack_size(STACK).spawn({
            let ending = ending.clone();
            move || serve(&socket, &ending, answer)
        })?;
        Ok(UdpThread { port, ending, thread: Some(thread) })
    }
}

impl Drop for UdpThread {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than an answer takes, for a busy machine.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Answers with the address that was reached and what came, but not to what is empty.
    fn echo(datagram: Datagram<'_>, out: &mut Vec<u8>) {
        assert!(out.is_empty());
        if !datagram.bytes.is_empty() {
            out.extend(datagram.reached.to_string().as_bytes());
            out.extend(datagram.bytes);
        }
    }

    /// A client that drops what does not come from where it sends to.
    fn client(to: SocketAddr) -> UdpSocket {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    fn answer(socket: &UdpSocket) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_datagram_is_answered_by_itself_from_the_address_that_it_came_to() {
        let thread = UdpThread::start("udp test", 0, echo).unwrap();
        let clients = ["127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"].map(|ip| {
            let ip: IpAddr = ip.parse().unwrap();
            (ip, client(SocketAddr::new(ip, thread.port)))
        });
        // Interleaved, so that one call takes those of several addresses; more than one call takes.
        for number in 0..100 {
            for (_, socket) in &clients {
                socket.send(&[]).unwrap();
                socket.send(format!("#{number}").as_bytes()).unwrap();
            }
            if number % 10 == 9 {
                for (ip, socket) in &clients {
                    for number in number - 9..=number {
                        assert_eq!(answer(socket), format!("{ip}#{number}"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_answered_keeps_no_answer_from_the_others() {
        let thread = UdpThread::start("udp test", 0, echo).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, thread.port));
        // Before the others, so that it is given the port of none of them.
        let here = client(to);
        for _ in 0..200 {
            // Nobody is there any more when it is answered, which the kernel tells the thread as an error.
            client(to).send(b"gone").unwrap();
        }
        let sizes = [1, MAX_DATAGRAM - 1, MAX_DATAGRAM, MAX_DATAGRAM + 1, 60_000];
        for size in sizes {
            here.send(&vec![b'x'; size]).unwrap();
            assert_eq!(answer(&here).len(), "127.0.0.1".len() + size.min(MAX_DATAGRAM));
        }
    }

    #[test]
    fn an_answer_that_is_too_long_to_be_sent_is_passed_over() {
        let long = |datagram: Datagram<'_>, out: &mut Vec<u8>| {
            out.resize(if datagram.bytes == b"long" { 100_000 } else { 1 }, b'x');
        };
        let thread = UdpThread::start("udp test", 0, long).unwrap();
        let client = client((Ipv4Addr::LOCALHOST, thread.port).into());
        for word in ["long", "short", "long", "long", "short"] {
            client.send(word.as_bytes()).unwrap();
        }
        assert_eq!([answer(&client), answer(&client)], ["x", "x"]);
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_and_is_free_again_when_the_thread_is_dropped() {
        let thread = UdpThread::start("udp test", 0, echo).unwrap();
        let port = thread.port;
        assert_eq!(UdpThread::start("udp test", port, echo).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(thread);
        assert!(UdpThread::start("udp test", port, echo).is_ok());
    }

    #[test]
    fn so_it_is_where_there_is_no_ipv6_and_where_datagrams_are_taken_one_by_one() {
        type Serve = fn(&UdpSocket, &AtomicBool);
        let batches: Serve = |socket, ending| serve(socket, ending, echo);
        let singles: Serve = |socket, ending| single::serve(socket, ending, echo);
        let v4_alone = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        for (socket, serve) in [(v4_alone, batches), (net::open_udp(0).unwrap(), singles)] {
            let client = client((Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port()).into());
            let ending = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| serve(&socket, &ending));
                client.send(b"!").unwrap();
                assert!(answer(&client).ends_with('!'));
                ending.store(true, Ordering::Release);
                client.send(b"").unwrap();
            });
        }
    }
}
