//! A connection before and while it is a session: admission can see whether blocks pass on it, and close it.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
};

use super::share::Traffic;

/// One connection to a peer.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    pub(super) socket: Arc<TcpStream>,
    pub(super) traffic: Arc<Traffic>,
}

impl PeerConnection {
    /// A connection on which nothing has passed.
    pub fn new(socket: TcpStream) -> PeerConnection {
        PeerConnection { socket: Arc::new(socket), traffic: Arc::default() }
    }

    /// Bytes of blocks that have passed on it, either way.
    pub fn moved(&self) -> u64 {
        self.traffic.uploaded.load(Ordering::Relaxed) + self.traffic.downloaded.load(Ordering::Relaxed)
    }

    /// Closes it for its reader and its writer.
    pub fn hang_up(&self) {
        // Fails where the other side was first; it is closed then as well.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
