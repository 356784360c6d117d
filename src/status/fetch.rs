//! How a fetch is going, in plain values: what the terminal and the page show.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    bitfield::Bitfield, metainfo::Geometry, policy::coordinator::Coordinator, session::SharedTorrent,
    status::TrafficMeter,
};

/// A fetch at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FetchReport {
    /// Bytes of the torrent.
    pub length: u64,
    /// Bytes of it that are verified.
    pub verified: u64,
    /// Bytes of blocks downloaded from peers by this run, those in vain among them.
    pub downloaded: u64,
    /// Bytes of those that were in vain.
    pub wasted: u64,
    /// Bytes of blocks uploaded to peers by this run.
    pub uploaded: u64,
    /// Bytes a second downloaded, over the last seconds.
    pub down_rate: f64,
    /// Bytes a second uploaded.
    pub up_rate: f64,
    /// Peers connected.
    pub peers: usize,
    /// Of those, how many have everything.
    pub seeds: usize,
    /// How many peers sent wrong pieces and are not dealt with any more.
    pub banned: usize,
    /// Whether some connected peer is still fetching.
    pub needed: bool,
    /// Whether such a peer would miss a piece that only we have, if we left now.
    pub last_holder: bool,
    /// Pieces that are missing here and that no connected peer has.
    pub unavailable: u32,
    /// Why the tracker has no answer, while it has none.
    pub tracker_trouble: Option<String>,
    /// Whether it was complete and is not served any more, because its files were changed.
    pub is_withdrawn: bool,
}

impl FetchReport {
    /// Before anything has happened.
    pub fn new(geometry: &Geometry, have: &Bitfield) -> FetchReport {
        let verified = have.iter().filter_map(|index| geometry.piece(index));
        let verified = verified.map(|piece| u64::from(geometry.length_of(piece))).sum();
        FetchReport { length: geometry.length(), verified, ..FetchReport::default() }
    }

    /// Time until all is here at the rate of now; `None` while nothing comes.
    pub fn time_left(&self) -> Option<Duration> {
        let left = (self.length - self.verified) as f64;
        (self.down_rate >= 1.0).then(|| Duration::from_secs_f64(left / self.down_rate))
    }
}

/// Makes reports, and remembers what rates are made of.
#[derive(Debug)]
pub struct FetchMeter {
    meter: TrafficMeter,
    /// Why the tracker has no answer.
    pub tracker_trouble: Option<String>,
}

impl FetchMeter {
    /// What has passed until now counts for no rate.
    pub fn new(share: &SharedTorrent, now: Instant) -> FetchMeter {
        FetchMeter { meter: TrafficMeter::new(&share.traffic, now), tracker_trouble: None }
    }

    /// The report of now.
    pub fn report(&mut self, coordinator: &Coordinator, share: &SharedTorrent, now: Instant) -> FetchReport {
        let down = share.traffic.downloaded.load(Ordering::Relaxed);
        let up = share.traffic.uploaded.load(Ordering::Relaxed);
        self.meter.look(&share.traffic, now);
        let (down_rate, up_rate) = self.meter.rates();
        let picker = coordinator.picker();
        FetchReport {
            length: share.geometry().length(),
            verified: share.geometry().length() - picker.remaining(),
            downloaded: down,
            wasted: share.traffic.wasted.load(Ordering::Relaxed),
            uploaded: up,
            down_rate,
            up_rate,
            peers: coordinator.roster().connected(),
            seeds: coordinator.seeds(),
            banned: coordinator.roster().banned(),
            needed: coordinator.is_needed(),
            last_holder: coordinator.is_complete() && coordinator.is_last_holder(),
            unavailable: picker.unavailable(),
            tracker_trouble: self.tracker_trouble.clone(),
            is_withdrawn: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_what_is_left_and_the_rate() {
        let report = FetchReport { length: 1000, verified: 400, down_rate: 100.0, ..FetchReport::default() };
        assert_eq!(report.time_left(), Some(Duration::from_secs(6)));
        assert_eq!(FetchReport { down_rate: 0.0, ..report }.time_left(), None);
    }
}
