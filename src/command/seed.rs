//! `seed`: give a file or folder to others, until stopped.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
};

use super::{
    check_folder, create, listing,
    page::{self, ServedPage},
    peers, signals, source, verify,
};
use crate::{
    announce::client::TrackerReach,
    cli,
    metainfo::{
        Metainfo,
        create::{CreateOptions, Created, DEFAULT_PIECE_LENGTH},
    },
    net::PortChoice,
    node::{FETCH_MEMORY, FETCH_PEERS, Failure, NodeOptions, Sources, process::ENDING},
    policy::{DEFAULT_UPLOAD_SLOTS, FetchSettings},
    session::SharedTorrent,
    storage::{Claim, Stamps, Store, StoreAccess},
    terminal,
    text::Size,
    web::Kind,
};

/// Where a seeder takes connections unless told otherwise.
pub const PORT: u16 = 6881;

/// Seeds until stopped, ends in order.
pub fn run(arguments: cli::Seed) -> Result<ExitCode, Failure> {
    let interrupts = signals::listen(0)?;
    arguments.dir.as_deref().map_or(Ok(()), |dir| check_folder(dir, "--dir"))?;
    let what = prepare(&arguments)?;
    let peers = peers::resolve(&arguments.peer)?;
    let signals = interrupts.end_in_order();
    let node = super::open_node(NodeOptions {
        upload_limit: arguments.upload_limit,
        download_limit: 0,
        max_peers: arguments.max_peers,
        fetching: FetchSettings { max_peers: FETCH_PEERS, upload_slots: DEFAULT_UPLOAD_SLOTS, memory: FETCH_MEMORY },
        port: arguments.port.map_or(PortChoice::From(PORT), PortChoice::Asked),
        local_discovery: !arguments.no_announce,
        own_tracker: None,
        folder: arguments.dir.clone().unwrap_or_else(|| ".".into()),
        memory: None,
    })?;
    arguments.name.clone().into_iter().for_each(|name| node.host().set_name(name));
    let page = {
        let (address, password) = (arguments.page.as_deref(), arguments.password_file.as_deref());
        page::open_if_asked(address, password, Kind::Seed, &node, arguments.json)?
    };
    let sources = Sources { trackers: what.metainfo.trackers().to_vec(), reach: what.reach.clone(), peers };
    let share = node.seed(what.metainfo.clone(), &what.dir, what.stamps.clone(), sources, None)?;
    say(&arguments, &what, node.port(), page.as_ref());
    listing::start(&node, &what.metainfo, what.is_without_tracker(), arguments.json)?;

    // Whoever asks it to end is the only one who can; the sender lives as long as the process.
    let _ = signals.recv();
    drop(page);
    node.end(ENDING);
    say_goodbye(&arguments, &share);
    Ok(ExitCode::SUCCESS)
}

/// What is to be seeded, checked.
struct What {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    /// Its files as they were before they were hashed.
    stamps: Stamps,
    /// Which machines its trackers may lead to.
    reach: TrackerReach,
    /// Keeps fetches from writing to them.
    _claim: Option<Claim>,
    /// Where its metainfo was written, if it was made here.
    made: Option<create::Out>,
}

impl What {
    /// Whether its metainfo was made here, and there was no tracker to name in it.
    fn is_without_tracker(&self) -> bool {
        self.made.is_some() && self.metainfo.trackers().is_empty()
    }
}

/// A metainfo is what --dir belongs to, what comes from a URL or ends in .torrent, and a .json that reads like one.
fn prepare(arguments: &cli::Seed) -> Result<What, Failure> {
    let ending = arguments.what.extension().and_then(|ending| ending.to_str());
    let named = arguments.dir.is_some() || source::url(&arguments.what).is_some() || ending == Some("torrent");
    match ending {
        _ if named => from_metainfo(arguments, source::read(&arguments.what)?),
        Some("json") => match source::read(&arguments.what) {
            Ok(metainfo) => from_metainfo(arguments, metainfo),
            Err(_) => from_data(arguments),
        },
        _ => from_data(arguments),
    }
}

fn from_metainfo(arguments: &cli::Seed, mut metainfo: Metainfo) -> Result<What, Failure> {
    let dir = arguments.dir.clone().unwrap_or_else(|| ".".into());
    if !arguments.tracker.is_empty() {
        metainfo = metainfo.with_trackers(tiers(&arguments.tracker));
    }
    let metainfo = Arc::new(metainfo);
    let store = Store::open(metainfo.clone(), &dir, StoreAccess::Read)?;
    let claim = claim(&store);
    let stamps = Stamps::of(&store)?;
    let have = verify::check(&store, arguments.json)?;
    if !have.is_full() {
        let (name, right, all) = (metainfo.name(), have.count(), have.len());
        let (dir, absent) = (dir.display(), verify::absent(&store));
        return Err(Failure::new(format!(
            "{name}: only {right} of {all} pieces are right in {dir}{absent}; --dir says where the data lies, and fetch gets the rest"
        )));
    }
    let reach = TrackerReach::on_command_line(&arguments.tracker, source::url(&arguments.what));
    Ok(What { metainfo, dir, stamps, reach, _claim: claim, made: None })
}

fn from_data(arguments: &cli::Seed) -> Result<What, Failure> {
    let path = arguments.what.as_path();
    let out = create::Out::checked(path, arguments.out.as_deref())?;
    let trackers = match arguments.tracker.is_empty() {
        true => match listing::own_tracker() {
            (_, Some(_)) if !arguments.no_announce => Vec::new(),
            (url, sentence) => {
                sentence.into_iter().for_each(terminal::say);
                vec![url]
            }
        },
        false => arguments.tracker.clone(),
    };
    let options = CreateOptions {
        piece_length: arguments.piece_length.unwrap_or(DEFAULT_PIECE_LENGTH),
        trackers: tiers(&trackers),
        creation_date: create::now(),
        leave_out: out.paths().to_vec(),
        ..CreateOptions::default()
    };
    let Created { metainfo, found, .. } = create::make(path, &options, arguments.json)?;
    out.write(&metainfo)?;
    let (stamps, metainfo, dir) = (Stamps::as_found(&metainfo, &found), Arc::new(metainfo), folder_of(path)?);
    let claim = claim(&Store::open(metainfo.clone(), &dir, StoreAccess::Read)?);
    let reach = TrackerReach::on_command_line(&trackers, None);
    Ok(What { metainfo, dir, stamps, reach, _claim: claim, made: Some(out) })
}

/// Keeps fetches from writing to what is seeded. Where a fetch holds it already, as one that serves on does, it is seeded all
/// the same: what is changed is not sent.
fn claim(store: &Store) -> Option<Claim> {
    Claim::to_read(store).inspect_err(|error| log::info!("{error}")).ok()
}

/// The folder in which this is found under its own name, which for a link is that of the link.
fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::about(path.display(), error);
    let canonical = |path: &Path| path.canonicalize().map_err(|error| about(&error));
    match (path.file_name(), path.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => canonical(Path::new(".")),
        (Some(_), Some(parent)) => canonical(parent),
        _ => {
            let parent = canonical(path)?.parent().map(Path::to_owned);
            parent.ok_or_else(|| about(&"the root folder cannot be shared"))
        }
    }
}

fn tiers(trackers: &[String]) -> Vec<Vec<String>> {
    trackers.iter().map(|url| vec![url.clone()]).collect()
}

fn say(arguments: &cli::Seed, what: &What, port: u16, page: Option<&ServedPage>) {
    let trackers = what.metainfo.trackers().concat();
    if arguments.json {
        let line = serde_json::json!({
            "info_hash": what.metainfo.info_hash().to_string(), "port": port, "trackers": trackers,
            "page": page.map(ServedPage::url), "control": page.and_then(ServedPage::control),
        });
        terminal::print_json(line);
        return;
    }
    let found = match () {
        () if !trackers.is_empty() => format!("announced to {}", trackers.join(", ")),
        () if arguments.no_announce || what.metainfo.is_private() => {
            format!("no tracker; others find it by --peer ADDRESS:{port} alone")
        }
        () => "no tracker; found by local discovery".to_owned(),
    };
    page.inspect(|page| page.say());
    what.made.as_ref().inspect(|out| _ = create::said(&what.metainfo, out));
    terminal::print(format_args!("seeding on port {port}, {found}; Ctrl-C ends it"));
}

fn say_goodbye(arguments: &cli::Seed, share: &SharedTorrent) {
    let uploaded = share.traffic.uploaded.load(Ordering::Relaxed);
    if arguments.json {
        terminal::print_json(serde_json::json!({ "uploaded": uploaded }));
    } else {
        terminal::print(format_args!("uploaded {}", Size(uploaded)));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_shared_by_a_link_is_found_under_the_name_of_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("store/tree")).unwrap();
        fs::create_dir(at("share")).unwrap();
        fs::write(at("store/disk-12.5.iso"), "content").unwrap();
        fs::write(at("store/tree/a.txt"), "text").unwrap();
        symlink("../store/disk-12.5.iso", at("share/latest.iso")).unwrap();
        symlink("../store/tree", at("share/docs")).unwrap();
        for path in
            ["share/latest.iso", "share/docs", "share/docs/", "share/docs/.", "store/tree/../tree", "store/tree/.."]
        {
            let created = crate::metainfo::create::create(&at(path), &CreateOptions::default(), &|_| {}).unwrap();
            let dir = folder_of(&at(path)).unwrap();
            let store = Store::open(Arc::new(created.metainfo), &dir, StoreAccess::Read).unwrap();
            assert!(verify::check(&store, true).unwrap().is_full(), "{path} is not found in {}", dir.display());
        }
        assert!(folder_of(Path::new("/")).unwrap_err().to_string().contains("the root folder cannot be shared"));
    }
}
