//! The piece map: which pieces are where. In markup it is a sentence; a script draws it.

use maud::{Markup, html};

use super::{
    super::api::{FileView, PieceMap},
    words::word,
};

/// The map with its legend, and the same in words.
pub fn map(view: &FileView) -> Markup {
    html! {
        p #map-words { (words(view)) }
        div.map hidden[view.map.is_none()] {
            canvas #map role="img" aria-labelledby="map-words" {}
            ul.legend {
                li { span.swatch.rare {} "with one: " (word("rarest", "rarest")) }
                li { span.swatch.few {} "with some" }
                li { span.swatch.many {} "with most" }
                li { span.swatch.none {} "with none" }
                li { span.swatch.hollow {} "not here" }
            }
        }
    }
}

/// `static/map.js` says the same.
fn words(view: &FileView) -> String {
    let Some(PieceMap { known, counts, .. }) = &view.map else {
        return "Which pieces are where is unknown: this machine is connected to nobody in the swarm, and announces \
                do not tell it."
            .to_owned();
    };
    let rarest = counts.iter().min().copied().unwrap_or(0);
    let here = match (view.file.have, view.file.pieces) {
        (Some(have), Some(pieces)) if have == pieces => format!("All {pieces} pieces are here. "),
        (Some(have), Some(pieces)) => format!("{have} of {pieces} pieces are here. "),
        _ => String::new(),
    };
    let machines = if *known == 1 { "1 machine is" } else { &format!("{known} machines are") };
    format!("{here}{machines} connected to this one; {}.", of_rarest(rarest as usize, *known))
}

fn of_rarest(rarest: usize, known: usize) -> String {
    match (rarest, known) {
        (0, 1) => "it lacks some pieces".to_owned(),
        (_, 1) => "it has every piece".to_owned(),
        (0, _) => "some pieces are with none of them".to_owned(),
        (1, _) => "the rarest pieces are with only one of them".to_owned(),
        _ if rarest == known => "every piece is with all of them".to_owned(),
        _ => format!("the rarest pieces are with {rarest} of them"),
    }
}
