//! Where the files of a run lie, and how one command is timed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::house::{self, process};

/// A folder in memory where there is room, so that the disk is not what is measured; under `target/` otherwise.
pub struct Workplace {
    folder: TempDir,
    pub in_memory: bool,
}

impl Workplace {
    /// The whole run needs three copies of the largest file at a time, or nine of the largest swarm's.
    const NEEDS: u64 = 5 << 30;

    pub fn choose() -> Workplace {
        let memory = Path::new("/dev/shm");
        let free = rustix::fs::statvfs(memory).map_or(0, |room| room.f_bavail * room.f_frsize);
        if free < Workplace::NEEDS {
            return Workplace { folder: house::folder(), in_memory: false };
        }
        let folder = tempfile::Builder::new().prefix("minitorrent-bench-").tempdir_in(memory).unwrap();
        house::folder_for_all(folder.path());
        Workplace { folder, in_memory: true }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Runs it to its end, and tells how many seconds it took, or why it failed.
pub fn timed(command: &mut Command) -> Result<f64, String> {
    process::stop_if_ended();
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let seconds = start.elapsed().as_secs_f64();
    let program = command.get_program().to_string_lossy().into_owned();
    let output = output.map_err(|error| format!("{program} does not start: {error}"))?;
    match output.status.success() {
        true => Ok(seconds),
        false => Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The first line that a command prints, if it starts and prints one.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}
