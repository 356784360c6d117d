//! The zoo: every bad part that a peer can play, all at once, against a seeder and against a fetcher. Honest peers finish at half
//! their undisturbed speed or better, memory stays under its limit, threads and descriptors return to where they were.
//!
//! The seeder and the honest peers share a link of 100 Mbit/s, so that speed is a question of fairness. The animals run on
//! the same machine and take the same processor; what they cost the victim is printed beside it.

mod ground;
mod hosts;
mod visitors;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::house::content::Content;
use crate::house::process::{MINITORRENT, Process, Usage, free_port};
use crate::house::seeding_peer::Bytes;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, say, wait_until};
use ground::{Stage, Zoo};
use hosts::{HOSTS, Manners};
use visitors::VISITORS;

/// 192 pieces.
const LENGTH: u64 = 48 * 1024 * 1024;

/// What a link of 100 Mbit/s carries, in bytes a second.
const LINK: &str = "12M";

/// What the honest peer must keep of its undisturbed speed.
const LEAST_SPEED: f64 = 0.5;

/// How often its speed is measured at the most.
const TRIES: usize = 3;

/// A seeder's memory at the most, whatever comes.
const SEEDER_LIMIT_KIB: u64 = 48 * 1024;

/// A fetcher's: 12 MiB of pieces under way, and its sessions.
const FETCHER_LIMIT_KIB: u64 = 64 * 1024;

/// How long a fetch may take until it is given up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Peers that a fetch is connected to at most, unless it is told otherwise.
const MAX_PEERS: usize = 60;

/// By when an honest one has its turn that is named after two hundred silent ones: 15 s for each time that those fill every place, and
/// 10 s for each two dozen that take a connection and say nothing, which need a connection for themselves.
const TURN: Duration = Duration::from_secs(15 * 4 + 10 * 2 + 5);

/// What the victim may hold more than before once the zoo has gone: a fetch still tries now and then whether one has come back.
const SLACK: usize = 2;

/// Connections that one crowd tries to hold.
const CROWD: usize = 2_000;

/// Addresses that the other crowd comes from.
const CROWD_ADDRESSES: usize = 500;

/// How long a bad peer stays away when it was hung up on.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a process may take to start.
const START: Duration = Duration::from_secs(20);

/// How long the zoo is at it before the honest newcomer arrives.
const HEAD_START: Duration = Duration::from_secs(3);

/// How long a session may take to end that its peer has left.
const LEAVING: Duration = Duration::from_secs(30);

#[test]
fn under_the_zoo_a_seeder_serves_an_honest_newcomer_at_half_its_speed() {
    at_half_the_speed(around_a_seeder);
}

#[test]
fn under_the_zoo_a_fetch_ends_right_at_half_its_speed() {
    at_half_the_speed(around_a_fetch);
}

/// Measures until honest work keeps its speed, three times at the most. This machine may have been busy with something else during
/// one of two measurements that are compared; what bad peers do they do each time.
fn at_half_the_speed(measure: impl Fn() -> f64) {
    let mut speeds = Vec::new();
    while speeds.len() < TRIES && speeds.iter().all(|speed| *speed < LEAST_SPEED) {
        speeds.push(measure());
    }
    assert!(speeds.iter().any(|speed| *speed >= LEAST_SPEED), "honest work kept {speeds:.2?} of its speed");
}

/// What honest work keeps of its speed when it is a seeder that has to bear the zoo.
fn around_a_seeder() -> f64 {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let seeder = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let tracker = TrackerStub::start(Answer::Peers(vec![seeder]));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let seed = start_seeder(&torrent, seeder.port(), work.path());
    assert!(wait_until(START, || seed.stdout().contains("seeding on port")), "{}", seed.stderr());

    let fetch = |name: &str| {
        let begun = Instant::now();
        let out = work.path().join(name);
        let ended = start_fetch(&torrent, free_port(), "0", &out, name).ended(PATIENCE);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        content.compare(&out).unwrap();
        begun.elapsed()
    };
    let alone = fetch("alone");
    let victim = Victim::settled("seeder", seed);
    let mut zoo = Zoo::open(seeder, Bytes::read(&torrent));
    admit_visitors(&mut zoo);
    zoo.ground.pause(HEAD_START);
    let beside = victim.bear(&zoo, || fetch("beside"));
    victim.outlive(zoo, alone, beside, SEEDER_LIMIT_KIB)
}

/// The same for a fetch.
fn around_a_fetch() -> f64 {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let _seed = start_seeder(&unannounced, seeder.port(), work.path());
    let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);

    // Each waits for peers at first, so that nothing but the fetching is timed.
    let prepare = |name: &str, port: u16| {
        tracker.answer(Answer::Peers(Vec::new()));
        let asked = tracker.queries().len();
        let fetch = start_fetch(&torrent, port, "600", &work.path().join(name), name);
        assert!(wait_until(START, || tracker.queries().len() > asked), "{}", fetch.stderr());
        fetch
    };
    let run = |fetch: &Process, peers: Vec<SocketAddrV4>, name: &str| {
        let asked = tracker.queries().len();
        tracker.answer(Answer::Peers(peers));
        // When it asks again is no question of speed.
        assert!(wait_until(START, || tracker.queries().len() > asked), "{}", fetch.stderr());
        let begun = Instant::now();
        let complete = wait_until(PATIENCE, || fetch.stdout().contains("is complete"));
        assert!(complete, "{name}: it is not complete after {PATIENCE:?}: {}", fetch.stderr());
        let took = begun.elapsed();
        content.compare(&work.path().join(name)).unwrap();
        took
    };
    let alone = run(&prepare("alone", free_port()), vec![seeder], "alone");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let victim = Victim::settled("fetcher", prepare("beside", address.port()));
    let mut zoo = Zoo::open(address, Bytes::read(&torrent));
    admit_visitors(&mut zoo);
    let mut peers = admit_hosts(&mut zoo);
    zoo.ground.pause(HEAD_START);
    // The honest one is named last.
    peers.push(seeder);
    let beside = victim.bear(&zoo, || run(&victim.process, peers, "beside"));
    tracker.answer(Answer::Peers(Vec::new()));
    victim.outlive(zoo, alone, beside, FETCHER_LIMIT_KIB)
}

#[test]
fn a_seeder_that_is_named_after_a_crowd_of_silent_ones_has_its_turn() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let _seed = start_seeder(&unannounced, seeder.port(), work.path());
    let mut zoo = Zoo::open(seeder, Bytes::read(&unannounced));
    let mut keep = |name: &'static str, manners, net: u8, count: u8| {
        // One that listens on every address of this machine is as many as there are addresses.
        let port = zoo
            .keep_host(name, Ipv4Addr::UNSPECIFIED, move |wire, ground| {
                hosts::behave(manners, wire, ground)?;
                ground.linger(wire);
                Ok(())
            })
            .port();
        (1..=count).map(move |number| SocketAddrV4::new(Ipv4Addr::new(127, net, 0, number), port)).collect::<Vec<_>>()
    };
    let silent = [
        keep("claims everything and never unchokes", Manners::Claimed, 5, 80),
        keep("lets ask and never answers", Manners::Unchoked, 6, 80),
        keep("says nothing", Manners::Taken, 7, 40),
    ]
    .concat();
    let tracker = TrackerStub::start(Answer::Peers(silent.clone()));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let out = work.path().join("out");
    let fetch = start_fetch(&torrent, free_port(), "0", &out, "fetch");
    assert!(wait_until(START, || tracker.queries().len() >= 2), "{}", fetch.stderr());
    assert!(wait_until(START, || zoo.connections() >= MAX_PEERS), "{} are dialled", zoo.connections());
    tracker.answer(Answer::Peers([silent.clone(), vec![seeder]].concat()));
    let named = Instant::now();
    let began =
        wait_until(TURN + PATIENCE, || std::fs::metadata(out.join(&content.name)).is_ok_and(|file| file.len() > 0));
    let began = (began, named.elapsed());
    let ended = fetch.ended(PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    say(&format!(
        "zoo, silent ones: an honest seeder that was named after {} that say nothing or give nothing had its turn {:.1} s later ({} s \
         are promised), with room for {MAX_PEERS}; {} connections in all",
        silent.len(),
        began.1.as_secs_f64(),
        TURN.as_secs(),
        zoo.connections()
    ));
    zoo.close();
    assert!(began.0 && began.1 <= TURN, "its turn came after {:?}", began.1);
}

/// Who has to bear the zoo, and what it held before.
struct Victim {
    name: &'static str,
    process: Process,
    before: Usage,
}

/// What it was like.
struct Borne {
    took: Duration,
    at_its_end: Usage,
    /// Processors that the victim kept busy meanwhile, on average.
    load: f64,
    connections: usize,
}

impl Victim {
    /// Waits until it holds no more than it did a second ago.
    fn settled(name: &'static str, process: Process) -> Victim {
        let mut before = process.usage();
        wait_until(LEAVING, || {
            thread::sleep(Duration::from_secs(1));
            let last = std::mem::replace(&mut before, process.usage());
            is_within(before, last, 0) && is_within(last, before, 0)
        });
        Victim { name, process, before }
    }

    fn bear(&self, zoo: &Zoo, run: impl FnOnce() -> Duration) -> Borne {
        let (begun, cpu) = (Instant::now(), self.process.usage().cpu);
        let took = run();
        let at_its_end = self.process.usage();
        let load = (at_its_end.cpu - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        Borne { took, at_its_end, load, connections: zoo.connections() }
    }

    /// Sends the zoo home, says what it was like, and holds the promises against it; gives what honest work kept of its speed.
    fn outlive(mut self, zoo: Zoo, alone: Duration, borne: Borne, limit_kib: u64) -> f64 {
        let kinds = zoo.kinds();
        zoo.close();
        let returned = wait_until(LEAVING, || is_within(self.process.usage(), self.before, SLACK));
        let (before, under, after) = (self.before, borne.at_its_end, self.process.usage());
        let speed = alone.as_secs_f64() / borne.took.as_secs_f64();
        say(&format!(
            "zoo around a {}: {kinds} kinds of bad peer, {} connections; honest work took {:.1} s, alone {:.1} s: speed {speed:.2}; \
             {:.2} processors; peak {:.1} MiB; threads {} -> {} -> {}; descriptors {} -> {} -> {}",
            self.name,
            borne.connections,
            borne.took.as_secs_f64(),
            alone.as_secs_f64(),
            borne.load,
            after.peak_kib as f64 / 1024.0,
            before.threads,
            under.threads,
            after.threads,
            before.descriptors,
            under.descriptors,
            after.descriptors,
        ));
        assert!(self.process.is_running(), "the zoo ended it: {}", self.process.stderr());
        assert!(!self.process.stderr().contains("panicked"), "{}", self.process.stderr());
        assert!(after.peak_kib <= limit_kib, "it took {} KiB", after.peak_kib);
        assert!(returned, "threads or descriptors stay: {before:?}, then {after:?}");
        speed
    }
}

/// Lets every kind of visitor in, each from an address of its own; one that comes fifty times a second; and two crowds, one from
/// one address, one from hundreds.
fn admit_visitors(zoo: &mut Zoo) {
    allow_descriptors();
    for (number, (name, stage, act)) in VISITORS.into_iter().enumerate() {
        zoo.keep(name, Ipv4Addr::new(127, 1, 0, number as u8 + 1), AGAIN, move |wire, ground| {
            ground.come_to(stage, wire)?;
            act(wire, ground)
        });
    }
    zoo.keep("comes fifty times a second", Ipv4Addr::new(127, 1, 1, 1), Duration::from_millis(20), |wire, ground| {
        ground.come_to(Stage::Greeted, wire)
    });
    zoo.keep_crowd("a crowd from one address", vec![Ipv4Addr::new(127, 1, 2, 1)], CROWD);
    let many = (0..CROWD_ADDRESSES).map(|number| Ipv4Addr::new(127, 2, (number / 250) as u8, (number % 250) as u8 + 1));
    zoo.keep_crowd("a crowd from many addresses", many.collect(), CROWD);
}

/// Sets up every kind of peer that is dialled, each at an address of its own, and gives the addresses.
fn admit_hosts(zoo: &mut Zoo) -> Vec<SocketAddrV4> {
    let hosts = HOSTS.into_iter();
    // Whatever needs no more than a handshake can be done to one who dials as well.
    let others = VISITORS.into_iter().filter(|(_, stage, _)| *stage == Stage::Greeted);
    let all = hosts.chain(others.map(|(name, _, act)| (name, Manners::Claimed, act)));
    let at = |number: usize| Ipv4Addr::new(127, 4, 0, number as u8 + 1);
    all.enumerate()
        .map(|(number, (name, manners, act))| {
            zoo.keep_host(name, at(number), move |wire, ground| {
                hosts::behave(manners, wire, ground)?;
                act(wire, ground)
            })
        })
        .collect()
}

/// Makes room for the crowds, as far as the system allows.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn start_seeder(torrent: &Torrent, port: u16, logs: &Path) -> Process {
    let mut command = Command::new(MINITORRENT);
    command.args(["seed", "--upload-limit", LINK, "--port", &port.to_string(), "--dir"]);
    command.arg(&torrent.content.root).arg(&torrent.path);
    Process::start(command, logs, "seed")
}

fn start_fetch(torrent: &Torrent, port: u16, seed_for: &str, out: &Path, name: &str) -> Process {
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "--seed-for", seed_for, "--port", &port.to_string(), "--out"]).arg(out).arg(&torrent.path);
    Process::start(command, out.parent().unwrap(), name)
}

fn is_within(usage: Usage, limit: Usage, slack: usize) -> bool {
    usage.threads <= limit.threads + slack && usage.descriptors <= limit.descriptors + slack
}
