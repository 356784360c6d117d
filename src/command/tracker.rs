//! `tracker`: the tracker with its page, and the seeder of what is uploaded there.

use std::process::ExitCode;

use super::Failure;
use crate::cli;

/// Runs until stopped, ends in order.
pub fn run(_arguments: cli::Tracker) -> Result<ExitCode, Failure> {
    Err(Failure::new("comes with the web module"))
}
