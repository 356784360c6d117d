//! Which machines a URL may lead to.

use std::net::{IpAddr, SocketAddr};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use crate::{announce::error::AnnounceError, net};

/// Which machines a URL may lead to, by whatever name, spelling or redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Any: a user of this machine named the URL.
    Anywhere,
    /// Any but this one, whose programs may trust whoever asks from here: somebody elsewhere named the URL.
    OtherMachines,
}

impl Reach {
    /// Refuses addresses among which there is one that must not be asked: a name that leads both here and elsewhere leads here.
    pub fn check(self, mut found: impl Iterator<Item = IpAddr>) -> Result<(), AnnounceError> {
        if self == Reach::Anywhere {
            return Ok(());
        }
        let own = net::own_addresses();
        found.find(|ip| net::is_this_machine(*ip, &own)).map_or(Ok(()), |ip| Err(AnnounceError::ThisMachine(ip)))
    }
}

/// Looks names up as ureq does, and gives no address of this machine. A name is looked up once for each connection, and what was
/// checked is what is connected to: a name server that answers otherwise the second time changes nothing (DNS rebinding).
#[derive(Debug, Default)]
pub struct OtherMachines<R = DefaultResolver>(pub R);

impl<R: Resolver> Resolver for OtherMachines<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let checked = Reach::OtherMachines.check(found.iter().map(SocketAddr::ip));
        checked.map(|()| found).map_err(|error| ureq::Error::Other(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, ErrorKind, Write},
        net::TcpListener,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
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
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), OtherMachines(resolver.clone()));
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
        for ip in net::own_addresses() {
            let own = fickle(&[SocketAddr::new(ip, here.port())]);
            assert_eq!(refusal(&own, "http://lan.example/"), Some(ip));
        }
        assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_redirect_to_a_name_that_leads_here_is_not_followed() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = first.accept().unwrap();
            BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = "HTTP/1.1 302 Found\r\nLocation: http://inside.example/announce\r\nContent-Length: 0\r\n";
            stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        });
        /// Lets the first name through, as if it led elsewhere.
        #[derive(Debug)]
        struct FirstElsewhere(SocketAddr, OtherMachines<Fickle>);
        impl Resolver for FirstElsewhere {
            fn resolve(
                &self,
                uri: &Uri,
                config: &Config,
                time: NextTimeout,
            ) -> Result<ResolvedSocketAddrs, ureq::Error> {
                if uri.host() != Some("elsewhere.example") {
                    return self.1.resolve(uri, config, time);
                }
                let mut found = self.empty();
                found.push(self.0);
                Ok(found)
            }
        }
        let inside = Fickle(Arc::new((vec![SocketAddr::from(([127, 0, 0, 1], 9))], AtomicUsize::new(0))));
        let resolver = FirstElsewhere(address, OtherMachines(inside.clone()));
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), resolver);
        let error = agent.get("http://elsewhere.example/announce").call().unwrap_err();
        let ureq::Error::Other(error) = error else { panic!("{error}") };
        assert!(matches!(error.downcast_ref(), Some(AnnounceError::ThisMachine(_))), "{error}");
        assert_eq!(inside.0.1.load(Ordering::Relaxed), 1);
        answering.join().unwrap();
    }
}
