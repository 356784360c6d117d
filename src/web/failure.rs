//! Why a request gets no more than a sentence.

use std::{fmt, io};

use crate::http::Reply;

/// A status and the sentence that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// An HTTP status from 400 on.
    pub status: u16,
    /// What is wrong, for a person.
    pub sentence: String,
}

impl HttpFailure {
    /// That status with that sentence.
    pub fn new(status: u16, sentence: impl Into<String>) -> HttpFailure {
        HttpFailure { status, sentence: sentence.into() }
    }

    /// A file of this machine that could not be used.
    pub fn of_disk(error: &io::Error) -> HttpFailure {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let full = "the disk of the machine that runs this page is full; nothing more can be saved there";
                HttpFailure::new(507, error.get_ref().map_or(full.to_owned(), ToString::to_string))
            }
            _ => {
                log::warn!("a file cannot be used: {error}");
                HttpFailure::new(500, format!("the machine that runs this page cannot use its disk: {error}"))
            }
        }
    }

    /// As an answer.
    pub fn into_reply(self) -> Reply {
        Reply::text(self.status, self.sentence)
    }
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
