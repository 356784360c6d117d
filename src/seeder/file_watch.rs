//! Notices that files which are seeded were changed by somebody else: a thread that looks at their size and time whenever it is
//! asked to, so that no coordinator waits for the disk.

use std::{io, sync::Arc, thread};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{session::SharedTorrent, storage};

/// Torrents that may wait to be looked at. One that finds no room is looked at a second later.
const MAX_WAITING: usize = 64;

/// The thread's stack, in bytes.
const STACK: usize = 256 * 1024;

/// A torrent whose files are not as they were, and why.
pub type Changed = (Arc<SharedTorrent>, storage::StorageError);

/// How the thread is asked, and how it answers. It ends when this is dropped.
#[derive(Debug)]
pub struct FileWatch {
    looks: Sender<Arc<SharedTorrent>>,
    changed: Receiver<Changed>,
}

impl FileWatch {
    /// Starts the thread.
    pub fn start() -> io::Result<FileWatch> {
        let (looks, to_look) = bounded::<Arc<SharedTorrent>>(MAX_WAITING);
        let (tell, changed) = bounded(MAX_WAITING);
        thread::Builder::new().name("file watch".into()).stack_size(STACK).spawn(move || {
            for share in to_look {
                if let Err(error) = share.check()
                    && tell.send((share, error)).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(FileWatch { looks, changed })
    }

    /// Has the files of a torrent looked at soon.
    pub fn look_at(&self, share: &Arc<SharedTorrent>) {
        // A queue that is full holds this torrent already, or the disk is too slow to be asked more.
        let _ = self.looks.try_send(share.clone());
    }

    /// What was found to have changed.
    pub fn changed(&self) -> &Receiver<Changed> {
        &self.changed
    }
}
