//! A session's outbox, shared: the reader and the coordinator put orders in, the writer thread sleeps until there are some.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    policy::SendOrder,
    session::outgoing::outbox::{Batch, Outbox, Overflow},
};

/// How long `have`s are held back after some have gone, to gather with those that follow. At hundreds of megabytes a
/// second a piece is verified every third of a millisecond, and each packet wakes two threads at the other end.
pub(crate) const HAVE_PAUSE: Duration = Duration::from_millis(3);

/// The outbox of one session, with what wakes its writer.
#[derive(Debug, Default)]
pub struct OutgoingQueue {
    state: Mutex<QueueState>,
    signal: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    outbox: Outbox,
    /// When `have`s may go out again on their own; `None` for at once.
    haves_from: Option<Instant>,
    closed: bool,
    /// Whether it closes by itself once nothing waits that can be sent.
    finishing: bool,
    /// The writer sleeps; waking it costs a system call, so it is not done without need.
    asleep: bool,
    /// It has blocks in its hands, or had when it was here last.
    uploading: bool,
    /// The largest run it is ready to send; 0 while a rate limit holds it up.
    max_run: u64,
}

/// What the writer wakes up to.
#[derive(Debug)]
pub enum NextOutgoing {
    /// Something to send.
    Batch(Batch),
    /// Nothing, for as long as it was ready to wait.
    Nothing,
    /// The session is over.
    Closed,
}

impl OutgoingQueue {
    /// Puts an order in; one for a session that is over is forgotten.
    pub fn push(&self, order: SendOrder) -> Result<(), Overflow> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        state.outbox.take(order)?;
        // While `have`s are held back the writer sleeps no longer than that.
        let due = state.outbox.has_work(state.max_run) || (state.haves_from.is_none() && state.outbox.has_haves());
        if state.asleep && due {
            self.wake_writer(&mut state);
        }
        Ok(())
    }

    /// Ends the session's writing.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake_writer(&mut state);
    }

    /// Ends the session's writing when what can be sent is sent; whether something waits that can be.
    pub fn finish(&self) -> bool {
        let mut state = self.lock();
        state.finishing = true;
        self.wake_writer(&mut state);
        !state.closed && state.outbox.has_work(1)
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether blocks wait to be sent, or are being sent.
    pub fn is_uploading(&self) -> bool {
        let state = self.lock();
        state.uploading || state.outbox.has_uploads()
    }

    /// Sleeps until there is something to send, at most for `timeout`; no blocks with a `max_run` of 0.
    pub fn wait(&self, max_run: u64, timeout: Duration) -> NextOutgoing {
        let mut now = Instant::now();
        let deadline = now + timeout;
        let mut state = self.lock();
        state.uploading &= max_run == 0;
        loop {
            if state.closed || (state.finishing && !state.outbox.has_work(1)) {
                return NextOutgoing::Closed;
            }
            state.haves_from = state.haves_from.filter(|from| *from > now);
            if state.outbox.has_work(max_run) || (state.haves_from.is_none() && state.outbox.has_haves()) {
                if state.outbox.has_haves() {
                    state.haves_from = Some(now + HAVE_PAUSE);
                }
                let batch = state.outbox.next(max_run);
                state.uploading |= !batch.run.is_empty();
                return NextOutgoing::Batch(batch);
            }
            let until = state.haves_from.map_or(deadline, |from| from.min(deadline));
            let rest = until.saturating_duration_since(now);
            if deadline <= now {
                return NextOutgoing::Nothing;
            }
            state.asleep = true;
            state.max_run = max_run;
            state = self.signal.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
            now = Instant::now();
        }
    }

    /// Whether its writer has taken all that cannot wait.
    #[cfg(test)]
    pub fn is_taken(&self) -> bool {
        !self.lock().outbox.has_work(1)
    }

    fn wake_writer(&self, state: &mut QueueState) {
        state.asleep = false;
        self.signal.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Geometry;

    fn batch(queue: &OutgoingQueue) -> Batch {
        match queue.wait(0, Duration::from_secs(10)) {
            NextOutgoing::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_have_goes_at_once_and_those_right_behind_it_go_together() {
        let geometry = Geometry::new(1 << 20, 1 << 14).unwrap();
        let have = |index| SendOrder::Have(geometry.piece(index).unwrap());
        let queue = OutgoingQueue::default();
        queue.push(SendOrder::Start(None)).unwrap();
        let begun = Instant::now();
        queue.push(have(0)).unwrap();
        assert_eq!(batch(&queue).control.len(), 9);
        (1..5).for_each(|index| queue.push(have(index)).unwrap());
        assert_eq!(batch(&queue).control.len(), 4 * 9);
        assert!(begun.elapsed() >= HAVE_PAUSE);
    }

    #[test]
    fn blocks_are_being_sent_from_when_they_are_asked_for_until_the_writer_comes_for_more() {
        let block = Geometry::new(1 << 20, 1 << 14).unwrap().block(0, 0, 1 << 14).unwrap();
        let mailbox = OutgoingQueue::default();
        [SendOrder::Start(None), SendOrder::Unchoke].into_iter().for_each(|order| mailbox.push(order).unwrap());
        assert!(!mailbox.is_uploading());
        mailbox.push(SendOrder::Upload(block)).unwrap();
        assert!(mailbox.is_uploading());
        assert!(matches!(mailbox.wait(1 << 16, Duration::ZERO), NextOutgoing::Batch(batch) if batch.run == [block]));
        assert!(mailbox.is_uploading());
        assert!(matches!(mailbox.wait(0, Duration::ZERO), NextOutgoing::Nothing), "it only looks for control");
        assert!(mailbox.is_uploading());
        assert!(matches!(mailbox.wait(1 << 16, Duration::ZERO), NextOutgoing::Nothing));
        assert!(!mailbox.is_uploading());
    }

    #[test]
    fn what_is_urgent_takes_waiting_haves_along() {
        let geometry = Geometry::new(1 << 20, 1 << 14).unwrap();
        let have = |index| SendOrder::Have(geometry.piece(index).unwrap());
        let queue = OutgoingQueue::default();
        queue.push(SendOrder::Start(None)).unwrap();
        queue.push(have(0)).unwrap();
        batch(&queue);
        queue.push(have(1)).unwrap();
        queue.push(SendOrder::Interested).unwrap();
        assert_eq!(batch(&queue).control.len(), 5 + 9);
        assert!(matches!(queue.wait(0, Duration::ZERO), NextOutgoing::Nothing));
    }
}
