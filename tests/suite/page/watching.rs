//! What moves on the page while others fetch, and what does not.

use std::thread;

use super::*;

/// Has the next frame take three seconds, as on a machine that is busy with something else.
const ONE_SLOW_FRAME: &str = "
    const context = CanvasRenderingContext2D.prototype;
    const clear = context.clearRect;
    context.clearRect = function (...where) {
        context.clearRect = clear;
        const until = performance.now() + 3000;
        while (performance.now() < until);
        window.wasSlow = true;
        return clear.apply(this, where);
    };";

#[test]
fn the_sky_moves_on_after_a_slow_frame_and_stands_still_for_who_prefers_that() {
    let Some(lab) = lab("the sky that stands still") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 1_000_001);
    let (_tracker, page) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    upload(lab.host(1), &content, &page);
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
    browser.run(ONE_SLOW_FRAME);
    browser.wait_for("a frame that took long", PATIENCE, "return window.wasSlow === true");
    let before = drawn();
    assert!(wait_until(PATIENCE, || drawn() != before), "nothing moves after one slow frame");
    browser.prefer(Scheme::Dark, true);
    // What was under way ends; from then on every look finds the same.
    let mut last = drawn();
    let stands = wait_until(PATIENCE, || {
        thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut last, drawn()) == last
    });
    assert!(stands, "it moves on");
}

/// Event streams that one address may have open: what the door allows where a process may open 1024 files.
const STREAMS: usize = 48;

#[test]
fn where_the_events_are_refused_the_page_asks_and_its_rows_still_move() {
    let Some(lab) = lab("the page without events") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 24_000_001);
    let mut command = lab.host(0).command("prlimit");
    command
        .args(["--nofile=1024", MINITORRENT, "tracker", "--upload-limit", "1M", "--data"])
        .arg(work.path().join("data"));
    let (_tracker, page) = serve(lab.host(0), 5000, command, work.path());
    let hash = upload(lab.host(2), &content, &page);
    let mut command = lab.host(1).command("curl");
    command.args(["-sN", "--parallel", "--parallel-immediate", "--parallel-max", "99"]);
    command.args([format!("{page}/api/events?[1-{STREAMS}]"), "-o".into(), "/dev/null".into()]);
    let _others = Process::start(command, work.path(), "streams");
    let metrics = || String::from_utf8(lab.host(2).run(&format!("curl -sS {page}/metrics")).unwrap()).unwrap();
    let full = format!("\nminitorrent_http_streams {STREAMS}\n");
    assert!(wait_until(PATIENCE, || metrics().contains(&full)), "{}", metrics());

    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&format!("{page}/files/{hash}"));
    let out = work.path().join("out");
    let line = browser.text("[data-told=command]");
    let _fetch = fetch(lab.host(2), &line, &out, work.path());
    the_rows_move(&browser, &[lab.host(2).address.to_string()]);
    let live = "return document.getElementById('live').hidden === false";
    browser.wait_for("the word that it is live", PATIENCE, live);
    let asked = "return [...new Set(performance.getEntriesByType('resource').map(entry => entry.name))].join(' ')";
    let asked = browser.run(asked);
    assert!(asked.as_str().is_some_and(|asked| asked.contains("/api/transfers?since=")), "it asked for {asked}");
    assert_eq!(own_complaints(&browser), Vec::<String>::new());
}
