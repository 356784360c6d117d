//! One fuzz target: the one in `targets` that is called as this program is.

#![no_main]

mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| targets::named(env!("CARGO_BIN_NAME")).expect("every program has its target")(bytes));
