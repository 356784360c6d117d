//! An honest client that announces now and then, and how long its answers took.

use std::fmt;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::room::connect_from;

/// Between two announces.
const PAUSE: Duration = Duration::from_millis(10);

/// How long one try may take. One that fails is tried again, and the time goes on counting.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// Announces until it is told to stop.
pub struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Latencies>,
}

/// How long each answer took, from the first try to its last byte.
#[derive(Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
    /// Tries that had to be made again.
    pub tries_lost: usize,
}

impl Honest {
    pub fn start(port: u16) -> Honest {
        let stop = Arc::<AtomicBool>::default();
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let mut latencies = Latencies::default();
            while !stopping.load(Ordering::Relaxed) {
                let start = Instant::now();
                while announce(port).is_none() && start.elapsed() < TRY_LIMIT {
                    latencies.tries_lost += 1;
                }
                latencies.sorted.push(start.elapsed());
                thread::sleep(PAUSE);
            }
            latencies.sorted.sort();
            latencies
        });
        Honest { stop, thread }
    }

    pub fn stop(self) -> Latencies {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Latencies {
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    pub fn max(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.sorted.get(self.sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let [p50, p99, max] = [self.percentile(50), self.percentile(99), self.max()].map(milliseconds);
        write!(f, "{p50:6.1} {p99:6.1} {max:6.1} ms of {:4}", self.count())
    }
}

/// One announce over a connection of its own; nothing when it was not answered.
fn announce(port: u16) -> Option<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, port).ok()?;
    stream.set_read_timeout(Some(TRY_LIMIT)).unwrap();
    let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-HO0001-bbbbbbbbbbbb&port=6881&left=1&compact=1";
    let request = format!("GET /announce?{query} HTTP/1.1\r\nHost: tracker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    answer[body..].starts_with(b"d8:complete").then_some(())
}
