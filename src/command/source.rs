//! Where a metainfo comes from: a path or an http(s) URL, either form, told apart by content.

use std::{fs::File, path::Path, time::Duration};

use crate::{
    announce::client::{AnnounceError, Client, Reach},
    metainfo::Metainfo,
    net::read_bounded,
    node::Failure,
};

/// The longest metainfo that is read, in bytes: one of 8 Mi pieces in JSON is longer, one that anybody made is not.
const MAX_BYTES: u64 = 256 << 20;

/// How long a metainfo may take to come from a URL.
const MAX_TIME: Duration = Duration::from_secs(60);

/// The URL that this names, if it is no path.
pub fn url(meta: &Path) -> Option<&str> {
    meta.to_str().filter(|text| !is_magnet(meta) && text.contains("://"))
}

/// Whether this is a magnet link (BEP 9), whose trackers may be URLs.
fn is_magnet(meta: &Path) -> bool {
    meta.as_os_str().as_encoded_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"magnet:"))
}

/// Reads a metainfo.
pub fn read(meta: &Path) -> Result<Metainfo, Failure> {
    let bytes = url(meta).map_or_else(|| read_file(meta), download)?;
    Metainfo::read(&bytes).map_err(|error| Failure::about(meta.display(), error))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::about(path.display(), error);
    if is_magnet(path) {
        return Err(about(&"a magnet link does not describe the pieces; the .torrent or the JSON metainfo does"));
    }
    let file = File::open(path).map_err(|error| about(&error))?;
    let bytes = read_bounded(file, MAX_BYTES).map_err(|error| about(&error))?;
    bytes.ok_or_else(|| about(&format_args!("longer than {MAX_BYTES} bytes, which no metainfo is")))
}

fn download(url: &str) -> Result<Vec<u8>, Failure> {
    let body = Client::new(0)
        .get(url, MAX_TIME, MAX_BYTES, Reach::Anywhere)
        .map_err(|error| Failure::about(url, said(error)))?;
    if !(200..300).contains(&body.status) {
        return Err(Failure::about(url, format_args!("the server answers with HTTP status {}", body.status)));
    }
    Ok(body.bytes)
}

/// The client speaks of trackers; here it asked for a metainfo.
fn said(error: AnnounceError) -> String {
    match error {
        AnnounceError::Scheme(_) => "a metainfo is read from a path or an http(s) URL".to_owned(),
        AnnounceError::Url(why) => format!("this URL cannot be asked: {why}"),
        AnnounceError::Unreachable(error) => format!("the server cannot be reached: {error}"),
        AnnounceError::Timeout => "the server did not answer in time".to_owned(),
        AnnounceError::Http(why) => format!("the server speaks no proper HTTP: {why}"),
        AnnounceError::TooLarge(limit) => format!("longer than {limit} bytes, which no metainfo is"),
        AnnounceError::Redirects => "the server redirects without end".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magnet_link_is_called_one_whatever_its_trackers_look_like() {
        for link in ["magnet:?xt=urn:btih:aa", "MAGNET:?xt=a&tr=udp://tracker:80", "magnet:?tr=http%3A%2F%2Fa"] {
            assert!(read(Path::new(link)).unwrap_err().to_string().contains("a magnet link does not"), "{link}");
        }
        assert!(url(Path::new("HTTP://a/b.json")).is_some() && url(Path::new("a.json")).is_none());
    }
}
