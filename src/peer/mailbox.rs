//! A session's outbox, shared: whoever has something to say puts it in, the writer thread sleeps until there is something.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::outbox::{Batch, Order, Outbox, Overflow};

/// The outbox of one session with its bell.
#[derive(Debug, Default)]
pub struct Mailbox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outbox: Outbox,
    closed: bool,
    /// The writer sleeps; waking it costs a system call, so nobody rings who need not.
    asleep: bool,
    /// The largest run it is ready to send; 0 while a rate limit holds it up.
    max_run: u64,
}

/// What the writer wakes up to.
#[derive(Debug)]
pub enum Mail {
    /// Something to send.
    Batch(Batch),
    /// Nothing, for as long as it was ready to wait.
    Nothing,
    /// The session is over.
    Closed,
}

impl Mailbox {
    /// Puts an order in; one for a session that is over is forgotten.
    pub fn post(&self, order: Order) -> Result<(), Overflow> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        state.outbox.take(order)?;
        if state.asleep && state.outbox.has_work(state.max_run) {
            self.ring(&mut state);
        }
        Ok(())
    }

    /// Ends the session's writing.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.ring(&mut state);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Sleeps until there is something to send, at most for `patience`; no blocks with a `max_run` of 0.
    pub(super) fn wait(&self, max_run: u64, patience: Duration) -> Mail {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Mail::Closed;
            }
            if state.outbox.has_work(max_run) {
                return Mail::Batch(state.outbox.next(max_run));
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Mail::Nothing;
            }
            state.asleep = true;
            state.max_run = max_run;
            state = self.bell.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
        }
    }

    fn ring(&self, state: &mut State) {
        state.asleep = false;
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
