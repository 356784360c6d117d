//! The page in a browser that runs no script: forms do what forms do.

use super::*;

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
    for (verb, says) in [("pause", "paused here"), ("resume", "seeding here")] {
        browser.click(&format!("form[data-verb={verb}] button"));
        assert_eq!(shown(&browser, ".hero [data-is=activity]"), says);
    }
    browser.click(".word");
    assert!(shown(&browser, ".meaning:popover-open").ends_with('.'));
}

/// What a page says that runs no script: read by the DevTools protocol, which needs none.
fn shown(browser: &Browser, selector: &str) -> String {
    let script = format!("document.querySelector({})?.textContent", json!(selector));
    let answer = browser.devtools("Runtime.evaluate", json!({ "expression": script }));
    answer["result"]["value"].as_str().unwrap_or_else(|| panic!("nothing on the page is {selector}")).to_owned()
}
