//! Real clients, each started with its own package's command, and ours beside them.
//!
//! [`Setup::Defaults`] starts them as their users have them: options are given only for ports, folders, and for what would need
//! the internet (DHT has nobody to bootstrap from here, UPnP no router). [`Setup::TrackerAndTcp`] switches off every other way of finding
//! peers, uTP and encryption, so that what the bench compares is alike. When a fetch is finished is seen by comparing the files
//! with the original, because no two clients say it in the same way.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

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
    Rqbit,
}

/// How a client is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Defaults,
    /// The same without uTP. Transmission 3.00 begins with uTP; when that is turned down it connects by TCP, but closes its own
    /// connection before it has sent a byte, and does not come back for minutes.
    WithoutUtp,
    /// The same with local discovery where that is not a default: aria2 and Transmission have it switched off.
    LocalDiscovery,
    TrackerAndTcp,
}

/// What a fetch does when it has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Serve,
    End,
}

impl Client {
    /// Everybody else's that the matrix tries.
    pub const REAL: [Client; 4] = [Client::Aria2, Client::Transmission, Client::Libtorrent, Client::Rqbit];

    /// Every one that the bench measures, ours first.
    pub const ALL: [Client; 5] = [Client::Ours, Client::Aria2, Client::Transmission, Client::Libtorrent, Client::Rqbit];

    pub fn name(self) -> &'static str {
        match self {
            Client::Ours => "ours",
            Client::Aria2 => "aria2",
            Client::Transmission => "transmission",
            Client::Libtorrent => "libtorrent",
            Client::Rqbit => "rqbit",
        }
    }

    /// Why this client cannot be started here, if so.
    pub fn available(self) -> Result<(), String> {
        let package = match self {
            Client::Ours => return Ok(()),
            Client::Aria2 => "aria2",
            Client::Transmission => "transmission-daemon",
            Client::Libtorrent => "libtorrent from PyPI, which tests/setup.sh installs,",
            Client::Rqbit => "rqbit from crates.io, which tests/setup.sh builds (RQBIT names another one),",
        };
        self.version().map(drop).ok_or(format!("{package} is not installed"))
    }

    /// What it says of its version, in a line, or nothing when it cannot be started.
    pub fn version(self) -> Option<String> {
        let output = match self {
            Client::Libtorrent => {
                let print = "import libtorrent; print('libtorrent', libtorrent.version)";
                Command::new(libtorrent_python()).args(["-c", print]).output()
            }
            _ => Command::new(self.program()).arg("--version").output(),
        };
        // Transmission says its version on stderr, and then that it failed.
        let output = output.ok().filter(|output| output.status.success() || self == Client::Transmission)?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        text.lines().next().map(str::to_owned)
    }

    /// What is started for it.
    pub fn program(self) -> PathBuf {
        match self {
            Client::Ours => MINITORRENT.into(),
            Client::Aria2 => "aria2c".into(),
            Client::Transmission => "transmission-daemon".into(),
            Client::Libtorrent => libtorrent_python(),
            Client::Rqbit => env::var_os("RQBIT").map_or_else(|| tools_folder().join("bin/rqbit"), PathBuf::from),
        }
    }

    /// Starts a seeder of what lies in `dir`, listening on `port`.
    pub fn seed(self, host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
        self.seed_as(Setup::TrackerAndTcp, host, torrent, dir, port, logs)
    }

    /// The same, set up in that way.
    pub fn seed_as(self, setup: Setup, host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
        let mut command = match self {
            Client::Ours => with(host.command(MINITORRENT), ["seed", "--dir"], dir),
            Client::Aria2 => {
                let flags = ["--seed-ratio=0.0", "--bt-seed-unverified=true", "--allow-overwrite=true", "--dir"];
                with(aria2(setup, host, port), flags, dir)
            }
            Client::Transmission => return transmission(setup, Then::Serve, host, torrent, dir, port, logs),
            Client::Libtorrent => return libtorrent(setup, "seed", host, torrent, dir, port, logs),
            Client::Rqbit => with(self.rqbit(setup, host, port), ["--overwrite", "--output-folder"], dir),
        };
        if self == Client::Ours {
            command.args(["--port", &port.to_string()]);
        }
        command.arg(&torrent.path);
        start(setup, command, logs, &format!("seed-{}-{port}", self.name()))
    }

    /// Starts a fetch into `out`, listening on `port`. It serves on when it has everything, until it is dropped.
    pub fn fetch(self, host: &Host, torrent: &Torrent, out: &Path, port: u16, logs: &Path) -> Process {
        self.fetch_as(Setup::TrackerAndTcp, host, torrent, out, port, logs)
    }

    /// The same, set up in that way.
    pub fn fetch_as(self, setup: Setup, host: &Host, torrent: &Torrent, out: &Path, port: u16, logs: &Path) -> Process {
        self.start_fetch(setup, Then::Serve, host, torrent, out, port, logs)
    }

    /// The same, but it ends of itself as soon as it has everything.
    pub fn fetch_and_end(self, host: &Host, torrent: &Torrent, out: &Path, port: u16, logs: &Path) -> Process {
        self.start_fetch(Setup::TrackerAndTcp, Then::End, host, torrent, out, port, logs)
    }

    #[allow(clippy::too_many_arguments, reason = "a client is started with that much")]
    fn start_fetch(
        self,
        setup: Setup,
        then: Then,
        host: &Host,
        torrent: &Torrent,
        out: &Path,
        port: u16,
        logs: &Path,
    ) -> Process {
        fs::create_dir_all(out).unwrap();
        let serves = then == Then::Serve;
        let mut command = match self {
            Client::Ours => {
                let seconds = if serves { "600" } else { "0" };
                with(host.command(MINITORRENT), ["fetch", "--seed-for", seconds, "--out"], out)
            }
            Client::Aria2 => {
                let end = if serves { "--seed-ratio=0.0" } else { "--seed-time=0" };
                let mut command = aria2(setup, host, port);
                // It looks for more peers only while it is slower than the limit, so that none is too fast.
                let faster = (setup == Setup::TrackerAndTcp).then_some("--bt-request-peer-speed-limit=2000M");
                command.args(faster);
                with(command, [end, "--dir"], out)
            }
            Client::Transmission => return transmission(setup, then, host, torrent, out, port, logs),
            Client::Libtorrent => {
                let verb = if serves { "fetch" } else { "fetch-and-end" };
                return libtorrent(setup, verb, host, torrent, out, port, logs);
            }
            Client::Rqbit => {
                let mut command = with(self.rqbit(setup, host, port), ["--output-folder"], out);
                command.args((!serves).then_some("--exit-on-finish"));
                command
            }
        };
        if self == Client::Ours {
            command.args(["--port", &port.to_string()]);
        }
        command.arg(&torrent.path);
        start(setup, command, logs, &format!("fetch-{}-{port}", self.name()))
    }

    fn rqbit(self, setup: Setup, host: &Host, port: u16) -> Command {
        let mut command = host.command(self.program());
        command.args(["--disable-dht", "--disable-upnp-port-forward", "-v", "error"]);
        command.args((setup == Setup::TrackerAndTcp).then_some("--disable-lsd"));
        command.args(["--listen-port", &port.to_string(), "download", "--disable-http-api"]);
        command
    }

    /// Compares what it fetched with the original. Transmission 3.00 never makes the files that are empty.
    pub fn compare(self, content: &Content, out: &Path) -> Result<(), String> {
        match self {
            Client::Transmission => content.compare_those(out, |length| length > 0),
            _ => content.compare(out),
        }
    }
}

fn start(setup: Setup, command: Command, logs: &Path, name: &str) -> Process {
    match setup {
        Setup::LocalDiscovery => Process::start_announced(command, logs, name),
        _ => Process::start(command, logs, name),
    }
}

fn with<const N: usize>(mut command: Command, arguments: [&str; N], last: &Path) -> Command {
    command.args(arguments).arg(last).env("LANG", "C.UTF-8");
    command
}

fn aria2(setup: Setup, host: &Host, port: u16) -> Command {
    let mut command = host.command("aria2c");
    command.args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--summary-interval=0"]);
    if setup == Setup::TrackerAndTcp {
        command.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none"]);
    }
    command.args((setup == Setup::LocalDiscovery).then_some("--bt-enable-lpd=true"));
    command.arg(format!("--listen-port={port}"));
    command
}

fn transmission(
    setup: Setup,
    then: Then,
    host: &Host,
    torrent: &Torrent,
    dir: &Path,
    port: u16,
    logs: &Path,
) -> Process {
    let config = logs.join(format!("transmission-{port}"));
    let watched = config.join("watch");
    fs::create_dir_all(&watched).unwrap();
    let script = config.join("end");
    fs::write(&script, "#!/bin/sh\nkill -9 $PPID\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut settings = serde_json::json!({
        "dht-enabled": false, "port-forwarding-enabled": false, "peer-port": port, "rpc-port": 9091,
        "download-dir": dir, "watch-dir": watched, "watch-dir-enabled": true,
        "script-torrent-done-enabled": then == Then::End, "script-torrent-done-filename": script,
    });
    if setup != Setup::Defaults {
        settings["utp-enabled"] = false.into();
    }
    settings["lpd-enabled"] = (setup == Setup::LocalDiscovery).into();
    if setup == Setup::TrackerAndTcp {
        for name in ["pex-enabled", "rename-partial-files"] {
            settings[name] = false.into();
        }
        settings["encryption"] = 0.into();
    }
    fs::write(config.join("settings.json"), settings.to_string()).unwrap();
    fs::copy(&torrent.path, watched.join("it.torrent")).unwrap();
    let mut command = host.command("transmission-daemon");
    command.args(["--foreground", "--log-info", "--config-dir"]).arg(&config).env("LANG", "C.UTF-8");
    Process::start(command, logs, &format!("transmission-{port}"))
}

fn libtorrent(setup: Setup, verb: &str, host: &Host, torrent: &Torrent, dir: &Path, port: u16, logs: &Path) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/libtorrent_peer.py");
    let mut command = host.command(libtorrent_python());
    command.arg(script).arg(verb).args([&torrent.path, dir]).arg(port.to_string()).env("LANG", "C.UTF-8");
    command.args((setup == Setup::TrackerAndTcp).then_some("tcp-only"));
    Process::start(command, logs, &format!("{verb}-libtorrent-{port}"))
}

/// The python that has libtorrent: the one of tests/setup.sh.
fn libtorrent_python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| clients_folder().join("bin/python")).clone()
}

/// Where tests/setup.sh builds what comes from crates.io.
pub fn tools_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools")
}

/// Where tests/setup.sh installs what comes from PyPI.
pub fn clients_folder() -> PathBuf {
    // CARGO_TARGET_TMPDIR is `tmp` in the target folder.
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients")
}
