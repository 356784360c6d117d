//! The lab itself.

use super::*;
use crate::policy::picker::PieceOrder;

fn small() -> Plan {
    Plan { hosts: 4, length: 8 << 20, ..Plan::default() }
}

#[test]
fn the_same_seed_plays_the_same_room() {
    let (one, two) = (run(&small()), run(&small()));
    assert_eq!(one.hosts, two.hosts);
    let other = run(&Plan { seed: 2, ..small() });
    assert_ne!(one.hosts, other.hosts);
}

#[test]
fn nobody_is_faster_than_the_bound() {
    let report = run(&small());
    assert!(report.seconds.is_some() && report.efficiency <= 0.95, "{report}");
    assert!(report.copies >= 1.0, "{report}");
}

#[test]
fn rarest_first_beats_the_order_of_the_file() {
    let efficiency =
        |picker| run(&Plan { picker, source_order: SourceOrder::Plain, hosts: 10, ..Plan::default() }).efficiency;
    let (rarest, sequential) = (efficiency(PieceOrder::Rarest), efficiency(PieceOrder::Sequential));
    assert!(rarest > 1.1 * sequential, "{rarest} against {sequential}");
}

#[test]
fn super_seeding_sends_each_piece_about_once() {
    let copies = |source_order| run(&Plan { source_order, hosts: 10, ..Plan::default() }).copies;
    let (each_once, plain) = (copies(SourceOrder::Super), copies(SourceOrder::Plain));
    assert!(each_once < 1.2 && plain > each_once, "{each_once} against {plain}");
}

#[test]
fn hosts_that_leave_or_upload_nothing_keep_nobody_from_the_file() {
    let report = run(&Plan { leave: 0.34, free_riders: 1, hosts: 9, length: 16 << 20, ..Plan::default() });
    assert!(report.seconds.is_some(), "{report}");
    assert_eq!(report.hosts.iter().filter(|host| host.is_none()).count(), 3, "{report}");
}

#[test]
fn a_room_with_free_riders_is_slower() {
    let seconds = |free_riders| run(&Plan { free_riders, ..small() }).seconds;
    assert!(seconds(2) > seconds(0));
}

#[test]
fn in_one_wi_fi_cell_a_swarm_is_slower_than_on_cables() {
    let (air, cable) = (run(&Plan { air: Some(20e6), ..small() }), run(&small()));
    assert!(air.seconds > cable.seconds, "{air}\n{cable}");
}
