//! Whom to dial, case by case.

use super::*;

const US: PeerId = PeerId([5; 20]);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn remote(session: u64, id: u8, port: u16, direction: Direction) -> Remote {
    Remote { session: SessionId(session), address: address(port), peer_id: PeerId([id; 20]), direction }
}

#[test]
fn an_address_is_dialled_once_and_again_only_after_its_wait() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    roster.add(address(1), now);
    roster.add(address(1), now);
    assert_eq!(roster.next_to_dial(false, now), Some(address(1)));
    assert_eq!(roster.next_to_dial(false, now), None);
    roster.failed(address(1), false, now);
    assert_eq!(roster.next_to_dial(false, now), None);
    assert_eq!(roster.next_to_dial(false, now + FIRST_WAIT), Some(address(1)));
    roster.failed(address(1), false, now);
    assert_eq!(roster.next_to_dial(false, now + FIRST_WAIT), None);
    assert_eq!(roster.next_to_dial(false, now + FIRST_WAIT * 2), Some(address(1)));
    roster.failed(address(1), true, now);
    assert_eq!(roster.next_to_dial(false, now + Duration::from_secs(100_000)), None);
}

#[test]
fn addresses_that_nobody_can_listen_on_are_not_kept() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    for odd in ["0.0.0.0:1", "10.0.0.1:0", "224.0.0.1:5", "[::]:5", "[ff02::1]:5"] {
        roster.add(odd.parse().unwrap(), now);
    }
    assert!(roster.known.is_empty());
}

#[test]
fn of_two_sessions_with_one_peer_both_sides_keep_the_same() {
    // Each side dials the other at once. We are 5, they are 9; seen from both sides, in both orders.
    for (us, them) in [(5, 9), (9, 5)] {
        for dialled_first in [true, false] {
            let mut roster = Roster::default();
            let dialled = remote(1, them, 1, Direction::Dialled);
            let accepted = remote(2, them, 40_000, Direction::Accepted);
            let order = if dialled_first { [dialled, accepted] } else { [accepted, dialled] };
            assert_eq!(roster.opened(&order[0], PeerId([us; 20])), SessionVerdict::Keep);
            let kept = match roster.opened(&order[1], PeerId([us; 20])) {
                SessionVerdict::Replace(old) => {
                    assert_eq!(old, order[0].session);
                    order[1].direction
                }
                SessionVerdict::Refuse(_) => order[0].direction,
                SessionVerdict::Keep => panic!("both kept"),
            };
            assert_eq!(kept == Direction::Dialled, us > them, "the greater id's dialling stays");
        }
    }
}

#[test]
fn a_peer_that_dialled_us_is_not_dialled_while_it_is_here() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    roster.add(address(6881), now);
    let accepted = remote(1, 9, 40_000, Direction::Accepted);
    assert_eq!(roster.opened(&accepted, US), SessionVerdict::Keep);
    roster.listens(accepted.session, 6881, now);
    assert_eq!(roster.next_to_dial(false, now), None);
    roster.closed(accepted.session, Parting::OfUse, false, now);
    assert_eq!(roster.next_to_dial(false, now + FIRST_WAIT), Some(address(6881)));
}

#[test]
fn a_peer_that_says_it_listens_on_a_service_of_its_machine_is_not_dialled_there() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    let accepted = remote(1, 9, 40_000, Direction::Accepted);
    roster.opened(&accepted, US);
    roster.listens(accepted.session, 22, now);
    roster.closed(accepted.session, Parting::OfUse, false, now);
    assert_eq!(roster.next_to_dial(false, now + MAX_WAIT), None);
}

#[test]
fn a_peer_that_is_of_no_use_is_dialled_less_and_less_and_a_seed_not_at_all_by_one_who_has_everything() {
    let (mut roster, mut now) = (Roster::default(), Instant::now());
    roster.add(address(1), now);
    let mut dials = 0;
    for session in 0..600 {
        if roster.next_to_dial(false, now).is_some() {
            dials += 1;
            let peer = remote(session, 9, 1, Direction::Dialled);
            roster.opened(&peer, US);
            roster.closed(peer.session, Parting::OfNoUse, false, now);
        }
        now += Duration::from_secs(1);
    }
    assert!(dials < 15, "{dials} times in ten minutes");
    roster.add(address(2), now);
    assert_eq!(roster.next_to_dial(false, now), Some(address(2)));
    let seed = remote(1000, 8, 2, Direction::Dialled);
    roster.opened(&seed, US);
    roster.closed(seed.session, Parting::OfUse, true, now);
    assert_ne!(roster.next_to_dial(true, now + MAX_WAIT), Some(address(2)));
}

#[test]
fn a_liar_is_refused_from_every_port_and_its_neighbours_are_not() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    roster.add(address(1), now);
    roster.next_to_dial(false, now);
    let liar = remote(1, 9, 1, Direction::Dialled);
    roster.opened(&liar, US);
    roster.ban(&liar);
    roster.closed(liar.session, Parting::ForGood, false, now);
    assert_eq!(roster.next_to_dial(false, now + MAX_WAIT), None);
    assert!(matches!(roster.opened(&remote(2, 9, 50_000, Direction::Accepted), US), SessionVerdict::Refuse(_)));
    assert_eq!(roster.opened(&remote(3, 8, 50_001, Direction::Accepted), US), SessionVerdict::Keep);
}

#[test]
fn a_host_that_keeps_lying_under_new_names_is_banned_whole() {
    let mut roster = Roster::default();
    for number in 0..BANS_OF_ONE_HOST as u8 {
        let liar = remote(u64::from(number), 100 + number, 50_000, Direction::Accepted);
        assert_eq!(roster.opened(&liar, US), SessionVerdict::Keep);
        roster.ban(&liar);
        roster.closed(liar.session, Parting::ForGood, false, Instant::now());
    }
    assert!(matches!(roster.opened(&remote(99, 1, 50_000, Direction::Accepted), US), SessionVerdict::Refuse(_)));
}

#[test]
fn who_claims_everything_and_gives_nothing_does_not_come_before_those_that_failed_as_often() {
    let (mut roster, mut now) = (Roster::default(), Instant::now());
    (1..=3).for_each(|port| roster.add(address(port), now));
    let honest = roster.next_to_dial(false, now).unwrap();
    roster.failed(honest, false, now);
    let mut turns = 0;
    for session in 0..4 {
        now += FIRST_WAIT;
        let next = roster.next_to_dial(false, now).unwrap();
        turns += usize::from(next == honest);
        roster.opened(&remote(session, next.port() as u8, next.port(), Direction::Dialled), US);
        roster.closed(SessionId(session), Parting::OfNoUse, true, now);
    }
    assert!(turns > 0, "it never had its turn");
}

#[test]
fn who_waits_is_counted_and_one_never_tried_comes_before_those_that_failed() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    (1..=3).for_each(|port| roster.add(address(port), now));
    assert_eq!(roster.waiting(false, now), 3);
    for _ in 0..3 {
        let silent = roster.next_to_dial(false, now).unwrap();
        roster.failed(silent, false, now);
    }
    assert_eq!(roster.waiting(false, now), 0);
    let later = now + MAX_WAIT;
    roster.add(address(4), later);
    assert_eq!(roster.waiting(false, later), 4);
    assert_eq!(roster.next_to_dial(false, later), Some(address(4)));
    assert_eq!(roster.waiting(false, later), 3);
    roster.postponed(address(4), later);
    assert_eq!(roster.waiting(false, later), 3);
    assert_eq!(roster.next_to_dial(false, later + FIRST_WAIT), Some(address(4)), "nothing is held against it");
}

#[test]
fn memory_is_bounded_and_the_worst_go_first() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    (1..=MAX_KNOWN as u16).for_each(|port| roster.add(address(port), now));
    roster.next_to_dial(false, now);
    roster.failed(address(1), false, now);
    roster.add(address(60_000), now);
    assert_eq!(roster.known.len(), MAX_KNOWN);
    assert!(roster.known.contains_key(&address(60_000)));
}

#[test]
fn what_the_user_named_makes_no_room_for_what_others_name() {
    let (mut roster, now) = (Roster::default(), Instant::now());
    roster.keep(address(1), now);
    assert_eq!(roster.next_to_dial(false, now), Some(address(1)));
    roster.failed(address(1), false, now);
    (2..=2 * MAX_KNOWN as u16).for_each(|port| roster.add(address(port), now));
    assert!(roster.known.len() <= MAX_KNOWN && roster.known.contains_key(&address(1)));
}
