//! A piece's life, from its first request to the disk:
//!
//! ```text
//! Missing ── Picked ──▶ InFlight ── Completed ──▶ Hashing ── Verified ──▶ Written ── Synced ──▶ Safe
//! Partial ── Picked ──▶ InFlight
//! InFlight ── Returned ──▶ Partial
//! InFlight ── ReturnedEmpty ──▶ Missing
//! Hashing ── Failed ──▶ Partial
//! Hashing ── FailedEmpty ──▶ Missing
//! ```
//!
//! | state | where the piece is | who puts it there |
//! |---|---|---|
//! | Missing | nowhere; the picker lists it | |
//! | Partial | on the coordinator's shelf; the picker lists it first | the coordinator, when it comes back from a session |
//! | InFlight | in the `Requests` of one session, or on the way there or back | the coordinator, which picks it |
//! | Hashing | in the queue of the hash workers, or with one of them | the session's reader, with the last block |
//! | Written | on the disk, noted in the resume log; other peers may have it | a hash worker, by way of the ledger |
//! | Safe | on the disk whatever happens, and marked so in the log | the journal |
//!
//! From Partial to Hashing it is a [`PieceInFlight`](super::PieceInFlight), a value that only one of them can hold, and that
//! knows its state. A test holds this diagram against [`PieceState::after`], and every change of a state goes through that.

/// Where a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceState {
    /// Nothing of it is here, and nobody is asked for it.
    Missing,
    /// Nobody is asked for it, but blocks of it are here, or the record of an attempt that failed.
    Partial,
    /// A session fetches it.
    InFlight,
    /// Every block is here.
    Hashing,
    /// Its hash was right, and it was written.
    Written,
    /// The disk has confirmed it.
    Safe,
}

/// What happens to a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceStep {
    /// The picker chose it for a session.
    Picked,
    /// It comes back from its session, which was choked, stalled, was told to, or ended.
    Returned,
    /// The same, with nothing in it.
    ReturnedEmpty,
    /// Its last block has come.
    Completed,
    /// Its hash was wrong. Several peers have sent blocks of it, which is recorded.
    Failed,
    /// Its hash was wrong, and there is nothing to record: one peer has sent all of it.
    FailedEmpty,
    /// Its hash was right, and it was written.
    Verified,
    /// The files were synced, and that was noted.
    Synced,
}

impl PieceState {
    /// The state that follows; `None` if this cannot happen in this one.
    pub fn after(self, step: PieceStep) -> Option<PieceState> {
        match (self, step) {
            (PieceState::Missing | PieceState::Partial, PieceStep::Picked) => Some(PieceState::InFlight),
            (PieceState::InFlight, PieceStep::Returned) => Some(PieceState::Partial),
            (PieceState::InFlight, PieceStep::ReturnedEmpty) => Some(PieceState::Missing),
            (PieceState::InFlight, PieceStep::Completed) => Some(PieceState::Hashing),
            (PieceState::Hashing, PieceStep::Failed) => Some(PieceState::Partial),
            (PieceState::Hashing, PieceStep::FailedEmpty) => Some(PieceState::Missing),
            (PieceState::Hashing, PieceStep::Verified) => Some(PieceState::Written),
            (PieceState::Written, PieceStep::Synced) => Some(PieceState::Safe),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STATES: [PieceState; 6] = [
        PieceState::Missing,
        PieceState::Partial,
        PieceState::InFlight,
        PieceState::Hashing,
        PieceState::Written,
        PieceState::Safe,
    ];

    const STEPS: [PieceStep; 8] = [
        PieceStep::Picked,
        PieceStep::Returned,
        PieceStep::ReturnedEmpty,
        PieceStep::Completed,
        PieceStep::Failed,
        PieceStep::FailedEmpty,
        PieceStep::Verified,
        PieceStep::Synced,
    ];

    #[test]
    fn the_diagram_shows_every_change_of_a_state_and_no_other() {
        let source = include_str!("piece_state.rs");
        let mut drawn = BTreeSet::new();
        for line in source.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.contains("──▶"))
        {
            // A line is a chain of states with steps between them.
            let names: Vec<&str> = line.split(['─', '▶']).map(str::trim).filter(|name| !name.is_empty()).collect();
            let edge = |at: usize| format!("{} {} {}", names[at], names[at + 1], names[at + 2]);
            drawn.extend((0..names.len() - 2).step_by(2).map(edge));
        }
        let all = STATES.iter().flat_map(|state| STEPS.map(|step| (state, step, state.after(step))));
        let real: BTreeSet<String> =
            all.filter_map(|(from, step, to)| Some(format!("{from:?} {step:?} {:?}", to?))).collect();
        assert_eq!(drawn, real);
    }
}
