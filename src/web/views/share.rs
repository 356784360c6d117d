//! Sharing a file: the form, an upload on its way, and what became of it.

use maud::{Markup, html};

use super::{
    super::{
        api::Here,
        upload::{Refused, Saved},
    },
    tell,
    words::word,
};
use crate::text::Size;

/// The form, which is also where files may be dropped. Without a script it sends them as a browser does.
pub fn form() -> Markup {
    html! {
        form #share.drop action="/upload" method="post" enctype="multipart/form-data" {
            p.choose {
                label.button.main for="file" { "Choose files" }
                input #file.unseen type="file" name="file" multiple;
                span.needs-script { " or drop files and folders anywhere on this page" }
            }
            ul #chosen.chosen hidden {}
            details {
                summary { "Options" }
                div.field {
                    label for="port" { "Port" }
                    input #port type="number" name="port" min="1024" max="65535" inputmode="numeric" placeholder="6881";
                    span.quiet.small { "The " (word("port", "seeder port")) ", 1024 to 65535." }
                }
                p.needs-script { label.button for="folder" { "Choose a folder" } input #folder.unseen type="file" multiple webkitdirectory; }
            }
            noscript { button.main type="submit" { "Share" } }
        }
    }
}

/// An upload on its way: a template that a script fills.
pub fn upload_card() -> Markup {
    html! {
        article.card.upload {
            h2 { bdi data-is="name" {} }
            p.quiet.figures { span data-is="figures" {} }
            progress.bar max="1" value="0" aria-label="Sent" {}
            p.trouble data-is="trouble" hidden {}
            details.result hidden { summary { "Tell the others" } (tell::tell(&tell::ShareText::default())) }
            div.actions {
                button type="button" data-do="stop" { "Stop" }
                a.button data-do="watch" hidden { "Watch" }
            }
        }
    }
}

/// What became of an upload that came without a script.
pub fn saved(here: &Here, files: &[Saved], refused: &[Refused]) -> Markup {
    html! {
        h1 { @if files.len() == 1 { "It is shared." } @else { "They are shared." } }
        @for file in files {
            article.card {
                h2 { a dir="auto" href={ "/files/" (file.info_hash) } { (file.name) } }
                @if let Some(asked) = &file.asked_name {
                    p { "Another file is named " b { (asked) } ", so this one is named " b { (file.name) } "." }
                }
                @if let Some(warning) = &file.warning { p.trouble role="alert" { (warning) } }
                p.quiet { (Size(file.length)) }
                (tell::tell(&tell::ShareText::new(&here.machine.address, file)))
            }
        }
        @for file in refused {
            p.trouble role="alert" { b { (file.name) } " is not shared: " (file.problem) "." }
        }
        p { a href="/" { "Back to all files" } }
    }
}
