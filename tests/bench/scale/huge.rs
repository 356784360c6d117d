//! Making the metainfo of a file that is far larger than memory.

use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::line;
use crate::house::process::{MINITORRENT, Process};
use crate::meter::Meter;
use crate::options::Options;
use crate::table::{Limit, Line};
use crate::workplace::{Workplace, timed};

/// Bytes of a piece.
const PIECE_LENGTH: u32 = 1 << 20;

/// How often the memory is looked at.
const LOOKS: Duration = Duration::from_millis(5);

pub fn measure(options: &Options, place: &Workplace) -> Result<Vec<Line>, String> {
    let gibibytes: u64 = if options.quick { 8 } else { 100 };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let work = tempfile::tempdir_in(place.path()).map_err(|error| error.to_string())?;
    let create = |gibibytes: u64| -> Result<(f64, f64), String> {
        let path = work.path().join(format!("{gibibytes}.img"));
        File::create(&path).and_then(|file| file.set_len(gibibytes << 30)).map_err(|error| error.to_string())?;
        let mut command = Command::new(MINITORRENT);
        command.arg("create").arg(&path).args(["--piece-length", &PIECE_LENGTH.to_string(), "--out"]);
        command.arg(work.path().join("created.torrent"));
        let begun = Instant::now();
        let process = Process::start(command, work.path(), "create");
        let mut meter = Meter::of(&process);
        while meter.look() {
            thread::sleep(LOOKS);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let ended = process.ended(LOOKS);
        if ended.code == Some(0) { Ok((seconds, meter.peak)) } else { Err(ended.stderr) }
    };
    let (_, small) = create(1)?;
    let hash = timed(Command::new("openssl").arg("sha1").arg(work.path().join("1.img")))?;
    let (seconds, peak) = create(gibibytes)?;
    let what = |what: &str| format!("create, {gibibytes} GiB of holes, pieces of 1 MiB: {what}");
    let least = hash * gibibytes as f64 / cores;
    let exact = gibibytes == 100;
    Ok(vec![
        // "At the speed of the hash": what reading a hole costs is allowed for.
        line(what("wall ÷ (openssl sha1 on every core)"), seconds / least, Limit::AtMost(1.25), exact),
        line(what("memory beyond that for 1 GiB, MiB"), peak - small, Limit::AtMost(16.0), exact),
    ])
}
