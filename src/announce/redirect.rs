//! Where a redirect leads. Pure; whether it may be followed is for [`reach`](super::reach) to say.

use ureq::{
    Body,
    http::{Response, header::LOCATION},
};

/// What a response names as the place to ask instead, if it is a redirect that names one.
pub fn location(response: &Response<Body>) -> Option<&str> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

/// The URL of a redirect from `base`: whole, or a part of one that the rest is taken over for (RFC 3986, section 5.2).
pub fn joined(base: &str, location: &str) -> String {
    let is_whole = location.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    let Some((scheme, rest)) = base.split_once("://").filter(|_| !is_whole) else { return location.to_owned() };
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    let (authority, rest) = rest.find(['/', '?', '#', '\\']).map_or((rest, ""), |at| rest.split_at(at));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let kept = match location.as_bytes().first() {
        Some(b'/') => "",
        Some(b'?') => path,
        _ => path.rfind('/').map_or("/", |end| &path[..=end]),
    };
    format!("{scheme}://{authority}{kept}{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_may_be_whole_or_a_part() {
        let base = "https://me@a.example:81/x/y?z=/q#f";
        for (location, joined_to) in [
            ("http://b/c", "http://b/c"),
            ("file:///etc", "file:///etc"),
            ("//b/c", "https://b/c"),
            ("/c", "https://me@a.example:81/c"),
            ("/login?next=http://b/", "https://me@a.example:81/login?next=http://b/"),
            ("c", "https://me@a.example:81/x/c"),
            ("?c", "https://me@a.example:81/x/y?c"),
        ] {
            assert_eq!(joined(base, location), joined_to);
        }
        assert_eq!(joined("http://a", "c"), "http://a/c");
        assert_eq!(joined("http://a?q", "?c"), "http://a?c");
    }
}
