//! A tracker with a thousand uploads, started again: how soon it answers, and what it costs while nobody wants anything.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::line;
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::wait_until;
use crate::options::Options;
use crate::table::{Limit, Line};
use crate::workplace::Workplace;

/// Bytes of each file. They are holes: what is measured does not look into them.
const LENGTH: u64 = 10_000_000;

/// How long the first run may take to verify what it finds.
const VERIFIED_LIMIT: Duration = Duration::from_secs(300);

/// How long after its start a tracker is looked at.
const REST: Duration = Duration::from_secs(5);

pub fn measure(options: &Options, place: &Workplace) -> Result<Vec<Line>, String> {
    let files = if options.quick { 100 } else { 1000 };
    let data = tempfile::tempdir_in(place.path()).map_err(|error| error.to_string())?;
    fill(data.path(), files);
    let (mut first, port) = start(data.path());
    let seeding = || announced(port);
    if !wait_until(VERIFIED_LIMIT, || seeding() >= Some(files as u64)) {
        return Err(format!("{:?} of {files} files are seeded; it said: {}", seeding(), first.stderr()));
    }
    // What was verified is noted when it is surely on the disk.
    let is_noted = || {
        let list = fs::read_to_string(data.path().join("metainfos/.library.json")).unwrap_or_default();
        list.contains("stamp") && !list.replace(' ', "").contains("\"stamp\":null")
    };
    if !wait_until(VERIFIED_LIMIT, is_noted) {
        return Err("what was verified is not noted".into());
    }
    first.signal(rustix::process::Signal::TERM);
    first.wait(REST);

    let begun = Instant::now();
    let (second, port) = start(data.path());
    let seeding = || announced(port);
    wait_until(VERIFIED_LIMIT, || seeding() >= Some(files as u64));
    let ready = begun.elapsed().as_secs_f64();
    thread::sleep(REST);
    let usage = second.usage();
    let exact = files == 1000;
    let what = |what: &str| format!("{files} files of 10 MB on a tracker, started again: {what}");
    Ok(vec![
        line(what("all seeded after, s"), ready, Limit::AtMost(2.0), exact),
        line(what("idle threads"), usage.threads as f64, Limit::AtMost(24.0), exact),
        line(what("memory, MiB"), usage.peak_kib as f64 / 1024.0, Limit::AtMost(24.0), exact),
    ])
}

/// Lays the files where uploads lie, each with its metainfo.
fn fill(data: &Path, files: usize) {
    let (uploads, metainfos) = (data.join("uploads"), data.join("metainfos"));
    fs::create_dir_all(&uploads).unwrap();
    fs::create_dir_all(&metainfos).unwrap();
    for number in 0..files {
        let name = format!("file-{number:04}.bin");
        File::create(uploads.join(&name)).unwrap().set_len(LENGTH).unwrap();
        let content =
            Content { root: uploads.clone(), name: name.clone(), files: vec![(PathBuf::from(&name), LENGTH)] };
        Torrent::write(&metainfos.join(format!("{name}.torrent")), &content, PIECE_LENGTH, &[]);
    }
}

/// A tracker, and its port.
fn start(data: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Host::here().command(MINITORRENT);
    command.args(["tracker", "--port", &port.to_string(), "--seed-port", &free_port().to_string(), "--data"]).arg(data);
    (Process::start(command, data, "tracker"), port)
}

/// How many torrents the tracker has a peer of: there are no others than itself.
fn announced(port: u16) -> Option<u64> {
    metric(port, "minitorrent_peers")
}

fn metric(port: u16, name: &str) -> Option<u64> {
    TcpStream::connect(("127.0.0.1", port)).ok()?;
    let text = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().ok()?.into_body().read_to_string().ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
