//! Pages, as small pieces of markup. All of it works without a script; `static/main.js` then keeps it moving.
//!
//! | module | what it shows |
//! |---|---|
//! | `home`, `share` | the first page: share a file, the files; what became of an upload |
//! | `file`, `board`, `map` | the page of one file: its machines and its pieces |
//! | `card`, `tell`, `control` | a file in short; what to tell the others; what may be done with it |
//! | `words`, `said` | the words explained; numbers and sentences |
//! | `assets` | the files of `static/` |
//!
//! An element with `data-is="key"` holds a text that changes, and the script puts the value of that key there.

mod assets;
mod board;
mod card;
mod control;
mod file;
mod home;
mod map;
mod said;
mod share;
mod tell;
mod words;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

pub use assets::asset;
pub use file::file;
pub use home::home;
pub use share::saved;

use super::{
    door::Reply,
    shown::{Machine, May},
};

/// Only what this program serves itself: no inline script or style, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How often a page that has no script looks again, in seconds.
const LOOK_AGAIN: u32 = 5;

/// What a page is besides its content.
pub struct Frame<'a> {
    /// For the tab.
    pub title: &'a str,
    /// Who serves it.
    pub machine: &'a Machine,
    /// What whoever asks may do.
    pub may: May,
    /// Whether its figures move, so that a browser without scripts must look again.
    pub is_live: bool,
}

/// A page with that content.
pub fn page(status: u16, frame: &Frame<'_>, content: Markup) -> Reply {
    Reply::new(status, "text/html; charset=utf-8", document(frame, content).into_string().into_bytes())
        .with("Content-Security-Policy", POLICY)
        .with("Referrer-Policy", "same-origin")
        .with("Cache-Control", "no-store")
}

fn document(frame: &Frame<'_>, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="dark light";
                title { (frame.title) }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/style.css";
                script type="module" src="/static/main.js" {}
                @if frame.is_live { noscript { meta http-equiv="refresh" content=(LOOK_AGAIN); } }
            }
            body data-address=(frame.machine.address) {
                a.skip href="#content" { "To the content" }
                (header(frame))
                main #content { (content) }
                footer { (words::glossary()) p.quiet { "minitorrent " (frame.machine.version) } }
                p #said.unseen role="status" {}
            }
        }
    }
}

fn header(frame: &Frame<'_>) -> Markup {
    html! {
        header.top {
            a.brand href="/" { img src="/static/icon.svg" alt="" width="28" height="28"; "minitorrent" }
            p.machine.quiet { bdi { (frame.machine.name) } " " span.pill { (said::kind(frame.machine.kind)) } }
            span #live.live title="Figures move by themselves" hidden { "live" }
            @if frame.may.login { (control::login()) }
        }
    }
}

/// Something as JSON, with a line end for the terminal.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("what is shown has text for keys");
    bytes.push(b'\n');
    bytes
}
