//! Where a block goes that has arrived: into its piece, in memory or by way of the ledger to the disk. A piece that it completes
//! goes to the hash workers, a block that was requested for another session to the coordinator.

use std::{sync::Arc, time::Instant};

use crate::{
    metainfo::Block,
    policy::{BlockBuffer, Home, Payload, PeerEvent},
    session::{End, IncomingPieces, SessionEvent, SessionHandle},
};

/// Puts a block in its place. May wait for the disk and for the hash workers.
pub fn arrived(handle: &SessionHandle, block: Block, home: Home, buffer: BlockBuffer) -> Result<(), End> {
    let to = handle.share.incoming.as_ref().expect("only who fetches has requests in flight");
    let payload = match home {
        Home::Memory => Payload::Held(buffer),
        // Another may have been asked for it while it came.
        Home::Disk if !handle.requests().claim(block) => {
            handle.count(block.length, |traffic| &traffic.wasted);
            return Ok(());
        }
        Home::Disk => {
            let ledger = to.ledger.upgrade().ok_or(End::ClosedByUs)?;
            if let Err(error) = ledger.write_block(block, &buffer) {
                handle.send(SessionEvent::StorageFailed(Arc::new(error)))?;
                return Err(End::ClosedByUs);
            }
            Payload::Stored
        }
    };
    place(handle, to, block, payload)
}

fn place(handle: &SessionHandle, to: &IncomingPieces, block: Block, payload: Payload) -> Result<(), End> {
    let placed = handle.requests().place(block, payload, Instant::now());
    handle.request(placed.requests);
    if let Some(piece) = placed.finished {
        to.finished.send(piece).map_err(|_| End::ClosedByUs)?;
    }
    if let Some((block, payload)) = placed.endgame_block {
        handle.tell(PeerEvent::EndgameBlock(handle.remote.clone(), block, payload))?;
    }
    if let Some(bytes) = placed.bytes_wanted {
        handle.tell(PeerEvent::BytesWanted(handle.id(), bytes))?;
    }
    Ok(())
}
