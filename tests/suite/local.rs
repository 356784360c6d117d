//! Local discovery (BEP 14): hosts without any tracker find each other, whatever client they run, and nothing that a stranger multicasts
//! leads anywhere but to himself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::house::clients::{Client, Setup};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::{folder, say, wait_until};

const NAME: &str = "a file.bin";
const LENGTH: u64 = 8 * 1024 * 1024;

/// From the second command until the file is there: what is promised, and what a busy machine may add.
const PROMISED: Duration = Duration::from_secs(3);
const SPARE: Duration = Duration::from_secs(7);

/// How long a real client may take; Transmission looks for peers once a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// A file that no tracker knows.
struct Room {
    lab: Lab,
    work: tempfile::TempDir,
    content: Content,
    torrent: Torrent,
}

impl Room {
    fn or_skip(test: &str, hosts: usize) -> Option<Room> {
        let lab = Lab::or_skip(test, hosts)?;
        let work = folder();
        let content = Content::file(&work.path().join("source"), NAME, LENGTH);
        let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[]);
        Some(Room { lab, work, content, torrent })
    }

    /// Starts a client that seeds it.
    fn seed(&self, client: Client, host: usize) -> Process {
        let dir = self.work.path().join(format!("seeder-{host}"));
        self.content.copy_to(&dir);
        client.seed_as(Setup::LocalDiscovery, self.lab.host(host), &self.torrent, &dir, 6881, self.work.path())
    }

    /// Has a client fetch it, and says how long that took.
    fn fetch(&self, client: Client, host: usize, limit: Duration) -> Result<Duration, String> {
        let out = self.work.path().join(format!("out-{host}"));
        let (host, start) = (self.lab.host(host), Instant::now());
        let fetch = client.fetch_as(Setup::LocalDiscovery, host, &self.torrent, &out, 6882, self.work.path());
        let is_done = || client.compare(&self.content, &out).is_ok();
        match wait_until(limit, is_done) {
            true => Ok(start.elapsed()),
            false => Err(format!("{:?}; {}{}", client.compare(&self.content, &out), fetch.stdout(), fetch.stderr())),
        }
    }

    /// Starts one of ours with these words, the torrent among them, as itself or announced.
    fn ours(&self, host: usize, words: &[&str], name: &str) -> Process {
        let mut command = self.lab.host(host).command(MINITORRENT);
        command.args(words).arg(&self.torrent.path);
        Process::start_announced(command, self.work.path(), name)
    }

    /// Hears what is multicast, as a host hears it.
    fn listen(&self, host: usize) -> Process {
        let host = self.lab.host(host);
        let mut command = host.command("python3");
        command.arg(script()).args(["listen", &host.address.to_string()]);
        let listening = Process::start(command, self.work.path(), "listen");
        assert!(wait_until(LIMIT, || listening.stdout().contains("ready")), "{}", listening.stderr());
        listening
    }
}

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/local_discovery.py")
}

/// Multicasts these datagrams from a host.
fn send(host: &Host, datagrams: &[String]) {
    let mut command = host.command("python3");
    command.arg(script()).args(["send", &host.address.to_string()]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    datagrams.iter().for_each(|datagram| writeln!(input, "{}", datagram.escape_default()).unwrap());
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn search(hash: &str, port: u16, cookie: &str) -> String {
    let head = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\n";
    format!("{head}Port: {port}\r\nInfohash: {hash}\r\ncookie: {cookie}\r\n\r\n\r\n")
}

#[test]
fn what_one_host_seeds_another_fetches_without_any_tracker() {
    let Some(lab) = Lab::or_skip("two hosts without a tracker", 2) else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "big.iso", LENGTH);
    let mut command = lab.host(0).command(MINITORRENT);
    command.args(["seed", "big.iso"]).current_dir(&content.root);
    let seed = Process::start_announced(command, work.path(), "seed");
    let said = "seeding on port 6881, no tracker; found by local discovery";
    assert!(wait_until(LIMIT, || seed.stdout().contains(said)), "{}{}", seed.stdout(), seed.stderr());
    let out = work.path().join("out");
    let mut command = lab.host(1).command(MINITORRENT);
    command.args(["fetch", "--seed-for", "0", "--out"]).arg(&out).arg(content.root.join("big.iso.json"));
    let start = Instant::now();
    let fetched = Process::start_announced(command, work.path(), "fetch").ended(PROMISED + SPARE);
    say(&format!("local: a file of 8 MiB from ours to ours after {:.2?}", start.elapsed()));
    assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
    assert!(fetched.stderr.contains("names no tracker: peers are found by local discovery"), "{}", fetched.stderr);
    content.compare(&out).unwrap();
}

#[test]
fn hosts_with_ipv6_alone_find_each_other_by_their_link_local_addresses() {
    let Some(room) = Room::or_skip("local discovery over IPv6", 2) else { return };
    (0..2).for_each(|host| room.lab.host(host).use_ipv6_alone());
    let _seed = room.seed(Client::Ours, 0);
    let took = room.fetch(Client::Ours, 1, LIMIT).unwrap();
    say(&format!("local: over IPv6 alone after {took:.2?}"));
}

#[test]
fn two_programs_on_a_machine_without_a_network_find_each_other_over_loopback() {
    let Some(room) = Room::or_skip("local discovery over loopback", 1) else { return };
    room.lab.host(0).run("ip link set eth0 down").unwrap();
    let _seed = room.seed(Client::Ours, 0);
    room.fetch(Client::Ours, 0, PROMISED + SPARE).unwrap();
}

#[test]
fn an_interface_that_comes_later_is_searched_too() {
    let Some(room) = Room::or_skip("an interface that comes later", 2) else { return };
    room.lab.host(0).run("ip link set eth0 down").unwrap();
    let _seed = room.seed(Client::Ours, 0);
    let out = room.work.path().join("out");
    let fetch =
        Client::Ours.fetch_as(Setup::LocalDiscovery, room.lab.host(1), &room.torrent, &out, 6882, room.work.path());
    // It has said all that it says at first.
    let quiet = wait_until(LIMIT, || fetch.stderr().contains("local discovery has found none"));
    assert!(quiet, "{}", fetch.stderr());
    room.lab.host(0).run("ip link set eth0 up").unwrap();
    let came = wait_until(Duration::from_secs(20), || room.content.compare(&out).is_ok());
    assert!(came, "{:?}: {}", room.content.compare(&out), fetch.stderr());
}

#[test]
fn real_clients_find_ours_and_ours_finds_them_without_any_tracker() {
    if let Err(reason) = Lab::available() {
        return say(&format!("skipped: real clients by local discovery: {reason}"));
    }
    let mut failed = Vec::new();
    for client in Client::REAL {
        if let Err(reason) = client.available() {
            say(&format!("skipped: {} by local discovery: {reason}", client.name()));
            continue;
        }
        for (seeder, fetcher) in [(Client::Ours, client), (client, Client::Ours)] {
            let room = Room::or_skip("real clients by local discovery", 2).expect("there are labs");
            (0..2).for_each(|host| room.lab.host(host).route_everywhere());
            let _seed = room.seed(seeder, 0);
            let came = room.fetch(fetcher, 1, LIMIT);
            let line = format!("{} to {}", seeder.name(), fetcher.name());
            match came {
                Ok(took) => say(&format!("local: {line} after {took:.2?}")),
                Err(why) => failed.push(format!("{line}: {why}")),
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_seeder_answers_a_search_so_that_one_who_dials_nobody_is_found_at_once() {
    let Some(room) = Room::or_skip("an answer to a search", 2) else { return };
    let listening = room.listen(1);
    let _seed = room.ours(0, &["seed", "--dir", &room.content.root.display().to_string()], "seed");
    let (hash, from) = (room.torrent.info_hash_hex(), room.lab.host(0).address.to_string());
    let heard = || listening.stdout().lines().filter(|line| line.starts_with(&from) && line.contains(&hash)).count();
    // At 0, 2 and 6 s; nothing more comes by itself.
    assert!(wait_until(LIMIT, || heard() >= 3), "{}", listening.stdout());
    let first = listening.stdout();
    let line = first.lines().find(|line| line.starts_with(&from)).unwrap();
    assert!(line.contains(&format!(
        r"b'BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {hash}\r\ncookie: "
    )));
    let before = heard();
    let asked = Instant::now();
    send(room.lab.host(1), &[search(&hash, 6882, "one"), search(&hash, 6883, "two")]);
    assert!(wait_until(LIMIT, || heard() == before + 1), "{}", listening.stdout());
    assert!(asked.elapsed() < PROMISED, "the answer took {:?}", asked.elapsed());
    send(room.lab.host(1), &(0..100).map(|number| search(&hash, 6882, &format!("c{number}"))).collect::<Vec<_>>());
    wait_until(Duration::from_secs(3), || false);
    assert!(heard() <= before + 5, "an answer a second is enough: {} came", heard() - before);
}

#[test]
fn a_private_torrent_is_neither_searched_for_nor_answered_for_nor_is_anything_with_no_announce() {
    let Some(room) = Room::or_skip("private torrents and local discovery", 2) else { return };
    let listening = room.listen(1);
    let private = room.work.path().join("private.torrent");
    let dir = room.content.root.display().to_string();
    let mut command = Command::new(MINITORRENT);
    command.args(["create", "--private", "--out"]).arg(&private).arg(room.content.root.join(NAME));
    assert!(command.output().unwrap().status.success());
    let mut command = room.lab.host(0).command(MINITORRENT);
    command.args(["seed", "--dir", &dir]).arg(&private);
    let seed = Process::start_announced(command, room.work.path(), "private");
    assert!(wait_until(LIMIT, || seed.stdout().contains("--peer ADDRESS:6881 alone")), "{}", seed.stdout());
    let silent = room.ours(0, &["seed", "--no-announce", "--port", "6891", "--dir", &dir], "silent");
    assert!(wait_until(LIMIT, || silent.stdout().contains("--peer ADDRESS:6891 alone")), "{}", silent.stdout());
    let shown = Command::new(MINITORRENT).args(["show", "--json"]).arg(&private).output().unwrap().stdout;
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    let hashes = [shown["info_hash"].as_str().unwrap().to_owned(), room.torrent.info_hash_hex()];
    send(room.lab.host(1), &hashes.each_ref().map(|hash| search(hash, 6882, "me")));
    wait_until(Duration::from_secs(3), || false);
    let from = room.lab.host(0).address.to_string();
    let said = listening.stdout();
    assert!(said.contains("cookie: me") && !said.lines().any(|line| line.starts_with(&from)), "{said}");
}

#[test]
fn a_flood_of_forged_searches_takes_no_memory_and_keeps_nobody_from_the_seeder() {
    let Some(room) = Room::or_skip("a flood of searches", 3) else { return };
    let hash = room.torrent.info_hash_hex();
    let out = room.work.path().join("out");
    let fetch =
        Client::Ours.fetch_as(Setup::LocalDiscovery, room.lab.host(1), &room.torrent, &out, 6882, room.work.path());
    assert!(wait_until(LIMIT, || fetch.stdout().is_empty() && fetch.stderr().contains("names no tracker")));
    let mut flood: Vec<_> = (1..60_000u16).map(|port| search(&hash, port, &format!("{port:x}"))).collect();
    flood.extend((0..60_000u32).map(|number| search(&format!("{number:040x}"), 6881, "x")));
    flood.extend((0..1000).map(|number| "z".repeat(number)));
    let start = Instant::now();
    send(room.lab.host(2), &flood);
    let took = start.elapsed();
    let usage = fetch.usage();
    say(&format!(
        "local: 120,000 forged searches in {took:.2?} took {:.2?} of a core, {} KiB",
        usage.cpu, usage.peak_kib
    ));
    assert!(usage.peak_kib < 32 * 1024, "{usage:?}");
    assert!(usage.cpu < took / 2 + Duration::from_secs(1), "{usage:?} in {took:?}");
    // Those that were named are at the sender's own address, few, and not its services.
    let dialled = room.lab.host(1).run("ss -Htn state syn-sent").unwrap();
    let dialled = String::from_utf8(dialled).unwrap();
    assert!(dialled.lines().count() <= 4 && !dialled.contains(":22 "), "{dialled}");
    let _seed = room.seed(Client::Ours, 0);
    let came = wait_until(Duration::from_secs(30), || room.content.compare(&out).is_ok());
    assert!(came, "{:?}: {}", room.content.compare(&out), fetch.stderr());
}

#[test]
fn a_peer_that_is_named_is_dialled_from_either_side_even_below_port_1024() {
    let Some(room) = Room::or_skip("--peer", 2) else { return };
    let (dir, out) = (room.content.root.display().to_string(), room.work.path().join("out"));
    let peer = |host: usize, port: u16| format!("{}:{port}", room.lab.host(host).address);
    for (number, (of_seed, of_fetch)) in
        [(None, Some(peer(0, 999))), (Some(peer(1, 998)), None)].into_iter().enumerate()
    {
        let mut seeding = vec!["seed", "--no-announce", "--port", "999", "--dir", &dir];
        seeding.extend(of_seed.as_deref().map(|peer| ["--peer", peer]).into_iter().flatten());
        let _seed = room.ours(0, &seeding, &format!("seed-{number}"));
        let to = out.join(number.to_string()).display().to_string();
        let mut fetching = vec!["fetch", "--no-announce", "--port", "998", "--out", &to];
        fetching.extend(of_fetch.as_deref().map(|peer| ["--peer", peer]).into_iter().flatten());
        let fetch = room.ours(1, &fetching, &format!("fetch-{number}"));
        // The seeder dials again after half a minute, should it be there first.
        let came = wait_until(Duration::from_secs(60), || room.content.compare(Path::new(&to)).is_ok());
        assert!(came, "{number}: {}", fetch.stderr());
    }
    fs::remove_dir_all(&out).unwrap();
    let mut command = room.lab.host(1).command(MINITORRENT);
    command.args(["fetch", "--peer", "nowhere.invalid:1"]).arg(&room.torrent.path);
    let refused = Process::start(command, room.work.path(), "refused").ended(LIMIT);
    assert!(refused.code == Some(1) && refused.stderr.contains("nowhere.invalid"), "{}", refused.stderr);
}
