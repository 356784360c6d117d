//! Pages, as small pieces of markup, and JSON. No script: everything here works without.

use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use super::{
    api::{File, FileView, Here},
    door::Reply,
    upload::Saved,
};

/// Only what this program serves itself: no script, no frame around it.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page with that content.
pub fn page(status: u16, content: Markup) -> Reply {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="dark light";
                title { "minitorrent" }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/style.css";
            }
            body {
                header { a.name href="/" { "minitorrent" } p { "One file, a whole room." } }
                main { (content) }
            }
        }
    };
    Reply::new(status, "text/html; charset=utf-8", markup.into_string().into_bytes())
        .with("Content-Security-Policy", POLICY)
        .with("Referrer-Policy", "same-origin")
        .with("Cache-Control", "no-store")
}

/// The first page: share a file, and what is shared.
pub fn home(here: &Here, files: &[File]) -> Markup {
    html! {
        @if here.may.upload {
            section aria-labelledby="share" {
                h1 #share { "Share a file" }
                (upload_form())
            }
        }
        section aria-labelledby="files" {
            h2 #files { "Files" }
            @if files.is_empty() { p.quiet { "Nothing is shared yet." } }
            @for file in files { (file_card(file)) }
        }
    }
}

fn upload_form() -> Markup {
    html! {
        form action="/upload" method="post" enctype="multipart/form-data" {
            label for="file" { "File" }
            input #file type="file" name="file" required multiple;
            details {
                summary { "Seeder port" }
                label for="port" { "Port, 1024 to 65535; empty for the usual one" }
                input #port type="number" name="port" min="1024" max="65535" inputmode="numeric" placeholder="6881";
            }
            button type="submit" { "Share" }
        }
    }
}

fn file_card(file: &File) -> Markup {
    html! {
        article {
            h3 { a href=(file.links.page) { (file.name) } }
            p.quiet {
                (bytes(file.length)) " \u{b7} " (file.seeders) " seeding \u{b7} " (file.leechers) " fetching"
            }
            (links(file.links.download.as_deref(), &file.links.json, &file.links.torrent))
            (command(&file.command))
        }
    }
}

/// The page of one file.
pub fn file(_here: &Here, view: &FileView) -> Markup {
    html! {
        (file_card(&view.file))
        @if let Some(swarm) = &view.file.swarm { p { (swarm.sentence) } }
        table {
            thead { tr { th { "Machine" } th { "Client" } th { "Has" } } }
            tbody {
                @for row in &view.rows {
                    tr {
                        td { (row.name.as_deref().unwrap_or(&row.address)) }
                        td { (row.client.as_deref().unwrap_or("unknown")) }
                        td { @if let Some(percent) = row.percent { (format!("{percent:.0} %")) } }
                    }
                }
            }
        }
    }
}

/// What became of an upload.
pub fn saved(files: &[Saved]) -> Markup {
    html! {
        h1 { @if files.len() == 1 { "It is shared" } @else { "They are shared" } }
        @for file in files {
            article {
                h2 { (file.name) }
                @if let Some(asked) = &file.asked_name {
                    p { "There is another file named " b { (asked) } ", so this one is named " b { (file.name) } "." }
                }
                @if let Some(warning) = &file.warning { p.warning role="alert" { (warning) } }
                p.quiet { (bytes(file.length)) " \u{b7} info hash " code { (file.info_hash) } }
                (links(Some(&file.download_url), &file.json_url, &file.torrent_url))
                (command(&format!("minitorrent fetch {}", file.json_url)))
            }
        }
        p { a href="/" { "Back to all files" } }
    }
}

fn links(download: Option<&str>, json: &str, torrent: &str) -> Markup {
    html! {
        ul.links {
            @if let Some(download) = download { li { a href=(download) { "Download" } } }
            li { a href=(json) { "JSON metainfo" } }
            li { a href=(torrent) { ".torrent" } }
        }
    }
}

fn command(line: &str) -> Markup {
    html! { pre { code { (line) } } }
}

/// Something as JSON, with a line end for the terminal.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("what is shown has text for keys");
    bytes.push(b'\n');
    bytes
}

/// A length for people: `1.5 GiB`.
fn bytes(length: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = length as f64;
    let mut unit = "bytes";
    for larger in units {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "bytes" { format!("{length} bytes") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_the_unit_that_fits() {
        for (length, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB")] {
            assert_eq!(bytes(length), text);
        }
    }
}
