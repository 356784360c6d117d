//! Histories of rooms, in the order in which things happened and out of it.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::{bitfield::Bitfield, status::report::PeerReport};

const FILE: InfoHash = InfoHash([1; 20]);
const LENGTH: u64 = 1000;

fn id(number: u32) -> PeerId {
    let mut id = [b'x'; 20];
    id[..4].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A machine's own address.
fn of(number: u32) -> String {
    format!("10.0.{}.{}:6881", number / 250, number % 250 + 1)
}

fn sighting(number: u32, address: &str, seconds: u64, told: SightingKind) -> Sighting {
    Sighting { peer_id: id(number), address: address.parse().unwrap(), at: at(seconds), told }
}

fn announced(number: u32, seconds: u64, left: u64) -> Sighting {
    let downloaded = LENGTH - left;
    sighting(
        number,
        &of(number),
        seconds,
        SightingKind::Announced { left: Some(left), uploaded: downloaded / 2, downloaded },
    )
}

fn goodbye(number: u32, seconds: u64, left: u64) -> Sighting {
    sighting(number, &of(number), seconds, SightingKind::Goodbye { left: Some(left) })
}

fn session(number: u32, address: &str, seconds: u64, left: u64) -> Sighting {
    sighting(number, address, seconds, SightingKind::Session { left, has: LENGTH - left, name: None })
}

fn model(sightings: impl IntoIterator<Item = Sighting>) -> RoomModel {
    let mut model = RoomModel::default();
    model.follow(FILE, LENGTH);
    sightings.into_iter().for_each(|sighting| model.see(&FILE, sighting));
    model
}

fn machine(model: &RoomModel, number: u32) -> Machine {
    let machines = &model.files[&FILE].machines;
    machines.get(&id(number)).unwrap_or_else(|| panic!("{number} is not there")).clone()
}

fn present(numbers: &[u32]) -> HashSet<PeerId> {
    numbers.iter().map(|number| id(*number)).collect()
}

fn round(model: &mut RoomModel, now: u64, numbers: &[u32]) -> Option<Measure> {
    model.measure_round(&FILE, at(now), &present(numbers));
    model.files[&FILE].round()
}

fn peer(number: u32, address: &str, pieces: u32) -> PeerReport {
    let mut have = Bitfield::empty(10);
    (0..pieces).for_each(|piece| _ = have.set(piece));
    PeerReport {
        address: address.parse().unwrap(),
        peer_id: id(number),
        client: None,
        name: None,
        upload_only: false,
        have,
        down_rate: 0.0,
        up_rate: 100.0,
        peak_down: 0.0,
        peak_up: 300.0,
        downloaded: 0,
        uploaded: 0,
        they_choke: false,
        we_choke: false,
        they_want: true,
        has_wanted: true,
        since: SystemTime::UNIX_EPOCH,
    }
}

fn shown(model: &RoomModel, now: u64, numbers: &[u32], sessions: &[PeerReport]) -> Picture {
    sources(model, now, &present(numbers), sessions, None).picture(true)
}

fn sources<'a>(
    model: &'a RoomModel,
    now: u64,
    present: &'a HashSet<PeerId>,
    sessions: &'a [PeerReport],
    complete: Option<u32>,
) -> PictureSources<'a> {
    let room = &model.files[&FILE];
    let (length, pieces) = (LENGTH, 10);
    PictureSources { now: at(now), room, present, sessions, complete, length, pieces, own: &[], lan: None, me: None }
}

#[test]
fn a_report_that_is_older_than_the_announce_takes_nothing_back() {
    let model =
        model([announced(1, 10, 1000), announced(1, 20, 0), session(1, &of(1), 19, 300), session(1, &of(1), 21, 300)]);
    let one = machine(&model, 1);
    assert_eq!((one.left(), one.finished()), (Some(0), Some(at(20))));
}

#[test]
fn a_machine_that_announces_that_it_lacks_something_again_begins_anew() {
    let model = model([announced(1, 10, 1000), announced(1, 20, 0), announced(1, 50, 400)]);
    let one = machine(&model, 1);
    assert_eq!((one.left(), one.finished(), one.fetched()), (Some(400), None, Some((at(50), 400))));
}

#[test]
fn a_source_that_shows_its_pieces_one_by_one_stays_a_source() {
    let model = model([announced(1, 1, 0), session(1, &of(1), 2, 900), session(1, &of(1), 3, 800)]);
    assert!(machine(&model, 1).is_source());
    let picture = shown(&model, 4, &[1], &[peer(1, &of(1), 2)]);
    assert_eq!((picture.seeders, picture.leechers, picture.held), (1, 0, LENGTH));
    assert!(picture.rows[0].super_seeding && picture.rows[0].percent == Some(100.0));
    assert_eq!(picture.map.unwrap().counts, [1; 10]);
}

#[test]
fn where_only_the_tracker_counts_a_seeder_it_is_the_one_that_never_wanted_anything() {
    let model = model([]);
    let source = PeerReport { has_wanted: false, ..peer(1, &of(1), 3) };
    let sessions = [source, peer(2, &of(2), 3)];
    let picture = |complete| sources(&model, 4, &HashSet::new(), &sessions, complete).picture(false);
    assert_eq!((picture(Some(1)).seeders, picture(Some(1)).leechers), (1, 1));
    assert_eq!((picture(Some(0)).seeders, picture(None).seeders), (0, 0));
    let ours = PeerReport { upload_only: true, client: Some("minitorrent 1".into()), ..peer(1, &of(1), 3) };
    assert_eq!(sources(&model, 4, &HashSet::new(), &[ours], None).picture(false).seeders, 1);
}

#[test]
fn a_machine_with_two_addresses_is_one_row_with_the_figures_of_its_session() {
    let elsewhere = "172.16.0.9:51000";
    let model = model([
        announced(1, 10, 1000),
        session(1, elsewhere, 12, 800),
        session(1, elsewhere, 14, 400),
        announced(1, 15, 350),
        session(1, elsewhere, 16, 100),
    ]);
    let picture = shown(&model, 16, &[1], &[peer(1, elsewhere, 9)]);
    let [row] = &picture.rows[..] else { panic!("{:?}", picture.rows) };
    assert_eq!((row.percent, row.down_rate, row.live, &row.address[..]), (Some(90.0), Some(150.0), true, &of(1)[..]));
    let mut model = model;
    model.see(&FILE, session(1, elsewhere, 18, 0));
    assert!(!machine(&model, 1).is_whole(), "only its own announce says that it is whole");
    model.see(&FILE, announced(1, 19, 0));
    assert!(machine(&model, 1).is_whole());
}

#[test]
fn a_stranger_that_uses_a_peer_id_from_elsewhere_takes_over_no_row() {
    let stranger = "10.9.9.9:6881";
    let whole_at_once = vec![session(1, stranger, 11, 0)];
    let beside_the_real_one = vec![session(1, &of(1), 11, 900), session(1, stranger, 11, 500)];
    let more_than_announced = vec![session(1, stranger, 11, 100), announced(1, 15, 900)];
    let announcing = vec![Sighting { address: stranger.parse().unwrap(), ..announced(1, 11, 0) }];
    for forged in [whole_at_once, beside_the_real_one, more_than_announced, announcing] {
        let mut model = model([announced(1, 10, 900)]);
        forged.iter().for_each(|sighting| model.see(&FILE, sighting.clone()));
        let one = machine(&model, 1);
        assert_eq!((one.left(), one.address().to_string()), (Some(900), of(1)), "{forged:?}");
        let pieces = peer(1, stranger, 10);
        let picture = shown(&model, 16, &[1], std::slice::from_ref(&pieces));
        let row = picture.rows.iter().find(|row| row.address == of(1)).unwrap();
        assert_eq!((row.percent, row.state), (Some(10.0), Doing::Fetching), "{forged:?}");
    }
}

#[test]
fn a_peer_id_that_was_not_announced_is_whoever_announced_that_address() {
    for address in [of(1), "10.0.0.2:51000".to_owned()] {
        let model = model([announced(1, 10, 900), session(7, &address, 11, 300), session(7, &address, 12, 200)]);
        let picture = shown(&model, 12, &[1], &[peer(7, &address, 8)]);
        let [row] = &picture.rows[..] else { panic!("{:?}", picture.rows) };
        assert_eq!((row.percent, row.live), (Some(80.0), true));
    }
    let two = model([
        announced(1, 10, 900),
        Sighting { address: "10.0.0.2:7000".parse().unwrap(), ..announced(2, 10, 900) },
        session(7, "10.0.0.2:51000", 11, 300),
    ]);
    assert_eq!(shown(&two, 12, &[1, 2], &[peer(7, "10.0.0.2:51000", 7)]).rows.len(), 3, "nobody knows which it is");
}

#[test]
fn a_machine_that_leaves_and_returns_is_one_row_in_one_round() {
    let mut model = model([announced(9, 0, 0), announced(1, 10, 1000), announced(2, 10, 1000), goodbye(1, 20, 600)]);
    assert_eq!(shown(&model, 21, &[2, 9], &[]).rows.len(), 3);
    let again = |seconds, left| Sighting { peer_id: id(3), ..announced(1, seconds, left) };
    model.see(&FILE, announced(2, 25, 0));
    model.see(&FILE, again(40, 600));
    let picture = shown(&model, 41, &[2, 3, 9], &[]);
    assert_eq!((picture.rows.len(), picture.leechers, picture.departed), (3, 1, 0));
    model.see(&FILE, again(60, 0));
    let round = round(&mut model, 61, &[2, 3, 9]).unwrap();
    assert_eq!((round.began, round.elapsed, round.machines), (at(10), at(50), 2));
}

#[test]
fn whoever_has_left_is_counted_apart_and_a_second_round_is_measured_by_itself() {
    let first =
        [announced(9, 0, 0), announced(1, 10, 1000), announced(2, 10, 1000), announced(1, 20, 0), announced(2, 22, 0)];
    let mut model = model(first);
    assert_eq!(round(&mut model, 23, &[1, 2, 9]).unwrap().elapsed, at(12));
    [goodbye(1, 30, 0), goodbye(2, 30, 0)].into_iter().for_each(|sighting| model.see(&FILE, sighting));
    let picture = shown(&model, 31, &[9], &[]);
    assert_eq!((picture.seeders, picture.departed, picture.held), (1, 2, LENGTH));
    for sighting in [announced(3, 100, 1000), announced(4, 101, 500)] {
        model.see(&FILE, sighting);
    }
    let running = round(&mut model, 105, &[3, 4, 9]).unwrap();
    assert_eq!((running.is_running, running.elapsed, running.machines, running.bytes), (true, at(5), 2, 1500));
    [announced(3, 110, 0), announced(4, 111, 0)].into_iter().for_each(|sighting| model.see(&FILE, sighting));
    assert_eq!(round(&mut model, 120, &[3, 4, 9]).unwrap().elapsed, at(11));
    let past: Vec<_> = model.files[&FILE].past_rounds().map(|round| round.measure.machines).collect();
    assert_eq!(past, [2, 2]);
}

#[test]
fn the_comparison_is_with_what_the_source_goes_on_sending() {
    let mut model = model([]);
    let source = |seconds: u64| {
        let uploaded = 100 * seconds + if seconds > 0 { 80 } else { 0 };
        sighting(9, &of(9), seconds, SightingKind::Announced { left: Some(0), uploaded, downloaded: 0 })
    };
    model.see(&FILE, source(0));
    (1..=3).for_each(|number| model.see(&FILE, announced(number, 1, LENGTH)));
    for second in 1..=12 {
        model.see(&FILE, source(second));
        round(&mut model, second, &[1, 2, 3, 9]);
    }
    (1..=3).for_each(|number| model.see(&FILE, announced(number, 13, 0)));
    let round = round(&mut model, 14, &[1, 2, 3, 9]).unwrap();
    assert_eq!((round.elapsed, round.alone), (at(12), Some(at(30))), "three copies at 100 bytes a second");
    assert_eq!(round.sentence().unwrap(), "Everyone has it after 12 s: 2.5 times faster than one server.");
}

#[test]
fn strangers_torrents_and_late_goodbyes_take_no_memory() {
    let mut model = model([goodbye(1, 1, 0)]);
    model.see(&InfoHash([2; 20]), announced(1, 1, 0));
    assert_eq!(model.machines, 0);
}

#[test]
fn a_host_of_many_names_pushes_out_its_own_and_nobody_elses() {
    let from = |number: u32, host: u8, seconds| Sighting {
        address: ([10, 9, 0, host], 1 + number as u16).into(),
        ..announced(number, seconds, 1)
    };
    let gone = |number, host, seconds| Sighting {
        told: SightingKind::Goodbye { left: Some(1) },
        ..from(number, host, seconds)
    };
    // One that left before all others, and one that is here.
    let mut model = model([from(1, 2, 1), gone(1, 2, 1), from(2, 2, 1)]);
    for number in 3..3000 {
        model.see(&FILE, from(number, 1, 2));
        if number < 2000 {
            model.see(&FILE, gone(number, 1, 3));
        }
    }
    assert_eq!(model.machines, MAX_MACHINES);
    assert!([1, 2].iter().all(|number| model.files[&FILE].machines.contains_key(&id(*number))));
    // Nobody has left: a newcomer takes one of the many.
    let mut model = self::model((0..MAX_MACHINES as u32).map(|number| from(number, 1, 2)));
    model.see(&FILE, from(5000, 3, 3));
    assert!(model.machines == MAX_MACHINES && model.files[&FILE].machines.contains_key(&id(5000)));
    // The same where it is all files together that have as many as may be.
    let mut model = RoomModel::default();
    let files: Vec<_> = (0..12).map(|number| InfoHash([number; 20])).collect();
    files.iter().for_each(|file| model.follow(*file, LENGTH));
    for number in 0..MAX_MACHINES_IN_ALL as u32 {
        model.see(&files[number as usize % 11], from(number, 1, 2));
    }
    model.see(&files[11], from(1, 2, 3));
    assert_eq!((model.machines, model.files[&files[11]].machines.len()), (MAX_MACHINES_IN_ALL, 1));
    model.unfollow(&files[0]);
    model.sweep(at(3) + GONE_TIME);
    assert_eq!(model.machines, 0);
}

#[test]
fn a_machine_takes_600_bytes() {
    assert!(size_of::<(PeerId, Machine)>() <= 600, "{}", size_of::<(PeerId, Machine)>());
}

#[test]
fn what_nobody_told_is_not_known() {
    let model = model([sighting(1, &of(1), 1, SightingKind::Announced { left: None, uploaded: 0, downloaded: 0 })]);
    let row = &shown(&model, 2, &[1], &[]).rows[0];
    assert_eq!((row.percent, row.down_rate, row.time_left, &row.client), (None, None, None, &None));
    assert_eq!(row.state, Doing::Fetching);
}

#[test]
fn an_announce_alone_tells_percent_and_rates_between_two_of_them() {
    let model = model([announced(1, 90, 900), announced(1, 95, 400)]);
    let row = &shown(&model, 100, &[1], &[]).rows[0];
    assert_eq!(
        (row.percent, row.down_rate, row.up_rate, row.time_left),
        (Some(60.0), Some(100.0), Some(50.0), Some(4.0))
    );
    assert_eq!((row.peak_down, row.live, &row.name), (Some(100.0), false, &None));
    let later = &shown(&model, 200, &[1], &[]).rows[0];
    assert_eq!((later.down_rate, later.percent), (None, Some(60.0)), "a rate of long ago tells nothing of now");
}

#[test]
fn this_machine_counts_as_long_as_it_shares() {
    let model = model([]);
    let (have, nobody) = (Bitfield::full(10), HashSet::new());
    let (down_rate, up_rate, peak_down, peak_up) = (0.0, 5.0, 0.0, 9.0);
    for is_sharing in [true, false] {
        let me = OwnPart { peer_id: id(1), have: &have, left: 0, down_rate, up_rate, peak_down, peak_up, is_sharing };
        let picture = PictureSources { me: Some(me), ..sources(&model, 1, &nobody, &[], None) }.picture(true);
        assert_eq!(picture.seeders, usize::from(is_sharing));
        let row = &picture.rows[0];
        assert_eq!(row.state, if is_sharing { Doing::Seeding } else { Doing::Paused });
        assert_eq!((row.name.as_deref(), row.live), (Some("this machine"), true));
        assert_eq!(picture.map.is_some(), is_sharing);
    }
}

/// What happens to one machine: it begins, goes on, is whole, and is seen all the while by announces and by its session. The session's
/// reports may come late.
fn history() -> impl Strategy<Value = Vec<Sighting>> {
    let one = (0..40u64, proptest::collection::vec((0..200u64, any::<bool>()), 1..12), any::<bool>());
    proptest::collection::vec(one, 1..5).prop_map(|machines| {
        let mut all = Vec::new();
        for (number, (began, steps, is_source)) in (0..).zip(machines) {
            let (mut now, mut left) = (began, if is_source { 0 } else { LENGTH });
            all.push(announced(number, now, left));
            for (step, is_announce) in steps {
                now += 1 + step % 7;
                left = left.saturating_sub(step);
                all.push(if is_announce {
                    announced(number, now, left)
                } else {
                    session(number, &of(number), now, left)
                });
            }
        }
        all.sort_by_key(|sighting| sighting.at);
        all
    })
}

/// What a person sees of a model.
fn seen(model: &mut RoomModel, now: u64) -> (Vec<String>, usize, u64, Option<Measure>) {
    let numbers: Vec<u32> = (0..5).collect();
    let measure = round(model, now, &numbers);
    let picture = shown(model, now, &numbers, &[]);
    let row = |row: &Row| format!("{} {} {:?} {:?}", row.id, row.address, row.percent, row.state);
    let measure = measure.map(|measure| Measure { bound: None, alone: None, ..measure });
    (picture.rows.iter().map(row).collect(), picture.seeders, picture.held, measure)
}

proptest! {
    #[test]
    fn any_order_of_the_same_history_comes_to_the_same_picture(
        (history, shuffled) in history().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        // What is announced is known before anything else of a machine is.
        let (first, rest): (Vec<_>, Vec<_>) =
            shuffled.into_iter().partition(|one| matches!(one.told, SightingKind::Announced { .. }));
        let (mut in_order, mut late) = (model(history), model(first.into_iter().chain(rest)));
        prop_assert_eq!(seen(&mut in_order, 400), seen(&mut late, 400));
    }

    #[test]
    fn what_was_whole_stays_whole_whatever_its_session_shows(lefts in proptest::collection::vec(0..LENGTH, 0..20)) {
        let sessions = (2..).zip(lefts).map(|(seconds, left)| session(1, &of(1), seconds, left));
        let model = model([announced(1, 1, 0)].into_iter().chain(sessions));
        prop_assert!(machine(&model, 1).is_whole());
    }
}
