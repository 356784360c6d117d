//! How to get the program itself: by a script of two lines, by one line, or by a link.

use maud::{Markup, html};

use super::{super::program::Program, tell::line};
use crate::text::Size;

/// The binaries that this machine has; nothing where it has none.
pub fn program(address: &str, programs: &[Program]) -> Markup {
    html! {
        @if !programs.is_empty() {
            section aria-labelledby="program-title" {
                div.section-head { h2 #program-title { "Get the program" } }
                div.card.stack {
                    p { "On Linux, in a terminal. The script says what it does, and writes to ~/.local/bin alone." }
                    p.told { (line(&format!("curl -fo get.sh {address}/get"), "get")) (line("sh get.sh", "run")) }
                    p.quiet.small { "Or at once, without a look at it: " code { "curl -f " (address) "/get | sh" } }
                    p.links {
                        @for program in programs {
                            span {
                                a href={ "/dist/" (program.name) } { (program.label()) }
                                " " span.quiet { (Size(program.length)) }
                            }
                        }
                        a href="/dist/SHA256SUMS" { "SHA-256 sums" }
                    }
                    p.quiet.small {
                        "The sum tells a transfer that broke from one that did not. It is no protection against an attacker: whoever can change the program on its way can change the sum."
                    }
                }
            }
        }
    }
}
