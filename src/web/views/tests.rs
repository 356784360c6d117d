//! What strangers write stays text, and the page holds what its policy asks for.

use super::super::{
    Kind, RateLimits,
    access::May,
    api::{FileView, Row, SharedFile},
};
use super::{super::api::state::MachineState, *};

const EVIL: &str = "<script>alert(\"x\")</script>&'.iso";

fn here(may: bool) -> Here {
    let machine = MachineState { name: EVIL.into(), kind: Kind::Tracker, version: "1", address: "http://a".into() };
    Here { machine, may: May { upload: may, control: may, login: may }, limits: RateLimits::default(), you: None }
}

fn evil_file() -> SharedFile {
    SharedFile {
        name: EVIL.into(),
        command: EVIL.into(),
        trouble: Some(EVIL.into()),
        activity: "seeding",
        ..SharedFile::default()
    }
}

fn pages(may: bool) -> [String; 2] {
    let row = Row { name: Some(EVIL.into()), client: Some(EVIL.into()), address: EVIL.into(), ..Row::default() };
    let view = FileView { file: evil_file(), rows: vec![row], ..FileView::default() };
    let here = here(may);
    [home(&here, &[evil_file()], &[]), file(&here, &view)].map(|content| document(&here, EVIL, content).into_string())
}

#[test]
fn a_strangers_name_is_text_and_nothing_else() {
    for markup in pages(true) {
        assert!(markup.contains("&lt;script&gt;alert") && !markup.contains("<script>"), "{markup}");
    }
}

#[test]
fn no_script_and_no_style_stands_in_the_markup() {
    assert!(
        !POLICY.contains("unsafe") && POLICY.starts_with("default-src 'none'; script-src 'self'; style-src 'self';")
    );
    for markup in pages(true) {
        let scripts: Vec<_> = markup.match_indices("<script").map(|(at, _)| &markup[at..]).collect();
        assert!(
            scripts
                .iter()
                .all(|script| script.starts_with("<script type=\"module\" src=\"/static/main.js\"></script>"))
        );
        assert!(!markup.contains(" style=") && !markup.contains("<style") && !markup.contains(" onclick="), "{markup}");
    }
}

#[test]
fn who_may_not_control_sees_no_controls() {
    for (may, seen) in [(true, true), (false, false)] {
        let markup = pages(may).concat();
        for path in ["/pause\"", "/remove\"", "\"/upload\"", "\"/api/fetch\"", "\"/api/limits\"", "\"/login\""] {
            assert_eq!(markup.contains(path), seen, "{path}");
        }
    }
}
