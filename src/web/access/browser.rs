//! Announces that a page in somebody's browser sends.

use crate::{http::Request, web::address};

/// Whether a page in somebody's browser made it send this, and none of ours: an `<img>` of an announce would list the visitor's
/// machine with a port of the page's choice.
pub fn is_from_a_page(request: &Request<'_>, public_url: Option<&str>) -> bool {
    // Where it says which page it comes from, that is one of ours, or it is a cross-site request.
    let says = ["origin", "referer"].iter().any(|name| request.field(name).is_some())
        || request.field("sec-fetch-site") == Some("same-origin");
    address::is_cross_site(request, public_url) || (address::is_browser(request) && !says)
}
