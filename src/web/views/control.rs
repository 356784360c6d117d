//! What may be done with files, for those who may: plain forms, which a script only makes quicker.

use maud::{Markup, html};

use super::{
    super::{RateLimits, api::SharedFile},
    words::word,
};
use crate::text::Size;

/// Limits to choose from, in bytes a second.
const LIMITS: [u64; 8] = [128 << 10, 512 << 10, 1 << 20, 2 << 20, 5 << 20, 10 << 20, 20 << 20, 50 << 20];

/// Pause, resume, limit, remove.
pub fn of_file(file: &SharedFile) -> Markup {
    let path = |verb: &str| format!("/api/files/{}/{verb}", file.info_hash);
    let is_still = matches!(file.activity, "paused" | "failed");
    let is_listed = file.activity == "listed";
    html! {
        form.control data-verb="pause" action=(path("pause")) method="post" hidden[is_still || is_listed] {
            button type="submit" { "Pause" }
        }
        form.control data-verb="resume" action=(path("resume")) method="post" hidden[!is_still] {
            button type="submit" { "Resume" }
        }
        details.menu {
            summary { "More" }
            div.menu-body {
                form.control.limits data-verb="limits" action=(path("limits")) method="post" hidden[is_listed] { (limits(file.limits.unwrap_or_default())) }
                form.control data-verb="remove" action=(path("remove")) method="post" {
                    details.ask {
                        summary { "Remove\u{2026}" }
                        p { "Nobody will get it from this machine any more. An upload is deleted here; files in your own folders stay." }
                        button.danger type="submit" { "Remove it" }
                    }
                }
            }
        }
    }
}

/// The same for all files together.
pub fn of_all(rates: RateLimits) -> Markup {
    html! {
        div.actions {
            button.needs-script type="button" data-do="pause-all" { "Pause all" }
            button.needs-script type="button" data-do="resume-all" hidden { "Resume all" }
            details.menu {
                summary { "Limits" }
                div.menu-body {
                    form.control.limits data-verb="limits" action="/api/limits" method="post" { (limits(rates)) }
                }
            }
        }
    }
}

fn limits(rates: RateLimits) -> Markup {
    html! {
        label { "Give at most" (choice("upload", rates.upload)) }
        label { "Take at most" (choice("download", rates.download)) }
        button type="submit" { "Set" }
    }
}

fn choice(name: &str, chosen: u64) -> Markup {
    let is_own = chosen != 0 && !LIMITS.contains(&chosen);
    html! {
        select name=(name) {
            option value="0" selected[chosen == 0] { "no limit" }
            @if is_own { option value=(chosen) selected { (Size(chosen)) "/s" } }
            @for limit in LIMITS { option value=(limit) selected[limit == chosen] { (Size(limit)) "/s" } }
        }
    }
}

/// Fetch something on the machine that serves the page.
pub fn fetch_here() -> Markup {
    html! {
        section aria-labelledby="fetch-title" {
            details.card {
                summary { h2 #fetch-title { "Fetch something to this machine" } }
                p.quiet { "By its " (word("metainfo", "metainfo")) ", JSON or " (word("torrent", ".torrent")) ": an address or a file." }
                div.pair {
                    form.control.field data-verb="fetch" action="/api/fetch" method="post" {
                        label for="fetch-url" { "Address" }
                        input #fetch-url type="url" name="url" required placeholder="http://\u{2026}/metainfos/big.iso.json";
                        button type="submit" { "Fetch" }
                    }
                    form.control.field data-verb="fetch" action="/api/fetch" method="post" enctype="multipart/form-data" {
                        label for="fetch-file" { "File" }
                        input #fetch-file type="file" name="metainfo" required accept=".json,.torrent";
                        button type="submit" { "Fetch" }
                    }
                }
            }
        }
    }
}

/// How to get there without a password.
pub fn how() -> Markup {
    html! {
        p.quiet #how-to-control {
            "To pause, limit or remove files, open the control link in this browser. minitorrent printed that link where it was started: in its terminal or its log."
        }
    }
}

/// For a password.
pub fn login() -> Markup {
    html! {
        details.menu.login {
            summary { "Log in" }
            form.menu-body action="/login" method="post" {
                label { "Password" input type="password" name="password" required autocomplete="current-password"; }
                button type="submit" { "Log in" }
            }
        }
    }
}
