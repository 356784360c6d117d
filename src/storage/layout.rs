//! Where a range of the torrent lies in its files (pure).
//!
//! A torrent is its files laid end to end (BEP 3, "info dictionary"). Pad files (BEP 47) are zeros that no disk holds;
//! symlinks and empty files take no bytes at all and never turn up here.

use std::ops::Range;

use crate::metainfo::{File, FileKind};

/// A stretch of the torrent that lies in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// What holds it.
    pub place: FilePlace,
    /// How long it is, in bytes; never 0.
    pub length: u64,
}

/// What holds an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePlace {
    /// A file, by its number in the metainfo.
    File {
        /// The file's number.
        index: usize,
        /// Where in the file the extent begins, in bytes.
        at: u64,
    },
    /// Nothing: these bytes are zeros by definition.
    Zeros,
}

/// The extents that make up `range` of the torrent, in order and without gaps.
///
/// `files` are a metainfo's: laid end to end, ascending by offset.
pub fn extents(files: &[File], range: Range<u64>) -> impl Iterator<Item = Extent> + '_ {
    let first = files.partition_point(|file| file.offset + file.length <= range.start);
    let within = files.iter().enumerate().skip(first).take_while(move |(_, file)| file.offset < range.end);
    within.filter(|(_, file)| file.length > 0).map(move |(index, file)| {
        let start = range.start.max(file.offset);
        let end = range.end.min(file.offset + file.length);
        let place = match file.kind {
            FileKind::Pad => FilePlace::Zeros,
            FileKind::Normal | FileKind::Symlink => FilePlace::File { index, at: start - file.offset },
        };
        Extent { place, length: end - start }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(lengths: &[(u64, FileKind)]) -> Vec<File> {
        let mut offset = 0;
        let file = |&(length, kind): &(u64, FileKind)| {
            offset += length;
            File { path: "f".into(), length, offset: offset - length, kind, is_executable: false }
        };
        lengths.iter().map(file).collect()
    }

    fn found(files: &[File], range: Range<u64>) -> Vec<(Option<(usize, u64)>, u64)> {
        let place = |place| match place {
            FilePlace::File { index, at } => Some((index, at)),
            FilePlace::Zeros => None,
        };
        extents(files, range).map(|extent| (place(extent.place), extent.length)).collect()
    }

    #[test]
    fn a_range_is_cut_at_the_borders_of_files() {
        use FileKind::*;
        let files = files(&[(0, Normal), (5, Normal), (0, Symlink), (3, Pad), (0, Normal), (4, Normal), (0, Normal)]);
        assert_eq!(found(&files, 0..12), [(Some((1, 0)), 5), (None, 3), (Some((5, 0)), 4)]);
        assert_eq!(found(&files, 4..6), [(Some((1, 4)), 1), (None, 1)]);
        assert_eq!(found(&files, 5..8), [(None, 3)]);
        assert_eq!(found(&files, 8..9), [(Some((5, 0)), 1)]);
        assert_eq!(found(&files, 11..12), [(Some((5, 3)), 1)]);
    }

    #[test]
    fn every_range_is_covered_byte_by_byte() {
        use FileKind::*;
        let files = files(&[(2, Normal), (1, Pad), (0, Normal), (3, Normal), (1, Normal), (2, Pad)]);
        let byte = |at: u64| found(&files, at..at + 1)[0].0;
        for start in 0..9 {
            for end in start + 1..=9 {
                let mut at = start;
                for (place, length) in found(&files, start..end) {
                    for step in 0..length {
                        assert_eq!(byte(at), place.map(|(index, from)| (index, from + step)), "{start}..{end}");
                        at += 1;
                    }
                }
                assert_eq!(at, end);
            }
        }
    }
}
