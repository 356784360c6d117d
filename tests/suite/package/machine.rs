//! A machine of its own: a Debian system in a folder, which starts with systemd as its first process, in namespaces of its own.
//!
//! What it writes stays in a layer of one test, over a system that tests/setup.sh has made with debootstrap.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Pid;

use crate::house::{lab::Host, process::Process, wait_until};

/// A start of systemd, or its end.
const LIMIT: Duration = Duration::from_secs(60);

/// What the first process runs, with the system's folder and that of the layer: it lays out the machine, and becomes systemd.
const START: &str = "
set -e
mount --make-rprivate /
mkdir -p \"$2/upper\" \"$2/work\" \"$2/system\"
mount -t overlay -o \"lowerdir=$1,upperdir=$2/upper,workdir=$2/work\" overlay \"$2/system\"
cd \"$2/system\"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
";

/// A machine that runs.
pub struct Machine {
    host: Host,
    layer: PathBuf,
    unshare: Process,
    /// Its first process, as this machine numbers it.
    first: Pid,
}

impl Machine {
    /// Why there are none here, if so.
    pub fn available() -> Result<(), String> {
        let system = system();
        match system.join("lib/systemd/systemd").exists() {
            true => Ok(()),
            false => Err(format!("no system in {}; tests/setup.sh makes one with debootstrap", system.display())),
        }
    }

    /// Starts one in the network of `host`, and waits until it has. Its layer lies in `work`.
    pub fn boot(host: &Host, work: &Path) -> Machine {
        let layer = work.join("layer");
        fs::create_dir_all(&layer).unwrap();
        let mut command = host.command("unshare");
        command.args([
            "--kill-child",
            "--fork",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "sh",
            "-c",
            START,
            "sh",
        ]);
        command.args([&system(), &layer]);
        let unshare = Process::start(command, work, "machine");
        let mut first = None;
        assert!(
            wait_until(LIMIT, || {
                first = child_of(unshare.pid());
                first.is_some()
            }),
            "it does not start: {}",
            unshare.stderr()
        );
        let machine = Machine { host: host.clone(), layer, unshare, first: first.expect("it was waited for") };
        let is_up = || machine.run("systemctl is-system-running --wait").is_ok_and(|state| state.trim() == "running");
        assert!(
            wait_until(LIMIT, is_up),
            "it does not come up: {} {}",
            machine.unshare.stdout(),
            machine.unshare.stderr()
        );
        machine
    }

    /// Runs a line in its shell, and gives what it printed, or all that it said where it failed.
    pub fn run(&self, line: &str) -> Result<String, String> {
        done(self.command().args(["sh", "-c", line]))
    }

    /// A command on it; arguments are to come.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        let first = self.first.as_raw_nonzero().to_string();
        command.args(["-t", &first, "-m", "-p", "-u", "-i", "-n", "-C", "env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/srv", "DEBIAN_FRONTEND=noninteractive"]);
        command
    }

    /// Puts a file of ours onto it.
    pub fn copy(&self, file: &Path, to: &str) {
        let mut command = self.command();
        let mut child = command.args(["sh", "-c", &format!("cat >{to}")]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&fs::read(file).unwrap()).unwrap();
        assert!(child.wait().unwrap().success(), "{to}");
    }

    /// Holds a file on it against one of ours.
    pub fn same_file(&self, there: &str, ours: &Path) {
        let copied = self.command().args(["cat", there]).output().unwrap();
        assert!(copied.stdout == fs::read(ours).unwrap(), "{there} is not what {} is", ours.display());
    }

    /// What the service has said.
    pub fn journal(&self) -> String {
        self.run("systemctl status minitorrent --no-pager -l; journalctl -u minitorrent --no-pager")
            .unwrap_or_else(|said| said)
    }

    /// Ends as a machine does that is told to start again, and starts.
    pub fn reboot(mut self, work: &Path) -> Machine {
        let _ = self.run("systemctl reboot");
        assert!(self.unshare.wait(LIMIT).is_some(), "it does not end");
        assert_eq!(self.layer, work.join("layer"));
        Machine::boot(&self.host, work)
    }

    /// Switches it off.
    pub fn stop(self) {
        drop(self.unshare);
    }
}

/// The system that all machines begin with.
fn system() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("debian")
}

fn child_of(parent: Pid) -> Option<Pid> {
    let parent = parent.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// Runs a command to its end, and gives what it printed, or all that it said where it failed.
pub fn done(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(printed.into_owned()) } else { Err(format!("{command:?}: {printed}{said}")) }
}
