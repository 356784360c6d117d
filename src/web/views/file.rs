//! The page of one file: who has it, which pieces are where, and how to get it.

use maud::{Markup, html};

use super::{
    super::api::{FileView, Here, PastRound, Row},
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

/// Machines that have a part of the bar; more would be too narrow to be seen.
const MAX_SEGMENTS: usize = 60;

/// The content of the page.
pub fn file(here: &Here, view: &FileView) -> Markup {
    let file = &view.file;
    html! {
        article.whole data-file=(file.info_hash) data-activity=(file.activity) data-length=(file.length) {
            p.crumbs { a href="/" { "All files" } }
            (hero(here, view))
            div.columns {
                div.narrow {
                    section.card aria-labelledby="get-title" { h2 #get-title { "Download" } (get(view)) }
                    section.card aria-labelledby="tell-title" {
                        h2 #tell-title { "Share this file" }
                        (tell(&ShareText::of(&here.machine.address, file)))
                    }
                }
                div.wide {
                    section.card aria-labelledby="map-title" { h2 #map-title { "Pieces" } (map(view)) }
                    section.card aria-labelledby="board-title" { h2 #board-title { "Machines" } (board(&view.rows, here.you)) }
                    section.card aria-labelledby="about-title" { h2 #about-title { "Details" } (about(view)) }
                    (rounds(&view.rounds))
                }
            }
        }
    }
}

fn hero(here: &Here, view: &FileView) -> Markup {
    let file = &view.file;
    let swarm = file.swarm.as_ref();
    let sentence = swarm.and_then(|swarm| swarm.sentence.as_deref());
    let ghost = swarm.filter(|swarm| swarm.running).and_then(|swarm| swarm.ghost);
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
                    progress #whole.bar max="1" value=(said::share_of_room(file)) aria-label="What the room holds of what it will hold" {}
                    div #segments.segments aria-hidden="true" { @for row in view.rows.iter().filter(|row| said::is_here(row)).take(MAX_SEGMENTS) { (segment(row)) } }
                    template #segment-template { (segment(&Row::default())) }
                    p #ghost.ghost.quiet.small hidden[ghost.is_none()] {
                        progress.bar max="1" value=(ghost.unwrap_or(0.0)) aria-label="With one server alone" {}
                        span { "one server alone" }
                    }
                    p.quiet.small {
                        (word("seeder", "Seeders")) " " b data-is="seeders" { (file.seeders) } " \u{b7} "
                        (word("leecher", "Leechers")) " " b data-is="leechers" { (file.leechers) }
                        span data-is="departed" { (said::departed(file)) }
                    }
                }
                p.sentence data-is="sentence" hidden[sentence.is_none()] { (sentence.unwrap_or_default()) }
                p.trouble data-is="trouble" hidden[file.trouble.is_none()] { (file.trouble.as_deref().unwrap_or_default()) }
                @if here.may.control { div.actions { (control::of_file(file)) } }
            }
        }
    }
}

/// What one machine holds, as its part of the bar.
fn segment(row: &Row) -> Markup {
    html! { progress.bar data-row=(row.id) data-state=(said::doing(row.state)) max="100" value=(row.percent.unwrap_or(0.0)) {} }
}

/// The last rounds; the row of the template is filled by a script.
fn rounds(rounds: &[PastRound]) -> Markup {
    html! {
        section #rounds-card.card aria-labelledby="rounds-title" hidden[rounds.is_empty()] {
            h2 #rounds-title { "Rounds so far" }
            ol #rounds.rounds { @for each in rounds { li data-round=(each.ended) { (said::round(each)) } } }
        }
    }
}

/// For a browser that has no client.
fn get(view: &FileView) -> Markup {
    let links = &view.file.links;
    let download = links.download.as_deref();
    html! {
        div #save.needs-script data-json=(links.json) hidden[download.is_none()] {
            p { "Download in this browser and verify every " (word("piece", "piece")) "." }
            p.actions {
                button.main type="button" data-do="save" { "Download (verified)" }
                a.button href=[download] { "Plain download" }
            }
            progress.bar max="1" value="0" aria-label="Fetched and checked" hidden {}
            p.quiet.small data-is="saving" {}
        }
        @if let Some(download) = download { noscript { p { a.button href=(download) { "Download" } } } }
        p #elsewhere hidden[download.is_some()] {
            "You can download it here once this machine has all of it. Until then, and for folders, use the "
            (word("torrent", ".torrent")) " or the command below."
        }
    }
}

fn about(view: &FileView) -> Markup {
    let file = &view.file;
    html! {
        dl.facts {
            div { dt { (word("info-hash", "Info hash")) } dd { code { (file.info_hash) } } }
            @if let (Some(pieces), Some(length)) = (file.pieces, file.piece_length) {
                div { dt { (word("piece", "Pieces")) } dd { (pieces) " \u{d7} " (Size(length.into())) } }
            }
            @if let (Some(given), Some(taken)) = (file.uploaded, file.downloaded) {
                div { dt { "Uploaded by this machine" } dd data-is="uploaded" { (Size(given)) } }
                div { dt { "Downloaded by this machine" } dd data-is="downloaded" { (Size(taken)) } }
            }
        }
        p.quiet.small {
            "The " (word("tracker", "tracker")) " introduces machines to each other; then they trade pieces directly. A "
            (word("choked", "choked")) " machine is waiting its turn."
        }
    }
}
