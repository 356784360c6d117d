//! The whole story: a person shares a file over a connection that breaks, watches others fetch it, pauses, fetches it in the
//! browser, removes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::house::say;

const LENGTH: u64 = 48 * 1024 * 1024 + 17;

/// Bytes a second that the serving machine gives while the room is watched, so that there is something to watch.
const SLOW: u64 = 1024 * 1024;

/// Bytes that the serving machine may send in a second while nothing is shared: the page itself.
const QUIET: u64 = 300_000;

/// How many times slower a core is when what the page takes of it is measured.
const SLOWER: u32 = 6;

/// How often that is measured.
const MEASUREMENTS: usize = 3;

/// The most that motion may take of that core.
const MOTION: f64 = 0.05;

#[test]
fn a_person_shares_a_file_by_the_page_and_watches_the_room_fill() {
    let Some(lab) = lab("the whole story of the page") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), NAME, LENGTH);
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let browser = Browser::open(lab.host(1), work.path());
    browser.prefer(Scheme::Dark, false);
    browser.resize(1280, 900);
    browser.go(&page);
    look(&browser, "empty");
    log_in(&browser);

    share_over_a_broken_connection(&browser, lab.host(1), &content);
    content.compare(&data.join("uploads")).unwrap();
    everything_to_tell_is_there(&browser, &page);
    look(&browser, "shared");

    browser.click(".upload.done [data-do=watch]");
    browser.wait_for("the page of the file", PATIENCE, "return document.querySelector('.whole') != null");
    give_at_most(&browser, SLOW);
    let command = browser.text("[data-told=command]");
    let outs = [2, 3].map(|device| work.path().join(format!("device {device}")));
    let fetches = [2, 3].map(|device| fetch(lab.host(device), &command, &outs[device - 2], work.path()));
    rows_move_and_pieces_are_seen(&browser, &lab);
    look(&browser, "fetching");
    motion_is_cheap(&browser, "while pieces move");
    pause_stops_the_bytes_and_resume_lets_them_go_on(&browser, lab.host(0));
    give_at_most(&browser, 0);

    for (out, fetch) in outs.iter().zip(&fetches) {
        let is_there = wait_until(LIMIT, || content.compare(out).is_ok());
        assert!(is_there, "{:?}: {}", content.compare(out), fetch.stderr());
    }
    browser.wait_for(
        "everybody has it",
        PATIENCE,
        "return /^All \\d+ have it$/.test(document.querySelector('.room').textContent)",
    );
    look(&browser, "done");
    motion_is_cheap(&browser, "when all is done");
    the_browser_fetches_and_checks(&browser, &content, work.path());
    remove_asks_first(&browser, &data);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn share_over_a_broken_connection(browser: &Browser, host: &Host, content: &Content) {
    let before = host.sent();
    browser.drop_files(&[content.root.join(NAME)]);
    let progress = "document.querySelector('.upload progress').value";
    browser.wait_for("progress", PATIENCE, &format!("return {progress} > 0.15"));
    let figures = browser.text(".upload [data-is=figures]");
    assert!(figures.contains("MiB/s") && figures.ends_with(" left"), "{figures}");

    host.break_connections_to(5000);
    browser.wait_for("the word of the break", PATIENCE, "return !document.querySelector('.upload .trouble').hidden");
    let reached = browser.run(&format!("return {progress}")).as_f64().unwrap();
    assert!(reached > 0.1 && reached < 1.0, "it broke at {reached}");
    look(browser, "broken");
    host.mend();
    browser.wait_for("the end of the upload", LIMIT, "return document.querySelector('.upload.done') != null");
    let sent = host.sent() - before;
    assert!(sent < LENGTH + LENGTH / 5, "{sent} bytes were sent for {LENGTH}: it began anew");
    assert_eq!(own_complaints(browser), Vec::<String>::new());
}

fn everything_to_tell_is_there(browser: &Browser, page: &str) {
    let told = |key: &str| browser.text(&format!(".upload.done [data-told={key}]"));
    assert!(told("page").starts_with(&format!("{page}/files/")), "{}", told("page"));
    assert!(told("command").starts_with(&format!("minitorrent fetch {page}/metainfos/")), "{}", told("command"));
    let link = |key: &str| format!("document.querySelector('.upload.done [data-told={key}]').href");
    for (key, end) in [("json", ".img.json"), ("torrent", ".img.torrent"), ("download", ".img")] {
        let url = browser.run(&format!("return {}", link(key)));
        assert!(url.as_str().is_some_and(|url| url.starts_with(page) && url.ends_with(end)), "{key}: {url}");
    }
    browser.wait_for(
        "the code for cameras",
        PATIENCE,
        "return document.querySelector('.upload.done .code').naturalWidth > 0",
    );
    let copy = ".upload.done .copy:has([data-told=command]) button";
    browser.click(copy);
    assert!(["Copied", "Selected"].contains(&browser.text(copy).as_str()), "{}", browser.text(copy));
    assert_eq!(browser.run("return getSelection().toString()"), Value::String(told("command")));
}

fn rows_move_and_pieces_are_seen(browser: &Browser, lab: &Lab) {
    the_rows_move(browser, &[2, 3].map(|device| lab.host(device).address.to_string()));
    browser.wait_for("the map", PATIENCE, "return document.getElementById('map').getBoundingClientRect().height > 0");
    assert!(browser.text("#map-words").contains("On these "), "{}", browser.text("#map-words"));
}

/// What motion takes of a slow core: the page with it, less the page without it.
fn motion_is_cheap(browser: &Browser, when: &str) {
    // The least of some measurements: what else runs on this machine only ever adds.
    let least = |is_still| {
        browser.prefer(Scheme::Dark, is_still);
        let loads = (0..MEASUREMENTS).map(|_| browser.load(SLOWER, Duration::from_secs(3)));
        loads.fold(f64::INFINITY, f64::min)
    };
    let [moving, still] = [false, true].map(least);
    browser.prefer(Scheme::Dark, false);
    let [all, rest] = [moving, still].map(|load| format!("{:.1} %", load * 100.0));
    say(&format!("{when}, the page takes {all} of a core {SLOWER} times slower, {rest} without motion"));
    assert!(moving - still < MOTION, "{when}, motion takes {:.1} %", (moving - still) * 100.0);
}

fn pause_stops_the_bytes_and_resume_lets_them_go_on(browser: &Browser, server: &Host) {
    browser.click(".hero form[data-verb=pause] button");
    browser.wait_for(
        "the pause",
        PATIENCE,
        "return document.querySelector('.hero [data-is=activity]').textContent === 'paused here'",
    );
    let per_second = || server.sent_in(Duration::from_secs(1));
    assert!(wait_until(PATIENCE, || per_second() < QUIET), "{} bytes a second still go out", per_second());
    browser.click(".hero form[data-verb=resume] button");
    assert!(wait_until(PATIENCE, || per_second() > 2 * QUIET), "nothing goes out again");
}

fn the_browser_fetches_and_checks(browser: &Browser, content: &Content, folder: &Path) {
    browser.click("[data-do=save]");
    browser.wait_for(
        "the checked file",
        LIMIT,
        "return document.querySelector('[data-is=saving]').textContent.startsWith('All pieces verified')",
    );
    // Chromium may give a file that it saves another name; this folder holds only that one.
    let saved =
        || fs::read_dir(folder.join("saved")).unwrap().flatten().map(|file| file.path()).collect::<Vec<PathBuf>>();
    let is_right = || matches!(saved().as_slice(), [file] if fs::read(file).unwrap() == fs::read(content.root.join(NAME)).unwrap());
    assert!(wait_until(LIMIT, is_right), "{:?}", saved());
}

fn remove_asks_first(browser: &Browser, data: &Path) {
    browser.click(".hero .menu > summary");
    let is_asked = "return document.querySelector('.hero .danger').checkVisibility()";
    assert_eq!(browser.run(is_asked), Value::Bool(false));
    browser.click(".hero .ask > summary");
    assert_eq!(browser.run(is_asked), Value::Bool(true));
    browser.click(".hero .danger");
    browser.wait_for(
        "the empty list",
        PATIENCE,
        "return document.getElementById('nothing')?.checkVisibility() === true",
    );
    assert!(!data.join("uploads").join(NAME).exists());
}
