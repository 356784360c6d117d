//! The command line: names, help, defaults. No logic.

use std::ffi::OsString;

use argh::FromArgs;

/// The exit code of a wrong command line.
pub const USAGE: u8 = 2;

/// Peers at most.
const MAX_COUNT: usize = 5000;

/// Why parsing a command line came to no arguments.
#[derive(Debug)]
pub enum Stop {
    /// Help was asked for; this is it.
    Help(String),
    /// Something is wrong with it; this says what.
    Usage(String),
}

/// Move a file from one machine to every machine in the room, by BitTorrent.
#[derive(FromArgs, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    example = "minitorrent tracker\nminitorrent seed big.iso\nminitorrent fetch http://192.168.1.5:5000/metainfos/big.iso.json",
    note = "Each command has its own --help. Exit codes: 0 done, 1 failed, 2 usage, 130 a fetch stopped by Ctrl-C."
)]
pub struct Arguments {
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
    /// print the version
    #[argh(switch)]
    pub version: bool,
    /// what to do
    #[argh(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Command {
    /// Run a tracker with its page.
    Tracker(Tracker),
    /// Give a file to others.
    Seed(Seed),
    /// Get a file from others.
    Fetch(Fetch),
    /// Make a metainfo.
    Create(Create),
    /// Print a metainfo.
    Show(Show),
    /// Check data against a metainfo.
    Verify(Verify),
}

/// Run a tracker, and a page on which to share files. What is uploaded there is kept and seeded.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "tracker", help_triggers("-h", "--help"), example = "minitorrent tracker --data /srv/share")]
pub struct Tracker {
    /// port of the page and of announces (5000, or the next free one)
    #[argh(option)]
    pub port: Option<u16>,
    /// folder of uploads and metainfos (the current one)
    #[argh(option, default = "String::from(\".\")")]
    pub data: String,
    /// URL under which others reach this tracker, where it cannot be guessed
    #[argh(option)]
    pub public_url: Option<String>,
    /// announces only: no page, no uploads, nothing seeded
    #[argh(switch)]
    pub no_web: bool,
    /// port on which uploads are seeded (6881, or the next free one)
    #[argh(option)]
    pub seed_port: Option<u16>,
    /// file that holds the password of whoever may control from the page (without one: whoever sits at this machine)
    #[argh(option)]
    pub password_file: Option<String>,
    /// only whoever may control may upload (otherwise anyone may)
    #[argh(switch)]
    pub no_upload: bool,
    /// bytes a second to take at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub download_limit: u64,
    /// bytes a second to send at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub upload_limit: u64,
    /// peers connected at most (500)
    #[argh(option, default = "500", from_str_fn(count))]
    pub max_peers: usize,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Give a file or folder to others, until stopped. From a metainfo, what it describes is looked for in --dir.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "seed",
    help_triggers("-h", "--help"),
    example = "minitorrent seed big.iso\nminitorrent seed big.torrent --dir ~/Downloads\nminitorrent seed big.iso --page 8080 --upload-limit 10M"
)]
pub struct Seed {
    /// file or folder to share, or a metainfo (path or URL)
    #[argh(positional)]
    pub what: String,
    /// folder in which the data of a metainfo lies (the current one)
    #[argh(option)]
    pub dir: Option<String>,
    /// tracker to announce to; may be given again (the one on this machine)
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// where to write the metainfo; the ending says the form (NAME.json and NAME.torrent, here)
    #[argh(option)]
    pub out: Option<String>,
    /// bytes a piece, such as 64K or 1M, when a metainfo is made (256K)
    #[argh(option, from_str_fn(piece_length))]
    pub piece_length: Option<u32>,
    /// port for peers (6881, or the next free one)
    #[argh(option)]
    pub port: Option<u16>,
    /// address of a page that shows and controls this, such as 8080 (this machine only) or 0.0.0.0:8080
    #[argh(option)]
    pub page: Option<String>,
    /// file that holds the password of whoever may control from the page (without one: whoever sits at this machine)
    #[argh(option)]
    pub password_file: Option<String>,
    /// bytes a second to send at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub upload_limit: u64,
    /// peers connected at most (500)
    #[argh(option, default = "500", from_str_fn(count))]
    pub max_peers: usize,
    /// print one line of JSON at the start and one at the end
    #[argh(switch)]
    pub json: bool,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Get what a metainfo describes, from every peer that has pieces of it, and give pieces to others meanwhile.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "fetch",
    help_triggers("-h", "--help"),
    example = "minitorrent fetch big.iso.json --out ~/Downloads\nminitorrent fetch big.iso.json --page 0.0.0.0:8080 --password-file secret"
)]
pub struct Fetch {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional)]
    pub meta: String,
    /// folder to put it in (the current one)
    #[argh(option, default = "String::from(\".\")")]
    pub out: String,
    /// port for peers (6882, or the next free one)
    #[argh(option)]
    pub port: Option<u16>,
    /// seconds to go on giving once all is here (until nobody needs it, 60 at most)
    #[argh(option)]
    pub seed_for: Option<u32>,
    /// tracker to ask besides those of the metainfo; may be given again
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// reserve the space on disk first
    #[argh(switch)]
    pub preallocate: bool,
    /// bytes a second to take at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub download_limit: u64,
    /// bytes a second to send at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub upload_limit: u64,
    /// peers connected at most (60)
    #[argh(option, default = "60", from_str_fn(count))]
    pub max_peers: usize,
    /// address of a page that shows and controls this, such as 8080 (this machine only) or 0.0.0.0:8080; it then runs until stopped
    #[argh(option)]
    pub page: Option<String>,
    /// file that holds the password of whoever may control from the page (without one: whoever sits at this machine)
    #[argh(option)]
    pub password_file: Option<String>,
    /// mebibytes that pieces under way may hold in memory (12)
    #[argh(option, default = "12")]
    pub memory: u32,
    /// print one line of JSON at the end, and no progress
    #[argh(switch)]
    pub json: bool,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Make a metainfo of a file or folder.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "create",
    help_triggers("-h", "--help"),
    example = "minitorrent create big.iso --tracker http://192.168.1.5:5000/announce"
)]
pub struct Create {
    /// file or folder
    #[argh(positional)]
    pub path: String,
    /// announce URL; may be given again, each is a tier of its own
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// bytes a piece, such as 64K or 1M (256K)
    #[argh(option, from_str_fn(piece_length))]
    pub piece_length: Option<u32>,
    /// where to write it; the ending says the form (NAME.json and NAME.torrent, here)
    #[argh(option)]
    pub out: Option<String>,
    /// a remark for people
    #[argh(option)]
    pub comment: Option<String>,
    /// peers come from the trackers alone (BEP 27)
    #[argh(switch)]
    pub private: bool,
    /// print one line of JSON instead of a summary
    #[argh(switch)]
    pub json: bool,
}

/// Print a metainfo.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "show",
    help_triggers("-h", "--help"),
    example = "minitorrent show big.torrent\nminitorrent show big.torrent --json > big.json"
)]
pub struct Show {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional)]
    pub meta: String,
    /// as a JSON metainfo
    #[argh(switch)]
    pub json: bool,
}

/// Check data against a metainfo: every piece is hashed.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "verify",
    help_triggers("-h", "--help"),
    example = "minitorrent verify big.iso.json --dir ~/Downloads"
)]
pub struct Verify {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional)]
    pub meta: String,
    /// folder in which the data lies (the current one)
    #[argh(option, default = "String::from(\".\")")]
    pub dir: String,
    /// print one line of JSON
    #[argh(switch)]
    pub json: bool,
}

/// Reads a command line, the program's own name first.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, Stop> {
    let words: Vec<String> = words
        .map(|word| {
            word.into_string().map_err(|word| format!("{} is not UTF-8\n", word.to_string_lossy().escape_debug()))
        })
        .collect::<Result<_, _>>()
        .map_err(Stop::Usage)?;
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let arguments = Arguments::from_args(&["minitorrent"], &words).map_err(|exit| match exit.status {
        Ok(()) => Stop::Help(exit.output + "\n"),
        Err(()) => Stop::Usage(exit.output.trim_end().to_owned() + "\nTry --help.\n"),
    })?;
    if arguments.command.is_none() && !arguments.version {
        let what = "Say what to do: tracker, seed, fetch, create, show or verify.\nTry --help.\n";
        return Err(Stop::Usage(what.to_owned()));
    }
    Ok(arguments)
}

/// A number of peers: each may take two threads and a descriptor.
fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_COUNT).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number of peers; write one from 1 to {MAX_COUNT}"))
}

/// An announce URL.
fn tracker(text: &str) -> Result<String, String> {
    let is_url = ["http://", "https://", "udp://"].iter().any(|scheme| text.starts_with(scheme));
    let sentence =
        || format!("{text:?} is no tracker; write a URL such as http://192.168.1.5:5000/announce or udp://…");
    is_url.then(|| text.to_owned()).ok_or_else(sentence)
}

/// A rate such as `800`, `500K` or `10M`: bytes a second, with 1024 to the K.
fn rate(text: &str) -> Result<u64, String> {
    scaled(text).ok_or_else(|| format!("{text:?} is no rate; write bytes a second, such as 500K or 10M"))
}

/// A piece length such as `262144`, `64K` or `1M`, in bytes.
fn piece_length(text: &str) -> Result<u32, String> {
    let length = scaled(text).and_then(|length| u32::try_from(length).ok());
    length.ok_or_else(|| format!("{text:?} is no piece length; write bytes, such as 64K or 1M"))
}

/// A number with K, M or G behind it, or nothing; 1024 to the K.
fn scaled(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, Stop> {
        parse(["minitorrent"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn a_rate_has_a_unit_or_none() {
        assert_eq!(rate("800"), Ok(800));
        assert_eq!(rate("500K"), Ok(512_000));
        assert_eq!(rate("2m"), Ok(2 << 20));
        for bad in ["", "K", "-1", "1T", "99999999999G", "1 K"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tracker_is_a_url_of_a_kind_that_can_be_asked() {
        for good in ["http://a:5000/announce", "https://a/announce", "udp://a:80"] {
            assert_eq!(tracker(good).as_deref(), Ok(good));
        }
        assert!(["", "a:5000", "ftp://a", "192.168.1.5:5000/announce"].iter().all(|bad| tracker(bad).is_err()));
        assert!(
            matches!(parsed("create a --tracker a:5000"), Err(Stop::Usage(text)) if text.contains("is no tracker"))
        );
    }

    #[test]
    fn a_number_of_peers_is_held_to_its_limits() {
        assert_eq!((count("1"), count("5000")), (Ok(1), Ok(5000)));
        assert!(["0", "5001", "-1", "x"].iter().all(|bad| count(bad).is_err()));
    }

    #[test]
    fn a_piece_length_may_have_a_unit_too() {
        assert_eq!(piece_length("262144"), Ok(262_144));
        assert_eq!(piece_length("1M"), Ok(1 << 20));
        for bad in ["", "x", "-1", "4G"] {
            assert!(piece_length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in ["tracker", "seed", "fetch", "create", "show", "verify"] {
            match parsed(&format!("{command} --help")) {
                Err(Stop::Help(text)) => assert!(text.contains(&format!("minitorrent {command}")), "{text}"),
                other => panic!("{command}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_file_may_be_called_help() {
        let Ok(Arguments { command: Some(Command::Seed(seed)), .. }) = parsed("seed help") else { panic!() };
        assert_eq!(seed.what, "help");
    }

    #[test]
    fn what_the_measurements_type_is_understood() {
        assert!(parsed("seed a.torrent --dir d --port 17001").is_ok());
        assert!(parsed("fetch a.torrent --out o --port 17002 --seed-for 0").is_ok());
        assert!(matches!(parsed("fetch"), Err(Stop::Usage(_))));
        assert!(matches!(parsed("fetch a --nonsense"), Err(Stop::Usage(_))));
        assert!(matches!(parsed("fetch a --port 70000"), Err(Stop::Usage(_))));
    }
}
