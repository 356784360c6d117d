//! Which machines a URL may lead to, by whatever name, spelling or redirect, and who decides that for a tracker.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use crate::{
    announce::{error::AnnounceError, hosts::host_of},
    net::{self, FIRST_PEER_PORT},
};

/// What the path of an HTTP tracker on this machine begins with where a metainfo names it. Real clients have the same rule.
const ANNOUNCE_PATH: &str = "/announce";

/// Which machines a URL may lead to. Whatever it is, another machine never redirects to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Any: a user of this machine named the URL.
    Anywhere,
    /// Any, but of this machine only what looks like a tracker: a metainfo named the URL, and so a stranger.
    Trackers,
    /// Any but this one, whose programs may trust whoever asks from here: somebody elsewhere has it asked.
    OtherMachines,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// From the one who named the URL.
    First,
    /// From a server on this machine, which redirected to it.
    FromHere,
    /// From a server on another machine, which redirected to it.
    FromElsewhere,
}

/// How this machine's addresses are found out.
pub type OwnAddresses = fn() -> io::Result<Vec<IpAddr>>;

impl Reach {
    /// Whether a request over HTTP may lead to this machine, at its address `ip`.
    pub fn check_here(self, url: &str, hop: Hop, ip: IpAddr) -> Result<(), AnnounceError> {
        match (self, hop) {
            (Reach::OtherMachines, _) => Err(AnnounceError::ThisMachine(ip)),
            (_, Hop::FromElsewhere) => Err(AnnounceError::RedirectHere(ip)),
            (Reach::Anywhere, _) => Ok(()),
            (Reach::Trackers, _) if is_announce(url) => Ok(()),
            (Reach::Trackers, _) => Err(AnnounceError::ServiceHere(ip)),
        }
    }

    /// Whether a tracker at these addresses may be asked over UDP. What is sent is the same for every tracker until it has answered as one,
    /// so that a port above those of a machine's own services is all that is asked of it here.
    pub fn check_udp(self, found: &[SocketAddr], own: OwnAddresses) -> Result<(), AnnounceError> {
        if self == Reach::Anywhere {
            return Ok(());
        }
        let is_peers = |address: &SocketAddr| self == Reach::Trackers && address.port() >= FIRST_PEER_PORT;
        match check_elsewhere(found.iter().filter(|address| !is_peers(address)).map(SocketAddr::ip), own) {
            Err(AnnounceError::ThisMachine(ip)) if self == Reach::Trackers => Err(AnnounceError::ServiceHere(ip)),
            checked => checked,
        }
    }
}

/// Whether an http(s) URL has the path of a tracker, as the server will see it: no server may read another path out of it.
fn is_announce(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|url| {
        let path = url.path();
        path.starts_with(ANNOUNCE_PATH)
            && !path.contains(['%', '\\', ';'])
            && !path.contains("/.")
            && !path.contains("//")
    })
}

/// Refuses addresses among which there is one of this machine, or may be one: a name that leads both here and elsewhere leads here.
fn check_elsewhere(found: impl Iterator<Item = IpAddr>, own: OwnAddresses) -> Result<(), AnnounceError> {
    let mut found = found.peekable();
    if found.peek().is_none() {
        return Ok(());
    }
    let (own, failure) = own().map_or_else(|error| (Vec::new(), Some(error)), |own| (own, None));
    match (found.find(|ip| net::is_this_machine(*ip, &own)), failure) {
        (Some(ip), _) => Err(AnnounceError::ThisMachine(ip)),
        (None, Some(error)) => Err(AnnounceError::OwnAddresses(error)),
        (None, None) => Ok(()),
    }
}

/// Who named the trackers of a torrent, and so which machines each may lead to.
#[derive(Debug, Clone)]
pub struct TrackerReach {
    /// The URLs that a user of this machine named.
    named: Vec<String>,
    /// The server that the metainfo came from, if it was asked for it by a URL: its user named that one too.
    source: Option<String>,
    others: Reach,
}

impl TrackerReach {
    /// For a torrent that was named on a command line, with these trackers and perhaps by this URL of its metainfo.
    pub fn on_command_line(named: &[String], source: Option<&str>) -> TrackerReach {
        TrackerReach { named: named.to_vec(), source: source.map(host_of), others: Reach::Trackers }
    }

    /// Which machines this tracker may lead to.
    pub fn of(&self, url: &str) -> Reach {
        let is_named = self.named.iter().any(|named| named == url) || self.source.as_ref() == Some(&host_of(url));
        if is_named { Reach::Anywhere } else { self.others }
    }
}

impl From<Reach> for TrackerReach {
    /// The same for every tracker.
    fn from(reach: Reach) -> TrackerReach {
        TrackerReach { named: Vec::new(), source: None, others: reach }
    }
}

/// Looks names up as ureq does, and gives no address of this machine. A name is looked up once for each connection, and what was
/// checked is what is connected to: a name server that answers otherwise the second time changes nothing (DNS rebinding).
#[derive(Debug)]
pub struct OtherMachines<R = DefaultResolver> {
    resolver: R,
    own: OwnAddresses,
}

impl<R> OtherMachines<R> {
    /// The same as this resolver, without this machine's addresses.
    pub fn new(resolver: R) -> OtherMachines<R> {
        OtherMachines { resolver, own: net::own_addresses }
    }
}

impl<R: Resolver> Resolver for OtherMachines<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let checked = check_elsewhere(found.iter().map(SocketAddr::ip), self.own);
        checked.map(|()| found).map_err(|error| ureq::Error::Other(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        net::TcpListener,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use ureq::{Agent, unversioned::transport::DefaultConnector};

    use super::*;

    /// A name server that says something else each time, and then the last for ever.
    #[derive(Debug, Clone)]
    struct Fickle(Arc<(Vec<SocketAddr>, AtomicUsize)>);

    impl Resolver for Fickle {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let (addresses, asked) = &*self.0;
            let mut found = self.empty();
            found.push(addresses[asked.fetch_add(1, Ordering::Relaxed).min(addresses.len() - 1)]);
            Ok(found)
        }
    }

    fn refusal(resolver: &Fickle, url: &str) -> Option<IpAddr> {
        let agent =
            Agent::with_parts(Config::default(), DefaultConnector::default(), OtherMachines::new(resolver.clone()));
        match agent.get(url).call().unwrap_err() {
            ureq::Error::Other(error) => match error.downcast_ref() {
                Some(AnnounceError::ThisMachine(ip)) => Some(*ip),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn a_name_that_leads_here_is_not_connected_to_and_is_looked_up_once() {
        let inside = TcpListener::bind("127.0.0.1:0").unwrap();
        inside.set_nonblocking(true).unwrap();
        let here = inside.local_addr().unwrap();
        let nobody = SocketAddr::from(([192, 0, 2, 1], here.port()));
        let fickle = |addresses: &[SocketAddr]| Fickle(Arc::new((addresses.to_vec(), AtomicUsize::new(0))));
        let rebinding = fickle(&[here, nobody]);
        assert_eq!(refusal(&rebinding, "http://rebind.example/"), Some(here.ip()));
        assert_eq!(rebinding.0.1.load(Ordering::Relaxed), 1, "the answer that was checked is the one that counts");
        for ip in net::own_addresses().unwrap() {
            let own = fickle(&[SocketAddr::new(ip, here.port())]);
            assert_eq!(refusal(&own, "http://lan.example/"), Some(ip));
        }
        assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn of_this_machine_a_metainfo_has_only_trackers_asked_and_another_machine_has_nothing_asked() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let may =
            |reach: Reach, path: &str, hop: Hop| reach.check_here(&format!("http://h:5000{path}"), hop, here).is_ok();
        for path in ["/announce", "/announce?info_hash=1", "/announce.php", "/announce/passkey", "/announce#x"] {
            assert!(may(Reach::Trackers, path, Hop::First) && may(Reach::Trackers, path, Hop::FromHere), "{path}");
        }
        for path in [
            "",
            "/",
            "/admin",
            "?/announce",
            "/?/announce",
            "/#/announce",
            "/Announce",
            "//announce",
            "/x/announce",
            "/announce/../admin",
            "/announce/..",
            "/announce/%2e%2e/admin",
            "/announce/..;/admin",
            "/announce//admin",
            "/announce\\..\\admin",
            "/announce%2f..%2fadmin",
            "/announce x",
        ] {
            assert!(!may(Reach::Trackers, path, Hop::First) && !may(Reach::Trackers, path, Hop::FromHere), "{path}");
            assert!(may(Reach::Anywhere, path, Hop::First) && may(Reach::Anywhere, path, Hop::FromHere), "{path}");
        }
        for reach in [Reach::Anywhere, Reach::Trackers, Reach::OtherMachines] {
            assert!(!may(reach, "/announce", Hop::FromElsewhere), "{reach:?}");
            assert_eq!(may(reach, "/announce", Hop::First), reach != Reach::OtherMachines, "{reach:?}");
        }
    }

    #[test]
    fn over_udp_a_metainfo_has_no_port_of_this_machines_own_services_asked() {
        use Reach::{Anywhere, OtherMachines, Trackers};
        let own: OwnAddresses = || Ok(vec![[10, 0, 0, 5].into()]);
        let unknown: OwnAddresses = || Err(ErrorKind::PermissionDenied.into());
        let table: [(&str, &[Reach], &[Reach]); 7] = [
            ("127.0.0.1:1023", &[Anywhere], &[Anywhere]),
            ("[::ffff:127.0.0.1]:53", &[Anywhere], &[Anywhere]),
            ("10.0.0.5:161", &[Anywhere], &[Anywhere]),
            ("10.0.0.5:6969", &[Anywhere, Trackers], &[Anywhere, Trackers]),
            ("127.0.0.1:1024", &[Anywhere, Trackers], &[Anywhere, Trackers]),
            ("10.0.0.6:80", &[Anywhere, Trackers, OtherMachines], &[Anywhere]),
            ("10.0.0.6:6969", &[Anywhere, Trackers, OtherMachines], &[Anywhere, Trackers]),
        ];
        for (address, may, may_without_a_list) in table {
            let found = [address.parse().unwrap()];
            for reach in [Anywhere, Trackers, OtherMachines] {
                assert_eq!(reach.check_udp(&found, own).is_ok(), may.contains(&reach), "{address} {reach:?}");
                let is_ok = reach.check_udp(&found, unknown).is_ok();
                assert_eq!(is_ok, may_without_a_list.contains(&reach), "{address} {reach:?}, addresses unknown");
            }
        }
        let both = ["10.0.0.6:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
        assert!(matches!(Trackers.check_udp(&both, own), Err(AnnounceError::ServiceHere(_))));
    }

    #[test]
    fn while_this_machines_addresses_are_unknown_nothing_passes_for_another_machine() {
        let nobody = SocketAddr::from(([192, 0, 2, 1], 9));
        let fickle = Fickle(Arc::new((vec![nobody], AtomicUsize::new(0))));
        let resolver = OtherMachines { resolver: fickle, own: || Err(ErrorKind::PermissionDenied.into()) };
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), resolver);
        let ureq::Error::Other(error) = agent.get("http://lan.example/").call().unwrap_err() else {
            panic!("no refusal")
        };
        assert!(matches!(error.downcast_ref(), Some(AnnounceError::OwnAddresses(_))), "{error}");
    }

    #[test]
    fn what_the_user_named_may_lead_anywhere_and_what_only_the_metainfo_names_may_not() {
        let named = ["http://127.0.0.1:9000/t".to_owned()];
        let reach = TrackerReach::on_command_line(&named, Some("http://10.0.0.5:8000/files/it.torrent"));
        for url in ["http://127.0.0.1:9000/t", "http://10.0.0.5:8000/anything", "HTTP://10.0.0.5:8000"] {
            assert_eq!(reach.of(url), Reach::Anywhere, "{url}");
        }
        for url in [
            "http://127.0.0.1:9000/other",
            "http://10.0.0.5:8001/announce",
            "https://10.0.0.5:8000/announce",
            "http://10.0.0.5:8000@127.0.0.1/",
            "http://10.0.0.5/",
            "udp://10.0.0.5:8000",
            "",
        ] {
            assert_eq!(reach.of(url), Reach::Trackers, "{url}");
        }
        assert_eq!(TrackerReach::on_command_line(&[], None).of("http://a/announce"), Reach::Trackers);
        assert_eq!(TrackerReach::from(Reach::OtherMachines).of("http://a/announce"), Reach::OtherMachines);
    }
}
