//! The command line: names, help, defaults. No logic.

mod words;

use std::{ffi::OsString, path::PathBuf};

use argh::{ArgsInfo, FromArgs};

use crate::text::{MAX_NAME, name_of};

use crate::text::parse_size;

/// The exit code of a wrong command line.
pub const USAGE: u8 = 2;

/// What `--version` prints: version, commit where it is known (`src/build.rs`), target.
pub const VERSION: &str = concat!("minitorrent ", env!("CARGO_PKG_VERSION"), " (", env!("MINITORRENT_BUILD"), ")");

/// Peers at most.
const MAX_COUNT: usize = 5000;

/// The longest metainfo that is ever read, in bytes.
const MAX_METAINFO: u64 = 256 << 20;

/// Why parsing a command line came to no arguments.
#[derive(Debug)]
pub enum Stop {
    /// Help was asked for; this is it.
    Help(String),
    /// Something is wrong with it; this says what.
    Usage(String),
}

/// Move a file from one machine to every machine in the room, by BitTorrent.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    example = "minitorrent tracker\nminitorrent seed big.iso\nminitorrent fetch http://192.168.1.5:5000/metainfos/big.iso.json",
    note = "Each command has its own --help. Exit codes: 0 done, 1 failed, 2 usage, 130 a fetch stopped by Ctrl-C."
)]
pub struct Arguments {
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
    /// print the version, what it was built from, and for which machine
    #[argh(switch, short = 'V')]
    pub version: bool,
    /// what to do
    #[argh(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Command {
    /// Run a tracker with its page.
    Tracker(TrackerArguments),
    /// Give a file to others.
    Seed(Seed),
    /// Get a file from others.
    Fetch(FetchArguments),
    /// Make a metainfo.
    Create(Create),
    /// Print a metainfo.
    Show(Show),
    /// Check data against a metainfo.
    Verify(Verify),
    /// Play a room in virtual time.
    Lab(LabArguments),
}

/// Run a tracker, and a page on which to share files. What is uploaded there is kept and seeded.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "tracker", help_triggers("-h", "--help"), example = "minitorrent tracker --data /srv/share")]
pub struct TrackerArguments {
    /// port of the page and of announces, TCP and UDP (5000, or the next free one)
    #[argh(option, from_str_fn(port_number))]
    pub port: Option<u16>,
    /// folder of uploads and metainfos (the current one)
    #[argh(option, default = "PathBuf::from(\".\")", from_str_fn(any_path))]
    pub data: PathBuf,
    /// URL under which others reach this tracker, where it cannot be guessed
    #[argh(option, from_str_fn(any_url))]
    pub public_url: Option<String>,
    /// address of a proxy whose X-Forwarded-For is believed; may be given again
    #[argh(option)]
    pub trusted_proxy: Vec<std::net::IpAddr>,
    /// folder that is shared as it fills: what is whole in it is seeded, what disappears is withdrawn
    #[argh(option, from_str_fn(any_path))]
    pub watch: Option<PathBuf>,
    /// look for no peers on the local network, and let none find this (trackers are asked all the same)
    #[argh(switch)]
    pub no_announce: bool,
    /// announces only: no page, no uploads, nothing seeded
    #[argh(switch)]
    pub no_web: bool,
    /// port on which uploads are seeded (6881, or the next free one)
    #[argh(option, from_str_fn(port_number))]
    pub seed_port: Option<u16>,
    /// file that holds the password of whoever may control from the page (without one: whoever opens the link that is printed)
    #[argh(option, from_str_fn(any_path))]
    pub password_file: Option<PathBuf>,
    /// only whoever may control may upload, or list what others have (otherwise anyone may)
    #[argh(switch)]
    pub no_upload: bool,
    /// bytes of a metainfo that others list here at most, such as 16M (2M); it may take 20 times its bytes of memory
    #[argh(option, from_str_fn(metainfo_length))]
    pub max_metainfo: Option<u64>,
    /// bytes a second to take at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub download_limit: u64,
    /// bytes a second to send at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub upload_limit: u64,
    /// peers connected at most (500)
    #[argh(option, default = "500", from_str_fn(count))]
    pub max_peers: usize,
    /// what the pages of others call this machine, 40 characters at most (its address)
    #[argh(option, from_str_fn(machine_name))]
    pub name: Option<Box<str>>,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Give a file or folder to others, until stopped. From a metainfo, what it describes is looked for in --dir.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "seed",
    help_triggers("-h", "--help"),
    example = "minitorrent seed big.iso\nminitorrent seed big.torrent --dir ~/Downloads\nminitorrent seed big.iso --page 8080 --upload-limit 10M"
)]
pub struct Seed {
    /// file or folder to share, or a metainfo (path or URL)
    #[argh(positional, from_str_fn(any_path))]
    pub what: PathBuf,
    /// folder in which the data of a metainfo lies (the current one)
    #[argh(option, from_str_fn(any_path))]
    pub dir: Option<PathBuf>,
    /// tracker to announce to; may be given again (the one on this machine, if there is one)
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// peer to connect to besides those that are found, such as 192.168.1.7:6881; may be given again
    #[argh(option, from_str_fn(peer_address))]
    pub peer: Vec<NamedPeer>,
    /// look for no peers on the local network, and let none find this (trackers are asked all the same)
    #[argh(switch)]
    pub no_announce: bool,
    /// where to write the metainfo; the ending says the form (NAME.json and NAME.torrent, here)
    #[argh(option, from_str_fn(any_path))]
    pub out: Option<PathBuf>,
    /// bytes a piece, such as 64K or 1M, when a metainfo is made (256K)
    #[argh(option, from_str_fn(piece_length))]
    pub piece_length: Option<u32>,
    /// port for peers (6881, or the next free one)
    #[argh(option, from_str_fn(port_number))]
    pub port: Option<u16>,
    /// address of a page that shows and controls this, such as 8080 (this machine only) or 0.0.0.0:8080
    #[argh(option, from_str_fn(plain_text))]
    pub page: Option<String>,
    /// file that holds the password of whoever may control from the page (without one: whoever opens the link that is printed)
    #[argh(option, from_str_fn(any_path))]
    pub password_file: Option<PathBuf>,
    /// bytes a second to send at most, such as 500K or 10M
    #[argh(option, default = "0", from_str_fn(rate))]
    pub upload_limit: u64,
    /// peers connected at most (500)
    #[argh(option, default = "500", from_str_fn(count))]
    pub max_peers: usize,
    /// what the pages of others call this machine, 40 characters at most (its address)
    #[argh(option, from_str_fn(machine_name))]
    pub name: Option<Box<str>>,
    /// print one line of JSON at the start, one at the end, and one with the next control link when a link is used
    #[argh(switch)]
    pub json: bool,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Get what a metainfo describes, from every peer that has pieces of it, and give pieces to others meanwhile.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "fetch",
    help_triggers("-h", "--help"),
    example = "minitorrent fetch big.iso.json --out ~/Downloads\nminitorrent fetch big.iso.json --page 0.0.0.0:8080 --password-file secret"
)]
pub struct FetchArguments {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional, from_str_fn(any_path))]
    pub meta: PathBuf,
    /// folder to put it in (the current one)
    #[argh(option, default = "PathBuf::from(\".\")", from_str_fn(any_path))]
    pub out: PathBuf,
    /// port for peers (6882, or the next free one)
    #[argh(option, from_str_fn(port_number))]
    pub port: Option<u16>,
    /// seconds to go on giving once all is here (until nobody needs it, 60 at most)
    #[argh(option, from_str_fn(whole_seconds))]
    pub seed_for: Option<u32>,
    /// tracker to ask besides those of the metainfo; may be given again
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// peer to connect to besides those that are found, such as 192.168.1.7:6881; may be given again
    #[argh(option, from_str_fn(peer_address))]
    pub peer: Vec<NamedPeer>,
    /// look for no peers on the local network, and let none find this (trackers are asked all the same)
    #[argh(switch)]
    pub no_announce: bool,
    /// reserve the space on disk first
    #[argh(switch)]
    pub preallocate: bool,
    /// replace files, and add to a folder, that are there already and are not the torrent's (without it they are left as they are)
    #[argh(switch)]
    pub overwrite: bool,
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
    #[argh(option, from_str_fn(plain_text))]
    pub page: Option<String>,
    /// file that holds the password of whoever may control from the page (without one: whoever opens the link that is printed)
    #[argh(option, from_str_fn(any_path))]
    pub password_file: Option<PathBuf>,
    /// mebibytes that pieces under way may hold in memory (12)
    #[argh(option, default = "12", from_str_fn(whole_mebibytes))]
    pub memory: u32,
    /// what the pages of others call this machine, 40 characters at most (its address)
    #[argh(option, from_str_fn(machine_name))]
    pub name: Option<Box<str>>,
    /// print one line of JSON at the end, and no progress
    #[argh(switch)]
    pub json: bool,
    /// log what happens; twice also what each peer does
    #[argh(switch, short = 'v')]
    pub verbose: u8,
}

/// Make a metainfo of a file or folder.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "create",
    help_triggers("-h", "--help"),
    example = "minitorrent create big.iso --tracker http://192.168.1.5:5000/announce"
)]
pub struct Create {
    /// file or folder
    #[argh(positional, from_str_fn(any_path))]
    pub path: PathBuf,
    /// announce URL; may be given again, each is a tier of its own
    #[argh(option, from_str_fn(tracker))]
    pub tracker: Vec<String>,
    /// bytes a piece, such as 64K or 1M (256K)
    #[argh(option, from_str_fn(piece_length))]
    pub piece_length: Option<u32>,
    /// where to write it; the ending says the form (NAME.json and NAME.torrent, here)
    #[argh(option, from_str_fn(any_path))]
    pub out: Option<PathBuf>,
    /// a remark for people
    #[argh(option, from_str_fn(plain_text))]
    pub comment: Option<String>,
    /// peers come from the trackers alone (BEP 27)
    #[argh(switch)]
    pub private: bool,
    /// print one line of JSON instead of a summary
    #[argh(switch)]
    pub json: bool,
}

/// Print a metainfo.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "show",
    help_triggers("-h", "--help"),
    example = "minitorrent show big.torrent\nminitorrent show big.torrent --json > big.json"
)]
pub struct Show {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional, from_str_fn(any_path))]
    pub meta: PathBuf,
    /// as a JSON metainfo
    #[argh(switch)]
    pub json: bool,
}

/// Check data against a metainfo: every piece is hashed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "verify",
    help_triggers("-h", "--help"),
    example = "minitorrent verify big.iso.json --dir ~/Downloads"
)]
pub struct Verify {
    /// metainfo: a path or an http(s) URL, JSON or .torrent
    #[argh(positional, from_str_fn(any_path))]
    pub meta: PathBuf,
    /// folder in which the data lies (the current one)
    #[argh(option, default = "PathBuf::from(\".\")", from_str_fn(any_path))]
    pub dir: PathBuf,
    /// print one line of JSON
    #[argh(switch)]
    pub json: bool,
}

/// Play a room in virtual time: how long a swarm takes, and why. The same pickers, chokers and queues run as in a real fetch; only the
/// links are simulated.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "lab",
    help_triggers("-h", "--help"),
    example = "minitorrent lab --hosts 30 --link 20M --file 64M\nminitorrent lab --hosts 10 --link 100M --picker sequential --seeds 20",
    note = "Link rates are in bits per second, as networks are sold: 20M is 20 Mbit/s. Sizes are in bytes, with 1024 to the K."
)]
pub struct LabArguments {
    /// hosts that fetch; the source is one more (30)
    #[argh(option, default = "30", from_str_fn(count))]
    pub hosts: usize,
    /// bits per second of each host's link, both ways (20M); given again, the hosts take them in turn
    #[argh(option, from_str_fn(bit_rate))]
    pub link: Vec<f64>,
    /// bits per second of the source's link (as the first --link)
    #[argh(option, from_str_fn(bit_rate))]
    pub source: Option<f64>,
    /// bytes of the file (64M)
    #[argh(option, default = "64 << 20", from_str_fn(file_length))]
    pub file: u64,
    /// bytes of a piece (256K)
    #[argh(option, default = "256 << 10", from_str_fn(piece_length))]
    pub piece: u32,
    /// microseconds that a packet takes from one host to another (200)
    #[argh(option, default = "200", from_str_fn(whole_number))]
    pub latency: u32,
    /// bits per second of one Wi-Fi cell that all hosts share; the source is on a cable
    #[argh(option, from_str_fn(bit_rate))]
    pub air: Option<f64>,
    /// milliseconds between the starts of two hosts (0)
    #[argh(option, default = "0", from_str_fn(whole_number))]
    pub arrive: u32,
    /// percent of the hosts that leave in the middle (0)
    #[argh(option, default = "0", from_str_fn(percent))]
    pub leave: u32,
    /// hosts that upload nothing (0)
    #[argh(option, default = "0", from_str_fn(whole_number))]
    pub free_rider: u32,
    /// peers that a host has at most (60)
    #[argh(option, default = "60", from_str_fn(count))]
    pub max_peers: usize,
    /// order in which pieces are fetched: rarest, random or sequential (rarest)
    #[argh(option, default = "String::from(\"rarest\")", from_str_fn(piece_order))]
    pub picker: String,
    /// order in which the source shows its pieces: super (each to one peer at first) or plain (super)
    #[argh(option, default = "String::from(\"super\")", from_str_fn(source_order))]
    pub source_order: String,
    /// runs with different chance; the median is told (1)
    #[argh(option, default = "1", from_str_fn(count))]
    pub seeds: usize,
    /// print a line of JSON for each run
    #[argh(switch)]
    pub json: bool,
}

/// Reads a command line, the program's own name first.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, Stop> {
    let words = words.skip(1).map(|word| words::encode(&word)).collect();
    let usage = |text: &str| Stop::Usage(format!("{}\nTry --help.\n", readable(text.trim_end())));
    let words = words::spell_out(words, &Arguments::get_args_info()).map_err(|sentence| usage(&sentence))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let arguments = Arguments::from_args(&["minitorrent"], &words).map_err(|exit| match exit.status {
        Ok(()) => Stop::Help(exit.output + "\n"),
        Err(()) => usage(&exit.output),
    })?;
    if arguments.command.is_none() && !arguments.version {
        return Err(usage("Say what to do: tracker, seed, fetch, create, show, verify or lab."));
    }
    Ok(arguments)
}

/// A word for people, whatever bytes are in it.
fn readable(word: &str) -> String {
    words::decode(word).to_string_lossy().into_owned()
}

/// A file or folder, whose name may be any bytes; or a URL.
fn any_path(word: &str) -> Result<PathBuf, String> {
    Ok(words::decode(word).into())
}

/// Anything that is text.
fn plain_text(word: &str) -> Result<String, String> {
    words::decode(word).into_string().map_err(|_| format!("{:?} is not UTF-8", readable(word)))
}

/// A name for people.
fn machine_name(word: &str) -> Result<Box<str>, String> {
    let text = plain_text(word)?;
    let name = name_of(text.as_bytes()).filter(|name| **name == *text.trim());
    name.ok_or_else(|| format!("{:?} is not a name; write 1 to {MAX_NAME} printable characters", readable(word)))
}

/// A port to listen on; 0 is for any that is free.
fn port_number(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| format!("{:?} is not a port; write a number from 0 to 65535", readable(word)))
}

/// A number of seconds.
fn whole_seconds(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{:?} is not a number of seconds; write one such as 60", readable(word)))
}

/// A number of mebibytes.
fn whole_mebibytes(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{:?} is not a number of mebibytes; write one such as 12", readable(word)))
}

/// A whole number.
fn whole_number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{:?} is not a whole number; write one such as 5", readable(word)))
}

/// A part of a hundred.
fn percent(word: &str) -> Result<u32, String> {
    let number = word.parse().ok().filter(|number| *number <= 100);
    number.ok_or_else(|| format!("{:?} is not a percentage; write a number from 0 to 100", readable(word)))
}

/// A link's rate such as `20M`, in bits per second; 1000 to the K.
fn bit_rate(word: &str) -> Result<f64, String> {
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'K' | b'k') => (&word[..word.len() - 1], 1e3),
        Some(b'M' | b'm') => (&word[..word.len() - 1], 1e6),
        Some(b'G' | b'g') => (&word[..word.len() - 1], 1e9),
        _ => (word, 1.0),
    };
    let rate = digits.parse().ok().map(|number: f64| number * unit).filter(|rate| (1e3..=1e12).contains(rate));
    rate.ok_or_else(|| format!("{:?} is not a link rate; write bits per second, such as 20M", readable(word)))
}

/// The length of a file in the lab, in bytes.
fn file_length(word: &str) -> Result<u64, String> {
    let length = parse_size(word).filter(|length| (1..=1 << 40).contains(length));
    length.ok_or_else(|| format!("{:?} is not a file size; write bytes, such as 64M", readable(word)))
}

/// A piece order.
fn piece_order(word: &str) -> Result<String, String> {
    one_of(word, &["rarest", "random", "sequential"])
}

/// A source's order.
fn source_order(word: &str) -> Result<String, String> {
    one_of(word, &["super", "plain"])
}

fn one_of(word: &str, choices: &[&str]) -> Result<String, String> {
    let known = choices.contains(&word).then(|| word.to_owned());
    known.ok_or_else(|| format!("{:?} is not one of {}", readable(word), choices.join(", ")))
}

/// A number of peers: each may take two threads and a descriptor.
fn count(word: &str) -> Result<usize, String> {
    let number = word.parse().ok().filter(|number| (1..=MAX_COUNT).contains(number));
    number.ok_or_else(|| format!("{:?} is not a number of peers; write one from 1 to {MAX_COUNT}", readable(word)))
}

/// A URL as others write it: schemes are the same in capitals (RFC 3986, section 3.1), and not every program knows.
fn any_url(word: &str) -> Result<String, String> {
    let text = plain_text(word)?;
    Ok(match text.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => text,
    })
}

/// An announce URL.
fn tracker(word: &str) -> Result<String, String> {
    let url = any_url(word)?;
    let is_known = ["http://", "https://", "udp://"].iter().any(|scheme| url.starts_with(scheme));
    let sentence =
        || format!("{url:?} is not a tracker; write a URL such as http://192.168.1.5:5000/announce or udp://…");
    is_known.then_some(url.clone()).ok_or_else(sentence)
}

/// A peer, as the user types it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPeer {
    /// A name or an address.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

/// A host and a port, an IPv6 address in brackets: `192.168.1.7:6881`, `laptop.local:6881`, `[fe80::1]:6881`.
fn peer_address(word: &str) -> Result<NamedPeer, String> {
    let text = plain_text(word)?;
    let read = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_plain = !host.is_empty() && !host.contains(['[', ']', '/', '@', ' ']) && !host.contains(':');
        let host = bare.filter(|host| host.contains(':')).or(is_plain.then_some(host))?;
        Some(NamedPeer { host: host.to_owned(), port })
    };
    read(&text).ok_or_else(|| format!("{text:?} is not a peer; write a host and a port, such as 192.168.1.7:6881"))
}

/// A rate such as `800`, `500K` or `10M`: bytes per second, with 1024 to the K.
fn rate(word: &str) -> Result<u64, String> {
    let sentence = || format!("{:?} is not a rate; write bytes per second, such as 500K or 10M", readable(word));
    parse_size(word).ok_or_else(sentence)
}

/// The length of a metainfo such as `16M`, in bytes.
fn metainfo_length(text: &str) -> Result<u64, String> {
    let length = parse_size(text).filter(|length| (1..=MAX_METAINFO).contains(length));
    let sentence =
        || format!("{text:?} is no length of a metainfo; write bytes, such as 16M, up to {}M", MAX_METAINFO >> 20);
    length.ok_or_else(sentence)
}

/// A piece length such as `262144`, `64K` or `1M`, in bytes.
fn piece_length(word: &str) -> Result<u32, String> {
    let length = parse_size(word).and_then(|length| u32::try_from(length).ok());
    length.ok_or_else(|| format!("{:?} is not a piece length; write bytes, such as 64K or 1M", readable(word)))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

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
        assert_eq!(tracker("HTTP://A/Announce").as_deref(), Ok("http://A/Announce"));
        assert!(["", "a:5000", "ftp://a", "192.168.1.5:5000/announce"].iter().all(|bad| tracker(bad).is_err()));
        assert!(
            matches!(parsed("create a --tracker a:5000"), Err(Stop::Usage(text)) if text.contains("is not a tracker"))
        );
    }

    #[test]
    fn a_peer_is_a_host_and_a_port() {
        for (word, host, port) in [
            ("192.168.1.7:6881", "192.168.1.7", 6881),
            ("laptop.local:80", "laptop.local", 80),
            ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ] {
            assert_eq!(peer_address(word), Ok(NamedPeer { host: host.to_owned(), port }));
        }
        for bad in ["", "a", ":6881", "a:", "a:0", "a:65536", "fe80::1:6881", "[]:1", "[a]:1", "http://a:1", "a b:1"] {
            assert!(peer_address(bad).is_err(), "{bad}");
        }
        let Ok(Arguments { command: Some(Command::Fetch(fetch)), .. }) = parsed("fetch a --peer b:1 --peer=c:2") else {
            panic!()
        };
        assert_eq!(fetch.peer.len(), 2);
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
        assert_eq!(metainfo_length("256M"), Ok(MAX_METAINFO));
        assert!(["0", "257M", "x"].iter().all(|bad| metainfo_length(bad).is_err()));
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in ["tracker", "seed", "fetch", "create", "show", "verify", "lab"] {
            match parsed(&format!("{command} --help")) {
                Err(Stop::Help(text)) => assert!(text.contains(&format!("minitorrent {command}")), "{text}"),
                other => panic!("{command}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_name_is_short_and_printable() {
        assert_eq!(machine_name("Bank 3").as_deref(), Ok("Bank 3"));
        assert!(machine_name(&"a".repeat(MAX_NAME)).is_ok() && machine_name(&"a".repeat(MAX_NAME + 1)).is_err());
        assert!(["", " ", "a\nb", "a\u{202e}b"].iter().all(|bad| machine_name(bad).is_err()));
    }

    #[test]
    fn a_file_may_be_called_help() {
        let Ok(Arguments { command: Some(Command::Seed(seed)), .. }) = parsed("seed help") else { panic!() };
        assert_eq!(seed.what, Path::new("help"));
    }

    #[test]
    fn what_the_measurements_type_is_understood() {
        assert!(parsed("seed a.torrent --dir d --port 17001").is_ok());
        assert!(parsed("fetch a.torrent --out o --port 17002 --seed-for 0").is_ok());
        assert!(matches!(parsed("fetch"), Err(Stop::Usage(_))));
        assert!(matches!(parsed("fetch a --nonsense"), Err(Stop::Usage(_))));
        assert!(matches!(parsed("fetch a --port 70000"), Err(Stop::Usage(_))));
    }

    fn usage(line: &str) -> String {
        match parsed(line) {
            Err(Stop::Usage(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn created(line: &str) -> Create {
        match parsed(line) {
            Ok(Arguments { command: Some(Command::Create(create)), .. }) => create,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn an_options_value_may_stand_behind_an_equals_sign() {
        let create = created("create a=b --out=x=y.torrent --piece-length=64K --comment --json=1 --json");
        assert_eq!((create.path, create.out), ("a=b".into(), Some("x=y.torrent".into())));
        assert_eq!((create.piece_length, create.json), (Some(65_536), true));
        assert_eq!(create.comment.as_deref(), Some("--json=1"), "a value is whatever follows");
        assert_eq!(created("create --out= -- --out=b").path, Path::new("--out=b"), "behind -- are no options");
        assert!(usage("create a --json=yes").contains("--json takes no value"));
        assert!(usage("create a --out").contains("No value provided for option"));
    }

    #[test]
    fn short_switches_may_share_a_word() {
        for (line, verbose) in [("-v", 1), ("-vv", 2), ("-v -vv", 3)] {
            assert_eq!(parsed(&format!("{line} show a")).unwrap().verbose, verbose, "{line}");
            let Ok(Arguments { command: Some(Command::Seed(seed)), .. }) = parsed(&format!("seed a {line}")) else {
                panic!("{line}")
            };
            assert_eq!(seed.verbose, verbose, "{line}");
        }
        assert!(parsed("-V").unwrap().version && parsed("--version").unwrap().version);
        assert!(usage("seed a -vx").contains("no option -vx"));
    }

    #[test]
    fn a_slip_of_the_finger_is_answered_by_what_was_meant() {
        for (line, meant) in [
            ("sed x", "There is no command sed; did you mean seed?"),
            ("fecth x", "did you mean fetch?"),
            ("seed x --ouy=1", "There is no option --ouy; did you mean --out?"),
            ("tracker --prot 5", "did you mean --port?"),
            ("nothing-like-it", "There is no command nothing-like-it. The commands are tracker, seed,"),
        ] {
            assert!(usage(line).contains(meant), "{line}: {}", usage(line));
        }
    }

    #[test]
    fn a_wrong_number_is_answered_by_the_right_ones() {
        assert!(usage("seed a --port abc").contains("\"abc\" is not a port; write a number from 0 to 65535"));
        assert!(usage("tracker --port=65536").contains("is not a port"));
        assert!(usage("fetch a --seed-for -1").contains("is not a number of seconds"));
        assert!(usage("fetch a --memory x").contains("is not a number of mebibytes"));
        assert!(usage("seed a --upload-limit 5MB").contains("is not a rate; write bytes per second"));
    }

    #[test]
    fn a_path_may_be_any_bytes_and_text_may_not() {
        let line = |option: &[u8]| {
            let words: [&[u8]; 4] = [b"minitorrent", b"create", b"caf\xe9", option];
            parse(words.into_iter().map(|word| OsStr::from_bytes(word).to_owned()))
        };
        let Ok(Arguments { command: Some(Command::Create(create)), .. }) = line(b"--out=\xff.json") else { panic!() };
        assert_eq!(create.path.as_os_str().as_bytes(), b"caf\xe9");
        assert_eq!(create.out.unwrap().as_os_str().as_bytes(), b"\xff.json");
        for (word, why) in [(&b"--comment=\xe9"[..], "is not UTF-8"), (b"\xe9\xff", "Unrecognized argument")] {
            match line(word) {
                Err(Stop::Usage(text)) => assert!(text.contains(why) && text.contains('\u{fffd}'), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
