//! Who may do what: anyone may look and download; who may control is set at start, and uploads may be closed to the rest.
//!
//! With a password, whoever knows it may control. It comes by a form, which gives a cookie, or with each request (HTTP Basic); it is
//! compared in constant time, and guesses are rationed.
//!
//! Without one, control needs a link that the program printed where it was started. An address proves nothing: behind a relay
//! on this machine everybody comes from loopback. The link works once and gives a cookie; then the program prints the next one.
//! So a link that was left in a history, a chat or a log is worthless, whoever started the program sees that one was used, and nobody
//! is locked out: a reload has the cookie, also after the browser was closed, and a second browser takes the newest link.

mod browser;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use sha1::{Digest, Sha1};

use super::{
    address::{self, Names},
    failure::HttpFailure,
};
use crate::{
    http::Request,
    quota::{Allowances, Origin},
};

pub use browser::is_from_a_page;

/// How long a login lasts that is not used.
const LOGIN_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How long a browser keeps the cookie that a link gave it, also when it is closed; whether it still counts is decided here.
pub const COOKIE_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most logins at once; the one unused for longest makes room.
const MAX_LOGINS: usize = 64;

/// Where the link to control leads.
const LINK_PATH: &str = "/control";

/// What whoever lacks control of a page without a password is told.
pub const HOW_TO_CONTROL: &str =
    "control needs the newest link that minitorrent printed where it was started, in its terminal or its log";

/// Wrong passwords that one origin may try before it has to wait.
const GUESSES: u32 = 5;

/// How long until it may try another: 8,600 a day, where a word of a dictionary is one of 100,000.
const GUESS_TIME: Duration = Duration::from_secs(10);

/// The longest password, in bytes: a form and a field hold it.
pub const MAX_PASSWORD: usize = 256;

/// Who may control and upload, as it was set at start.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What whoever controls must know; without one, control is by a link that the program prints.
    pub password: Option<String>,
    /// Whether only those may upload and list who may control.
    pub no_upload: bool,
}

/// What one viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct May {
    /// Share files from the browser.
    pub upload: bool,
    /// Pause, resume, remove, limit and add.
    pub control: bool,
    /// Log in with a password, which would give control.
    pub login: bool,
}

/// Hears of each link that takes the place of a used one.
type NextLink = Box<dyn Fn(&str) + Send + Sync>;

/// Holds everyone to the [`Rules`].
pub struct AccessControl {
    no_upload: bool,
    /// The password's digest under `key`.
    password: Option<[u8; 20]>,
    key: [u8; 16],
    state: Mutex<AccessState>,
    next_link: OnceLock<NextLink>,
}

struct AccessState {
    /// Digests of the cookies that were given out, and when each was last used.
    logins: Vec<([u8; 20], Instant)>,
    /// The digest of the token in the one link that works.
    link: Option<[u8; 20]>,
    guesses: Allowances,
}

impl AccessControl {
    /// By these rules.
    pub fn new(rules: Rules) -> Result<AccessControl, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        let password = rules.password.map(|password| digest(&key, password.as_bytes()));
        let guesses = Allowances::new(f64::from(GUESSES), 1.0 / GUESS_TIME.as_secs_f64());
        let state = Mutex::new(AccessState { logins: Vec::new(), link: None, guesses });
        let next_link = OnceLock::new();
        Ok(AccessControl { no_upload: rules.no_upload, password, key, state, next_link })
    }

    /// The path of the first link to control, where there is no password; `next` hears of each that follows.
    pub fn first_link(&self, next: NextLink) -> Result<Option<String>, getrandom::Error> {
        if self.password.is_some() {
            return Ok(None);
        }
        let link = self.new_link()?;
        // Whoever comes second has a link that works, and the first hears of what follows.
        let _ = self.next_link.set(next);
        Ok(Some(link))
    }

    fn new_link(&self) -> Result<String, getrandom::Error> {
        let token = token()?;
        self.state().link = Some(digest(&self.key, token.as_bytes()));
        Ok(format!("{LINK_PATH}?token={token}"))
    }

    /// What whoever sent this may do.
    pub fn may(&self, request: &Request<'_>, names: &Names) -> May {
        // Whoever came under a name that somebody else gave this machine may be a page of his (DNS rebinding).
        let is_at_home = names.is_own_host(request);
        let control = is_at_home
            && match self.password {
                _ if self.has_login(request) => true,
                Some(_) => self.check_basic(request, names) == Some(Ok(())),
                None => false,
            };
        let upload = control || (!self.no_upload && self.check_reader(request, names).is_ok());
        May { upload, control, login: is_at_home && self.password.is_some() && !control }
    }

    /// Why a change that whoever sent this asks for cannot be.
    pub fn check_control(&self, request: &Request<'_>, names: &Names) -> Result<(), HttpFailure> {
        self.check_home(request, names)?;
        if self.has_login(request) {
            return Ok(());
        }
        match (self.password, self.check_basic(request, names)) {
            (Some(_), Some(outcome)) => outcome,
            (Some(_), None) => Err(HttpFailure::new(401, "log in to do that: it takes the password of this page")),
            (None, _) => Err(HttpFailure::new(403, HOW_TO_CONTROL)),
        }
    }

    /// Why an upload of whoever sent this, or the listing of what others have, cannot be.
    pub fn check_upload(&self, request: &Request<'_>, names: &Names) -> Result<(), HttpFailure> {
        self.check_reader(request, names)?;
        if self.no_upload && !self.may(request, names).control {
            return Err(HttpFailure::new(403, "uploads and new listings are switched off on this page"));
        }
        Ok(())
    }

    /// Why the page cannot be shown: a name that anybody could own leads here, and his page would read this one.
    pub fn check_reader(&self, request: &Request<'_>, names: &Names) -> Result<(), HttpFailure> {
        if address::is_nobodys_host(request) { Ok(()) } else { self.check_home(request, names) }
    }

    /// Refuses what came under a name that is none of this machine's.
    pub fn check_home(&self, request: &Request<'_>, names: &Names) -> Result<(), HttpFailure> {
        if names.is_own_host(request) {
            return Ok(());
        }
        Err(address::foreign_host(request))
    }

    /// Takes a password that was typed into the form. The answer is a cookie's value.
    pub fn log_in(&self, request: &Request<'_>, names: &Names, password: &str) -> Result<String, HttpFailure> {
        self.check_password(request, names, password)?;
        self.new_login()
    }

    /// Takes the token of a link, which is used up by that. The answer is a cookie's value.
    pub fn open_link(&self, request: &Request<'_>) -> Result<String, HttpFailure> {
        let token = request.query().split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
        let given = digest(&self.key, token.as_bytes());
        let is_known = self.state().link.take_if(|known| is_same(known, &given)).is_some();
        if !is_known {
            return Err(HttpFailure::new(403, format!("this link has been used, or is an old one; {HOW_TO_CONTROL}")));
        }
        let login = self.new_login();
        let next = self.new_link().map_err(no_chance)?;
        log::info!("{} opened the control link", request.peer().ip().to_canonical());
        self.next_link.get().inspect(|tell| tell(&next));
        login
    }

    fn new_login(&self) -> Result<String, HttpFailure> {
        let token = token().map_err(no_chance)?;
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

    /// Whether this comes with a cookie that was given out.
    pub fn has_login(&self, request: &Request<'_>) -> bool {
        let Some(token) = cookie(request) else { return false };
        let given = digest(&self.key, token.as_bytes());
        let mut state = self.state();
        state.logins.retain(|(_, used)| used.elapsed() < LOGIN_TIME);
        let Some((_, used)) = state.logins.iter_mut().find(|(known, _)| is_same(known, &given)) else { return false };
        *used = Instant::now();
        true
    }

    /// What became of the password that came in the field `Authorization`, if one did (RFC 7617; any user name will do).
    fn check_basic(&self, request: &Request<'_>, names: &Names) -> Option<Result<(), HttpFailure>> {
        let (scheme, rest) = request.field("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64.decode(rest.trim().as_bytes()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (_, password) = text.split_once(':')?;
        Some(self.check_password(request, names, password))
    }

    fn check_password(&self, request: &Request<'_>, names: &Names, password: &str) -> Result<(), HttpFailure> {
        let Some(known) = self.password else { return Err(HttpFailure::new(404, "this page has no password")) };
        let is_right = password.len() <= MAX_PASSWORD && is_same(&known, &digest(&self.key, password.as_bytes()));
        judge(&mut self.state().guesses, names.origin(request), is_right, Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, AccessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_password = self.password.is_some();
        f.debug_struct("Access").field("has_password", &has_password).field("no_upload", &self.no_upload).finish()
    }
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

/// What becomes of a password that was sent from there: nobody's wrong guesses cost another a right one.
fn judge(guesses: &mut Allowances, from: Origin, is_right: bool, now: Instant) -> Result<(), HttpFailure> {
    if !guesses.may(from, now) {
        let sentence = format!("too many wrong passwords from your address; wait {} seconds", GUESS_TIME.as_secs());
        return Err(HttpFailure::new(429, sentence));
    }
    if is_right {
        return Ok(());
    }
    guesses.charge(from, 1.0, now);
    Err(HttpFailure::new(401, "that is not the password"))
}

/// A random word that nobody guesses.
fn token() -> Result<String, getrandom::Error> {
    let mut token = [0; 16];
    getrandom::fill(&mut token)?;
    Ok(HEXLOWER.encode(&token))
}

fn no_chance(error: getrandom::Error) -> HttpFailure {
    HttpFailure::new(500, format!("the system gives no random numbers: {error}"))
}

fn digest(key: &[u8; 16], text: &[u8]) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update(text).finalize().into()
}

/// In the same time wherever they differ. Both are digests under a key that nobody knows, so their lengths tell nothing.
fn is_same(a: &[u8; 20], b: &[u8; 20]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}
