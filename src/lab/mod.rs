//! A room in virtual time: the code of `policy`, and the pure queues of `session`, on simulated links.
//!
//! Every host runs the very [`Coordinator`](crate::policy::coordinator::Coordinator), [`Requests`](crate::session::Requests),
//! [`Outbox`](crate::session::outgoing::outbox::Outbox) and upload turns that the threads of a real one run; messages pass through the
//! real codec. What is written here is what the threads, the sockets and the links do: `link` has the rates and the kernel's queues,
//! `writer` the writing thread of a session, `host` what the coordinator's thread does with events and actions, `room` the clock.
//! The same plan and seed give the same run. Nothing here opens a socket or starts a thread; the clock is read once, for
//! an instant to count from.

mod host;
mod link;
mod plan;
mod report;
mod room;
mod writer;

pub use plan::{Plan, SourceOrder, Stay};
pub use report::Report;
pub use room::run;

#[cfg(test)]
mod tests;
