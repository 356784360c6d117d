//! The listener: a thread that accepts connections on one port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Admission;
use crate::net::{self, PortChoice};

/// How long to wait after accepting failed, which it does when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread's stack, in bytes.
const STACK: usize = 256 * 1024;

/// Where peers connect to us. Dropping it closes the port; sessions go on.
#[derive(Debug)]
pub struct Listener {
    port: u16,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listener {
    /// Opens a port on every address of this machine, IPv6 too where there is any.
    pub fn open(choice: PortChoice, admission: Arc<Admission>) -> io::Result<Listener> {
        let socket = net::listen(choice)?;
        let port = socket.local_addr()?.port();
        let ending = Arc::new(AtomicBool::new(false));
        let accepting = thread::Builder::new().name("accept".into()).stack_size(STACK).spawn({
            let ending = ending.clone();
            move || accept(&socket, &admission, &ending)
        })?;
        Ok(Listener { port, ending, accepting: Some(accepting) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Accepting has no time limit; a connection of our own wakes it.
        let woken =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            let _ = thread.join();
        }
    }
}

fn accept(socket: &TcpListener, admission: &Arc<Admission>, ending: &AtomicBool) {
    while !ending.load(Ordering::Acquire) {
        match socket.accept() {
            Ok(_) if ending.load(Ordering::Acquire) => return,
            Ok((stream, address)) => admission.admit(stream, address.ip()),
            Err(error) => {
                log::warn!("accepting a connection failed: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}
