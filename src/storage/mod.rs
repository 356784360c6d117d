//! WHERE the bytes rest: a torrent's offsets to positions in its files, and what is known of the pieces in them.
//!
//! [`layout`] is pure: which stretch of which file holds a range of the torrent. A [`Store`] reads and writes such
//! ranges from many threads at once; it owns the open files and never waits for another thread. [`verify()`] hashes what
//! is there. [`begin()`] decides whose the files are that a fetch finds, and gets it the right to write them. [`resume`] keeps a
//! log among our [`Records`], so that a fetch that was killed goes on from where it was, a [`Ledger`] is the only writer of
//! piece bytes, and [`journal`] is the one thread of the process that syncs data and marks it as safe.
//!
//! The rule that holds it together: **a piece is believed only if its hash was right, and only as far as the disk is
//! known to hold it.** Nothing here knows of peers, the wire or which piece comes next.

mod begin;
mod claim;
mod error;
mod folder;
mod gather;
mod handles;
pub mod journal;
pub mod layout;
mod ledger;
mod record;
mod records;
pub mod resume;
#[cfg(test)]
mod simulation;
pub mod stamp;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub use begin::{Begun, Writing, begin};
pub use claim::Claim;
pub use error::StorageError;
pub use journal::Journal;
pub use ledger::{Ledger, Run};
pub use records::Records;
pub use resume::ResumeLog;
pub use stamp::Stamps;
pub use store::{Store, StoreAccess};
pub use verify::verify;
