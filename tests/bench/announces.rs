//! Announces a second over HTTP: a tracker on one core, wrk on another, a connection for each announce.
//!
//! The rate is the tracker's own only when the load could fill its core, and a load on one core cannot fill that of a fast
//! tracker. So the promise is held against the answers for each second of the tracker's CPU as well.
//!
//! Beside ours stand opentracker, and tiny_http with nothing around it: it answers everything with one and the same reply,
//! as long as a full one.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

use crate::create::pin;
use crate::house::lab::Host;
use crate::house::process::{Process, free_port};
use crate::house::trackers::Tracker;
use crate::house::{say, wait_until};
use crate::meter::Meter;
use crate::options::Options;
use crate::promises;
use crate::table::{Figure, Line, OURS};
use crate::workplace::Workplace;

/// The word that makes this binary the bare server.
pub const BARE_SERVER: &str = "bare-tiny-http";

const TINY_HTTP: &str = "bare tiny_http";

/// Where the tracker runs. The load has all the others.
const TRACKER_CORE: &str = "0";

/// The part of its core that a tracker must have used, or the rate is the load's rather than its own.
const FULL: f64 = 0.9;

/// Connections open at a time.
const CONNECTIONS: &str = "32";

/// Swarms that the announces go to in turn.
const SWARMS: u8 = 100;

/// Peers of a full answer, as many as the announces ask for, and the bytes of each (BEP 23).
const PEERS: usize = 50;
const PEER_BYTES: usize = 6;

const START_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Contender {
    Tracker(Tracker),
    TinyHttp,
}

/// What a tracker did under load.
#[derive(Debug)]
struct Work {
    /// Right answers.
    answers: f64,
    seconds: f64,
    /// CPU seconds.
    cpu: f64,
}

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err("a tracker and its load need a core each".into());
    }
    if let Err(error) = Command::new("wrk").arg("-v").output() {
        return Err(format!("wrk, which makes the load, is not installed: {error}"));
    }
    let mut contenders = vec![(Contender::Tracker(Tracker::Ours), OURS), (Contender::TinyHttp, TINY_HTTP)];
    match Tracker::Opentracker.available() {
        Ok(()) => contenders.push((Contender::Tracker(Tracker::Opentracker), "opentracker")),
        Err(reason) => notes.push(format!("announces: {reason}")),
    }
    let mut works: Vec<(&str, Vec<Work>)> = contenders.iter().map(|(_, who)| (*who, Vec::new())).collect();
    for _ in 0..options.runs {
        for ((contender, who), (_, works)) in contenders.iter().zip(&mut works) {
            match contender.work(cores - 1, options.seconds, place) {
                Ok(work) => {
                    let (rate, share) = (work.answers / work.seconds, work.cpu / work.seconds);
                    say(&format!("announces: {who}: {rate:.0} a second"));
                    if share < FULL {
                        let share = share * 100.0;
                        notes.push(format!("announces: {who}: its core was filled to {share:.0} % only"));
                    }
                    works.push(work);
                }
                Err(reason) => notes.push(format!("announces: {who}: failed: {reason}")),
            }
        }
    }
    let line = |what: &str, value: fn(&Work) -> f64| {
        let figure = |(who, works): &(&str, Vec<Work>)| Figure::new(*who, works.iter().map(value).collect());
        Line::new(what, works.iter().map(figure).collect())
    };
    let rate = line("announces over HTTP, one core, a connection each: a second", |work| work.answers / work.seconds);
    let cost = line("announces for each second of the tracker's CPU", |work| work.answers / work.cpu);
    let over = |line: &Line, what: &str| {
        let over = line.median(TINY_HTTP).map(|base| line.over(base, format!("{what} ÷ those of {TINY_HTTP}")));
        over.map(|mut line| {
            line.figures.retain(|figure| figure.who != TINY_HTTP);
            line.promised(promises::ANNOUNCES_OVER_TINY_HTTP, true)
        })
    };
    let ratios = [over(&rate, "announces"), over(&cost, "announces a CPU second")];
    Ok([rate, cost].into_iter().chain(ratios.into_iter().flatten()).collect())
}

impl Contender {
    /// Starts it, loads it for some seconds, and counts the answers that are right.
    fn work(self, load_cores: usize, seconds: u64, place: &Workplace) -> Result<Work, String> {
        let work = tempfile::tempdir_in(place.path()).unwrap();
        let (work, port) = (work.path(), free_port());
        crate::house::folder_for_all(work);
        let info_hashes: Vec<String> = (0..SWARMS).map(|number| format!("{number:02x}").repeat(20)).collect();
        let list = work.join("info-hashes");
        fs::write(&list, info_hashes.join("\n")).unwrap();
        let command = match self {
            Contender::Tracker(tracker) => tracker.command(&Host::here(), port, &info_hashes, &work.join("tracker")),
            Contender::TinyHttp => {
                let mut command = Command::new(env::current_exe().unwrap());
                command.args([BARE_SERVER, &port.to_string()]);
                command
            }
        };
        let mut tracker = Process::start(pin(TRACKER_CORE, &command), work, "tracker");
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        if !wait_until(START_LIMIT, listens) || !tracker.is_running() {
            return Err(format!("it does not listen; it said: {}", tracker.stderr().trim()));
        }
        let mut meter = Meter::of(&tracker);
        let before = meter.cpu;
        let work = load(port, load_cores, seconds, &list)?;
        meter.look();
        Ok(Work { cpu: meter.cpu - before, ..work })
    }
}

/// Lets wrk announce, and reads the line that announce.lua prints at the end.
fn load(port: u16, cores: usize, seconds: u64, info_hashes: &Path) -> Result<Work, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/announce.lua");
    let mut wrk = Command::new("wrk");
    wrk.args([
        "--threads",
        &cores.to_string(),
        "--connections",
        CONNECTIONS,
        "--duration",
        &format!("{seconds}s"),
        "--script",
    ]);
    wrk.arg(script).arg(format!("http://127.0.0.1:{port}")).arg("--").arg(info_hashes);
    let output = pin(&format!("1-{cores}"), &wrk).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers = text.lines().find_map(|line| line.strip_prefix("answers "));
    let numbers: Vec<f64> = answers.unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [good, bad, microseconds] = numbers[..] else { return Err(format!("wrk said: {}", text.trim())) };
    // A few fail where wrk stops in the middle of them; more than that, and the rate means nothing.
    if bad > good / 1000.0 {
        return Err(format!("{bad} of {} answers were wrong", good + bad));
    }
    Ok(Work { answers: good, seconds: microseconds / 1e6, cpu: 0.0 })
}

/// The bare server, until it is killed.
pub fn serve_bare(port: &str) -> ExitCode {
    let server = match tiny_http::Server::http(format!("127.0.0.1:{port}")) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let length = PEERS * PEER_BYTES;
    let head = format!("d8:completei{PEERS}e10:incompletei{PEERS}e8:intervali1800e5:peers{length}:");
    let body = [head.as_bytes(), &[b'p'; PEERS * PEER_BYTES], b"e"].concat();
    for request in server.incoming_requests() {
        // Who is gone misses nothing.
        let _ = request.respond(tiny_http::Response::from_data(body.clone()));
    }
    ExitCode::SUCCESS
}
