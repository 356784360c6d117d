//! A torrent of very many small files beside one file of the same size.

use std::path::PathBuf;
use std::time::Duration;

use super::line;
use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::options::Options;
use crate::room::{self, Room};
use crate::table::{Limit, Line};
use crate::workplace::Workplace;

/// Bytes of each file.
const LENGTH: u64 = 16 * 1024;

const LIMIT: Duration = Duration::from_secs(180);

pub fn measure(options: &Options, place: &Workplace) -> Result<Vec<Line>, String> {
    Lab::available()?;
    let count: u64 = if options.quick { 2_000 } else { 20_000 };
    let files = (0..count).map(|number| (PathBuf::from(format!("many/{}/{number}", number % 100)), LENGTH)).collect();
    let content = Content::written(&place.path().join("source"), "many", files);
    let announce = [Tracker::Ours.announce_url(Lab::new(1).host(0))];
    let many = Torrent::write(&place.path().join("many.torrent"), &content, PIECE_LENGTH, &announce);
    let single = room::torrent(place, content.length() >> 20);
    let seconds = |torrent: &Torrent| {
        let room = Room { place, torrent, links: vec![None; 2], limit: LIMIT };
        room.run(Client::Ours, &[Client::Ours]).map(|outcome| outcome.last)
    };
    let mut ratios = Vec::new();
    for _ in 0..options.runs {
        let (single, many) = (seconds(&single)?, seconds(&many)?);
        ratios.push((single / single_bytes(&content)) / (many / content.length() as f64));
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let what = format!("{count} files of 16 KiB: rate ÷ that of one file of the same size");
    Ok(vec![line(what, median, Limit::AtLeast(0.5), count == 20_000)])
}

/// The single file is a whole number of MiB.
fn single_bytes(content: &Content) -> f64 {
    (content.length() >> 20 << 20) as f64
}
