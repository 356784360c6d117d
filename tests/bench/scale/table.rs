//! The tracker's memory: what a hundred thousand peers take in it, and whether an announce among them costs more than
//! among ten.

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use minitorrent::metainfo::{InfoHash, PeerId};
use minitorrent::tracker::address::Asker;
use minitorrent::tracker::announce::{Announce, AnnounceEvent};
use minitorrent::tracker::{TrackerLimits, table::SwarmTable};

use super::line;
use crate::table::{Limit, Line};

const PEERS: u32 = 100_000;

/// Peers asked for: as many as a swarm of ten can name, so that the answers are equally long.
const WANTED: usize = 9;

/// Announces that are timed, in each of the swarms.
const ANNOUNCES: u32 = 20_000;

pub fn measure() -> Vec<Line> {
    let before = resident();
    let mut large = table(PEERS);
    let bytes = (resident() - before) / f64::from(PEERS);
    let mut small = table(10);
    let mut ratios: Vec<f64> = (0..9)
        .map(|_| {
            let small = announces(&mut small, 10);
            announces(&mut large, PEERS) / small
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let cost = format!("an announce among {PEERS} peers: time ÷ that among 10");
    vec![
        line(format!("{PEERS} peers of one swarm: bytes of memory each"), bytes, Limit::AtMost(160.0), true),
        // Flat but for what the processor's caches hold.
        line(cost, ratios[ratios.len() / 2], Limit::AtMost(4.0), true),
    ]
}

fn table(peers: u32) -> SwarmTable {
    let mut table = SwarmTable::new(TrackerLimits::default());
    (0..peers).for_each(|number| announce(&mut table, number));
    assert_eq!(table.peer_count(), peers as usize);
    table
}

fn announce(table: &mut SwarmTable, number: u32) {
    let mut id = [b'x'; 20];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let announce = Announce {
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId(id),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: AnnounceEvent::Regular,
        wanted: WANTED,
    };
    let source = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
    let asker = Asker::new(source, Ipv4Addr::new(10, 255, 255, 254).into(), &[]);
    black_box(table.announce(
        &announce,
        &asker,
        Duration::from_secs(1),
        u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    ));
}

/// Seconds for [`ANNOUNCES`] of peers that are known.
fn announces(table: &mut SwarmTable, peers: u32) -> f64 {
    let begun = Instant::now();
    (0..ANNOUNCES).for_each(|number| announce(table, number.wrapping_mul(2_654_435_761) % peers));
    begun.elapsed().as_secs_f64()
}

/// Bytes of memory that this process holds.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}
