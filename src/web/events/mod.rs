//! `GET /api/events`: what happens, as it happens (server-sent events, HTML Living Standard section 9.2), and
//! `/api/transfers`, the same for those who ask now and then.
//!
//! What is told is made once for all who see the same. It is made no more often than it is sent, and so seldom that making it
//! takes a tenth of one core at most, however many files and machines there are.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{
    Site,
    api::{self, Viewer},
    failure::HttpFailure,
    views,
};
use crate::{
    http::{Feed, Reply, ReplyContent, Request, TICK},
    metainfo::InfoHash,
    status::report::{self, TransferKind, Watching},
};

/// How long nothing may be said, before a comment tells the proxies on the way that somebody is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often at most one page is told how things are: a figure that changes more often cannot be read, and each change costs a
/// frame of every page. What passes between machines is told at every look: that is motion.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// What every stream begins with: how long a browser waits before it connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// The most transfers of one event, the newest: more than an eye can follow in a quarter of a second.
const MAX_TRANSFERS: usize = 64;

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
    /// Kept while somebody asks for transfers now and then.
    polled: Mutex<Option<(Instant, Watching)>>,
}

#[derive(Debug, Clone)]
struct Made {
    at: Instant,
    cost: Duration,
    asked: Instant,
    event: Option<Arc<[u8]>>,
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
    /// When that was an event of how things are.
    shown: Option<Instant>,
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
    let events =
        Events { site, viewer, file, last: None, shown: None, seq, spoke: Instant::now(), _watching: watching };
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
    Ok(api::json(&TransferEvents { seq, transfers: shown(passed, None) }))
}

fn query<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    request.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl Feed for Events {
    fn news(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        let news = self.first_word().or_else(|| self.state(now)).or_else(|| self.transfers());
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
        let event = self.site.newsroom.event(&self.site, &self.viewer, self.file, now)?;
        let is_new = self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &event));
        is_new.then(|| {
            (self.last, self.shown) = (Some(Arc::clone(&event)), Some(now));
            event
        })
    }

    fn transfers(&mut self) -> Option<Arc<[u8]>> {
        let (passed, seq) = self.site.board.transfers_since(self.seq);
        self.seq = seq;
        let shown = shown(passed, self.file);
        (!shown.is_empty()).then(|| event("transfers", &shown))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Newsroom {
    /// The event that shows how things are; the same one again, where nothing has changed. Nothing, where the file is gone.
    fn event(&self, site: &Site, viewer: &Viewer, file: Option<InfoHash>, now: Instant) -> Option<Arc<[u8]>> {
        let topic = (viewer.clone(), file);
        let before = self.made().get_mut(&topic).map(|made| {
            made.asked = now;
            made.clone()
        });
        let is_fresh = |made: &Made| now.saturating_duration_since(made.at) < (made.cost * COST_PART).max(TICK / 2);
        if let Some(made) = before.as_ref().filter(|made| is_fresh(made)) {
            return made.event.clone();
        }
        let start = Instant::now();
        let made = match file {
            None => Some(event("state", &api::state::PageState::of(site, viewer))),
            Some(hash) => api::state::view(site, viewer, hash).map(|view| event("file", &view)),
        };
        let same = before.and_then(|before| before.event).filter(|before| Some(before) == made.as_ref());
        let event = same.or(made);
        let mut all = self.made();
        all.retain(|_, made| now.saturating_duration_since(made.asked) < KEPT_TIME);
        all.insert(topic, Made { at: now, cost: start.elapsed(), asked: now, event: event.clone() });
        event
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

/// The newest of what has passed, of one file if one is named.
fn shown(passed: Vec<report::Transfer>, file: Option<InfoHash>) -> Vec<TransferEvent> {
    let mut passed = passed;
    passed.retain(|transfer| file.is_none_or(|file| file == transfer.info_hash));
    let newest = passed.split_off(passed.len().saturating_sub(MAX_TRANSFERS));
    let told = newest.into_iter().map(|transfer| TransferEvent {
        file: transfer.info_hash.to_string(),
        piece: transfer.piece,
        peer: HEXLOWER.encode(&transfer.peer.0),
        way: match transfer.way {
            TransferKind::Uploaded => "given",
            TransferKind::Downloaded => "taken",
            TransferKind::Elsewhere => "elsewhere",
        },
    });
    told.collect()
}

/// An event with a value in JSON, which has no line end but the last.
fn event(name: &str, value: &impl Serialize) -> Arc<[u8]> {
    [b"event: ", name.as_bytes(), b"\ndata: ", &views::json(value)[..], b"\n"].concat().into()
}
