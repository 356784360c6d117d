//! How long somebody waits between typing `fetch` and the first block being asked of a peer.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::Host;
use crate::house::peer::{self, BITFIELD, INTERESTED, REQUEST, UNCHOKE};
use crate::house::process::free_port;
use crate::house::seeding_peer::full_bitfield;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::table::{Figure, Limit, Line, OURS};
use crate::workplace::Workplace;

const RUNS: usize = 10;

const LIMIT: Duration = Duration::from_secs(10);

pub fn measure(place: &Workplace) -> Result<Vec<Line>, String> {
    let work = tempfile::tempdir_in(place.path()).map_err(|error| error.to_string())?;
    let content = Content::file(&work.path().join("source"), "file.bin", 8 << 20);
    let unannounced = Torrent::write(&work.path().join("unannounced.torrent"), &content, PIECE_LENGTH, &[]);
    let (asked, times) = mpsc::channel();
    let pieces = unannounced.pieces();
    let address = peer::listen(Ipv4Addr::LOCALHOST, move |mut wire| {
        wire.greet(&unannounced.info_hash)?;
        wire.send(BITFIELD, &full_bitfield(pieces))?;
        wire.await_message(INTERESTED)?;
        wire.send(UNCHOKE, &[])?;
        wire.await_message(REQUEST)?;
        let _ = asked.send(Instant::now());
        Ok(())
    });
    let tracker = TrackerStub::start(Answer::Peers(vec![address]));
    let path = work.path().join("file.torrent");
    let torrent = Torrent::write(&path, &content, PIECE_LENGTH, &[tracker.announce_url()]);
    let mut samples = Vec::new();
    for run in 0..RUNS {
        let out = work.path().join(format!("out-{run}"));
        fs::create_dir_all(&out).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let _fetch = Client::Ours.fetch(&Host::here(), &torrent, &out, free_port(), work.path());
        let at = times.recv_timeout(LIMIT).map_err(|_| "no block was asked for".to_owned())?;
        samples.push((at - begun).as_secs_f64() * 1e3);
    }
    let what = "from `fetch` typed to the first block asked of a peer, ms";
    Ok(vec![Line::new(what, vec![Figure::new(OURS, samples)]).promised(Limit::AtMost(100.0), true)])
}
