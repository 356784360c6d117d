//! Why an announce came to nothing: each a sentence that a person can act on.

use std::{fmt, io, net::IpAddr};

use crate::announce::{
    answer::{self, Retry},
    tiers::AnnounceFailure,
    tls::Distrust,
};

/// How many redirects are followed.
pub const MAX_REDIRECTS: u32 = 3;

/// Why an announce brought no peers.
#[derive(Debug)]
pub enum AnnounceError {
    /// A URL of a scheme that trackers are not asked by.
    Scheme(String),
    /// A URL that cannot be asked.
    Url(String),
    /// An https URL, and this binary was built without TLS.
    NoTls,
    /// It leads to this machine, at that address, and is only to lead to others.
    ThisMachine(IpAddr),
    /// A metainfo names it; it leads to this machine, at that address, and not to what looks like a tracker.
    ServiceHere(IpAddr),
    /// A server on another machine redirects to this one, at that address.
    RedirectHere(IpAddr),
    /// This machine's addresses are unknown, and it is only to lead to other machines.
    OwnAddresses(io::Error),
    /// Nobody could be asked there.
    Unreachable(io::Error),
    /// No whole answer in time.
    Timeout,
    /// It sends from one place to the next.
    Redirects,
    /// An answer of more than that many bytes.
    TooLarge(u64),
    /// Something that is no HTTP, as ureq describes it.
    Http(String),
    /// The connection was to be secure, and could not be.
    Tls(Distrust),
    /// An http URL of a port that speaks https.
    NeedsTls,
    /// An answer in an encoding that was not asked for, or that is broken.
    Encoding(String),
    /// An HTTP status that is no success, with a body that says nothing.
    Status(u16),
    /// An answer came, and it names no peers.
    Answer(answer::AnswerError),
    /// `Client::end` was called.
    Cancelled,
}

impl fmt::Display for AnnounceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnnounceError::Scheme(scheme) => {
                write!(f, "a tracker is asked over http, https or udp, not over {scheme:?}")
            }
            AnnounceError::Url(why) => write!(f, "the tracker's URL cannot be asked: {why}"),
            AnnounceError::NoTls => f.write_str("this minitorrent was built without https"),
            AnnounceError::ThisMachine(ip) => {
                write!(f, "it leads to {ip}, an address of this machine, which the page does not have asked")
            }
            AnnounceError::ServiceHere(ip) => write!(
                f,
                "it leads to {ip}, an address of this machine, where a metainfo has only paths that begin with /announce asked, and over udp only ports from 1024 on; --tracker with this URL has it asked all the same"
            ),
            AnnounceError::RedirectHere(ip) => {
                write!(f, "it redirects to {ip}, an address of this machine, which no other machine may do")
            }
            AnnounceError::OwnAddresses(error) => write!(
                f,
                "this machine's addresses cannot be listed ({error}), so that nothing shows whether it leads to another machine"
            ),
            AnnounceError::Unreachable(error) => write!(f, "the tracker cannot be reached: {error}"),
            AnnounceError::Timeout => f.write_str("the tracker did not answer in time"),
            AnnounceError::Redirects => write!(f, "the tracker redirects more than {MAX_REDIRECTS} times"),
            AnnounceError::TooLarge(limit) => write!(f, "the answer is longer than {limit} bytes"),
            AnnounceError::Tls(why) => why.fmt(f),
            AnnounceError::NeedsTls => f.write_str("the server's port speaks https; write https:// in its URL"),
            AnnounceError::Encoding(encoding) => {
                write!(f, "the answer cannot be decoded: it claims to be {encoding:?}; gzip and deflate are understood")
            }
            AnnounceError::Http(why) => write!(f, "the tracker speaks no proper HTTP: {why}"),
            AnnounceError::Status(status) => write!(f, "the tracker answers with HTTP status {status}"),
            AnnounceError::Answer(error) => error.fmt(f),
            AnnounceError::Cancelled => f.write_str("the announce was cancelled"),
        }
    }
}

impl std::error::Error for AnnounceError {}

impl AnnounceError {
    /// What this says about the tracker and its host.
    pub fn failure(&self) -> AnnounceFailure {
        match self {
            AnnounceError::Unreachable(_) | AnnounceError::Timeout | AnnounceError::Http(_) | AnnounceError::Tls(_) => {
                AnnounceFailure::Host
            }
            AnnounceError::Answer(answer::AnswerError::Failure { retry, .. }) => AnnounceFailure::Tracker(*retry),
            _ => AnnounceFailure::Tracker(Retry::Unsaid),
        }
    }
}
