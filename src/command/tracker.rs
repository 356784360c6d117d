//! `tracker`: the tracker with its page, and the seeder of what is uploaded there.

use std::{
    fs::{File, TryLockError},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, select, tick};

use super::{TRACKER_PORT, check_folder, page, seed, signals, verify};
use crate::{
    announce::{OwnTracker, answer::Answer},
    cli, http,
    metainfo::{self, Metainfo},
    net::{self, PortChoice, shown_addresses},
    node::{
        FETCH_MEMORY, FETCH_PEERS, Failure, Node, NodeOptions,
        process::ENDING,
        udp::{Datagram, UdpThread},
        watch::Watch,
    },
    policy::{DEFAULT_UPLOAD_SLOTS, FetchSettings},
    storage::{Stamps, Store, StoreAccess},
    terminal,
    tracker::{TrackerLimits, address::Asker, announce::Announce},
    web::{
        RateLimits, Rules, Setup, Site, Web,
        address::{Names, UrlOrigin, all_urls, lan_address},
        library::{Library, Shared},
        swarms::Swarms,
    },
};

/// How often it is noted who is here.
const NOTE: Duration = Duration::from_secs(1);

/// How often what has had its time is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// How often the seeder of this process tells its own tracker that it is still here, at the least. The tracker keeps
/// it for twice that time, and a thousand files then cost three calls a second.
const OWN_INTERVAL: Duration = Duration::from_secs(300);

/// Runs until stopped, ends in order.
pub fn run(arguments: cli::TrackerArguments) -> Result<ExitCode, Failure> {
    let interrupts = signals::listen(0)?;
    if let Some(url) = &arguments.public_url
        && UrlOrigin::parse(url).is_none()
    {
        return Err(Failure::about(url, "--public-url takes an http(s) URL, such as http://192.168.1.5:5000"));
    }
    if arguments.no_web && arguments.watch.is_some() {
        return Err(Failure::new(
            "--no-web seeds nothing, so there is nothing for --watch to do; leave one of them out",
        ));
    }
    let choice = arguments.port.map_or(PortChoice::From(TRACKER_PORT), PortChoice::Asked);
    let listener = open(choice)?;
    let port = listener.local_addr().map_err(|error| Failure::about("the tracker's port", error))?.port();
    let base = base_url(&arguments, port);
    let names = Names::new(arguments.public_url.as_deref(), arguments.trusted_proxy.clone());
    let swarms =
        Swarms::new(TrackerLimits::default(), names).map_err(|error| Failure::about("random numbers", error))?;
    let swarms = Arc::new(swarms);
    let udp = answer_udp(port, &swarms);
    let sharing = if arguments.no_web { None } else { Some(Sharing::open(&arguments, &swarms, &base, port)?) };
    let site = sharing.as_ref().map(|sharing| sharing.site(&arguments, &swarms)).transpose()?;
    let web = Arc::new(Web::new(swarms, site));
    let mut door = web
        .serve(listener, http::DoorLimits::of_this_process())
        .map_err(|error| Failure::about("the tracker", error))?;
    let control = page::control_link(&web, base.clone(), false)?;
    let watch = match (&arguments.watch, &sharing) {
        (Some(folder), Some(sharing)) => Some(watch(folder, &arguments.data, sharing)?),
        _ => None,
    };
    say(&arguments, &base, port, sharing.as_ref(), control.as_deref());

    wait(&web, &interrupts.end_in_order());
    drop(watch);
    // Whoever the tracker names as a seeder is gone before the tracker is.
    sharing.inspect(|sharing| sharing.node.end(ENDING));
    door.stop();
    drop(udp);
    Ok(ExitCode::SUCCESS)
}

/// Shares a folder as it fills. It must not hold what the tracker itself writes, nor lie in there: that would be shared twice.
fn watch(folder: &Path, data: &Path, sharing: &Sharing) -> Result<Watch, Failure> {
    let whole = |path: &Path| path.canonicalize().map_err(|error| Failure::about(path.display(), error));
    let (watched, data) = (whole(folder)?, whole(data)?);
    let is_inside = ["uploads", "metainfos", "fetched"].iter().any(|own| watched.starts_with(data.join(own)));
    if data.starts_with(&watched) || is_inside {
        let sentence =
            "the tracker keeps its own files there; --watch takes another folder, such as one of its own in there";
        return Err(Failure::about(folder.display(), sentence));
    }
    Watch::start(&sharing.node, &watched)
}

/// Takes announces over UDP as well, at the same port number; without it clients announce over HTTP alone.
fn answer_udp(port: u16, swarms: &Arc<Swarms>) -> Option<UdpThread> {
    let swarms = swarms.clone();
    let answer = move |datagram: Datagram<'_>, out: &mut Vec<u8>| {
        let reached = SocketAddr::new(datagram.reached, port);
        swarms.answer_packet(datagram.bytes, datagram.from.ip(), reached, out);
    };
    let thread = UdpThread::start("udp tracker", port, answer);
    thread.inspect_err(|error| terminal::say(format_args!("announces over HTTP only: UDP port {port}: {error}"))).ok()
}

/// Waits for the end; forgets meanwhile what has had its time.
fn wait(web: &Web, signals: &Receiver<i32>) {
    let (notes, ticks) = (tick(NOTE), tick(SWEEP));
    loop {
        select! {
            recv(signals) -> _ => return,
            recv(notes) -> _ => web.note(),
            recv(ticks) -> _ => if let Err(error) = web.sweep() {
                log::warn!("tidying up failed: {error}");
            },
        }
    }
}

fn open(choice: PortChoice) -> Result<std::net::TcpListener, Failure> {
    let (PortChoice::Asked(wanted) | PortChoice::From(wanted)) = choice;
    let listener = net::listen(choice)
        .map_err(|error| Failure::listening(format_args!("port {wanted}"), &error, "--port takes another"))?;
    match listener.local_addr() {
        Ok(address) if address.port() != wanted && wanted != 0 => {
            terminal::say(format_args!("port {wanted} is in use; using {} for the tracker", address.port()));
        }
        _ => {}
    }
    Ok(listener)
}

/// The address as another device would type it.
fn base_url(arguments: &cli::TrackerArguments, port: u16) -> String {
    arguments.public_url.as_ref().map_or_else(
        || {
            let address = lan_address(&shown_addresses()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            format!("http://{}", SocketAddr::new(address, port))
        },
        |url| url.trim_end_matches('/').to_owned(),
    )
}

fn say(arguments: &cli::TrackerArguments, base: &str, port: u16, sharing: Option<&Sharing>, control: Option<&str>) {
    if let Some(sharing) = sharing {
        let (data, port) = (arguments.data.display(), sharing.node.port());
        terminal::print(format_args!("share and fetch files at {base}/"));
        terminal::print(format_args!("files are kept in {data}, and seeded on port {port}"));
    }
    let others: Vec<String> = all_urls(&shown_addresses(), port).into_iter().filter(|url| url != base).collect();
    if !others.is_empty() {
        terminal::print(format_args!("this machine is also {}", others.join(" ")));
    }
    control.inspect(|link| page::say_control(link));
    terminal::print(format_args!("clients announce to {base}/announce; Ctrl-C ends it"));
}

/// The page's files, and the node that gives them.
struct Sharing {
    library: Arc<Library>,
    node: Arc<Node>,
    /// Locked for as long as this lives.
    _lock: File,
}

impl Sharing {
    fn open(
        arguments: &cli::TrackerArguments,
        swarms: &Arc<Swarms>,
        base: &str,
        port: u16,
    ) -> Result<Sharing, Failure> {
        let data = arguments.data.as_path();
        check_folder(data, "--data")?;
        let library = Library::open(data).map_err(|error| Failure::about(data.display(), error))?;
        let library = Arc::new(library);
        let lock = lock(data)?;
        library.remove_unfinished().map_err(|error| Failure::about(data.display(), error))?;
        let tracker = format!("{base}/announce");
        let node = super::open_node(NodeOptions {
            upload_limit: arguments.upload_limit,
            download_limit: arguments.download_limit,
            max_peers: arguments.max_peers,
            fetching: FetchSettings {
                max_peers: FETCH_PEERS,
                upload_slots: DEFAULT_UPLOAD_SLOTS,
                memory: FETCH_MEMORY,
            },
            port: arguments.seed_port.map_or(PortChoice::From(seed::PORT), PortChoice::Asked),
            local_discovery: !arguments.no_announce,
            own_tracker: Some((tracker.clone(), own_tracker(tracker, port, swarms))),
            folder: data.join("fetched"),
            memory: Some(data.join("metainfos").join(".settings.json")),
        })?;
        let told = Arc::downgrade(&node);
        swarms.tell_of_leechers(Box::new(move |hash, peer| _ = told.upgrade().map(|node| node.joined(hash, peer))));
        arguments.name.clone().into_iter().for_each(|name| node.host().set_name(name));
        give_again(&library, &node)?;
        node.fetch_again();
        Ok(Sharing { library, node, _lock: lock })
    }

    fn site(&self, arguments: &cli::TrackerArguments, swarms: &Arc<Swarms>) -> Result<Site, Failure> {
        let setup = Setup {
            peer_id: self.node.host().peer_id(),
            board: self.node.board().clone(),
            rules: Rules {
                password: page::password(arguments.password_file.as_deref())?,
                no_upload: arguments.no_upload,
            },
            limits: RateLimits { upload: arguments.upload_limit, download: arguments.download_limit },
            carry_out: self.node.carry_out(),
        };
        let metainfos = arguments.max_metainfo.map_or(metainfo::Limits::STRANGER, metainfo::Limits::of_bytes);
        Site::open(self.library.clone(), metainfos, swarms.clone(), setup)
            .map_err(|error| Failure::about(arguments.data.display(), error))
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
fn give_again(library: &Arc<Library>, node: &Arc<Node>) -> Result<(), Failure> {
    let (unchanged, changed): (Vec<_>, Vec<_>) = library.shared().into_iter().partition(|shared| shared.is_unchanged);
    for Shared { metainfo, file, port, .. } in unchanged {
        if let Err(failure) = node.seed_upload(metainfo, &file, None, port) {
            log::error!("{}: {failure}", file.display());
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let (library, node) = (library.clone(), node.clone());
    let verifying = move || {
        for shared in changed {
            let Shared { metainfo, file, port, .. } = &shared;
            let given = verified(metainfo, file);
            let given = given.and_then(|stamps| node.seed_upload(metainfo.clone(), file, Some(stamps), *port));
            match given {
                Ok(()) => {
                    library.stamp_verified(&shared).unwrap_or_else(|error| log::warn!("{}: {error}", file.display()));
                }
                Err(failure) => log::error!("{}: {failure}", file.display()),
            }
        }
    };
    let started = thread::Builder::new().name("verify uploads".into()).spawn(verifying);
    started.map(|_| ()).map_err(|error| Failure::about("threads", error))
}

/// The stamps of a file that turns out to be whole, as they were before it was hashed.
fn verified(metainfo: &Arc<Metainfo>, file: &Path) -> Result<Stamps, Failure> {
    let store = Store::open(metainfo.clone(), file.parent().unwrap_or(Path::new(".")), StoreAccess::Read)?;
    let stamps = Stamps::of(&store)?;
    if verify::check(&store, true)?.is_full() {
        return Ok(stamps);
    }
    Err(Failure::new("it has changed since it was uploaded, and is not seeded; upload it again"))
}

/// The tracker of this process, called directly.
fn own_tracker(url: String, port: u16, swarms: &Arc<Swarms>) -> OwnTracker {
    let (swarms, named) = (swarms.clone(), swarms.clone());
    let announce = move |announce: &Announce| {
        let reply = swarms.announce(announce, &Asker::this_process());
        Answer {
            peers: reply.peers.iter().map(|peer| peer.address).collect(),
            interval: OWN_INTERVAL.max(Duration::from_secs(u64::from(reply.interval))),
            min_interval: Duration::from_secs(u64::from(reply.min_interval)),
            complete: Some(reply.counts.complete),
            incomplete: Some(reply.counts.incomplete),
            tracker_id: None,
            warning: None,
        }
    };
    // By any of its names: a torrent that the page was given has nothing asked on this machine over the network.
    let is_own =
        move |asked: &str| asked == url || named.names().is_own_tracker(asked, (Ipv4Addr::LOCALHOST, port).into());
    OwnTracker { is_own: Arc::new(is_own), announce: Arc::new(announce) }
}
