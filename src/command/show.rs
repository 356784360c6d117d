//! `show`: print a metainfo.

use std::process::ExitCode;

use super::source;
use crate::{cli, node::Failure, terminal};

/// Prints a metainfo for a person, or as a JSON metainfo.
pub fn run(arguments: &cli::Show) -> Result<ExitCode, Failure> {
    let metainfo = source::read(&arguments.meta)?;
    Ok(if arguments.json {
        terminal::print_json(String::from_utf8(metainfo.to_json()).expect("JSON is UTF-8").trim_end())
    } else {
        terminal::print_lines(&metainfo.describe())
    })
}
