//! The same page on machines that are no tracker: what they give and take, pause and resume, and what they have whole.

use super::*;

/// Bytes a second that the seeder gives, so that there is something to watch.
const RATE: &str = "1M";

/// Bytes that it may send in a second while nothing is fetched.
const QUIET: u64 = 300_000;

#[test]
fn the_pages_of_a_seeder_and_a_fetcher_show_what_they_do_and_hand_out_what_is_whole() {
    let Some(lab) = lab("the pages of seed and fetch") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 24_000_001);
    let (_tracker, tracker) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    let mut command = lab.host(2).command(MINITORRENT);
    command.args(["seed", "moon.bin", "--tracker", &format!("{tracker}/announce"), "--upload-limit", RATE]);
    command.args(["--page", "0.0.0.0:8080"]).current_dir(&content.root);
    let (seed, of_seeder) = serve(lab.host(2), 8080, command, work.path());
    let listed = format!("curl -sS --fail {tracker}/metainfos/moon.bin.json");
    assert!(wait_until(PATIENCE, || lab.host(1).run(&listed).is_ok()), "it is not listed: {}", seed.stderr());
    let out = work.path().join("out");
    let mut command = lab.host(3).command(MINITORRENT);
    command.args(["fetch", &format!("{tracker}/metainfos/moon.bin.json"), "--page", "0.0.0.0:8080", "--out"]).arg(&out);
    let (_fetch, of_fetcher) = serve(lab.host(3), 8080, command, work.path());

    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&of_seeder);
    assert!(browser.text("h1").starts_with("Sharing from "), "{}", browser.text("h1"));
    browser.click("#files a[data-is=open]");
    the_rows_move(&browser, &["10.77.0.4".to_owned()]);
    browser.go(&of_fetcher);
    browser.click("#files a[data-is=open]");
    browser.wait_for("the page of the file", PATIENCE, "return document.querySelector('.whole') != null");
    assert!(browser.text("#elsewhere").starts_with("You can download it here once this machine has all of it."));
    let row = |who: &str| {
        browser.run(&format!(
            "return [...document.querySelectorAll('#rows tr')].find(row => row.textContent.includes('{who}'))?.innerText ?? null"
        ))
    };
    let own = || row("this machine").as_str().map(str::to_owned);
    assert!(wait_until(PATIENCE, || own().is_some() && row("10.77.0.3:").is_string()), "{}", browser.text("#rows"));
    let own = own().unwrap();
    assert!(own.contains("10.77.0.4") && !own.contains(":0"), "an address that nobody has: {own:?}");
    look(&browser, "node");
    log_in(&browser);
    browser.click(".hero form[data-verb=pause] button");
    let activity =
        |words: &str| format!("return document.querySelector('.hero [data-is=activity]').textContent === '{words}'");
    browser.wait_for("the pause", PATIENCE, &activity("paused here"));
    let per_second = || lab.host(2).sent_in(Duration::from_secs(1));
    assert!(wait_until(PATIENCE, || per_second() < QUIET), "{} bytes a second still come", per_second());
    browser.click(".hero form[data-verb=resume] button");
    browser.wait_for("the end of the fetch", LIMIT, &activity("seeding here"));
    content.compare(&out).unwrap();
    browser.wait_for("the offer to fetch it", PATIENCE, "return document.getElementById('save').checkVisibility()");
    save(&browser, &content, &work.path().join("saved"));

    browser.go(&of_seeder);
    browser.click("#files a[data-is=open]");
    browser.wait_for("its page", PATIENCE, "return document.querySelector('.whole') != null");
    assert!(browser.text("#rows").contains("10.77.0.4:"), "it forgot whom it gave to: {}", browser.text("#rows"));
    save(&browser, &content, &work.path().join("saved"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Has the browser fetch and check the file, and takes away what it saved.
fn save(browser: &Browser, content: &Content, folder: &Path) {
    browser.click("[data-do=save]");
    let right = "return document.querySelector('[data-is=saving]').textContent.startsWith('All pieces verified')";
    browser.wait_for("the checked file", LIMIT, right);
    assert!(wait_until(LIMIT, || content.compare(folder).is_ok()), "{:?}", content.compare(folder));
    fs::remove_file(folder.join(&content.name)).unwrap();
}
