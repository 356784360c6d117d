//! Ctrl-C and SIGTERM, as messages.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::Failure;

/// Comes when the program is asked to end. A second time ends it there and then.
pub fn listen() -> Result<Receiver<i32>, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| Failure::about("signals", error))?;
    let (sender, receiver) = bounded(1);
    let listening = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if sender.try_send(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    });
    listening.map_err(|error| Failure::about("signals", error))?;
    Ok(receiver)
}
