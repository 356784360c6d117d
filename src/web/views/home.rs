//! The first page: share a file, and all files that are shared.

use maud::{Markup, html};

use super::{
    super::{
        Kind,
        api::{Here, SharedFile},
        program::Program,
    },
    card::card,
    control, program, share,
    words::word,
};

/// The content of the first page.
pub fn home(here: &Here, files: &[SharedFile], programs: &[Program]) -> Markup {
    html! {
        section.hero aria-labelledby="title" {
            canvas.sky #sky aria-hidden="true" {}
            div.hero-words {
                @if here.may.upload {
                    h1 #title { "Share a file, watch the room fill." }
                    p.lead { "Everyone who has a " (word("piece", "piece")) " passes it on." }
                    (share::form())
                } @else {
                    h1 #title { (title(here.machine.kind, &here.machine.name)) }
                    p.lead { "Every device in the " (word("swarm", "swarm")) " passes on what it has." }
                }
            }
        }
        div #uploads.stack role="group" aria-label="Uploads" hidden {}
        section aria-labelledby="files-title" {
            div.section-head {
                h2 #files-title { "Files" }
                @if here.may.control { (control::of_all(here.limits)) }
            }
            p #nothing.empty hidden[!files.is_empty()] {
                @if here.may.upload { "No files yet. Choose one or drop it here." }
                @else { "No files yet." }
            }
            div #files.stack {
                @for file in files { (card(file, here.may)) }
            }
        }
        @if here.may.control { (control::fetch_here()) }
        (program::program(&here.machine.address, programs))
        template #card-template { (card(&SharedFile::default(), here.may)) }
        template #upload-template { (share::upload_card()) }
    }
}

fn title(kind: Kind, machine: &str) -> Markup {
    html! {
        @match kind {
            Kind::Tracker => "Files in this room.",
            Kind::Seed => { "Sharing from " bdi { (machine) } },
            Kind::Fetch => { "Downloading to " bdi { (machine) } ", and sharing meanwhile" },
        }
    }
}
