//! How much the kernel may hold unsent: enough that the link is busy while the writer reads the next run, and little
//! enough that a control message does not wait long behind blocks. Both are times, so the bytes follow the rate.

use std::{
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

/// What the backlog should last at the rate seen: the longest that a writer on a busy machine is likely to sleep, and
/// the longest that a control message waits.
const LASTS: Duration = Duration::from_millis(10);

/// Bytes unsent before a rate was seen: 10 ms on 100 Mbit/s.
pub const FIRST: u32 = 128 * 1024;

/// Bytes unsent at the least, a block: with sixteen sessions at one uplink, what each holds unsent adds up.
const LEAST: u32 = 16 * 1024;

/// Bytes unsent at the most.
const MOST: u32 = 1024 * 1024;

/// The least time over which a rate is taken.
const PERIOD: Duration = Duration::from_millis(100);

/// The backlog of one session.
#[derive(Debug)]
pub struct Backlog {
    bytes: u32,
    sent: u64,
    since: Instant,
}

impl Backlog {
    /// No rate has been seen.
    pub fn new(now: Instant) -> Backlog {
        Backlog { bytes: FIRST, sent: 0, since: now }
    }

    /// Counts bytes that were sent; says how many may be unsent from now on, when that changes.
    pub fn sent(&mut self, bytes: u64, now: Instant) -> Option<u32> {
        self.sent += bytes;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < PERIOD {
            return None;
        }
        let wanted = self.sent as f64 / elapsed.as_secs_f64() * LASTS.as_secs_f64();
        (self.sent, self.since) = (0, now);
        // In powers of two: a rate that wavers costs no system calls.
        let wanted = (wanted as u32).clamp(LEAST, MOST).next_power_of_two();
        (wanted != self.bytes).then(|| {
            self.bytes = wanted;
            wanted
        })
    }
}

/// Has the kernel hold no more than that unsent. Elsewhere than on Linux its own buffer is the limit.
pub fn limit(socket: &TcpStream, bytes: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(socket).set_tcp_notsent_lowat(bytes)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_rate_within_its_limits() {
        let mut now = Instant::now();
        let mut backlog = Backlog::new(now);
        let mut after = |bytes| {
            now += PERIOD;
            backlog.sent(bytes, now)
        };
        assert_eq!(after(1_000_000), None);
        assert_eq!(after(100_000_000), Some(MOST));
        assert_eq!(after(90_000_000), None);
        assert_eq!(after(2_000_000), Some(256 * 1024));
        assert_eq!(after(0), Some(LEAST));
    }
}
