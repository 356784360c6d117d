//! Children of a test: each in a process group of its own, with its output in files, and gone when dropped.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::wait_until;

/// The binary under test.
pub const MINITORRENT: &str = env!("CARGO_BIN_EXE_minitorrent");

/// A port that nobody listens on at this moment, on any address.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// The children that have been started and not dropped; `None` once there shall be no more.
static LIVE: Mutex<Option<Vec<Pid>>> = Mutex::new(Some(Vec::new()));

/// Ends every child. The next one that is to start unwinds who starts it instead, so that all that is there is dropped.
pub fn end_all() {
    for pid in live().take().into_iter().flatten() {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Unwinds without a word after [`end_all`].
pub fn stop_if_ended() {
    if live().is_none() {
        panic::resume_unwind(Box::new("stopped"));
    }
}

fn live() -> MutexGuard<'static, Option<Vec<Pid>>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running child.
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a child holds at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// The memory it holds, in KiB.
    pub resident_kib: u64,
    /// The most memory it ever held, in KiB.
    pub peak_kib: u64,
    /// Processor time that it has taken in all.
    pub cpu: Duration,
    pub threads: usize,
    pub descriptors: usize,
}

/// What a child that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command`, whose output goes to `NAME.out` and `NAME.err` in `logs`. One of ours says nothing to the network around it, nor
    /// hears of what other tests share.
    pub fn start(mut command: Command, logs: &Path, name: &str) -> Process {
        let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
        let verb = words.iter().position(|word| *word == MINITORRENT).and_then(|at| words.get(at + 1)?.to_str());
        let is_asking = words.iter().any(|word| *word == "--help" || *word == "-h");
        if matches!(verb, Some("tracker" | "seed" | "fetch")) && !is_asking {
            command.arg("--no-announce");
        }
        Process::start_announced(command, logs, name)
    }

    /// The same for one that finds and is found, in a lab of its own.
    pub fn start_announced(mut command: Command, logs: &Path, name: &str) -> Process {
        use std::os::unix::process::CommandExt;
        let (stdout, stderr) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.err")));
        stop_if_ended();
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
        let process = Process { child, stdout, stderr };
        if let Some(pids) = live().as_mut() {
            pids.push(process.pid());
        }
        stop_if_ended();
        process
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its status, or `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || !self.is_running());
        self.child.try_wait().unwrap()
    }

    /// What it left behind; it must end within `limit`.
    pub fn ended(mut self, limit: Duration) -> Ended {
        let status = self.wait(limit);
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let status = status.unwrap_or_else(|| panic!("it still runs after {limit:?}; it said:\n{stdout}{stderr}"));
        Ended { code: status.code(), stdout, stderr }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// The newest link to control that it has printed.
    pub fn control_link(&self) -> Option<String> {
        let said = self.stdout();
        let is_link = |word: &&str| word.starts_with("http://") && word.contains("/control?token=");
        said.split([' ', '\n', '"']).rfind(is_link).map(str::to_owned)
    }

    /// What it has complained so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// What the kernel says that it holds.
    pub fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Usage {
            resident_kib: field("VmRSS:"),
            peak_kib: field("VmHWM:"),
            cpu: cpu_time(&fs::read_to_string(proc.join("stat")).unwrap()),
            threads: field("Threads:") as usize,
            descriptors: fs::read_dir(proc.join("fd")).unwrap().count(),
        }
    }

    /// The most memory it ever held, in KiB; nothing once it has ended.
    pub fn peak_kib(&self) -> Option<u64> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        // It is started with our memory, and for a moment still has it when we go on: until it is another program.
        if fs::read_link(process.join("exe")).ok()? == env::current_exe().ok()? {
            return None;
        }
        let status = fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Its id, which is its group's as well.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// User and system time from a line of `/proc/PID/stat`: fields 14 and 15, in ticks of 10 ms on every Linux there is.
fn cpu_time(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid();
        if let Some(pids) = live().as_mut() {
            pids.retain(|live| *live != pid);
        }
        // A group whose leader has been waited for is gone or somebody else's: only what still runs is killed.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
