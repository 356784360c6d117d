//! A tracker that is left running: peers come, announce for a while and go, nearly all with a goodbye, some without a word, and what they
//! fetch is now a known torrent, now one that nobody has heard of. Its memory levels off.
//!
//! `CHURN=240` runs it for so many seconds and holds memory to it; the short form sees that all is answered and little is held.

use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::{folder, say, wait_until};

const START: Duration = Duration::from_secs(20);

/// How long it takes, unless the environment says otherwise.
const SHORT: Duration = Duration::from_secs(10);

/// Until every buffer has had its largest size. What comes after it is held to be flat.
const WARM_UP: Duration = Duration::from_secs(90);

/// What may come after it, in KiB: less than chance gives the allocator.
const MAX_GROWTH: u64 = 1024;

/// What the tracker may hold at any time, in KiB.
const LIMIT: u64 = 32 * 1024;

/// Announces a second: in the short form few, because other tests run beside it.
const RATE: u32 = 15_000;
const SHORT_RATE: u32 = 2000;

/// What a room of two hundred announces in a day, once in five seconds each.
const A_DAY: f64 = 200.0 / 5.0 * 86_400.0;

/// Peers on one connection: each announces ten times, and all say goodbye but one now and then.
const PEERS: u32 = 50;

/// One connection of so many is about a torrent that nobody has heard of.
const NEW_EVERY: u32 = 10;
const ANNOUNCES: u32 = 10;

#[test]
fn a_tracker_whose_peers_come_and_go_holds_no_more_in_the_end_than_after_a_while() {
    let time = env::var("CHURN").ok().and_then(|seconds| seconds.parse().ok()).map_or(SHORT, Duration::from_secs);
    let (work, port) = (folder(), free_port());
    let mut command = Command::new(MINITORRENT);
    command.args(["tracker", "--no-web", "--port", &port.to_string(), "--data"]).arg(work.path());
    let tracker = Process::start(command, work.path(), "tracker");
    assert!(wait_until(START, || connect(Ipv4Addr::LOCALHOST, port).is_ok()), "{}", tracker.stderr());
    let rate = if time > SHORT { RATE } else { SHORT_RATE };
    let (begun, mut announces, mut batch) = (Instant::now(), 0, 0);
    let (mut warm, mut figures) = (None, Vec::new());
    while begun.elapsed() < time {
        announces += announce_some(port, batch);
        batch += 1;
        let at = begun.elapsed();
        if at >= WARM_UP && warm.is_none() {
            warm = Some(tracker.usage().resident_kib);
        }
        if at >= time * (figures.len() as u32 + 1) / 10 {
            figures.push(format!("{:.1}", tracker.usage().resident_kib as f64 / 1024.0));
        }
        let due = Duration::from_secs_f64(f64::from(announces) / f64::from(rate));
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let after = tracker.usage();
    let days = f64::from(announces) / A_DAY;
    say(&format!(
        "churn: {announces} announces of {} peers for {} torrents, as of a room of 200 in {days:.2} days; memory, MiB, each tenth of {} s: {}",
        batch * PEERS,
        batch / NEW_EVERY,
        time.as_secs(),
        figures.join(" ")
    ));
    assert!(after.peak_kib <= LIMIT, "it took {} KiB", after.peak_kib);
    if let Some(warm) = warm.filter(|_| time >= 2 * WARM_UP) {
        assert!(
            after.resident_kib <= warm + MAX_GROWTH,
            "{warm} KiB after {WARM_UP:?}, {} in the end",
            after.resident_kib
        );
    }
}

/// What some peers of one machine have to say from coming to going, in one go; how many announces that were.
fn announce_some(port: u16, batch: u32) -> u32 {
    let hash = match batch.is_multiple_of(NEW_EVERY) {
        true => format!("new{batch:017}"),
        false => format!("known{:015}", batch % 20),
    };
    let mut requests = String::new();
    let mut count = 0;
    for peer in 0..PEERS {
        let leaves = peer > 0 || !batch.is_multiple_of(10);
        for turn in 0..ANNOUNCES {
            let (event, left) = match turn {
                0 => ("&event=started", 1000),
                8 => ("&event=completed", 0),
                9 if leaves => ("&event=stopped", 0),
                _ => ("", 500),
            };
            requests += &format!(
                "GET /announce?info_hash={hash}&peer_id=-CH0001-{:06}{peer:06}&port={}&uploaded=1&downloaded=2&left={left}&compact=1{event} \
                 HTTP/1.1\r\nHost: a\r\n\r\n",
                batch % 1_000_000,
                2000 + peer
            );
            count += 1;
        }
    }
    let mut stream = connect(Ipv4Addr::new(127, 9, (batch / 250 % 250) as u8, (batch % 250) as u8 + 1), port).unwrap();
    stream.set_read_timeout(Some(START)).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let answered = answers.windows(12).filter(|twelve| twelve == b"HTTP/1.1 200").count();
    assert_eq!(answered as u32, count, "an announce was not answered");
    count
}

/// A connection from any address of 127.0.0.0/8: each is a machine of its own.
fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket.into())
}
