//! Attackers on loopback: many connections that all say one thing, and go on saying another.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::room::connect_from;

/// Threads that play the attackers.
const THREADS: usize = 2;

/// How long attackers rest after a round that moved nothing, so that they do not take the processor from whom they attack.
const REST: Duration = Duration::from_millis(2);

/// What the connections of one attack do.
#[derive(Clone, Debug)]
pub struct Attack {
    /// Connections at once; one that is closed is opened again.
    pub connections: usize,
    /// From how many addresses they come, from 127.0.0.2 on; 0 is the address of the honest.
    pub addresses: usize,
    /// What each sends first.
    pub opening: Vec<u8>,
    /// What each goes on sending, again and again.
    pub drip: Vec<u8>,
    /// How long all wait between two drips.
    pub pause: Duration,
    /// Whether answers are read.
    pub reads: bool,
}

impl Attack {
    /// Connections from four addresses that say this and then nothing, and read nothing.
    pub fn new(connections: usize, opening: impl Into<Vec<u8>>) -> Attack {
        let (opening, drip, pause) = (opening.into(), Vec::new(), Duration::ZERO);
        Attack { connections, addresses: 4, opening, drip, pause, reads: false }
    }

    /// The same, and then this with such a pause after each.
    pub fn then(self, drip: impl Into<Vec<u8>>, pause: Duration) -> Attack {
        Attack { drip: drip.into(), pause, ..self }
    }

    /// The same from so many addresses.
    pub fn from(self, addresses: usize) -> Attack {
        Attack { addresses, ..self }
    }

    /// The same, and every answer is read.
    pub fn reading(self) -> Attack {
        Attack { reads: true, ..self }
    }
}

/// Attackers at work, until dropped.
pub struct Herd {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

/// What attackers did, so that an attack that did nothing is seen.
#[derive(Default)]
struct Tally {
    opened: AtomicU64,
    sent: AtomicU64,
}

impl Herd {
    /// Lets them loose on the tracker at `port`.
    pub fn start(attack: &Attack, port: u16) -> Herd {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
        let start = |thread: usize| {
            let (attack, stop, tally) = (attack.clone(), stop.clone(), tally.clone());
            thread::spawn(move || run(&attack, port, thread, &stop, &tally))
        };
        let threads = (0..THREADS).map(start).collect();
        Herd { stop, tally, threads }
    }

    /// Connections opened, and bytes sent.
    pub fn tally(&self) -> (u64, u64) {
        (self.tally.opened.load(Ordering::Relaxed), self.tally.sent.load(Ordering::Relaxed))
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One connection of an attack.
struct Attacker {
    from: Ipv4Addr,
    stream: Option<TcpStream>,
    /// How much of the opening or the drip is sent.
    sent: usize,
    /// Whether the opening is sent, so that it drips.
    is_open: bool,
}

fn run(attack: &Attack, port: u16, thread: usize, stop: &AtomicBool, tally: &Tally) {
    let numbers = (0..attack.connections).skip(thread).step_by(THREADS);
    let address = |number: usize| match attack.addresses {
        0 => Ipv4Addr::LOCALHOST,
        many => Ipv4Addr::new(127, 0, 0, 2 + (number % many) as u8),
    };
    let attacker = |number| Attacker { from: address(number), stream: None, sent: 0, is_open: false };
    let mut attackers: Vec<Attacker> = numbers.map(attacker).collect();
    let mut scratch = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        let mut moved = false;
        for attacker in &mut attackers {
            moved |= attacker.step(attack, port, tally, &mut scratch);
        }
        if !attack.pause.is_zero() || !moved {
            thread::sleep(attack.pause.max(REST));
        }
    }
}

impl Attacker {
    /// Goes on as far as that is possible at once; tells whether anything moved.
    fn step(&mut self, attack: &Attack, port: u16, tally: &Tally, scratch: &mut [u8]) -> bool {
        let Some(stream) = &mut self.stream else { return self.open(attack, port, tally) };
        let mut moved = false;
        let saying = if self.is_open { &attack.drip } else { &attack.opening };
        if !saying.is_empty() {
            match stream.write(&saying[self.sent..]) {
                Ok(count) => {
                    moved = true;
                    self.sent += count;
                    tally.sent.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.stream = None,
            }
            if self.sent == saying.len() {
                (self.sent, self.is_open) = (0, true);
            }
        }
        let Some(stream) = &mut self.stream else { return moved };
        // Who does not read still notices that it was cut off.
        let taken = if attack.reads { stream.read(scratch) } else { stream.peek(&mut scratch[..1]) };
        match taken {
            Ok(0) => self.stream = None,
            Ok(_) => moved |= attack.reads,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.stream = None,
        }
        moved
    }

    fn open(&mut self, attack: &Attack, port: u16, tally: &Tally) -> bool {
        (self.sent, self.is_open) = (0, attack.opening.is_empty());
        let Ok(stream) = connect_from(self.from, port) else { return false };
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
        tally.opened.fetch_add(1, Ordering::Relaxed);
        true
    }
}
