//! `verify`: check data against a metainfo.

use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Failure, cores, source};
use crate::{
    bitfield::Bitfield,
    cli,
    storage::{self, Access, Store},
    terminal::{self, Progress},
};

/// Hashes every piece; done when all are right, failed when some are not.
pub fn run(arguments: &cli::Verify) -> Result<ExitCode, Failure> {
    let metainfo = Arc::new(source::read(&arguments.meta)?);
    let store = Store::open(metainfo.clone(), Path::new(&arguments.dir), Access::Read)?;
    let have = check(&store, arguments.json)?;
    let (right, all) = (have.count(), have.len());
    if arguments.json {
        let line = serde_json::json!({
            "info_hash": metainfo.info_hash().to_string(), "pieces": all, "right": right, "complete": have.is_full(),
        });
        terminal::print(&format!("{line}\n"));
    } else if have.is_full() {
        terminal::print(&format!("{}: all {all} pieces are right\n", crate::text::escape(metainfo.name())));
    }
    if have.is_full() {
        return Ok(ExitCode::SUCCESS);
    }
    let name = metainfo.name();
    Err(Failure::new(format!("{name}: {right} of {all} pieces are right in {}", arguments.dir)))
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
