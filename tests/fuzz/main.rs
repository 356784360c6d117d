//! One fuzz target: the one in `targets` that is called as this program is.

#![no_main]

mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let called = |(name, _): &&(&str, targets::Target)| *name == env!("CARGO_BIN_NAME");
    let (_, target) = targets::ALL.iter().find(called).expect("every program has its target");
    target(bytes);
});
