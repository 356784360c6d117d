//! Seats for the connections that others make to us: who is let in, and who has to leave for it. Pure.
//!
//! Invariant: at most `limit` connections hold a seat, of one host at most half of that, and of a whole /64 of our own link at most three
//! quarters ([`quota`](crate::quota)). No flood keeps a newcomer out: when all seats are taken, the newest is not refused, but the one that has been of no use for longest leaves, of
//! the origin that holds most such; the same rule as at the door of the web. What a connection is worth is told by the blocks that
//! pass on it. Whoever comes too often is refused for a while, so that coming and going costs us next to nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::quota::{Allowances, Origin, OriginFull, OriginLimits, Tally};

/// Connections that one origin may make at once: a room or a lab behind one router that is switched on, and one among them that
/// scans ports.
const BURST: f64 = 200.0;

/// Connections a second that one origin may go on making. Each costs a thread for a moment.
const REFILL: f64 = 10.0;

/// What a connection costs besides when it ends and no block has passed on it, in connections.
const USELESS: f64 = 1.0;

/// How long no block may pass until a connection counts as idle: longer than a peer waits for its turn in a usual room.
const IDLE: Duration = Duration::from_secs(10);

/// Of those that had to leave, the part of all seats that may still be leaving: each has a thread until it is gone.
const LEAVING: usize = 4;

/// Names a seat; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatId(u64);

/// Who holds a seat, who is leaving, who has come how often.
#[derive(Debug)]
pub struct ConnectionSeats {
    limit: usize,
    of_origin: OriginLimits,
    held: BTreeMap<SeatId, Holder>,
    tally: Tally,
    leaving: usize,
    callers: Allowances,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    origin: Origin,
    /// When it came, or a block was last seen to have passed.
    useful: Instant,
    /// Bytes of blocks that had passed then.
    moved: u64,
}

/// What to do with a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatDecision {
    /// It has this seat.
    Free(SeatId),
    /// It has this seat, and the holder of the other one has to leave.
    InsteadOf(SeatId, SeatId),
    /// It is not let in; the reason is for the log.
    Refused(&'static str),
}

impl ConnectionSeats {
    /// So many, all free.
    pub fn new(limit: usize) -> ConnectionSeats {
        ConnectionSeats {
            limit,
            of_origin: OriginLimits::new(limit, limit.div_ceil(2)),
            held: BTreeMap::new(),
            tally: Tally::default(),
            leaving: 0,
            callers: Allowances::new(BURST, REFILL),
            next: 0,
        }
    }

    /// A connection comes. `moved` tells how many bytes of blocks have passed on another.
    pub fn enter(&mut self, origin: Origin, now: Instant, moved: impl Fn(SeatId) -> u64) -> SeatDecision {
        if !self.callers.take(origin, now) {
            return SeatDecision::Refused("it comes too often");
        }
        let full = self.tally.full(origin, &self.of_origin);
        let leaves = match full {
            None if self.held.len() < self.limit => return SeatDecision::Free(self.take(origin, now)),
            _ => {
                self.look(now, moved);
                match full {
                    Some(OriginFull::Host) => self.least_useful(|holder| holder.origin == origin),
                    Some(OriginFull::Network) => {
                        let is_neighbour = |other: Origin| other.network() == origin.network();
                        self.idlest(is_neighbour, now)
                            .or_else(|| self.of_the_greedy(is_neighbour, self.tally.host(origin)))
                    }
                    None => {
                        let everybody = |_| true;
                        self.idlest(everybody, now).or_else(|| self.of_the_greedy(everybody, self.tally.weight(origin)))
                    }
                }
            }
        };
        match leaves {
            None => SeatDecision::Refused("every seat is taken and in use"),
            Some(_) if self.leaving >= self.limit.div_ceil(LEAVING) => SeatDecision::Refused("too many are leaving"),
            Some(old) => {
                self.release(old);
                self.leaving += 1;
                SeatDecision::InsteadOf(self.take(origin, now), old)
            }
        }
    }

    /// A connection is over, on which so many bytes of blocks have passed.
    pub fn leave(&mut self, seat: SeatId, origin: Origin, moved: u64, now: Instant) {
        if !self.release(seat) {
            self.leaving -= 1;
        }
        if moved == 0 {
            self.callers.charge(origin, USELESS, now);
        }
    }

    fn take(&mut self, origin: Origin, now: Instant) -> SeatId {
        let seat = SeatId(self.next);
        self.next += 1;
        self.tally.add(origin, 1);
        self.held.insert(seat, Holder { origin, useful: now, moved: 0 });
        seat
    }

    fn release(&mut self, seat: SeatId) -> bool {
        let holder = self.held.remove(&seat);
        holder.inspect(|holder| self.tally.remove(holder.origin, 1)).is_some()
    }

    fn look(&mut self, now: Instant, moved: impl Fn(SeatId) -> u64) {
        for (seat, holder) in &mut self.held {
            let moved = moved(*seat);
            if moved > holder.moved {
                (holder.moved, holder.useful) = (moved, now);
            }
        }
    }

    fn least_useful(&self, counts: impl Fn(&Holder) -> bool) -> Option<SeatId> {
        let those = self.held.iter().filter(|(_, holder)| counts(holder));
        those.min_by_key(|(_, holder)| holder.useful).map(|(seat, _)| *seat)
    }

    /// Of the origin among those that has most seats idle, the one that has been so for longest.
    fn idlest(&self, among: impl Fn(Origin) -> bool, now: Instant) -> Option<SeatId> {
        let idle = |holder: &Holder| {
            among(holder.origin) && (holder.moved == 0 || now.saturating_duration_since(holder.useful) >= IDLE)
        };
        let tally: Tally = self.held.values().filter(|holder| idle(holder)).map(|holder| (holder.origin, 1)).collect();
        let most = tally.most(|_| true);
        self.least_useful(|holder| idle(holder) && tally.weight(holder.origin) == most)
    }

    /// None of those is idle: whoever has two seats more than the newcomer leaves one.
    fn of_the_greedy(&self, among: impl Fn(Origin) -> bool, of_newcomer: u64) -> Option<SeatId> {
        let most = self.tally.most(&among);
        if most < of_newcomer + 2 {
            return None;
        }
        self.least_useful(|holder| among(holder.origin) && self.tally.weight(holder.origin) == most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8;

    fn ip(last: u8) -> Origin {
        Origin::of(std::net::IpAddr::from([10, 0, 0, last]))
    }

    fn idle(_: SeatId) -> u64 {
        0
    }

    /// Seats that were taken one after the other, a millisecond apart, and the moment after.
    fn taken(by: &[u8]) -> (ConnectionSeats, Vec<SeatId>, Instant) {
        let (mut seats, mut now, mut all) = (ConnectionSeats::new(LIMIT), Instant::now(), Vec::new());
        for last in by {
            match seats.enter(ip(*last), now, idle) {
                SeatDecision::Free(seat) => all.push(seat),
                other => panic!("{other:?}"),
            }
            now += Duration::from_millis(1);
        }
        (seats, all, now)
    }

    #[test]
    fn when_all_places_are_taken_the_one_of_no_use_for_longest_leaves() {
        let (mut seats, all, now) = taken(&[1, 2, 3, 4, 5, 6, 7, 8]);
        // The first two have moved blocks.
        let moved = |seat: SeatId| if seat <= all[1] { 16_384 } else { 0 };
        assert!(matches!(seats.enter(ip(9), now, moved), SeatDecision::InsteadOf(_, old) if old == all[2]));
        assert!(matches!(seats.enter(ip(10), now, moved), SeatDecision::InsteadOf(_, old) if old == all[3]));
        assert_eq!(seats.enter(ip(11), now, moved), SeatDecision::Refused("too many are leaving"));
        seats.leave(all[2], ip(3), 0, now);
        assert!(matches!(seats.enter(ip(11), now, moved), SeatDecision::InsteadOf(_, old) if old == all[4]));
    }

    #[test]
    fn one_origin_never_holds_more_than_half_and_replaces_its_own() {
        let (mut seats, all, now) = taken(&[1, 1, 1, 1, 2]);
        assert!(matches!(seats.enter(ip(1), now, idle), SeatDecision::InsteadOf(_, old) if old == all[0]));
        assert!(matches!(seats.enter(ip(2), now, idle), SeatDecision::Free(_)));
        assert_eq!(seats.held.values().filter(|holder| holder.origin == ip(1)).count(), LIMIT / 2);
    }

    #[test]
    fn a_crowd_replaces_the_crowd_and_not_a_lone_newcomer() {
        let (mut seats, all, now) = taken(&[9, 1, 1, 2, 2, 3, 3, 4]);
        for _ in 0..3 {
            let SeatDecision::InsteadOf(_, old) = seats.enter(ip(5), now, idle) else { panic!("refused") };
            assert!(old != all[0] && old != all[7], "{old:?} was alone");
            seats.leave(old, ip(1), 0, now);
        }
    }

    #[test]
    fn when_every_place_is_in_use_only_who_has_more_gives_one_up() {
        let (mut seats, all, now) = taken(&[1, 1, 1, 2, 3, 4, 5, 6]);
        let busy = |_| 16_384;
        assert!(matches!(seats.enter(ip(7), now, busy), SeatDecision::InsteadOf(_, old) if all[..3].contains(&old)));
        let (mut seats, _, now) = taken(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(seats.enter(ip(9), now, busy), SeatDecision::Refused("every seat is taken and in use"));
        // A moment later nothing has passed any more.
        assert!(matches!(seats.enter(ip(9), now + IDLE, busy), SeatDecision::InsteadOf(..)));
    }

    #[test]
    fn who_comes_too_often_is_refused_for_a_while_and_others_are_not() {
        let (mut seats, mut now, mut entered) = (ConnectionSeats::new(LIMIT), Instant::now(), 0);
        for _ in 0..5000 {
            if let SeatDecision::Free(seat) = seats.enter(ip(1), now, idle) {
                seats.leave(seat, ip(1), 0, now);
                entered += 1;
            }
            now += Duration::from_millis(2);
        }
        let most = (BURST + REFILL * 10.0) / (1.0 + USELESS);
        assert!((0.9 * most..=most + 1.0).contains(&f64::from(entered)), "{entered} in ten seconds");
        assert!(matches!(seats.enter(ip(2), now, idle), SeatDecision::Free(_)));
        assert!(matches!(seats.enter(ip(1), now + Duration::from_secs(60), idle), SeatDecision::Free(_)));
    }

    #[test]
    fn a_room_behind_one_address_gets_in_after_one_of_it_has_scanned_the_port() {
        let (mut seats, now) = (ConnectionSeats::new(500), Instant::now());
        for _ in 0..25 {
            let SeatDecision::Free(seat) = seats.enter(ip(1), now, idle) else { panic!("a probe is refused") };
            seats.leave(seat, ip(1), 0, now);
        }
        // Each host dials twice: a client that tries encryption first dials again.
        for _ in 0..60 {
            assert!(matches!(seats.enter(ip(1), now, idle), SeatDecision::Free(_)));
        }
    }

    #[test]
    fn a_flood_from_one_address_keeps_nobody_else_out() {
        let (mut seats, mut now) = (ConnectionSeats::new(100), Instant::now());
        for newcomer in 2..30 {
            for _ in 0..100 {
                seats.enter(ip(1), now, idle);
                now += Duration::from_millis(1);
            }
            assert!(matches!(seats.enter(ip(newcomer), now, idle), SeatDecision::Free(_)), "{newcomer}");
        }
    }

    #[test]
    fn a_lan_of_one_64_holds_most_places_and_one_host_with_many_addresses_keeps_nobody_out() {
        let (mut seats, mut now) = (ConnectionSeats::new(100), Instant::now());
        let six = |last: u16| Origin::of(std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]));
        for last in 1..=75 {
            assert!(matches!(seats.enter(six(last), now, idle), SeatDecision::Free(_)), "{last}");
        }
        // Of its own link one more takes the seat of one that is idle, and others have the quarter that is left.
        for last in 76..=90 {
            now += Duration::from_millis(1);
            let SeatDecision::InsteadOf(_, old) = seats.enter(six(last), now, idle) else {
                panic!("{last} is refused")
            };
            seats.leave(old, six(1), 0, now);
        }
        for last in 1..=25 {
            assert!(matches!(seats.enter(ip(last), now, idle), SeatDecision::Free(_)), "{last}");
        }
        // When all are taken, something of the many leaves.
        let SeatDecision::InsteadOf(_, old) = seats.enter(ip(99), now, idle) else { panic!("refused") };
        assert!(old.0 < 90, "a lone one has left");
    }
}
