//! Ctrl-C and SIGTERM, as messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::node::Failure;

/// Requests to end the program.
pub struct Interrupts {
    heard: Receiver<i32>,
    ready: Arc<AtomicBool>,
}

/// Listens from now on. Until the program says that it is ready to end in order, a request ends it there and then with
/// `early_code`: nothing has begun that would have to be ended. So does a second request.
pub fn listen(early_code: u8) -> Result<Interrupts, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| Failure::about("signals", error))?;
    let (sender, heard) = bounded(1);
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = ready.clone();
    let listening = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if !is_ready.load(Ordering::Acquire) {
                std::process::exit(early_code.into());
            }
            if sender.try_send(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    });
    listening.map_err(|error| Failure::about("signals", error))?;
    Ok(Interrupts { heard, ready })
}

impl Interrupts {
    /// From now on the program ends in order.
    pub fn end_in_order(self) -> Receiver<i32> {
        self.ready.store(true, Ordering::Release);
        self.heard
    }
}
