//! Reading the body of a request as it comes, and no further than a limit.

use std::io::{self, Read};

use super::failure::HttpFailure;
use crate::http::Request;

/// Bytes read at once; with it, memory does not depend on the body.
pub const READ_LENGTH: usize = 128 * 1024;

/// Hands a body to `take`, stretch by stretch. One longer than `limit` bytes is refused by `too_long`, before its first byte where its length
/// is announced.
pub fn receive(
    request: &mut Request<'_>,
    limit: u64,
    too_long: impl Fn() -> HttpFailure,
    mut take: impl FnMut(&[u8]) -> Result<(), HttpFailure>,
) -> Result<(), HttpFailure> {
    let announced = request.field("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut buffer = vec![0; READ_LENGTH];
    loop {
        let count = request.body.read(&mut buffer).map_err(broken)?;
        if request.body.received() > limit {
            return Err(too_long());
        }
        match count {
            0 => return Ok(()),
            count => take(&buffer[..count])?,
        }
    }
}

/// The same, all in memory.
pub fn receive_whole(
    request: &mut Request<'_>,
    limit: u64,
    too_long: impl Fn() -> HttpFailure,
) -> Result<Vec<u8>, HttpFailure> {
    let mut bytes = Vec::new();
    receive(request, limit, too_long, |stretch| {
        bytes.extend_from_slice(stretch);
        Ok(())
    })?;
    Ok(bytes)
}

/// The refusal of a body that broke off.
pub fn broken(error: io::Error) -> HttpFailure {
    let status = if error.kind() == io::ErrorKind::TimedOut { 408 } else { 400 };
    HttpFailure::new(status, error.to_string())
}
