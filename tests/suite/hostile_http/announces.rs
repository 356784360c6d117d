//! Announces that lie: to aim the swarm at somebody, to fill the tracker's memory, to push others out.
//!
//! What the table does with many addresses is tested beside it, in `src/tracker/table/tests.rs`; here all come from this machine.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::honest::Honest;
use super::room::Room;
use crate::house::{say, wait_until};

const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";

/// What the tracker may take for all that one machine can make it remember, in KiB: 100,000 peers and 19,000 swarms.
const MOST_MEMORY: u64 = 64 * 1024;

fn announce(room: &Room, tail: &str, fields: &str) -> Value {
    let answer = room.ask(&format!("GET /tracker?{HASH}&{tail}"), fields, b"");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{tail}: {error}: {}", answer.text()))
}

/// What a newcomer to the swarm is told to dial.
fn told(room: &Room) -> BTreeSet<String> {
    let answer = announce(room, "peer_id=-NEW001-cccccccccccc&port=9999&left=1&numwant=200", "");
    let peers = answer["peers"].as_array().unwrap().iter();
    peers.map(|peer| format!("{}:{}", peer["ip"].as_str().unwrap(), peer["port"])).collect()
}

#[test]
fn an_announce_aims_nobody_at_a_third_party() {
    let room = Room::open();
    let foreign = [
        "8.8.8.8",
        "192.168.1.1",
        "255.255.255.255",
        "224.0.0.1",
        "0.0.0.0",
        "10.0.0.1%3A80",
        "evil.example",
        "::1",
        "fd00::1",
    ];
    for (number, address) in foreign.into_iter().enumerate() {
        let port = 7000 + number;
        let fields = format!("X-Real-Port: 80\r\nClient-IP: {address}\r\n");
        let lies = format!("ip={address}&ipv4={address}:80&ipv6=[{address}]:80&IP={address}&address={address}");
        announce(&room, &format!("peer_id=-AT0001-bbbbbbbbbb{number:02}&left=1&port={port}&{lies}"), &fields);
    }
    let expected: BTreeSet<String> = (0..foreign.len()).map(|number| format!("127.0.0.1:{}", 7000 + number)).collect();
    assert_eq!(told(&room), expected, "only where it came from counts");

    let own = room.port.to_string();
    for port in ["0", "-1", "65536", "80%20", "", "4294974177", "0x50", &own] {
        let answer = announce(&room, &format!("peer_id=-AT0002-dddddddddddd&left=1&port={port}"), "");
        assert!(answer["failure_reason"].is_string(), "port {port} was taken: {answer}");
    }
    assert_eq!(told(&room), expected);
}

#[test]
fn whoever_comes_by_way_of_a_proxy_is_not_taken_for_this_machine() {
    let room = Room::open();
    for fields in [
        "X-Forwarded-For: 192.168.1.77\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-For:\r\n",
        "Forwarded: for=192.168.1.77\r\n",
        "Via: 1.1 squid\r\n",
        "X-Real-IP: 8.8.8.8\r\n",
    ] {
        let answer = announce(&room, "peer_id=-AT0003-eeeeeeeeeeee&left=1&port=7000", fields);
        let warning = answer["warning_message"].as_str().unwrap_or_default();
        assert!(warning.contains("proxy"), "{fields:?}: {answer}");
    }
    assert!(told(&room).is_empty(), "the room would dial this machine for somebody else");
    announce(&room, "peer_id=-AT0003-eeeeeeeeeeee&left=1&port=7000", "");
    announce(&room, "peer_id=-AT0003-eeeeeeeeeeee&left=1&port=7000&event=stopped", "Via: 1.1 squid\r\n");
    assert_eq!(told(&room), ["127.0.0.1:7000".to_owned()].into(), "a goodbye by way of a proxy was believed");
}

#[test]
fn nothing_that_is_announced_fills_the_memory_or_keeps_an_upload_from_the_room() {
    let room = Room::open();
    let before = room.tracker.usage();
    let honest = Honest::start(room.port);
    let start = Instant::now();
    let flood = |count: usize, query: &dyn Fn(usize) -> String| {
        for batch in 0..count / 1000 {
            let requests: String = (batch * 1000..(batch + 1) * 1000)
                .map(|number| format!("GET /announce?left=0&numwant=0&{} HTTP/1.1\r\nHost: a\r\n\r\n", query(number)))
                .collect();
            let mut stream = room.connect();
            stream.write_all(requests.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).unwrap();
            let answered = answers.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
            assert_eq!(answered, 1000, "an announce was not answered");
        }
    };
    let id = "peer_id=-AT0004-ffffffffffff";
    flood(30_000, &|number| format!("info_hash={number:020}&{id}&port=7000"));
    flood(30_000, &|number| format!("{HASH}&peer_id=-AT0005-{number:012}&port={}", 1024 + number));
    flood(10_000, &|number| format!("{HASH}&{id}&port=7000&key={number:08x}&trackerid={}", "k".repeat(200)));
    flood(10_000, &|number| format!("info_hash=h{number:019}&{id}&port=7001&event=completed"));
    flood(10_000, &|number| format!("info_hash=h{number:019}&{id}&port=7001&event=stopped"));
    let took = start.elapsed();
    let latencies = honest.stop();

    let figures = room.get("/metrics").text();
    let figure = |name: &str| {
        let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{figures}")).parse::<usize>().unwrap()
    };
    let (swarms, peers) = (figure("minitorrent_swarms"), figure("minitorrent_peers"));
    assert!(swarms <= 19_000 && peers <= 100_000, "{swarms} swarms, {peers} peers");
    let after = room.tracker.usage();
    say(&format!(
        "hostile http: 90,000 lying announces of one machine in {took:.1?}: {swarms} swarms, {peers} peers; honest announces {latencies}; memory {} to {} KiB",
        before.resident_kib, after.resident_kib
    ));
    assert!(latencies.max() < Duration::from_secs(1), "an announce took {:?}", latencies.max());
    assert!(after.peak_kib < before.peak_kib + MOST_MEMORY, "{before:?} before, {after:?} after");

    // The table is full of lies, and an upload is announced all the same, at once.
    assert_eq!(room.put("honest.bin", b"content").status, 201);
    let seeding = || {
        let files: Value = serde_json::from_slice(&room.get("/api/files").body).unwrap();
        files[0]["seeding"] == 1
    };
    assert!(wait_until(Duration::from_secs(5), seeding), "the upload is not announced: {}", room.tracker.stderr());
}
