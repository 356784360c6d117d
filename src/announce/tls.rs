//! Why a connection could not be secure, in words: rustls names the rule that was broken, a person wants to know what to do.

use std::{fmt, io};

/// Why the other side is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// Its certificate is over, or would be if our clock were right.
    Expired {
        /// When it ended, where that is known.
        ended: String,
        /// Our clock.
        clock: String,
    },
    /// Its certificate has not begun, by our clock.
    NotYetValid {
        /// When it begins, where that is known.
        begins: String,
        /// Our clock.
        clock: String,
    },
    /// Its certificate names other hosts.
    OtherName(Vec<String>),
    /// Its certificate is signed by itself, or by somebody whom nobody here knows.
    UnknownIssuer,
    /// It does not speak TLS.
    NotTls,
    /// Something else, as the library describes it.
    Other(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Expired { ended, clock } => write!(
                f,
                "the server's certificate expired{ended}, and this machine's clock says {clock}; if the clock is right, \
                 the server needs a new certificate"
            ),
            Distrust::NotYetValid { begins, clock } => write!(
                f,
                "the server's certificate is not valid yet{begins}, and this machine's clock says {clock}; set the clock"
            ),
            Distrust::OtherName(names) if names.is_empty() => f.write_str(
                "the server's certificate is for another host; use the name in the URL that it was made for",
            ),
            Distrust::OtherName(names) => write!(
                f,
                "the server's certificate is for another host; use a name in the URL that it was made for: {}",
                names.join(", ")
            ),
            Distrust::UnknownIssuer => f.write_str(
                "the server's certificate is signed by nobody that is known here; it needs one of a public authority, \
                 or within your own network a URL with http://",
            ),
            Distrust::NotTls => f.write_str("the server's port does not speak https; write http:// in its URL"),
            Distrust::Other(why) => write!(f, "no secure connection to the server can be made: {why}"),
        }
    }
}

impl Distrust {
    /// What TLS says of a connection that failed; `None` where it is something else that failed.
    #[cfg(not(feature = "tls"))]
    pub fn within(_: &io::Error) -> Option<Distrust> {
        None
    }

    /// What TLS says of a connection that failed; `None` where it is something else that failed.
    #[cfg(feature = "tls")]
    pub fn within(error: &io::Error) -> Option<Distrust> {
        error.get_ref()?.downcast_ref().map(verdicts::of)
    }
}

#[cfg(feature = "tls")]
mod verdicts {
    use std::time::{Duration, SystemTime};

    use rustls::{CertificateError, Error, pki_types::UnixTime};

    use super::Distrust;

    /// How many names of a certificate are shown.
    const MAX_NAMES: usize = 5;

    pub fn of(error: &Error) -> Distrust {
        let now = || httpdate::fmt_http_date(SystemTime::now());
        match error {
            Error::InvalidMessage(_) => Distrust::NotTls,
            Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
                Distrust::Expired { ended: format!(" on {}", date(*not_after)), clock: date(*time) }
            }
            Error::InvalidCertificate(CertificateError::Expired) => {
                Distrust::Expired { ended: String::new(), clock: now() }
            }
            Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
                Distrust::NotYetValid { begins: format!(", but from {} on", date(*not_before)), clock: date(*time) }
            }
            Error::InvalidCertificate(CertificateError::NotValidYet) => {
                Distrust::NotYetValid { begins: String::new(), clock: now() }
            }
            Error::InvalidCertificate(CertificateError::NotValidForName) => Distrust::OtherName(Vec::new()),
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
                let names = presented.iter().take(MAX_NAMES).map(|name| name.escape_default().to_string());
                Distrust::OtherName(names.collect())
            }
            // A signature is bad where another authority of the same name was meant.
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Distrust::UnknownIssuer
            }
            // One that may sign others and is shown by a host itself: what `openssl req -x509` makes.
            Error::InvalidCertificate(CertificateError::Other(why))
                if why.to_string().contains("CaUsedAsEndEntity") =>
            {
                Distrust::UnknownIssuer
            }
            other => Distrust::Other(other.to_string().escape_default().to_string()),
        }
    }

    fn date(time: UnixTime) -> String {
        // HTTP dates have four digits for the year; what a certificate says has too.
        const LAST: u64 = 253_402_300_799;
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST)))
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
