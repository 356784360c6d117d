//! Where a metainfo comes from: a path or an http(s) URL, either form, told apart by content.

use std::{fs::File, io::Read, path::Path, time::Duration};

use super::Failure;
use crate::{metainfo::Metainfo, tracker::client::Client};

/// The longest metainfo that is read, in bytes: one of 8 Mi pieces in JSON is longer, one that anybody made is not.
const MAX_BYTES: u64 = 256 << 20;

/// How long a metainfo may take to come from a URL.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Whether this names a URL rather than a path.
pub fn is_url(meta: &str) -> bool {
    meta.contains("://")
}

/// Reads a metainfo.
pub fn read(meta: &str) -> Result<Metainfo, Failure> {
    let bytes = if is_url(meta) { download(meta)? } else { read_file(Path::new(meta))? };
    Metainfo::read(&bytes).map_err(|error| Failure::about(meta, error))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::about(path.display(), error);
    let file = File::open(path).map_err(|error| about(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| about(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(about(&format_args!("longer than {MAX_BYTES} bytes, which no metainfo is")));
    }
    Ok(bytes)
}

fn download(url: &str) -> Result<Vec<u8>, Failure> {
    let body = Client::new(0).get(url, MAX_TIME, MAX_BYTES).map_err(|error| Failure::about(url, error))?;
    if !(200..300).contains(&body.status) {
        return Err(Failure::about(url, format_args!("the server answers with HTTP status {}", body.status)));
    }
    Ok(body.bytes)
}
