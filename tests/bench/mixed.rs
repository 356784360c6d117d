//! Other clients' fetchers with our source, beside the same fetchers with their own; and ours among them.

use std::time::Duration;

use crate::house::clients::Client;
use crate::house::lab::Lab;
use crate::house::say;
use crate::options::Options;
use crate::promises::SWARMS;
use crate::room::{self, Room};
use crate::table::{Figure, Limit, Line, OURS};
use crate::workplace::Workplace;

/// With our source, fetchers of each take at most so much of the time that they take with their own.
const OUR_SOURCE: [(Client, Limit); 4] = [
    (Client::Libtorrent, Limit::AtMost(0.9)),
    (Client::Rqbit, Limit::AtMost(0.9)),
    (Client::Aria2, Limit::AtMost(1.0)),
    (Client::Transmission, Limit::AtMost(1.0)),
];

/// The mean time of our fetchers among as many of another client ÷ theirs: ours lose nothing.
const AMONG_OTHERS: Limit = Limit::AtMost(1.0);

const LIMIT: Duration = Duration::from_secs(180);

pub fn measure(options: &Options, place: &Workplace, notes: &mut Vec<String>) -> Result<Vec<Line>, String> {
    Lab::available()?;
    let shape = SWARMS[0].shape;
    let torrent = room::torrent(place, shape.mebibytes);
    let room = Room { place, torrent: &torrent, links: shape.links(), limit: LIMIT };
    let mut lines = Vec::new();
    for (other, limit) in OUR_SOURCE.into_iter().filter(|(client, _)| options.clients.contains(client)) {
        let (mut sources, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            let mut run = |source: Client, fetchers: &[Client]| {
                let outcome = room.run(source, fetchers);
                let names: Vec<_> = fetchers.iter().map(|client| client.name()).collect();
                match &outcome {
                    Ok(outcome) => {
                        say(&format!("mixed: {} to {}: {:.2} s", source.name(), names.join(" and "), outcome.last));
                    }
                    Err(reason) => notes.push(format!("mixed: {} to {names:?}: failed: {reason}", source.name())),
                }
                outcome.ok()
            };
            if let (Some(theirs), Some(ours)) = (run(other, &[other]), run(Client::Ours, &[other])) {
                sources.push(ours.last / theirs.last);
            }
            // Ours are the first, third and so on.
            if let Some(outcome) = run(Client::Ours, &[Client::Ours, other]) {
                let mean = |skip| mean(outcome.ends.iter().skip(skip).step_by(2));
                beside.push(mean(0) / mean(1));
            }
        }
        let line = |what: String, samples| Line::new(what, vec![Figure::new(OURS, samples)]);
        let name = other.name();
        lines.push(
            line(format!("{shape}, {name} fetches: our source's time ÷ its own's"), sources).promised(limit, true),
        );
        lines.push(
            line(format!("{shape}, half {name}: our fetchers' time ÷ theirs"), beside).promised(AMONG_OTHERS, true),
        );
    }
    Ok(lines)
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
