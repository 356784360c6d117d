//! What a resident holds over time, and whether that grows.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::house::process::Usage;

/// From the start of a life until caches and the allocator's arenas have been filled.
const WARM_UP: f64 = 120.0;

/// Below this many seconds of looks, a slope is chance.
const ENOUGH: f64 = 900.0;

/// What may come of an hour at most: less than a connection's worth of memory, and fewer threads and descriptors than
/// come and go with the visitors.
const MAX_GROWTH: [f64; 3] = [4096.0, 8.0, 8.0];

/// What a resident may hold at any time: KiB of memory, threads, descriptors. With 40 visitors each connection has two
/// threads and a descriptor.
const MAX_HELD: [f64; 3] = [64.0 * 1024.0, 200.0, 250.0];

const NAMES: [&str; 3] = ["memory, KiB", "threads", "descriptors"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Resident {
    Tracker,
    Seeder,
}

impl Resident {
    pub const ALL: [Resident; 2] = [Resident::Tracker, Resident::Seeder];
}

/// One look.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Vitals {
    /// Seconds since the start of the run.
    pub at: f64,
    pub who: Resident,
    /// Which process it was: a tracker that is started again begins anew.
    pub life: u32,
    /// KiB of memory, threads, descriptors.
    pub held: [f64; 3],
}

impl Vitals {
    pub fn new(at: Duration, who: Resident, life: u32, usage: &Usage) -> Vitals {
        let held = [usage.resident_kib as f64, usage.threads as f64, usage.descriptors as f64];
        Vitals { at: at.as_secs_f64(), who, life, held }
    }
}

/// One of the three, of one resident, over the run.
#[derive(Debug, Clone, Serialize)]
pub struct Growth {
    pub who: Resident,
    pub what: &'static str,
    pub mean: f64,
    pub most: f64,
    /// By least squares within each life, after its warm-up; none where there was too little to see.
    pub an_hour: Option<f64>,
    pub limit_an_hour: f64,
    pub limit: f64,
}

/// What became of each of the three, of each resident.
pub fn growth(vitals: &[Vitals], time: Duration) -> Vec<Growth> {
    let mut all = Vec::new();
    for who in Resident::ALL {
        for (index, what) in NAMES.into_iter().enumerate() {
            let looks: Vec<(u32, f64, f64)> = vitals
                .iter()
                .filter(|look| look.who == who)
                .map(|look| (look.life, look.at, look.held[index]))
                .collect();
            let mean = looks.iter().map(|look| look.2).sum::<f64>() / looks.len() as f64;
            let most = looks.iter().map(|look| look.2).fold(0.0, f64::max);
            let an_hour = if time.as_secs_f64() < ENOUGH { None } else { slope(&looks).map(|slope| slope * 3600.0) };
            let (limit_an_hour, limit) = (MAX_GROWTH[index], MAX_HELD[index]);
            all.push(Growth { who, what, mean, most, an_hour, limit_an_hour, limit });
        }
    }
    all
}

/// The slope that fits all lives at once, each from a height of its own.
fn slope(looks: &[(u32, f64, f64)]) -> Option<f64> {
    let (mut above, mut below) = (0.0, 0.0);
    for life in looks.chunk_by(|a, b| a.0 == b.0) {
        let begun = life[0].1;
        let warm: Vec<_> = life.iter().filter(|look| look.1 - begun >= WARM_UP).collect();
        let mean = |of: fn(&(u32, f64, f64)) -> f64| warm.iter().map(|look| of(look)).sum::<f64>() / warm.len() as f64;
        let (at, held) = (mean(|look| look.1), mean(|look| look.2));
        above += warm.iter().map(|look| (look.1 - at) * (look.2 - held)).sum::<f64>();
        below += warm.iter().map(|look| (look.1 - at).powi(2)).sum::<f64>();
    }
    (below > 0.0).then(|| above / below)
}

impl Growth {
    /// A sentence when it is more than it may be.
    pub fn judge(&self) -> Result<(), String> {
        let Growth { who, what, most, limit, limit_an_hour, .. } = self;
        match self.an_hour {
            _ if most > limit => Err(format!("the {who}'s {what}: {most} at the most; the limit is {limit}")),
            Some(grown) if grown > *limit_an_hour => {
                Err(format!("the {who}'s {what} grow by {grown:.1} an hour; the limit is {limit_an_hour}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resident::Tracker => "tracker",
            Resident::Seeder => "seeder",
        })
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { who, what, mean, most, limit, limit_an_hour, .. } = self;
        write!(f, "{who:>8} {what:<12} mean {mean:>8.0}, most {most:>8.0} (limit {limit:.0}), ")?;
        match self.an_hour {
            Some(grown) => write!(f, "growth an hour {grown:+.1} (limit {limit_an_hour:.0})"),
            None => write!(f, "too short a run for a slope"),
        }
    }
}
