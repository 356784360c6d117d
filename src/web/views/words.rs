//! The words of BitTorrent, each explained in one sentence wherever it stands on a page.
//!
//! A word is a button that opens its sentence: by tap, by keyboard, and with a script by pointing at it. The sentences stand at the
//! end of every page; a browser without popovers shows them there as what they are, a glossary.

use maud::{Markup, html};

/// A word and what it means.
struct Word {
    key: &'static str,
    term: &'static str,
    meaning: &'static str,
}

const WORDS: [Word; 16] = [
    Word {
        key: "announce",
        term: "announce",
        meaning: "What a machine tells the tracker now and then: that it is here, and how much it still lacks.",
    },
    Word {
        key: "bound",
        term: "bound",
        meaning: "The shortest time in which these links could bring the file to everybody, if none of them ever idled.",
    },
    Word {
        key: "choked",
        term: "choked",
        meaning: "Told to wait because the other machine is serving someone else; its turn will come.",
    },
    Word {
        key: "client",
        term: "client",
        meaning: "The program that downloads or seeds; any that speaks BitTorrent can join.",
    },
    Word {
        key: "info-hash",
        term: "info hash",
        meaning: "A 40-digit fingerprint: change one byte of the file and it changes.",
    },
    Word {
        key: "leecher",
        term: "leecher",
        meaning: "A machine that is still downloading; it uploads what it has already.",
    },
    Word {
        key: "metainfo",
        term: "metainfo",
        meaning: "A small file that describes the large one: its name, its length and a checksum of every piece.",
    },
    Word { key: "peer", term: "peer", meaning: "A machine that takes part in sharing a file." },
    Word {
        key: "piece",
        term: "piece",
        meaning: "A file travels in pieces of one length, and each is checked before it counts.",
    },
    Word {
        key: "port",
        term: "seeder port",
        meaning: "The door by which other machines reach this one to fetch the file; leave it empty unless a firewall asks for one.",
    },
    Word {
        key: "rarest",
        term: "rarest",
        meaning: "The rarest pieces are those that the fewest machines have; they are fetched first, so that none gets lost.",
    },
    Word { key: "seeder", term: "seeder", meaning: "A machine that has the whole file and uploads it to others." },
    Word {
        key: "session",
        term: "session",
        meaning: "A connection between two machines; this is how they learn which pieces the other has.",
    },
    Word { key: "swarm", term: "swarm", meaning: "All machines that share one file." },
    Word { key: "torrent", term: ".torrent", meaning: "The metainfo in the form that every BitTorrent program reads." },
    Word {
        key: "tracker",
        term: "tracker",
        meaning: "The machine that tells who else has a file; the pieces then travel from machine to machine.",
    },
];

/// A word that explains itself, written as `text`. The key must be one of the list.
pub fn word(key: &str, text: &str) -> Markup {
    html! {
        button.word type="button" popovertarget={ "word-" (key) } aria-describedby={ "word-" (key) } { (text) }
    }
}

/// Every word with its sentence: what the buttons open, and a list to read.
pub fn glossary() -> Markup {
    html! {
        details.glossary {
            summary { "Words on this page" }
            dl { @for word in &WORDS { div { dt { (word.term) } dd { (word.meaning) } } } }
        }
        @for word in &WORDS {
            p.meaning id={ "word-" (word.key) } popover { b { (word.term) } " " (word.meaning) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_sentence_and_has_its_own_key() {
        for (at, word) in WORDS.iter().enumerate() {
            assert!(word.meaning.ends_with('.') && !word.meaning.trim_end_matches('.').contains(". "), "{}", word.term);
            assert!(WORDS[at + 1..].iter().all(|other| other.key > word.key), "{} is not in order", word.key);
        }
    }
}
