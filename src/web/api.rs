//! What the page shows, for programs: `/api/files` in JSON, `/metrics` for Prometheus.

use std::fmt::Write;

use serde::Serialize;

use super::{
    Site, Web,
    door::{Gauge, Reply},
    library::Origin,
    names,
    shown::{Activity, File, Links, Machine, May, Rates, State},
    views,
};

/// One file of the list. Links are paths on this machine.
#[derive(Debug, Default, Serialize)]
pub struct Listed {
    /// Its name here.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Names the torrent, as 40 hex digits.
    pub info_hash: String,
    /// How many have all of it.
    pub seeding: u32,
    /// How many lack some of it.
    pub fetching: u32,
    /// How many said that they got all of it.
    pub fetched: u32,
    /// Where to download it, when its content is on this machine.
    pub download: Option<String>,
    /// The metainfo in JSON.
    pub json: String,
    /// The metainfo as `.torrent`.
    pub torrent: String,
}

/// The list, with the swarms as they are now.
pub fn list(site: &Site) -> Vec<Listed> {
    let entries = site.library.entries().into_iter();
    let listed = entries.map(|(name, entry)| {
        let counts = site.swarms.counts(&entry.info_hash);
        let encoded = names::encode(&name);
        let is_here = matches!(entry.origin, Origin::Upload { .. });
        Listed {
            name,
            length: entry.length,
            info_hash: entry.info_hash.to_string(),
            seeding: counts.complete,
            fetching: counts.incomplete,
            fetched: counts.downloaded,
            download: is_here.then(|| format!("/uploads/{encoded}")),
            json: format!("/metainfos/{encoded}.json"),
            torrent: format!("/metainfos/{encoded}.torrent"),
        }
    });
    listed.collect()
}

/// What the first page shows.
pub fn state(site: &Site, base: &str) -> State {
    let file = |file: Listed| File {
        command: format!("minitorrent fetch {base}{}", file.json),
        activity: if file.download.is_some() { Activity::Seeding } else { Activity::Listed },
        links: Links {
            page: format!("/files/{}", file.info_hash),
            json: file.json,
            torrent: file.torrent,
            download: file.download,
        },
        info_hash: file.info_hash,
        name: file.name,
        length: file.length,
        seeders: file.seeding,
        leechers: file.fetching,
        machines: file.seeding + file.fetching,
        done: file.seeding,
        ..File::default()
    };
    let machine = Machine { address: base.to_owned(), ..Machine::default() };
    let may = May { upload: true, control: true, login: true };
    State { machine, may, limits: Rates::default(), files: list(site).into_iter().map(file).collect() }
}

/// `/api/files`.
pub fn files(site: &Site) -> Reply {
    Reply::new(200, "application/json", views::json(&list(site))).with("Cache-Control", "no-store")
}

/// `/metrics`, in Prometheus' text format.
pub fn metrics(web: &Web) -> Reply {
    let (swarms, peers) = web.swarms.totals();
    let door = web.gauge.get().map(Gauge::stats).unwrap_or_default();
    let files = web.site.as_ref().map_or(0, |site| site.library.entries().len());
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
