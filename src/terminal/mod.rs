//! What a person reads in a terminal. Plain values in, text out.
//!
//! On a terminal there is a bar; elsewhere a plain line now and then. All that the program says, the log included, goes
//! through here and is made harmless line by line: a stranger's text may be anywhere in it.

mod log;
mod progress;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

pub use log::start_log;
pub use progress::Progress;

use crate::text::{escape, escape_json};

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
