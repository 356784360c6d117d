//! Our tracker over UDP (BEP 15): real clients that have no other way to find each other, and those who mean it harm.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use minitorrent::announce::answer::Answer;
use minitorrent::announce::client::{AnnounceError, Reach};
use minitorrent::announce::udp;
use minitorrent::metainfo::{InfoHash, PeerId};
use minitorrent::tracker::announce::{Announce, AnnounceEvent};
use tempfile::TempDir;

use crate::house::clients::{Client, clients_folder};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, skip, wait_until};

/// How long a client may take until it has announced itself, or has everything.
const CLIENT_LIMIT: Duration = Duration::from_secs(90);

/// How long anything may take that has no limit of its own.
const LIMIT: Duration = Duration::from_secs(20);

/// A few pieces.
const LENGTH: u64 = 4_000_000;

/// Memory that forged packets may make the tracker take, in KiB: the buffers of one batch, and what the allocator makes of it.
const FLOOD_MEMORY: u64 = 1024;

/// A tracker on loopback, and what it is asked.
struct Room {
    tracker: Process,
    port: u16,
    _work: TempDir,
}

impl Room {
    fn open() -> Room {
        let work = folder();
        let mut command = Command::new(MINITORRENT);
        command.args(["tracker", "--no-web", "--port", "0"]);
        let tracker = Process::start(command, work.path(), "tracker");
        let port = || tracker.stdout().split_once("/announce;")?.0.rsplit_once(':')?.1.parse().ok();
        assert!(wait_until(LIMIT, || port().is_some()), "it does not say its port: {}", tracker.stderr());
        assert!(!tracker.stderr().contains("UDP"), "{}", tracker.stderr());
        Room { port: port().unwrap(), tracker, _work: work }
    }

    fn udp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn announce(&self, announce: &Announce) -> Result<Answer, AnnounceError> {
        udp::announce(&self.udp().to_string(), announce, 7, LIMIT, &|| false, Reach::Anywhere)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        Host::here().run(&format!("curl -s --max-time 10 http://127.0.0.1:{}{path}", self.port)).unwrap()
    }

    /// A figure of /metrics.
    fn figure(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }
}

fn announce(port: u16, left: u64, event: AnnounceEvent) -> Announce {
    let (info_hash, peer_id) = (InfoHash([b'a'; 20]), PeerId(*b"-AT0001-bbbbbbbbbbbb"));
    Announce { info_hash, peer_id, port, uploaded: 0, downloaded: 0, left, event, wanted: 50 }
}

#[test]
fn every_real_client_finds_its_peers_by_udp_alone() {
    let is_there = |client: &Client| {
        client.available().inspect_err(|reason| skip(&format!("{} over UDP", client.name()), reason)).is_ok()
    };
    let clients: Vec<Client> = Client::REAL.into_iter().filter(is_there).collect();
    let Some(lab) = Lab::or_skip("real clients over UDP", 2 + clients.len()) else { return };
    let (work, room) = (folder(), lab.host(0));
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let urls = [Tracker::Ours.udp_url(room)];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let _tracker = Tracker::Ours.start(room, &torrent, work.path());
    let dir = work.path().join("seeder");
    content.copy_to(&dir);
    let seeding = Client::Ours.seed(lab.host(1), &torrent, &dir, 6881, work.path());
    let has_announced = wait_until(CLIENT_LIMIT, || Tracker::Ours.seeders(room, &torrent) == 1);
    assert!(has_announced, "our seeder does not announce itself over UDP: {}", seeding.stderr());

    let start = |(number, client): (usize, &Client)| {
        let out = work.path().join(client.name());
        let (host, port) = (lab.host(2 + number), 6882 + number as u16);
        let process = match client {
            Client::Aria2 => aria2(host, &torrent, &out, port, work.path()),
            _ => client.fetch(host, &torrent, &out, port, work.path()),
        };
        (*client, process, out)
    };
    let fetches: Vec<_> = clients.iter().enumerate().map(start).collect();
    for (client, process, out) in &fetches {
        let finished = wait_until(CLIENT_LIMIT, || client.compare(&content, out).is_ok());
        let said = || format!("{}{}", process.stdout(), process.stderr());
        assert!(finished, "{}: {:?}; it said: {}", client.name(), client.compare(&content, out), said());
    }
    let all = 1 + clients.len() as i64;
    let seeders = || Tracker::Ours.seeders(room, &torrent);
    assert!(wait_until(CLIENT_LIMIT, || seeders() == all), "{} of {all} are listed as seeders", seeders());
    assert_eq!(Tracker::Ours.fetchers(room, &torrent), 0, "somebody is listed twice");
}

/// aria2 asks no tracker over UDP without its DHT, which has nobody to bootstrap from here.
fn aria2(host: &Host, torrent: &Torrent, out: &Path, port: u16, work: &Path) -> Process {
    let mut command = host.command("aria2c");
    command.args(["--no-conf", "--enable-dht", "--bt-enable-lpd=false", "--enable-peer-exchange=false"]);
    command.args([format!("--listen-port={port}"), format!("--dht-listen-port={port}")]);
    command.arg(format!("--dht-file-path={}", work.join("dht.dat").display()));
    command.args(["--seed-ratio=0.0", "--summary-interval=0", "--dir"]).args([out, &torrent.path]);
    Process::start(command, work, "aria2")
}

#[test]
fn two_real_clients_find_each_other_by_udp_over_ipv6() {
    if let Err(reason) = Client::Libtorrent.available() {
        return skip("libtorrent over UDP and IPv6", &reason);
    }
    let Some(lab) = Lab::or_skip("libtorrent over UDP and IPv6", 3) else { return };
    for number in 0..3 {
        lab.host(number).run(&format!("ip address add fd77::{}/64 dev eth0 nodad", number + 1)).unwrap();
    }
    let (work, room) = (folder(), lab.host(0));
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let urls = ["udp://[fd77::1]:6969/announce".to_owned()];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let _tracker = Tracker::Ours.start(room, &torrent, work.path());
    let dir = work.path().join("seeder");
    content.copy_to(&dir);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/libtorrent_peer.py");
    let start = |number: usize, verb: &str, dir: &Path| {
        let mut command = lab.host(number).command(clients_folder().join("bin/python"));
        command.arg(&script).arg(verb).args([&torrent.path, dir]).args(["6881", "tcp-only", "ipv6"]);
        Process::start(command, work.path(), verb)
    };
    let seeding = start(1, "seed", &dir);
    let has_announced = wait_until(CLIENT_LIMIT, || Tracker::Ours.seeders(room, &torrent) == 1);
    assert!(has_announced, "it does not announce itself: {}{}", seeding.stdout(), seeding.stderr());
    let out = work.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let fetching = start(2, "fetch", &out);
    let finished = wait_until(CLIENT_LIMIT, || Client::Libtorrent.compare(&content, &out).is_ok());
    assert!(finished, "it did not get the file: {}{}", fetching.stdout(), fetching.stderr());
}

#[test]
fn a_client_that_asks_over_http_and_over_udp_is_one_peer() {
    let room = Room::open();
    let counts = |answer: &Answer| (answer.complete, answer.incomplete);
    assert_eq!(counts(&room.announce(&announce(6881, 9, AnnounceEvent::Started)).unwrap()), (Some(0), Some(1)));
    let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-AT0001-bbbbbbbbbbbb&port=6881&uploaded=0&downloaded=9";
    let completed = room.get(&format!("/announce?{query}&left=0&event=completed"));
    let said = String::from_utf8_lossy(&completed);
    assert!(said.starts_with("d8:completei1e10:downloadedi1e10:incompletei0e"), "{said}");
    let completed = announce(6881, 0, AnnounceEvent::Completed);
    assert_eq!(counts(&room.announce(&completed).unwrap()), (Some(1), Some(0)));
    assert_eq!((room.figure("minitorrent_peers"), room.figure("minitorrent_udp_announces_total")), (1, 2));

    // Another one meets it, whichever way it comes.
    let other = Announce { peer_id: PeerId(*b"-AT0002-cccccccccccc"), ..announce(6882, 1, AnnounceEvent::Started) };
    assert_eq!(room.announce(&other).unwrap().peers, ["127.0.0.1:6881".parse().unwrap()]);
    assert_eq!(counts(&room.announce(&announce(6881, 0, AnnounceEvent::Stopped)).unwrap()), (Some(0), Some(1)));
    let scrape = room.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
    let said = String::from_utf8_lossy(&scrape);
    assert!(said.contains("8:completei0e10:downloadedi1e10:incompletei1e"), "{said}");
}

#[test]
fn a_port_that_nobody_can_dial_and_the_trackers_own_are_refused_with_a_sentence() {
    let room = Room::open();
    for (port, sentence) in [(0, "must be from 1 to 65535"), (room.port, "is the tracker's own")] {
        let refusal = room.announce(&announce(port, 9, AnnounceEvent::Started)).unwrap_err().to_string();
        assert!(refusal.contains(sentence), "{refusal}");
    }
    assert_eq!(room.figure("minitorrent_peers"), 0);
}

/// A packet that asks to announce, with an id that was never issued.
fn forged(number: u32) -> Vec<u8> {
    let announce =
        Announce { info_hash: InfoHash([(number >> 8) as u8; 20]), ..announce(6881, 9, AnnounceEvent::Started) };
    udp::announce_request(u64::from(number) << 20, number, &announce, number)
}

#[test]
fn a_flood_of_forged_packets_takes_no_memory_and_keeps_nobody_away() {
    const SENDERS: u32 = 200;
    const PACKETS: u32 = 1000;
    let room = Room::open();
    room.announce(&announce(6881, 9, AnnounceEvent::Started)).unwrap();
    let before = room.tracker.usage();
    let ends = AtomicBool::new(false);
    let slowest = thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !ends.load(Ordering::Acquire) {
                let start = Instant::now();
                room.announce(&announce(6881, 9, AnnounceEvent::Regular)).unwrap();
                assert!(room.get("/announce").starts_with(b"d14:failure reason"));
                slowest = slowest.max(start.elapsed());
            }
            slowest
        });
        for sender in 0..SENDERS {
            let from = Ipv4Addr::from(0x7f01_0000 + sender);
            let socket = UdpSocket::bind((from, 0)).unwrap();
            for number in 0..PACKETS {
                // What does not fit the queue is lost, as it would be on a wire.
                let packet = forged(sender * PACKETS + number);
                let _ = socket.send_to(if number % 10 == 0 { &packet[..16] } else { &packet }, room.udp());
            }
        }
        ends.store(true, Ordering::Release);
        honest.join().unwrap()
    });
    assert!(slowest < LIMIT, "an honest announce took {slowest:?}");
    let after = room.tracker.usage();
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < FLOOD_MEMORY, "it took {grown} KiB");
    assert_eq!((after.threads, after.descriptors), (before.threads, before.descriptors));
    assert_eq!((room.figure("minitorrent_swarms"), room.figure("minitorrent_peers")), (1, 1));
}

#[test]
fn packets_of_every_length_and_kind_do_it_no_harm_and_none_is_answered_with_more() {
    let room = Room::open();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(room.udp()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = [0; 4096];
    let mut lengths = BTreeSet::new();
    for length in (0..=200).chain([1496, 1500, 2048, 2049, 9000, 60_000]) {
        for begin in [forged(1), vec![0; 16], vec![0xff; 16], b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\x01".to_vec()] {
            let packet: Vec<u8> = begin.into_iter().chain(std::iter::repeat(b'x')).take(length).collect();
            socket.send(&packet).unwrap();
        }
        // Answered in order, so whatever came before this is an answer to one of those.
        socket.send(&udp::connect_request(0x7777_7777)).unwrap();
        loop {
            let got = socket.recv(&mut answer).unwrap();
            if answer[..8] == [0, 0, 0, 0, 0x77, 0x77, 0x77, 0x77] {
                break;
            }
            assert!(got <= length, "{length} bytes were answered with {got}");
            lengths.insert(got);
        }
    }
    assert_eq!(lengths, [33].into(), "a sentence that asks to connect again");
    assert_eq!(room.figure("minitorrent_peers"), 0);
}

#[test]
fn where_the_udp_port_is_taken_the_tracker_says_so_in_a_line_and_runs_without() {
    let taken = minitorrent::net::open_udp(0).unwrap();
    let port = taken.local_addr().unwrap().port();
    let work = folder();
    let mut command = Command::new(MINITORRENT);
    command.args(["tracker", "--no-web", "--port", &port.to_string()]);
    let tracker = Process::start(command, work.path(), "tracker");
    let answers = || Host::here().run(&format!("curl -sf http://127.0.0.1:{port}/announce")).is_ok();
    assert!(wait_until(LIMIT, answers), "{}", tracker.stderr());
    let said = tracker.stderr();
    assert!(said.lines().count() == 1 && said.contains(&format!("UDP port {port}")), "{said}");
}
