//! The trackers of a torrent with the clock in our hands: alone, in a room of many torrents, and at the end.

use super::*;
use crate::announce::hosts::{FIRST_RETRY, MAX_DOUBTFUL};

const START: Duration = Duration::from_secs(1000);

/// How long a silent tracker keeps us waiting here.
const TIMEOUT: Duration = Duration::from_secs(10);

const FETCHED: AnnounceState =
    AnnounceState { began_incomplete: true, is_complete: false, lacks_peers: false, is_private: false };
const HUNGRY: AnnounceState = AnnounceState { lacks_peers: true, ..FETCHED };
const COMPLETED: AnnounceState = AnnounceState { is_complete: true, ..FETCHED };
const SEEDED: AnnounceState = AnnounceState { began_incomplete: false, ..COMPLETED };

fn tiers(urls: &[&[&str]]) -> Tiers {
    let owned: Vec<Vec<String>> =
        urls.iter().map(|tier| tier.iter().map(std::string::ToString::to_string).collect()).collect();
    Tiers::new(&owned, |below| below - 1)
}

fn answer(interval: u64, min_interval: u64) -> Answer {
    let mut answer = Answer::parse(b"d5:peers0:e").unwrap();
    answer.interval = Duration::from_secs(interval);
    answer.min_interval = Duration::from_secs(min_interval);
    answer
}

fn after(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

/// One torrent or several, the hosts of their trackers, and what each tracker does: an answer at once, or none until the
/// timeout.
struct Stage {
    torrents: Vec<(Tiers, AnnounceState)>,
    hosts: Hosts,
    now: Duration,
    answers: fn(&str) -> Option<Answer>,
    /// Whose silence ends when.
    silent: Vec<(Duration, usize, String, AnnounceEvent)>,
    /// Who was asked when, in seconds from the start, and told what.
    asked: Vec<(f64, String, AnnounceEvent)>,
}

impl Stage {
    fn new(tiers: Tiers, torrent: AnnounceState, answers: fn(&str) -> Option<Answer>) -> Stage {
        let (hosts, torrents) = (Hosts::default(), vec![(tiers, torrent)]);
        Stage { torrents, hosts, now: START, answers, silent: Vec::new(), asked: Vec::new() }
    }

    /// Lets time pass, a tenth of a second at a time, and announces whatever is due.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..10 * seconds {
            self.step();
            self.now += Duration::from_millis(100);
        }
        self.step();
    }

    fn step(&mut self) {
        let now = self.now;
        let (over, silent) = std::mem::take(&mut self.silent).into_iter().partition(|(until, ..)| *until <= now);
        self.silent = silent;
        for (_, number, url, event) in Vec::from_iter::<Vec<_>>(over) {
            self.hosts.end(&host_of(&url), false, now);
            self.torrents[number].0.failed(&url, event, AnnounceFailure::Host, false, now);
        }
        for number in 0..self.torrents.len() {
            loop {
                let (tiers, torrent) = &mut self.torrents[number];
                tiers.look(*torrent, now);
                let due = tiers.due_at(*torrent, &self.hosts, now);
                let Some(turn) = tiers.next(*torrent, &self.hosts, now) else {
                    assert!(due.is_none_or(|at| at > now), "it would be looked at again and again");
                    break;
                };
                assert!(due.is_some_and(|at| at <= now), "nobody would have looked");
                let (url, event) = (turn.url.to_owned(), turn.event);
                self.asked.push(((now - START).as_secs_f64(), url.clone(), event));
                self.hosts.begin(&host_of(&url), now);
                tiers.begin(&url, *torrent, now);
                match (self.answers)(&url) {
                    Some(answer) => {
                        self.hosts.end(&host_of(&url), true, now);
                        tiers.succeeded(&url, event, &answer, now);
                    }
                    None => self.silent.push((now + TIMEOUT, number, url, event)),
                }
            }
        }
    }

    fn set(&mut self, torrent: AnnounceState) {
        self.torrents[0].1 = torrent;
    }

    /// When this tracker was asked, in whole seconds.
    fn times(&self, url: &str) -> Vec<u64> {
        self.asked.iter().filter(|(_, asked, _)| asked == url).map(|(at, ..)| at.round() as u64).collect()
    }

    fn events(&self) -> Vec<AnnounceEvent> {
        self.asked.iter().map(|(.., event)| *event).collect()
    }
}

/// `silent…` says nothing; `minutes…` has an interval of half an hour, and allows every five; others name no shortest one.
fn by_name(url: &str) -> Option<Answer> {
    match url {
        _ if url.starts_with("silent") => None,
        _ if url.starts_with("minutes") => Some(answer(1800, 300)),
        _ if url.starts_with("room") => Some(answer(5, 2)),
        _ => Some(answer(1800, 1)),
    }
}

#[test]
fn silent_trackers_hold_up_nobody() {
    let silent = ["silent1", "silent2", "silent3", "silent4", "silent5"];
    for shape in [silent.map(|url| vec![url]).to_vec(), vec![silent.to_vec()]] {
        let mut shape: Vec<&[&str]> = shape.iter().map(Vec::as_slice).collect();
        shape.push(&["good"]);
        let mut stage = Stage::new(tiers(&shape), FETCHED, by_name);
        stage.pass(120);
        assert_eq!(stage.times("good"), [5]);
        let first: Vec<_> = stage.asked[..6].iter().map(|(_, url, _)| url.as_str()).collect();
        assert_eq!(first, ["silent1", "silent2", "silent3", "silent4", "silent5", "good"]);
    }
}

#[test]
fn each_of_many_trackers_has_its_turn_before_one_has_a_second() {
    let names: Vec<String> = (0..MAX_TRACKERS).map(|number| format!("silent{number}")).collect();
    let mut stage = Stage::new(Tiers::new(&[names], |below| below - 1), HUNGRY, by_name);
    stage.pass(200);
    let first: std::collections::HashSet<_> = stage.asked.iter().take(MAX_TRACKERS).map(|(_, url, _)| url).collect();
    assert_eq!(first.len(), MAX_TRACKERS);
    let most = stage
        .asked
        .iter()
        .map(|(at, ..)| stage.asked.iter().filter(|(other, ..)| (at - 9.9..=*at).contains(other)).count());
    assert_eq!(most.max(), Some(MAX_AT_ONCE));
}

#[test]
fn a_backup_is_asked_only_when_the_first_fails_and_both_are_told_from_then_on() {
    let mut stage = Stage::new(tiers(&[&["room1", "b"], &["c"]]), FETCHED, by_name);
    stage.pass(60);
    assert_eq!(stage.times("room1").len(), 13);
    assert_eq!((stage.times("b"), stage.times("c")), (vec![], vec![]));
    stage.answers = |url| by_name(url).filter(|_| url != "room1");
    stage.pass(40);
    // Due at 65 s, silent for one, then not alone any more; and not left for good either.
    assert_eq!((stage.times("b"), stage.times("c")), (vec![66], vec![]));
    stage.answers = by_name;
    stage.pass(100);
    assert!(stage.times("room1").len() > 25);
    assert!(stage.times("c").is_empty());
}

#[test]
fn torrents_that_share_a_silent_host_go_on_to_their_next_trackers() {
    let mut stage = Stage::new(tiers(&[&["silent/1"], &["good"]]), FETCHED, by_name);
    for number in 2..300 {
        stage.torrents.push((tiers(&[&[&format!("silent/{number}")], &["good"]]), FETCHED));
    }
    stage.pass(60);
    let good: Vec<_> = stage.asked.iter().filter(|(_, url, _)| url == "good").map(|(at, ..)| *at).collect();
    assert_eq!(good.len(), 299);
    assert!(good.iter().all(|at| *at <= 1.2), "{good:?}");
    let silent = stage.asked.len() - good.len();
    assert!(silent <= 6, "the silent host was asked {silent} times in a minute");
}

#[test]
fn a_healthy_host_that_is_busy_is_waited_for() {
    let (mut hosts, tiers) = (Hosts::default(), tiers(&[&["http://a/1"], &["http://b"]]));
    hosts.begin("http://a", START);
    assert_eq!(tiers.next(FETCHED, &hosts, START), None);
    assert_eq!(tiers.due_at(FETCHED, &hosts, START), Some(START + STAGGER));
    assert_eq!(tiers.next(FETCHED, &hosts, START + STAGGER).map(|turn| turn.url), Some("http://b"));
    hosts.end("http://a", true, START);
    assert_eq!(tiers.next(FETCHED, &hosts, START).map(|turn| turn.url), Some("http://a/1"));
}

#[test]
fn a_due_tracker_is_asked_while_silent_ones_take_all_they_may() {
    let mut stage = Stage::new(tiers(&[&["room"]]), FETCHED, by_name);
    stage.pass(1);
    for number in 0..2 * MAX_DOUBTFUL {
        stage.torrents.push((tiers(&[&[&format!("silent{number}")]]), HUNGRY));
    }
    stage.pass(30);
    assert_eq!(stage.times("room"), [0, 5, 10, 15, 20, 25, 30]);
}

#[test]
fn a_torrent_without_peers_asks_after_2_4_8_seconds_up_to_the_interval() {
    let mut stage = Stage::new(tiers(&[&["a"]]), HUNGRY, by_name);
    stage.pass(6000);
    assert_eq!(stage.times("a"), [0, 2, 6, 14, 30, 62, 126, 254, 510, 1022, 2046, 3846, 5646]);
    assert!(stage.events()[1..].iter().all(|event| *event == AnnounceEvent::Regular));
}

#[test]
fn no_need_of_peers_goes_below_the_min_interval() {
    let mut stage = Stage::new(tiers(&[&["minutes"]]), HUNGRY, by_name);
    stage.pass(2000);
    assert_eq!(stage.times("minutes"), [0, 300, 600, 900, 1200, 1500, 1800]);
}

#[test]
fn a_torrent_whose_last_peer_leaves_asks_at_once() {
    let mut stage = Stage::new(tiers(&[&["a"]]), FETCHED, by_name);
    stage.pass(100);
    assert_eq!(stage.times("a"), [0]);
    stage.set(HUNGRY);
    stage.pass(10);
    assert_eq!(stage.times("a"), [0, 100, 104]);
}

#[test]
fn peers_that_come_and_go_have_nobody_ask_every_two_seconds() {
    let mut stage = Stage::new(tiers(&[&["a"]]), HUNGRY, by_name);
    for _ in 0..400 {
        stage.set(HUNGRY);
        stage.pass(3);
        stage.set(FETCHED);
        stage.pass(1);
    }
    assert!(stage.times("a").len() < 25, "{:?}", stage.times("a"));
    stage.set(FETCHED);
    stage.pass(1800);
    let before = stage.times("a").len();
    stage.set(HUNGRY);
    stage.pass(5);
    assert_eq!(stage.times("a").len(), before + 2, "whoever was well off for long is in a hurry again");
}

#[test]
fn a_torrent_without_peers_asks_its_other_trackers_too_but_not_where_it_is_private() {
    let shape: &[&[&str]] = &[&["minutes1"], &["silent"], &["minutes2"]];
    let mut stage = Stage::new(tiers(shape), HUNGRY, by_name);
    stage.pass(20);
    assert_eq!(
        (stage.times("minutes1"), stage.times("silent"), stage.times("minutes2")),
        (vec![0], vec![2, 14], vec![6])
    );
    let mut private = Stage::new(tiers(shape), AnnounceState { is_private: true, ..HUNGRY }, by_name);
    private.pass(1000);
    assert_eq!(private.times("minutes1"), [0, 300, 600, 900]);
    assert_eq!((private.times("silent"), private.times("minutes2")), (vec![], vec![]));
}

#[test]
fn a_room_of_two_hundred_without_peers_asks_its_tracker_no_more_often_than_its_interval_says() {
    let mut stage = Stage::new(tiers(&[&["room"]]), HUNGRY, by_name);
    stage.torrents.extend((1..200).map(|_| (tiers(&[&["room"]]), HUNGRY)));
    stage.pass(60);
    let late = stage.asked.iter().filter(|(at, ..)| *at > 10.0).count();
    assert!(late <= 200 * 50 / 5 + 200, "{late} announces in 50 s");
    assert!(stage.asked.len() <= 200 * 15, "{} announces in all", stage.asked.len());
}

#[test]
fn completed_is_said_at_once_to_all_that_know_us_and_only_by_who_lacked_something() {
    let mut stage = Stage::new(tiers(&[&["minutes1"], &["minutes2"]]), HUNGRY, by_name);
    stage.pass(5);
    stage.set(COMPLETED);
    stage.pass(20);
    assert_eq!(
        stage.events(),
        [AnnounceEvent::Started, AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Completed]
    );
    assert_eq!((stage.times("minutes1"), stage.times("minutes2")), (vec![0, 5], vec![2, 5]));
    let mut seeded = Stage::new(tiers(&[&["room"]]), SEEDED, by_name);
    seeded.pass(6);
    assert_eq!(seeded.events(), [AnnounceEvent::Started, AnnounceEvent::Regular]);
    let mut quick = Stage::new(tiers(&[&["room"]]), COMPLETED, by_name);
    quick.pass(1);
    assert_eq!(
        quick.events(),
        [AnnounceEvent::Started, AnnounceEvent::Completed],
        "it was complete before the tracker was asked"
    );
}

#[test]
fn a_farewell_is_completed_where_that_is_owed_and_then_stopped_at_every_tracker_that_knows_us() {
    let mut stage = Stage::new(tiers(&[&["minutes1"], &["minutes2"], &["silent"]]), HUNGRY, by_name);
    stage.pass(3);
    let (now, Stage { mut torrents, mut hosts, .. }) = (stage.now, stage);
    let (mut tiers, _) = torrents.remove(0);
    let mut said = Vec::new();
    while let Some(turn) = tiers.farewell(COMPLETED, &hosts) {
        let (url, event) = (turn.url.to_owned(), turn.event);
        said.push((url.clone(), event));
        hosts.begin(&url, now);
        tiers.begin(&url, COMPLETED, now);
        // The one answers to the end, the other does not any more.
        match url.as_str() {
            "minutes1" => tiers.succeeded(&url, event, &answer(5, 5), now),
            _ => _ = tiers.failed(&url, event, AnnounceFailure::Host, true, now),
        }
        hosts.end(&url, true, now);
    }
    let said: Vec<_> = said.iter().map(|(url, event)| (url.as_str(), *event)).collect();
    let both = ["minutes1", "minutes2"].map(|url| [(url, AnnounceEvent::Completed), (url, AnnounceEvent::Stopped)]);
    assert_eq!(said, both.concat());
    assert!(tiers.is_unknown());
}

#[test]
fn a_failing_tracker_is_asked_less_and_less_until_it_answers() {
    let mut stage = Stage::new(tiers(&[&["a"]]), FETCHED, |_| None);
    stage.pass(400);
    assert_eq!(stage.times("a"), [0, 12, 26, 44, 70, 112, 182, 252, 322, 392]);
    stage.answers = by_name;
    stage.pass(100);
    assert_eq!(stage.times("a").last(), Some(&462));
}

#[test]
fn a_tracker_that_refuses_says_when_it_is_asked_again() {
    let (hosts, minutes) = (Hosts::default(), Duration::from_secs(300));
    let due = |retry| {
        let mut tiers = tiers(&[&["a"]]);
        tiers.begin("a", FETCHED, START);
        assert!(tiers.failed("a", AnnounceEvent::Started, AnnounceFailure::Tracker(retry), false, START));
        tiers.due_at(FETCHED, &hosts, START)
    };
    assert_eq!(due(Retry::Unsaid), Some(START + FIRST_RETRY));
    assert_eq!(due(Retry::After(minutes)), Some(START + minutes));
    assert_eq!(due(Retry::Never), Some(Duration::MAX));
}

#[test]
fn each_tracker_gets_its_id_back() {
    let (mut tiers, hosts) = (tiers(&[&["a"]]), Hosts::default());
    let known = |id| Answer { tracker_id: id, ..answer(1, 1) };
    for id in [Some(b"id".to_vec()), None] {
        tiers.begin("a", FETCHED, START);
        tiers.succeeded("a", AnnounceEvent::Regular, &known(id), START);
    }
    let turn = tiers.next(FETCHED, &hosts, after(1)).unwrap();
    assert_eq!((turn.tracker_id, turn.event), (Some(&b"id"[..]), AnnounceEvent::Regular));
}

#[test]
fn a_tier_is_shuffled_by_chance_and_no_further() {
    let urls: Vec<Vec<String>> =
        [&["a", "b", "c"][..], &["d"]].map(|tier| tier.iter().map(std::string::ToString::to_string).collect()).to_vec();
    let order = |chance: fn(usize) -> usize| {
        Tiers::new(&urls, chance).trackers.iter().map(|tracker| tracker.url.clone()).collect::<String>()
    };
    assert_eq!(order(|_| 0), "cabd");
    assert_eq!(order(|below| below - 1), "abcd");
}

#[test]
fn trackers_are_kept_once_and_up_to_the_limit() {
    let twice = tiers(&[&["a", "a"], &[], &["a", "b"]]);
    assert_eq!(twice.trackers.len(), 2);
    let many = vec![(0..MAX_TRACKERS + 1).map(|number| number.to_string()).collect()];
    assert_eq!(Tiers::new(&many, |_| 0).trackers.len(), MAX_TRACKERS);
    assert_eq!(Tiers::new(&[], |_| 0).due_at(FETCHED, &Hosts::default(), START), None);
}
