//! The page of one file: who has it, which pieces are where, and how to get it.

use maud::{Markup, html};

use super::{
    super::shown::{Detail, May},
    board::board,
    card, control,
    map::map,
    said,
    tell::{Told, tell},
    words::word,
};
use crate::text::Size;

/// The content of the page. `base` is this machine as others reach it.
pub fn file(base: &str, detail: &Detail, may: May) -> Markup {
    let file = &detail.file;
    html! {
        article.whole data-file=(file.info_hash) data-activity=(said::key(file.activity)) data-length=(file.length) {
            p.crumbs { a href="/" { "All files" } }
            section.hero.of-file aria-labelledby="title" {
                canvas.sky #sky aria-hidden="true" {}
                div.hero-words {
                    h1 #title dir="auto" data-is="name" { (file.name) }
                    p.quiet { span data-is="size" { (Size(file.length)) } " \u{b7} " span data-is="activity" { (said::activity(file)) } }
                    p.room.large data-is="room" { (said::room(file)) }
                    p.quiet {
                        span data-is="seeders" { (file.seeders) } " " (word("seeder", if file.seeders == 1 { "seeder" } else { "seeders" })) ", "
                        span data-is="leechers" { (file.leechers) } " " (word("leecher", if file.leechers == 1 { "leecher" } else { "leechers" }))
                    }
                    progress #whole.bar max="1" value=(said::share(file)) aria-label="Share that is there" {}
                    p.rates.quiet hidden[!said::moves(file)] { (card::rates(file)) }
                    p.trouble data-is="trouble" hidden[file.trouble.is_none()] { (file.trouble.as_deref().unwrap_or_default()) }
                    p.sentence data-is="sentence" hidden[file.swarm.is_none()] {
                        (file.swarm.as_ref().map_or("", |swarm| &swarm.sentence))
                    }
                    @if may.control { div.actions { (control::of_file(file)) } }
                }
            }
            div.columns {
                div.wide {
                    section.card aria-labelledby="board-title" { h2 #board-title { "Machines" } (board(&detail.rows)) }
                    section.card aria-labelledby="map-title" { h2 #map-title { "Pieces" } (map(detail)) }
                }
                div.narrow {
                    section.card aria-labelledby="get-title" { h2 #get-title { "Get it" } (get(detail)) }
                    section.card aria-labelledby="tell-title" { h2 #tell-title { "Tell the others" } (tell(&Told::of(base, file))) }
                    section.card aria-labelledby="about-title" { h2 #about-title { "About it" } (about(detail)) }
                }
            }
        }
    }
}

/// For a browser that has no client.
fn get(detail: &Detail) -> Markup {
    let links = &detail.file.links;
    html! {
        @if let Some(download) = &links.download {
            div #save.needs-script data-download=(download) data-json=(links.json) {
                p { "This browser can fetch it, check every " (word("piece", "piece")) " and save it." }
                p.actions { button.main type="button" data-do="save" { "Fetch and check" } a.button href=(download) { "Direct download" } }
                progress.bar max="1" value="0" aria-label="Fetched and checked" hidden {}
                p.quiet data-is="saving" role="status" {}
            }
            noscript { p { a.button href=(download) { "Direct download" } } }
        } @else {
            p { "The content lies with others: take the " (word("torrent", ".torrent")) " or the line for a terminal below." }
        }
    }
}

fn about(detail: &Detail) -> Markup {
    let file = &detail.file;
    html! {
        dl.facts {
            div { dt { (word("info-hash", "Info hash")) } dd { code { (file.info_hash) } } }
            div { dt { (word("piece", "Pieces")) } dd { (file.pieces) " of " (Size(file.piece_length)) } }
            @if file.uploaded.is_some() {
                div { dt { "Given by this machine" } dd data-is="uploaded" { (Size(file.uploaded.unwrap_or(0))) } }
                div { dt { "Taken by this machine" } dd data-is="downloaded" { (Size(file.downloaded.unwrap_or(0))) } }
            }
        }
        p.quiet.small {
            "The " (word("tracker", "tracker")) " introduces the machines; each then gives to whom it can. One that is "
            (word("choked", "choked")) " waits for its turn."
        }
    }
}
