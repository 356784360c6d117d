//! A page without a password: control is by the link that the program printed. And what a page of another site gets of it.

use super::*;

const HAS_CONTROLS: &str = "return document.querySelector('.section-head .menu') != null";

/// A tracker without a password, and its URL.
fn start_open_tracker(host: &Host, logs: &Path) -> (Process, String) {
    let mut command = host.command(MINITORRENT);
    command.args(["tracker", "--data"]).arg(logs.join("data"));
    let tracker = Process::start(command, logs, "tracker");
    let is_up = || tracker.stdout().contains("clients announce to");
    assert!(wait_until(PATIENCE, is_up), "it never starts: {}", tracker.stderr());
    (tracker, format!("http://{}:5000", host.address))
}

#[test]
fn the_printed_link_gives_control_to_the_browser_that_opens_it_and_keeps_it() {
    let Some(lab) = lab("the control link") else { return };
    let work = folder();
    let (tracker, page) = start_open_tracker(lab.host(0), work.path());
    let first = work.path().join("first");
    fs::create_dir_all(&first).unwrap();
    let link = tracker.control_link().unwrap_or_else(|| panic!("no link: {}", tracker.stdout()));
    assert!(link.starts_with(&page), "{link}");
    {
        let browser = Browser::open(lab.host(1), &first);
        browser.go(&page);
        assert_eq!(browser.run(HAS_CONTROLS), Value::Bool(false));
        assert!(
            browser.text("#how-to-control").contains("open the control link in this browser"),
            "it is said how to get control"
        );
        look(&browser, "without-control");
        browser.go(&link);
        browser.wait_for("the controls", PATIENCE, HAS_CONTROLS);
        assert_eq!(browser.run("return location.href + document.referrer"), json!(format!("{page}/")));
        assert_eq!(browser.run("return document.cookie"), json!(""), "no script reads the cookie");
        assert_eq!(browser.run("return document.getElementById('how-to-control')"), Value::Null);
        look(&browser, "with-control");
        browser.go(&page);
        assert_eq!(browser.run(HAS_CONTROLS), Value::Bool(true), "after a reload");
    }
    let browser = Browser::open(lab.host(1), &first);
    browser.go(&page);
    assert_eq!(browser.run(HAS_CONTROLS), Value::Bool(true), "after the browser was closed and opened again");
    drop(browser);

    let second = work.path().join("second");
    fs::create_dir_all(&second).unwrap();
    let browser = Browser::open(lab.host(2), &second);
    browser.go(&link);
    assert!(browser.text("body").contains("newest link"), "{}", browser.text("body"));
    browser.go(&tracker.control_link().filter(|next| *next != link).expect("the next link was printed"));
    browser.wait_for("the controls of a second browser", PATIENCE, HAS_CONTROLS);
}

#[test]
fn a_page_of_another_site_neither_lists_its_visitor_nor_reads_an_upload() {
    let Some(lab) = lab("a page of another site") else { return };
    let work = folder();
    let (tracker, page) = start_open_tracker(lab.host(0), work.path());
    for name in ["secret.js", "secret.png"] {
        let put = format!("curl -sS --fail -T {}/{name} {page}/uploads/{name}", work.path().display());
        fs::write(work.path().join(name), "window.read = 'secret'").unwrap();
        lab.host(2).run(&put).unwrap();
    }
    let browser = Browser::open(lab.host(1), work.path());
    // A site of that browser's own machine: any that is not the tracker's.
    let announce = format!(
        "{page}/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&amp;peer_id=-HO0001-bbbbbbbbbbbb&amp;port=6881&amp;left=1"
    );
    let html = format!(
        "<meta name=referrer content=no-referrer><title>evil</title><script>window.failed = 0; window.loaded = 0</script>\
         <img src='{announce}' onerror='failed++' onload='loaded++'><img src='{page}/static/icon.svg' onerror='failed++' onload='loaded++'>\
         <script src='{page}/uploads/secret.js' onerror='failed++' onload='loaded++'></script>\
         <script src='{page}/static/main.js' type=module onerror='failed++' onload='loaded++'></script>\
         <link rel=stylesheet href='{page}/static/style.css' onerror='failed++' onload='loaded++'>\
         <iframe src='{announce}'></iframe>"
    );
    fs::write(work.path().join("evil.html"), html).unwrap();
    browser.go(&format!("file://{}/evil.html", work.path().display()));
    browser.wait_for("every refusal", PATIENCE, "return failed + loaded === 5");
    assert_eq!(
        browser.run("return [failed, loaded, window.read ?? null]"),
        json!([5, 0, null]),
        "{}",
        tracker.stderr()
    );
    let metrics = lab.host(2).run(&format!("curl -sS --fail {page}/metrics")).unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(!metrics.contains("info_hash=\"6161"), "the visitor is listed");
    // Two uploads are announced by the tracker itself, and nobody else.
    assert!(metrics.contains("\nminitorrent_peers 2\n"), "{metrics}");
}
