//! The tests that see minitorrent from outside: the binary as a person runs it, among real clients.
//!
//! `house` is what the tests stand on: hosts of their own (network namespaces), children that end with the test, generated
//! content, real clients and trackers, and a small peer and tracker that behave as badly as a test asks them to.
//! Every other module is one story. A test that cannot run on this machine says so aloud on stderr, with the reason.

mod house;

mod bad_input;
mod bad_peers;
mod churn;
mod cli;
mod control;
mod defaults;
mod dialling;
mod ending;
mod faults;
mod fuzz;
mod hostile_http;
mod kill9;
mod layering;
mod liar;
mod local;
mod matrix;
mod package;
mod page;
mod pausing;
mod small;
mod soak;
mod story;
mod udp_tracker;
mod undialable;
mod unsaid;
mod waiting;
mod watching;
mod zoo;
