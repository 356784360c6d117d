//! One source and many fetchers that start together, every host on a link of its own.
//!
//! A fetch that has ended leaves the swarm, so that the last ones get no help from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::house::clients::Client;
use crate::house::lab::Lab;
use crate::house::say;
use crate::options::Options;
use crate::promises::SWARMS;
use crate::room::{self, Outcome, Room};
use crate::table::{Figure, Limit, Line};
use crate::workplace::Workplace;

/// A client that needs more than so many times the bound will not be waited for.
const PATIENCE: f64 = 20.0;

/// What an efficiency is held against where nothing is promised of just this swarm.
const USUAL_EFFICIENCY: Limit = SWARMS[0].efficiency;

/// How many hosts fetch how much, and how fast the links are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shape {
    pub hosts: u32,
    /// Each fetcher's link, each way.
    pub mbit: u32,
    pub source_mbit: u32,
    pub mebibytes: u64,
}

impl Shape {
    /// The source's link is as fast as the others'.
    pub const fn equal(hosts: u32, mbit: u32, mebibytes: u64) -> Shape {
        Shape { hosts, mbit, source_mbit: mbit, mebibytes }
    }

    /// The least seconds that any scheme can take: Kumar and Ross, "Peer-assisted file distribution: the minimum
    /// distribution time" (2006). The source's uplink, the slowest downlink, and all uplinks together each need so long.
    pub fn bound(self) -> f64 {
        let megabits = (self.mebibytes << 20) as f64 * 8.0 / 1e6;
        let (hosts, mbit, source) = (f64::from(self.hosts), f64::from(self.mbit), f64::from(self.source_mbit));
        (megabits / source).max(megabits / mbit).max(hosts * megabits / (source + hosts * mbit))
    }

    pub fn links(self) -> Vec<Option<u32>> {
        let mut links = vec![Some(self.mbit); 1 + self.hosts as usize];
        links[0] = Some(self.source_mbit);
        links
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} Mbit/s, {} MiB", self.hosts, self.mbit, self.mebibytes)?;
        if self.source_mbit != self.mbit {
            write!(f, ", source {} Mbit/s", self.source_mbit)?;
        }
        Ok(())
    }
}

impl FromStr for Shape {
    type Err = ();

    /// Reads `HOSTSxMBIT:MEBIBYTES` or `HOSTSxMBIT:MEBIBYTES@SOURCE_MBIT`, no zero among them.
    fn from_str(text: &str) -> Result<Shape, ()> {
        let read = || {
            let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
            let (hosts, rest) = text.split_once('x')?;
            let (mbit, rest) = rest.split_once(':')?;
            let (mebibytes, source) = rest.split_once('@').unwrap_or((rest, mbit));
            Some(Shape {
                hosts: number(hosts)?,
                mbit: number(mbit)?,
                source_mbit: number(source)?,
                mebibytes: number(mebibytes)?.into(),
            })
        };
        read().ok_or(())
    }
}

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    Lab::available()?;
    let mut torrents = BTreeMap::new();
    let mut lines = Vec::new();
    for shape in &options.swarms {
        let torrent = torrents.entry(shape.mebibytes).or_insert_with(|| room::torrent(place, shape.mebibytes));
        let limit = Duration::from_secs_f64(shape.bound() * PATIENCE);
        let room = Room { place, torrent, links: shape.links(), limit };
        let mut outcomes = options.per_client();
        for _ in 0..options.runs {
            for (client, outcomes) in &mut outcomes {
                match room.run(*client, &[*client]) {
                    Ok(outcome) => {
                        let efficiency = shape.bound() / outcome.last;
                        say(&format!("swarm, {shape}: {}: {:.2} s, {efficiency:.2}", client.name(), outcome.last));
                        outcomes.push(outcome);
                    }
                    Err(reason) => notes.push(format!("swarm, {shape}: {}: failed: {reason}", client.name())),
                }
            }
        }
        lines.extend(lines_of(*shape, &outcomes));
    }
    Ok(lines)
}

fn lines_of(shape: Shape, outcomes: &[(Client, Vec<Outcome>)]) -> [Line; 2] {
    let line = |what: &str, value: &dyn Fn(&Outcome) -> f64| {
        let figure = |(client, outcomes): &(Client, Vec<Outcome>)| {
            Figure::new(client.name(), outcomes.iter().map(value).collect())
        };
        Line::new(format!("swarm, {shape}: {what}"), outcomes.iter().map(figure).collect())
    };
    let efficiency = line("bound ÷ last finish", &|outcome| shape.bound() / outcome.last);
    let copies = line("copies that the source sends", &|outcome| outcome.copies);
    match SWARMS.iter().find(|promise| promise.shape == shape) {
        Some(promise) => {
            let efficiency = efficiency.promised(promise.efficiency, true);
            [efficiency, if let Some(limit) = promise.copies { copies.promised(limit, true) } else { copies }]
        }
        None => [efficiency.promised(USUAL_EFFICIENCY, false), copies],
    }
}
