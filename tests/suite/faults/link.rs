//! Links that lose packets, deliver them out of order, stall, and hosts that come back with another address.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{CALM, START, start_fetch, start_seed};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::Process;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::trackers::Tracker;
use crate::house::{folder, say, skip, wait_until};

const PORT: u16 = 6881;

/// How long the link stalls.
const STALL: Duration = Duration::from_secs(30);

#[test]
fn over_a_link_that_loses_one_packet_in_twenty_the_file_arrives() {
    let Some(lab) = Lab::or_skip("a link that loses packets", 2) else { return };
    let work = folder();
    let (source, sink) = (lab.host(0), lab.host(1));
    for host in [source, sink] {
        // Packets as they are on a wire, not up to 64 KiB at once.
        host.run("ip link set eth0 gso_max_segs 1 gso_max_size 2000").unwrap();
        host.run("nft add table ip loss").unwrap();
        host.run("nft add chain ip loss in { type filter hook input priority 0 ; }").unwrap();
        host.run("nft add rule ip loss in iifname eth0 numgen random mod 100 < 5 counter drop").unwrap();
    }
    let (torrent, _running) = room(source, source.address, work.path(), 8 * 1024 * 1024 + 5);
    let begun = Instant::now();
    let ended = start_fetch(sink, &torrent, 6882, &work.path().join("out"), work.path()).ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&work.path().join("out")).unwrap();
    let dropped = [source, sink].map(dropped);
    assert!(dropped.iter().all(|count| *count > 0), "nothing was lost: {dropped:?}");
    say(&format!(
        "faults, loss: 8 MiB over a link that lost 5 % each way ({dropped:?} packets) took {:.1} s; the file is right",
        begun.elapsed().as_secs_f64()
    ));
}

#[test]
fn over_a_link_that_reorders_loses_and_stalls_for_half_a_minute_the_file_arrives() {
    let Some(lab) = Lab::or_skip("a link that reorders and stalls", 2) else { return };
    let work = folder();
    let (source, sink) = (lab.host(0), lab.host(1));
    let stall = work.path().join("stall");
    let _relays = match relays(source, sink, work.path(), &stall) {
        Ok(relays) => relays,
        Err(reason) => return skip("a link that reorders and stalls", &reason),
    };
    let (torrent, running) = room(source, NEAR, work.path(), 8 * 1024 * 1024 + 5);
    let out = work.path().join("out");
    let begun = Instant::now();
    let mut fetch = start_fetch(sink, &torrent, 6882, &out, work.path());
    let started = wait_until(START, || file_has_bytes(&out.join(&torrent.content.name)));
    assert!(started && fetch.is_running(), "it did not begin: {}", fetch.stderr());
    fs::write(&stall, "").unwrap();
    thread::sleep(STALL);
    assert!(fetch.is_running(), "it gave up: {}", fetch.stderr());
    fs::remove_file(&stall).unwrap();
    let back = Instant::now();
    let ended = fetch.ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&out).unwrap();
    say(&format!(
        "faults, stall: a link that loses 1 %, delivers 10 % late and stalled for {} s; the file came right, {:.1} s after the link was back, \
         {:.1} s in all",
        STALL.as_secs(),
        back.elapsed().as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    drop(running);
}

#[test]
fn a_fetcher_that_comes_back_with_another_address_goes_on() {
    let Some(lab) = Lab::or_skip("a fetcher that comes back with another address", 2) else { return };
    let work = folder();
    let (source, sink) = (lab.host(0), lab.host(1));
    let (torrent, _running) = room(source, source.address, work.path(), 24 * 1024 * 1024 + 5);
    let out = work.path().join("out");
    let fetch = start_fetch(sink, &torrent, 6882, &out, work.path());
    assert!(wait_until(START, || file_has_bytes(&out.join(&torrent.content.name))), "{}", fetch.stderr());
    sink.run(&format!("ip address delete {}/16 dev eth0", sink.address)).unwrap();
    sink.run("ip address add 10.77.0.99/16 dev eth0").unwrap();
    let moved = Instant::now();
    let ended = fetch.ended(CALM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    torrent.content.compare(&out).unwrap();
    say(&format!(
        "faults, another address: a fetch whose host was given another one ended right {:.1} s later",
        moved.elapsed().as_secs_f64()
    ));
}

/// Where the ends of the bad link are.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

/// Puts a link between two hosts that goes through our hands.
fn relays(near: &Host, far: &Host, work: &Path, stall: &Path) -> Result<[Process; 2], String> {
    Host::here().run("python3 --version")?;
    if !Path::new("/dev/net/tun").exists() {
        return Err("there is no /dev/net/tun".into());
    }
    let script = work.join("relay.py");
    fs::write(&script, include_str!("relay.py")).unwrap();
    let sockets = [work.join("near"), work.join("far")];
    let start = |host: &Host, address: Ipv4Addr, own: &Path, other: &Path, name: &str| {
        let mut command = host.command("python3");
        command.arg(&script).args(["bad0", &address.to_string()]).args([own, other, stall]).args(["1", "10"]);
        Process::start(command, work, name)
    };
    let relays = [
        start(near, NEAR, &sockets[0], &sockets[1], "relay-near"),
        start(far, FAR, &sockets[1], &sockets[0], "relay-far"),
    ];

    let up = wait_until(START, || sockets.iter().all(|socket| socket.exists()));
    if up { Ok(relays) } else { Err(relays.each_ref().map(Process::stderr).concat()) }
}

/// A tracker and a seeder on a host, found at that address, at a pace that outlasts what is done to the link.
fn room(host: &Host, address: Ipv4Addr, work: &Path, length: u64) -> (Torrent, [Process; 2]) {
    let content = Content::file(&work.join("source"), "a file.bin", length);
    let at = SocketAddrV4::new(address, 6969);
    let torrent = Torrent::write(&work.join("it.torrent"), &content, PIECE_LENGTH, &[format!("http://{at}/announce")]);
    let tracker = Tracker::Ours.start(host, &torrent, work);
    let seed = start_seed(host, &torrent, PORT, "2M", work);
    assert!(wait_until(START, || Tracker::Ours.seeders(host, &torrent) == 1), "no seeder: {}", seed.stderr());
    (torrent, [tracker, seed])
}

fn file_has_bytes(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > u64::from(PIECE_LENGTH))
}

fn dropped(host: &Host) -> u64 {
    let rules = String::from_utf8(host.run("nft list chain ip loss in").unwrap()).unwrap();
    let count = rules.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no counter in {rules}"))
}
