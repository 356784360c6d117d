//! Local discovery (BEP 14): peers on the same link find each other by multicast, without a tracker.
//!
//! One thread owns the sockets (`links`), and does what `schedule` says, which is pure, as is the datagram (`message`). A torrent that
//! is private is never given to it (BEP 27): that is for who adds it to see to. What a datagram says leads to nothing but its sender's own address.

mod links;
pub mod message;
mod schedule;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use mio::{Events, Interest, Poll, Token, Waker, net::UdpSocket};

use self::{
    links::MulticastLink,
    message::MAX_LENGTH,
    schedule::{SearchSchedule, SearchedState},
};
use crate::{announce::TrackerNews, metainfo::InfoHash, session::SharedTorrent};

/// How often interfaces are looked at: they come and go.
const LOOK: Duration = Duration::from_secs(5);

/// Datagrams that are read in a second; what a flood sends beyond that, the system drops.
const MAX_READ_A_SECOND: usize = 2000;

/// The thread's stack, in bytes.
const STACK: usize = 128 * 1024;

/// How long the thread leaves the sockets alone when it has read that many.
const FLOOD_PAUSE: Duration = Duration::from_millis(100);

/// Events that are taken at once. Which socket has something is found by reading.
const MAX_EVENTS: usize = 64;

/// What wakes the thread: a torrent that was added, or the end.
const WAKE: Token = Token(0);

/// Something has come on a socket.
const HEARD: Token = Token(1);

/// A torrent, and its coordinator.
type TorrentAndNews = (Arc<SharedTorrent>, Sender<TrackerNews>);

/// The thread, and how torrents come to it. Dropping it ends the thread.
#[derive(Debug)]
pub struct LocalDiscovery {
    shared: Arc<Discovery>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Discovery {
    searched: Mutex<Searched>,
    waker: Waker,
    ending: AtomicBool,
}

#[derive(Debug)]
struct Searched {
    schedule: SearchSchedule,
    torrents: HashMap<InfoHash, TorrentAndNews>,
}

impl LocalDiscovery {
    /// Starts the thread; nothing is searched for yet.
    pub fn start() -> io::Result<LocalDiscovery> {
        let poll = Poll::new()?;
        let schedule = SearchSchedule::new(getrandom::u32()?);
        let shared = Arc::new(Discovery {
            searched: Mutex::new(Searched { schedule, torrents: HashMap::new() }),
            waker: Waker::new(poll.registry(), WAKE)?,
            ending: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("local discovery".into()).stack_size(STACK).spawn({
            let shared = shared.clone();
            move || Discovering::new(shared, poll).run()
        })?;
        Ok(LocalDiscovery { shared, thread: Some(thread) })
    }

    /// Searches for peers of this torrent, which is not private and takes connections on `port`, from now on, and tells `news` of
    /// those that are heard.
    pub fn add(&self, share: Arc<SharedTorrent>, port: u16, news: Sender<TrackerNews>) {
        let hash = share.metainfo.info_hash();
        {
            let mut searched = self.shared.lock();
            searched.schedule.add(hash, port, Instant::now());
            searched.torrents.insert(hash, (share, news));
        }
        self.shared.wake();
    }

    /// Searches for this torrent no more.
    pub fn remove(&self, hash: InfoHash) {
        let mut searched = self.shared.lock();
        searched.schedule.remove(hash);
        searched.torrents.remove(&hash);
    }
}

impl Drop for LocalDiscovery {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake();
        // One that panicked has told on its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Discovery {
    fn lock(&self) -> MutexGuard<'_, Searched> {
        self.searched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.waker.wake().unwrap_or_else(|error| log::warn!("local discovery cannot be woken: {error}"));
    }
}

/// What the thread owns.
struct Discovering {
    shared: Arc<Discovery>,
    poll: Poll,
    sockets: Vec<OpenLink>,
    /// All addresses of this machine.
    own: Vec<IpAddr>,
    /// When the interfaces were looked at.
    looked: Option<Instant>,
    /// Since when datagrams are counted, and how many were read.
    read: (Instant, usize),
}

struct OpenLink {
    link: MulticastLink,
    /// Nothing where it cannot be opened, which was said once.
    socket: Option<UdpSocket>,
}

impl Discovering {
    fn new(shared: Arc<Discovery>, poll: Poll) -> Discovering {
        let (sockets, own) = (Vec::new(), Vec::new());
        Discovering { shared, poll, sockets, own, looked: None, read: (Instant::now(), 0) }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(MAX_EVENTS);
        while !self.shared.ending.load(Ordering::Acquire) {
            self.look(Instant::now());
            let is_flooded = !self.hear();
            self.search();
            if is_flooded {
                // What comes meanwhile waits with the system, as far as it has room for it.
                thread::sleep(FLOOD_PAUSE);
                continue;
            }
            let now = Instant::now();
            let due = self.shared.lock().schedule.due(now);
            let wait = due.map_or(LOOK, |due| due.saturating_duration_since(now).min(LOOK));
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return log::error!("local discovery has ended: {error}");
            }
        }
    }

    /// Opens sockets on interfaces that have come, and closes those on interfaces that have gone.
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
            return;
        }
        self.looked = Some(now);
        let (links, own) = match links::look() {
            Ok(found) => found,
            Err(error) => return log::warn!("interfaces cannot be listed for local discovery: {error}"),
        };
        self.own = own;
        self.sockets.retain(|open| links.contains(&open.link));
        let mut has_new = false;
        for link in links {
            let known = self.sockets.iter_mut().find(|open| open.link == link);
            if known.as_ref().is_some_and(|open| open.socket.is_some()) {
                continue;
            }
            let opened = open(&link, &self.poll);
            log::debug!("local discovery over {link:?}: {opened:?}");
            has_new |= opened.is_ok();
            match (known, opened) {
                (Some(known), opened) => known.socket = opened.ok(),
                (None, opened) => {
                    if let Err(error) = &opened {
                        log::info!("no local discovery over {link:?}: {error}");
                    }
                    self.sockets.push(OpenLink { link, socket: opened.ok() });
                }
            }
        }
        if has_new {
            self.shared.lock().schedule.begin_again(now);
        }
    }

    /// Reads what has come; false when there is more than is read in a second.
    fn hear(&mut self) -> bool {
        let mut datagram = [0; MAX_LENGTH + 1];
        for open in &self.sockets {
            let Some(socket) = &open.socket else { continue };
            loop {
                let now = Instant::now();
                if now.saturating_duration_since(self.read.0) >= Duration::from_secs(1) {
                    self.read = (now, 0);
                }
                if self.read.1 >= MAX_READ_A_SECOND {
                    return false;
                }
                // Nothing more, or an error that an earlier datagram of ours brought.
                let Ok((length, sender)) = socket.recv_from(&mut datagram) else { break };
                self.read.1 += 1;
                if open.link.has(sender.ip()) {
                    self.heard(&datagram[..length], sender, now);
                }
            }
        }
        true
    }

    fn heard(&self, datagram: &[u8], sender: SocketAddr, now: Instant) {
        let mut searched = self.shared.lock();
        let Searched { schedule, torrents } = &mut *searched;
        for (hash, address) in schedule.hears(datagram, sender, &self.own, |hash| standing(torrents, hash), now) {
            log::debug!("{address} has {hash}, by local discovery");
            if let Some((_, news)) = torrents.get(&hash) {
                // One that finds no room is heard again.
                let _ = news.try_send(TrackerNews::Named(hash, vec![address]));
            }
        }
    }

    /// Sends what is due, over every interface.
    fn search(&self) {
        loop {
            let search = {
                let mut searched = self.shared.lock();
                let Searched { schedule, torrents } = &mut *searched;
                schedule.next(|hash| standing(torrents, hash), Instant::now())
            };
            let Some(search) = search else { return };
            for open in &self.sockets {
                let sent =
                    open.socket.as_ref().map(|it| it.send_to(&search.datagram(open.link.group()), open.link.to()));
                if let Some(Err(error)) = sent {
                    log::debug!("no search over {:?}: {error}", open.link);
                }
            }
        }
    }
}

fn open(link: &MulticastLink, poll: &Poll) -> io::Result<UdpSocket> {
    let mut socket = UdpSocket::from_std(link.open()?);
    poll.registry().register(&mut socket, HEARD, Interest::READABLE)?;
    Ok(socket)
}

fn standing(torrents: &HashMap<InfoHash, TorrentAndNews>, hash: InfoHash) -> SearchedState {
    match torrents.get(&hash) {
        Some((share, _)) if share.have.is_full() => SearchedState::Complete,
        Some((share, _)) if share.lacks_peers.load(Ordering::Relaxed) => SearchedState::Lacking,
        _ => SearchedState::Incomplete,
    }
}
