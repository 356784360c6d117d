//! Who may do what: anyone may look and download; who may control is set at start, and uploads may be closed to the rest.
//!
//! Without a password, whoever sits at this machine may control: his address is one of its own, and he names it by one of its
//! own names. With one, whoever knows it may, and nobody else: a proxy on this machine makes all the world come from here.
//! The password comes by a form, which gives a cookie, or with each request (HTTP Basic). It is compared in constant
//! time, and guesses are rationed.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use sha1::{Digest, Sha1};

use super::{address, door::Request, failure::Failure};

/// How long a login lasts that is not used.
const LOGIN_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// The most logins at once; the one unused for longest makes room.
const MAX_LOGINS: usize = 64;

/// Wrong passwords that one address may try before it has to wait.
const GUESSES: u32 = 5;

/// How long until it may try another: 8,600 a day, where a word of a dictionary is one of 100,000.
const GUESS_TIME: Duration = Duration::from_secs(10);

/// Addresses whose guesses are counted, the /64 of an IPv6 address being one. When there are more, all wait for each other.
const MAX_GUESSERS: usize = 1024;

/// The longest password, in bytes: a form and a field hold it.
pub const MAX_PASSWORD: usize = 256;

/// Who may control and upload, as it was set at start.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What whoever controls must know; without one, whoever sits at this machine may.
    pub password: Option<String>,
    /// Whether only those may upload who may control.
    pub no_upload: bool,
}

/// What one viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct May {
    /// Share files from the browser.
    pub upload: bool,
    /// Pause, resume, remove, limit and add.
    pub control: bool,
    /// Log in, which would let him control.
    pub login: bool,
}

/// Holds everyone to the [`Rules`].
pub struct Access {
    no_upload: bool,
    /// The password's digest under `key`.
    password: Option<[u8; 20]>,
    key: [u8; 16],
    public_url: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Digests of the cookies that were given out, and when each was last used.
    logins: Vec<([u8; 20], Instant)>,
    guessers: HashMap<IpAddr, Guesser>,
}

/// Guesses left to an address, as of a moment.
#[derive(Debug, Clone, Copy)]
struct Guesser {
    left: u32,
    since: Instant,
}

impl Access {
    /// By these rules. `public_url` is a name of this machine too.
    pub fn new(rules: Rules, public_url: Option<String>) -> Result<Access, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        let password = rules.password.map(|password| digest(&key, password.as_bytes()));
        Ok(Access { no_upload: rules.no_upload, password, key, public_url, state: Mutex::default() })
    }

    /// What whoever sent this may do. `own` are this machine's addresses.
    pub fn may(&self, request: &Request<'_>, own: &[IpAddr]) -> May {
        // Whoever came under a name that somebody else gave this machine may be a page of his (DNS rebinding).
        let is_at_home = address::is_own_host(request, self.public_url.as_deref(), own);
        let control = is_at_home
            && match self.password {
                Some(_) => self.has_login(request) || self.check_basic(request) == Some(Ok(())),
                None => is_at_this_machine(request, own),
            };
        let upload = control || (!self.no_upload && self.check_reader(request, own).is_ok());
        May { upload, control, login: is_at_home && self.password.is_some() && !control }
    }

    /// Why a change that whoever sent this asks for cannot be.
    pub fn check_control(&self, request: &Request<'_>, own: &[IpAddr]) -> Result<(), Failure> {
        if self.may(request, own).control {
            return Ok(());
        }
        self.check_home(request, own)?;
        match (self.password, self.check_basic(request)) {
            (Some(_), Some(Err(failure))) => Err(failure),
            (Some(_), _) => Err(Failure::new(401, "log in to do that: it takes the password of this page")),
            (None, _) => Err(Failure::new(403, "only whoever sits at the machine that runs this page may do that")),
        }
    }

    /// Why an upload of whoever sent this cannot be.
    pub fn check_upload(&self, request: &Request<'_>, own: &[IpAddr]) -> Result<(), Failure> {
        self.check_reader(request, own)?;
        if self.no_upload && !self.may(request, own).control {
            return Err(Failure::new(403, "uploads are switched off on this page"));
        }
        Ok(())
    }

    /// Why the page cannot be shown: a name that anybody could own leads here, and his page would read this one.
    pub fn check_reader(&self, request: &Request<'_>, own: &[IpAddr]) -> Result<(), Failure> {
        if address::is_nobodys_host(request) { Ok(()) } else { self.check_home(request, own) }
    }

    /// Refuses what came under a name that is none of this machine's.
    pub fn check_home(&self, request: &Request<'_>, own: &[IpAddr]) -> Result<(), Failure> {
        if address::is_own_host(request, self.public_url.as_deref(), own) {
            return Ok(());
        }
        Err(address::foreign_host(request))
    }

    /// Takes a password that was typed into the form. The answer is a cookie's value.
    pub fn log_in(&self, request: &Request<'_>, password: &str) -> Result<String, Failure> {
        if self.password.is_none() {
            return Err(Failure::new(404, "this page has no password"));
        }
        self.check_password(request.peer().ip(), password)?;
        let mut token = [0; 16];
        getrandom::fill(&mut token)
            .map_err(|error| Failure::new(500, format!("there is no chance to be had: {error}")))?;
        let token = HEXLOWER.encode(&token);
        let mut state = self.state();
        if state.logins.len() >= MAX_LOGINS
            && let Some((at, _)) = state.logins.iter().enumerate().min_by_key(|(_, (_, used))| *used)
        {
            state.logins.swap_remove(at);
        }
        let login = (digest(&self.key, token.as_bytes()), Instant::now());
        state.logins.push(login);
        Ok(token)
    }

    /// Ends the login that came with this.
    pub fn log_out(&self, request: &Request<'_>) {
        if let Some(token) = cookie(request) {
            let given = digest(&self.key, token.as_bytes());
            self.state().logins.retain(|(known, _)| !is_same(known, &given));
        }
    }

    fn has_login(&self, request: &Request<'_>) -> bool {
        let Some(token) = cookie(request) else { return false };
        let given = digest(&self.key, token.as_bytes());
        let mut state = self.state();
        state.logins.retain(|(_, used)| used.elapsed() < LOGIN_TIME);
        let Some((_, used)) = state.logins.iter_mut().find(|(known, _)| is_same(known, &given)) else { return false };
        *used = Instant::now();
        true
    }

    /// What became of the password that came in the field `Authorization`, if one did (RFC 7617; any user name will do).
    fn check_basic(&self, request: &Request<'_>) -> Option<Result<(), Failure>> {
        let (scheme, rest) = request.field("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64.decode(rest.trim().as_bytes()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (_, password) = text.split_once(':')?;
        Some(self.check_password(request.peer().ip(), password))
    }

    fn check_password(&self, from: IpAddr, password: &str) -> Result<(), Failure> {
        let Some(known) = self.password else { return Err(Failure::new(404, "this page has no password")) };
        let from = address::household(from);
        let mut state = self.state();
        let now = Instant::now();
        state.guessers.retain(|_, guesser| guesser.at(now).left < GUESSES);
        let is_counted = state.guessers.len() < MAX_GUESSERS || state.guessers.contains_key(&from);
        let from = if is_counted { from } else { IpAddr::from([0, 0, 0, 0]) };
        let guesser =
            state.guessers.get(&from).map_or(Guesser { left: GUESSES, since: now }, |guesser| guesser.at(now));
        if guesser.left == 0 {
            let sentence = format!("too many wrong passwords; wait {} seconds", GUESS_TIME.as_secs());
            return Err(Failure::new(429, sentence));
        }
        if password.len() <= MAX_PASSWORD && is_same(&known, &digest(&self.key, password.as_bytes())) {
            return Ok(());
        }
        state.guessers.insert(from, Guesser { left: guesser.left - 1, ..guesser });
        Err(Failure::new(401, "that is not the password"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guesser {
    fn at(self, now: Instant) -> Guesser {
        let earned = (now.saturating_duration_since(self.since).as_secs() / GUESS_TIME.as_secs()) as u32;
        let left = self.left.saturating_add(earned).min(GUESSES);
        Guesser { left, since: self.since + GUESS_TIME * earned }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_password = self.password.is_some();
        f.debug_struct("Access").field("has_password", &has_password).field("no_upload", &self.no_upload).finish()
    }
}

/// Whether a request comes from this machine, and not by way of somebody.
pub fn is_at_this_machine(request: &Request<'_>, own: &[IpAddr]) -> bool {
    let ip = request.peer().ip().to_canonical();
    !address::is_handed_on(request) && (ip.is_loopback() || own.iter().any(|own| own.to_canonical() == ip))
}

/// The name of the cookie: browsers share cookies among the ports of a host, and each may have a page of its own.
pub fn cookie_name(request: &Request<'_>) -> String {
    format!("minitorrent-{}", request.local().port())
}

fn cookie<'a>(request: &Request<'a>) -> Option<&'a str> {
    let name = cookie_name(request);
    let mut pairs = request.field("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn digest(key: &[u8; 16], text: &[u8]) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update(text).finalize().into()
}

/// In the same time wherever they differ. Both are digests under a key that nobody knows, so their lengths tell nothing.
fn is_same(a: &[u8; 20], b: &[u8; 20]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}
