//! The files of `static/`, embedded when the program is built.

/// What each is called in a URL, its type, its bytes.
const ASSETS: [(&str, &str, &[u8]); 20] = [
    ("board.js", SCRIPT, include_bytes!("../../../static/board.js")),
    ("cards.js", SCRIPT, include_bytes!("../../../static/cards.js")),
    ("check.js", SCRIPT, include_bytes!("../../../static/check.js")),
    ("control.js", SCRIPT, include_bytes!("../../../static/control.js")),
    ("fill.js", SCRIPT, include_bytes!("../../../static/fill.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../../../static/icon.svg")),
    ("live.js", SCRIPT, include_bytes!("../../../static/live.js")),
    ("main.js", SCRIPT, include_bytes!("../../../static/main.js")),
    ("map.js", SCRIPT, include_bytes!("../../../static/map.js")),
    ("openapi.json", "application/json", include_bytes!("../../../static/openapi.json")),
    ("planet.js", SCRIPT, include_bytes!("../../../static/planet.js")),
    ("said.js", SCRIPT, include_bytes!("../../../static/said.js")),
    ("save.js", SCRIPT, include_bytes!("../../../static/save.js")),
    ("sha1.js", SCRIPT, include_bytes!("../../../static/sha1.js")),
    ("share.js", SCRIPT, include_bytes!("../../../static/share.js")),
    ("sky.js", SCRIPT, include_bytes!("../../../static/sky.js")),
    ("style.css", "text/css; charset=utf-8", include_bytes!("../../../static/style.css")),
    ("tell.js", SCRIPT, include_bytes!("../../../static/tell.js")),
    ("upload.js", SCRIPT, include_bytes!("../../../static/upload.js")),
    ("words.js", SCRIPT, include_bytes!("../../../static/words.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The type and the bytes of the file of that name.
pub fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    ASSETS.iter().find(|(file, ..)| *file == name).map(|(_, content_type, bytes)| (*content_type, *bytes))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
        let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let embedded = ASSETS.iter().map(|(name, ..)| (*name).to_owned());
        assert_eq!(names.collect::<BTreeSet<_>>(), embedded.collect());
    }
}
