use std::net::IpAddr;

use super::*;
use crate::metainfo::PeerId;

const TORRENT: InfoHash = InfoHash([1; 20]);
const SECOND: Duration = Duration::from_secs(1);

fn address(number: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, (number >> 8) as u8, number as u8]), 6881)
}

fn addresses(numbers: std::ops::Range<u16>) -> Vec<SocketAddr> {
    numbers.map(address).collect()
}

fn remote(session: u64, address: SocketAddr, id: u8, direction: Direction) -> Remote {
    Remote { session: SessionId(session), address, peer_id: PeerId([id; 20]), direction }
}

fn all_due(candidates: &mut Candidates, now: Instant) -> Vec<SocketAddr> {
    std::iter::from_fn(|| candidates.next(now)).map(|(_, address)| address).collect()
}

#[test]
fn eight_are_dialled_at_once_and_ten_in_a_second() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    candidates.found(TORRENT, &addresses(0..40), now);
    let first = all_due(&mut candidates, now);
    assert_eq!(first.len(), MAX_HALF_OPEN);
    assert_eq!(candidates.due(now), None, "nothing is due before one of them has an end");
    for address in &first {
        candidates.failed((TORRENT, *address), false, now);
    }
    assert_eq!(all_due(&mut candidates, now).len(), MAX_A_SECOND - MAX_HALF_OPEN);
    assert_eq!(candidates.due(now), Some(now + SECOND));
    assert_eq!(all_due(&mut candidates, now + SECOND).len(), MAX_HALF_OPEN - 2);
}

#[test]
fn an_address_that_failed_waits_half_a_minute_and_then_twice_as_long() {
    let (mut candidates, mut now) = (Candidates::default(), Instant::now());
    candidates.found(TORRENT, &addresses(0..1), now);
    for wait in [30, 60, 120, 240] {
        let place = candidates.next(now).unwrap();
        candidates.failed(place, false, now);
        // That a tracker names it again changes nothing.
        candidates.found(TORRENT, &addresses(0..1), now);
        assert_eq!(candidates.next(now + Duration::from_secs(wait) - Duration::from_millis(1)), None);
        assert_eq!(candidates.due(now), Some(now + Duration::from_secs(wait)));
        now += Duration::from_secs(wait);
    }
    for _ in 0..20 {
        let place = candidates.next(now).unwrap();
        candidates.failed(place, false, now);
        now += MAX_WAIT;
    }
}

#[test]
fn seeders_and_what_is_no_peer_are_never_dialled_again() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    candidates.found(TORRENT, &addresses(0..3), now);
    let (seeder, leecher) = (address(0), address(1));
    assert_eq!(all_due(&mut candidates, now).len(), 3);
    candidates.opened(TORRENT, &remote(1, seeder, 1, Direction::Dialled), now);
    candidates.opened(TORRENT, &remote(2, leecher, 2, Direction::Dialled), now);
    candidates.failed((TORRENT, address(2)), true, now);
    candidates.closed(SessionId(1), true, false, now);
    candidates.closed(SessionId(2), false, true, now);
    candidates.found(TORRENT, &addresses(0..3), now);
    assert_eq!(all_due(&mut candidates, now + MAX_WAIT), [leecher]);
}

#[test]
fn a_room_of_thirty_seeders_is_dialled_once_and_then_left_alone() {
    let (mut candidates, mut now) = (Candidates::default(), Instant::now());
    let mut dialled = 0;
    for session in 0..3600 {
        if session % 60 == 0 {
            candidates.found(TORRENT, &addresses(0..30), now);
        }
        for (number, address) in all_due(&mut candidates, now).into_iter().enumerate() {
            let id = session * 100 + number as u64;
            candidates.opened(TORRENT, &remote(id, address, 1, Direction::Dialled), now);
            candidates.closed(SessionId(id), true, false, now);
            dialled += 1;
        }
        now += SECOND;
    }
    assert_eq!(dialled, 30);
}

#[test]
fn a_peer_that_is_connected_is_not_dialled_whoever_made_the_connection() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    let from = |port| SocketAddr::new(address(1).ip(), port);
    let neighbour = from(7000);
    candidates.found(TORRENT, &[address(1), neighbour], now);
    candidates.opened(TORRENT, &remote(1, from(40_000), 1, Direction::Accepted), now);
    assert_eq!(candidates.next(now), None, "it may be either of them");
    candidates.listens(SessionId(1), 6881);
    assert_eq!(candidates.next(now), Some((TORRENT, neighbour)));
    assert_eq!(candidates.next(now), None);
    candidates.opened(TORRENT, &remote(2, neighbour, 2, Direction::Dialled), now);
    candidates.closed(SessionId(1), false, true, now);
    candidates.closed(SessionId(2), false, true, now);
    // What is gone is not dialled at once: it may just be restarting, or have closed for a reason.
    assert_eq!(candidates.next(now), None);
    assert_eq!(all_due(&mut candidates, now + FIRST_WAIT).len(), 2);
}

#[test]
fn of_two_connections_that_were_made_at_once_one_stays_and_the_other_side_chooses_first() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    candidates.found(TORRENT, &addresses(1..2), now);
    candidates.next(now).unwrap();
    // It sends another peer id on each connection, as libtorrent does.
    candidates.opened(TORRENT, &remote(1, address(1), 1, Direction::Dialled), now);
    candidates.opened(TORRENT, &remote(2, SocketAddr::new(address(1).ip(), 40_000), 2, Direction::Accepted), now);
    candidates.listens(SessionId(2), 6881);
    let early = now + GRACE - Duration::from_millis(1);
    assert!(candidates.superfluous(early, |_| 0).is_empty());
    let moved = |session: SessionId| if session == SessionId(1) { 16_384 } else { 0 };
    assert_eq!(candidates.superfluous(now + GRACE, moved), [SessionId(2)]);
    assert_eq!(candidates.superfluous(now + GRACE, |_| 0), [SessionId(1)], "it dialled, so it is known to get through");
    // Whichever goes, the peer is not dialled meanwhile.
    candidates.closed(SessionId(1), false, false, now);
    assert_eq!(candidates.next(now + MAX_WAIT), None);
    assert!(candidates.superfluous(now + GRACE, |_| 0).is_empty());
}

#[test]
fn peers_that_only_share_a_host_are_not_taken_for_one() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    for number in 0..3 {
        let from = SocketAddr::new(address(1).ip(), 40_000 + number);
        candidates.opened(TORRENT, &remote(number.into(), from, number as u8, Direction::Accepted), now);
        candidates.listens(SessionId(number.into()), 6881 + number);
    }
    assert!(candidates.superfluous(now + GRACE, |_| 0).is_empty());
    // The same client in another torrent.
    candidates.opened(InfoHash([2; 20]), &remote(9, address(1), 0, Direction::Dialled), now);
    assert!(candidates.superfluous(now + GRACE, |_| 0).is_empty());
}

#[test]
fn sessions_that_came_of_dialling_and_memory_are_bounded() {
    let (mut candidates, mut now) = (Candidates::default(), Instant::now());
    candidates.found(TORRENT, &addresses(0..10_000), now);
    assert_eq!(candidates.known.len(), MAX_KNOWN);
    let mut sessions = 0;
    for _ in 0..100 {
        for address in all_due(&mut candidates, now) {
            candidates.opened(TORRENT, &remote(sessions, address, 1, Direction::Dialled), now);
            sessions += 1;
        }
        now += SECOND;
    }
    assert_eq!(sessions, MAX_DIALLED as u64);
    candidates.forget(TORRENT);
    assert!(candidates.known.is_empty());
}

#[test]
fn what_the_user_named_makes_no_room_for_what_others_name() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    candidates.given(TORRENT, &addresses(0..1), now);
    let place = candidates.next(now).unwrap();
    candidates.failed(place, false, now);
    candidates.found(TORRENT, &addresses(1..10_000), now);
    assert_eq!(candidates.known.len(), MAX_KNOWN);
    assert!(candidates.known.contains_key(&place));
}

#[test]
fn a_peer_that_was_dialled_over_an_interface_is_known_again() {
    let (mut candidates, now) = (Candidates::default(), Instant::now());
    let near: SocketAddr = "[fe80::1%2]:6881".parse().unwrap();
    candidates.found(TORRENT, &[near], now);
    let (_, dialled) = candidates.next(now).unwrap();
    assert_eq!(dialled, near);
    candidates.opened(TORRENT, &remote(1, near, 1, Direction::Dialled), now);
    assert_eq!(candidates.known[&(TORRENT, near)].state, CandidateState::Connected);
    assert_eq!(remote(2, "[fe80::1%2]:50000".parse().unwrap(), 1, Direction::Accepted).listening_on(6881), near);
}
