//! What must not grow with the work: memory, threads and time, at many connections, torrents, files and peers.
//!
//! Ours alone: the others are measured where they do the same work, in `pair` and `swarm`.

mod crowd;
mod first_block;
mod huge;
mod shelf;
mod small_files;
mod table;

use crate::options::Options;
use crate::table::{Figure, Limit, Line, OURS};
use crate::workplace::Workplace;

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut add = |part: &str, measured: Result<Vec<Line>, String>| match measured {
        Ok(measured) => lines.extend(measured),
        Err(reason) => notes.push(format!("scale: {part}: failed: {reason}")),
    };
    add("crowd", crowd::measure(place));
    add("shelf", shelf::measure(options, place));
    add("huge file", huge::measure(options, place));
    add("small files", small_files::measure(options, place));
    add("table", Ok(table::measure()));
    add("first block", first_block::measure(place));
    Ok(lines)
}

/// A figure of ours with what is promised of it.
fn line(what: impl Into<String>, value: f64, limit: Limit, exact: bool) -> Line {
    Line::new(what, vec![Figure::new(OURS, vec![value])]).promised(limit, exact)
}
