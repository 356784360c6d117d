//! What strangers write stays text, and the page holds what its policy asks for.

use super::super::shown::{Detail, File, Links, Row, State};
use super::*;

const EVIL: &str = "<script>alert(\"x\")</script>&'.iso";

fn evil_file() -> File {
    let links = Links { json: "/metainfos/x.json".into(), page: "/files/x".into(), ..Links::default() };
    File { name: EVIL.into(), command: EVIL.into(), trouble: Some(EVIL.into()), links, ..File::default() }
}

fn all_may() -> May {
    May { upload: true, control: true, login: true }
}

#[test]
fn a_strangers_name_is_text_and_nothing_else() {
    let home = home(&State { files: vec![evil_file()], may: all_may(), ..State::default() });
    let row = Row { name: Some(EVIL.into()), client: Some(EVIL.into()), address: EVIL.into(), ..Row::default() };
    let file = file("http://a", &Detail { file: evil_file(), rows: vec![row], map: None }, all_may());
    for markup in [home.into_string(), file.into_string()] {
        assert!(markup.contains("&lt;script&gt;") && !markup.contains("<script"), "{markup}");
    }
}

#[test]
fn no_script_and_no_style_stands_in_the_markup() {
    let machine = Machine { name: EVIL.into(), ..Machine::default() };
    let frame = Frame { title: EVIL, machine: &machine, may: all_may(), is_live: true };
    let state = State { files: vec![evil_file()], may: all_may(), ..State::default() };
    let markup = document(&frame, home(&state)).into_string();
    assert!(!markup.contains(" style=") && !markup.contains(" onclick="));
    assert!(!POLICY.contains("unsafe") && POLICY.contains("default-src 'none'"));
}

#[test]
fn who_may_not_control_sees_no_controls() {
    let state = State { files: vec![evil_file()], ..State::default() };
    let markup = home(&state).into_string();
    assert!(!markup.contains("/pause") && !markup.contains("/upload") && !markup.contains("/api/fetch"), "{markup}");
}
