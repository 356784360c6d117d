//! What to tell the others: addresses, a code for their cameras, a line for their terminals.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    super::{api::SharedFile, upload::Saved},
    words::word,
};

/// Where one file is to be had, in whole URLs.
#[derive(Debug, Default)]
pub struct ShareText {
    page: String,
    json: String,
    torrent: String,
    download: Option<String>,
    command: String,
}

impl ShareText {
    /// Of a file that was just saved.
    pub fn new(base: &str, file: &Saved) -> ShareText {
        ShareText {
            page: format!("{base}/files/{}", file.info_hash),
            json: file.json_url.clone(),
            torrent: file.torrent_url.clone(),
            download: Some(file.download_url.clone()),
            command: format!("minitorrent fetch {}", file.json_url),
        }
    }

    /// Of a file on the list.
    pub fn of(base: &str, file: &SharedFile) -> ShareText {
        let whole = |link: &str| if link.starts_with('/') { format!("{base}{link}") } else { link.to_owned() };
        ShareText {
            page: whole(&file.links.page),
            json: whole(&file.links.json),
            torrent: whole(&file.links.torrent),
            download: file.links.download.as_deref().map(whole),
            command: file.command.clone(),
        }
    }
}

/// All of it. A script fills an empty one.
pub fn tell(told: &ShareText) -> Markup {
    let code = utf8_percent_encode(&told.page, NON_ALPHANUMERIC);
    html! {
        div.tell {
            @if told.page.is_empty() { img.code alt="" width="148" height="148" data-told="code"; }
            @else { img.code src={ "/qr.svg?text=" (code) } alt="" width="148" height="148" data-told="code"; }
            div.tell-words {
                p.told { span.label { "Open this link or scan the code" } (line(&told.page, "page")) }
                p.told { span.label { "Or in a terminal" } (line(&told.command, "command")) }
                p.links {
                    a data-told="json" href=(told.json) { "JSON metainfo" }
                    a data-told="torrent" href=(told.torrent) { ".torrent" }
                    a data-told="download" href=[&told.download] hidden[told.download.is_none()] { "Direct download" }
                }
                p.quiet.small {
                    "A BitTorrent " (word("client", "client")) " needs only this small " (word("torrent", ".torrent")) "; the data comes from everyone who has it."
                }
            }
        }
    }
}

/// A line to be copied. Without a script it is a line to be selected.
pub fn line(text: &str, told: &str) -> Markup {
    html! {
        span.copy {
            code data-told=(told) { (text) }
            button.needs-script type="button" data-do="copy" { "Copy" }
        }
    }
}
