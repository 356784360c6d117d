//! A file that comes to the tracker's page over HTTP, beside the same `curl -T` to dufs, a file server that only writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::house::content::Content;
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::wait_until;
use crate::options::Options;
use crate::promises;
use crate::table::{Figure, Line, OURS};
use crate::workplace::{Workplace, timed};

/// The file server that the promise names.
const DUFS: &str = "dufs";

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A server that takes files by PUT.
struct Server {
    process: Process,
    /// Where a file goes, without its name.
    url: String,
}

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    let name = format!("{}.bin", options.mebibytes);
    let content = Content::file(&place.path().join("source"), &name, options.mebibytes << 20);
    let file = content.root.join(&content.name);
    let port = free_port().to_string();
    let mut command = Command::new(MINITORRENT);
    let data = place.path().join("uploaded");
    command.args(["tracker", "--port", &port, "--data"]).arg(&data);
    let ours = Server::start(command, place.path(), OURS, format!("http://127.0.0.1:{port}/uploads"))?;
    let dufs = start_dufs(place, notes);
    let mut walls = [OURS, DUFS].map(|who| Figure::new(who, Vec::new()));
    for run in 0..options.runs {
        if let Some((dufs, _)) = &dufs {
            walls[1].samples.push(dufs.put(&file, &run.to_string())?);
        }
        // Each time by another name: the same again would be found out to be there.
        walls[0].samples.push(ours.put(&file, &run.to_string())?);
        // The disk holds one of each: what is taken away by hand is not shared any longer.
        for folder in
            [Some(data.join("uploads")), dufs.as_ref().map(|(_, folder)| folder.clone())].into_iter().flatten()
        {
            let _ = fs::remove_file(folder.join(run.to_string()));
        }
    }
    let peaks = [(&walls[0], Some(&ours)), (&walls[1], dufs.as_ref().map(|(server, _)| server))]
        .map(|(wall, server)| Figure::new(&*wall.who, server.and_then(Server::peak_mebibytes).into_iter().collect()));
    let exact = options.mebibytes == promises::MEBIBYTES;
    let wall = Line::new(format!("upload, {} MiB by curl -T: wall, s", options.mebibytes), walls.to_vec());
    let over = wall.median(DUFS).map(|base| wall.over(base, "upload ÷ that to dufs").only_ours());
    let over = over.map(|line| line.promised(promises::UPLOAD_OVER_DUFS, exact));
    let memory = Line::new("upload: memory of the server, MiB", peaks.to_vec());
    Ok([wall].into_iter().chain(over).chain([memory.promised(promises::UPLOAD_MEMORY, true)]).collect())
}

/// dufs, and the folder that it writes to; or a note that says why not.
fn start_dufs(place: &Workplace, notes: &mut Vec<String>) -> Option<(Server, PathBuf)> {
    if Command::new(DUFS).arg("--version").output().is_err() {
        notes.push("upload: dufs is missing (cargo install dufs), so there is nothing to be measured against".into());
        return None;
    }
    let (port, folder) = (free_port().to_string(), place.path().join(DUFS));
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(DUFS);
    command.args(["--allow-upload", "--bind", "127.0.0.1", "--port", &port]).arg(&folder);
    match Server::start(command, place.path(), DUFS, format!("http://127.0.0.1:{port}")) {
        Ok(server) => Some((server, folder)),
        Err(reason) => {
            notes.push(format!("upload: {reason}"));
            None
        }
    }
}

impl Server {
    fn start(command: Command, logs: &Path, name: &str, url: String) -> Result<Server, String> {
        let process = Process::start(command, logs, name);
        let server = Server { process, url };
        let is_up = || timed(Command::new("curl").args(["-s", "-o", "/dev/null", &server.url])).is_ok();
        let came = wait_until(START_LIMIT, is_up);
        came.then_some(()).ok_or_else(|| format!("{name} does not answer: {}", server.process.stderr()))?;
        Ok(server)
    }

    /// The seconds until the answer is there.
    fn put(&self, file: &Path, name: &str) -> Result<f64, String> {
        let url = format!("{}/{name}", self.url);
        timed(Command::new("curl").args(["-sS", "--fail", "-o", "/dev/null", "-T"]).arg(file).arg(url))
    }

    fn peak_mebibytes(&self) -> Option<f64> {
        Some(self.process.peak_kib()? as f64 / 1024.0)
    }
}
