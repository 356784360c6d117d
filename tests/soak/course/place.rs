//! Where a run takes place: the files, a host for everybody where there are labs, loopback where there are none.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Plan;
use crate::house::clients::Client;
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::free_port;
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::{self, chance, skip};

/// The host of the tracker, of the seeder, and of the first visitor.
pub const TRACKER: usize = 0;
pub const SEEDER: usize = 1;
const FIRST_VISITOR: usize = 2;

/// Ports of the tracker, and of everybody for peers, where each has a host of its own.
const TRACKER_PORT: u16 = 5000;
const PEER_PORT: u16 = 6881;

/// The room that a run needs: the files twice, and one for each visitor.
const NEEDS: u64 = 3 << 30;

/// A place with its files.
pub struct Place {
    pub torrents: Vec<Torrent>,
    /// Who comes and goes: the clients of the plan that there are here.
    pub visitors: Vec<Client>,
    pub tracker_port: u16,
    lab: Option<Lab>,
    folder: TempDir,
}

impl Place {
    /// Makes hosts and files. Says aloud what there is not.
    pub fn furnish(plan: &Plan) -> Place {
        let lab = Lab::available().map(|()| Lab::new(FIRST_VISITOR + plan.visitors.len()));
        let lab = lab.inspect_err(|reason| skip("link cuts of the soak", reason)).ok();
        let is_here = |client: &Client| match (client, &lab) {
            (Client::Transmission, None) => Err("it refuses peers on loopback".to_owned()),
            _ => client.available(),
        };
        let mut visitors = plan.visitors.clone();
        visitors.retain(|client| {
            is_here(client).inspect_err(|why| skip(&format!("{} in the soak", client.name()), why)).is_ok()
        });
        if let Some(lab) = &lab {
            (FIRST_VISITOR..FIRST_VISITOR + visitors.len()).for_each(|host| lab.limit_link(host, plan.mbit));
        }
        let tracker_port = if lab.is_some() { TRACKER_PORT } else { free_port() };
        let folder = roomy_folder();
        let mut place = Place { torrents: Vec::new(), visitors, tracker_port, lab, folder };
        place.torrents = (0..plan.files).map(|number| place.torrent(number, plan.largest_mib)).collect();
        place
    }

    /// A new file and its `.torrent`. The odd lengths make a short last piece.
    fn torrent(&self, number: u64, largest_mib: u64) -> Torrent {
        let length = (1 + number % largest_mib) * (1 << 20) + number;
        let content = Content::one_of_many(&self.path().join("source"), number, length);
        let announce = [format!("{}/announce", self.tracker_url())];
        Torrent::write(&self.path().join(format!("{}.torrent", content.name)), &content, PIECE_LENGTH, &announce)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder that a visitor may throw away.
    pub fn folder_for(&self, seat: usize) -> PathBuf {
        self.path().join(format!("visitor-{seat}"))
    }

    pub fn host(&self, number: usize) -> Host {
        self.lab.as_ref().map_or_else(Host::here, |lab| lab.host(number).clone())
    }

    /// The number of a visitor's host.
    pub fn host_of(&self, seat: usize) -> usize {
        FIRST_VISITOR + seat
    }

    /// A port for peers on a host.
    pub fn peer_port(&self) -> u16 {
        if self.lab.is_some() { PEER_PORT } else { free_port() }
    }

    pub fn tracker_url(&self) -> String {
        format!("http://{}:{}", self.host(TRACKER).address, self.tracker_port)
    }

    /// Whether hosts have links.
    pub fn has_links(&self) -> bool {
        self.lab.is_some()
    }

    /// Cuts the link of a host, or mends it.
    pub fn plug_link(&self, host: usize, plugged: bool) {
        if let Some(lab) = &self.lab {
            lab.plug_link(host, plugged);
        }
    }

    pub fn describe(&self, plan: &Plan) -> String {
        let bytes: u64 = self.torrents.iter().map(|torrent| torrent.content.length()).sum();
        let counts = Client::ALL.map(|client| (client, self.visitors.iter().filter(|one| **one == client).count()));
        let counts: Vec<String> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(client, n)| format!("{n} {}", client.name())).collect();
        let links = match &self.lab {
            Some(_) => format!("a host each with a link of {} Mbit/s", plan.mbit),
            None => "all on loopback".to_owned(),
        };
        format!("{} MiB in all; visitors: {}; {links}", bytes >> 20, counts.join(", "))
    }

    /// One of the files: half of the time the one that everybody wants at the moment.
    pub fn choose(&self, fashion: u64) -> &Torrent {
        let count = self.torrents.len() as u64;
        let number = if chance(2) == 0 { fashion % count } else { chance(count) };
        &self.torrents[number as usize]
    }
}

/// In memory where there is room, so that an hour of files wears out no disk; under `target/` otherwise.
fn roomy_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |room| room.f_bavail * room.f_frsize);
    if free < NEEDS {
        return house::folder();
    }
    let folder = tempfile::Builder::new().prefix("minitorrent-soak-").tempdir_in(memory).unwrap();
    house::folder_for_all(folder.path());
    folder
}
