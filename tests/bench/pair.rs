//! One seeder and one fetcher on two hosts, the link between them as fast as the machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::house::clients::Client;
use crate::house::lab::Lab;
use crate::house::say;
use crate::options::Options;
use crate::promises;
use crate::room::{self, Outcome, Room};
use crate::table::{Figure, Line, OURS};
use crate::workplace::{Workplace, timed};

/// What no two programs can do without: hash the file and write it.
const FLOOR: &str = "sha1 + cp";

/// A client that needs longer will not be waited for.
const LIMIT: Duration = Duration::from_secs(180);

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    Lab::available()?;
    let mebibytes = options.mebibytes;
    let torrent = room::torrent(place, mebibytes);
    let room = Room { place, torrent: &torrent, links: vec![None; 2], limit: LIMIT };
    let file = torrent.content.root.join(&torrent.content.name);
    let (mut floor, mut outcomes) = (Vec::new(), options.per_client());
    for _ in 0..options.runs {
        floor.push(sha1_and_copy(&file, &place.path().join("copy"))?);
        for (client, outcomes) in &mut outcomes {
            match room.run(*client, &[*client]) {
                Ok(outcome) => {
                    say(&format!("pair: {}: {:.2} s", client.name(), outcome.last));
                    outcomes.push(outcome);
                }
                Err(reason) => notes.push(format!("pair: {}: failed: {reason}", client.name())),
            }
        }
    }
    if outcomes[1..].iter().all(|(_, outcomes)| outcomes.is_empty()) {
        notes.push("pair: no real client to be measured against".into());
    }
    Ok(lines(mebibytes, floor, &outcomes))
}

fn lines(mebibytes: u64, floor: Vec<f64>, outcomes: &[(Client, Vec<Outcome>)]) -> Vec<Line> {
    let exact = mebibytes == promises::MEBIBYTES;
    let gibibytes = mebibytes as f64 / 1024.0;
    let line = |what: &str, value: fn(&Outcome) -> f64, divisor: f64| {
        let figure = |(client, outcomes): &(Client, Vec<Outcome>)| {
            Figure::new(client.name(), outcomes.iter().map(|outcome| value(outcome) / divisor).collect())
        };
        Line::new(format!("pair, {mebibytes} MiB: {what}"), outcomes.iter().map(figure).collect())
    };
    let mut wall = line("wall, s", |outcome| outcome.last, 1.0);
    let floor = Figure::new(FLOOR, floor);
    let over_floor = floor.median().map(|floor| wall.over(floor, format!("wall ÷ ({FLOOR})")));
    let others = wall.figures.iter().filter(|figure| figure.who != OURS);
    let best =
        others.filter_map(|figure| Some((figure.median()?, figure.who.clone()))).min_by(|a, b| a.0.total_cmp(&b.0));
    let over_best = best.map(|(best, who)| wall.over(best, format!("wall ÷ the best real client's ({who})")));
    wall.figures.push(floor);

    let mut lines = vec![wall];
    lines.extend(over_floor.map(|line| line.promised(promises::WALL_OVER_FLOOR, exact)));
    lines.extend(over_best.map(|line| line.only_ours().promised(promises::WALL_OVER_BEST, exact)));
    lines.extend([
        line("CPU to fetch, s/GiB", |outcome| outcome.fetch_cpu, gibibytes).promised(promises::FETCH_CPU, exact),
        line("CPU to seed, s/GiB", |outcome| outcome.source_cpu, gibibytes).promised(promises::SEED_CPU, exact),
        // Promised whatever the file's size.
        line("memory to fetch, MiB", |outcome| outcome.fetch_peak, 1.0).promised(promises::FETCH_MEMORY, true),
        line("memory to seed, MiB", |outcome| outcome.source_peak, 1.0).promised(promises::SEED_MEMORY, true),
    ]);
    lines
}

/// The seconds that both take, one after the other.
fn sha1_and_copy(file: &Path, copy: &Path) -> Result<f64, String> {
    let sha1 = timed(Command::new("openssl").arg("sha1").arg(file))?;
    let cp = timed(Command::new("cp").args([file, copy]))?;
    fs::remove_file(copy).map_err(|error| error.to_string())?;
    Ok(sha1 + cp)
}
