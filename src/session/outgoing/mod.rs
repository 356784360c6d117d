//! What a session sends: outbox → queue → writer.

pub mod backlog;
pub mod outbox;
pub mod queue;
pub mod turns;
pub mod writer;
