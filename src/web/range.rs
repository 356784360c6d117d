//! The `Range` header (RFC 9110, section 14): which part of a file is asked for.

use http_range::{HttpRange, HttpRangeParseError};

/// What of a file is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadRange {
    /// All of it.
    Whole,
    /// Some of it, at least one byte, and all of them within the file.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Bytes.
        length: u64,
    },
    /// What is asked for lies behind the file's end.
    Outside,
}

/// Reads the header for a file of so many bytes. Several ranges at once, and what is malformed, get all of it, as RFC 9110
/// allows.
pub fn stretch(header: &str, length: u64) -> DownloadRange {
    match HttpRange::parse(header, length).as_deref() {
        // The last bytes of an empty file are none, and no Content-Range can say so.
        Ok([HttpRange { length: 0, .. }]) => DownloadRange::Whole,
        Ok([HttpRange { start, length }]) => DownloadRange::Part { start: *start, length: *length },
        Err(HttpRangeParseError::NoOverlap) => DownloadRange::Outside,
        _ => DownloadRange::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_within_the_file_is_a_part_of_it() {
        for (header, part) in [("bytes=0-9", (0, 10)), ("bytes=90-", (90, 10)), ("bytes=-1", (99, 1))] {
            let (start, length) = part;
            assert_eq!(stretch(header, 100), DownloadRange::Part { start, length }, "{header}");
        }
        assert_eq!(stretch("bytes=90-200", 100), DownloadRange::Part { start: 90, length: 10 });
        assert_eq!(stretch("bytes=-200", 100), DownloadRange::Part { start: 0, length: 100 });
    }

    #[test]
    fn what_is_malformed_or_several_is_the_whole_file_and_what_lies_behind_its_end_is_outside() {
        for header in ["bytes=9-0", "bytes=a-b", "pages=1-2", "bytes=0-1,4-5", "", "bytes=-18446744073709551616"] {
            assert_eq!(stretch(header, 100), DownloadRange::Whole, "{header}");
        }
        assert_eq!(stretch("bytes=100-", 100), DownloadRange::Outside);
        assert_eq!(stretch("bytes=0-", 0), DownloadRange::Outside);
    }

    #[test]
    fn the_end_of_an_empty_file_is_the_whole_of_it() {
        assert_eq!(stretch("bytes=-5", 0), DownloadRange::Whole);
    }
}
