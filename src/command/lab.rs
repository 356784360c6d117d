//! `lab`: play a room in virtual time.

use std::{process::ExitCode, time::Duration};

use super::Failure;
use crate::{
    cli,
    lab::{self, Plan, Report, SourceOrder},
    policy::picker::PieceOrder,
    terminal,
};

/// Pieces at most: each host counts the copies of each.
const MAX_PIECES: u64 = 1 << 20;

/// Bits a second of a link unless told otherwise.
const LINK: f64 = 20e6;

/// Plays the room once for each seed, and tells of the run in the middle.
pub fn run(arguments: &cli::LabArguments) -> Result<ExitCode, Failure> {
    let plan = plan(arguments)?;
    let mut reports: Vec<Report> = Vec::new();
    for seed in 1..=arguments.seeds as u64 {
        let report = lab::run(&Plan { seed, ..plan.clone() });
        if arguments.json {
            let line = serde_json::to_value(&report).map_err(|error| Failure::new(error.to_string()))?;
            terminal::print_json(line);
        }
        reports.push(report);
    }
    reports.sort_by(|one, other| one.efficiency.total_cmp(&other.efficiency));
    if !arguments.json {
        terminal::print(&plan);
        reports[reports.len() / 2].to_string().lines().for_each(|line| _ = terminal::print(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: &cli::LabArguments) -> Result<Plan, Failure> {
    if arguments.file.div_ceil(u64::from(arguments.piece.max(1))) > MAX_PIECES {
        return Err(Failure::new(format!(
            "that is more than {MAX_PIECES} pieces; make --piece larger, or --file smaller"
        )));
    }
    if arguments.piece < 16 << 10 {
        return Err(Failure::new("a piece has at least 16 KiB, a block; make --piece larger".to_owned()));
    }
    if arguments.free_rider as usize >= arguments.hosts && arguments.free_rider > 0 {
        return Err(Failure::new("at least one host has to upload; make --free-rider smaller".to_owned()));
    }
    let links = if arguments.link.is_empty() { vec![LINK] } else { arguments.link.clone() };
    Ok(Plan {
        hosts: arguments.hosts,
        source: arguments.source.unwrap_or(links[0]),
        links,
        length: arguments.file,
        piece_length: u64::from(arguments.piece),
        air: arguments.air,
        latency: Duration::from_micros(arguments.latency.into()),
        arrive: Duration::from_millis(arguments.arrive.into()),
        leave: f64::from(arguments.leave) / 100.0,
        free_riders: arguments.free_rider as usize,
        max_peers: arguments.max_peers,
        picker: match arguments.picker.as_str() {
            "random" => PieceOrder::Random,
            "sequential" => PieceOrder::Sequential,
            _ => PieceOrder::Rarest,
        },
        source_order: if arguments.source_order == "plain" { SourceOrder::Plain } else { SourceOrder::Super },
        ..Plan::default()
    })
}
