//! The control: real clients with each other, without a byte of ours. When this fails, the house is broken, not minitorrent.

use std::time::Duration;

use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, say, wait_until};

#[test]
fn real_clients_hand_a_folder_to_each_other_through_opentracker() {
    let missing = Client::REAL.iter().map(|client| client.available()).chain([Tracker::Opentracker.available()]);
    if let Some(reason) = missing.filter_map(Result::err).next() {
        return say(&format!("skipped: the control among real clients: {reason}"));
    }
    use Client::{Aria2, Libtorrent, Transmission};
    for (seeder, fetcher) in [(Aria2, Transmission), (Transmission, Libtorrent), (Libtorrent, Aria2)] {
        let Some(lab) = Lab::or_skip("the control among real clients", 3) else { return };
        hand_over(&lab, seeder, fetcher);
    }
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
