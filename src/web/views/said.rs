//! What is said about files and machines: numbers as people say them, and the sentences around them.
//!
//! `static/said.js` says the same while the page is open; a change here is a change there.

use std::time::Duration;

use super::super::{
    Kind,
    api::{Doing, SharedFile},
};
use crate::text::{Rate, Time};

/// A rate, or a dash where none is known.
pub fn rate(bytes: Option<f64>) -> String {
    match bytes {
        Some(bytes) if bytes >= 1.0 => Rate(bytes).to_string(),
        Some(_) => "0".to_owned(),
        None => "\u{2013}".to_owned(),
    }
}

/// A time: `3 min 20 s`.
pub fn time(seconds: f64) -> String {
    Time(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// A percentage that is 100 only when nothing is missing.
pub fn percent(percent: Option<f64>) -> String {
    percent.map_or("unknown".to_owned(), |percent| format!("{} %", percent.floor()))
}

/// Whether this machine takes or gives something of it just now.
pub fn moves(file: &SharedFile) -> bool {
    [file.down_rate, file.up_rate].into_iter().flatten().any(|rate| rate >= 1.0)
}

/// What this machine does with the file.
pub fn activity(file: &SharedFile) -> String {
    match file.activity {
        "fetching" => return fetching(file),
        "verifying" => "being checked here",
        "seeding" => "shared from here",
        "paused" => "paused here",
        "failed" => "stopped here",
        _ => "with others",
    }
    .to_owned()
}

fn fetching(file: &SharedFile) -> String {
    let here = percent(Some(share_here(file) * 100.0));
    match file.time_left {
        Some(left) => format!("{here} here, {} left", time(left)),
        None => format!("{here} here"),
    }
}

/// How much of the file is here, from 0 to 1.
pub fn share_here(file: &SharedFile) -> f64 {
    file.verified.unwrap_or(0) as f64 / file.length.max(1) as f64
}

/// What the ring and the bar of a file show, from 0 to 1: what is here while that grows, else how many have it.
pub fn share(file: &SharedFile) -> f64 {
    let grows = matches!(file.activity, "verifying" | "fetching" | "paused") && share_here(file) < 1.0;
    if grows { share_here(file) } else { file.done as f64 / file.machines.max(1) as f64 }
}

/// How many have it.
pub fn room(file: &SharedFile) -> String {
    match (file.done, file.machines) {
        (_, 0) => "Nobody is here yet".to_owned(),
        (1, 1) => "One machine has it".to_owned(),
        (done, machines) if done == machines => format!("All {machines} have it"),
        (done, machines) => format!("{done} of {machines} have it"),
    }
}

/// Who is there.
pub fn counts(file: &SharedFile) -> String {
    format!("{} seeding, {} fetching", file.seeders, file.leechers)
}

/// What a machine does.
pub fn doing(doing: Doing) -> &'static str {
    match doing {
        Doing::Fetching => "fetching",
        Doing::Seeding => "seeding",
        Doing::Done => "done",
        Doing::Gone => "gone",
    }
}

/// What kind of machine serves the page.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Tracker => "tracker",
        Kind::Seed => "seeder",
        Kind::Fetch => "fetcher",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_counted_as_people_count() {
        let room = |done, machines| room(&SharedFile { done, machines, ..SharedFile::default() });
        assert_eq!(room(0, 0), "Nobody is here yet");
        assert_eq!(room(1, 1), "One machine has it");
        assert_eq!(room(27, 30), "27 of 30 have it");
        assert_eq!(room(30, 30), "All 30 have it");
    }

    #[test]
    fn nothing_is_called_whole_before_it_is() {
        assert_eq!(percent(Some(99.99)), "99 %");
        assert_eq!(percent(Some(100.0)), "100 %");
        assert_eq!(percent(None), "unknown");
        assert_eq!((time(0.2), time(200.0), time(1e6)), ("0.2 s".into(), "3 min 20 s".into(), "11 days".into()));
    }
}
