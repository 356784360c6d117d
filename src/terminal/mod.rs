//! What a person reads: progress, sizes, rates, times. Plain values in, text out.
//!
//! On a terminal there is a bar; elsewhere a plain line now and then. Nothing that a stranger sent is printed unescaped.

mod log;
mod progress;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

pub use log::start_log;
pub use progress::Progress;

/// Prints to standard output. A reader that has gone away is no failure worth a word.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A number of bytes, as people say it: `1.5 GiB`.
pub struct Size(pub u64);

/// Bytes a second, as people say it: `11.2 MiB/s`.
pub struct Rate(pub f64);

/// A time, as people say it: `3 min 20 s`.
pub struct Time(pub Duration);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0 as u64))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0..10) => write!(f, "{:.1} s", self.0.as_secs_f64()),
            (0, 0, seconds) => write!(f, "{seconds} s"),
            (0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (hours, minutes, _) if hours < 100 => write!(f, "{hours} h {minutes} min"),
            (hours, ..) => write!(f, "{} days", hours / 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_said_as_people_say_them() {
        assert_eq!(Size(1023).to_string(), "1023 bytes");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(u64::MAX).to_string(), "16384.0 PiB");
        assert_eq!(Rate(12.5 * 1048576.0).to_string(), "12.5 MiB/s");
        assert_eq!(Time(Duration::from_millis(1234)).to_string(), "1.2 s");
        assert_eq!(Time(Duration::from_secs(200)).to_string(), "3 min 20 s");
        assert_eq!(Time(Duration::from_secs(86_399)).to_string(), "23 h 59 min");
        assert_eq!(Time(Duration::from_secs(86_400 * 30)).to_string(), "30 days");
    }
}
