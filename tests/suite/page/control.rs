//! What those may do who control the page, and what the others may not.

use super::*;

/// What the page's limit lets through in a second, in bytes.
const LEAST_LIMIT: u64 = 128 << 10;

/// What else goes out while a file does: the page, headers, what the limit's bucket holds.
const SLACK: u64 = 300_000;

#[test]
fn limits_and_pauses_hold_for_all_files_together() {
    let Some(lab) = lab("limits and pauses of all files") else { return };
    let work = folder();
    let (_tracker, page) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    let contents = ["earth.bin", "moon.bin"].map(|name| Content::file(&work.path().join(name), name, 30_000_001));
    contents.iter().for_each(|content| _ = upload(lab.host(2), content, &page));
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    log_in(&browser);
    browser.wait_for(
        "both files",
        PATIENCE,
        "return document.querySelectorAll('[data-activity=seeding]').length === 2",
    );
    limit_all(&browser, LEAST_LIMIT);
    let outs = [2, 3].map(|device| work.path().join(format!("device {device}")));
    let _fetches = [2, 3].map(|device| {
        let line = format!("minitorrent fetch {page}/metainfos/{}.json", contents[device - 2].name);
        fetch(lab.host(device), &line, &outs[device - 2], work.path())
    });
    let per_second = || lab.host(0).sent_in(Duration::from_secs(2)) / 2;
    let taken = |out: &Path| fs::read_dir(out).is_ok_and(|mut files| files.next().is_some());
    assert!(wait_until(PATIENCE, || outs.iter().all(|out| taken(out))), "nobody begins to fetch");
    let limited = per_second();
    assert!(limited < LEAST_LIMIT + SLACK, "{limited} bytes a second go out, {LEAST_LIMIT} may");

    limit_all(&browser, 0);
    assert!(wait_until(PATIENCE, || per_second() > 2 * (LEAST_LIMIT + SLACK)), "without a limit it is as slow");
    browser.click("[data-do=pause-all]");
    browser.wait_for(
        "the pause of both",
        PATIENCE,
        "return document.querySelectorAll('[data-activity=paused]').length === 2",
    );
    assert!(wait_until(PATIENCE, || per_second() < SLACK), "{} bytes a second still go out", per_second());
    assert_eq!(
        browser.run("return document.querySelector('[data-do=pause-all]').checkVisibility()"),
        Value::Bool(false)
    );
    browser.click("[data-do=resume-all]");
    for (content, out) in contents.iter().zip(&outs) {
        assert!(wait_until(LIMIT, || content.compare(out).is_ok()), "{:?}", content.compare(out));
    }
    assert_eq!(own_complaints(&browser), Vec::<String>::new());
}

fn limit_all(browser: &Browser, bytes: u64) {
    browser.click(".section-head .menu > summary");
    browser.click(&format!(".section-head select[name=upload] option[value=\"{bytes}\"]"));
    browser.click(".section-head .limits button");
    let closed = "return document.querySelector('.section-head .menu').open === false";
    browser.wait_for("the end of the menu", PATIENCE, closed);
}

#[test]
fn with_no_upload_only_who_knows_the_password_may_share() {
    let Some(lab) = lab("the page without uploads") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 100_001);
    let mut command = lab.host(0).command(MINITORRENT);
    command.args(["tracker", "--no-upload", "--data"]).arg(work.path().join("data"));
    let (_tracker, page) = serve(lab.host(0), 5000, command, work.path());
    let file = content.root.join("moon.bin");
    let put = format!("curl -sS -T {} {page}/uploads/moon.bin", file.display());
    let refused = String::from_utf8(lab.host(1).run(&put).unwrap()).unwrap();
    assert!(refused.contains("upload"), "{refused}");
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    assert_eq!(browser.run("return document.getElementById('share')"), Value::Null);
    assert_eq!(browser.text("h1"), "Files in this room.");
    browser.click(".login > summary");
    browser.type_into(".login input", "per astra");
    browser.click(".login button");
    assert!(browser.text("body").contains("password"), "{}", browser.text("body"));
    browser.go(&page);
    log_in(&browser);
    browser.type_into("#file", file.to_str().unwrap());
    browser.wait_for("the upload", LIMIT, "return document.querySelector('.upload.done') != null");
    content.compare(&work.path().join("data/uploads")).unwrap();
}
