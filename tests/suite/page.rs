//! The page in a real browser, opened as another device opens it: by an address of the network, over plain http.
//!
//! Pictures of it at both widths and in both schemes are left in `target/pictures`, to be looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::browser::{Browser, PATIENCE, Scheme};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::{folder, say, wait_until};

const NAME: &str = "Für alle – 星图.img";
const LENGTH: u64 = 48 * 1024 * 1024 + 17;
const PASSWORD: &str = "per aspera";

/// Mbit/s of the links of the machine that serves the page and of the one that looks at it.
const LINK: u32 = 60;

/// How long a transfer may take.
const LIMIT: Duration = Duration::from_secs(120);

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

#[test]
fn what_is_added_on_the_page_is_fetched_by_the_machine_that_serves_it() {
    let Some(lab) = lab("adding on the page") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 3_000_001);
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let mut command = lab.host(2).command(MINITORRENT);
    command.args(["seed", "moon.bin", "--tracker", &format!("{page}/announce")]).current_dir(&content.root);
    let seed = Process::start(command, work.path(), "seed");
    let is_listed = || data.join("metainfos/moon.bin.json").is_file();
    assert!(wait_until(PATIENCE, is_listed), "the page never heard of it: {}", seed.stderr());

    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    log_in(&browser);
    browser.wait_for(
        "the file of another",
        PATIENCE,
        "return document.querySelector('[data-activity=listed]') != null",
    );
    browser.click("details.card > summary");
    browser.type_into("#fetch-url", &format!("{page}/metainfos/moon.bin.json"));
    browser.click("form[data-verb=fetch] button");
    assert!(wait_until(LIMIT, || content.compare(&data.join("fetched")).is_ok()), "{}", browser.text("main"));
    browser.wait_for("its card", PATIENCE, "return document.querySelector('[data-activity=seeding]') != null");
    browser.type_into("#fetch-url", "http://10.77.0.1:5000/metainfos/nothing.json");
    browser.click("form[data-verb=fetch] button");
    browser.wait_for(
        "the reason why not",
        PATIENCE,
        "return document.querySelector('form[data-verb=fetch] .trouble') != null",
    );
}

#[test]
fn the_page_works_without_a_script() {
    let Some(lab) = lab("the page without a script") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), NAME, 1_000_001);
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let browser = Browser::open(lab.host(1), work.path());
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.go(&page);
    browser.click(".login > summary");
    browser.type_into(".login input", PASSWORD);
    browser.click(".login button");
    browser.type_into("#file", content.root.join(NAME).to_str().unwrap());
    browser.click("#share button[type=submit]");
    assert_eq!(shown(&browser, "h1"), "It is shared.");
    content.compare(&data.join("uploads")).unwrap();
    browser.click("h2 a");
    assert_eq!(shown(&browser, "h1"), NAME);
    for (verb, says) in [("pause", "paused here"), ("resume", "shared from here")] {
        browser.click(&format!("form[data-verb={verb}] button"));
        assert_eq!(shown(&browser, ".hero [data-is=activity]"), says);
    }
    browser.click(".word");
    assert!(shown(&browser, ".meaning:popover-open").ends_with('.'));
}

#[test]
fn the_sky_stands_still_for_who_prefers_that() {
    let Some(lab) = lab("the sky that stands still") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 1_000_001);
    let (_tracker, page) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    let file = content.root.join("moon.bin");
    lab.host(1).run(&format!("curl -sS --fail -T {} {page}/uploads/moon.bin", file.display())).unwrap();
    let browser = Browser::open(lab.host(1), work.path());
    browser.prefer(Scheme::Dark, false);
    browser.go(&page);
    browser.wait_for(
        "a machine around the planet",
        PATIENCE,
        "return document.querySelector('.room')?.textContent === 'One machine has it'",
    );
    let drawn = || browser.run("return [...document.querySelectorAll('.sky')].map(sky => sky.toDataURL()).join()");
    let before = drawn();
    assert!(wait_until(PATIENCE, || drawn() != before), "nothing moves");
    browser.prefer(Scheme::Dark, true);
    // What was under way ends; from then on every look finds the same.
    let mut last = drawn();
    let stands = wait_until(PATIENCE, || {
        thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut last, drawn()) == last
    });
    assert!(stands, "it moves on");
}

/// What a page says that runs no script: read by the DevTools protocol, which needs none.
fn shown(browser: &Browser, selector: &str) -> String {
    let script = format!("document.querySelector({})?.textContent", json!(selector));
    let answer = browser.devtools("Runtime.evaluate", json!({ "expression": script }));
    answer["result"]["value"].as_str().unwrap_or_else(|| panic!("nothing on the page is {selector}")).to_owned()
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
    // The browser says of itself that connections broke, as they did.
    let others: Vec<_> = browser.complaints().into_iter().filter(|line| !line.contains("net::ERR_")).collect();
    assert_eq!(others, Vec::<String>::new());
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
    let addresses = [2, 3].map(|device| lab.host(device).address.to_string());
    let mut seen = [Vec::new(), Vec::new()];
    let moved = wait_until(LIMIT, || {
        for (address, seen) in addresses.iter().zip(&mut seen) {
            let percent = browser.run(&format!(
                "const row = [...document.querySelectorAll('#rows tr')].find(row => row.textContent.includes('{address}:'));\
                 return row ? row.querySelector('progress').value : null;"
            ));
            seen.extend(percent.as_f64().filter(|percent| (0.1..99.9).contains(percent)));
            seen.dedup();
        }
        seen.iter().all(|seen| seen.len() >= 3)
    });
    assert!(moved, "the rows of {addresses:?} showed {seen:?}");
    assert!(seen.iter().all(|seen| seen.is_sorted()), "the rows of {addresses:?} went back: {seen:?}");
    browser.wait_for("the map", PATIENCE, "return document.getElementById('map').getBoundingClientRect().height > 0");
    assert!(browser.text("#map-words").contains("connected to it"), "{}", browser.text("#map-words"));
}

/// Sets the limit of the file by the page; 0 is none.
fn give_at_most(browser: &Browser, bytes: u64) {
    browser.click(".hero .menu > summary");
    browser.click(&format!(".hero select[name=upload] option[value=\"{bytes}\"]"));
    browser.click(".hero .limits button");
    browser.wait_for("the end of the menu", PATIENCE, "return document.querySelector('.hero .menu').open === false");
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
    let per_second = || {
        let before = server.sent();
        thread::sleep(Duration::from_secs(1));
        server.sent() - before
    };
    assert!(wait_until(PATIENCE, || per_second() < QUIET), "{} bytes a second still go out", per_second());
    browser.click(".hero form[data-verb=resume] button");
    assert!(wait_until(PATIENCE, || per_second() > 2 * QUIET), "nothing goes out again");
}

fn the_browser_fetches_and_checks(browser: &Browser, content: &Content, folder: &Path) {
    browser.click("[data-do=save]");
    browser.wait_for(
        "the checked file",
        LIMIT,
        "return document.querySelector('[data-is=saving]').textContent.startsWith('Every piece is right')",
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

fn log_in(browser: &Browser) {
    assert_eq!(browser.run("return document.querySelector('.control')"), Value::Null);
    browser.click(".login > summary");
    browser.type_into(".login input", PASSWORD);
    browser.click(".login button");
    browser.wait_for("the controls", PATIENCE, "return document.querySelector('.control') != null");
}

/// Leaves pictures of the page in both schemes and widths, and lets axe look for what keeps people out.
fn look(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pictures");
    for scheme in [Scheme::Dark, Scheme::Light] {
        browser.prefer(scheme, false);
        for (width, height) in [(360, 740), (1280, 900)] {
            browser.resize(width, height);
            let wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
            assert_eq!(wide, Value::Bool(false), "{name} is wider than {width} pixels");
            browser.picture(&folder.join(format!("{name}-{width}-{}.png", scheme.name())));
            match browser.violations() {
                Some(found) => assert_eq!(found, Vec::<String>::new(), "{name} at {width}, {}", scheme.name()),
                None => say("skipped: axe-core is missing, which tests/setup.sh installs"),
            }
        }
    }
    browser.prefer(Scheme::Dark, false);
}

fn start_tracker(host: &Host, data: &Path, logs: &Path) -> (Process, String) {
    let password = logs.join("password");
    fs::write(&password, PASSWORD).unwrap();
    let mut command = host.command(MINITORRENT);
    command.args(["tracker", "--data"]).arg(data).arg("--password-file").arg(password);
    let mut tracker = Process::start(command, logs, "tracker");
    let url = format!("http://{}:5000", host.address);
    let answers = || !tracker.is_running() || host.run(&format!("curl -sS --fail {url}/healthz")).is_ok();
    assert!(wait_until(PATIENCE, answers) && tracker.is_running(), "the tracker does not answer: {}", tracker.stderr());
    (tracker, url)
}

/// Does what the page tells to do in a terminal.
fn fetch(host: &Host, line: &str, out: &Path, logs: &Path) -> Process {
    let meta = line.strip_prefix("minitorrent fetch ").unwrap_or_else(|| panic!("the page tells to run {line:?}"));
    let mut command = host.command(MINITORRENT);
    command.args(["fetch", meta, "--seed-for", "300", "--out"]).arg(out);
    Process::start(command, logs, &format!("fetch-{}", host.address))
}

/// Four machines: one serves the page, one looks at it, two fetch. Or a line that says aloud why not.
fn lab(test: &str) -> Option<Lab> {
    if let Err(reason) = Browser::available() {
        say(&format!("skipped: {test}: {reason}"));
        return None;
    }
    let lab = Lab::or_skip(test, 4)?;
    lab.limit_link(0, LINK);
    lab.limit_link(1, LINK);
    Some(lab)
}
