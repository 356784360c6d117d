//! An attack with an honest client beside it: how fast that one is answered, and whether everything goes back to where it was.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::herd::{Attack, Herd};
use super::honest::Honest;
use super::room::Room;
use crate::house::process::Usage;
use crate::house::{say, wait_until};

/// How long the honest one is measured without an attack.
const PEACE: Duration = Duration::from_millis(300);

/// How long an attack lasts.
const WAR: Duration = Duration::from_millis(1500);

/// What the issue promises.
const WITHIN: Duration = Duration::from_secs(1);

/// How long it may take until connections, threads and descriptors are back: what lingers does so for 2 s, what is read too
/// slowly ends within 10 s.
const REST: Duration = Duration::from_secs(20);

/// The most memory under any attack, in KiB: 64 transfers, unsent answers of 16 MiB, one metainfo that is read.
const MOST_MEMORY: u64 = 160 * 1024;

/// What the allocator may keep after an attack, in KiB: each of its arenas keeps some of what it gave out.
const KEPT_MEMORY: u64 = 48 * 1024;

/// One siege at a time: two would measure each other.
static FIELD: Mutex<()> = Mutex::new(());

/// Attacks `room`, prints a row and holds the promises.
pub fn siege(room: &Room, name: &str, attack: &Attack) {
    let _field = FIELD.lock().unwrap_or_else(PoisonError::into_inner);
    let honest = Honest::start(room.port);
    thread::sleep(PEACE);
    let peace = honest.stop();
    let before = room.tracker.usage();

    let honest = Honest::start(room.port);
    let herd = Herd::start(attack, room.port);
    thread::sleep(WAR);
    let under = room.tracker.usage();
    let latencies = honest.stop();
    let (opened, sent) = herd.tally();
    drop(herd);

    let back = |now: &Usage| now.descriptors <= before.descriptors && now.threads <= before.threads;
    let is_back = wait_until(REST, || back(&room.tracker.usage()));
    let after = room.tracker.usage();
    let mib = |kib: u64| kib as f64 / 1024.0;
    say(&format!(
        "siege {name:44} none {peace}; under it {latencies}, {} again; {opened} connections, {:.1} MB; memory {:.1} {:.1} {:.1} MiB; descriptors {} {} {}; threads {} {} {}",
        latencies.tries_lost,
        sent as f64 / 1e6,
        mib(before.resident_kib),
        mib(under.resident_kib),
        mib(after.resident_kib),
        before.descriptors,
        under.descriptors,
        after.descriptors,
        before.threads,
        under.threads,
        after.threads,
    ));
    assert!(opened >= attack.connections as u64, "{name}: only {opened} connections were opened");
    assert!(latencies.count() > 5 && latencies.max() < WITHIN, "{name}: an announce took {:?}", latencies.max());
    assert!(is_back, "{name}: {before:?} before, {after:?} after");
    assert!(after.peak_kib < MOST_MEMORY, "{name}: {after:?}");
    assert!(after.resident_kib < before.resident_kib + KEPT_MEMORY, "{name}: {before:?} before, {after:?} after");
    assert!(!room.tracker.stderr().contains("panicked"), "{name}: {}", room.tracker.stderr());
}
