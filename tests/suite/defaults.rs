//! How long a real client, as its users have it, waits for its first block from our seeder alone, counted from its announce: where
//! others can dial it, and where a firewall drops whatever begins from outside.
//!
//! For those that are slow with every seeder the measure is a libtorrent seeder at its defaults, in the same run.

use std::time::{Duration, Instant};

use crate::house::clients::{Client, Setup};
use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, say, skip, wait_until};

/// How often each is measured; the median counts.
const RUNS: usize = 3;

/// How much longer than with a libtorrent seeder it may take.
const LATER: Duration = Duration::from_millis(500);

/// What is seen of the time: an announce is seen a look late, and so is a block.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes on the seeder's link that only blocks can be.
const A_BLOCK: u64 = 64 * 1024;

const LENGTH: u64 = 4 * 1024 * 1024;

/// How long a client may take over anything.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn a_real_client_waits_no_longer_for_our_seeder_than_it_must() {
    let clients = [Client::Libtorrent, Client::Aria2, Client::Rqbit, Client::Transmission];
    if let Err(reason) = Lab::available() {
        return skip("real clients as their users have them", &reason);
    }
    let mut late = Vec::new();
    for client in clients {
        if let Err(reason) = client.available() {
            skip(&format!("{} as its users have it", client.name()), &reason);
            continue;
        }
        for walled in [false, true] {
            let place = if walled { "behind a firewall" } else { "in the open" };
            let name = format!("{} {place}", client.name());
            // Its default is no measure there: see `Setup::WithoutUtp`.
            let setup = match (client, walled) {
                (Client::Transmission, true) => Setup::WithoutUtp,
                _ => Setup::Defaults,
            };
            let runs: Vec<_> = (0..RUNS).map(|_| first_block(Client::Ours, (client, setup), walled, LIMIT)).collect();
            let ours = median(runs).unwrap_or(LIMIT);
            let limit = match (client, walled) {
                (Client::Libtorrent, false) => Duration::from_millis(1000),
                (Client::Libtorrent, true) => Duration::from_millis(1500),
                (Client::Aria2, _) => Duration::from_millis(2000),
                // Once it has taken longer than with us, how much longer is of no matter.
                _ => {
                    let theirs = (0..RUNS)
                        .map(|_| first_block(Client::Libtorrent, (client, Setup::Defaults), walled, ours))
                        .collect();
                    median(theirs).unwrap_or(ours) + LATER
                }
            };
            let how = if setup == Setup::WithoutUtp { ", without uTP" } else { "" };
            let line = format!("{name}{how}: first block after {ours:.2?}, at most {limit:.2?}");
            say(&format!("defaults: {line}"));
            if ours > limit + LOOK || ours >= LIMIT {
                late.push(line);
            }
        }
    }
    assert!(late.is_empty(), "too late:\n{}", late.join("\n"));
}

/// The median of these, where one that never came is the longest.
fn median(mut times: Vec<Option<Duration>>) -> Option<Duration> {
    times.sort_by_key(|time| time.unwrap_or(Duration::MAX));
    times[times.len() / 2]
}

/// From the announce of a fetching client to its first block from this seeder; `None` when none comes in so long a time. From ours it
/// fetches everything afterwards.
fn first_block(seeder: Client, (client, setup): (Client, Setup), walled: bool, limit: Duration) -> Option<Duration> {
    let lab = Lab::new(3);
    let [room, source, sink] = [0, 1, 2].map(|number| lab.host(number));
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let torrent =
        Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[Tracker::Ours.announce_url(room)]);
    let _tracker = Tracker::Ours.start(room, &torrent, work.path());
    let seed_dir = work.path().join("seeder");
    content.copy_to(&seed_dir);
    let seeding = seeder.seed_as(Setup::Defaults, source, &torrent, &seed_dir, 6881, work.path());
    let announced = wait_until(LIMIT, || Tracker::Ours.seeders(room, &torrent) == 1);
    assert!(announced, "the seeder does not announce itself: {}", seeding.stderr());
    if walled {
        sink.drop_incoming();
    }
    let before = source.sent();
    let out = work.path().join("out");
    let fetching = client.fetch_as(setup, sink, &torrent, &out, 6882, work.path());
    let announced =
        wait_until(LIMIT, || Tracker::Ours.fetchers(room, &torrent) == 1 || source.sent() > before + A_BLOCK);
    assert!(announced, "{} does not announce itself: {}", client.name(), fetching.stderr());
    let start = Instant::now();
    let began = wait_until(limit, || source.sent() > before + A_BLOCK);
    let time = start.elapsed();
    if began && seeder == Client::Ours {
        let name = client.name();
        let finished = wait_until(LIMIT, || client.compare(&content, &out).is_ok());
        assert!(finished, "{name}: {:?}; {}{}", client.compare(&content, &out), fetching.stdout(), fetching.stderr());
    }
    began.then_some(time)
}
