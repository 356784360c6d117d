//! `verify`: check data against a metainfo.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{check_folder, source};
use crate::{
    bitfield::Bitfield,
    cli,
    node::{Failure, process::cores},
    storage::{self, Store, StoreAccess},
    terminal::{self, Progress},
};

/// Hashes every piece; done when all are right, failed when some are not.
pub fn run(arguments: &cli::Verify) -> Result<ExitCode, Failure> {
    check_folder(&arguments.dir, "--dir")?;
    let metainfo = Arc::new(source::read(&arguments.meta)?);
    let store = Store::open(metainfo.clone(), &arguments.dir, StoreAccess::Read)?;
    let have = check(&store, arguments.json)?;
    let (right, all) = (have.count(), have.len());
    if arguments.json {
        let line = serde_json::json!({
            "info_hash": metainfo.info_hash().to_string(), "pieces": all, "right": right, "complete": have.is_full(),
        });
        terminal::print_json(line);
    } else if have.is_full() {
        terminal::print(format_args!("{}: all {all} pieces verified", metainfo.name()));
    }
    if have.is_full() {
        return Ok(ExitCode::SUCCESS);
    }
    let (name, dir, absent) = (metainfo.name(), arguments.dir.display(), absent(&store));
    Err(Failure::new(format!("{name}: {right} of {all} pieces are right in {dir}{absent}")))
}

/// The end of a sentence about pieces that are not right: which files are not there, or too short.
pub fn absent(store: &Store) -> String {
    let absent = store.absent();
    match (absent.first(), absent.len()) {
        (None, _) => String::new(),
        (Some(first), 1) => format!("; {first}"),
        (Some(first), count) => format!("; {first}, and {} more files are missing or too short", count - 1),
    }
}

/// Hashes every piece of a store, with progress.
pub fn check(store: &Store, quiet: bool) -> Result<Bitfield, Failure> {
    let geometry = store.metainfo().geometry();
    let (progress, done) = (Mutex::new(Progress::new(quiet)), AtomicU64::new(0));
    let all = Bitfield::full(geometry.piece_count());
    let have = storage::verify(store, &all, cores(), &|piece, _| {
        let length = u64::from(geometry.length_of(piece));
        let done = done.fetch_add(length, Ordering::Relaxed) + length;
        progress.lock().unwrap_or_else(PoisonError::into_inner).show(done, geometry.length(), "checked");
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(have?)
}
