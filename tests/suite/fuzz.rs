//! The fuzz targets (`tests/fuzz`) in small: every input that libFuzzer found worth keeping, and mutations of them.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic;
use std::path::Path;

use data_encoding::BASE64;
use minitorrent::chance::Chance;

/// Mutations of each target's corpus, from a seed: less than a second of work for each.
const MUTATIONS: u32 = 10_000;

/// Bytes that parsers give a meaning to.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\r\n :;,=&%-+\"\\/{}[]deil0123456789aA";

#[test]
fn no_input_that_was_ever_worth_keeping_does_harm() {
    for (name, target) in targets::ALL {
        for (number, bytes) in corpus(name).iter().enumerate() {
            hold(target, bytes, &format!("{name}, line {}", number + 1));
        }
    }
}

#[test]
fn no_mutation_of_what_was_worth_keeping_does_harm() {
    for (name, target) in targets::ALL {
        let corpus = corpus(name);
        let mut chance = Chance::new(1);
        for number in 0..MUTATIONS {
            let mut bytes = one_of(&corpus, &mut chance).clone();
            for _ in 0..=chance.below(4) {
                mutate(&mut bytes, &corpus, &mut chance);
            }
            hold(target, &bytes, &format!("{name}, mutation {number}"));
        }
    }
}

/// Runs a target, and says with which bytes it panicked.
fn hold(target: targets::Target, bytes: &[u8], which: &str) {
    assert!(panic::catch_unwind(|| target(bytes)).is_ok(), "{which}: b\"{}\"", bytes.escape_ascii());
}

/// The inputs of a target: one a line, in base64.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let lines = fs::read_to_string(&file).unwrap();
    let inputs: Vec<Vec<u8>> = lines.lines().map(|line| BASE64.decode(line.as_bytes()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", file.display());
    inputs
}

/// One of these, which must be some.
fn one_of<'a, T>(items: &'a [T], chance: &mut Chance) -> &'a T {
    &items[chance.below(items.len())]
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + chance.below(16)).min(bytes.len());
    match chance.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = *one_of(TELLING, chance),
        2 => bytes.insert(at, *one_of(TELLING, chance)),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.extend_from_within(at..end),
        // The beginning of one and the end of another.
        _ => {
            let other = one_of(corpus, chance);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
    }
}
