//! `seed`: give a file or folder to others, until stopped.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    ENDING, Failure, TRACKER_PORT, chance, create, fetch::open_listener, new_peer_id, signals, source, verify,
};
use crate::{
    cli,
    metainfo::{
        Metainfo,
        create::{DEFAULT_PIECE_LENGTH, Options},
    },
    net::PortChoice,
    peer::{Host, Share},
    seeder::{Announcer, DEFAULT_SLOTS, Registry, Service},
    storage::{Access, Store},
    terminal,
    text::Size,
    text::escape,
    tracker::client::Client,
};

/// Where a seeder takes connections unless told otherwise.
pub const PORT: u16 = 6881;

/// How long a tracker's page may take to list what is seeded.
const REGISTER_TIME: Duration = Duration::from_secs(5);

/// Seeds until stopped, ends in order.
pub fn run(arguments: cli::Seed) -> Result<ExitCode, Failure> {
    let what = prepare(&arguments)?;
    // Until here there is nothing to end in order, and a signal may strike as it does by itself.
    let signals = signals::listen()?;
    let host = Arc::new(Host::new(new_peer_id()?, arguments.upload_limit, 0));
    let registry = Arc::new(Registry::default());
    let choice = arguments.port.map_or(PortChoice::From(PORT), PortChoice::Asked);
    let listener = open_listener(choice, &host, &registry, arguments.max_peers)?;
    let service = Service::start(registry.clone(), DEFAULT_SLOTS, chance()?);
    let service = service.map_err(|error| Failure::about("threads", error))?;
    let store = Arc::new(Store::open(what.metainfo.clone(), &what.dir, Access::Read)?);
    let (share, _) = service.seed(what.metainfo.clone(), store);
    let announcer = Announcer::new(Client::new(chance()? as u32), host.peer_id(), None);
    announcer.add(share.clone(), what.metainfo.trackers(), listener.port(), None, |_| 0);
    say(&arguments, &what, listener.port());

    // Whoever asks it to end is the only one who can; the sender lives as long as the process.
    let _ = signals.recv();
    drop(listener);
    drop(service);
    announcer.end(ENDING);
    say_goodbye(&arguments, &share);
    Ok(ExitCode::SUCCESS)
}

/// What is to be seeded, checked.
struct What {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    /// Lines for a person.
    made: String,
}

fn prepare(arguments: &cli::Seed) -> Result<What, Failure> {
    if is_metainfo(arguments) { from_metainfo(arguments) } else { from_data(arguments) }
}

/// A metainfo is what --dir belongs to, what comes from a URL, and what is named and reads like one.
fn is_metainfo(arguments: &cli::Seed) -> bool {
    let ending = Path::new(&arguments.what).extension().and_then(|ending| ending.to_str());
    let named = matches!(ending, Some("torrent" | "json"));
    arguments.dir.is_some() || source::is_url(&arguments.what) || named && source::read(&arguments.what).is_ok()
}

fn from_metainfo(arguments: &cli::Seed) -> Result<What, Failure> {
    let mut metainfo = source::read(&arguments.what)?;
    let dir = PathBuf::from(arguments.dir.as_deref().unwrap_or("."));
    if !arguments.tracker.is_empty() {
        metainfo = metainfo.with_trackers(tiers(&arguments.tracker));
    }
    let metainfo = Arc::new(metainfo);
    let store = Store::open(metainfo.clone(), &dir, Access::Read)?;
    let have = verify::check(&store, arguments.json)?;
    if !have.is_full() {
        let (name, right, all) = (metainfo.name(), have.count(), have.len());
        let dir = dir.display();
        return Err(Failure::new(format!(
            "{name}: only {right} of {all} pieces are right in {dir}; --dir says where the data lies, and fetch gets the rest"
        )));
    }
    Ok(What { metainfo, dir, made: String::new() })
}

fn from_data(arguments: &cli::Seed) -> Result<What, Failure> {
    let path = Path::new(&arguments.what);
    let trackers = match arguments.tracker.is_empty() {
        true => vec![own_tracker()],
        false => arguments.tracker.clone(),
    };
    let options = Options {
        piece_length: arguments.piece_length.unwrap_or(DEFAULT_PIECE_LENGTH),
        trackers: tiers(&trackers),
        creation_date: create::now(),
        ..Options::default()
    };
    let metainfo = create::make(path, &options, arguments.json)?;
    let written = create::write(&metainfo, arguments.out.as_deref())?;
    let mut made = create::said(&metainfo, &written);
    trackers.iter().for_each(|tracker| made += &register(tracker, &metainfo));
    let dir = path.canonicalize().map_err(|error| Failure::about(path.display(), error))?;
    let dir = dir.parent().ok_or_else(|| Failure::about(path.display(), "the root folder cannot be shared"))?;
    Ok(What { metainfo: Arc::new(metainfo), dir: dir.to_owned(), made })
}

fn tiers(trackers: &[String]) -> Vec<Vec<String>> {
    trackers.iter().map(|url| vec![url.clone()]).collect()
}

/// The announce URL of the tracker on this machine, as others reach it.
fn own_tracker() -> String {
    let own = crate::web::address::own_addresses();
    let address = crate::web::address::lan_address(&own).unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
    format!("http://{}/announce", std::net::SocketAddr::new(address, TRACKER_PORT))
}

/// Has the page of a tracker list what is seeded here, where it has a page; says what came of it.
fn register(tracker: &str, metainfo: &Metainfo) -> String {
    let Some(base) = tracker.strip_suffix("/announce").filter(|base| base.starts_with("http")) else {
        return String::new();
    };
    let sent = Client::new(0).post(&format!("{base}/metainfos"), &metainfo.to_torrent(), REGISTER_TIME);
    match sent {
        Ok(body) if (200..300).contains(&body.status) => format!("listed at {base}/\n"),
        // A tracker without a page knows no such path.
        Ok(body) if matches!(body.status, 404 | 405) => String::new(),
        Ok(body) => format!("{base} does not list it: HTTP status {}\n", body.status),
        Err(error) => format!("{base} does not list it: {error}; start a tracker there with: minitorrent tracker\n"),
    }
}

fn say(arguments: &cli::Seed, what: &What, port: u16) {
    let trackers = what.metainfo.trackers().concat();
    if arguments.json {
        let line = serde_json::json!({
            "info_hash": what.metainfo.info_hash().to_string(), "port": port, "trackers": trackers,
        });
        terminal::print(&format!("{line}\n"));
        return;
    }
    let named = escape(&trackers.join(", "));
    let announced = if trackers.is_empty() { "no tracker".to_owned() } else { named };
    terminal::print(&format!("{}seeding on port {port}, announced to {announced}; Ctrl-C ends it\n", what.made));
}

fn say_goodbye(arguments: &cli::Seed, share: &Share) {
    let uploaded = share.traffic.uploaded.load(Ordering::Relaxed);
    if arguments.json {
        terminal::print(&format!("{}\n", serde_json::json!({ "uploaded": uploaded })));
    } else {
        terminal::print(&format!("gave {}\n", Size(uploaded)));
    }
}
