//! `/metrics`, in Prometheus' text format.

use std::{
    fmt::{Display, Write},
    fs,
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    http::{Gauge, Reply},
    status::report::{Board, TorrentReport},
    web::Web,
};

/// Figures of the process, of the door and of each torrent on the board.
pub fn metrics(web: &Web) -> Reply {
    let mut page = MetricsText::default();
    let (swarms, peers) = web.swarms.totals();
    let door = web.gauge.get().map(Gauge::stats).unwrap_or_default();
    let files = web.site.as_ref().map_or(0, |site| site.file_count());
    page.one("minitorrent_swarms", "Torrents that the tracker knows.", "gauge", swarms);
    page.one("minitorrent_peers", "Peers in all swarms.", "gauge", peers);
    let udp = web.swarms.udp();
    for (name, what, count) in [
        ("packets", "Packets that came to the tracker's UDP port.", &udp.packets),
        ("announces", "Announces over UDP with a right connection id.", &udp.announces),
        ("scrapes", "Scrapes over UDP with a right connection id.", &udp.scrapes),
    ] {
        page.one(&format!("minitorrent_udp_{name}_total"), what, "counter", count.load(Ordering::Relaxed));
    }
    page.one("minitorrent_files", "Files on the page.", "gauge", files);
    page.one("minitorrent_http_connections", "Open HTTP connections.", "gauge", door.connections);
    page.one("minitorrent_http_transfers", "Running uploads and downloads.", "gauge", door.transfers);
    page.one("minitorrent_http_streams", "Open pages that are told what happens.", "gauge", door.streams);
    process(&mut page, web.began);
    if let Some(site) = &web.site {
        torrents(&mut page, &site.board);
    }
    Reply::new(200, "text/plain; version=0.0.4; charset=utf-8", page.0.into_bytes()).with("Cache-Control", "no-store")
}

/// What every program tells under the same names. Linux alone tells memory and descriptors.
fn process(page: &mut MetricsText, began: SystemTime) {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    page.one("process_cpu_seconds_total", "Processor time.", "counter", seconds);
    let began = began.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    page.one("process_start_time_seconds", "When it started, since 1970.", "gauge", began);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    if let Some(kibibytes) = resident {
        let bytes: u64 = kibibytes;
        page.one("process_resident_memory_bytes", "Memory in use.", "gauge", bytes * 1024);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.one("process_open_fds", "Open descriptors.", "gauge", open.count());
    }
}

fn torrents(page: &mut MetricsText, board: &Board) {
    type Figure = fn(&TorrentReport) -> f64;
    let figures: [(&str, &str, &str, Figure); 7] = [
        ("length_bytes", "Bytes of the torrent.", "gauge", |it| it.metainfo.length() as f64),
        ("verified_bytes", "Bytes that are here.", "gauge", |it| it.verified as f64),
        ("downloaded_bytes_total", "Bytes taken from peers.", "counter", |it| it.downloaded as f64),
        ("uploaded_bytes_total", "Bytes given to peers.", "counter", |it| it.uploaded as f64),
        ("down_bytes_per_second", "The rate of what is taken.", "gauge", |it| it.down_rate),
        ("up_bytes_per_second", "The rate of what is given.", "gauge", |it| it.up_rate),
        ("sessions", "Peers that are connected.", "gauge", |it| it.peers.len() as f64),
    ];
    let torrents = board.torrents();
    for (name, help, kind, figure) in figures {
        let name = format!("minitorrent_torrent_{name}");
        page.head(&name, help, kind);
        for torrent in &torrents {
            let (hash, called) = (torrent.metainfo.info_hash(), label(torrent.metainfo.name()));
            page.line(format_args!("{name}{{info_hash=\"{hash}\",name=\"{called}\"}} {}", figure(torrent)));
        }
    }
}

/// A text within the quotes of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[derive(Default)]
struct MetricsText(String);

impl MetricsText {
    fn one(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        self.head(name, help, kind);
        self.line(format_args!("{name} {value}"));
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("writing to memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_ends_its_label_or_its_line() {
        assert_eq!(label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
