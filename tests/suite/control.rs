//! The control: real clients with each other and with the house's own peer and tracker, without a byte of ours. When this
//! fails, the house is broken, not minitorrent.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::free_port;
use crate::house::seeding_peer::SeedingPeer;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::trackers::Tracker;
use crate::house::{folder, skip, wait_until};

#[test]
fn real_clients_hand_a_folder_to_each_other_through_opentracker() {
    let missing = Client::REAL.iter().map(|client| client.available()).chain([Tracker::Opentracker.available()]);
    if let Some(reason) = missing.filter_map(Result::err).next() {
        return skip("the control among real clients", &reason);
    }
    use Client::{Aria2, Libtorrent, Transmission};
    for (seeder, fetcher) in [(Aria2, Transmission), (Transmission, Libtorrent), (Libtorrent, Aria2)] {
        let Some(lab) = Lab::or_skip("the control among real clients", 3) else { return };
        hand_over(&lab, seeder, fetcher);
    }
}

#[test]
fn a_real_client_fetches_from_the_peer_and_the_tracker_of_the_house() {
    if let Err(reason) = Client::Aria2.available() {
        return skip("the control of the test's own peer", &reason);
    }
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", 5_000_001);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 2), &unannounced, Duration::ZERO, || ());
    let tracker = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let out = work.path().join("out");
    let fetch = Client::Aria2.fetch(&Host::here(), &torrent, &out, free_port(), work.path());
    let finished = wait_until(Duration::from_secs(30), || content.compare(&out).is_ok());
    assert!(finished, "{:?}; it said: {}", content.compare(&out), fetch.stdout());
    let given: u64 = seeder.given().iter().map(|given| u64::from(given.request.length)).sum();
    assert!(given >= content.length(), "the book says {given} bytes");
}

fn hand_over(lab: &Lab, seeder: Client, fetcher: Client) {
    let work = folder();
    let content = Content::folder(&work.path().join("source"));
    let urls = [Tracker::Opentracker.announce_url(lab.host(0))];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let _tracker = Tracker::Opentracker.start(lab.host(0), &torrent, work.path());
    let seeds = seeder.seed(lab.host(1), &torrent, &content.root, 6881, work.path());
    let announced = || Tracker::Opentracker.seeders(lab.host(0), &torrent) == 1;
    assert!(wait_until(Duration::from_secs(20), announced), "{} never announced:\n{}", seeder.name(), seeds.stdout());
    let out = work.path().join("out");
    let fetches = fetcher.fetch(lab.host(2), &torrent, &out, 6882, work.path());
    let finished = wait_until(Duration::from_secs(60), || fetcher.compare(&content, &out).is_ok());
    let difference = fetcher.compare(&content, &out);
    let names = format!("{} to {}", seeder.name(), fetcher.name());
    assert!(finished, "{names}: {difference:?}\n{}{}", fetches.stdout(), fetches.stderr());
}
