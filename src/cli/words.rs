//! Words of a command line, made fit for argh: UTF-8 throughout, an option apart from its value, one switch a word.
//!
//! File names need not be UTF-8, and argh reads nothing else. So [`encode`] puts each byte that is not UTF-8 into a
//! character of its own, and [`decode`] takes it out again; what is a path is decoded before anything uses it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

/// The character that stands for byte 0; those of the other bytes follow. They are the last 256 of Unicode, which are
/// for private use. Where a word has one of them itself, its bytes are encoded too.
const BYTES: u32 = 0x10_ff00;

/// The short form of --help, which argh does not list.
const HELP: char = 'h';

/// A known word that is so many letters away is suggested for an unknown one.
const SLIP: usize = 2;

/// The word as text, from which [`decode`] makes the very same word.
pub fn encode(word: &OsStr) -> String {
    let mut text = String::with_capacity(word.len());
    for chunk in word.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if u32::from(c) < BYTES {
                text.push(c);
            } else {
                text.extend(stand_ins(c.encode_utf8(&mut [0; 4]).as_bytes()));
            }
        }
        text.extend(stand_ins(chunk.invalid()));
    }
    text
}

/// The characters that stand for these bytes.
fn stand_ins(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().filter_map(|byte| char::from_u32(BYTES + u32::from(*byte)))
}

/// The word that [`encode`] made the text of.
pub fn decode(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(BYTES) {
            Some(byte) => bytes.push(byte as u8),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// Takes `--name=value` and `-vv` apart, as the commands in `program` have options and switches. An unknown option or
/// command is an error that names the one which was probably meant.
pub fn spell_out(words: Vec<String>, program: &CommandInfoWithArgs) -> Result<Vec<String>, String> {
    let mut spelled = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    let mut command = program;
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((&*word, None), |(name, value)| (name, Some(value)));
        if word == "--" {
            spelled.push(word);
            spelled.extend(words);
            break;
        } else if word.starts_with("--") {
            let flag =
                command.flags.iter().find(|flag| flag.long == name).ok_or_else(|| unknown_option(name, command))?;
            spelled.push(name.to_owned());
            match (takes_value(flag), value) {
                (true, Some(value)) => spelled.push(value.to_owned()),
                (true, None) => spelled.extend(words.next()),
                (false, Some(_)) => return Err(format!("{name} takes no value")),
                (false, None) => {}
            }
        } else if word.starts_with('-') && word.len() > 1 {
            for letter in word.chars().skip(1) {
                if letter != HELP && !command.flags.iter().any(|flag| flag.short == Some(letter)) {
                    return Err(unknown_option(&word, command));
                }
                spelled.push(format!("-{letter}"));
            }
        } else if command.commands.is_empty() {
            spelled.push(word);
        } else {
            let known = command.commands.iter().find(|known| known.name == word);
            command = &known.ok_or_else(|| unknown_command(&word, command))?.command;
            spelled.push(word);
        }
    }
    Ok(spelled)
}

fn takes_value(flag: &FlagInfo<'_>) -> bool {
    matches!(flag.kind, FlagInfoKind::Option { .. })
}

fn unknown_option(name: &str, command: &CommandInfoWithArgs) -> String {
    format!("There is no option {name}{}", meant(name, command.flags.iter().map(|flag| flag.long)))
}

fn unknown_command(name: &str, program: &CommandInfoWithArgs) -> String {
    let meant = meant(name, program.commands.iter().map(|command| command.name));
    let commands: Vec<_> = program.commands.iter().map(|command| command.name).collect();
    format!("There is no command {name}{meant} The commands are {}.", commands.join(", "))
}

/// The end of a sentence about an unknown word.
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|known| (distance(word, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= SLIP && distance < word.len() => format!("; did you mean {known}?"),
        _ => ".".to_owned(),
    }
}

/// How many letters must be put in, taken out or changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, against) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.chars().count()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, want) in [("", "", 0), ("sed", "seed", 1), ("fecth", "fetch", 2), ("größe", "grösse", 2)] {
            assert_eq!((distance(one, other), distance(other, one)), (want, want), "{one} {other}");
        }
    }

    #[test]
    fn what_is_utf_8_stays_readable() {
        assert_eq!(encode(OsStr::new("größe – 練習")), "größe – 練習");
        assert_eq!(encode(OsStr::from_bytes(b"caf\xe9")), "caf\u{10ffe9}");
    }

    proptest! {
        #[test]
        fn every_word_comes_back_as_it_was(bytes: Vec<u8>, text: String) {
            for word in [OsString::from_vec(bytes), OsString::from(text + "\u{10ffe9}")] {
                prop_assert_eq!(decode(&encode(&word)), word);
            }
        }
    }
}
