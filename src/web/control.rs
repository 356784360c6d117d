//! What is changed from the page: pause, resume, remove, limits, login. Each comes as JSON or as the fields of a form, and is
//! answered in JSON or by going back to the page.

use std::{collections::BTreeMap, fmt};

use percent_encoding::percent_decode;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{
    NodeOrder, Site,
    access::{COOKIE_TIME, cookie_name},
    api,
    failure::HttpFailure,
    library::LibraryEntry,
    receive::receive_whole,
};
use crate::{
    http::{Reply, Request},
    metainfo::InfoHash,
    text::parse_size,
};

/// The longest path that a form goes back to, in bytes.
const MAX_BACK: usize = 200;

/// What is to be done with one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
    /// Stop and forget.
    Remove,
    /// Bound its rates.
    Limits,
}

/// Fields of a form, or of a JSON object: texts and numbers alike.
#[derive(Debug, Default)]
pub struct SentFields(BTreeMap<String, String>);

/// `POST /api/files/HASH/…`
pub fn change(site: &Site, request: &mut Request<'_>, hash: &str, verb: Verb) -> Result<Reply, HttpFailure> {
    site.access.check_control(request, site.swarms.names())?;
    let fields = SentFields::read(request)?;
    let view = api::view(site, &site.viewer(request), hash)?;
    let hash: InfoHash = hash.parse().map_err(|_| HttpFailure::new(404, "there is no such file on this page"))?;
    let is_here = site.board.torrent(&hash).is_some();
    if !is_here && verb != Verb::Remove {
        return Err(HttpFailure::new(409, format!("{} is not on this machine; others have it", view.file.name)));
    }
    let order = match verb {
        Verb::Pause => NodeOrder::Pause(hash),
        Verb::Resume => NodeOrder::Resume(hash),
        Verb::Remove => NodeOrder::Remove(hash),
        Verb::Limits => {
            NodeOrder::Limit { torrent: Some(hash), upload: fields.rate("upload")?, download: fields.rate("download")? }
        }
    };
    if is_here {
        site.order(order).map_err(|sentence| HttpFailure::new(409, sentence))?;
    }
    if verb == Verb::Remove {
        remove(site, hash)?;
        return Ok(done(request, &fields, "/"));
    }
    Ok(done(request, &fields, came_from(request).unwrap_or(&format!("/files/{hash}"))))
}

/// Takes a file off the page; an upload's content goes with it.
fn remove(site: &Site, hash: InfoHash) -> Result<(), HttpFailure> {
    site.swarms.unfollow(&hash);
    let Some(shelf) = &site.shelf else { return Ok(()) };
    let Some((name, entry)) = shelf.library.find_hash(hash) else { return Ok(()) };
    log::info!("{name:?} is removed{}", if LibraryEntry::is_upload(&entry) { " with its content" } else { "" });
    shelf.library.remove(&name).map_err(|error| HttpFailure::of_disk(&error))
}

/// `POST /api/limits`: of all transfers together.
pub fn limit_all(site: &Site, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    site.access.check_control(request, site.swarms.names())?;
    let fields = SentFields::read(request)?;
    let (upload, download) = (fields.rate("upload")?, fields.rate("download")?);
    let order = NodeOrder::Limit { torrent: None, upload, download };
    site.order(order).map_err(|sentence| HttpFailure::new(409, sentence))?;
    site.set_limits(upload, download);
    Ok(done(request, &fields, came_from(request).unwrap_or("/")))
}

/// `GET /control?token=…`: the link that the program printed. A browser goes on to the page at once, so that the token does not stay
/// in its address bar.
pub fn open_link(site: &Site, request: &Request<'_>) -> Result<Reply, HttpFailure> {
    site.access.check_home(request, site.swarms.names())?;
    let back = Reply::text(303, "done").with("Location", "/").with("Cache-Control", "no-store");
    // Opened again, as from a bookmark, by a browser that has control.
    if site.access.has_login(request) {
        return Ok(back);
    }
    let token = site.access.open_link(request)?;
    // Lax, since the link may be opened from a mail or a chat; a change is no navigation, so no other site has one sent along with it.
    let cookie =
        format!("{}={token}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", cookie_name(request), COOKIE_TIME.as_secs());
    Ok(back.with("Set-Cookie", &cookie))
}

/// `POST /login`
pub fn log_in(site: &Site, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    site.access.check_home(request, site.swarms.names())?;
    let fields = SentFields::read(request)?;
    let password = fields.get("password").ok_or_else(|| HttpFailure::new(400, "the field password is missing"))?;
    let token = site.access.log_in(request, site.swarms.names(), password)?;
    let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", cookie_name(request));
    Ok(done(request, &fields, came_from(request).unwrap_or("/")).with("Set-Cookie", &cookie))
}

/// `POST /logout`
pub fn log_out(site: &Site, request: &mut Request<'_>) -> Result<Reply, HttpFailure> {
    let fields = SentFields::read(request)?;
    site.access.log_out(request);
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", cookie_name(request));
    Ok(done(request, &fields, "/").with("Set-Cookie", &cookie))
}

/// The answer to a change: `{"done":true}` for programs, the page again for a form.
pub fn done(request: &Request<'_>, fields: &SentFields, back: &str) -> Reply {
    if wants_json(request) {
        return api::json(&serde_json::json!({ "done": true }));
    }
    // Nowhere but to a page of this machine.
    let is_own = |path: &&str| {
        path.len() <= MAX_BACK && path.starts_with('/') && !path.starts_with("//") && !path.contains('\\')
    };
    let back = [fields.get("back"), Some(back)].into_iter().flatten().find(is_own).unwrap_or("/");
    Reply::text(303, "done").with("Location", back)
}

/// The page that a form was sent from: one of this machine's, since no other may send any.
fn came_from<'a>(request: &Request<'a>) -> Option<&'a str> {
    let (_, rest) = request.field("referer")?.split_once("://")?;
    Some(&rest[rest.find('/')?..])
}

/// Whether an answer is for a program.
pub fn wants_json(request: &Request<'_>) -> bool {
    let holds = |name: &str| request.field(name).is_some_and(|value| value.contains("application/json"));
    holds("accept") || holds("content-type")
}

/// A text, a number as text, or null. Anything else is refused where it begins, before memory is taken for what is in it.
struct SentValue(Option<String>);

impl<'de> Deserialize<'de> for SentValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SentValue, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = SentValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SentValue, E> {
                Ok(SentValue(Some(text.to_owned())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<SentValue, E> {
                Ok(SentValue(Some(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SentValue, E> {
                Ok(SentValue(Some(number.to_string())))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<SentValue, E> {
                Ok(SentValue(Some(number.to_string())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<SentValue, E> {
                Ok(SentValue(None))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

impl SentFields {
    /// Reads a small body, which is there as a whole.
    pub fn read(request: &mut Request<'_>) -> Result<SentFields, HttpFailure> {
        // The door holds it to that.
        let body = receive_whole(request, u64::MAX, || HttpFailure::new(413, "the body is too long"))?;
        let content_type = request.field("content-type").unwrap_or_default();
        if body.is_empty() {
            return Ok(SentFields::default());
        }
        if content_type.starts_with("application/json") {
            return SentFields::of_json(&body);
        }
        if content_type.starts_with("application/x-www-form-urlencoded") {
            return Ok(SentFields::of_form(&body));
        }
        Err(HttpFailure::new(415, "this takes application/json or application/x-www-form-urlencoded"))
    }

    /// The fields of a JSON object.
    pub fn of_json(body: &[u8]) -> Result<SentFields, HttpFailure> {
        let sent: BTreeMap<String, SentValue> =
            serde_json::from_slice(body).map_err(|error| HttpFailure::new(400, format!("the body: {error}")))?;
        let said = sent.into_iter().filter_map(|(name, SentValue(value))| Some((name, value?)));
        Ok(SentFields(said.collect()))
    }

    /// The fields of a form.
    pub fn of_form(body: &[u8]) -> SentFields {
        let text = |bytes: &[u8]| {
            let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_decode(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let fields = pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (text(&pair[..at]), text(&pair[at + 1..])),
            None => (text(pair), String::new()),
        });
        SentFields(fields.collect())
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Bytes a second, such as `512000`, `500K` or `10M`; 0 or an empty field for no limit, nothing where there is no such field.
    fn rate(&self, name: &str) -> Result<Option<u64>, HttpFailure> {
        let Some(text) = self.get(name).map(str::trim) else { return Ok(None) };
        if text.is_empty() {
            return Ok(Some(0));
        }
        let sentence = || format!("{name} must be bytes a second, such as 500K or 10M, and 0 for no limit");
        parse_size(text).map(Some).ok_or_else(|| HttpFailure::new(400, sentence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_same_in_json_and_in_a_form() {
        let json = SentFields::of_json(b"{\"upload\":512000,\"download\":\"1 M\",\"x\":null}").unwrap();
        let form = SentFields::of_form(b"upload=512000&download=1+%4D&&y");
        for fields in [&json, &form] {
            assert_eq!((fields.get("upload"), fields.get("download")), (Some("512000"), Some("1 M")));
        }
        assert_eq!((json.get("x"), form.get("y")), (None, Some("")));
        for bad in ["", "[]", "1", "{\"a\":[]}", "{\"a\":{}}", "{\"a\":true}", "{"] {
            assert!(SentFields::of_json(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = SentFields::of_json(b"{\"a\":[not even read");
        assert_eq!(
            long.unwrap_err().sentence,
            "the body: invalid type: sequence, expected a text or a number at line 1 column 6"
        );
    }

    #[test]
    fn a_rate_has_a_unit_or_none_and_nothing_said_changes_nothing() {
        let rate = |text: &str| SentFields::of_form(format!("upload={text}").as_bytes()).rate("upload");
        assert_eq!(rate("512000").unwrap(), Some(512_000));
        assert_eq!((rate("500k").unwrap(), rate("").unwrap(), rate("0").unwrap()), (Some(512_000), Some(0), Some(0)));
        assert_eq!(SentFields::default().rate("upload").unwrap(), None);
        for bad in ["-1", "1.5", "x", "K", "1T", "99999999999G"] {
            assert_eq!(rate(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
