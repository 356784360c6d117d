//! Pages, as small pieces of markup. All of it works without a script; `static/main.js` then keeps it moving.
//!
//! | module | what it shows |
//! |---|---|
//! | `home`, `share` | the first page: share a file, the files; what became of an upload |
//! | `file`, `board`, `map` | the page of one file: its machines and its pieces |
//! | `card`, `tell`, `control` | a file in short; what to tell the others; what may be done with it |
//! | `program` | how to get the program itself |
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
mod program;
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

use super::api::Here;
use crate::http::Reply;

/// Only what this program serves itself: no inline script or style, no frame around it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page with that content.
pub fn page(status: u16, here: &Here, title: &str, content: Markup) -> Reply {
    Reply::new(status, "text/html; charset=utf-8", document(here, title, content).into_string().into_bytes())
        .with("Content-Security-Policy", POLICY)
        .with("Referrer-Policy", "same-origin")
        .with("Cache-Control", "no-store")
}

fn document(here: &Here, title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="dark light";
                title { (title) }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/style.css";
                script type="module" src="/static/main.js" {}
            }
            body data-address=(here.machine.address) data-you=[here.you] {
                a.skip href="#content" { "Skip to content" }
                (header(here))
                main #content { (content) }
                footer {
                    @if !here.may.control && !here.may.login { (control::how()) }
                    (words::glossary()) p.quiet { "minitorrent " (here.machine.version) } }
                p #said.unseen role="status" {}
            }
        }
    }
}

fn header(here: &Here) -> Markup {
    html! {
        header.top {
            a.brand href="/" { img src="/static/icon.svg" alt="" width="28" height="28"; "minitorrent" }
            p.machine.quiet { bdi { (here.machine.name) } " " span.pill { (said::kind(here.machine.kind)) } }
            span #live.live title="Updates live" hidden { "live" }
            @if here.may.login { (control::login()) }
        }
    }
}

/// Something as JSON, with a line end for the terminal.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("what is shown has text for keys");
    bytes.push(b'\n');
    bytes
}
