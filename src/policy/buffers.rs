//! Block buffers: 16 KiB each, taken when a block arrives, back on the shelf when its piece is done with.
//!
//! A block is read from the socket into one, hashed in it and written from it; it is never copied. Memory follows
//! the blocks that are really there, not the pieces that were asked for.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use crate::metainfo::BLOCK_LENGTH;

/// Buffers kept for the next block; more than that go back to the allocator. 4 MiB: what one fast session has under way.
const SHELF: usize = 256;

/// Where block buffers come from and go back to.
#[derive(Debug, Default)]
pub struct Buffers {
    shelf: Mutex<Vec<Box<[u8]>>>,
}

/// One block's bytes.
#[derive(Debug)]
pub struct BlockBuffer {
    bytes: Option<Box<[u8]>>,
    length: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of `length` bytes, at most [`BLOCK_LENGTH`]. Its content is whatever it held before.
    pub fn take(self: &Arc<Self>, length: u32) -> BlockBuffer {
        assert!(length <= BLOCK_LENGTH, "a block of {length} bytes");
        let kept = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| vec![0; BLOCK_LENGTH as usize].into_boxed_slice());
        BlockBuffer { bytes: Some(bytes), length: length as usize, home: self.clone() }
    }
}

impl Deref for BlockBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes.as_deref().expect("only drop takes the bytes")[..self.length]
    }
}

impl DerefMut for BlockBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.as_deref_mut().expect("only drop takes the bytes")[..self.length]
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        let bytes = self.bytes.take().expect("dropped once");
        let mut shelf = self.home.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.len() < SHELF {
            shelf.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_done_with_serves_the_next_block() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take(5);
        first.copy_from_slice(b"hello");
        drop(first);
        assert_eq!(buffers.shelf.lock().unwrap().len(), 1);
        let second = buffers.take(BLOCK_LENGTH);
        assert_eq!((second.len(), &second[..5]), (BLOCK_LENGTH as usize, &b"hello"[..]));
        assert_eq!(buffers.shelf.lock().unwrap().len(), 0);
    }
}
