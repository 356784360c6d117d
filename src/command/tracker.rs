//! `tracker`: the tracker with its page, and the seeder of what is uploaded there.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select, tick};

use super::{ENDING, Failure, TRACKER_PORT, chance, fetch::open_listener, new_peer_id, seed, signals, verify};
use crate::{
    cli,
    metainfo::Metainfo,
    net::{self, PortChoice},
    peer::Host,
    seeder::{Announcer, DEFAULT_SLOTS, Gate, Listener, OwnTracker, Registry, Service},
    storage::{Access, Store},
    terminal,
    text::escape,
    tracker::{Limits, address::Asker, announce::Announce, answer::Answer, client::Client},
    web::{
        CarryOut, Order, Site, Web,
        address::{lan_address, own_addresses},
        door,
        library::{Library, MAX_PORTS, Shared},
        swarms::Swarms,
    },
};

/// How often what has had its time is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// How often the seeder of this process tells its own tracker that it is still here, at the least. The tracker keeps
/// it for twice that time, and a thousand files then cost three calls a second.
const OWN_INTERVAL: Duration = Duration::from_secs(300);

/// Runs until stopped, ends in order.
pub fn run(arguments: cli::Tracker) -> Result<ExitCode, Failure> {
    let interrupts = signals::listen(0)?;
    if let Some(url) = &arguments.public_url
        && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
    {
        return Err(Failure::about(url, "--public-url takes an http(s) URL, such as http://192.168.1.5:5000"));
    }
    let choice = arguments.port.map_or(PortChoice::From(TRACKER_PORT), PortChoice::Asked);
    let listener = open(choice)?;
    let port = listener.local_addr().map_err(|error| Failure::about("the tracker's port", error))?.port();
    let base = base_url(&arguments, port);
    let swarms = Swarms::new(Limits::default()).map_err(|error| Failure::about("random numbers", error))?;
    let swarms = Arc::new(swarms);
    let sharing = if arguments.no_web { None } else { Some(Sharing::open(&arguments, &swarms, &base)?) };
    let site = sharing.as_ref().map(|sharing| sharing.site(&arguments, &swarms)).transpose()?;
    let web = Arc::new(Web::new(swarms, site));
    let mut door =
        web.serve(listener, door::Limits::of_this_process()).map_err(|error| Failure::about("the tracker", error))?;
    say(&arguments, &base, sharing.as_ref());

    wait(&web, &interrupts.end_in_order());
    let announcer = sharing.as_ref().map(|sharing| &sharing.giving.announcer);
    announcer.inspect(|announcer| announcer.say_goodbye());
    let deadline = Instant::now() + ENDING;
    door.stop();
    announcer.inspect(|announcer| announcer.wait(deadline));
    Ok(ExitCode::SUCCESS)
}

/// Waits for the end; forgets meanwhile what has had its time.
fn wait(web: &Web, signals: &Receiver<i32>) {
    let ticks = tick(SWEEP);
    loop {
        select! {
            recv(signals) -> _ => return,
            recv(ticks) -> _ => if let Err(error) = web.sweep() {
                log::warn!("tidying up failed: {error}");
            },
        }
    }
}

fn open(choice: PortChoice) -> Result<std::net::TcpListener, Failure> {
    let (PortChoice::Asked(wanted) | PortChoice::From(wanted)) = choice;
    let listener = net::listen(choice).map_err(|error| Failure::about(format_args!("port {wanted}"), error))?;
    match listener.local_addr() {
        Ok(address) if address.port() != wanted && wanted != 0 => {
            eprintln!("port {wanted} is taken; the tracker is on {}", address.port());
        }
        _ => {}
    }
    Ok(listener)
}

/// The address as another device would type it.
fn base_url(arguments: &cli::Tracker, port: u16) -> String {
    arguments.public_url.as_ref().map_or_else(
        || {
            let address = lan_address(&own_addresses()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            format!("http://{}", SocketAddr::new(address, port))
        },
        |url| url.trim_end_matches('/').to_owned(),
    )
}

fn say(arguments: &cli::Tracker, base: &str, sharing: Option<&Sharing>) {
    let mut text = match sharing {
        Some(sharing) => {
            let data = escape(&arguments.data);
            format!("share and fetch files at {base}/\nfiles are kept in {data}, and seeded on port {}\n", sharing.port)
        }
        None => String::new(),
    };
    text += &format!("clients announce to {base}/announce; Ctrl-C ends it\n");
    terminal::print(&text);
}

/// The seeder of what was uploaded.
struct Sharing {
    library: Arc<Library>,
    giving: Arc<Giving>,
    port: u16,
    /// Locked for as long as this lives.
    _lock: File,
}

/// What carries out the page's orders.
struct Giving {
    host: Arc<Host>,
    gate: Arc<Gate>,
    service: Service,
    announcer: Announcer,
    tracker: String,
    listeners: Mutex<HashMap<u16, Listener>>,
}

impl Sharing {
    fn open(arguments: &cli::Tracker, swarms: &Arc<Swarms>, base: &str) -> Result<Sharing, Failure> {
        let data = Path::new(&arguments.data);
        let library = Library::open(data).map_err(|error| Failure::about(data.display(), error))?;
        let library = Arc::new(library);
        let lock = lock(data)?;
        let host = Arc::new(Host::new(new_peer_id()?, arguments.upload_limit, 0));
        let registry = Arc::new(Registry::default());
        let choice = arguments.seed_port.map_or(PortChoice::From(seed::PORT), PortChoice::Asked);
        let gate = Arc::new(Gate::new(host.clone(), registry.clone(), arguments.max_peers));
        let listener = open_listener(choice, &host, &gate)?;
        let service = Service::start(registry.clone(), DEFAULT_SLOTS, chance()?);
        let service = service.map_err(|error| Failure::about("threads", error))?;
        let tracker = format!("{base}/announce");
        let own = own_tracker(tracker.clone(), swarms);
        let announcer = Announcer::new(Client::new(chance()? as u32), host.peer_id(), Some(own));
        let port = listener.port();
        let listeners = Mutex::new(HashMap::from([(port, listener)]));
        let giving = Arc::new(Giving { host, gate, service, announcer, tracker, listeners });
        give_again(&library, &giving)?;
        Ok(Sharing { library, giving, port, _lock: lock })
    }

    fn site(&self, arguments: &cli::Tracker, swarms: &Arc<Swarms>) -> Result<Site, Failure> {
        let giving = self.giving.clone();
        let carry_out: CarryOut = Box::new(move |Order::Seed { metainfo, file, port }| {
            giving.give(metainfo, &file, port).map_err(|failure| failure.to_string())
        });
        Site::open(self.library.clone(), swarms.clone(), arguments.public_url.clone(), carry_out)
            .map_err(|error| Failure::about(&arguments.data, error))
    }
}

/// Keeps a second tracker out of the folder: each would overwrite the other's list of files.
fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join("metainfos").join(".lock");
    let file = File::create(&path).map_err(|error| Failure::about(path.display(), error))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let sentence = "another tracker keeps its files in this folder; --data names a different one";
            Err(Failure::about(data.display(), sentence))
        }
        // A file system that knows no locks takes our word for it.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Seeds what earlier runs left: what is unchanged at once, the rest once it is verified, on a thread of its own.
fn give_again(library: &Library, giving: &Arc<Giving>) -> Result<(), Failure> {
    let (unchanged, changed): (Vec<_>, Vec<_>) = library.shared().into_iter().partition(|shared| shared.is_unchanged);
    for Shared { metainfo, file, port, .. } in unchanged {
        if let Err(failure) = giving.give(metainfo, &file, port) {
            log::error!("{}: {failure}", file.display());
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let giving = giving.clone();
    let verifying = move || {
        for Shared { metainfo, file, port, .. } in changed {
            if let Err(failure) = verified(&metainfo, &file).and_then(|()| giving.give(metainfo, &file, port)) {
                log::error!("{}: {failure}", file.display());
            }
        }
    };
    let started = thread::Builder::new().name("verify uploads".into()).spawn(verifying);
    started.map(|_| ()).map_err(|error| Failure::about("threads", error))
}

fn verified(metainfo: &Arc<Metainfo>, file: &Path) -> Result<(), Failure> {
    let store = open_store(metainfo, file)?;
    if verify::check(&store, true)?.is_full() {
        return Ok(());
    }
    Err(Failure::new("it has changed since it was uploaded, and is not seeded; upload it again"))
}

fn open_store(metainfo: &Arc<Metainfo>, file: &Path) -> Result<Store, Failure> {
    let dir = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    Ok(Store::open(metainfo.clone(), &dir, Access::Read)?)
}

impl Giving {
    /// Seeds a file, at a port of its own where that is asked for and can be had.
    fn give(&self, metainfo: Arc<Metainfo>, file: &Path, port: Option<u16>) -> Result<(), Failure> {
        let own_port = self.host.port().expect("the first listener was opened before anything is given");
        let (port, refused) = match port.map(|port| self.listen_on(port)) {
            None => (own_port, None),
            Some(Ok(port)) => (port, None),
            Some(Err(failure)) => (own_port, Some(failure)),
        };
        let store = Arc::new(open_store(&metainfo, file)?);
        let (share, new) = self.service.seed(metainfo, store);
        if new {
            self.announcer.add(share, &[vec![self.tracker.clone()]], port, None, |_| 0);
        }
        refused.map_or(Ok(()), Err)
    }

    fn listen_on(&self, port: u16) -> Result<u16, Failure> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.contains_key(&port) {
            return Ok(port);
        }
        let instead = self.host.port().unwrap_or_default();
        if listeners.len() > MAX_PORTS {
            return Err(Failure::new(format!("{MAX_PORTS} further ports are open already; seeded on {instead}")));
        }
        let listener = Listener::open(PortChoice::Asked(port), self.gate.clone())
            .map_err(|error| Failure::new(format!("port {port} cannot be had ({error}); seeded on {instead}")))?;
        listeners.insert(port, listener);
        Ok(port)
    }
}

/// The tracker of this process, called directly.
fn own_tracker(url: String, swarms: &Arc<Swarms>) -> OwnTracker {
    let swarms = swarms.clone();
    let announce = move |announce: &Announce| {
        let reply = swarms.announce(announce, &Asker::this_process());
        Answer {
            peers: Vec::new(),
            interval: OWN_INTERVAL.max(Duration::from_secs(u64::from(reply.interval))),
            min_interval: Duration::from_secs(u64::from(reply.min_interval)),
            complete: Some(reply.counts.complete),
            incomplete: Some(reply.counts.incomplete),
            tracker_id: None,
            warning: None,
        }
    };
    OwnTracker { is_own: Arc::new(move |asked| asked == url), announce: Arc::new(announce) }
}
