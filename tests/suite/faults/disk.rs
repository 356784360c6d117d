//! Disks and folders that do not take what is written, and files that change under a seeder's feet.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{CALM, START, run, start_fetch, start_seed, whole_pieces};
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::peer::{INTERESTED, PIECE, REQUEST, Request, UNCHOKE, Wire};
use crate::house::process::free_port;
use crate::house::seeding_peer::{Bytes, SeedingPeer};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, say, skip, wait_until};

const LENGTH: u64 = 24 * 1024 * 1024 + 99;

/// A file system in memory, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(root: PathBuf, size: &str) -> Result<Small, String> {
        fs::create_dir_all(&root).unwrap();
        run(&format!("mount -t tmpfs -o size={size} small {}", root.display()))?;
        Ok(Small(root))
    }

    fn remount(&self, options: &str) {
        run(&format!("mount -o remount,{options} {}", self.0.display())).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = run(&format!("umount -l {}", self.0.display()));
    }
}

#[test]
fn a_full_disk_ends_a_fetch_with_a_sentence_and_with_space_again_it_goes_on_from_there() {
    let work = folder();
    let disk = match Small::mount(work.path().join("disk"), "12m") {
        Ok(disk) => disk,
        Err(reason) => return skip("a full disk", &reason),
    };
    let (torrent, seeder, _tracker) = a_seeded_torrent(work.path());
    let fetch = || start_fetch(&Host::here(), &torrent, free_port(), &disk.0, work.path()).ended(CALM);
    let full = fetch();
    let ended = Instant::now();
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(full.stderr.contains("no room is left on the disk"), "it said: {}", full.stderr);
    // Nothing has changed, so it ends the same way, and nothing is lost by trying.
    assert_eq!(fetch().code, Some(1));
    disk.remount("size=64m");
    let on = fetch();
    assert_eq!(on.code, Some(0), "{}", on.stderr);
    torrent.content.compare(&disk.0).unwrap();
    let whole = whole_pieces(&torrent, &seeder.given(), ended);
    let again = whole
        .keys()
        .filter(|piece| seeder.given().iter().any(|given| given.at > ended && given.request.piece == **piece));
    let (kept, again) = (whole.len(), again.count());
    say(&format!(
        "faults, disk full: it ended with a sentence at {kept} of {} pieces; with space again {again} of them were fetched again",
        torrent.pieces()
    ));
    // Those that were on their way to the disk when it was full.
    assert!(again <= MAX_UNWRITTEN, "{again} of {kept} pieces were fetched again");
}

/// Complete pieces that may be waiting to be written when a write fails: being hashed, waiting for that, and the one that failed;
/// in the second run as many again.
const MAX_UNWRITTEN: usize = 16;

#[test]
fn a_read_only_folder_ends_a_fetch_with_a_sentence_and_can_be_seeded_from() {
    let work = folder();
    let disk = match Small::mount(work.path().join("disk"), "64m") {
        Ok(disk) => disk,
        Err(reason) => return skip("a read-only folder", &reason),
    };
    let (torrent, _seeder, tracker) = a_seeded_torrent(work.path());
    disk.remount("ro");
    let ended = start_fetch(&Host::here(), &torrent, free_port(), &disk.0, work.path()).ended(CALM);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let sentence = ended.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(sentence.contains("Read-only file system") && sentence.contains("disk"), "it said: {}", ended.stderr);
    // In the middle of a fetch it is the same.
    disk.remount("rw");
    let begun = start_fetch(&Host::here(), &torrent, free_port(), &disk.0, work.path()).ended(CALM);
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    torrent.content.compare(&disk.0).unwrap();
    disk.remount("ro");
    let port = free_port();
    let from_there =
        Torrent { content: Content { root: disk.0.clone(), ..torrent.content.clone() }, ..torrent.clone() };
    let seed = start_seed(&Host::here(), &from_there, port, "0", work.path());
    assert!(wait_until(START, || seed.stdout().contains("seeding on port")), "{}", seed.stderr());
    tracker.answer(Answer::Peers(vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)]));
    let out = work.path().join("out");
    let ended = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path()).ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&out).unwrap();
    say(&format!(
        "faults, read-only folder: a fetch says \"{}\"; a seeder gives from there",
        sentence.split(": ").skip(1).collect::<Vec<_>>().join(": ")
    ));
}

#[test]
fn a_seeder_whose_file_changes_under_its_feet_stops_giving_wrong_bytes() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "a file.bin", LENGTH);
    let tracker = TrackerStub::start(Answer::Peers(Vec::new()));
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let bytes = Bytes::read(&torrent);
    let port = free_port();
    let seed = start_seed(&Host::here(), &torrent, port, "0", work.path());
    assert!(wait_until(START, || seed.stdout().contains("seeding on port")), "{}", seed.stderr());
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let asked = Request { piece: 40, begin: 0, length: 16_384 };
    let right = bytes.piece_payload(asked);
    assert_eq!(ask(address, &torrent, asked).unwrap(), right);

    let mut file = OpenOptions::new().write(true).open(content.root.join(&content.name)).unwrap();
    file.seek(SeekFrom::Start(u64::from(asked.piece) * u64::from(PIECE_LENGTH))).unwrap();
    file.write_all(b"somebody else's bytes").unwrap();
    drop(file);
    let changed = Instant::now();
    // Refused, or hung up on: anything but bytes that are not the torrent's.
    let stopped = || {
        // Who comes too often is turned away, which would look the same.
        thread::sleep(Duration::from_millis(500));
        ask(address, &torrent, asked).is_err()
    };
    assert!(wait_until(NOTICE, stopped), "it gives wrong bytes {NOTICE:?} after the change: {}", seed.stderr());
    let took = changed.elapsed();
    assert!(wait_until(START, || seed.stderr().contains("a file.bin")), "it says nothing: {}", seed.stderr());
    say(&format!("faults, a changed file: its seeder stopped giving wrong bytes after {:.1} s", took.as_secs_f64()));
}

/// How long a seeder may take to see that a file has changed.
const NOTICE: Duration = Duration::from_secs(5);

fn ask(address: SocketAddrV4, torrent: &Torrent, asked: Request) -> io::Result<Vec<u8>> {
    let mut wire = Wire::dial(address)?;
    wire.greet(&torrent.info_hash)?;
    wire.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    wire.send(INTERESTED, &[])?;
    wire.await_message(UNCHOKE)?;
    wire.send(REQUEST, &asked.payload())?;
    wire.await_message(PIECE).map(|message| message.payload)
}

fn a_seeded_torrent(work: &Path) -> (Torrent, SeedingPeer, TrackerStub) {
    let content = Content::file(&work.join("source"), "a file.bin", LENGTH);
    let unannounced = Torrent::write(&work.join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeder = SeedingPeer::start(Ipv4Addr::new(127, 0, 0, 2), &unannounced, Duration::ZERO, || ());
    let tracker = TrackerStub::start(Answer::Peers(vec![seeder.address]));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    (torrent, seeder, tracker)
}
