//! Peers that leave out what they may: our seeder serves them as it serves those that say everything, alone and beside them.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::house::content::Content;
use crate::house::peer::{
    BITFIELD, EXTENDED, HAVE, INTERESTED, PIECE, REQUEST, Request, UNCHOKE, Wire, frame, handshake,
};
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::Bytes;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

const BLOCK: u32 = 16 * 1024;

/// Blocks that a peer has asked for and not got, at most.
const PIPELINE: usize = 32;

const LENGTH: u64 = 24 * 1024 * 1024;

/// Bytes a second that the seeder sends, so that what is measured is not the machine.
const RATE: u64 = 8 * 1024 * 1024;

/// What a downloading peer says besides its requests.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Says that it has what it got.
    haves: bool,
    /// Says that it is interested.
    interested: bool,
    /// Waits until it is unchoked.
    waits: bool,
    /// Begins with a bitfield of nothing.
    bitfield: bool,
    /// Speaks the extension protocol, and says something in it.
    extension: bool,
}

const POLITE: Manners = Manners { haves: true, interested: true, waits: true, bitfield: true, extension: true };

const RUDE: [(&str, Manners); 7] = [
    ("haves", Manners { haves: false, ..POLITE }),
    ("interest", Manners { interested: false, ..POLITE }),
    ("interest, and asks at once", Manners { interested: false, waits: false, ..POLITE }),
    ("the bitfield", Manners { bitfield: false, ..POLITE }),
    ("the extension handshake", Manners { extension: false, ..POLITE }),
    ("haves and interest", Manners { haves: false, interested: false, ..POLITE }),
    ("everything", Manners { haves: false, interested: false, waits: false, bitfield: false, extension: false }),
];

/// A seeder at a rate of its own, and what it has.
struct Ground {
    seed: Process,
    address: SocketAddrV4,
    bytes: Bytes,
    tracker: TrackerStub,
    work: tempfile::TempDir,
}

impl Ground {
    fn new(length: u64, rate: u64) -> Ground {
        let work = folder();
        let content = Content::file(&work.path().join("source"), "a file.bin", length);
        let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
        let urls = [tracker.announce_url()];
        let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
        let port = free_port();
        let mut command = Command::new(MINITORRENT);
        command.args(["seed", "--port", &port.to_string(), "--upload-limit", &rate.to_string(), "--dir"]);
        command.arg(&content.root).arg(&torrent.path);
        let seed = Process::start(command, work.path(), "seed");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let listens = wait_until(Duration::from_secs(20), || Wire::dial(address).is_ok());
        assert!(listens, "it never listened: {}", seed.stderr());
        Ground { seed, address, bytes: Bytes::read(&torrent), tracker, work }
    }

    /// Has so many download it that share with each other as fast as the seeder gives.
    fn share_among(&self, count: usize) -> Vec<Process> {
        let ports: Vec<_> = (0..count).map(|_| free_port()).collect();
        let peers = ports.iter().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port));
        self.tracker.answer(Answer::Peers(peers.chain([self.address]).collect()));
        let start = |port: &u16| {
            let out = self.work.path().join(format!("out-{port}"));
            let mut command = Command::new(MINITORRENT);
            command.args([
                "fetch",
                "--seed-for",
                "0",
                "--upload-limit",
                &RATE.to_string(),
                "--port",
                &port.to_string(),
            ]);
            command.arg("--out").arg(out).arg(&self.bytes.torrent.path);
            Process::start(command, self.work.path(), &format!("fetch-{port}"))
        };
        ports.iter().map(start).collect()
    }

    /// Downloads everything from the seeder, from an address of its own; how long that took.
    fn download(&self, last: u8, manners: Manners) -> io::Result<Duration> {
        let begun = Instant::now();
        let mut wire = Wire::dial_from(Ipv4Addr::new(127, 0, 7, last), self.address)?;
        wire.stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut hello = handshake(&self.bytes.torrent.info_hash, [last; 20]);
        hello[25] |= if manners.extension { 0x10 } else { 0 };
        wire.stream.write_all(&hello)?;
        wire.read_greeting()?;
        let pieces = self.bytes.torrent.pieces();
        if manners.extension {
            wire.send(EXTENDED, b"\0d1:mdee")?;
        }
        if manners.bitfield {
            wire.send(BITFIELD, &vec![0; pieces.div_ceil(8) as usize])?;
        }
        if manners.interested {
            wire.send(INTERESTED, &[])?;
        }
        let (mut unchoked, mut open) = (!manners.waits, 0);
        let mut wanted: VecDeque<Request> = VecDeque::new();
        let mut missing: HashMap<u32, usize> = HashMap::new();
        let mut done = 0;
        while done < pieces {
            let message = wire.receive()?;
            match message.id {
                UNCHOKE => unchoked = true,
                BITFIELD => (0..pieces)
                    .filter(|piece| message.payload[*piece as usize / 8] & (0x80 >> (piece % 8)) != 0)
                    .for_each(|piece| want(&self.bytes.torrent, piece, &mut wanted, &mut missing)),
                HAVE => {
                    let piece = u32::from_be_bytes(*message.payload.first_chunk().unwrap());
                    want(&self.bytes.torrent, piece, &mut wanted, &mut missing);
                }
                PIECE => {
                    open -= 1;
                    let number = |at: usize| u32::from_be_bytes(*message.payload[at..].first_chunk().unwrap());
                    let length = message.payload.len() as u32 - 8;
                    let request = Request { piece: number(0), begin: number(4), length };
                    assert!(message.payload == self.bytes.piece_payload(request), "wrong bytes");
                    let left = missing.get_mut(&request.piece).unwrap();
                    *left -= 1;
                    if *left == 0 {
                        done += 1;
                        if manners.haves {
                            wire.send(HAVE, &request.piece.to_be_bytes())?;
                        }
                    }
                }
                _ => {}
            }
            let mut requests = Vec::new();
            while unchoked
                && open < PIPELINE
                && let Some(request) = wanted.pop_front()
            {
                open += 1;
                requests.extend(frame(REQUEST, &request.payload()));
            }
            wire.stream.write_all(&requests)?;
        }
        Ok(begun.elapsed())
    }
}

/// Notes the blocks of a piece that is shown.
fn want(torrent: &Torrent, piece: u32, wanted: &mut VecDeque<Request>, missing: &mut HashMap<u32, usize>) {
    let start = u64::from(piece) * u64::from(torrent.piece_length);
    let length = (torrent.content.length() - start).min(torrent.piece_length.into()) as u32;
    let blocks = (0..length).step_by(BLOCK as usize);
    let blocks: Vec<_> = blocks.map(|begin| Request { piece, begin, length: BLOCK.min(length - begin) }).collect();
    if missing.insert(piece, blocks.len()).is_none() {
        wanted.extend(blocks);
    }
}

#[test]
fn a_peer_alone_gets_everything_as_fast_whatever_it_leaves_out() {
    let ground = Ground::new(LENGTH, RATE);
    let polite = ground.download(1, POLITE).unwrap();
    for (last, (what, manners)) in (2..).zip(RUDE) {
        let took = ground.download(last, manners);
        let took = took.unwrap_or_else(|error| panic!("without {what}: {error}; {}", ground.seed.stderr()));
        // Interest that is not said is assumed after a second, and at the next look at the clock.
        let pause = Duration::from_secs(if manners.interested || !manners.waits { 0 } else { 2 });
        let rate = polite.as_secs_f64() / (took.saturating_sub(pause)).as_secs_f64();
        assert!(rate >= 0.9, "without {what}: {took:?}; one that says everything {polite:?}");
    }
}

#[test]
fn peers_that_leave_things_out_are_served_as_the_others_beside_them_are() {
    let ground = Ground::new(LENGTH, RATE);
    let kinds = [POLITE, RUDE[0].1, POLITE, RUDE[6].1];
    let took: Vec<_> = thread::scope(|scope| {
        let downloads: Vec<_> = (1..)
            .zip(kinds)
            .map(|(last, manners)| {
                let ground = &ground;
                scope.spawn(move || ground.download(last, manners).expect("it ends"))
            })
            .collect();
        downloads.into_iter().map(|download| download.join().unwrap()).collect()
    });
    let polite = took[0].max(took[2]).as_secs_f64();
    for silent in [took[1], took[3]] {
        assert!(polite / silent.as_secs_f64() >= 0.9, "{took:?}: the second and the last say less than the others");
    }
    let alone = 4.0 * LENGTH as f64 / RATE as f64;
    assert!(polite < alone * 1.25, "{took:?}: they are held up");
}

#[test]
fn among_peers_that_share_one_that_says_little_is_served_as_one_that_says_everything() {
    for (others, length) in [(2, LENGTH), (4, LENGTH), (2, LENGTH / 4)] {
        let took = [POLITE, RUDE[0].1, RUDE[2].1, RUDE[3].1, RUDE[6].1].map(|manners| {
            let ground = Ground::new(length, RATE);
            let sharing = ground.share_among(others);
            let took = ground.download(99, manners).unwrap_or_else(|error| panic!("{manners:?}: {error}"));
            for mut fetch in sharing {
                let status = fetch.wait(Duration::from_secs(60));
                assert!(status.is_some_and(|status| status.success()), "{manners:?}: {}", fetch.stderr());
            }
            took.as_secs_f64()
        });
        println!("among {others}, {length} bytes: {took:.2?} s; the first says everything");
        let least = took[1..].iter().map(|silent| took[0] / silent).fold(f64::INFINITY, f64::min);
        assert!(least >= 0.9, "among {others}, {length} bytes: {took:.2?} s; the first says everything");
    }
}

#[test]
fn one_that_closes_its_half_after_its_requests_gets_the_answers() {
    let ground = Ground::new(LENGTH, RATE);
    let mut wire = Wire::dial(ground.address).unwrap();
    wire.greet(&ground.bytes.torrent.info_hash).unwrap();
    let shown = wire.await_message(BITFIELD).unwrap().payload;
    let piece = (0..).find(|piece: &u32| shown[*piece as usize / 8] & (0x80 >> (piece % 8)) != 0).unwrap();
    wire.send(INTERESTED, &[]).unwrap();
    wire.await_message(UNCHOKE).unwrap();
    let requests = (0..PIECE_LENGTH).step_by(BLOCK as usize).map(|begin| Request { piece, begin, length: BLOCK });
    for request in requests.clone() {
        wire.send(REQUEST, &request.payload()).unwrap();
    }
    wire.stream.shutdown(Shutdown::Write).unwrap();
    for request in requests {
        assert!(wire.await_message(PIECE).unwrap().payload == ground.bytes.piece_payload(request), "{request:?}");
    }
    assert!(wire.is_hung_up_within(Duration::from_secs(10)), "and then it is over");
}
