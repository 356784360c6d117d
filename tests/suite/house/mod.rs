//! What the tests and the bench stand on.

#![allow(dead_code, reason = "the suite and the bench each use a part of it")]

pub mod browser;
pub mod clients;
pub mod content;
pub mod lab;
pub mod peer;
pub mod process;
pub mod seeding_peer;
pub mod torrent;
pub mod tracker_stub;
pub mod trackers;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at while a test waits for it.
const POLL: Duration = Duration::from_millis(50);

/// Waits until `holds` does, and tells whether it did before the deadline.
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Says a line that is seen even when the test passes: libtest captures `print!`, not the handle.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says aloud that a test, or a part of one, is skipped, and why. Where every tool was promised (`MINITORRENT_REQUIRE=1`, which `.ci/run`
/// sets), a skip is a failure.
#[track_caller]
pub fn skip(what: &str, reason: &str) {
    assert!(
        std::env::var_os("MINITORRENT_REQUIRE").is_none_or(|set| set != "1"),
        "{what} must not be skipped: {reason}"
    );
    say(&format!("skipped: {what}: {reason}"));
}

/// A folder for one test, under `target/`, gone when dropped.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    folder_for_all(folder.path());
    folder
}

/// Makes a folder that others may enter: opentracker reads its whitelist as nobody.
pub fn folder_for_all(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A number that differs from run to run, for moments that must not be the same each time.
pub fn chance(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}
