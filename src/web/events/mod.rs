//! `GET /api/events`: what happens, as it happens (server-sent events, HTML Living Standard section 9.2), and
//! `/api/transfers`, the same for those who ask now and then.
//!
//! A page of all files is told everything once, and from then on only of files that have changed or are gone.
//!
//! What is told is made once for all who see the same. It is made no more often than it is sent, and so seldom that making it
//! takes a tenth of one core at most, however many files and machines there are.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{
    Site,
    api::{self, PageState, SharedFile, Viewer},
    failure::HttpFailure,
    views,
};
use crate::{
    http::{Feed, Reply, ReplyContent, Request, TICK},
    metainfo::InfoHash,
    status::report::{self, Watching},
};

/// How long nothing may be said, before a comment tells the proxies on the way that somebody is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often at most one page is told how things are: a figure that changes more often cannot be read, and each change costs a
/// frame of every page. What passes between machines is told at every look: that is motion.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// What every stream begins with: how long a browser waits before it connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// The most transfers of one answer, the newest.
const MAX_TRANSFERS: usize = 64;

/// The same of one event, 140 bytes each, four times a second: of one file as many as an eye can follow, and of all so few that a page with
/// one moving file costs less than 4 kB a second.
const MAX_TRANSFERS_OF_ONE: usize = 16;
const MAX_TRANSFERS_OF_ALL: usize = 4;

/// Files that have gone lately and are remembered; a page that has heard of none for longer is told everything again.
const MAX_GONE: usize = 256;

/// Making something may take this part of the time, as in one of ten.
const COST_PART: u32 = 10;

/// What nobody asked for in this time is forgotten.
const KEPT_TIME: Duration = Duration::from_secs(10);

/// How long transfers are still recorded after somebody asked for them.
const POLL_TIME: Duration = Duration::from_secs(10);

/// What was made last, for everyone who sees the same.
#[derive(Debug, Default)]
pub struct Newsroom {
    made: Mutex<HashMap<(Viewer, Option<InfoHash>), Made>>,
    /// The number of the last change of any page.
    changes: AtomicU64,
    /// Kept while somebody asks for transfers now and then.
    polled: Mutex<Option<(Instant, Watching)>>,
}

#[derive(Debug, Clone)]
struct Made {
    at: Instant,
    cost: Duration,
    asked: Instant,
    page: PageNews,
}

/// How one page is, and what changed last.
#[derive(Debug, Clone)]
enum PageNews {
    /// The page of one file; nothing, where it is gone.
    One(Option<Arc<[u8]>>),
    /// The page of all files.
    All(Arc<AllFiles>),
}

/// All files as they are, each with the number of its last change.
#[derive(Debug, Default)]
struct AllFiles {
    /// The number of the last change.
    last: u64,
    /// The page without its files, in JSON, and its number.
    here: (u64, Vec<u8>),
    /// The files in the order of the page, in JSON.
    files: Vec<(InfoHash, u64, Arc<[u8]>)>,
    /// Files that are gone, the last ones.
    gone: VecDeque<(InfoHash, u64)>,
    /// The number up to which a page must have heard everything, to be told of changes alone.
    known_since: u64,
    /// The whole state as one event, once a page has asked for it: all that ask share it.
    whole: OnceLock<Arc<[u8]>>,
    /// What is told to whoever had heard of everything before the last change, and that number.
    newest: (u64, Arc<[u8]>),
}

/// A piece that has passed between two machines, as programs are told.
#[derive(Debug, Serialize)]
struct TransferEvent {
    /// The torrent, in hex.
    file: String,
    piece: u32,
    /// The other machine: the `id` of its row.
    peer: String,
    way: &'static str,
}

/// Transfers since a number, and the number to ask from next.
#[derive(Debug, Serialize)]
struct TransferEvents {
    seq: u64,
    transfers: Vec<TransferEvent>,
}

/// What one stream is fed from.
struct Events {
    site: Arc<Site>,
    viewer: Viewer,
    file: Option<InfoHash>,
    /// The event that was sent last, to tell whether there is another.
    last: Option<Arc<[u8]>>,
    /// The number of the last change that was told, of a page of all files.
    change: Option<u64>,
    /// When that was an event of how things are.
    shown: Option<Instant>,
    /// When transfers were last looked at.
    moved: Option<Instant>,
    /// The number of the next transfer.
    seq: u64,
    spoke: Instant,
    _watching: Watching,
}

/// Answers with a stream, of one file with `?file=HASH`.
pub fn stream(site: &Arc<Site>, request: &Request<'_>) -> Result<Reply, HttpFailure> {
    let file = match query(request, "file") {
        Some(hash) => Some(hash.parse().map_err(|_| HttpFailure::new(404, "there is no such file on this page"))?),
        None => None,
    };
    // By whatever name of this machine somebody came, all who may do the same are told the same: its names can be spelled in
    // ways without number, and each would be an event to make and to keep.
    let viewer = Viewer { base: site.swarms.names().usual_url(request.local().port()), ..site.viewer(request) };
    if let Some(hash) = file
        && api::state::view(site, &viewer, hash).is_none()
    {
        return Err(HttpFailure::new(404, "there is no such file on this page"));
    }
    let watching = site.board.watch();
    let (_, seq) = site.board.transfers_since(u64::MAX);
    let site = Arc::clone(site);
    let events = Events {
        site,
        viewer,
        file,
        last: None,
        change: None,
        shown: None,
        moved: None,
        seq,
        spoke: Instant::now(),
        _watching: watching,
    };
    let reply = Reply::with_content(200, "text/event-stream", ReplyContent::Stream(Box::new(events)));
    Ok(reply.with("Cache-Control", "no-store").with("X-Accel-Buffering", "no"))
}

/// Answers `/api/transfers`, with `?since=SEQ` where the last answer said so.
pub fn transfers(site: &Site, request: &Request<'_>) -> Result<Reply, HttpFailure> {
    let since = match query(request, "since") {
        Some(text) => text.parse().map_err(|_| HttpFailure::new(400, "since is the seq of the last answer"))?,
        None => u64::MAX,
    };
    site.newsroom.poll(|| site.board.watch());
    let (passed, seq) = site.board.transfers_since(since);
    Ok(api::json(&TransferEvents { seq, transfers: shown(passed, None, MAX_TRANSFERS) }))
}

fn query<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    request.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl Feed for Events {
    fn news(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        let news = self.first_word().or_else(|| self.state(now)).or_else(|| self.transfers(now));
        if news.is_some() {
            self.spoke = now;
        } else if now.saturating_duration_since(self.spoke) >= HEARTBEAT {
            self.spoke = now;
            return Some(b":\n\n"[..].into());
        }
        news
    }
}

impl Events {
    fn first_word(&mut self) -> Option<Arc<[u8]>> {
        self.last.is_none().then(|| {
            let word: Arc<[u8]> = RETRY.into();
            self.last = Some(Arc::clone(&word));
            word
        })
    }

    fn state(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        if self.shown.is_some_and(|shown| now.saturating_duration_since(shown) < STATE_EVERY) {
            return None;
        }
        let event = match self.site.newsroom.page(&self.site, &self.viewer, self.file, now) {
            PageNews::One(event) => {
                event.filter(|event| self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, event)))?
            }
            PageNews::All(all) => {
                let event = all.since(self.change)?;
                self.change = Some(all.last);
                event
            }
        };
        (self.last, self.shown) = (Some(Arc::clone(&event)), Some(now));
        Some(event)
    }

    fn transfers(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        if self.moved.is_some_and(|moved| now.saturating_duration_since(moved) < TICK / 2) {
            return None;
        }
        self.moved = Some(now);
        let (passed, seq) = self.site.board.transfers_since(self.seq);
        self.seq = seq;
        let most = if self.file.is_some() { MAX_TRANSFERS_OF_ONE } else { MAX_TRANSFERS_OF_ALL };
        let shown = shown(passed, self.file, most);
        (!shown.is_empty()).then(|| event("transfers", &shown))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Newsroom {
    /// How a page is; what is the same as before is the same value.
    fn page(&self, site: &Site, viewer: &Viewer, file: Option<InfoHash>, now: Instant) -> PageNews {
        let topic = (viewer.clone(), file);
        let before = self.made().get_mut(&topic).map(|made| {
            made.asked = now;
            made.clone()
        });
        let is_fresh = |made: &Made| now.saturating_duration_since(made.at) < (made.cost * COST_PART).max(TICK / 2);
        if let Some(made) = before.as_ref().filter(|made| is_fresh(made)) {
            return made.page.clone();
        }
        let start = Instant::now();
        let page = match (file, before.map(|made| made.page)) {
            (Some(hash), before) => {
                let made = api::state::view(site, viewer, hash).map(|view| event("file", &view));
                let before = if let Some(PageNews::One(before)) = before { before } else { None };
                PageNews::One(before.filter(|before| Some(before) == made.as_ref()).or(made))
            }
            (None, before) => {
                let before = if let Some(PageNews::All(before)) = before { before } else { Arc::default() };
                let PageState { here, files } = PageState::of(site, viewer);
                let number = || self.changes.fetch_add(1, Ordering::Relaxed) + 1;
                PageNews::All(AllFiles::after(&before, views::json(&here), &files, number).map_or(before, Arc::new))
            }
        };
        let mut all = self.made();
        all.retain(|_, made| now.saturating_duration_since(made.asked) < KEPT_TIME);
        all.insert(topic, Made { at: now, cost: start.elapsed(), asked: now, page: page.clone() });
        page
    }

    fn poll(&self, watch: impl FnOnce() -> Watching) {
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let watching = polled.take().map_or_else(watch, |(_, watching)| watching);
        *polled = Some((Instant::now(), watching));
    }

    /// Ends what was begun for those who ask now and then, once nobody does.
    pub fn sweep(&self) {
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        if polled.as_ref().is_some_and(|(asked, _)| asked.elapsed() > POLL_TIME) {
            *polled = None;
        }
    }

    fn made(&self) -> MutexGuard<'_, HashMap<(Viewer, Option<InfoHash>), Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllFiles {
    /// What has become of `before`; nothing, where nothing has changed. `number` numbers a change.
    fn after(before: &AllFiles, here: Vec<u8>, files: &[SharedFile], number: impl Fn() -> u64) -> Option<AllFiles> {
        let known: HashMap<InfoHash, &(InfoHash, u64, Arc<[u8]>)> =
            before.files.iter().map(|file| (file.0, file)).collect();
        let is_same_page = before.here.1 == here;
        let (mut now, mut change) = (Vec::with_capacity(files.len()), None);
        let mut changed = Vec::new();
        for file in files {
            let Ok(hash) = file.info_hash.parse() else { continue };
            let json = views::json(file);
            match known.get(&hash).filter(|(_, _, before)| **before == *json) {
                Some(same) => now.push((*same).clone()),
                None => {
                    let json: Arc<[u8]> = json.into();
                    changed.extend_from_slice(&event_of("file", &json));
                    now.push((hash, *change.get_or_insert_with(&number), json));
                }
            }
        }
        let here_now: HashSet<InfoHash> = now.iter().map(|(hash, ..)| *hash).collect();
        let mut gone = before.gone.clone();
        gone.retain(|(hash, _)| !here_now.contains(hash));
        for (hash, ..) in before.files.iter().filter(|(hash, ..)| !here_now.contains(hash)) {
            gone.push_back((*hash, *change.get_or_insert_with(&number)));
            changed.extend_from_slice(&gone_event(hash));
        }
        let mut known_since = before.known_since;
        while gone.len() > MAX_GONE {
            known_since = gone.pop_front().map_or(known_since, |(_, number)| number);
        }
        if is_same_page && change.is_none() {
            return None;
        }
        let last = change.unwrap_or_else(number);
        let here = if is_same_page { before.here.clone() } else { (last, here) };
        let mut after =
            AllFiles { last, here, files: now, gone, known_since, whole: OnceLock::new(), newest: Default::default() };
        let newest = if is_same_page { changed.into() } else { after.everything() };
        after.newest = (before.last, newest);
        Some(after)
    }

    /// What is new to whoever has heard of everything up to that change; nothing, where nothing is.
    fn since(&self, change: Option<u64>) -> Option<Arc<[u8]>> {
        match change {
            Some(change) if change == self.last => None,
            Some(change) if change == self.newest.0 => Some(Arc::clone(&self.newest.1)),
            Some(change) if change >= self.known_since && change >= self.here.0 => {
                let files = self.files.iter().filter(|(_, number, _)| *number > change);
                let files = files.flat_map(|(_, _, json)| event_of("file", json));
                let gone = self.gone.iter().filter(|(_, number)| *number > change);
                Some(files.chain(gone.flat_map(|(hash, _)| gone_event(hash))).collect::<Vec<u8>>().into())
            }
            Some(_) | None => Some(self.everything()),
        }
    }

    /// The whole state.
    fn everything(&self) -> Arc<[u8]> {
        self.whole.get_or_init(|| self.made_whole()).clone()
    }

    fn made_whole(&self) -> Arc<[u8]> {
        let here = self.here.1.trim_ascii_end();
        let mut json = here.strip_suffix(b"}").unwrap_or(here).to_vec();
        json.extend_from_slice(b",\"files\":[");
        for (at, (_, _, file)) in self.files.iter().enumerate() {
            json.extend_from_slice(if at > 0 { b"," } else { b"" });
            json.extend_from_slice(file.trim_ascii_end());
        }
        json.extend_from_slice(b"]}\n");
        event_of("state", &json).into()
    }
}

fn gone_event(hash: &InfoHash) -> Vec<u8> {
    event_of("gone", &views::json(&serde_json::json!({ "info_hash": hash.to_string() })))
}

/// The newest of what has passed, `most` at most, of one file if one is named.
fn shown(passed: Vec<report::Transfer>, file: Option<InfoHash>, most: usize) -> Vec<TransferEvent> {
    let mut passed = passed;
    passed.retain(|transfer| file.is_none_or(|file| file == transfer.info_hash));
    let newest = passed.split_off(passed.len().saturating_sub(most));
    let told = newest.into_iter().map(|transfer| TransferEvent {
        file: transfer.info_hash.to_string(),
        piece: transfer.piece,
        peer: HEXLOWER.encode(&transfer.peer.0),
        way: api::way(transfer.way),
    });
    told.collect()
}

/// An event with a value.
fn event(name: &str, value: &impl Serialize) -> Arc<[u8]> {
    event_of(name, &views::json(value)).into()
}

/// An event with JSON, which has no line end but the last.
fn event_of(name: &str, json: &[u8]) -> Vec<u8> {
    [b"event: ", name.as_bytes(), b"\ndata: ", json, b"\n"].concat()
}
