//! What the page and the API show, as plain values of one moment. Sizes are bytes, rates bytes a second, times seconds;
//! what is not known is `None` (null in JSON), never a guess.

use serde::Serialize;

/// All that the first page shows: this machine and its files.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    /// Who serves the page.
    pub machine: Machine,
    /// What whoever asks may do here.
    pub may: May,
    /// Limits of all files together.
    pub limits: Rates,
    /// In the order of names.
    pub files: Vec<File>,
}

/// The machine that serves the page.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// What it calls itself.
    pub name: String,
    /// What runs there.
    pub kind: Kind,
    /// Of this program.
    pub version: String,
    /// `http://host:port`, as others in the room reach it.
    pub address: String,
}

/// Which command serves the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The tracker, which takes uploads.
    #[default]
    Tracker,
    /// A seeder of files that lie elsewhere on its disk.
    Seed,
    /// A fetch.
    Fetch,
}

/// What whoever asks may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct May {
    /// Share a file.
    pub upload: bool,
    /// Pause, resume, remove, limit, fetch.
    pub control: bool,
    /// Give a password to be allowed more.
    pub login: bool,
}

/// A rate for each direction; as a limit, 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Out of this machine.
    pub upload: u64,
    /// Into it.
    pub download: u64,
}

/// What this machine does with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Nothing but to know its swarm.
    #[default]
    Listed,
    /// Compare what is on disk with the metainfo.
    Verifying,
    /// Fetch what is missing.
    Fetching,
    /// Give.
    Seeding,
    /// Nothing, because somebody said so.
    Paused,
    /// Nothing, because it cannot.
    Failed,
}

/// A file and its swarm.
#[derive(Debug, Clone, Default, Serialize)]
pub struct File {
    /// 40 hex digits.
    pub info_hash: String,
    /// Its name here.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Bytes of every piece but the last.
    pub piece_length: u64,
    /// How many there are.
    pub pieces: u32,
    /// What this machine does with it.
    pub activity: Activity,
    /// What is wrong, in a sentence.
    pub trouble: Option<String>,
    /// Pieces here.
    pub have: Option<u32>,
    /// Bytes here.
    pub verified: Option<u64>,
    /// Into this machine.
    pub down_rate: Option<f64>,
    /// Out of it.
    pub up_rate: Option<f64>,
    /// Until all is here.
    pub time_left: Option<f64>,
    /// Bytes taken by this run.
    pub downloaded: Option<u64>,
    /// Bytes given by this run.
    pub uploaded: Option<u64>,
    /// Of this file.
    pub limits: Rates,
    /// Machines that have everything.
    pub seeders: u32,
    /// Machines that lack something.
    pub leechers: u32,
    /// Machines that were ever seen.
    pub machines: u32,
    /// Of those, how many have it.
    pub done: u32,
    /// Where everything is.
    pub links: Links,
    /// What fetches it, in a terminal.
    pub command: String,
    /// How well the swarm does, where that can be said.
    pub swarm: Option<Swarm>,
}

/// Where a file is to be had.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Links {
    /// The metainfo in JSON.
    pub json: String,
    /// The metainfo as `.torrent`.
    pub torrent: String,
    /// The content, when it lies here.
    pub download: Option<String>,
    /// The page of the file.
    pub page: String,
}

/// Measured time beside what theory allows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swarm {
    /// Since the first piece moved, until the last machine had it or until now.
    pub elapsed_ms: u64,
    /// Kumar and Ross's bound for the link rates seen.
    pub bound_ms: u64,
    /// What one machine alone would take to serve them all.
    pub alone_ms: u64,
    /// Whether somebody still fetches.
    pub running: bool,
    /// All of that, for a person.
    pub sentence: String,
}

/// A file with everything about its swarm.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Detail {
    /// The file.
    #[serde(flatten)]
    pub file: File,
    /// A row for every machine.
    pub rows: Vec<Row>,
    /// Which pieces are where; nothing without a session.
    pub map: Option<Map>,
}

/// A machine in a swarm.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// Names it in this page.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// What it is called.
    pub name: Option<String>,
    /// The program on it.
    pub client: Option<String>,
    /// Of the file, from 0 to 100.
    pub percent: Option<f64>,
    /// Into that machine.
    pub down_rate: Option<f64>,
    /// Out of it.
    pub up_rate: Option<f64>,
    /// The highest rate into it that was seen.
    pub peak_down: Option<f64>,
    /// The highest rate out of it that was seen.
    pub peak_up: Option<f64>,
    /// Until it has everything.
    pub time_left: Option<f64>,
    /// What it does.
    pub state: Doing,
    /// Whether a session tells these figures, rather than its announces.
    pub live: bool,
}

/// What a machine in a swarm does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Lacks something.
    #[default]
    Fetching,
    /// Has everything from the start.
    Seeding,
    /// Got everything.
    Done,
    /// Has left.
    Gone,
}

/// Which pieces are where, as far as sessions tell.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Map {
    /// How many sessions tell.
    pub known: u32,
    /// The pieces of this machine: a bitfield in base64.
    pub here: String,
    /// For every bucket, how many of those machines have it.
    pub counts: Vec<u32>,
    /// Pieces of a bucket.
    pub bucket: u32,
}
