//! `make bench`: what the program promises, measured beside the real clients of this machine in one run, in one table.
//!
//! `promises` holds the limits, every other figure is measured here and now. `pair` and `swarm` are the same `room` with
//! different links, `mixed` has other clients fetch from our source; `scale` is what must not grow with the work; `create`,
//! `upload`, `announces`, `udp_announces` and `binary` need no hosts. `table` prints, and the same lines are kept as JSON
//! in `target/bench`. What could not be measured is said below the table, with the reason.

mod announces;
mod binary;
mod create;
#[path = "../suite/house/mod.rs"]
mod house;
mod machine;
mod meter;
mod mixed;
mod options;
mod pair;
mod promises;
mod room;
mod scale;
mod swarm;
mod table;
mod udp_announces;
mod upload;
mod workplace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, thread};

use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use house::clients::Client;
use house::process;
use machine::Machine;
use options::{Options, Part};
use table::Line;
use workplace::Workplace;

/// Everything that one run found out, as it is kept.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    options: Options,
    lines: Vec<Line>,
    notes: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [announces::BARE_SERVER, port] => return announces::serve_bare(port),
        // What `cargo bench` says. Without it this is `cargo test --all-targets`, which is no time to measure.
        ["--bench", ..] => (),
        _ => return ExitCode::SUCCESS,
    }
    let (mut options, mut notes) = match Options::from_environment() {
        Ok(options) => (options, Vec::new()),
        Err(complaint) => {
            eprintln!("bench: {complaint}");
            return ExitCode::from(2);
        }
    };
    options.clients.retain(|client| match client.available() {
        Ok(()) => true,
        Err(reason) => {
            notes.push(format!("{}: not measured: {reason}", client.name()));
            false
        }
    });
    let place = Workplace::choose();
    end_when_told();
    let machine = Machine::look(&options, &place);
    let lines = measure(&options, &place, &mut notes);
    notes.extend(promises::NOT_MEASURED.map(str::to_owned));
    let report = Report { machine, options, lines, notes };
    print(&report);
    keep(&report);
    ExitCode::SUCCESS
}

fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Vec<Line> {
    let mut lines = Vec::new();
    for part in &options.parts {
        let measured = match part {
            Part::Pair => pair::measure(options, place, notes),
            Part::Swarm => swarm::measure(options, place, notes),
            Part::Mixed => mixed::measure(options, place, notes),
            Part::Scale => scale::measure(options, place, notes),
            Part::Create => create::measure(options, place, notes),
            Part::Upload => upload::measure(options, place, notes),
            Part::Announces => announces::measure(options, place, notes),
            Part::Udp => udp_announces::measure(options, place, notes),
            Part::Binary => binary::measure(options, notes),
        };
        match measured {
            Ok(measured) => lines.extend(measured),
            Err(reason) => notes.push(format!("{part:?}: skipped: {reason}")),
        }
    }
    lines
}

fn print(report: &Report) {
    let others: Vec<&str> = Client::ALL[1..]
        .iter()
        .filter(|client| report.options.clients.contains(client))
        .map(|client| client.name())
        .collect();
    println!("\n{}\n\n{}", report.machine, table::render(&report.lines, &others));
    report.notes.iter().for_each(|note| println!("- {note}"));
}

/// Keeps the run as `target/bench/DATE.json`.
fn keep(report: &Report) {
    let folder = target().join("bench");
    let path = folder.join(report.machine.date.replace(':', "-") + ".json");
    let json = serde_json::to_vec_pretty(report).unwrap();
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, json)) {
        Ok(()) => println!("\nKept as {}.", path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display()),
        Err(error) => eprintln!("bench: {} cannot be written: {error}", path.display()),
    }
}

/// The target folder that this was built into.
fn target() -> PathBuf {
    // CARGO_TARGET_TMPDIR is `tmp` in it.
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Ctrl-C ends the children, and with them what is being measured: the hosts and the files would outlive this process.
fn end_when_told() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    thread::spawn(move || signals.forever().for_each(|_| process::end_all()));
}
