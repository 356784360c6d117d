//! The swarm table against a model of it that goes through everything each time.
//!
//! Nobody is silent here for so long that the table may forget him, so it must say exactly what it was told. What it
//! forgets, and when, is held by the properties in `table` and `peers`.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{
    TrackerLimits,
    address::Asker,
    announce::{Announce, AnnounceEvent},
    table::SwarmTable,
};
use crate::metainfo::{InfoHash, PeerId};

/// So many announces, this far apart at most, take less than twice the shortest interval.
const ANNOUNCES: usize = 90;
const MOST_MILLIS: u64 = 100;

#[derive(Debug, Clone)]
struct Told {
    hash: u8,
    host: u8,
    port: u16,
    /// Which of the programs that may listen there.
    name: u8,
    left: u64,
    event: AnnounceEvent,
    wait: Duration,
    chance: u64,
}

/// What the model keeps of a peer.
#[derive(Debug)]
struct Peer {
    hash: InfoHash,
    endpoint: (IpAddr, u16),
    peer_id: PeerId,
    left: u64,
    seen: u64,
    has_completed: bool,
}

fn announces() -> impl Strategy<Value = Vec<Told>> {
    let event = prop::sample::select(vec![
        AnnounceEvent::Regular,
        AnnounceEvent::Started,
        AnnounceEvent::Completed,
        AnnounceEvent::Stopped,
    ]);
    let place = (0..3_u8, 1..5_u8, 1..4_u16, 1..3_u8);
    let told =
        (place, 0..3_u64, event, 0..MOST_MILLIS, any::<u64>()).prop_map(|(place, left, event, millis, chance)| {
            let (hash, host, port, name) = place;
            Told { hash, host, port, name, left, event, wait: Duration::from_millis(millis), chance }
        });
    prop::collection::vec(told, 0..ANNOUNCES)
}

/// What the peer at an endpoint becomes by an announce, as BEP 3 tells it; true when it has completed just now.
fn hear(model: &mut Vec<Peer>, endpoint: (IpAddr, u16), announce: &Announce, seen: u64) -> bool {
    let same = |peer: &Peer| peer.hash == announce.info_hash && peer.endpoint == endpoint;
    let known = model.iter().position(same).map(|at| model.swap_remove(at));
    let known = known.filter(|peer| peer.peer_id == announce.peer_id || announce.event == AnnounceEvent::Stopped);
    let had_completed = known.as_ref().is_some_and(|peer| peer.has_completed);
    if announce.event == AnnounceEvent::Stopped {
        // A goodbye under another name is late, and moves nobody.
        model.extend(known.filter(|peer| peer.peer_id != announce.peer_id));
        return false;
    }
    let completes = announce.event == AnnounceEvent::Completed && announce.left == 0 && !had_completed;
    let (hash, peer_id, left) = (announce.info_hash, announce.peer_id, announce.left);
    model.push(Peer { hash, endpoint, peer_id, left, seen, has_completed: had_completed || completes });
    completes
}

proptest! {
    #[test]
    fn the_table_says_what_it_was_told_and_nothing_else(announces in announces()) {
        let mut table = SwarmTable::new(TrackerLimits::default());
        let (mut model, mut completed) = (Vec::new(), [0; 3]);
        let mut now = Duration::from_secs(1000);
        for told in announces {
            now += told.wait;
            let asker = Asker::new([10, 0, 0, told.host].into(), [10, 0, 0, 200].into(), &[]);
            let announce = Announce {
                info_hash: InfoHash([told.hash; 20]),
                peer_id: PeerId([told.name; 20]),
                port: told.port,
                uploaded: 1,
                downloaded: 2,
                left: told.left,
                event: told.event,
                wanted: 50,
            };
            let reply = table.announce(&announce, &asker, now, told.chance);
            let endpoint = (asker.kept_as(), told.port);
            completed[usize::from(told.hash)] += u32::from(hear(&mut model, endpoint, &announce, now.as_secs()));

            let swarm: Vec<&Peer> = model.iter().filter(|peer| peer.hash == announce.info_hash).collect();
            let expected: HashSet<_> =
                swarm.iter().map(|peer| (peer.endpoint, peer.peer_id, peer.left, peer.seen)).collect();
            let listed = table.peers(&announce.info_hash).map(|view| {
                ((view.address.ip(), view.address.port()), view.peer_id, view.left, view.seen.as_secs())
            });
            let listed: Vec<_> = listed.collect();
            prop_assert_eq!(listed.len(), expected.len());
            prop_assert_eq!(listed.into_iter().collect::<HashSet<_>>(), expected);
            prop_assert_eq!(table.peer_count(), model.len());

            // A seeder has no use for seeders; nobody is told of itself, and all others find room in a reply.
            let is_of_use = |peer: &&&Peer| !(announce.left == 0 && peer.left == 0);
            let others = swarm.iter().filter(|peer| peer.endpoint != endpoint && peer.peer_id != announce.peer_id);
            let wanted: HashSet<_> = others.filter(is_of_use).map(|peer| peer.endpoint).collect();
            let got: HashSet<_> = reply.peers.iter().map(|peer| (peer.address.ip(), peer.address.port())).collect();
            if announce.event == AnnounceEvent::Stopped {
                prop_assert!(got.is_empty());
            } else {
                prop_assert_eq!(got, wanted);
            }
            let counts = table.counts(&announce.info_hash);
            let seeders = swarm.iter().filter(|peer| peer.left == 0).count();
            prop_assert_eq!((counts.complete as usize, counts.incomplete as usize), (seeders, swarm.len() - seeders));
            prop_assert_eq!(counts.downloaded, completed[usize::from(told.hash)]);
        }
    }
}
