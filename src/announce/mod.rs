//! Finding peers: asking trackers who has a torrent, over HTTP and UDP, tier by tier (BEP 12), when it is time (BEP 3); and asking
//! the machines on the same link (`local`, BEP 14).

pub mod announcer;
pub mod answer;
pub mod client;
pub mod encoding;
mod error;
pub mod hosts;
pub mod local;
pub mod reach;
mod redirect;
pub mod tiers;
mod tls;
pub mod udp;

pub use announcer::{Announcer, OwnTracker, TrackerNews};
pub use local::LocalDiscovery;
