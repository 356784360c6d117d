//! A browser that fetches a file over HTTP, checks every piece, and saves it only if all of them are right.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;

#[test]
fn a_wrong_piece_is_fetched_again_and_never_saved() {
    let Some(lab) = lab("the wrong piece") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "moon.bin", 9_000_001);
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let hash = upload(lab.host(2), &content, &page);
    let original = fs::read(content.root.join("moon.bin")).unwrap();
    let stored = OpenOptions::new().write(true).open(data.join("uploads/moon.bin")).unwrap();
    let put = |byte: u8| stored.write_all_at(&[byte], 5_000_000).unwrap();

    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&format!("{page}/files/{hash}"));
    let says =
        |words: &str| format!("return document.querySelector('[data-is=saving]').textContent.includes('{words}')");
    put(!original[5_000_000]);
    browser.click("[data-do=save]");
    browser.wait_for(
        "the word of the wrong piece",
        LIMIT,
        &says("piece 19 is not what it should be; it is fetched again"),
    );
    browser.wait_for("the end of all tries", LIMIT, &says("That did not work: piece 19 is not what it should be"));
    let saved =
        || fs::read_dir(work.path().join("saved")).unwrap().flatten().map(|file| file.path()).collect::<Vec<_>>();
    assert_eq!(saved(), Vec::<std::path::PathBuf>::new());

    browser.click("[data-do=save]");
    browser.wait_for("the word of the wrong piece", LIMIT, &says("it is fetched again"));
    put(original[5_000_000]);
    browser.wait_for("the file that is right", LIMIT, &says("All pieces verified"));
    let is_right = || matches!(&saved()[..], [file] if fs::read(file).unwrap() == original);
    assert!(wait_until(LIMIT, is_right), "{:?}", saved());
    assert_eq!(own_complaints(&browser), Vec::<String>::new());
}
