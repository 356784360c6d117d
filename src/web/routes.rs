//! Which path leads where, and who may use which method there.

use std::{net::IpAddr, sync::Arc};

use tiny_http::Method;

use super::{
    Site, Web,
    access::is_from_a_page,
    add, address,
    api::{self, Here},
    control::{self, Verb},
    download, events,
    failure::HttpFailure,
    form,
    live::kept_as,
    names, program, qr, register,
    swarms::AnswerFormat,
    upload, views,
};
use crate::{
    http::{Head, HttpService, Intake, Reply, Request},
    metainfo::Metainfo,
};

/// Every path, with the methods that it takes as the field `Allow` lists them. `{…}` stands for one part of a path.
const ROUTES: [(&str, &str, RouteTarget); 32] = [
    ("/announce", READ, RouteTarget::Announce(AnswerFormat::Bencode)),
    ("/tracker", READ, RouteTarget::Announce(AnswerFormat::Json)),
    ("/scrape", READ, RouteTarget::Scrape),
    ("/healthz", READ, RouteTarget::Health),
    ("/metrics", READ, RouteTarget::Metrics),
    ("/", READ, RouteTarget::Page(PageRoute::Home)),
    ("/files/{info_hash}", READ, RouteTarget::Page(PageRoute::File)),
    ("/static/{name}", READ, RouteTarget::Page(PageRoute::Static)),
    ("/uploads/{name}", "GET, HEAD, PUT", RouteTarget::Page(PageRoute::Upload)),
    ("/content/{info_hash}", READ, RouteTarget::Page(PageRoute::Content)),
    ("/metainfos/{name}", READ, RouteTarget::Page(PageRoute::Metainfo)),
    ("/upload", "POST", RouteTarget::Page(PageRoute::Form)),
    ("/metainfos", "POST", RouteTarget::Page(PageRoute::Register)),
    ("/control", "GET", RouteTarget::Page(PageRoute::Link)),
    ("/login", "POST", RouteTarget::Page(PageRoute::LogIn)),
    ("/logout", "POST", RouteTarget::Page(PageRoute::LogOut)),
    ("/api/state", READ, RouteTarget::Page(PageRoute::ApiState)),
    ("/api/files", READ, RouteTarget::Page(PageRoute::ApiFiles)),
    ("/api/files/{info_hash}", READ, RouteTarget::Page(PageRoute::ApiFile)),
    ("/api/files/{info_hash}/piece", READ, RouteTarget::Page(PageRoute::ApiPiece)),
    ("/api/files/{info_hash}/pause", "POST", RouteTarget::Page(PageRoute::Change(Verb::Pause))),
    ("/api/files/{info_hash}/resume", "POST", RouteTarget::Page(PageRoute::Change(Verb::Resume))),
    ("/api/files/{info_hash}/remove", "POST", RouteTarget::Page(PageRoute::Change(Verb::Remove))),
    ("/api/files/{info_hash}/limits", "POST", RouteTarget::Page(PageRoute::Change(Verb::Limits))),
    ("/api/limits", "POST", RouteTarget::Page(PageRoute::LimitAll)),
    ("/api/fetch", "POST", RouteTarget::Page(PageRoute::Fetch)),
    ("/api/events", "GET", RouteTarget::Page(PageRoute::Events)),
    ("/api/transfers", READ, RouteTarget::Page(PageRoute::Transfers)),
    ("/api/openapi.json", READ, RouteTarget::Page(PageRoute::Description)),
    ("/qr.svg", READ, RouteTarget::Page(PageRoute::Qr)),
    ("/get", READ, RouteTarget::Page(PageRoute::Script)),
    ("/dist/{name}", READ, RouteTarget::Page(PageRoute::Program)),
];

const READ: &str = "GET, HEAD";

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RouteTarget {
    Announce(AnswerFormat),
    Scrape,
    Health,
    Metrics,
    Page(PageRoute),
}

/// What is there only with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageRoute {
    Home,
    File,
    Static,
    Upload,
    Content,
    Metainfo,
    Form,
    Register,
    Link,
    LogIn,
    LogOut,
    ApiState,
    ApiFiles,
    ApiFile,
    ApiPiece,
    Change(Verb),
    LimitAll,
    Fetch,
    Events,
    Transfers,
    Description,
    Qr,
    Script,
    Program,
}

/// A path that leads somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route<'a> {
    target: RouteTarget,
    /// What stands in the place of `{…}`, still percent-encoded.
    part: &'a str,
    allowed: &'static str,
}

impl<'a> Route<'a> {
    fn of(method: &Method, path: &'a str) -> Option<Route<'a>> {
        let route = ROUTES.iter().find_map(|(pattern, allowed, target)| {
            let part = match_of(pattern, path)?;
            Some(Route { target: *target, part, allowed })
        });
        // curl -T FILE http://HOST/ puts the file's name behind the slash.
        let put = || {
            let part = match_of("/{name}", path).filter(|_| *method == Method::Put)?;
            Some(Route { target: RouteTarget::Page(PageRoute::Upload), part, allowed: "PUT" })
        };
        route.or_else(put)
    }

    fn allows(&self, method: &Method) -> bool {
        self.allowed.split(", ").any(|allowed| allowed == method.as_str())
    }

    /// Whether the body is read as it comes.
    fn is_stream(&self, method: &Method) -> bool {
        match self.target {
            RouteTarget::Page(PageRoute::Form | PageRoute::Register | PageRoute::Fetch) => *method == Method::Post,
            RouteTarget::Page(PageRoute::Upload) => *method == Method::Put,
            _ => false,
        }
    }
}

/// What stands in the place of `{…}`, if the path is of this pattern.
fn match_of<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let (_, after) = rest.split_once('}')?;
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

impl HttpService for Web {
    fn intake(&self, head: &Head) -> Intake {
        let route = Route::of(head.method(), head.path());
        // What is refused anyway is refused before its body is there.
        if head.has_body() && !route.is_some_and(|route| route.allows(head.method())) {
            return Intake::Stream;
        }
        match route {
            Some(route) if route.is_stream(head.method()) => Intake::Stream,
            // A list of many files takes milliseconds to print, and whoever asks for it without end must not hold up these.
            Some(Route { target: RouteTarget::Announce(_) | RouteTarget::Scrape | RouteTarget::Health, .. }) => {
                Intake::Quick
            }
            _ => Intake::Whole,
        }
    }

    fn answer(&self, request: &mut Request<'_>) -> Reply {
        let nothing =
            || HttpFailure::new(404, format!("there is nothing at this address{}", upload_hint(request.method())));
        let Some(route) = Route::of(request.method(), request.path()) else { return secured(nothing().into_reply()) };
        if !route.allows(request.method()) {
            let sentence = format!("only {} is possible here{}", route.allowed, upload_hint(request.method()));
            return secured(Reply::text(405, sentence).with("Allow", route.allowed));
        }
        if let Err(failure) = self.check_host(request, route.target) {
            return secured(failure.into_reply());
        }
        let answered = match (route.target, &self.site) {
            // An image on a page that somebody has open must not list the machine in front of it.
            (RouteTarget::Announce(_) | RouteTarget::Scrape, _) if self.announces && self.is_from_a_page(request) => {
                Err(no_client())
            }
            (RouteTarget::Announce(form), _) if self.announces => Ok(self.swarms.answer_announce(request, form)),
            (RouteTarget::Scrape, _) if self.announces => Ok(self.swarms.answer_scrape(request)),
            (RouteTarget::Health, _) => Ok(Reply::text(200, "ok").with("Minitorrent", self.serves())),
            (RouteTarget::Metrics, _) => Ok(api::metrics(self)),
            (RouteTarget::Page(page), Some(site)) => site.answer(request, page, &route),
            _ => Err(nothing()),
        };
        secured(answered.unwrap_or_else(HttpFailure::into_reply))
    }
}

impl Web {
    /// Holds every route to the rule for the field `Host` that `address` tells.
    fn check_host(&self, request: &Request<'_>, target: RouteTarget) -> Result<(), HttpFailure> {
        let is_open = match target {
            RouteTarget::Health | RouteTarget::Page(PageRoute::Static) => true,
            RouteTarget::Announce(_) | RouteTarget::Scrape | RouteTarget::Page(PageRoute::Metainfo) => {
                !address::is_browser(request)
            }
            RouteTarget::Metrics | RouteTarget::Page(_) => false,
        };
        let is_known = || address::is_nobodys_host(request) || self.swarms.names().is_own_host(request);
        if is_open || is_known() { Ok(()) } else { Err(address::foreign_host(request)) }
    }

    /// What there is here, for a seeder that asks before it tells anything.
    fn serves(&self) -> &'static str {
        match (self.announces, &self.site) {
            (true, Some(_)) => "tracker, page",
            (true, None) => "tracker",
            (false, _) => "page",
        }
    }

    fn is_from_a_page(&self, request: &Request<'_>) -> bool {
        is_from_a_page(request, self.swarms.names().public_url())
    }
}

/// What every answer carries: it is what it says it is, shows nowhere but here, and tells no other site where it came from.
fn secured(reply: Reply) -> Reply {
    let reply = reply.with("X-Content-Type-Options", "nosniff").with("Referrer-Policy", "same-origin");
    // No page of another origin embeds it as an image, a script or a style.
    let reply = reply.with("Cross-Origin-Resource-Policy", "same-origin");
    match reply.has("Content-Security-Policy") {
        true => reply,
        false => reply.with("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    }
}

impl Site {
    fn answer(
        self: &Arc<Site>,
        request: &mut Request<'_>,
        page: PageRoute,
        route: &Route<'_>,
    ) -> Result<Reply, HttpFailure> {
        if matches!(request.method(), Method::Post | Method::Put) {
            self.check_sender(request, route)?;
        }
        let part = route.part;
        match page {
            PageRoute::Home => {
                let viewer = self.viewer(request);
                let here = Here { you: self.you(request), ..Here::of(self, &viewer) };
                let programs = program::programs(self, request);
                let home = || views::home(&here, &api::state::all(self, &viewer), &programs);
                Ok(self.in_turn(|| views::page(200, &here, "minitorrent", home())))
            }
            PageRoute::File => {
                let viewer = self.viewer(request);
                let view = api::view(self, &viewer, part)?;
                let here = Here { you: self.you(request), ..Here::of(self, &viewer) };
                Ok(views::page(200, &here, &view.file.name, views::file(&here, &view)))
            }
            PageRoute::Static => asset(request, part),
            PageRoute::Upload if *request.method() == Method::Put => upload::put(self, request, &decode(part)?),
            PageRoute::Upload => self.upload(request, &decode(part)?),
            PageRoute::Content => self.content(request, part),
            PageRoute::Metainfo => self.metainfo(request, &decode(part)?),
            PageRoute::Form => form::post(self, request),
            PageRoute::Register => register::register(self, request),
            PageRoute::Link => control::open_link(self, request),
            PageRoute::LogIn => control::log_in(self, request),
            PageRoute::LogOut => control::log_out(self, request),
            PageRoute::ApiState => {
                let viewer = self.viewer(request);
                Ok(self.in_turn(|| api::state(self, &viewer)))
            }
            PageRoute::ApiFiles => Ok(self.in_turn(|| api::files(self))),
            PageRoute::ApiFile => api::file(self, &self.viewer(request), part),
            PageRoute::ApiPiece => api::piece(self, request, part),
            PageRoute::Change(verb) => control::change(self, request, part, verb),
            PageRoute::LimitAll => control::limit_all(self, request),
            PageRoute::Fetch => add::fetch(self, request),
            PageRoute::Events => events::stream(self, request),
            PageRoute::Transfers => events::transfers(self, request),
            PageRoute::Description => asset(request, "openapi.json"),
            PageRoute::Qr => qr::svg(self, request),
            PageRoute::Script => program::script(self, request),
            PageRoute::Program => program::send(self, request, part),
        }
    }

    /// Where the rows show the machine that asks: this one under the address that others know.
    fn you(&self, request: &Request<'_>) -> Option<IpAddr> {
        let own = self.swarms.own_addresses();
        let ip = kept_as(self.swarms.names().sender(request)?, &own);
        Some(if ip.is_loopback() { address::lan_address(&own).unwrap_or(ip) } else { ip })
    }

    /// Whether whoever sends a change may, and says how long its body is where that matters.
    fn check_sender(&self, request: &Request<'_>, route: &Route<'_>) -> Result<(), HttpFailure> {
        if address::is_cross_site(request, self.swarms.names().public_url()) {
            return Err(cross_site());
        }
        let is_told = ["content-length", "transfer-encoding"].iter().any(|name| request.field(name).is_some());
        if route.is_stream(request.method()) && !is_told {
            return Err(HttpFailure::new(411, "this needs a body, with its Content-Length or in chunks"));
        }
        Ok(())
    }

    fn upload(&self, request: &Request<'_>, name: &str) -> Result<Reply, HttpFailure> {
        let library = &self.shelf()?.library;
        // Only what is listed is opened: no name of a stranger ever becomes a path.
        let is_here = library.get(name).is_some_and(|entry| entry.is_upload());
        // A tag asks how far an upload got, also when another file of that name is here.
        let asks_for_part = !is_here || request.field("upload-tag").is_some();
        if asks_for_part && *request.method() == Method::Head {
            return upload::progress(self, request, name);
        }
        if !is_here {
            return Err(HttpFailure::new(404, "there is no such file"));
        }
        download::send(request, &library.upload_path(name), name, &harmless_type(name))
    }

    /// A file of this process' torrents, once all of it is here.
    fn content(&self, request: &Request<'_>, hash: &str) -> Result<Reply, HttpFailure> {
        let report = hash.parse().ok().and_then(|hash| self.board.torrent(&hash));
        let report = report.ok_or_else(|| HttpFailure::new(404, "there is no such file"))?;
        let name = report.metainfo.name();
        let Some(path) = report.whole_file() else {
            let have = format!("{} of {} pieces", report.have.count(), report.have.len());
            let sentence = match report.metainfo.is_single_file() {
                true => format!("{name} is not whole on this machine: {have} are here"),
                false => format!("{name} is a folder; only single files are handed out here"),
            };
            return Err(HttpFailure::new(409, sentence));
        };
        download::send(request, &path, name, &harmless_type(name))
    }

    /// A metainfo, which names this machine's tracker first, under the address at which it was asked for.
    fn metainfo(&self, request: &Request<'_>, file_name: &str) -> Result<Reply, HttpFailure> {
        let nothing = || HttpFailure::new(404, "there is no such metainfo");
        let parts = file_name.rsplit_once('.').filter(|(_, form)| ["json", "torrent"].contains(form));
        let (name, form) = parts.ok_or_else(nothing)?;
        let Some(shelf) = &self.shelf else {
            let metainfo = self.of_this_process(name).ok_or_else(nothing)?;
            return Ok(download::send_metainfo(request, &metainfo, form, &format!("{}.{form}", metainfo.name())));
        };
        let trackers = self.swarms.names().announce_urls(request);
        if let Some(entry) = shelf.library.get(name) {
            let path = shelf.library.metainfo_path(name, form);
            // What was uploaded has no tracker but this one; what others have listed may have.
            let kept = !entry.is_upload();
            return match download::send_announced(request, &path, file_name, &trackers, kept)? {
                Some(reply) => Ok(reply),
                None => {
                    let metainfo = shelf.registry.read_file(path)?.announced_first(&trackers);
                    Ok(download::send_metainfo(request, &metainfo, form, file_name))
                }
            };
        }
        let metainfo = self.of_this_process(name).ok_or_else(nothing)?;
        let announced = Metainfo::clone(&metainfo).announced_first(&trackers);
        Ok(download::send_metainfo(request, &announced, form, &format!("{}.{form}", metainfo.name())))
    }

    /// What this process has outside of a library goes by its info hash.
    fn of_this_process(&self, hash: &str) -> Option<Arc<Metainfo>> {
        let report = self.board.torrent(&hash.parse().ok()?)?;
        Some(report.metainfo.clone())
    }
}

/// The type of a stranger's file, as far as no browser runs it or draws a page of it.
fn harmless_type(name: &str) -> String {
    let guessed = mime_guess::from_path(name).first_or_octet_stream();
    let is_plain = match guessed.type_().as_str() {
        "audio" | "font" | "image" | "video" => guessed.suffix().is_none(),
        "application" => ["pdf", "zip", "gzip", "x-tar", "x-bittorrent"].contains(&guessed.subtype().as_str()),
        _ => false,
    };
    if is_plain { guessed.essence_str() } else { "application/octet-stream" }.to_owned()
}

fn asset(request: &Request<'_>, name: &str) -> Result<Reply, HttpFailure> {
    let (content_type, bytes) = views::asset(name).ok_or_else(|| HttpFailure::new(404, "there is no such file"))?;
    // A worker lives by the policy that its script came with, not by that of its page.
    Ok(download::send_embedded(request, bytes, content_type).with("Content-Security-Policy", views::POLICY))
}

/// Where a file is to be sent that was sent elsewhere.
fn upload_hint(method: &Method) -> &'static str {
    if *method == Method::Put { "; a file is uploaded by PUT /uploads/NAME" } else { "" }
}

fn cross_site() -> HttpFailure {
    HttpFailure::new(403, "a page of another site sent this; only this machine's own page may do that")
}

fn no_client() -> HttpFailure {
    HttpFailure::new(
        403,
        "a page in a browser sent this; only BitTorrent clients announce, and a page could list whoever looks at it",
    )
}

fn decode(name: &str) -> Result<String, HttpFailure> {
    names::decode(name).ok_or_else(|| HttpFailure::new(400, "the address is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn target(path: &str) -> Option<(RouteTarget, &str)> {
        Route::of(&Method::Get, path).map(|route| (route.target, route.part))
    }

    #[test]
    fn paths_lead_where_they_should() {
        assert_eq!(target("/announce"), Some((RouteTarget::Announce(AnswerFormat::Bencode), "")));
        assert_eq!(target("/uploads/a%2Fb"), Some((RouteTarget::Page(PageRoute::Upload), "a%2Fb")));
        assert_eq!(target("/metainfos"), Some((RouteTarget::Page(PageRoute::Register), "")));
        assert_eq!(target("/api/files/x/pause"), Some((RouteTarget::Page(PageRoute::Change(Verb::Pause)), "x")));
        for nowhere in
            ["", "announce", "//", "/announce/", "/upload/x", "/etc/passwd", "/api/files/", "/api/files//pause"]
        {
            assert_eq!(target(nowhere), None, "{nowhere}");
        }
        let put = |path| Route::of(&Method::Put, path).map(|route| (route.target, route.part, route.allowed));
        assert_eq!(put("/a.iso"), Some((RouteTarget::Page(PageRoute::Upload), "a.iso", "PUT")));
        assert_eq!((put("/files/a/b"), target("/a.iso")), (None, None));
    }

    #[test]
    fn the_description_names_every_path_and_method_and_no_other() {
        let (_, bytes) = views::asset("openapi.json").unwrap();
        let description: Value = serde_json::from_slice(bytes).unwrap();
        let described = description["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
        });
        let routed = ROUTES
            .iter()
            .flat_map(|(path, methods, _)| methods.split(", ").map(|method| ((*path).to_owned(), method.to_owned())));
        assert_eq!(described.collect::<BTreeSet<_>>(), routed.collect::<BTreeSet<_>>());
    }
}
