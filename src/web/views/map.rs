//! The piece map: how many machines have each piece. In markup it is a sentence; a script draws it.

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
            canvas #map role="slider" tabindex="0" aria-label="Piece" aria-valuemin="0" aria-valuemax="0" aria-valuenow="0" aria-valuetext="none" {}
            p #piece-words.quiet.small role="status" { span.needs-script { "Point at a piece, tap it, or go there with the arrow keys." } }
            ul.legend {
                li { span.swatch.none {} "no copy" }
                li { span.swatch.rare {} "1 copy: " (word("rarest", "rarest")) }
                li { span.swatch.few {} "few" }
                li { span.swatch.many {} "every machine" }
                li { span.swatch.small {} "missing on this machine" }
            }
        }
    }
}

/// `static/map.js` says the same.
fn words(view: &FileView) -> String {
    let here = match (view.file.have, view.file.pieces) {
        (Some(have), Some(pieces)) if have == pieces => format!("All {pieces} pieces are on this machine. "),
        (Some(have), Some(pieces)) => format!("{have} of {pieces} pieces are on this machine. "),
        _ => String::new(),
    };
    match &view.map {
        None => format!("{here}No one is connected right now, so the piece map is not known."),
        Some(map) => format!("{here}{}", of_all(map, view.file.pieces.unwrap_or(0))),
    }
}

fn of_all(map: &PieceMap, pieces: u32) -> String {
    let what = if map.bucket == 1 { "pieces".to_owned() } else { format!("groups of {} pieces", map.bucket) };
    let those = if map.known == 1 { "this one machine".to_owned() } else { format!("these {} machines", map.known) };
    let count = |copies: u32| map.counts.iter().filter(|count| **count == copies).count();
    let said = match (map.counts.iter().min(), count(0), count(1)) {
        (Some(least), ..) if *least as usize >= map.known && map.known > 1 => {
            format!("All {} machines have all {pieces} pieces.", map.known)
        }
        (_, none @ 1.., _) => format!("On {those}, {none} {what} are missing."),
        (_, _, one @ 1..) if map.known > 2 => format!("On {those}, {one} {what} exist only once."),
        (Some(least), ..) => format!("On {those}, there is at least {least} of each."),
        (None, ..) => String::new(),
    };
    match map.machines - map.known.min(map.machines) {
        0 => said,
        1 => format!("{said} One more tells only how much it has."),
        more => format!("{said} {more} more tell only how much they have."),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::api::SharedFile, *};

    #[test]
    fn the_sentence_counts_every_machine_and_the_end_is_full() {
        let words = |counts: &[u32], known, machines| {
            let file = SharedFile { have: Some(2), pieces: Some(4), ..SharedFile::default() };
            let map = PieceMap { known, machines, here: "wA==".to_owned(), counts: counts.to_vec(), bucket: 1 };
            words(&FileView { file, map: Some(map), ..FileView::default() })
        };
        let here = "2 of 4 pieces are on this machine.";
        assert_eq!(words(&[4; 4], 4, 4), format!("{here} All 4 machines have all 4 pieces."));
        assert_eq!(words(&[4, 1, 1, 2], 4, 4), format!("{here} On these 4 machines, 2 pieces exist only once."));
        assert_eq!(words(&[1, 2, 1, 2], 2, 2), format!("{here} On these 2 machines, there is at least 1 of each."));
        let more = " One more tells only how much it has.";
        assert_eq!(words(&[0, 2, 1, 2], 2, 3), format!("{here} On these 2 machines, 1 pieces are missing.{more}"));
        let unknown = FileView::default();
        assert_eq!(super::words(&unknown), "No one is connected right now, so the piece map is not known.");
    }
}
