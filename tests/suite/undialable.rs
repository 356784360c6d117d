//! A fetcher behind a wall gives to others over the connections that it dialled, counted in bytes on its link.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, wait_until};

const NAME: &str = "a file.bin";

/// Each of two fetchers has one half of this, and nobody has both.
const LENGTH: u64 = 16 * 1024 * 1024;
const HALF: u64 = LENGTH / 2;

/// How long anybody may take to announce.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_fetcher_that_nobody_can_dial_uploads_over_the_sessions_it_dialled() {
    let Some(lab) = Lab::or_skip("a fetcher that nobody can dial", 3) else { return };
    let [room, open, walled] = [0, 1, 2].map(|number| lab.host(number));
    let work = folder();
    let content = Content::file(&work.path().join("source"), NAME, LENGTH);
    let urls = [Tracker::Ours.announce_url(room)];
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &urls);
    let _tracker = Tracker::Ours.start(room, &torrent, work.path());
    walled.refuse_connections();
    let outs = [work.path().join("open"), work.path().join("walled")];
    place_with_a_hole(&content, &outs[0], 0);
    place_with_a_hole(&content, &outs[1], HALF);

    let in_the_open = Client::Ours.fetch(open, &torrent, &outs[0], 6882, work.path());
    // The walled one hears of the other from the tracker, and dials it; the other way round is shut.
    assert!(wait_until(LIMIT, || Tracker::Ours.fetchers(room, &torrent) == 1), "no fetcher");
    let fetches = [in_the_open, Client::Ours.fetch(walled, &torrent, &outs[1], 6883, work.path())];
    let finished = wait_until(Duration::from_secs(90), || outs.iter().all(|out| content.compare(out).is_ok()));
    assert!(finished, "{:?}; they said: {:?}", outs.map(|out| content.compare(&out)), fetches.map(|f| f.stderr()));

    let dialled = open.run(&format!("curl -sS --connect-timeout 1 http://{}:6883/", walled.address));
    assert!(dialled.as_ref().is_err_and(|error| error.contains("curl: (28)")), "not a time-out: {dialled:?}");
    assert!(walled.sent() > HALF, "it sent only {} bytes", walled.sent());
}

/// Puts the content into a folder, with zeros instead of the half that begins at `hole`.
fn place_with_a_hole(content: &Content, folder: &Path, hole: u64) {
    fs::create_dir(folder).unwrap();
    content.copy_to(folder);
    let mut file = OpenOptions::new().write(true).open(folder.join(NAME)).unwrap();
    file.seek(SeekFrom::Start(hole)).unwrap();
    file.write_all(&vec![0; HALF as usize]).unwrap();
    assert!(content.compare(folder).is_err());
}
