//! Writing many buffers to one place in a file with as few system calls as there can be.

use std::{
    fs,
    io::{self, IoSlice},
};

use rustix::io::{pwritev, retry_on_intr};

/// Buffers handed to one `pwritev`: Linux takes no more (`IOV_MAX`).
const MAX_BUFFERS: usize = 1024;

/// Writes `length` bytes of `blocks`, the first `skip` left out, to `at` in the file.
pub(super) fn write_all(
    file: &fs::File,
    at: u64,
    blocks: &[IoSlice<'_>],
    skip: usize,
    length: usize,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let window = window(blocks, skip + done, length - done);
        match retry_on_intr(|| pwritev(file, &window, at + done as u64))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}

/// The buffers that hold at most `take` bytes of `blocks` after the first `skip`; no more than one call takes.
fn window<'a>(blocks: &'a [IoSlice<'_>], mut skip: usize, mut take: usize) -> Vec<IoSlice<'a>> {
    let mut window = Vec::new();
    for block in blocks {
        let start = skip.min(block.len());
        let end = block.len().min(start + take);
        skip -= start;
        take -= end - start;
        if start < end {
            window.push(IoSlice::new(&block[start..end]));
        }
        if take == 0 || window.len() == MAX_BUFFERS {
            break;
        }
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_skips_and_takes_any_number_of_bytes() {
        let bytes: Vec<u8> = (0..9).collect();
        let blocks = [&bytes[..4], &bytes[4..4], &bytes[4..5], &bytes[5..]].map(IoSlice::new);
        for skip in 0..9 {
            for take in 1..=9 - skip {
                let found: Vec<u8> = window(&blocks, skip, take).iter().flat_map(|block| block.to_vec()).collect();
                assert_eq!(found, bytes[skip..skip + take]);
            }
        }
        let many = vec![IoSlice::new(&bytes); MAX_BUFFERS + 1];
        assert_eq!(window(&many, 1, usize::MAX / 2).len(), MAX_BUFFERS);
    }
}
