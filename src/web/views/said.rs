//! What is said about files and machines: numbers as people say them, and the sentences around them.
//!
//! `static/said.js` says the same while the page is open; a change here is a change there.

use std::time::Duration;

use super::super::{
    Kind,
    api::{Doing, PastRound, Row, SharedFile},
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
        "verifying" => "verifying",
        "seeding" => "seeding here",
        "paused" => "paused here",
        "failed" => "stopped here",
        _ => "on other machines",
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

/// What the ring of a file shows, from 0 to 1: what is here while that grows, else what the room holds.
pub fn share(file: &SharedFile) -> f64 {
    let grows = matches!(file.activity, "verifying" | "fetching" | "paused") && share_here(file) < 1.0;
    if grows { share_here(file) } else { share_of_room(file) }
}

/// Bytes that the room holds of those that it will hold, from 0 to 1.
pub fn share_of_room(file: &SharedFile) -> f64 {
    file.held as f64 / file.wanted.max(1) as f64
}

/// How many have it, and how far the others are.
pub fn room(file: &SharedFile) -> String {
    match (file.done, file.machines) {
        (_, 0) => "Nobody is sharing it now".to_owned(),
        (1, 1) => "One machine has it".to_owned(),
        (done, machines) if done == machines => format!("All {machines} have it"),
        (done, machines) => {
            format!("{done} of {machines} complete \u{b7} {} of the room", percent(Some(share_of_room(file) * 100.0)))
        }
    }
}

/// Who is there, and who has left.
pub fn counts(file: &SharedFile) -> String {
    format!("{} seeding, {} fetching{}", file.seeders, file.leechers, departed(file))
}

/// Who had it and left.
pub fn departed(file: &SharedFile) -> String {
    match (file.departed, file.machines) {
        (0, _) => String::new(),
        (departed, 0) => format!(" \u{b7} {departed} had it and left"),
        (departed, _) => format!(" \u{b7} {departed} more had it and left"),
    }
}

/// The last rounds, for people.
pub fn round(round: &PastRound) -> String {
    let machines = if round.machines == 1 { "1 machine".to_owned() } else { format!("{} machines", round.machines) };
    let factor = round.factor.map_or(String::new(), |factor| format!(", {factor:.1} times faster than one server"));
    format!("{machines} in {}{factor}", time(round.elapsed_ms as f64 / 1000.0))
}

/// What a machine does.
pub fn doing(doing: Doing) -> &'static str {
    match doing {
        Doing::Fetching => "fetching",
        Doing::Paused => "paused",
        Doing::Seeding => "seeding",
        Doing::Done => "done",
        Doing::Gone => "gone",
    }
}

/// What there is to say of a machine's state.
pub fn of_state(row: &Row) -> String {
    match (row.state, row.time_left) {
        (Doing::Fetching, Some(left)) => format!("{} left", time(left)),
        (Doing::Seeding, _) if row.super_seeding => "showing its pieces one by one".to_owned(),
        _ => String::new(),
    }
}

/// Whether a machine is part of the room at this moment.
pub fn is_here(row: &Row) -> bool {
    matches!(row.state, Doing::Fetching | Doing::Seeding)
}

/// How much a machine has; marked where only its last announce tells.
pub fn has(row: &Row) -> String {
    let is_old = !row.live && row.state == Doing::Fetching && row.percent.is_some();
    format!("{}{}", percent(row.percent), if is_old { " announced" } else { "" })
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
        let room =
            |done, machines| room(&SharedFile { done, machines, held: 42, wanted: 100, ..SharedFile::default() });
        assert_eq!(room(0, 0), "Nobody is sharing it now");
        assert_eq!(room(1, 1), "One machine has it");
        assert_eq!(room(27, 30), "27 of 30 complete \u{b7} 42 % of the room");
        assert_eq!(room(30, 30), "All 30 have it");
        let left = |departed, machines| counts(&SharedFile { departed, machines, ..SharedFile::default() });
        assert_eq!(left(4, 1), "0 seeding, 0 fetching \u{b7} 4 more had it and left");
        assert_eq!(left(4, 0), "0 seeding, 0 fetching \u{b7} 4 had it and left");
    }

    #[test]
    fn nothing_is_called_whole_before_it_is() {
        assert_eq!(percent(Some(99.99)), "99 %");
        assert_eq!(percent(Some(100.0)), "100 %");
        assert_eq!(percent(None), "unknown");
        assert_eq!((time(0.2), time(200.0), time(1e6)), ("0.2 s".into(), "3 min 20 s".into(), "11 days".into()));
    }
}
