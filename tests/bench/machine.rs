//! Where and with what a run was made.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::options::Options;
use crate::workplace::{Workplace, first_line};

/// What the figures of a run depend on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// UTC, to the second (ISO 8601).
    pub date: String,
    pub processor: String,
    pub cores: usize,
    /// Whether the processor has SHA instructions, on which every hash depends.
    pub sha_instructions: bool,
    pub kernel: String,
    /// How many threads were running or waiting to in the last minute, before anything was measured.
    pub load: String,
    pub files_in_memory: bool,
    /// The commit that was built, if that can be told.
    pub commit: Option<String>,
    pub versions: Vec<String>,
}

impl Machine {
    pub fn look(options: &Options, place: &Workplace) -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let processor = read("/proc/cpuinfo");
        let field = |names: [&str; 2]| {
            let line = processor.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
            line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
        };
        // x86 and Arm name both things differently.
        let flags = field(["flags", "Features"]);
        Machine {
            date: first_line(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])).unwrap_or("undated".into()),
            processor: field(["model name", "Model"]).to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            sha_instructions: flags.split(' ').any(|flag| flag == "sha_ni" || flag == "sha1"),
            kernel: read("/proc/sys/kernel/osrelease"),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            files_in_memory: place.in_memory,
            commit: commit(),
            versions: versions(options),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        let sha = if self.sha_instructions { "with" } else { "without" };
        let files = if self.files_in_memory { "in memory" } else { "on disk" };
        writeln!(f, "{}, commit {commit}", self.date)?;
        writeln!(f, "{}, {} cores, {sha} SHA instructions, Linux {}", self.processor, self.cores, self.kernel)?;
        writeln!(f, "files {files}, load {} before the run", self.load)?;
        write!(f, "{}", self.versions.join(" · "))
    }
}

fn commit() -> Option<String> {
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    git(&["rev-parse", "--short", "HEAD"]).map(|commit| if changed { commit + " and changes" } else { commit })
}

/// What each program says of itself; who is not installed is not named.
fn versions(options: &Options) -> Vec<String> {
    let tools = [("openssl", "version"), ("mktorrent", "-v"), ("wrk", "-v")];
    // Opentracker does not know its own version, so its package is asked.
    let opentracker = ["--show", "--showformat", "opentracker ${Version}", "opentracker"];
    let clients = options.clients.iter().filter_map(|client| client.version());
    clients
        .chain(tools.iter().filter_map(|(program, flag)| first_line(Command::new(program).arg(flag))))
        .chain(first_line(Command::new("dpkg-query").args(opentracker)).filter(|line| line.starts_with("opentracker ")))
        .map(|line| {
            let ends = [" Copyright", " (c)", " (Library"].map(|end| line.find(end).unwrap_or(line.len()));
            line[..ends[0].min(ends[1]).min(ends[2])].to_owned()
        })
        .collect()
}
