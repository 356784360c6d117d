//! The promises of the project's design (section 2, "Promises"), and nothing that was ever measured.

use crate::swarm::Shape;
use crate::table::{Limit, Limit::AtLeast, Limit::AtMost};

/// The size of the file of a pair, of the one that a metainfo is made of, and of an upload, in MiB.
pub const MEBIBYTES: u64 = 1024;

/// One seeder, one fetcher: wall time ÷ (`openssl sha1` + `cp` of the file).
pub const WALL_OVER_FLOOR: Limit = AtMost(1.25);
/// The same ÷ that of the best real client.
pub const WALL_OVER_BEST: Limit = AtMost(0.5);
/// CPU seconds to fetch a GiB.
pub const FETCH_CPU: Limit = AtMost(1.5);
/// CPU seconds to seed a GiB.
pub const SEED_CPU: Limit = AtMost(0.6);
/// Memory of a fetch over one connection, in MiB.
pub const FETCH_MEMORY: Limit = AtMost(16.0);
/// Memory of a seeder with one connection, in MiB.
pub const SEED_MEMORY: Limit = AtMost(8.0);

/// What is promised of one swarm.
pub struct SwarmPromise {
    pub shape: Shape,
    /// Bound ÷ last finish.
    pub efficiency: Limit,
    /// How many times the source sends the file.
    pub copies: Option<Limit>,
}

/// The swarms, each host on a link of its own.
pub const SWARMS: [SwarmPromise; 5] = [
    SwarmPromise { shape: Shape::equal(8, 100, 64), efficiency: AtLeast(0.85), copies: Some(AtMost(1.15)) },
    SwarmPromise { shape: Shape::equal(8, 200, 256), efficiency: AtLeast(0.9), copies: None },
    SwarmPromise { shape: Shape::equal(2, 100, 64), efficiency: AtLeast(0.85), copies: None },
    SwarmPromise { shape: Shape::equal(16, 50, 64), efficiency: AtLeast(0.85), copies: None },
    SwarmPromise {
        shape: Shape { hosts: 8, mbit: 100, mebibytes: 32, source_mbit: 20 },
        efficiency: AtLeast(0.85),
        copies: Some(AtMost(1.1)),
    },
];

/// Making a metainfo: wall time ÷ that of `mktorrent -t 2`.
pub const CREATE_OVER_MKTORRENT: Limit = AtMost(1.0);

/// A file that comes to the page by `curl -T`: wall time ÷ that of the same to dufs.
pub const UPLOAD_OVER_DUFS: Limit = AtMost(1.5);
/// Memory of the tracker meanwhile, in MiB.
pub const UPLOAD_MEMORY: Limit = AtMost(32.0);

/// Announces a second over HTTP on one core, a connection each ÷ what bare tiny_http answers.
pub const ANNOUNCES_OVER_TINY_HTTP: Limit = AtLeast(0.75);

/// Answers over UDP for each second of CPU ÷ those of aquatic_udp, and of opentracker.
pub const UDP_OVER_AQUATIC: Limit = AtLeast(0.9);
pub const UDP_OVER_OPENTRACKER: Limit = AtLeast(1.0);

/// The stripped binary, in MiB.
pub const BINARY: Limit = AtMost(3.0);
/// The same without TLS.
pub const BINARY_WITHOUT_TLS: Limit = AtMost(1.8);
/// From its start to its end when it has nothing to do, in ms.
pub const START: Limit = AtMost(10.0);

/// The promises that are not measured here, and why.
pub const NOT_MEASURED: [&str; 2] = [
    "after kill -9: not a measurement; `cargo test kill9` holds it",
    "after a power cut: not measured: it takes a machine that loses power",
];
