//! The soak in small: what `make soak` runs for an hour (`tests/soak`), for half a minute.

#[path = "../soak/course/mod.rs"]
mod course;

use std::time::Duration;

use crate::house::clients::Client;
use crate::house::say;
use course::Plan;

const TIME: Duration = Duration::from_secs(25);
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_tracker_its_seeder_and_peers_that_come_and_go_survive_half_a_minute_of_faults() {
    let visitors = [vec![Client::Ours; 5], Client::REAL.to_vec()].concat();
    let plan =
        Plan { time: TIME, files: 6, largest_mib: 4, visitors, mbit: 40, rest: 2, grace: GRACE, restarts: vec![0.3] };
    let report = course::run(&plan);
    say(&report.to_string());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.finished.contains_key("ours"), "nobody finished anything");
}
