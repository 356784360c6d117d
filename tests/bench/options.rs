//! What shall be measured, told by the environment.

use std::env;
use std::fmt::Debug;

use serde::Serialize;

use crate::house::clients::Client;
use crate::promises;
use crate::swarm::Shape;

/// What a run measures, and how often.
#[derive(Debug, Serialize)]
pub struct Options {
    /// BENCH_ROWS, of `pair,swarm,mixed,scale,create,upload,announces,udp,binary`.
    pub parts: Vec<Part>,
    /// BENCH_CLIENTS, of `aria2,transmission,libtorrent,rqbit`; ours is always among them, and the first.
    #[serde(serialize_with = "names")]
    pub clients: Vec<Client>,
    /// BENCH_RUNS: samples of each figure.
    pub runs: usize,
    /// BENCH_SIZE: of the file of a pair, of create and of upload, in MiB.
    pub mebibytes: u64,
    /// BENCH_SWARMS, such as `8x100:64,8x100:32@20`: hosts × Mbit/s : MiB @ the source's Mbit/s.
    pub swarms: Vec<Shape>,
    /// BENCH_SECONDS: how long announces are counted.
    pub seconds: u64,
    /// BENCH_QUICK=1, what `make bench-quick` sets: smaller values where none are told, and nothing is built for a figure.
    pub quick: bool,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Part {
    Pair,
    Swarm,
    Mixed,
    Scale,
    Create,
    Upload,
    Announces,
    Udp,
    Binary,
}

impl Part {
    const ALL: [Part; 9] = [
        Part::Pair,
        Part::Swarm,
        Part::Mixed,
        Part::Scale,
        Part::Create,
        Part::Upload,
        Part::Announces,
        Part::Udp,
        Part::Binary,
    ];
}

impl Options {
    /// What the environment tells, or which variable is wrong and why.
    pub fn from_environment() -> Result<Options, String> {
        let quick = told("BENCH_QUICK").is_some_and(|text| text != "0");
        let mut clients = several("BENCH_CLIENTS", |name| one_of(&Client::ALL, name), || Client::ALL.into())?;
        clients.retain(|client| *client != Client::Ours);
        clients.insert(0, Client::Ours);
        let swarms = || match quick {
            true => vec![Shape::equal(8, 100, 32)],
            false => promises::SWARMS.iter().map(|promise| promise.shape).collect(),
        };
        Ok(Options {
            parts: several("BENCH_ROWS", |name| one_of(&Part::ALL, name), || Part::ALL.into())?,
            clients,
            runs: number("BENCH_RUNS", if quick { 1 } else { 3 })? as usize,
            mebibytes: number("BENCH_SIZE", if quick { 256 } else { promises::MEBIBYTES })?,
            swarms: several("BENCH_SWARMS", |text| text.parse().ok(), swarms)?,
            seconds: number("BENCH_SECONDS", if quick { 2 } else { 5 })?,
            quick,
        })
    }

    /// The clients' samples to be, empty.
    pub fn per_client<T>(&self) -> Vec<(Client, Vec<T>)> {
        self.clients.iter().map(|client| (*client, Vec::new())).collect()
    }
}

fn names<S: serde::Serializer>(clients: &[Client], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(clients.iter().map(|client| client.name()))
}

fn told(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|text| !text.is_empty())
}

fn number(variable: &str, otherwise: u64) -> Result<u64, String> {
    let Some(text) = told(variable) else { return Ok(otherwise) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or(format!("{variable} is {text:?}, and should be a whole number above 0"))
}

fn several<T>(
    variable: &str,
    read: impl Fn(&str) -> Option<T>,
    otherwise: impl Fn() -> Vec<T>,
) -> Result<Vec<T>, String> {
    let Some(text) = told(variable) else { return Ok(otherwise()) };
    let word = |word: &str| read(word).ok_or(format!("{variable} holds {word:?}, which is not known"));
    text.split(',').map(str::trim).map(word).collect()
}

/// That of the values which is called `name`, in any case.
fn one_of<T: Debug + Copy>(values: &[T], name: &str) -> Option<T> {
    values.iter().copied().find(|value| format!("{value:?}").eq_ignore_ascii_case(name))
}
