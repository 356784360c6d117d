//! The piece map: which pieces are where. In markup it is a sentence; a script draws it.

use data_encoding::BASE64;
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
    let here = match (view.file.have, view.file.pieces) {
        (Some(have), Some(pieces)) if have == pieces => format!("All {pieces} pieces are here. "),
        (Some(have), Some(pieces)) => format!("{have} of {pieces} pieces are here. "),
        _ => String::new(),
    };
    let Some(map) = &view.map else {
        return format!(
            "{here}Who has which pieces is unknown: nobody is connected to this machine, and announces do not tell."
        );
    };
    let others = if map.known == 1 { "one".to_owned() } else { map.known.to_string() };
    let those = match lowest(map, view.file.pieces.unwrap_or(0) as usize) {
        0 => "some pieces are missing".to_owned(),
        1 => "the rarest pieces are with only one".to_owned(),
        all if all == map.known + 1 => "everyone has every piece".to_owned(),
        some => format!("the rarest pieces are with {some}"),
    };
    format!("{here}Among this machine and the {others} connected to it, {those}.")
}

/// How many machines have the rarest piece, this one among them.
fn lowest(map: &PieceMap, pieces: usize) -> usize {
    let here = BASE64.decode(map.here.as_bytes()).unwrap_or_default();
    let is_here = |piece: usize| here.get(piece / 8).is_some_and(|byte| byte & (0x80 >> (piece % 8)) != 0);
    let size = map.bucket as usize;
    let counts = map.counts.iter().enumerate().map(|(at, count)| {
        let is_here = (at * size..((at + 1) * size).min(pieces)).all(is_here);
        *count as usize + usize::from(is_here)
    });
    counts.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{super::super::api::SharedFile, *};

    #[test]
    fn the_rarest_piece_is_counted_with_this_machine() {
        // Of ten pieces the first eight are here.
        let words = |counts: &[u32], known| {
            let file = SharedFile { have: Some(8), pieces: Some(10), ..SharedFile::default() };
            let map = PieceMap { known, here: "/wA=".to_owned(), counts: counts.to_vec(), bucket: 1 };
            words(&FileView { file, map: Some(map), ..FileView::default() })
        };
        let start = "8 of 10 pieces are here. Among this machine and the";
        assert_eq!(
            words(&[2, 2, 2, 2, 2, 2, 2, 2, 0, 2], 2),
            format!("{start} 2 connected to it, some pieces are missing.")
        );
        assert_eq!(
            words(&[0, 2, 2, 2, 2, 2, 2, 2, 2, 2], 2),
            format!("{start} 2 connected to it, the rarest pieces are with only one.")
        );
        assert_eq!(words(&[1; 10], 1), format!("{start} one connected to it, the rarest pieces are with only one."));
        assert_eq!(
            words(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2], 5),
            format!("{start} 5 connected to it, the rarest pieces are with 2.")
        );
    }
}
