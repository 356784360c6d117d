//! Real clients, each started with its own package's command, and ours beside them.
//!
//! Discovery other than by tracker is switched off in all of them, and libtorrent is told to use TCP. When a fetch is
//! finished is seen by comparing the files with the original, because no two clients say it in the same way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::content::Content;
use super::lab::Host;
use super::process::{MINITORRENT, Process};
use super::torrent::Torrent;

/// A program that can seed and fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Ours,
    Aria2,
    Transmission,
    Libtorrent,
}

impl Client {
    /// Everybody else's.
    pub const REAL: [Client; 3] = [Client::Aria2, Client::Transmission, Client::Libtorrent];

    pub fn name(self) -> &'static str {
        match self {
            Client::Ours => "ours",
            Client::Aria2 => "aria2",
            Client::Transmission => "transmission",
            Client::Libtorrent => "libtorrent",
        }
    }

    /// Why this client cannot be started here, if so.
    pub fn available(self) -> Result<(), String> {
        let (mut probe, package) = match self {
            Client::Ours => return Ok(()),
            Client::Aria2 => (Command::new("aria2c"), "aria2"),
            Client::Transmission => (Command::new("transmission-daemon"), "transmission-daemon"),
            Client::Libtorrent => {
                (Command::new(libtorrent_python()), "libtorrent from PyPI, which tests/setup.sh installs,")
            }
        };
        match self {
            Client::Libtorrent => probe.args(["-c", "import libtorrent"]),
            _ => probe.arg("--version"),
        };
        match probe.output() {
            Ok(output) if output.status.success() || self == Client::Transmission => Ok(()),
            _ => Err(format!("{package} is not installed")),
        }
    }

    /// Starts a seeder of what lies in `dir`, listening on `port`.
    pub fn seed(self, host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
        let mut command = match self {
            Client::Ours => with(host.command(MINITORRENT), ["seed", "--dir"], dir),
            Client::Aria2 => {
                let flags = ["--seed-ratio=0.0", "--bt-seed-unverified=true", "--allow-overwrite=true", "--dir"];
                with(aria2(host, port), flags, dir)
            }
            Client::Transmission => return transmission(host, torrent, dir, port, logs),
            Client::Libtorrent => return libtorrent("seed", host, torrent, dir, port, logs),
        };
        if self == Client::Ours {
            command.args(["--port", &port.to_string()]);
        }
        command.arg(&torrent.path);
        Process::start(command, logs, &format!("seed-{}-{port}", self.name()))
    }

    /// Starts a fetch into `out`, listening on `port`. It serves on when it has everything, until it is dropped.
    pub fn fetch(self, host: &Host, torrent: &Torrent, out: &Path, port: u16, logs: &Path) -> Process {
        fs::create_dir_all(out).unwrap();
        let mut command = match self {
            Client::Ours => with(host.command(MINITORRENT), ["fetch", "--seed-for", "600", "--out"], out),
            Client::Aria2 => with(aria2(host, port), ["--seed-ratio=0.0", "--dir"], out),
            Client::Transmission => return transmission(host, torrent, out, port, logs),
            Client::Libtorrent => return libtorrent("fetch", host, torrent, out, port, logs),
        };
        if self == Client::Ours {
            command.args(["--port", &port.to_string()]);
        }
        command.arg(&torrent.path);
        Process::start(command, logs, &format!("fetch-{}-{port}", self.name()))
    }

    /// Compares what it fetched with the original. Transmission 3.00 never makes the files that are empty.
    pub fn compare(self, content: &Content, out: &Path) -> Result<(), String> {
        match self {
            Client::Transmission => content.compare_those(out, |length| length > 0),
            _ => content.compare(out),
        }
    }
}

fn with<const N: usize>(mut command: Command, arguments: [&str; N], last: &Path) -> Command {
    command.args(arguments).arg(last).env("LANG", "C.UTF-8");
    command
}

fn aria2(host: &Host, port: u16) -> Command {
    let mut command = host.command("aria2c");
    command.args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]);
    command.args(["--enable-peer-exchange=false", "--file-allocation=none", "--summary-interval=0"]);
    command.arg(format!("--listen-port={port}"));
    command
}

fn transmission(host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
    let config = logs.join(format!("transmission-{port}"));
    let watched = config.join("watch");
    fs::create_dir_all(&watched).unwrap();
    let settings = serde_json::json!({
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "encryption": 0, "peer-port": port, "rpc-port": 9091,
        "rename-partial-files": false, "download-dir": dir, "watch-dir": watched, "watch-dir-enabled": true,
    });
    fs::write(config.join("settings.json"), settings.to_string()).unwrap();
    fs::copy(&torrent.path, watched.join("it.torrent")).unwrap();
    let mut command = host.command("transmission-daemon");
    command.args(["--foreground", "--log-info", "--config-dir"]).arg(&config).env("LANG", "C.UTF-8");
    Process::start(command, logs, &format!("transmission-{port}"))
}

fn libtorrent(verb: &str, host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/libtorrent_peer.py");
    let mut command = host.command(libtorrent_python());
    command.arg(script).arg(verb).args([&torrent.path, dir]).arg(port.to_string()).env("LANG", "C.UTF-8");
    Process::start(command, logs, &format!("{verb}-libtorrent-{port}"))
}

/// The python that has libtorrent: the one of tests/setup.sh.
fn libtorrent_python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    // CARGO_TARGET_TMPDIR is `tmp` in the target folder.
    let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/bin/python");
    PYTHON.get_or_init(target).clone()
}
