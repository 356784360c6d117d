//! The words of the trade, which explain themselves.

use super::*;

#[test]
fn every_word_explains_itself_to_keyboard_pointer_and_tap() {
    let Some(lab) = lab("the words") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 100_001);
    let (_tracker, page) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    let hash = upload(lab.host(2), &content, &page);
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&format!("{page}/files/{hash}"));
    let key = |kind: &str| {
        browser.devtools(
            "Input.dispatchKeyEvent",
            json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 }),
        );
    };
    let open = "return document.querySelector('.meaning:popover-open')?.id ?? null";
    let focused =
        "return document.activeElement.matches('.word') ? document.activeElement.getAttribute('popovertarget') : null";
    let mut explained = std::collections::BTreeSet::new();
    for _ in 0..60 {
        ["rawKeyDown", "keyUp"].iter().for_each(|kind| key(kind));
        let word = browser.run(focused);
        assert_eq!(browser.run(open), word, "what has the focus is what is explained, and nothing else");
        explained.extend(word.as_str().map(str::to_owned));
    }
    let all = browser.run(
        "return [...new Set([...document.querySelectorAll('.word')].filter(word => word.checkVisibility())\
                           .map(word => word.getAttribute('popovertarget')))].sort().join()",
    );
    assert_eq!(all.as_str().unwrap(), explained.iter().cloned().collect::<Vec<_>>().join(","));
    assert!(explained.len() >= 8, "{explained:?}");

    let place = browser.run(
        "document.activeElement.blur(); const word = document.querySelector('.hero .word'); word.scrollIntoView({ block: 'center' });\
         const at = word.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2];",
    );
    let mouse = |kind: &str, x: &Value, y: &Value| {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        browser.devtools("Input.dispatchMouseEvent", event);
    };
    mouse("mouseMoved", &place[0], &place[1]);
    browser.wait_for(
        "the meaning under the pointer",
        PATIENCE,
        "return document.querySelector('.meaning:popover-open') != null",
    );
    mouse("mouseMoved", &json!(1), &json!(1));
    browser.wait_for("its end", PATIENCE, "return document.querySelector('.meaning:popover-open') == null");
    browser.devtools("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
    let touch = |kind: &str, points: Value| {
        _ = browser.devtools("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points }));
    };
    touch("touchStart", json!([{ "x": place[0], "y": place[1] }]));
    touch("touchEnd", json!([]));
    browser.wait_for(
        "the meaning of what was tapped",
        PATIENCE,
        "return document.querySelector('.meaning:popover-open') != null",
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
