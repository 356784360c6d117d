//! The ports at which peers connect to this process: the main one, and those that uploads asked for.

use std::{
    collections::HashMap,
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    net::PortChoice,
    node::{Failure, udp::UdpThread, utp},
    seeder::{Admission, Listener},
    session::LocalPeer,
};

/// How many further ports uploads may ask for: each is a listener of the process.
pub const MAX_PORTS: usize = 16;

/// The open ports of one process, all with one gate behind them.
pub struct Ports {
    gate: Arc<Admission>,
    main: u16,
    open: Mutex<HashMap<u16, PeerPort>>,
}

/// One port: peers connect to it by TCP, and are told there that they do not by uTP.
struct PeerPort {
    listener: Listener,
    _utp: Option<UdpThread>,
}

impl PeerPort {
    fn open(choice: PortChoice, gate: Arc<Admission>) -> io::Result<PeerPort> {
        let listener = Listener::open(choice, gate)?;
        let port = listener.port();
        let utp = utp::reset(port).inspect_err(|error| {
            log::warn!("peers that try uTP first come later: UDP port {port} cannot be opened: {error}");
        });
        Ok(PeerPort { listener, _utp: utp.ok() })
    }
}

impl Ports {
    /// Opens the main port.
    pub fn open(choice: PortChoice, host: &LocalPeer, gate: Arc<Admission>) -> Result<Ports, Failure> {
        let (PortChoice::Asked(wanted) | PortChoice::From(wanted)) = choice;
        let opened = PeerPort::open(choice, gate.clone()).map_err(|error| {
            Failure::listening(format_args!("port {wanted} for peers"), &error, "--port and --seed-port take another")
        })?;
        let main = opened.listener.port();
        host.set_port(main);
        Ok(Ports { gate, main, open: Mutex::new(HashMap::from([(main, opened)])) })
    }

    /// The main port.
    pub fn main(&self) -> u16 {
        self.main
    }

    /// Opens a further port, unless it is open; the sentence of an error says what is done instead.
    pub fn also(&self, port: u16) -> Result<u16, Failure> {
        let count = {
            let open = self.lock();
            if open.contains_key(&port) {
                return Ok(port);
            }
            open.len()
        };
        let instead = self.main;
        if count > MAX_PORTS {
            return Err(Failure::new(format!("{MAX_PORTS} further ports are open already; seeded on {instead}")));
        }
        match PeerPort::open(PortChoice::Asked(port), self.gate.clone()) {
            Ok(opened) => {
                self.lock().insert(port, opened);
                Ok(port)
            }
            // Of two that ask for the same port at once, one opens it for both.
            Err(_) if self.lock().contains_key(&port) => Ok(port),
            Err(error) => Err(Failure::new(format!("port {port} cannot be had ({error}); seeded on {instead}"))),
        }
    }

    /// Closes them all; sessions go on.
    pub fn close(&self) {
        let open = mem::take(&mut *self.lock());
        drop(open);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, PeerPort>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
