//! Pieces that few peers have yet, each with whoever had it first and is giving it to the others. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::peer::SessionId;

/// Who spreads what. Invariant: a count is what it counts among the pieces, and none is 0.
#[derive(Debug, Default)]
pub(super) struct Spreading {
    pieces: BTreeMap<u32, (SessionId, Instant)>,
    counts: BTreeMap<SessionId, u32>,
}

impl Spreading {
    /// This peer is the first to have this piece.
    pub fn begin(&mut self, index: u32, first: SessionId, now: Instant) {
        self.end(index);
        self.pieces.insert(index, (first, now));
        *self.counts.entry(first).or_default() += 1;
    }

    /// Enough peers have this piece; who spread it, if anybody did.
    pub fn end(&mut self, index: u32) -> Option<SessionId> {
        let (first, _) = self.pieces.remove(&index)?;
        let count = self.counts.get_mut(&first)?;
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&first);
        }
        Some(first)
    }

    /// A peer has left.
    pub fn leave(&mut self, session: SessionId) {
        self.pieces.retain(|_, (first, _)| *first != session);
        self.counts.remove(&session);
    }

    /// How many pieces this peer spreads.
    pub fn count(&self, session: SessionId) -> u32 {
        self.counts.get(&session).copied().unwrap_or(0)
    }

    /// Ends those that this is true of.
    pub fn end_those(&mut self, mut is_over: impl FnMut(u32) -> bool) {
        let over: Vec<_> = self.pieces.keys().copied().filter(|index| is_over(*index)).collect();
        over.into_iter().for_each(|index| _ = self.end(index));
    }

    /// Ends those that have taken longer than `patience`.
    pub fn end_late(&mut self, patience: Duration, now: Instant) {
        let is_late = |since: Instant| now.saturating_duration_since(since) > patience;
        let late: Vec<_> =
            self.pieces.iter().filter(|(_, (_, since))| is_late(*since)).map(|(index, _)| *index).collect();
        late.into_iter().for_each(|index| _ = self.end(index));
    }

    /// The pieces and who spreads them.
    #[cfg(test)]
    pub fn pieces(&self) -> impl Iterator<Item = (u32, SessionId)> {
        self.pieces.iter().map(|(index, (first, _))| (*index, *first))
    }
}
