//! Parse, run, print one error, exit code.

fn main() {}
