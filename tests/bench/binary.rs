//! The program itself: its size, and how long it takes to start and to end.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::clients::Client;
use crate::house::process::MINITORRENT;
use crate::options::Options;
use crate::promises;
use crate::table::{Figure, Limit, Line, OURS};
use crate::target;
use crate::workplace::timed;

/// How often each program is started.
const STARTS: usize = 20;

pub fn measure(options: &Options, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    let rqbit = options.clients.contains(&Client::Rqbit).then(|| on_path(&Client::Rqbit.program())).flatten();
    let others = rqbit.map(|path| size("rqbit", &path)).transpose()?;
    let ours = size(OURS, Path::new(MINITORRENT))?;
    let has_tls = cfg!(feature = "tls");
    let (limit, what) = match has_tls {
        true => (promises::BINARY, "binary, stripped: MiB"),
        false => (promises::BINARY_WITHOUT_TLS, "binary, stripped, without TLS: MiB"),
    };
    let mut lines = vec![Line::new(what, [ours].into_iter().chain(others).collect()).promised(limit, true)];
    if has_tls && options.quick {
        notes.push("binary without TLS: not measured: make bench builds it, the quick form does not".into());
    } else if has_tls {
        match build_without_tls().and_then(|path| size(OURS, &path)) {
            Ok(figure) => lines.push(
                Line::new("binary, stripped, without TLS: MiB", vec![figure])
                    .promised(promises::BINARY_WITHOUT_TLS, true),
            ),
            Err(reason) => notes.push(format!("binary without TLS: not measured: {reason}")),
        }
    }
    lines.push(starts(options, promises::START)?);
    Ok(lines)
}

/// `--version`, from fork to end. Libtorrent is a library and Transmission's daemon says its version with a failure.
fn starts(options: &Options, limit: Limit) -> Result<Line, String> {
    let programs = options.clients.iter().filter(|client| !matches!(client, Client::Libtorrent | Client::Transmission));
    let mut figures = Vec::new();
    for client in programs {
        let start = |_| Ok(timed(Command::new(client.program()).arg("--version"))? * 1e3);
        figures.push(Figure::new(client.name(), (0..STARTS).map(start).collect::<Result<_, String>>()?));
    }
    Ok(Line::new(format!("start and end (--version), {STARTS} times: ms"), figures).promised(limit, true))
}

fn size(who: &str, path: &Path) -> Result<Figure, String> {
    let length = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    Ok(Figure::new(who, vec![length as f64 / f64::from(1 << 20)]))
}

fn build_without_tls() -> Result<PathBuf, String> {
    let folder = target().join("bench").join("without-tls");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--locked", "--no-default-features", "--bin", "minitorrent"]);
    timed(cargo.arg("--target-dir").arg(&folder).current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(folder.join("release").join("minitorrent"))
}

/// Where a program lies: where it says, or where the shell would find it.
fn on_path(program: &Path) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}
