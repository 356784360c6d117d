//! Making a metainfo: ours, mktorrent, and what one core of OpenSSL takes to hash the file once.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::house::content::Content;
use crate::house::process::MINITORRENT;
use crate::house::torrent::PIECE_LENGTH;
use crate::options::Options;
use crate::promises;
use crate::table::{Figure, Line, OURS};
use crate::workplace::{Workplace, timed};

/// The cores that everybody has here.
const CORES: &str = "0,1";

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    let name = format!("{}.bin", options.mebibytes);
    let content = Content::file(&place.path().join("source"), &name, options.mebibytes << 20);
    let file = content.root.join(&content.name);
    let out = place.path().join("created.torrent");
    let mut figures = [OURS, "mktorrent -t 2", "openssl sha1"].map(|who| Figure::new(who, Vec::new())).to_vec();
    for _ in 0..options.runs {
        for (figure, command) in figures.iter_mut().zip(commands(&file, &out)) {
            let _ = fs::remove_file(&out);
            let mut pinned = pin(CORES, &command);
            match timed(&mut pinned) {
                Ok(seconds) => figure.samples.push(seconds),
                Err(reason) => notes.push(format!("create: {}: {reason}", figure.who)),
            }
        }
    }
    let exact = options.mebibytes == promises::MEBIBYTES;
    let line = Line::new(format!("create, {} MiB, cores {CORES}: wall, s", options.mebibytes), figures);
    let over = line.median("mktorrent -t 2").map(|base| line.over(base, "create ÷ mktorrent -t 2").only_ours());
    let over = over.map(|line| line.promised(promises::CREATE_OVER_MKTORRENT, exact));
    Ok([line].into_iter().chain(over).collect())
}

/// In the order of the figures.
fn commands(file: &Path, out: &Path) -> [Command; 3] {
    let [mut ours, mut mktorrent, mut openssl] = [MINITORRENT, "mktorrent", "openssl"].map(Command::new);
    ours.arg("create").arg(file).arg("--out").arg(out);
    mktorrent.args(["-t", "2", "-l", &PIECE_LENGTH.ilog2().to_string(), "-a", "http://127.0.0.1/announce"]);
    mktorrent.arg("-o").arg(out).arg(file);
    openssl.arg("sha1").arg(file);
    [ours, mktorrent, openssl]
}

/// The same command, on these cores only.
pub fn pin(cores: &str, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", cores]).arg(command.get_program()).args(command.get_args());
    pinned
}
