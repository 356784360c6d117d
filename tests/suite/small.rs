//! The main job on small machines: tracker, seeder and fetch each have 64 MiB of memory, its page cache among it, and a tenth of a core,
//! without swap. A program that wants more is ended by the kernel.
//!
//! The short form moves 128 MiB and 2000 small files. `SMALL=full` moves 1 GiB and 20,000, which `make small` does with the release
//! binary (`SMALL_PROGRAM`). Not shown here: a slow disk, and a processor without instructions for SHA-1.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::house::{
    content::Content,
    folder,
    lab::{Host, Lab},
    process::{MINITORRENT, Process},
    say, skip, wait_until,
};

/// What each machine has, in bytes.
const MEMORY: u64 = 64 << 20;

/// Microseconds of processor time in each period: a tenth of a core.
const QUOTA: u64 = 10_000;
const PERIOD: u64 = 100_000;

/// Bytes of each small file.
const SMALL_FILE: u64 = 4096;

/// Peers that announce all the while.
const PEERS: usize = 200;

/// Until a program answers, on such a machine.
const START: Duration = Duration::from_secs(120);

/// Control groups of one program, which hold it to that; gone when dropped.
struct SmallMachine {
    /// One with the unified hierarchy (version 2), else one for memory and one for the processor (version 1).
    groups: Vec<PathBuf>,
}

/// What a program took of its machine.
#[derive(Debug)]
struct Taken {
    /// The most memory at any time, in MiB.
    peak: f64,
    /// Processor time.
    cpu: Duration,
}

impl SmallMachine {
    /// A machine of that name, or why there can be none here.
    fn new(name: &str) -> Result<SmallMachine, String> {
        let top = Path::new("/sys/fs/cgroup");
        let name = format!("minitorrent-test-{}-{name}", process::id());
        let unified = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
        let wanted: &[(&str, &[(&str, u64)])] = if unified.contains("memory") && unified.contains("cpu") {
            let _ = fs::write(top.join("cgroup.subtree_control"), "+memory +cpu");
            &[("", &[("memory.swap.max", 0), ("memory.max", MEMORY)])]
        } else {
            &[
                ("memory", &[("memory.limit_in_bytes", MEMORY), ("memory.swappiness", 0)]),
                ("cpu", &[("cpu.cfs_period_us", PERIOD), ("cpu.cfs_quota_us", QUOTA)]),
                ("cpuacct", &[]),
            ]
        };
        let mut machine = SmallMachine { groups: Vec::new() };
        for (controller, limits) in wanted {
            let group = top.join(controller).join(&name);
            let failed = |error: std::io::Error| format!("{}: {error}", group.display());
            fs::create_dir(&group).map_err(failed)?;
            machine.groups.push(group.clone());
            for (file, limit) in *limits {
                // Where there is no swap, there is no file to forbid it either.
                let written = fs::write(group.join(file), limit.to_string());
                if !file.contains("swap") {
                    written.map_err(failed)?;
                }
            }
            if controller.is_empty() {
                fs::write(group.join("cpu.max"), format!("{QUOTA} {PERIOD}")).map_err(failed)?;
            }
        }
        Ok(machine)
    }

    /// The same command, on this machine.
    fn run(&self, command: &Command) -> Command {
        let enter: String =
            self.groups.iter().map(|group| format!("echo $$ >{}/cgroup.procs; ", group.display())).collect();
        let mut enclosed = Command::new("sh");
        enclosed
            .args(["-ec", &format!("{enter} exec \"$@\""), "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        enclosed
    }

    fn taken(&self) -> Taken {
        let read = |file: &str| self.groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok());
        let number = |text: String| text.trim().parse::<u64>().ok();
        let peak = read("memory.peak").or_else(|| read("memory.max_usage_in_bytes")).and_then(number).unwrap_or(0);
        let unified = read("cpu.stat").and_then(|text| {
            number(text.lines().find_map(|line| line.strip_prefix("usage_usec ").map(str::to_owned))?)
        });
        let nanoseconds =
            unified.map(|micros| micros * 1000).or_else(|| read("cpuacct.usage").and_then(number)).unwrap_or(0);
        Taken { peak: peak as f64 / 1_048_576.0, cpu: Duration::from_nanos(nanoseconds) }
    }
}

impl Drop for SmallMachine {
    fn drop(&mut self) {
        // Empty once its program has been waited for; the kernel may take a moment.
        for group in &self.groups {
            wait_until(Duration::from_secs(10), || fs::remove_dir(group).is_ok());
        }
    }
}

/// A program on a small machine of its own, in the network of a host.
struct Running {
    process: Option<Process>,
    machine: SmallMachine,
}

impl Running {
    fn start(host: &Host, work: &Path, name: &str, arguments: &[&str]) -> Running {
        let program = env::var("SMALL_PROGRAM").unwrap_or_else(|_| MINITORRENT.to_owned());
        let machine = SmallMachine::new(name).unwrap();
        let mut command = host.command(program);
        command.args(arguments);
        Running { process: Some(Process::start(machine.run(&command), work, name)), machine }
    }

    fn stderr(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Whether it still runs.
    fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Waits for its end, which must be a good one, and tells what it took.
    fn ended(mut self, limit: Duration) -> Taken {
        let ended = self.process.take().expect("it was started").ended(limit);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        self.machine.taken()
    }

    /// The same after a Ctrl-C.
    fn stopped(self) -> Taken {
        self.process.as_ref().expect("it was started").signal(Signal::INT);
        self.ended(START)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.take();
    }
}

#[test]
fn a_machine_of_64_mib_and_a_tenth_of_a_core_does_the_main_job() {
    let test = "the main job on small machines";
    let Some(lab) = Lab::or_skip(test, 3) else { return };
    if let Err(reason) = SmallMachine::new("probe") {
        return skip(test, &format!("no control groups: {reason}"));
    }
    let is_full = env::var("SMALL").is_ok_and(|form| form == "full");
    let (mebibytes, count, limit) = if is_full { (1024, 20_000, 1800) } else { (128, 2000, 300) };
    let limit = Duration::from_secs(limit);
    let work = folder();
    let file = Content::file(&work.path().join("source"), "image.bin", mebibytes << 20);
    let paths = (0..count).map(|number| (PathBuf::from(format!("many/{}/{number}", number % 100)), SMALL_FILE));
    let many = Content::written(&work.path().join("source"), "many", paths.collect());

    // A tracker that 200 peers announce to, and that gets the file as an upload.
    let data = work.path().join("data");
    let tracker = Running::start(
        lab.host(0),
        work.path(),
        "tracker",
        &["tracker", "--port", "5000", "--data", data.to_str().unwrap()],
    );
    let url = format!("http://{}:5000", lab.host(0).address);
    let answers = || lab.host(1).run(&format!("curl -sf -m 5 -o /dev/null {url}/healthz")).is_ok();
    assert!(wait_until(START, answers), "the tracker does not answer: {}", tracker.stderr());
    let announces = work.path().join("announces");
    fs::write(&announces, (0..PEERS).map(|peer| announce(&url, peer)).collect::<String>()).unwrap();
    let mut slowest = Duration::ZERO;
    let mut announced = 0;
    let mut announce_all = || {
        let said = lab
            .host(2)
            .run(&format!("curl -sf -m 30 -H Connection:close -w %{{time_total}}\\n -K {}", announces.display()));
        let said = String::from_utf8(said.expect("every announce is answered")).unwrap();
        let seconds = said.lines().map(|line| line.parse::<f64>().unwrap()).fold(0.0, f64::max);
        slowest = slowest.max(Duration::from_secs_f64(seconds));
        announced += PEERS;
    };
    announce_all();
    let begun = Instant::now();
    let sent = lab.host(1).run(&format!(
        "curl -sSf -m {} -T {} {url}/",
        limit.as_secs(),
        file.root.join(&file.name).display()
    ));
    sent.unwrap();
    say(&format!("small: {mebibytes} MiB uploaded to the tracker in {:.0} s", begun.elapsed().as_secs_f64()));

    // One machine fetches it, another shares many small files, which a third fetches.
    let fetched = |name: &str, meta: &str, content: &Content, announce_all: &mut dyn FnMut()| {
        let (begun, out) = (Instant::now(), work.path().join(name));
        let arguments = ["fetch", meta, "--out", out.to_str().unwrap(), "--seed-for", "0", "--port", "6900"];
        let mut fetch = Running::start(lab.host(2), work.path(), name, &arguments);
        while fetch.is_running() {
            assert!(begun.elapsed() < limit, "{name} takes too long: {}", fetch.stderr());
            announce_all();
        }
        let took = begun.elapsed();
        tell(name, &fetch.ended(START), Some(took));
        content.compare(&out).unwrap();
    };
    fetched("fetch-of-one-file", &format!("{url}/metainfos/image.bin.json"), &file, &mut announce_all);
    let meta = work.path().join("many.json");
    let (source, announce_url) = (many.root.join("many"), format!("{url}/announce"));
    let arguments = ["seed", source.to_str().unwrap(), "--tracker", &announce_url, "--out", meta.to_str().unwrap()];
    let seeder = Running::start(lab.host(1), work.path(), "seeder", &arguments);
    assert!(wait_until(limit, || fs::metadata(&meta).is_ok_and(|file| file.len() > 0)), "{}", seeder.stderr());
    fetched("fetch-of-many-files", meta.to_str().unwrap(), &many, &mut announce_all);
    tell("seeder", &seeder.stopped(), None);
    tell("tracker", &tracker.stopped(), None);
    say(&format!(
        "small: {announced} announces of {PEERS} peers answered meanwhile, the slowest in {:.2} s",
        slowest.as_secs_f64()
    ));
}

/// What curl is told of one announce of one peer.
fn announce(url: &str, peer: usize) -> String {
    let port = 2000 + peer;
    format!(
        "url = \"{url}/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-SM0001-{peer:012}&port={port}&uploaded=0&downloaded=0&left=1&compact=1\"\n\
         output = \"/dev/null\"\n"
    )
}

fn tell(name: &str, taken: &Taken, took: Option<Duration>) {
    let wall = took.map_or(String::new(), |took| format!(" in {:.1} s", took.as_secs_f64()));
    say(&format!(
        "small: {name}: {:.1} MiB at most, page cache included; {:.2} s of processor time{wall}",
        taken.peak,
        taken.cpu.as_secs_f64()
    ));
}
