//! `make soak`: an hour (`SOAK_SECONDS`) of everything at once, with the figures at its end; `course` says what happens.
//!
//! It ends with 1 when a file was wrong, somebody got stuck, or something grew. The same figures with every sample are
//! kept as JSON in `target/soak`.

mod course;
#[path = "../suite/house/mod.rs"]
mod house;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use course::{Plan, Report};
use house::clients::Client;
use house::process;

/// How long it takes unless told otherwise.
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    // What `cargo bench` says. Without it this is `cargo test --all-targets`, which has no hour to spare.
    if env::args().nth(1).as_deref() != Some("--bench") {
        return ExitCode::SUCCESS;
    }
    let told = env::var("SOAK_SECONDS").ok().filter(|text| !text.is_empty());
    let time = match told.as_deref().map(str::parse) {
        None => HOUR,
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(_)) => {
            eprintln!("soak: SOAK_SECONDS takes whole seconds, not {:?}", told.unwrap_or_default());
            return ExitCode::from(2);
        }
    };
    end_when_told();
    let report = course::run(&plan(time));
    println!("{report}");
    keep(&report);
    if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// 50 files, 30 of ours, 10 of others. The tracker's last life is half of the time.
fn plan(time: Duration) -> Plan {
    let others = [[Client::Aria2; 4].as_slice(), &[Client::Transmission; 3], &[Client::Libtorrent; 3]].concat();
    let visitors = [vec![Client::Ours; 30], others].concat();
    let restarts = vec![0.125, 0.25, 0.375, 0.5];
    Plan { time, files: 50, largest_mib: 12, visitors, mbit: 40, rest: 20, grace: HOUR, restarts }
}

/// Keeps the run as `target/soak/SECONDS.json`; the last of each length stays.
fn keep(report: &Report) {
    // CARGO_TARGET_TMPDIR is `tmp` in the target folder.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("soak");
    let path = folder.join(format!("{}.json", report.seconds));
    let json = serde_json::to_vec_pretty(report).unwrap();
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, json)) {
        Ok(()) => println!("Kept as {}.", path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display()),
        Err(error) => eprintln!("soak: {} cannot be written: {error}", path.display()),
    }
}

/// Ctrl-C ends the children, and with them the run: the hosts and the files would outlive this process.
fn end_when_told() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    thread::spawn(move || signals.forever().for_each(|_| process::end_all()));
}
