//! Files that the machine that serves the page fetches, because somebody told it to.

use super::*;

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
    let files = lab.host(1).run(&format!("curl -sS --fail {page}/api/files")).unwrap();
    let files: Value = serde_json::from_slice(&files).unwrap();
    let link = files[0]["download"].as_str().unwrap_or_else(|| panic!("{files}"));
    let moon = lab.host(1).run(&format!("curl -sS --fail {page}{link}")).unwrap();
    assert_eq!(moon, fs::read(content.root.join("moon.bin")).unwrap(), "what is whole is handed out");
    browser.type_into("#fetch-url", "http://10.77.0.1:5000/metainfos/nothing.json");
    browser.click("form[data-verb=fetch] button");
    browser.wait_for(
        "the reason why not",
        PATIENCE,
        "return document.querySelector('form[data-verb=fetch] .trouble') != null",
    );
    let trouble = "form[data-verb=fetch] .trouble";
    assert!(browser.text(trouble).ends_with("the server answers with HTTP status 404"), "{}", browser.text(trouble));
    browser.run("document.getElementById('fetch-url').value = ''");
    browser.type_into("#fetch-url", "http://localhost:5000/metainfos/moon.bin.json");
    browser.click("form[data-verb=fetch] button");
    browser.wait_for(
        "why this machine does not ask itself for whoever controls its page",
        PATIENCE,
        "return document.querySelector('form[data-verb=fetch] .trouble').textContent.includes('within the machine that serves this page')",
    );
}
