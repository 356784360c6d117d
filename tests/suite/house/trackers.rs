//! Trackers on a host of a lab: ours, and Debian's opentracker.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use minitorrent::bencode;

use super::lab::Host;
use super::process::{MINITORRENT, Process};
use super::torrent::Torrent;
use super::{folder_for_all, wait_until};

/// The port of every tracker here; each has a host of its own.
const PORT: u16 = 6969;

/// How long a tracker may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A program that is a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracker {
    Ours,
    Opentracker,
}

impl Tracker {
    pub const ALL: [Tracker; 2] = [Tracker::Ours, Tracker::Opentracker];

    pub fn name(self) -> &'static str {
        match self {
            Tracker::Ours => "our tracker",
            Tracker::Opentracker => "opentracker",
        }
    }

    /// Why this tracker cannot be started here, if so.
    pub fn available(self) -> Result<(), String> {
        let installed = Path::new("/usr/bin/opentracker").exists();
        if self == Tracker::Opentracker && !installed { Err("opentracker is not installed".into()) } else { Ok(()) }
    }

    /// Where it will take announces once it runs on `host`.
    pub fn announce_url(self, host: &Host) -> String {
        format!("http://{}:{PORT}/announce", host.address)
    }

    /// The same over UDP.
    pub fn udp_url(self, host: &Host) -> String {
        format!("udp://{}:{PORT}/announce", host.address)
    }

    /// Starts it, and waits until it answers. Opentracker answers for this torrent only.
    pub fn start(self, host: &Host, torrent: &Torrent, logs: &Path) -> Process {
        let command = self.command(host, PORT, &[torrent.info_hash_hex()], &logs.join("tracker"));
        let process = Process::start(command, logs, "tracker");
        let answers = || host.run(&format!("curl -s -o /dev/null {}", self.announce_url(host))).is_ok();
        assert!(wait_until(START_LIMIT, answers), "{} does not answer: {}", self.name(), process.stderr());
        process
    }

    /// What starts it on that port, with its files in `root`. Opentracker answers for these info hashes only.
    pub fn command(self, host: &Host, port: u16, info_hashes: &[String], root: &Path) -> Command {
        folder_for_all(root);
        match self {
            Tracker::Ours => {
                let mut command = host.command(MINITORRENT);
                command.args(["tracker", "--no-web", "--port", &port.to_string(), "--data"]).arg(root);
                command
            }
            Tracker::Opentracker => {
                // Each line must end, the last one too, and the path is relative to the root that it changes to.
                fs::write(root.join("whitelist"), info_hashes.join("\n") + "\n").unwrap();
                let config = format!(
                    "listen.tcp_udp 0.0.0.0:{port}\naccess.whitelist /whitelist\ntracker.rootdir {}\ntracker.user nobody\n",
                    root.display()
                );
                fs::write(root.join("config"), config).unwrap();
                let mut command = host.command("/usr/bin/opentracker");
                command.arg("-f").arg(root.join("config"));
                command
            }
        }
    }

    /// How many peers have told it that they have everything.
    pub fn seeders(self, host: &Host, torrent: &Torrent) -> i64 {
        scrape(host, torrent, b"complete")
    }

    /// How many peers have told it that they lack something.
    pub fn fetchers(self, host: &Host, torrent: &Torrent) -> i64 {
        scrape(host, torrent, b"incomplete")
    }
}

fn scrape(host: &Host, torrent: &Torrent, count: &[u8]) -> i64 {
    let hash: String = torrent.info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    let url = format!("http://{}:{PORT}/scrape?info_hash={hash}", host.address);
    let answer = host.run(&format!("curl -s --max-time 5 {url}")).unwrap_or_default();
    let read = |answer: &[u8]| {
        let answer = bencode::decode(answer).ok()?;
        answer.get(b"files")?.get(&torrent.info_hash)?.get(count)?.as_integer()
    };
    read(&answer).unwrap_or(0)
}
