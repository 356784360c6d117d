//! WHO has it: the tracker's memory and its answers.
//!
//! In reading order:
//! - [`announce`], [`scrape`]: what is asked; `query`: how it is written in a URL.
//! - [`table`]: the swarms, made of `swarm` and `peers`, bounded by `census`; [`address`]: who may dial whom.
//! - [`reply`]: what is answered, in bencode and in JSON.
//! - [`udp`]: the same over UDP, in bytes; [`connection_ids`]: who may ask there.
//!
//! All of it is pure. Listening is `http`'s and `node`'s.

pub mod address;
pub mod announce;
mod census;
pub mod connection_ids;
#[cfg(test)]
mod model;
mod peers;
mod query;
pub mod reply;
pub mod scrape;
mod swarm;
pub mod table;
pub mod udp;

pub use census::{Full, TrackerLimits};
pub use query::Refusal;
