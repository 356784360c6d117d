//! `/metrics`, in Prometheus' text format.

use std::fmt::Write;

use super::super::{
    Web,
    door::{Gauge, Reply},
};

/// Figures of the process and of each torrent on the board.
pub fn metrics(web: &Web) -> Reply {
    let (swarms, peers) = web.swarms.totals();
    let door = web.gauge.get().map(Gauge::stats).unwrap_or_default();
    let files = web.site.as_ref().map_or(0, |site| site.file_count());
    let mut text = String::new();
    for (name, help, value) in [
        ("swarms", "Torrents that the tracker knows.", swarms),
        ("peers", "Peers in all swarms.", peers),
        ("files", "Files on the page.", files),
        ("http_connections", "Open HTTP connections.", door.connections),
        ("http_transfers", "Running uploads and downloads.", door.transfers),
    ] {
        let name = format!("minitorrent_{name}");
        let line = format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        text.write_str(&line).expect("writing to memory does not fail");
    }
    Reply::new(200, "text/plain; version=0.0.4", text.into_bytes())
}
