//! The board: a row for every machine in a swarm.

use std::net::{IpAddr, SocketAddr};

use maud::{Markup, html};

use super::{super::api::Row, said, words::word};

/// The table. Its last row is a template for a script.
pub fn board(rows: &[Row], you: Option<IpAddr>) -> Markup {
    html! {
        table.board {
            caption.unseen { "The machines in this swarm" }
            thead {
                tr {
                    th scope="col" { "Machine" }
                    th scope="col" { "Has" }
                    th scope="col" { "In" }
                    th scope="col" { "Out" }
                    th scope="col" { "State" }
                }
            }
            tbody #rows { @for each in rows { (row(each, you)) } }
        }
        p #nobody.empty hidden[!rows.is_empty()] { "Nobody is in the " (word("swarm", "swarm")) " yet." }
        p.quiet.small {
            "Figures are live for machines that have a " (word("session", "session")) " with this one; for the others they come from their last "
            (word("announce", "announce")) ". \u{201c}Best\u{201d} is the highest rate so far."
        }
        template #row-template { (row(&Row::default(), None)) }
    }
}

fn row(row: &Row, you: Option<IpAddr>) -> Markup {
    let name = row.name.as_deref().unwrap_or(&row.address);
    html! {
        tr data-row=(row.id) data-state=(said::doing(row.state)) data-live[row.live] {
            th scope="row" {
                bdi.who data-is="who" { (name) } span.pill.you data-is="you" hidden[!is_at(row, you)] { "you" }
                span.quiet.small { bdi data-is="address" { (row.name.as_ref().map_or("", |_| &row.address)) } " " bdi data-is="client" { (row.client.as_deref().unwrap_or("unknown client")) } }
            }
            td.has { progress.bar max="100" value=(row.percent.unwrap_or(0.0)) aria-label={ "Share of the file at " (name) } {} span data-is="percent" { (said::has(row)) } }
            td.in { (figure("\u{2193}", "down", row.down_rate)) (best("best-down", row.peak_down)) }
            td.out { (figure("\u{2191}", "up", row.up_rate)) (best("best-up", row.peak_up)) }
            td.state { span.pill data-is="state" { (said::doing(row.state)) } " " span.quiet.small data-is="left" { (said::of_state(row)) } }
        }
    }
}

/// Whether a machine is the one at this address.
fn is_at(row: &Row, you: Option<IpAddr>) -> bool {
    let ip = row.address.parse().ok().or_else(|| row.address.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.is_some() && ip == you
}

fn figure(arrow: &str, key: &str, rate: Option<f64>) -> Markup {
    html! { span.arrow.quiet aria-hidden="true" { (arrow) } span data-is=(key) { (said::rate(rate)) } }
}

fn best(key: &str, rate: Option<f64>) -> Markup {
    let text = rate.filter(|rate| *rate >= 1.0).map(|rate| format!("best {}", said::rate(Some(rate))));
    html! { span.best.quiet.small data-is=(key) { (text.unwrap_or_default()) } }
}
