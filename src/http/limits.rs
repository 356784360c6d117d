//! How much the door lets in, and how long it waits.

use std::{thread, time::Duration};

use rustix::process::{Resource, getrlimit};

/// Descriptors that the door never counts on: files, listeners, the poller, and peers of a small seeder.
pub const RESERVED_DESCRIPTORS: u64 = 256;

/// The most connections, however many descriptors there are: with 16 KiB of unfinished head each, 64 MiB.
pub const MAX_CONNECTIONS: u64 = 4096;

/// The most uploads and downloads at once. Each has a thread, an open file and a buffer of 128 KiB.
pub const MAX_TRANSFERS: usize = 64;

/// The most streams at once: one thread writes to each of them four times a second.
pub const MAX_STREAMS: usize = 1024;

/// At least so many requests are answered at once: one may read a small file while another announces.
pub const MIN_HANDLERS: usize = 2;

/// At most so many: beyond that they only wait for the swarm table's lock.
pub const MAX_HANDLERS: usize = 4;

/// Caps and deadlines of one [`Door`](super::Door). The defaults are for a process; tests shorten them.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one host (see [`quota`](crate::quota)), so that no machine shuts out the others.
    pub connections_per_host: usize,
    /// Long transfers in all.
    pub transfers: usize,
    /// Long transfers of one host.
    pub transfers_per_host: usize,
    /// Answers that go on and on, in all: half of the connections, so that the other half is left to announces.
    pub streams: usize,
    /// Those of one host.
    pub streams_per_host: usize,
    /// Threads that answer requests.
    pub handlers: usize,
    /// From a connection's begin, or the first byte of a later request, to the end of the head.
    pub head_time: Duration,
    /// How long a connection may rest between two requests.
    pub idle_time: Duration,
    /// How long a body or an answer may stand still.
    pub grace: Duration,
    /// Bytes a second that a body or an answer must move at, once the grace is used up.
    pub least_rate: u64,
}

impl DoorLimits {
    /// What fits a process that may open `descriptors` files and sockets: half of what is not reserved, because the
    /// seeder's peers need the other half.
    pub fn for_descriptors(descriptors: u64) -> DoorLimits {
        let connections = (descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2).clamp(32, MAX_CONNECTIONS) as usize;
        let transfers = (connections / 4).min(MAX_TRANSFERS);
        DoorLimits {
            connections,
            connections_per_host: connections / 4,
            transfers,
            transfers_per_host: transfers / 4,
            streams: (connections / 2).min(MAX_STREAMS),
            streams_per_host: connections / 8,
            handlers: thread::available_parallelism()
                .map_or(MIN_HANDLERS, usize::from)
                .clamp(MIN_HANDLERS, MAX_HANDLERS),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            least_rate: 8 * 1024,
        }
    }

    /// What fits this process, by its descriptor limit.
    pub fn of_this_process() -> DoorLimits {
        DoorLimits::for_descriptors(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_follow_the_descriptor_limit_and_leave_the_reserve() {
        let usual = DoorLimits::for_descriptors(1024);
        assert_eq!((usual.connections, usual.connections_per_host), (384, 96));
        assert_eq!((usual.transfers, usual.transfers_per_host), (64, 16));
        assert_eq!((usual.streams, usual.streams_per_host), (192, 48));
        let most = DoorLimits::for_descriptors(u64::MAX);
        assert_eq!((most.connections, most.streams, most.streams_per_host), (4096, 1024, 512));
        let tiny = DoorLimits::for_descriptors(64);
        assert_eq!((tiny.connections, tiny.transfers, tiny.transfers_per_host), (32, 8, 2));
    }
}
