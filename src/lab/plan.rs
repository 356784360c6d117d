//! What a run of the lab is given.

use std::{fmt, time::Duration};

use crate::{policy::picker::PieceOrder, session::outgoing::turns::TurnRules};

/// Bytes on an Ethernet link for each byte of a TCP stream: frames of 1,514 bytes carry 1,448.
pub(super) const FRAMING: f64 = 1514.0 / 1448.0;

/// Bytes of acknowledgements that go back for each byte on the link: a frame of 66 bytes for every two that come.
pub(super) const ACKNOWLEDGING: f64 = 66.0 / (2.0 * 1514.0);

/// A room: a source, and hosts that fetch what it has.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Hosts that fetch; the source is one more.
    pub hosts: usize,
    /// The links of the hosts, in bits a second, each way; taken in turn, so that two make every second host slow.
    pub links: Vec<f64>,
    /// The link of the source, in bits a second.
    pub source: f64,
    /// The length of the file, in bytes.
    pub length: u64,
    /// The length of a piece, in bytes.
    pub piece_length: u64,
    /// The rate of the air in bits a second where all hosts are in one Wi-Fi cell, and the source on a cable. What one host sends to another
    /// passes the air twice.
    pub air: Option<f64>,
    /// The time that a packet takes from one host to another.
    pub latency: Duration,
    /// The time between the starts of two hosts.
    pub arrive: Duration,
    /// The part of the hosts that leave once half of the fastest time that is possible has passed, between 0 and 1.
    pub leave: f64,
    /// How many of the hosts upload nothing.
    pub free_riders: usize,
    /// Peers that a host has at most.
    pub max_peers: usize,
    /// In which order hosts fetch pieces.
    pub picker: PieceOrder,
    /// In which order the source shows its pieces.
    pub source_order: SourceOrder,
    /// How long a host stays once it has everything.
    pub stay: Stay,
    /// How uploads take turns at an uplink.
    pub turns: TurnRules,
    /// Where chance begins.
    pub seed: u64,
}

/// In which order a source shows its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOrder {
    /// Each piece to one peer at first (super-seeding).
    Super,
    /// All of them to everybody, as a plain seeder does.
    Plain,
}

/// How long a host stays that has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until nobody needs it.
    WhileNeeded,
    /// Two seconds at most, while it has what nobody else has.
    HandOn,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            hosts: 30,
            links: vec![20e6],
            source: 20e6,
            length: 64 << 20,
            piece_length: 256 << 10,
            air: None,
            latency: Duration::from_micros(200),
            arrive: Duration::ZERO,
            leave: 0.0,
            free_riders: 0,
            max_peers: 60,
            picker: PieceOrder::Rarest,
            source_order: SourceOrder::Super,
            stay: Stay::WhileNeeded,
            turns: TurnRules::default(),
            seed: 1,
        }
    }
}

impl Plan {
    /// The link of a host in bits a second; host 0 is the source.
    pub(super) fn link(&self, host: usize) -> f64 {
        match host.checked_sub(1) {
            None => self.source,
            Some(number) => self.links[number % self.links.len()],
        }
    }

    /// The least time in which everybody can have the file, in seconds (Kumar and Ross, 2006): the source's uplink, the slowest downlink,
    /// and all uplinks together each take so long.
    pub fn bound(&self) -> f64 {
        let bits = self.length as f64 * 8.0;
        let rates = (1..=self.hosts).map(|host| self.link(host));
        let slowest = rates.clone().fold(f64::INFINITY, f64::min);
        let together = self.source + rates.sum::<f64>();
        (bits / self.source).max(bits / slowest).max(self.hosts as f64 * bits / together)
    }

    /// The efficiency that the best schedule of whole pieces has over TCP.
    pub fn ceiling(&self) -> f64 {
        let pieces = self.length.div_ceil(self.piece_length) as f64;
        0.95 * pieces / (pieces + (self.hosts as f64).log2().floor())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabits = |rate: &f64| format!("{}", rate / 1e6);
        let links = self.links.iter().map(megabits).collect::<Vec<_>>().join(" and ");
        let pieces = self.length.div_ceil(self.piece_length);
        let size = self.length as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} hosts at {links} Mbit/s, a source at {} Mbit/s, {size:.0} MiB in {pieces} pieces",
            self.hosts,
            self.source / 1e6
        )
    }
}
