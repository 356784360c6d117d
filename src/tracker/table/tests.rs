//! The swarm table, case by case and against a model.

use super::*;
use crate::tracker::announce::DEFAULT_WANTED;
use proptest::prelude::*;
use std::{collections::HashSet, net::IpAddr};

const NOW: Duration = Duration::from_secs(1000);
const LONG_GONE: Duration = Duration::from_secs(1000 + 661);

fn announce(port: u16, left: u64, event: AnnounceEvent) -> Announce {
    let (info_hash, mut id) = (InfoHash([1; 20]), [b'p'; 20]);
    id[..2].copy_from_slice(&port.to_be_bytes());
    Announce { info_hash, peer_id: PeerId(id), port, uploaded: 0, downloaded: 0, left, event, wanted: DEFAULT_WANTED }
}

fn host(last: u8) -> Asker {
    Asker::new(IpAddr::from([192, 168, 1, last]), IpAddr::from([192, 168, 1, 200]), &[])
}

/// Another program on the tracker's machine.
fn local() -> Asker {
    Asker::new(IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 1]), &[])
}

fn ports(reply: &AnnounceReply) -> Vec<u16> {
    let mut ports: Vec<u16> = reply.peers.iter().map(|peer| peer.address.port()).collect();
    ports.sort_unstable();
    ports
}

/// A table with two seeders and two leechers, each on a host and port of the same number.
fn room_of_four() -> SwarmTable {
    let mut table = SwarmTable::default();
    for (number, left) in [(1, 0), (2, 0), (3, 5), (4, 5)] {
        table.announce(&announce(number, left, AnnounceEvent::Started), &host(number as u8), NOW, 0);
    }
    table
}

#[test]
fn a_leecher_gets_all_the_others_and_a_seeder_gets_leechers() {
    let mut table = room_of_four();
    for chance in 0..9 {
        let leecher = table.announce(&announce(3, 5, AnnounceEvent::Regular), &host(3), NOW, chance);
        assert_eq!(ports(&leecher), [1, 2, 4]);
        let seeder = table.announce(&announce(1, 0, AnnounceEvent::Regular), &host(1), NOW, chance);
        assert_eq!(ports(&seeder), [3, 4]);
        assert_eq!(seeder.counts, Counts { complete: 2, incomplete: 2, downloaded: 0 });
    }
}

#[test]
fn a_few_wanted_peers_include_a_seeder() {
    let mut table = SwarmTable::default();
    table.announce(&announce(1, 0, AnnounceEvent::Started), &host(1), NOW, 0);
    for number in 2..100 {
        table.announce(&announce(number, 5, AnnounceEvent::Started), &host(number as u8), NOW, 0);
    }
    for chance in 0..200 {
        let announce = Announce { wanted: 4, ..announce(50, 5, AnnounceEvent::Regular) };
        let got = ports(&table.announce(&announce, &host(50), NOW, chance << 32));
        assert!(got.len() == 4 && got[0] == 1, "{got:?}");
    }
}

#[test]
fn who_stops_is_gone_and_completed_counts_once() {
    let mut table = room_of_four();
    for _ in 0..2 {
        let reply = table.announce(&announce(3, 0, AnnounceEvent::Completed), &host(3), NOW, 0);
        assert_eq!(reply.counts, Counts { complete: 3, incomplete: 1, downloaded: 1 });
    }
    let reply = table.announce(&announce(3, 0, AnnounceEvent::Stopped), &host(3), NOW, 0);
    assert_eq!(reply.counts, Counts { complete: 2, incomplete: 1, downloaded: 1 });
    assert!(reply.peers.is_empty());
    assert_eq!(table.peer_count(), 3);
}

#[test]
fn peers_that_leave_out_their_id_are_told_of_each_other() {
    let mut table = SwarmTable::default();
    for (number, met) in [(1, vec![]), (2, vec![1]), (3, vec![1, 2]), (3, vec![1, 2])] {
        let nameless = Announce { peer_id: PeerId([0; 20]), ..announce(number, 5, AnnounceEvent::Started) };
        assert_eq!(ports(&table.announce(&nameless, &host(number as u8), NOW, 0)), met);
    }
}

#[test]
fn a_goodbye_to_an_unknown_swarm_makes_none() {
    let mut table = SwarmTable::default();
    table.announce(&announce(1, 0, AnnounceEvent::Stopped), &host(1), NOW, 0);
    assert_eq!(table.swarm_count(), 0);
}

#[test]
fn the_silent_are_neither_handed_out_nor_counted() {
    let mut table = room_of_four();
    let reply = table.announce(&announce(9, 5, AnnounceEvent::Started), &host(9), LONG_GONE, 0);
    assert!(reply.peers.is_empty());
    assert_eq!(reply.counts, Counts { complete: 0, incomplete: 1, downloaded: 0 });
    assert_eq!(table.peer_count(), 1);
}

#[test]
fn a_quiet_table_empties_by_sweeping_and_remembers_what_was_fetched() {
    let mut table = room_of_four();
    table.announce(&announce(3, 0, AnnounceEvent::Completed), &host(3), NOW, 0);
    let other = Announce { info_hash: InfoHash([2; 20]), ..announce(1, 0, AnnounceEvent::Started) };
    table.announce(&other, &host(1), NOW, 0);
    table.sweep(LONG_GONE, 20);
    assert_eq!((table.peer_count(), table.swarm_count()), (0, 1));
    assert_eq!(table.counts(&InfoHash([1; 20])), Counts { downloaded: 1, ..Counts::default() });
}

#[test]
fn a_peer_on_this_machine_is_handed_out_under_the_address_that_was_asked() {
    let mut table = SwarmTable::default();
    table.announce(&announce(6881, 0, AnnounceEvent::Started), &Asker::this_process(), NOW, 0);
    let reply = table.announce(&announce(5, 5, AnnounceEvent::Started), &host(5), NOW, 0);
    assert_eq!(reply.peers[0].address, "192.168.1.200:6881".parse().unwrap());
}

#[test]
fn both_families_are_handed_out_and_the_askers_own_comes_first() {
    let mut table = SwarmTable::default();
    let six = |last: u8| Asker::new(format!("fd00::{last}").parse().unwrap(), "fd00::ff".parse().unwrap(), &[]);
    for number in 1..=5 {
        table.announce(&announce(number.into(), 5, AnnounceEvent::Started), &host(number), NOW, 0);
        table.announce(&announce(u16::from(number) + 10, 5, AnnounceEvent::Started), &six(number), NOW, 0);
    }
    let wants_six = Announce { wanted: 6, ..announce(90, 5, AnnounceEvent::Started) };
    for (asker, is_ipv6) in [(host(9), false), (six(9), true)] {
        let reply = table.announce(&wants_six, &asker, NOW, 3);
        let own = reply.peers.iter().filter(|peer| peer.address.is_ipv6() == is_ipv6).count();
        assert_eq!((reply.peers.len(), own), (6, 5));
    }
}

#[test]
fn a_page_sees_what_peers_told_of_themselves() {
    let mut table = SwarmTable::default();
    let told = Announce { uploaded: 7, downloaded: 8, ..announce(3, 9, AnnounceEvent::Started) };
    table.announce(&told, &host(3), NOW, 0);
    let want = PeerView {
        address: "192.168.1.3:3".parse().unwrap(),
        peer_id: told.peer_id,
        left: 9,
        uploaded: 7,
        downloaded: 8,
        seen: NOW,
    };
    assert_eq!(table.peers(&told.info_hash).collect::<Vec<_>>(), [want]);
    assert_eq!(table.peers(&InfoHash([9; 20])).count(), 0);
}

#[test]
fn the_interval_is_short_in_a_room_and_bounds_the_load_in_a_crowd() {
    let limits = TrackerLimits { peers_of_address: usize::MAX, ..TrackerLimits::default() };
    let mut table = SwarmTable::new(limits);
    let mut interval_with = |count: u32| {
        for number in table.peer_count() as u32..count {
            let asker =
                Asker::new(IpAddr::from((number + 0x0a00_0000).to_be_bytes()), IpAddr::from([10, 255, 0, 1]), &[]);
            table.announce(&announce(1, 5, AnnounceEvent::Started), &asker, NOW, 0);
        }
        table.interval()
    };
    assert_eq!([30, 599, 600, 3000].map(&mut interval_with), [5, 5, 6, 30]);
}

fn unlisted(limits: TrackerLimits, announces: &[(u8, u16, u8)], asker: impl Fn(u8) -> Asker) -> Vec<Option<Full>> {
    let mut table = SwarmTable::new(limits);
    let one = |(hash, port, from): &(u8, u16, u8)| {
        let announce = Announce { info_hash: InfoHash([*hash; 20]), ..announce(*port, 5, AnnounceEvent::Started) };
        table.announce(&announce, &asker(*from), NOW, 0).unlisted
    };
    announces.iter().map(one).collect()
}

#[test]
fn every_limit_holds_at_n_and_refuses_the_next_but_none_who_is_there() {
    let many = TrackerLimits {
        swarms: 9,
        peers: 9,
        peers_of_swarm: 9,
        peers_of_address: 9,
        peers_of_address_in_swarm: 9,
        peers_of_machine: 9,
    };
    let spread = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (1, 1, 1)];
    let one_swarm = spread.map(|(_, port, from)| (1, port, from));
    let one_host = spread.map(|(hash, port, _)| (hash, port, 1));
    let one_host_in_one_swarm = spread.map(|(_, port, _)| (1, port, 1));
    for (limits, announces, full) in [
        (TrackerLimits { swarms: 3, ..many }, spread, Full::Swarms(3)),
        (TrackerLimits { peers: 3, ..many }, spread, Full::Peers(3)),
        (TrackerLimits { peers_of_swarm: 3, ..many }, one_swarm, Full::Swarm(3)),
        (TrackerLimits { peers_of_address: 3, ..many }, one_host, Full::Address(3)),
        (TrackerLimits { peers_of_address_in_swarm: 3, ..many }, one_host_in_one_swarm, Full::AddressInSwarm(3)),
    ] {
        assert_eq!(unlisted(limits, &announces, host), [None, None, None, Some(full), None]);
    }
    let in_a_64 = |last| Asker::new(format!("2001:db8::{last}").parse().unwrap(), "2001:db8:1::".parse().unwrap(), &[]);
    assert_eq!(unlisted(TrackerLimits { peers_of_address: 3, ..many }, &spread, in_a_64)[3], Some(Full::Address(3)));
    let none =
        TrackerLimits { swarms: 0, peers: 0, peers_of_swarm: 0, peers_of_address: 0, peers_of_machine: 0, ..many };
    assert_eq!(unlisted(none, &spread, |_| Asker::this_process()), [None; 5]);
    let local = unlisted(TrackerLimits { peers_of_machine: 3, peers_of_address: 0, ..many }, &spread, |_| local());
    assert_eq!(local, [None, None, None, Some(Full::Address(3)), None]);
}

#[test]
fn strangers_leave_room_for_the_trackers_own_machine() {
    let limits = TrackerLimits { swarms: 10, peers: 10, ..TrackerLimits::default() };
    let announces: Vec<_> = (1..=10).map(|number| (number, number.into(), number)).collect();
    let last_is_local = |number| if number == 10 { local() } else { host(number) };
    assert_eq!(unlisted(limits, &announces, host)[9], Some(Full::Swarms(10)));
    assert_eq!(unlisted(limits, &announces, last_is_local)[9], None);
}

#[test]
fn an_unlisted_peer_still_gets_the_others() {
    let mut table = SwarmTable::new(TrackerLimits { peers_of_swarm: 2, ..TrackerLimits::default() });
    for number in 1..=3 {
        let reply = table.announce(&announce(number, 5, AnnounceEvent::Started), &host(number as u8), NOW, 0);
        assert_eq!(reply.peers.len(), usize::from(number) - 1);
    }
    assert_eq!(table.peer_count(), 2);
}

#[test]
fn a_swarm_without_peers_makes_room_for_another() {
    let mut table = SwarmTable::new(TrackerLimits { swarms: 1, ..TrackerLimits::default() });
    let local = local();
    table.announce(&announce(1, 0, AnnounceEvent::Completed), &local, NOW, 0);
    let other = Announce { info_hash: InfoHash([2; 20]), ..announce(2, 5, AnnounceEvent::Started) };
    assert_eq!(table.announce(&other, &local, NOW, 0).unlisted, Some(Full::Swarms(1)));
    table.announce(&announce(1, 0, AnnounceEvent::Stopped), &local, NOW, 0);
    assert_eq!(table.announce(&other, &local, NOW, 0).unlisted, None);
    assert_eq!(table.swarm_count(), 1);
}

fn hash_of(number: u32) -> InfoHash {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash(hash)
}

/// Announces that many swarms of one peer each, none of which exists; how many were listed.
fn flood(table: &mut SwarmTable, asker: &Asker, from: u32, count: u32) -> usize {
    let one = |number| {
        let announce = Announce { info_hash: hash_of(number), ..announce(6881, 0, AnnounceEvent::Started) };
        table.announce(&announce, asker, NOW, 0).unlisted.is_none()
    };
    (from..from + count).map(one).filter(|listed| *listed).count()
}

#[test]
fn whoever_fills_the_table_with_swarms_pushes_out_only_himself() {
    let mut table = SwarmTable::default();
    // What honest ones have: a swarm each, one a hundred files.
    for last in 1..=50 {
        assert_eq!(flood(&mut table, &host(last), last.into(), 1), 1);
    }
    assert_eq!(flood(&mut table, &host(51), 1000, SHARE_OF_ADDRESS as u32), SHARE_OF_ADDRESS);
    for attacker in 100..=120 {
        flood(&mut table, &host(attacker), u32::from(attacker) * 10_000, 20_000);
    }
    assert!(table.swarm_count() <= TrackerLimits::default().swarms);
    assert_eq!(flood(&mut table, &host(52), 2000, 100), 100, "a newcomer is not listed");
    for last in 1..=50 {
        assert_eq!(table.counts(&hash_of(last)).complete, 1, "the swarm of host {last} is gone");
    }
    assert!((1000..1100).chain(2000..2100).all(|number| table.counts(&hash_of(number)).complete == 1));
}

#[test]
fn no_program_on_the_trackers_machine_keeps_an_upload_from_being_announced() {
    let mut table = SwarmTable::default();
    flood(&mut table, &local(), 10_000, 30_000);
    flood(&mut table, &host(9), 100_000, 5_000);
    assert_eq!(flood(&mut table, &Asker::this_process(), 0, 2000), 2000);
    // Nor does it speak for the process, by whatever name.
    for event in [AnnounceEvent::Stopped, AnnounceEvent::Started, AnnounceEvent::Stopped] {
        let told = Announce { info_hash: hash_of(7), ..announce(6881, 9, event) };
        for peer_id in [told.peer_id, PeerId([b'x'; 20])] {
            table.announce(&Announce { peer_id, ..told }, &local(), NOW, 0);
        }
    }
    assert_eq!(table.counts(&hash_of(7)), Counts { complete: 1, incomplete: 0, downloaded: 0 });
}

#[test]
fn nobody_waits_longer_because_one_address_has_thousands_of_peers() {
    let mut table = SwarmTable::default();
    flood(&mut table, &host(9), 0, 2000);
    flood(&mut table, &local(), 100_000, 10_000);
    assert_eq!((table.peer_count(), table.interval()), (12_000, MIN_INTERVAL));
}

#[test]
fn one_address_cannot_drown_the_others_of_a_swarm() {
    let mut table = room_of_four();
    for port in 1000..6000 {
        table.announce(&announce(port, u64::from(port % 2), AnnounceEvent::Started), &host(66), NOW, 0);
    }
    assert_eq!(table.peer_count(), 4 + TrackerLimits::default().peers_of_address_in_swarm);
    let mut met = HashSet::new();
    for chance in 0..20_u64 {
        let chance = chance.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        met.extend(ports(&table.announce(&announce(3, 5, AnnounceEvent::Regular), &host(3), NOW, chance)));
    }
    assert!([1, 2, 4].iter().all(|port| met.contains(port)), "in 20 announces it met only {met:?}");
}

#[test]
fn who_comes_by_way_of_a_proxy_gets_the_others_and_is_neither_listed_nor_believed() {
    let mut table = room_of_four();
    let before = table.counts(&InfoHash([1; 20]));
    let proxied = host(3).handed_on();
    let reply = table.announce(&announce(9, 5, AnnounceEvent::Started), &proxied, NOW, 0);
    assert_eq!((ports(&reply), reply.unlisted), (vec![1, 2, 3, 4], Some(Full::Proxy)));
    table.announce(&announce(3, 5, AnnounceEvent::Stopped), &proxied, NOW, 0);
    assert_eq!(table.counts(&InfoHash([1; 20])), before);
    let unheard_of = Announce { info_hash: InfoHash([9; 20]), ..announce(9, 5, AnnounceEvent::Started) };
    assert_eq!(table.announce(&unheard_of, &proxied, NOW, 0).unlisted, Some(Full::Proxy));
    assert_eq!(table.swarm_count(), 1);
}

#[test]
fn a_goodbye_of_anothers_peer_or_from_elsewhere_moves_nobody() {
    let mut table = room_of_four();
    let before = table.counts(&InfoHash([1; 20]));
    let victim = announce(3, 5, AnnounceEvent::Stopped);
    table.announce(&victim, &host(4), NOW, 0);
    table.announce(&Announce { peer_id: PeerId([b'x'; 20]), ..victim }, &host(3), NOW, 0);
    table.announce(&Announce { port: 0, ..victim }, &host(3), NOW, 0);
    assert_eq!(table.counts(&InfoHash([1; 20])), before);
}

proptest! {
    #[test]
    fn counts_equal_the_lists_and_nobody_gets_itself_a_gone_peer_or_a_peer_twice(
        steps in prop::collection::vec((0u8..3, 1u16..9, 1u8..6, 0u64..3, 0usize..5, 0u64..200, any::<u64>()), 1..100),
    ) {
        let limits = TrackerLimits {
            swarms: 3,
            peers: 20,
            peers_of_swarm: 12,
            peers_of_address: 8,
            peers_of_address_in_swarm: 5,
            peers_of_machine: 8,
        };
        let mut table = SwarmTable::new(limits);
        let mut now = NOW;
        for (hash, port, from, left, event, wait, chance) in steps {
            now += Duration::from_secs(wait);
            let event = [AnnounceEvent::Regular, AnnounceEvent::Regular, AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Stopped][event];
            let asker = if from == 5 { local() } else { host(from) };
            let told = announce(port, left, event);
            let told = Announce { info_hash: InfoHash([hash; 20]), wanted: from.into(), ..told };
            let reply = table.announce(&told, &asker, now, chance);

            let views: Vec<PeerView> = table.peers(&told.info_hash).collect();
            let mut kept = HashSet::new();
            for peer in &reply.peers {
                let view = views.iter().find(|view| asker.dials(view.address.ip()) == Some(peer.address.ip())
                    && view.address.port() == peer.address.port());
                let view = view.expect("who is handed out is listed");
                prop_assert!(kept.insert(view.address) && view.peer_id != told.peer_id);
                prop_assert!(view.address != SocketAddr::new(asker.kept_as(), port));
                prop_assert!(now - view.seen <= LONG_GONE - NOW && !(told.is_seeder() && view.left == 0));
            }
            prop_assert!(reply.peers.len() <= told.wanted);
            let seeders = views.iter().filter(|view| view.left == 0).count();
            let counts = [reply.counts.complete, reply.counts.incomplete].map(|count| count as usize);
            prop_assert_eq!(counts, [seeders, views.len() - seeders]);
            let all: usize = (0..3).map(|hash| table.peers(&InfoHash([hash; 20])).count()).sum();
            prop_assert_eq!(all, table.peer_count());
            prop_assert!(table.peer_count() <= limits.peers && table.swarm_count() <= limits.swarms);
        }
        table.sweep(now + LONG_GONE, 1000);
        prop_assert_eq!(table.peer_count(), 0);
    }
}
