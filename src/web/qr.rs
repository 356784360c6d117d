//! `GET /qr.svg?text=URL`: an address of this machine, for a phone's camera.

use fast_qr::{
    QRBuilder,
    convert::{Builder, Shape, svg::SvgBuilder},
};
use percent_encoding::percent_decode_str;

use super::{Site, failure::HttpFailure};
use crate::http::{Reply, Request};

/// The longest text, in bytes: more makes squares too small for a phone across a room.
const MAX_TEXT: usize = 512;

/// Answers with a picture of the text, which must be a URL of this machine: nobody borrows its good name for another.
pub fn svg(site: &Site, request: &Request<'_>) -> Result<Reply, HttpFailure> {
    let text = request.query().split('&').find_map(|pair| pair.strip_prefix("text="));
    let text = text.ok_or_else(|| HttpFailure::new(400, "text=URL is missing"))?;
    let text = percent_decode_str(text).decode_utf8().map_err(|_| HttpFailure::new(400, "the text is not UTF-8"))?;
    if text.len() > MAX_TEXT {
        return Err(HttpFailure::new(400, format!("the text has {} bytes; at most {MAX_TEXT} fit", text.len())));
    }
    let base = site.base_url(request);
    if text.strip_prefix(&base[..]).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')) {
        return Err(HttpFailure::new(400, format!("only addresses of this machine, which begin with {base}/")));
    }
    let code =
        QRBuilder::new(&text[..]).build().map_err(|error| HttpFailure::new(400, format!("no picture: {error:?}")))?;
    let svg = SvgBuilder::default().shape(Shape::Square).to_str(&code);
    Ok(Reply::new(200, "image/svg+xml", svg.into_bytes()).with("Cache-Control", "max-age=3600"))
}
