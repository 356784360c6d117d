//! What came of a run.

use std::fmt;

use serde::Serialize;

/// Parts of the run for which the use of the uplinks is told.
pub(super) const PARTS: usize = 10;

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seconds from the last host's start until the last one had everything; nothing when one never had.
    pub seconds: Option<f64>,
    /// The least that is possible, in seconds.
    pub bound: f64,
    /// The bound divided by the time.
    pub efficiency: f64,
    /// The efficiency that the best schedule has.
    pub ceiling: f64,
    /// How often the source sent the file.
    pub copies: f64,
    /// Bytes that were sent in vain, as a part of all that was needed.
    pub wasted: f64,
    /// How busy the uplinks of the hosts were, for each tenth of the time.
    pub uplinks: Vec<f64>,
    /// How busy the source's uplink was.
    pub source_uplink: Vec<f64>,
    /// Seconds that each host took, from its own start.
    pub hosts: Vec<Option<f64>>,
    /// Messages that arrived, blocks left out.
    pub messages: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            Some(seconds) => write!(f, "{seconds:.2} s")?,
            None => write!(f, "never")?,
        }
        let percent = |part: &f64| format!("{:.0}", part * 100.0);
        write!(
            f,
            " (bound {:.2} s): efficiency {:.2}, {:.2} of the ceiling, {:.2} copies from the source, {:.1} % sent in vain",
            self.bound,
            self.efficiency,
            self.efficiency / self.ceiling,
            self.copies,
            self.wasted * 100.0
        )?;
        write!(f, "\nuplinks busy, in % for each tenth of the time: ")?;
        write!(f, "{}", self.uplinks.iter().map(percent).collect::<Vec<_>>().join(" "))?;
        write!(f, "\nthe source's:                                  ")?;
        write!(f, "{}", self.source_uplink.iter().map(percent).collect::<Vec<_>>().join(" "))
    }
}
