//! The piece map: which pieces are where. In markup it is a sentence; a script draws it.

use maud::{Markup, html};

use super::{
    super::shown::{Detail, Map},
    words::word,
};

/// The map with its legend, and the same in words.
pub fn map(detail: &Detail) -> Markup {
    html! {
        p #map-words { (words(detail)) }
        div.map hidden[detail.map.is_none()] {
            canvas #map role="img" aria-labelledby="map-words" {}
            ul.legend {
                li { span.swatch.rare {} "one machine has it: " (word("rarest", "rarest")) }
                li { span.swatch.few {} "a few" }
                li { span.swatch.many {} "most" }
                li { span.swatch.none {} "none that is known" }
                li { span.swatch.here {} "framed: here" }
            }
        }
    }
}

/// `static/map.js` says the same.
fn words(detail: &Detail) -> String {
    let Some(Map { known, counts, .. }) = &detail.map else {
        return "Unknown: this machine has no session with anybody in this swarm, and announces do not tell which \
                pieces a machine has."
            .to_owned();
    };
    let rarest = counts.iter().min().copied().unwrap_or(0);
    let rare = counts.iter().filter(|count| **count == rarest).count();
    let here = detail.file.have.map(|have| format!("{have} of {} pieces are here. ", detail.file.pieces));
    let machines = if *known == 1 { "machine is" } else { "machines are" };
    format!(
        "{}{known} {machines} known piece by piece; the rarest {rare} of {} fields {} with {rarest} of them.",
        here.unwrap_or_default(),
        counts.len(),
        if rare == 1 { "is" } else { "are" },
    )
}
