//! WHO has it: the tracker's memory and its answers.
//!
//! In reading order:
//! - [`announce`], [`scrape`]: what is asked; `query`: how it is written in a URL.
//! - [`table`]: the swarms, made of `swarm` and `peers`, bounded by `census`; [`address`]: who may dial whom.
//! - [`reply`]: what is answered, in bencode and in JSON.
//!
//! All of it is pure. Listening for announces is `web`'s.

pub mod address;
pub mod announce;
mod census;
#[cfg(test)]
mod model;
mod peers;
mod query;
pub mod reply;
pub mod scrape;
mod swarm;
pub mod table;

pub use census::{Full, TrackerLimits};
pub use query::Refusal;
