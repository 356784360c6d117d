//! WHO has it: the tracker's memory, an announce both ways, and the client that asks other trackers.
//!
//! In reading order:
//! - [`announce`], [`scrape`]: what is asked; `query`: how it is written in a URL.
//! - [`table`]: the swarms, made of `swarm` and `peers`, bounded by `census`; [`address`]: who may dial whom.
//! - [`reply`]: what is answered, in bencode and in JSON; [`answer`]: the same, read by a client.
//! - [`client`]: asks a tracker over HTTP, by [`udp`] over UDP; [`encoding`]: answers in gzip; `tls`, `error`: why there is none;
//!   [`tiers`]: which of several trackers to ask, and when;
//!   [`hosts`]: which of their hosts answer.
//!
//! All but `client` and `udp` are pure. Listening for announces is `web`'s.

pub mod address;
pub mod announce;
pub mod answer;
mod census;
pub mod client;
pub mod encoding;
mod error;
pub mod hosts;
#[cfg(test)]
mod model;
mod peers;
mod query;
pub mod reach;
pub mod reply;
pub mod scrape;
mod swarm;
pub mod table;
pub mod tiers;
mod tls;
pub mod udp;

pub use census::{Full, Limits};
pub use query::Refusal;
