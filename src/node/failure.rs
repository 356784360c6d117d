//! What is printed when a command fails: one sentence, with the path or address that it is about.

use std::{fmt, io};

/// A sentence.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// This sentence.
    pub fn new(sentence: impl Into<String>) -> Failure {
        Failure(sentence.into())
    }

    /// That a port or an address, named first, could not be listened on; `instead` says what to do about it.
    pub fn listening(what: impl fmt::Display, error: &io::Error, instead: &str) -> Failure {
        Failure(match error.kind() {
            io::ErrorKind::AddrInUse => format!("{what} is in use by another program; {instead}"),
            io::ErrorKind::PermissionDenied => {
                format!("{what} may only be used with more rights than this user has; {instead}")
            }
            io::ErrorKind::AddrNotAvailable => format!("{what} is not an address of this machine; {instead}"),
            _ => format!("{what}: {error}"),
        })
    }

    /// What went wrong with something, which is named first.
    pub fn about(what: impl fmt::Display, error: impl fmt::Display) -> Failure {
        Failure(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<crate::storage::StorageError> for Failure {
    fn from(error: crate::storage::StorageError) -> Failure {
        Failure(error.to_string())
    }
}
