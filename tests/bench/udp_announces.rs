//! Answers a second over UDP: a tracker on one core, aquatic's load test on the others, against ours, aquatic_udp at its defaults
//! (mio, one socket worker) and opentracker.
//!
//! The load is aquatic's own mix: connects and announces for 30 peers, one of each, and a scrape now and then. It comes from one
//! address and has so many swarms and peers that each tracker lists them all.
//!
//! The rate is the tracker's own only when the load could fill its core, which a load on one core cannot. So the promise is held against the
//! answers for each second of the tracker's CPU; the rates are a hint.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use minitorrent::announce::udp;

use crate::create::pin;
use crate::house::clients::tools_folder;
use crate::house::lab::Host;
use crate::house::process::{Process, free_port};
use crate::house::trackers::Tracker;
use crate::house::{say, wait_until};
use crate::meter::Meter;
use crate::options::Options;
use crate::promises;
use crate::table::{Figure, Line, OURS};
use crate::workplace::Workplace;

/// Where the tracker runs. The load has all the others.
const TRACKER_CORE: &str = "0";

const AQUATIC: &str = "aquatic_udp";
const OPENTRACKER: &str = "opentracker";

/// Swarms and peers of the load: half of the swarms, and nearly all of the peers, that our tracker lists of one address.
const SWARMS: usize = 10_000;
const PEERS: usize = 90_000;

/// The load test reports in steps of so many seconds.
const STEP: u64 = 5;

/// The part of the answers that may be errors: a peer in 65,536 announces port 0.
const ERRORS: f64 = 0.001;

const START_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Contender {
    Tracker(Tracker),
    Aquatic,
}

/// What a tracker did under load.
#[derive(Debug)]
struct Work {
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
    if !aquatic("aquatic_udp_load_test").exists() {
        return Err("aquatic_udp_load_test, which makes the load, is not installed; tests/setup.sh builds it".into());
    }
    let mut contenders = vec![(Contender::Tracker(Tracker::Ours), OURS)];
    match aquatic(AQUATIC).exists() {
        true => contenders.push((Contender::Aquatic, AQUATIC)),
        false => notes.push("UDP: aquatic_udp is not installed; tests/setup.sh builds it".into()),
    }
    match Tracker::Opentracker.available() {
        Ok(()) => contenders.push((Contender::Tracker(Tracker::Opentracker), OPENTRACKER)),
        Err(reason) => notes.push(format!("UDP: {reason}")),
    }
    let mut works: Vec<(&str, Vec<Work>)> = contenders.iter().map(|(_, who)| (*who, Vec::new())).collect();
    for _ in 0..options.runs {
        for ((contender, who), (_, works)) in contenders.iter().zip(&mut works) {
            match contender.work(cores - 1, options.seconds.div_ceil(STEP) * STEP, place) {
                Ok(work) => {
                    let (rate, cost) = (work.answers / work.seconds, work.answers / work.cpu);
                    say(&format!("UDP: {who}: {rate:.0} a second, {cost:.0} for each second of its CPU"));
                    works.push(work);
                }
                Err(reason) => notes.push(format!("UDP: {who}: failed: {reason}")),
            }
        }
    }
    let line = |what: &str, value: fn(&Work) -> f64| {
        let figure = |(who, works): &(&str, Vec<Work>)| Figure::new(*who, works.iter().map(value).collect());
        Line::new(what, works.iter().map(figure).collect())
    };
    let rate = line("answers over UDP, one core: a second", |work| work.answers / work.seconds);
    let cost = line("answers over UDP for each second of the tracker's CPU", |work| work.answers / work.cpu);
    let over = |who: &str, limit| {
        let what = format!("answers over UDP a CPU second ÷ those of {who}");
        cost.median(who).map(|base| cost.over(base, what).only_ours().promised(limit, true))
    };
    let ratios = [over(AQUATIC, promises::UDP_OVER_AQUATIC), over(OPENTRACKER, promises::UDP_OVER_OPENTRACKER)];
    Ok(ratios.into_iter().flatten().chain([rate, cost]).collect())
}

impl Contender {
    /// Starts it, loads it for some seconds, and counts what it answers.
    fn work(self, load_cores: usize, seconds: u64, place: &Workplace) -> Result<Work, String> {
        let work = tempfile::tempdir_in(place.path()).unwrap();
        let (work, port) = (work.path(), free_port());
        crate::house::folder_for_all(work);
        let command = match self {
            Contender::Tracker(tracker) => tracker.command(&Host::here(), port, &info_hashes(), &work.join("tracker")),
            Contender::Aquatic => {
                let config = work.join("aquatic.toml");
                fs::write(&config, format!("[network]\naddress = \"127.0.0.1:{port}\"\n")).unwrap();
                let mut command = Command::new(aquatic(AQUATIC));
                command.arg("-c").arg(config);
                command
            }
        };
        let mut tracker = Process::start(pin(TRACKER_CORE, &command), work, "tracker");
        if !wait_until(START_LIMIT, || answers(port)) || !tracker.is_running() {
            return Err(format!("it does not answer; it said: {}", tracker.stderr().trim()));
        }
        let mut meter = Meter::of(&tracker);
        let before = meter.cpu;
        let work = load(port, load_cores, seconds, work)?;
        meter.look();
        Ok(Work { cpu: meter.cpu - before, ..work })
    }
}

/// Whether a connect is answered.
fn answers(port: u16) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let asked = socket.connect((Ipv4Addr::LOCALHOST, port)).and_then(|()| socket.send(&udp::connect_request(7)));
    asked.is_ok() && socket.recv(&mut [0; 16]).is_ok_and(|length| length == 16)
}

/// Lets the load test run, and reads its report.
fn load(port: u16, cores: usize, seconds: u64, work: &Path) -> Result<Work, String> {
    let config = work.join("load.toml");
    let told = format!(
        "server_address = \"127.0.0.1:{port}\"\nworkers = {cores}\nduration = {seconds}\nextra_statistics = false\n\
         [network]\nmultiple_client_ipv4s = false\n\
         [requests]\nnumber_of_torrents = {SWARMS}\nnumber_of_peers = {PEERS}\n"
    );
    fs::write(&config, told).unwrap();
    let mut command = Command::new(aquatic("aquatic_udp_load_test"));
    command.arg("-c").arg(config);
    let output = pin(&format!("1-{cores}"), &command).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text.rsplit_once("# aquatic load test report").map_or("", |(_, report)| report);
    let figure = |name: &str| {
        let rest = report.split_once(name)?.1.trim_start();
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let figures = ["Test ran for", "responses per second:", "Announce responses:", "Error responses:"].map(figure);
    let [Some(seconds), Some(all), Some(announces), Some(errors)] = figures else {
        return Err(format!("the load test said: {}", String::from_utf8_lossy(&output.stderr).trim()));
    };
    if errors > ERRORS * all || announces < 0.4 * all {
        return Err(format!("of {all} answers a second {announces} were to announces and {errors} errors"));
    }
    Ok(Work { answers: all * seconds, seconds, cpu: 0.0 })
}

/// One of aquatic's programs.
fn aquatic(program: &str) -> PathBuf {
    tools_folder().join("bin").join(program)
}

/// The info hashes that the load test announces, in hexadecimal digits: opentracker answers only for those that it is told. They come
/// from xoshiro256++ (Blackman and Vigna), a byte of each number, whose seed in turn comes from a PCG32.
fn info_hashes() -> Vec<String> {
    let mut seed: u64 = 0xc3aa_8be6_17b3_acce;
    let mut half = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11_634_580_027_462_260_723);
        u64::from(((((seed >> 18) ^ seed) >> 27) as u32).rotate_right((seed >> 59) as u32))
    };
    let mut state: [u64; 4] = std::array::from_fn(|_| half() | half() << 32);
    let mut byte = || {
        let number = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        (number >> 32) as u8
    };
    let mut hash = || {
        (0..20).fold(String::new(), |mut hash, _| {
            let _ = write!(hash, "{:02x}", byte());
            hash
        })
    };
    (0..SWARMS).map(|_| hash()).collect()
}
