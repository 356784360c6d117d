//! What a child costs, as the kernel tells it while the child runs and until it has been waited for.

use std::fs;
use std::path::PathBuf;

use crate::house::process::Process;

/// The unit of CPU times in /proc, USER_HZ: the same on every Linux that this runs on, whatever the kernel's own tick.
const TICKS_A_SECOND: f64 = 100.0;

/// Watches one child.
pub struct Meter {
    proc: PathBuf,
    /// CPU seconds so far, user's and system's.
    pub cpu: f64,
    /// The most memory it has been seen to hold, in MiB.
    pub peak: f64,
}

impl Meter {
    pub fn of(process: &Process) -> Meter {
        let mut meter = Meter { proc: format!("/proc/{}", process.pid()).into(), cpu: 0.0, peak: 0.0 };
        meter.look();
        meter
    }

    /// Looks once more, and tells whether the child still runs. One that has ended keeps its CPU time until it is waited for.
    pub fn look(&mut self) -> bool {
        let stat = fs::read_to_string(self.proc.join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; the state comes next (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let cpu = (ticks(11) + ticks(12)) / TICKS_A_SECOND;
        self.cpu = self.cpu.max(cpu);
        let status = fs::read_to_string(self.proc.join("status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        self.peak = self.peak.max(peak.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0);
        !matches!(fields.first(), None | Some(&"Z" | &"X"))
    }
}
