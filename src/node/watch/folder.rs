//! What becomes of the things in a watched folder: pure, with what was seen and the time as arguments.
//!
//! A thing is whole when it rests: its size and time have stood still for a while, or it came by a rename, which is how
//! programs put in place what they have finished. Then it is hashed, one at a time, and shared. What changes is
//! withdrawn, and has to rest again.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    time::{Duration, Instant},
};

use crate::metainfo::InfoHash;

/// So long nothing writes to a thing that is whole. Copies over a slow network pause for less.
pub const QUIET: Duration = Duration::from_secs(10);

/// How names end under which programs write what is not whole yet.
const UNFINISHED: [&str; 8] = [".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", ".!qB", "~"];

/// What is seen of a thing at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenEntry {
    /// Sizes and times of all its files, and their names within it: another number is another state.
    pub state: u64,
    /// What stays when it is renamed: device and inode.
    pub identity: (u64, u64),
    /// How long nobody has written to it, by its times.
    pub rests: Duration,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// It is whole.
    Hash { name: OsString, state: u64 },
    /// It is gone, or has changed.
    Withdraw { name: OsString, info_hash: InfoHash },
}

/// A folder, as it was seen and as far as it is shared.
#[derive(Debug, Default)]
pub struct WatchedFolder {
    things: BTreeMap<OsString, Thing>,
    /// What was there at the last look, the unfinished too.
    identities: HashMap<(u64, u64), (OsString, u64)>,
}

#[derive(Debug)]
struct Thing {
    state: u64,
    /// When this state was first seen.
    since: Instant,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It may not be whole yet.
    Waiting,
    Hashing,
    Shared(InfoHash),
    /// It cannot be shared as it is.
    Refused,
}

impl WatchedFolder {
    /// Takes note of all that is there now.
    pub fn look(&mut self, now: Instant, found: BTreeMap<OsString, SeenEntry>) -> Vec<WatchAction> {
        let mut actions = Vec::new();
        let came_by_rename = |name: &OsStr, sight: &SeenEntry| {
            self.identities.get(&sight.identity).is_some_and(|(before, state)| before != name && *state == sight.state)
        };
        let renamed: Vec<OsString> =
            found.iter().filter(|(name, sight)| came_by_rename(name, sight)).map(|(name, _)| name.clone()).collect();
        self.identities = found.iter().map(|(name, sight)| (sight.identity, (name.clone(), sight.state))).collect();
        self.things.retain(|name, thing| {
            let is_same = found.get(name).is_some_and(|sight| sight.state == thing.state);
            if let (false, Step::Shared(info_hash)) = (is_same, thing.step) {
                actions.push(WatchAction::Withdraw { name: name.clone(), info_hash });
            }
            is_same
        });
        for (name, sight) in found.into_iter().filter(|(name, _)| !is_unfinished(name)) {
            let is_renamed = renamed.contains(&name);
            let is_known = self.things.contains_key(&name);
            let is_hashing = self.things.values().any(|thing| thing.step == Step::Hashing);
            let thing = self.things.entry(name.clone()).or_insert(Thing {
                state: sight.state,
                since: now,
                step: Step::Waiting,
            });
            let stands = is_known && (sight.rests >= QUIET || now.saturating_duration_since(thing.since) >= QUIET);
            // What came by a rename and has to wait for another to be hashed need not rest for that.
            if is_renamed {
                thing.since = now.checked_sub(QUIET).unwrap_or(now);
            }
            if thing.step == Step::Waiting && (stands || is_renamed) && !is_hashing {
                thing.step = Step::Hashing;
                actions.push(WatchAction::Hash { name, state: thing.state });
            }
        }
        actions
    }

    /// Whether what was hashed is still there, and the same.
    pub fn is_wanted(&self, name: &OsStr, state: u64) -> bool {
        self.things.get(name).is_some_and(|thing| thing.state == state && thing.step == Step::Hashing)
    }

    /// Takes note of what became of a thing that was hashed: shared, or not to be shared as it is.
    pub fn hashed(&mut self, name: &OsStr, state: u64, shared: Option<InfoHash>) {
        if !self.is_wanted(name, state) {
            return;
        }
        if let Some(thing) = self.things.get_mut(name) {
            thing.step = shared.map_or(Step::Refused, Step::Shared);
        }
    }
}

/// Whether a name is one under which something is written, or that is not for others: those that begin with a dot.
fn is_unfinished(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || UNFINISHED.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);

    /// Looks at things by name, identity, state and rest in seconds.
    fn look(folder: &mut WatchedFolder, now: Instant, things: &[(&str, u64, u64, u64)]) -> Vec<WatchAction> {
        let sight = |(name, inode, state, rests): &(&str, u64, u64, u64)| {
            let sight = SeenEntry { state: *state, identity: (1, *inode), rests: Duration::from_secs(*rests) };
            (OsString::from(name), sight)
        };
        folder.look(now, things.iter().map(sight).collect())
    }

    fn hash(name: &str, state: u64) -> WatchAction {
        WatchAction::Hash { name: name.into(), state }
    }

    fn withdraw(name: &str) -> WatchAction {
        WatchAction::Withdraw { name: name.into(), info_hash: HASH }
    }

    #[test]
    fn a_file_that_grows_waits_until_it_stands_still() {
        let (mut folder, start) = (WatchedFolder::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..30 {
            assert_eq!(look(&mut folder, at(second), &[("a", 1, second, 0)]), [], "second {second}");
        }
        assert_eq!(look(&mut folder, at(29) + QUIET - Duration::from_millis(1), &[("a", 1, 29, 9)]), []);
        assert_eq!(look(&mut folder, at(29) + QUIET, &[("a", 1, 29, 9)]), [hash("a", 29)]);
        assert_eq!(look(&mut folder, at(60), &[("a", 1, 29, 20)]), [], "it is hashed once");
    }

    #[test]
    fn what_rested_before_needs_one_more_look() {
        let (mut folder, now) = (WatchedFolder::default(), Instant::now());
        assert_eq!(look(&mut folder, now, &[("a", 1, 5, 3600)]), []);
        assert_eq!(look(&mut folder, now + Duration::from_secs(2), &[("a", 1, 5, 3602)]), [hash("a", 5)]);
    }

    #[test]
    fn what_comes_by_a_rename_is_whole() {
        for before in [".a.Xy12", "a.part", "a~", "b"] {
            let (mut folder, now) = (WatchedFolder::default(), Instant::now());
            assert_eq!(look(&mut folder, now, &[(before, 1, 5, 0)]), [], "{before}");
            let then = now + Duration::from_secs(2);
            assert_eq!(look(&mut folder, then, &[("a", 1, 5, 0)]), [hash("a", 5)], "{before}");
        }
        // It was renamed and written to: that is not at rest.
        let (mut folder, now) = (WatchedFolder::default(), Instant::now());
        look(&mut folder, now, &[("a.part", 1, 5, 0)]);
        assert_eq!(look(&mut folder, now + Duration::from_secs(2), &[("a", 1, 6, 0)]), []);
    }

    #[test]
    fn unfinished_and_hidden_names_are_never_shared() {
        let (mut folder, now) = (WatchedFolder::default(), Instant::now());
        for second in [0, 2, 60] {
            let things = [(".hidden", 1, 1, 99), ("a.part", 2, 1, 99), ("b.crdownload", 3, 1, 99)];
            assert_eq!(look(&mut folder, now + Duration::from_secs(second), &things), []);
        }
    }

    #[test]
    fn what_goes_or_changes_is_withdrawn_and_has_to_rest_again() {
        let (mut folder, start) = (WatchedFolder::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let share = |folder: &mut WatchedFolder, from: u64, state: u64| {
            look(folder, at(from), &[("a", 1, state, 99)]);
            assert_eq!(look(folder, at(from + 2), &[("a", 1, state, 99)]), [hash("a", state)]);
            assert!(folder.is_wanted("a".as_ref(), state));
            folder.hashed("a".as_ref(), state, Some(HASH));
        };
        share(&mut folder, 0, 5);
        assert_eq!(look(&mut folder, at(4), &[("a", 1, 6, 0)]), [withdraw("a")]);
        assert_eq!(look(&mut folder, at(6), &[("a", 1, 6, 2)]), []);
        assert_eq!(look(&mut folder, at(14), &[("a", 1, 6, 10)]), [hash("a", 6)]);
        folder.hashed("a".as_ref(), 6, Some(HASH));
        assert_eq!(look(&mut folder, at(20), &[]), [withdraw("a")]);
        share(&mut folder, 30, 7);
    }

    #[test]
    fn what_changed_while_it_was_hashed_is_not_shared_as_it_was() {
        let (mut folder, start) = (WatchedFolder::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        look(&mut folder, at(0), &[("a", 1, 5, 99)]);
        assert_eq!(look(&mut folder, at(2), &[("a", 1, 5, 99)]), [hash("a", 5)]);
        assert_eq!(look(&mut folder, at(4), &[("a", 1, 6, 0)]), []);
        assert!(!folder.is_wanted("a".as_ref(), 5));
        folder.hashed("a".as_ref(), 5, Some(HASH));
        assert_eq!(look(&mut folder, at(14), &[("a", 1, 6, 10)]), [hash("a", 6)]);
    }

    #[test]
    fn one_is_hashed_at_a_time_and_what_is_refused_is_not_tried_again_as_it_is() {
        let (mut folder, start) = (WatchedFolder::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let things = [("a", 1, 5, 99), ("b", 2, 5, 99)];
        look(&mut folder, at(0), &things);
        assert_eq!(look(&mut folder, at(2), &things), [hash("a", 5)]);
        assert_eq!(look(&mut folder, at(4), &things), []);
        folder.hashed("a".as_ref(), 5, None);
        assert_eq!(look(&mut folder, at(6), &things), [hash("b", 5)]);
        folder.hashed("b".as_ref(), 5, Some(HASH));
        assert_eq!(look(&mut folder, at(8), &things), []);
        assert_eq!(look(&mut folder, at(9), &[("a", 1, 6, 99)]), [withdraw("b")]);
        assert_eq!(look(&mut folder, at(11), &[("a", 1, 6, 99)]), [hash("a", 6)]);
    }
}
