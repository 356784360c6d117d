//! What a person reads in a terminal: progress, rates, times. Plain values in, text out.
//!
//! On a terminal there is a bar; elsewhere a plain line now and then. All that the program says, the log included, goes
//! through here and is made harmless line by line: a stranger's text may be anywhere in it.

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

use crate::text::{Size, escape, escape_json};

/// Prints one line to standard output.
pub fn print(line: impl fmt::Display) -> ExitCode {
    put(&(escape(&line.to_string()) + "\n"))
}

/// Prints lines to standard output. Their ends are ours: no stranger's text may bring its own.
pub fn print_lines(lines: &str) -> ExitCode {
    put(&lines.lines().map(|line| escape(line) + "\n").collect::<String>())
}

/// Prints JSON to standard output.
pub fn print_json(json: impl fmt::Display) -> ExitCode {
    put(&(escape_json(&json.to_string()) + "\n"))
}

/// Says one line on standard error.
pub fn say(line: impl fmt::Display) {
    // Nobody may be listening; that is no reason to stop.
    let _ = io::stderr().write_all((escape(&line.to_string()) + "\n").as_bytes());
}

/// A reader that has gone away is no failure worth a word.
fn put(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Bytes a second, as people say it: `11.2 MiB/s`.
pub struct Rate(pub f64);

/// A time, as people say it: `3 min 20 s`.
pub struct Time(pub Duration);

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
    fn rates_and_times_are_said_as_people_say_them() {
        assert_eq!(Rate(12.5 * 1048576.0).to_string(), "12.5 MiB/s");
        assert_eq!(Time(Duration::from_millis(1234)).to_string(), "1.2 s");
        assert_eq!(Time(Duration::from_secs(200)).to_string(), "3 min 20 s");
        assert_eq!(Time(Duration::from_secs(86_399)).to_string(), "23 h 59 min");
        assert_eq!(Time(Duration::from_secs(86_400 * 30)).to_string(), "30 days");
    }
}
