//! A file in short, as it stands in the list.

use maud::{Markup, html};

use super::{
    super::{access::May, api::SharedFile},
    control, said,
};
use crate::text::Size;

/// A file of the list; of an empty one the script makes the others.
pub fn card(file: &SharedFile, may: May) -> Markup {
    html! {
        article.card.file data-file=(file.info_hash) data-activity=(file.activity) {
            (ring(said::share(file)))
            div.card-head {
                h3 { a data-is="name" dir="auto" href=(file.links.page) { (file.name) } }
                p.quiet.small {
                    span data-is="size" { (Size(file.length)) } " \u{b7} " span data-is="activity" { (said::activity(file)) }
                    (rates(file))
                }
                p.trouble data-is="trouble" hidden[file.trouble.is_none()] { (file.trouble.as_deref().unwrap_or_default()) }
            }
            div.card-room {
                p.room data-is="room" { (said::room(file)) }
                p.quiet.small data-is="counts" { (said::counts(file)) }
            }
            div.actions {
                a.button data-is="open" href=(file.links.page) { "Watch" }
                a.button data-is="get" href=[&file.links.download] hidden[file.links.download.is_none()] { "Download" }
                a.button data-is="json" href=(file.links.json) { "JSON" }
                a.button data-is="torrent" href=(file.links.torrent) { ".torrent" }
                @if may.control { (control::of_file(file)) }
            }
        }
    }
}

/// What comes into this machine and goes out of it.
pub fn rates(file: &SharedFile) -> Markup {
    html! {
        span.rates hidden[!said::moves(file)] {
            span.rate { span aria-hidden="true" { "\u{2193}\u{a0}" } span.unseen { "in " } span data-is="down" { (said::rate(file.down_rate)) } }
            " "
            span.rate { span aria-hidden="true" { "\u{2191}\u{a0}" } span.unseen { "out " } span data-is="up" { (said::rate(file.up_rate)) } }
        }
    }
}

/// A planet with as much of its ring as there is of the file. The text beside it says the same.
fn ring(share: f64) -> Markup {
    html! {
        svg.ring viewBox="0 0 48 48" width="48" height="48" aria-hidden="true" {
            circle.ring-all cx="24" cy="24" r="20" fill="none" {}
            circle.ring-share data-ring cx="24" cy="24" r="20" fill="none" pathLength="100" transform="rotate(-90 24 24)"
                stroke-dasharray={ (format!("{:.1}", share * 100.0)) " 100" } {}
            circle.ring-planet cx="24" cy="24" r="12" {}
        }
    }
}
