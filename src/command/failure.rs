//! What is printed when a command fails: one sentence, with the path or address that it is about.

use std::fmt;

/// A sentence.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// This sentence.
    pub fn new(sentence: impl Into<String>) -> Failure {
        Failure(sentence.into())
    }

    /// What went wrong with something, which is named first.
    pub fn about(what: impl fmt::Display, error: impl fmt::Display) -> Failure {
        Failure(format!("{what}: {error}"))
    }
}

/// Escaped: a path, a tracker or a peer may have put anything in it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::escape(&self.0))
    }
}

impl From<crate::storage::Error> for Failure {
    fn from(error: crate::storage::Error) -> Failure {
        Failure(error.to_string())
    }
}
