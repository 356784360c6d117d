//! The page in a real browser, opened as another device opens it: by an address of the network, over plain http.
//!
//! `story` is the whole of it from end to end; the others take one thing that a person does, and what may go wrong with it.
//! Pictures of it at both widths and in both schemes are left in `target/pictures`, to be looked at.

mod adding;
mod control;
mod linked;
mod nodes;
mod saving;
mod scriptless;
mod sharing;
mod story;
mod watching;
mod words;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::browser::{Browser, PATIENCE, Scheme};
use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::{folder, skip, wait_until};

const NAME: &str = "Für alle – 星图.img";
const PASSWORD: &str = "per aspera";

/// Mbit/s of the links of the machine that serves the page and of the one that looks at it.
const LINK: u32 = 60;

/// How long a transfer may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Sets the limit of the file by the page; 0 is none.
fn give_at_most(browser: &Browser, bytes: u64) {
    browser.click(".hero .menu > summary");
    browser.click(&format!(".hero select[name=upload] option[value=\"{bytes}\"]"));
    browser.click(".hero .limits button");
    browser.wait_for("the end of the menu", PATIENCE, "return document.querySelector('.hero .menu').open === false");
}

fn log_in(browser: &Browser) {
    assert_eq!(browser.run("return document.querySelector('.control')"), Value::Null);
    browser.click(".login > summary");
    browser.type_into(".login input", PASSWORD);
    browser.click(".login button");
    browser.wait_for("the controls", PATIENCE, "return document.querySelector('.control') != null");
}

/// A tracker with a page that [`PASSWORD`] controls, and its URL.
fn start_tracker(host: &Host, data: &Path, logs: &Path) -> (Process, String) {
    let mut command = host.command(MINITORRENT);
    command.args(["tracker", "--data"]).arg(data);
    serve(host, 5000, command, logs)
}

/// Starts what serves a page at that port, with a password.
fn serve(host: &Host, port: u16, mut command: Command, logs: &Path) -> (Process, String) {
    let password = logs.join("password");
    fs::write(&password, PASSWORD).unwrap();
    command.arg("--password-file").arg(password);
    let mut process = Process::start(command, logs, &format!("page-{}-{port}", host.address));
    let url = format!("http://{}:{port}", host.address);
    let answers = || !process.is_running() || host.run(&format!("curl -sS --fail {url}/healthz")).is_ok();
    assert!(wait_until(PATIENCE, answers) && process.is_running(), "nobody answers: {}", process.stderr());
    (process, url)
}

/// Has a machine upload a file, as a terminal does; the info hash.
fn upload(host: &Host, content: &Content, page: &str) -> String {
    let file = content.root.join(&content.name);
    let json = "-H Accept:application/json";
    let command = format!("curl -sS --fail {json} -T {} {page}/uploads/{}", file.display(), content.name);
    let answer = host.run(&command).unwrap();
    let saved: Value = serde_json::from_slice(&answer).unwrap();
    saved["info_hash"].as_str().unwrap().to_owned()
}

/// Does what the page tells to do in a terminal.
fn fetch(host: &Host, line: &str, out: &Path, logs: &Path) -> Process {
    let meta = line.strip_prefix("minitorrent fetch ").unwrap_or_else(|| panic!("the page tells to run {line:?}"));
    let mut command = host.command(MINITORRENT);
    command.args(["fetch", meta, "--seed-for", "300", "--out"]).arg(out);
    Process::start(command, logs, &format!("fetch-{}", host.address))
}

/// What the browser has complained of, but for what it says by itself of connections that broke or were refused.
fn own_complaints(browser: &Browser) -> Vec<String> {
    let is_own = |line: &String| !line.contains("net::ERR_") && !line.contains("Failed to load resource");
    browser.complaints().into_iter().filter(is_own).collect()
}

/// The values that the rows of one machine show, until there are three of them on the way from nothing to all; they must grow.
fn the_rows_move(browser: &Browser, addresses: &[String]) {
    let mut seen = vec![Vec::new(); addresses.len()];
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
                None => skip("what keeps people out of a page", "axe-core is missing, which tests/setup.sh installs"),
            }
        }
    }
    browser.prefer(Scheme::Dark, false);
}

/// Four machines: one serves the page, one looks at it, two fetch. Or a line that says aloud why not.
fn lab(test: &str) -> Option<Lab> {
    if let Err(reason) = Browser::available() {
        skip(test, &reason);
        return None;
    }
    let lab = Lab::or_skip(test, 4)?;
    lab.limit_link(0, LINK);
    lab.limit_link(1, LINK);
    Some(lab)
}
