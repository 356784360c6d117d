//! What a swarm survives: its last seeder leaves when the others together hold everything.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{CALM, START, start_seed};
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::peer::{BITFIELD, HAVE, Wire};
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, say, wait_until};

const LENGTH: u64 = 16 * 1024 * 1024 + 7;

/// What the seeder sends, in bytes a second: everything once in six seconds, and to all three in seventeen.
const LINK: &str = "3M";

/// How long the seeder goes on between two looks at what the others have.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn when_the_last_seeder_leaves_the_others_finish_from_what_they_hold_together() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let addresses = ports.map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    // As long as the seeder is there they know nobody but it, so that only what leaves it counts.
    let tracker = TrackerStub::start(Answer::Peers(addresses[..1].to_vec()));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let mut seed = start_seed(&Host::here(), &torrent, ports[0], LINK, work.path());
    let outs = [1, 2, 3].map(|number| work.path().join(format!("out{number}")));
    let fetches = [1, 2, 3].map(|number| {
        let mut command = Command::new(MINITORRENT);
        command.args(["fetch", "--seed-for", "60", "--port", &ports[number].to_string(), "--out"]);
        command.arg(&outs[number - 1]).arg(&torrent.path);
        Process::start(command, work.path(), &format!("fetch{number}"))
    });

    // It stands still while they are asked, however long that takes on a busy machine.
    let mut held = Vec::new();
    let together = wait_until(CALM, || {
        seed.signal(Signal::CONT);
        thread::sleep(A_WHILE);
        seed.signal(Signal::STOP);
        held = addresses[1..].iter().map(|address| pieces_of(*address, &torrent)).collect();
        (0..torrent.pieces()).all(|piece| held.iter().any(|has: &Vec<u32>| has.contains(&piece)))
    });
    seed.signal(Signal::KILL);
    seed.wait(START);
    assert!(together, "the seeder never gave everything: {held:?}");
    let most = held.iter().map(Vec::len).max().unwrap();
    assert!(most < torrent.pieces() as usize, "it gave one of them everything before it had given all of it once");
    tracker.answer(Answer::Peers(addresses.to_vec()));
    let left = Instant::now();
    let complete = |fetch: &Process| fetch.stdout().contains("is complete");
    let finished = wait_until(CALM, || fetches.iter().all(complete));
    assert!(finished, "{:?}", fetches.each_ref().map(Process::stderr));
    outs.iter().for_each(|out| content.compare(out).unwrap());
    say(&format!(
        "faults, the last seeder leaves: three fetchers held {} of {} pieces each at the most, and finished {:.1} s later",
        most,
        torrent.pieces(),
        left.elapsed().as_secs_f64()
    ));
}

/// What a peer says that it has; nothing when it cannot be asked.
fn pieces_of(address: SocketAddrV4, torrent: &Torrent) -> Vec<u32> {
    let mut pieces = Vec::new();
    let Ok(mut wire) = Wire::dial(address) else { return pieces };
    if wire.greet(&torrent.info_hash).is_err() {
        return pieces;
    }
    // One that gains pieces all the time never falls silent.
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until
        && let Ok(Some(message)) = wire.receive_within(Duration::from_millis(50))
    {
        match message.id {
            BITFIELD => pieces.extend(
                (0..torrent.pieces()).filter(|piece| message.payload[*piece as usize / 8] & (0x80 >> (piece % 8)) != 0),
            ),
            HAVE => pieces.push(u32::from_be_bytes(message.payload.try_into().unwrap())),
            _ => {}
        }
    }
    // What came while it greeted is told twice.
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}
