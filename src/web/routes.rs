//! Which path leads where, and who may use which method there.

use tiny_http::Method;

use super::{
    Site, Web, address, api,
    door::{Head, Intake, Reply, Request, Service},
    download,
    failure::Failure,
    form, names, register,
    swarms::Form,
    upload, views,
};

/// Files of `static/`, embedded: the name in the URL, the type, the bytes.
const STATIC: [(&str, &str, &[u8]); 2] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("../../static/style.css")),
    ("icon.svg", "image/svg+xml", include_bytes!("../../static/icon.svg")),
];

/// Where a path leads. Names are still percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Announce(Form),
    Scrape,
    Health,
    Metrics,
    Page(Page<'a>),
}

/// What is there only with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page<'a> {
    Home,
    Files,
    Form,
    Upload(&'a str),
    Register,
    Metainfo(&'a str),
    Static(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Route<'a>> {
        Some(match path {
            "/announce" => Route::Announce(Form::Bencode),
            "/tracker" => Route::Announce(Form::Json),
            "/scrape" => Route::Scrape,
            "/healthz" => Route::Health,
            "/metrics" => Route::Metrics,
            "/" => Route::Page(Page::Home),
            "/api/files" => Route::Page(Page::Files),
            "/upload" => Route::Page(Page::Form),
            "/metainfos" => Route::Page(Page::Register),
            _ => {
                let (folder, name) = path.strip_prefix('/')?.split_once('/')?;
                Route::Page(match folder {
                    "uploads" => Page::Upload(name),
                    "metainfos" => Page::Metainfo(name),
                    "static" => Page::Static(name),
                    _ => return None,
                })
            }
        })
    }

    /// The methods, as the field `Allow` lists them.
    fn allowed(self) -> &'static str {
        match self {
            Route::Page(Page::Form | Page::Register) => "POST",
            Route::Page(Page::Upload(_)) => "GET, HEAD, PUT",
            _ => "GET, HEAD",
        }
    }
}

impl Service for Web {
    fn intake(&self, head: &Head) -> Intake {
        match Route::of(head.path()) {
            Some(Route::Page(Page::Form | Page::Register)) if *head.method() == Method::Post => Intake::Stream,
            Some(Route::Page(Page::Upload(_))) if *head.method() == Method::Put => Intake::Stream,
            // A list of many files takes milliseconds to print, and whoever asks for it without end must not hold up these.
            Some(Route::Announce(_) | Route::Scrape | Route::Health) => Intake::Quick,
            _ => Intake::Whole,
        }
    }

    fn answer(&self, request: &mut Request<'_>) -> Reply {
        let nothing = || Failure::new(404, "there is nothing at this address");
        let answered = match Route::of(request.path()) {
            None => Err(nothing()),
            Some(route) if !route.allowed().split(", ").any(|method| method == request.method().as_str()) => {
                return Reply::text(405, format!("only {} is possible here", route.allowed()))
                    .with("Allow", route.allowed());
            }
            // An image on a page that somebody has open must not list his machine.
            Some(Route::Announce(_)) if address::is_cross_site(request) => Err(cross_site()),
            Some(Route::Announce(form)) => return self.swarms.answer_announce(request, form),
            Some(Route::Scrape) => return self.swarms.answer_scrape(request),
            Some(Route::Health) => return Reply::text(200, "ok"),
            Some(Route::Metrics) => return api::metrics(self),
            Some(Route::Page(page)) => match &self.site {
                Some(site) => site.answer(request, page),
                None => Err(nothing()),
            },
        };
        answered.unwrap_or_else(Failure::into_reply).with("X-Content-Type-Options", "nosniff")
    }
}

impl Site {
    fn answer(&self, request: &mut Request<'_>, page: Page<'_>) -> Result<Reply, Failure> {
        if matches!(request.method(), Method::Post | Method::Put) {
            check_sender(request)?;
        }
        if !matches!(page, Page::Static(_) | Page::Metainfo(_)) {
            self.check_host(request)?;
        }
        match page {
            Page::Home => Ok(views::page(200, views::home(&self.base_url(request), &api::list(self)))),
            Page::Files => Ok(api::files(self)),
            Page::Form => form::post(self, request),
            Page::Upload(name) if *request.method() == Method::Put => upload::put(self, request, &decode(name)?),
            Page::Upload(name) => self.upload(request, &decode(name)?),
            Page::Register => register::register(self, request),
            Page::Metainfo(name) => self.metainfo(request, &decode(name)?),
            Page::Static(name) => {
                let found = STATIC.into_iter().find(|(file, ..)| *file == name);
                let (_, content_type, bytes) = found.ok_or_else(|| Failure::new(404, "there is no such file"))?;
                Ok(Reply::new(200, content_type, bytes).with("Cache-Control", "max-age=3600"))
            }
        }
    }

    /// Refuses what came under a name that anybody could own: to a browser his page would be this one.
    fn check_host(&self, request: &Request<'_>) -> Result<(), Failure> {
        let own = self.swarms.own_addresses();
        if address::is_nobodys_host(request) || address::is_own_host(request, self.public_url.as_deref(), &own) {
            return Ok(());
        }
        let host = crate::text::escape(request.field("host").unwrap_or_default());
        let why =
            "is no name that this machine knows itself by; open the page by its address, or start it with --public-url";
        Err(Failure::new(421, format!("{host} {why}")))
    }

    fn upload(&self, request: &Request<'_>, name: &str) -> Result<Reply, Failure> {
        // Only what is listed is opened: no name of a stranger ever becomes a path.
        let is_here = self.library.get(name).is_some_and(|entry| entry.is_upload());
        if !is_here && *request.method() == Method::Head {
            return upload::progress(self, request, name);
        }
        if !is_here {
            return Err(Failure::new(404, "there is no such file"));
        }
        let content_type = mime_guess::from_path(name).first_or_octet_stream();
        download::send(request, &self.library.upload_path(name), name, content_type.essence_str())
    }

    fn metainfo(&self, request: &Request<'_>, file_name: &str) -> Result<Reply, Failure> {
        let found = file_name.rsplit_once('.').and_then(|(name, form)| {
            let content_type = match form {
                "json" => "application/json",
                "torrent" => "application/x-bittorrent",
                _ => return None,
            };
            self.library.get(name).map(|_| (self.library.metainfo_path(name, form), content_type))
        });
        let (path, content_type) = found.ok_or_else(|| Failure::new(404, "there is no such metainfo"))?;
        download::send(request, &path, file_name, content_type)
    }
}

/// Whether whoever sends a body may, and says how long it is.
fn check_sender(request: &Request<'_>) -> Result<(), Failure> {
    if address::is_cross_site(request) {
        return Err(cross_site());
    }
    if request.field("content-length").is_none() && request.field("transfer-encoding").is_none() {
        return Err(Failure::new(411, "this needs a body, with its Content-Length or in chunks"));
    }
    Ok(())
}

fn cross_site() -> Failure {
    Failure::new(403, "a page of another site sent this; only this machine's own page may do that")
}

fn decode(name: &str) -> Result<String, Failure> {
    names::decode(name).ok_or_else(|| Failure::new(400, "the address is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_should() {
        assert_eq!(Route::of("/announce"), Some(Route::Announce(Form::Bencode)));
        assert_eq!(Route::of("/uploads/a%2Fb"), Some(Route::Page(Page::Upload("a%2Fb"))));
        assert_eq!(Route::of("/metainfos"), Some(Route::Page(Page::Register)));
        for nowhere in ["", "announce", "//", "/announce/", "/upload/x", "/etc/passwd"] {
            assert_eq!(Route::of(nowhere), None, "{nowhere}");
        }
    }
}
