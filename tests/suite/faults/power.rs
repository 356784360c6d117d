//! The power cut: a file system of its own is shut down under a running fetch, so that whatever was not synced is gone.
//!
//! What it shows: ext4 on a loop device is told to stop at once, without writing out anything, its journal neither
//! (`EXT4_IOC_SHUTDOWN`, no flush); then the fetch is killed, and what the device
//! had been given until then is mounted again. What it does not show: a disk that says that it has written what still is in its own cache, and sectors torn
//! in the middle. Linux itself writes out what is older than 30 seconds; these runs are shorter.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{CALM, START, run, start_fetch, times, whole_pieces};
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::process::free_port;
use crate::house::seeding_peer::{Given, SeedingPeer};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{chance, folder, say, skip, wait_until};

/// The promise: what was complete so long before the cut is not lost.
const LOSS: Duration = Duration::from_secs(2);

/// Blocks that each of two seeders gives a second: 3 MB/s together.
const PACE: Duration = Duration::from_millis(10);

/// Cuts under one file, and what it is longer for each: four seconds of it.
const CUTS_OF_A_FILE: usize = 5;
const BYTES_FOR_A_CUT: u64 = 12_000_000;

/// Tells ext4 to stop without flushing anything. The number is the same on every processor that Rust's first tier knows.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// A file system in a file, gone when dropped.
struct Disk {
    image: PathBuf,
    root: PathBuf,
}

/// A complete piece at a cut: how long it had been complete, and whether it had to be fetched again.
type Fate = (Duration, bool);

#[test]
fn a_power_cut_loses_two_seconds_at_most_and_nothing_wrong_is_trusted() {
    let cuts = times(3);
    if let Err(reason) = Disk::make(folder().path()) {
        return skip("a power cut", &reason);
    }
    let (mut fates, mut thrown_away, mut left) = (Vec::<Fate>::new(), 0, cuts);
    while left > 0 {
        let now = left.min(CUTS_OF_A_FILE);
        thrown_away += fetch_with_cuts(now, &mut fates);
        left -= now;
    }
    let (lost, kept): (Vec<_>, Vec<_>) = fates.into_iter().partition(|(_, lost)| *lost);
    let oldest_lost = lost.iter().map(|(age, _)| *age).max().unwrap_or_default();
    say(&format!(
        "faults, power cut: {cuts} cuts on ext4 threw away {thrown_away} complete pieces that were not synced; of all that were complete at \
         a cut {} were fetched again, the oldest complete for {:.1} s, and {} were not; each file is right",
        lost.len(),
        oldest_lost.as_secs_f64(),
        kept.len()
    ));
    assert!(thrown_away > 0, "every cut spared everything, so nothing was shown");
    assert!(kept.iter().any(|(age, _)| *age > LOSS), "nothing was old enough at any cut, so nothing was shown");
    assert!(oldest_lost <= LOSS, "a piece that was complete for {oldest_lost:?} was lost");
}

/// Fetches a file with so many power cuts on the way, to its end. Gives how many complete pieces were not on the disk after one.
fn fetch_with_cuts(cuts: usize, fates: &mut Vec<Fate>) -> usize {
    let work = folder();
    let mut disk = Disk::make(work.path()).unwrap();
    let content = Content::file(&work.path().join("source"), "a file.bin", (cuts as u64 + 1) * BYTES_FOR_A_CUT);
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
    let seeders = [2, 3].map(|last| SeedingPeer::start(Ipv4Addr::new(127, 0, 0, last), &unannounced, PACE, || ()));
    let tracker = TrackerStub::start(Answer::Peers(seeders.iter().map(|seeder| seeder.address).collect()));
    let torrent = Torrent::write(&unannounced.path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let book = || -> Vec<Given> {
        let mut all: Vec<_> = seeders.iter().flat_map(SeedingPeer::given).collect();
        all.sort_by_key(|given| given.at);
        all
    };
    let out = disk.root.join("out");
    let (mut runs, mut thrown_away) = (Vec::new(), 0);
    for _ in 0..cuts {
        let before = book().len();
        let mut fetch = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path());
        let begun = wait_until(START, || book().len() > before || !fetch.is_running());
        assert!(begun && fetch.is_running(), "no block was asked for: {}", fetch.stderr());
        thread::sleep(Duration::from_millis(2_500 + chance(1_500)));
        let cut = Instant::now();
        disk.cut_power();
        fetch.signal(Signal::KILL);
        fetch.wait(START);
        disk.mount_again();
        let whole = whole_pieces(&torrent, &book()[before..], cut);
        thrown_away += whole.keys().filter(|piece| !is_right(&torrent, &out, **piece)).count();
        runs.push((cut, whole));
    }
    let ended = start_fetch(&Host::here(), &torrent, free_port(), &out, work.path()).ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    content.compare(&out).unwrap();
    let book = book();
    let again = |piece: u32, cut: Instant| book.iter().any(|given| given.at > cut && given.request.piece == piece);
    for (cut, whole) in runs {
        fates.extend(whole.into_iter().map(|(piece, at)| (cut - at, again(piece, cut))));
    }
    thrown_away
}

/// Whether the bytes of a piece lie where they should, read from the disk as it is after a cut.
fn is_right(torrent: &Torrent, out: &Path, piece: u32) -> bool {
    let range = |folder: &Path| {
        let bytes = fs::read(folder.join(&torrent.content.name)).unwrap_or_default();
        let start = piece as usize * torrent.piece_length as usize;
        bytes
            .get(start..(start + torrent.piece_length as usize).min(torrent.content.length() as usize))
            .map(<[u8]>::to_vec)
    };
    range(out).is_some_and(|bytes| Some(bytes) == range(&torrent.content.root))
}

impl Disk {
    fn make(work: &Path) -> Result<Disk, String> {
        let disk = Disk { image: work.join("disk.img"), root: work.join("disk") };
        fs::create_dir_all(&disk.root).unwrap();
        let image = fs::File::create(&disk.image).unwrap();
        image.set_len(1 << 30).unwrap();
        run(&format!("mkfs.ext4 -q -F {}", disk.image.display()))?;
        disk.mount()?;
        run("python3 --version")?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run(&format!("mount -o loop {} {}", self.image.display(), self.root.display()))
    }

    fn cut_power(&self) {
        let status = std::process::Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.root).status().unwrap();
        assert!(status.success(), "the file system does not shut down");
    }

    /// Mounts a copy of what the device has been given: as long as anybody has the old file system open, the same image would
    /// be the same file system, shut down.
    fn mount_again(&mut self) {
        run(&format!("umount -l {}", self.root.display())).unwrap();
        let copy = self.image.with_extension(format!("{}.img", chance(u64::MAX)));
        run(&format!("cp --sparse=always {} {}", self.image.display(), copy.display())).unwrap();
        fs::remove_file(std::mem::replace(&mut self.image, copy)).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(&format!("umount -l {}", self.root.display()));
    }
}
