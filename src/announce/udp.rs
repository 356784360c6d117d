//! Asking a tracker over UDP (BEP 15): two packets there, two back.
//!
//! What the packets say is pure and above; [`announce`] below carries them, sends again what got lost, and gives up in
//! time. A packet that answers no question of ours is dropped as if it had never come.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    announce::{
        answer::{self, Answer},
        error::AnnounceError,
        reach::Reach,
    },
    net,
    tracker::{
        announce::{Announce, AnnounceEvent},
        udp::{ANNOUNCE, CONNECT, ERROR, PROTOCOL},
    },
};

/// How long the first answer is waited for before its question is sent again; doubled each time. BEP 15's 15 s are for
/// the open internet; a room would stand still for so long.
const FIRST_RESEND: Duration = Duration::from_secs(1);

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a wait looks whether it is cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(100);

/// The longest packet that is read whole, in bytes: 450 peers of IPv6, more than we ever ask for.
const MAX_PACKET: usize = 8192;

/// The bytes of a connect.
pub fn connect_request(transaction: u32) -> Vec<u8> {
    [&PROTOCOL.to_be_bytes()[..], &CONNECT.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// The bytes of an announce.
pub fn announce_request(connection: u64, transaction: u32, announce: &Announce, key: u32) -> Vec<u8> {
    let event: u32 = match announce.event {
        AnnounceEvent::Regular => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    // The address is the one the packet comes from; a field of zeros says so.
    let address = 0u32;
    [
        &connection.to_be_bytes()[..],
        &ANNOUNCE.to_be_bytes(),
        &transaction.to_be_bytes(),
        &announce.info_hash.0,
        &announce.peer_id.0,
        &announce.downloaded.to_be_bytes(),
        &announce.left.to_be_bytes(),
        &announce.uploaded.to_be_bytes(),
        &event.to_be_bytes(),
        &address.to_be_bytes(),
        &key.to_be_bytes(),
        &(announce.wanted as u32).to_be_bytes(),
        &announce.port.to_be_bytes(),
    ]
    .concat()
}

/// The connection id in an answer to `connect_request`; `None` where the packet answers something else.
pub fn read_connect(packet: &[u8], transaction: u32) -> Option<Result<u64, AnnounceError>> {
    let body = match body_of(packet, CONNECT, transaction)? {
        Ok(body) => body,
        Err(error) => return Some(Err(error)),
    };
    body.first_chunk().map(|id| Ok(u64::from_be_bytes(*id)))
}

/// The answer to `announce_request`; `None` where the packet answers something else.
pub fn read_announce(packet: &[u8], transaction: u32, is_ipv6: bool) -> Option<Result<Answer, AnnounceError>> {
    let body = match body_of(packet, ANNOUNCE, transaction)? {
        Ok(body) => body,
        Err(error) => return Some(Err(error)),
    };
    let (numbers, peers) = body.split_first_chunk::<12>()?;
    let number = |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
    let interval = Duration::from_secs(number(0).into()).clamp(answer::MIN_INTERVAL, answer::MAX_INTERVAL);
    let peers = match is_ipv6 {
        true => answer::compact_v6(peers).map(answer::usable),
        false => answer::compact_v4(peers).map(answer::usable),
    };
    Some(peers.map_err(AnnounceError::Answer).map(|peers| Answer {
        peers,
        interval,
        min_interval: answer::DEFAULT_MIN_INTERVAL.min(interval),
        complete: Some(number(8)),
        incomplete: Some(number(4)),
        tracker_id: None,
        warning: None,
    }))
}

/// What follows the head of an answer to this transaction, or the error that answers it.
fn body_of(packet: &[u8], action: u32, transaction: u32) -> Option<Result<&[u8], AnnounceError>> {
    let (head, body) = packet.split_first_chunk::<8>()?;
    let is = |action: u32| *head == (u64::from(action) << 32 | u64::from(transaction)).to_be_bytes();
    match () {
        () if is(action) => Some(Ok(body)),
        () if is(ERROR) => {
            let (reason, retry) = (answer::plain_words(body), answer::Retry::Unsaid);
            Some(Err(AnnounceError::Answer(answer::AnswerError::Failure { reason, retry })))
        }
        () => None,
    }
}

/// Announces to the tracker at `authority` (`host:port`), within `limit` for all of it.
pub fn announce(
    authority: &str,
    announce: &Announce,
    key: u32,
    limit: Duration,
    is_cancelled: &dyn Fn() -> bool,
    reach: Reach,
) -> Result<Answer, AnnounceError> {
    let start = Instant::now();
    let found = resolve(authority, limit.min(RESOLVE_TIMEOUT))?;
    reach.check_udp(&found, net::own_addresses)?;
    let first_of = |is_ipv6: bool| found.iter().find(move |address| address.is_ipv6() == is_ipv6);
    let addresses: Vec<&SocketAddr> = [first_of(false), first_of(true)].into_iter().flatten().collect();
    let share = limit.saturating_sub(start.elapsed()) / addresses.len().max(1) as u32;
    let mut failure = AnnounceError::Unreachable(io::Error::new(ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        let deadline = Instant::now() + share;
        let exchange = Exchange::open(*address, deadline, is_cancelled);
        match exchange.and_then(|exchange| exchange.announce(announce, key)) {
            Err(error @ (AnnounceError::Unreachable(_) | AnnounceError::Timeout)) => failure = error,
            outcome => return outcome,
        }
    }
    Err(failure)
}

fn resolve(authority: &str, limit: Duration) -> Result<Vec<SocketAddr>, AnnounceError> {
    if let Ok(address) = authority.parse() {
        return Ok(vec![address]);
    }
    let (found, result) = mpsc::sync_channel(1);
    let authority = authority.to_owned();
    // The system's resolver takes no time limit. A thread that it holds on to ends by itself, heard or not.
    let resolver = move || drop(found.send(authority.to_socket_addrs().map(Iterator::collect)));
    thread::Builder::new().spawn(resolver).map_err(AnnounceError::Unreachable)?;
    result.recv_timeout(limit).map_err(|_| AnnounceError::Timeout)?.map_err(AnnounceError::Unreachable)
}

/// Questions to one tracker and their answers.
struct Exchange<'a> {
    socket: UdpSocket,
    is_ipv6: bool,
    deadline: Instant,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl<'a> Exchange<'a> {
    fn open(
        tracker: SocketAddr,
        deadline: Instant,
        is_cancelled: &'a dyn Fn() -> bool,
    ) -> Result<Exchange<'a>, AnnounceError> {
        let any = match tracker {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).map_err(AnnounceError::Unreachable)?;
        // From here on the kernel drops packets of anyone else.
        socket.connect(tracker).map_err(AnnounceError::Unreachable)?;
        Ok(Exchange { socket, is_ipv6: tracker.is_ipv6(), deadline, is_cancelled })
    }

    fn announce(&self, announce: &Announce, key: u32) -> Result<Answer, AnnounceError> {
        let transaction = transaction()?;
        let connection = self.ask(&connect_request(transaction), |packet| read_connect(packet, transaction))?;
        let transaction = self::transaction()?;
        let request = announce_request(connection, transaction, announce, key);
        self.ask(&request, |packet| read_announce(packet, transaction, self.is_ipv6))
    }

    /// Sends `request`, again and again with longer waits, until `read` finds its answer.
    fn ask<T>(
        &self,
        request: &[u8],
        read: impl Fn(&[u8]) -> Option<Result<T, AnnounceError>>,
    ) -> Result<T, AnnounceError> {
        let mut wait = FIRST_RESEND;
        while Instant::now() < self.deadline {
            self.socket.send(request).map_err(AnnounceError::Unreachable)?;
            let resend_at = (Instant::now() + wait).min(self.deadline);
            if let Some(outcome) = self.listen(resend_at, &read)? {
                return outcome;
            }
            wait *= 2;
        }
        Err(AnnounceError::Timeout)
    }

    fn listen<T>(&self, until: Instant, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, AnnounceError> {
        let mut packet = [0; MAX_PACKET];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if (self.is_cancelled)() {
                return Err(AnnounceError::Cancelled);
            }
            self.socket.set_read_timeout(Some(left.min(CANCEL_CHECK))).map_err(AnnounceError::Unreachable)?;
            match self.socket.recv(&mut packet) {
                Ok(length) => {
                    if let Some(found) = read(&packet[..length]) {
                        return Ok(Some(found));
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(AnnounceError::Unreachable(error)),
            }
        }
    }
}

fn transaction() -> Result<u32, AnnounceError> {
    getrandom::u32().map_err(|error| AnnounceError::Unreachable(io::Error::other(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::{InfoHash, PeerId};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMIT: Duration = Duration::from_secs(10);

    fn sample() -> Announce {
        Announce {
            info_hash: InfoHash([b'h'; 20]),
            peer_id: PeerId([b'p'; 20]),
            port: 0x1ae1,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: AnnounceEvent::Started,
            wanted: 50,
        }
    }

    fn text(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    #[test]
    fn requests_are_bep_15s_byte_for_byte() {
        assert_eq!(text(&connect_request(0x0a0b_0c0d)), "0000041727101980000000000a0b0c0d");
        let want = [
            "1122334455667788000000010a0b0c0d",
            &"68".repeat(20),
            &"70".repeat(20),
            "000000000000000100000000000000020000000000000003",
            "0000000200000000deadbeef000000321ae1",
        ];
        let got = announce_request(0x1122_3344_5566_7788, 0x0a0b_0c0d, &sample(), 0xdead_beef);
        assert_eq!((text(&got), got.len()), (want.concat(), 98));
        let event = |event| announce_request(0, 0, &Announce { event, ..sample() }, 0)[83];
        assert_eq!(
            [AnnounceEvent::Regular, AnnounceEvent::Completed, AnnounceEvent::Started, AnnounceEvent::Stopped]
                .map(event),
            [0, 1, 2, 3]
        );
    }

    #[test]
    fn answers_are_read_byte_for_byte() {
        let packet = b"\0\0\0\0\x0a\x0b\x0c\x0d\0\0\0\0\0\0\x01\x02";
        assert!(matches!(read_connect(packet, 0x0a0b_0c0d), Some(Ok(0x102))));
        let packet = b"\0\0\0\x01\x0a\x0b\x0c\x0d\0\0\x07\x08\0\0\0\x05\0\0\0\x06\x01\x02\x03\x04\x1a\xe1";
        let answer = read_announce(packet, 0x0a0b_0c0d, false).unwrap().unwrap();
        assert_eq!(answer.peers, ["1.2.3.4:6881".parse().unwrap()]);
        assert_eq!((answer.interval.as_secs(), answer.incomplete, answer.complete), (1800, Some(5), Some(6)));
        let six = [&packet[..20], b" \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50"].concat();
        let answer = read_announce(&six, 0x0a0b_0c0d, true).unwrap().unwrap();
        assert_eq!(answer.peers, ["[2001:db8::1]:80".parse().unwrap()]);
        assert!(matches!(read_announce(&six, 0x0a0b_0c0d, false), Some(Ok(_))), "18 bytes are 3 peers of 6 as well");
        let ragged = read_announce(&packet[..25], 0x0a0b_0c0d, false);
        assert!(matches!(ragged, Some(Err(AnnounceError::Answer(answer::AnswerError::RaggedPeers(5))))));
    }

    #[test]
    fn a_packet_that_answers_nothing_is_no_answer() {
        let packet = b"\0\0\0\x01\0\0\0\x07\0\0\0\x05\0\0\0\0\0\0\0\0";
        assert!(read_announce(packet, 8, false).is_none(), "another transaction");
        assert!(read_connect(packet, 7).is_none(), "another action");
        for end in 0..20 {
            assert!(read_announce(&packet[..end], 7, false).is_none(), "cut at {end}");
        }
        let refusal = read_announce(b"\0\0\0\x03\0\0\0\x07no\x1b!", 7, false).unwrap().unwrap_err();
        assert_eq!(refusal.to_string(), "the tracker refuses: no !");
    }

    /// A tracker that answers each packet it gets with those that `answer` makes of it, until it makes none.
    fn tracker(answer: impl Fn(usize, &[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let authority = socket.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut packet = [0; 2048];
            for number in 0.. {
                let (length, from) = socket.recv_from(&mut packet).unwrap();
                let Some(answers) = answer(number, &packet[..length]) else { return };
                for answer in answers {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        authority
    }

    /// The right answer to a packet.
    fn good(packet: &[u8]) -> Vec<u8> {
        let (action, transaction) = (&packet[8..12], &packet[12..16]);
        match action[3] {
            0 => [action, transaction, b"connects"].concat(),
            _ => [action, transaction, b"\0\0\0\x09\0\0\0\0\0\0\0\x01\x01\x02\x03\x04\0\x07"].concat(),
        }
    }

    #[test]
    fn what_gets_lost_is_sent_again_and_what_is_foreign_is_passed_over() {
        let authority = tracker(|number, packet| {
            let foreign = |at: usize| {
                let mut packet = good(packet);
                packet[at] ^= 1;
                packet
            };
            Some(if number == 0 { vec![] } else { vec![vec![], foreign(7), foreign(3), good(packet)] })
        });
        let answer = announce(&authority, &sample(), 1, LIMIT, &|| false, Reach::Anywhere).unwrap();
        assert_eq!((answer.peers.len(), answer.interval.as_secs()), (1, 9));
    }

    #[test]
    fn a_silent_tracker_is_given_up_in_time_and_a_wait_can_be_cancelled() {
        let authority = tracker(|_, _| Some(vec![]));
        let start = Instant::now();
        let error =
            announce(&authority, &sample(), 1, Duration::from_millis(150), &|| false, Reach::Anywhere).unwrap_err();
        assert!(matches!(error, AnnounceError::Timeout) && start.elapsed() < LIMIT);
        let checks = AtomicUsize::new(0);
        let error =
            announce(&authority, &sample(), 1, LIMIT, &|| checks.fetch_add(1, Ordering::Relaxed) == 2, Reach::Anywhere)
                .unwrap_err();
        assert!(matches!(error, AnnounceError::Cancelled) && start.elapsed() < LIMIT);
    }

    #[test]
    fn nobody_there_is_an_error_at_once() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let start = Instant::now();
        let error = announce(&free.to_string(), &sample(), 1, LIMIT, &|| false, Reach::Anywhere).unwrap_err();
        assert!(matches!(error, AnnounceError::Unreachable(_)) && start.elapsed() < LIMIT);
        let named = announce(&format!("localhost:{}", free.port()), &sample(), 1, LIMIT, &|| false, Reach::Anywhere);
        assert!(matches!(named, Err(AnnounceError::Unreachable(_))));
        assert!(matches!(
            announce("127.0.0.1", &sample(), 1, LIMIT, &|| false, Reach::Anywhere),
            Err(AnnounceError::Unreachable(_))
        ));
    }
}
