//! The page of one file: who has it, which pieces are where, and how to get it.

use maud::{Markup, html};

use super::{
    super::api::{FileView, Here},
    board::board,
    card, control,
    map::map,
    said,
    tell::{ShareText, tell},
    words::word,
};
use crate::text::Size;

/// Letters of a name above which it is written smaller.
const LONG_NAME: usize = 40;

/// The content of the page.
pub fn file(here: &Here, view: &FileView) -> Markup {
    let file = &view.file;
    html! {
        article.whole data-file=(file.info_hash) data-activity=(file.activity) data-length=(file.length) {
            p.crumbs { a href="/" { "All files" } }
            (hero(here, view))
            div.columns {
                div.narrow {
                    section.card aria-labelledby="get-title" { h2 #get-title { "Get it" } (get(view)) }
                    section.card aria-labelledby="tell-title" {
                        h2 #tell-title { "Tell the others" }
                        (tell(&ShareText::of(&here.machine.address, file)))
                    }
                }
                div.wide {
                    section.card aria-labelledby="map-title" { h2 #map-title { "Pieces" } (map(view)) }
                    section.card aria-labelledby="board-title" { h2 #board-title { "Machines" } (board(&view.rows)) }
                    section.card aria-labelledby="about-title" { h2 #about-title { "About it" } (about(view)) }
                }
            }
        }
    }
}

fn hero(here: &Here, view: &FileView) -> Markup {
    let file = &view.file;
    html! {
        section.hero.of-file aria-labelledby="title" {
            canvas.sky #sky aria-hidden="true" {}
            div.hero-words {
                h1 #title data-long[file.name.chars().count() > LONG_NAME] { bdi data-is="name" { (file.name) } }
                p.quiet {
                    span data-is="size" { (Size(file.length)) } " \u{b7} " span data-is="activity" { (said::activity(file)) }
                    (card::rates(file))
                }
                div.how-many {
                    p.room.large data-is="room" { (said::room(file)) }
                    progress #whole.bar max="1" value=(said::share(file)) aria-label="Share that is there" {}
                    p.quiet.small {
                        (word("seeder", "Seeders")) " " b data-is="seeders" { (file.seeders) } " \u{b7} "
                        (word("leecher", "Leechers")) " " b data-is="leechers" { (file.leechers) }
                    }
                }
                p.sentence data-is="sentence" hidden[file.swarm.is_none()] {
                    (file.swarm.as_ref().map_or("", |swarm| &swarm.sentence))
                }
                p.trouble data-is="trouble" hidden[file.trouble.is_none()] { (file.trouble.as_deref().unwrap_or_default()) }
                @if here.may.control { div.actions { (control::of_file(file)) } }
            }
        }
    }
}

/// For a browser that has no client.
fn get(view: &FileView) -> Markup {
    let links = &view.file.links;
    let download = links.download.as_deref();
    html! {
        div #save.needs-script data-json=(links.json) hidden[download.is_none()] {
            p { "This browser can fetch it, check every " (word("piece", "piece")) " of it, and save it." }
            p.actions {
                button.main type="button" data-do="save" { "Fetch and check" }
                a.button href=[download] { "Direct download" }
            }
            progress.bar max="1" value="0" aria-label="Fetched and checked" hidden {}
            p.quiet.small data-is="saving" {}
        }
        @if let Some(download) = download { noscript { p { a.button href=(download) { "Direct download" } } } }
        p #elsewhere hidden[download.is_some()] {
            "This page hands out a file once all of it is here. Until then, and for folders, take the "
            (word("torrent", ".torrent")) " or the line for a terminal."
        }
    }
}

fn about(view: &FileView) -> Markup {
    let file = &view.file;
    html! {
        dl.facts {
            div { dt { (word("info-hash", "Info hash")) } dd { code { (file.info_hash) } } }
            @if let (Some(pieces), Some(length)) = (file.pieces, file.piece_length) {
                div { dt { (word("piece", "Pieces")) } dd { (pieces) " of " (Size(length.into())) } }
            }
            @if let (Some(given), Some(taken)) = (file.uploaded, file.downloaded) {
                div { dt { "Given by this machine" } dd data-is="uploaded" { (Size(given)) } }
                div { dt { "Taken by this machine" } dd data-is="downloaded" { (Size(taken)) } }
            }
        }
        p.quiet.small {
            "The " (word("tracker", "tracker")) " introduces the machines; each then gives to whom it can. One that is "
            (word("choked", "choked")) " waits for its turn."
        }
    }
}
