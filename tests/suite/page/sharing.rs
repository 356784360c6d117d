//! Files that come from a browser: many at once, in folders, of every name, after the browser was closed, too large.

use std::fs::File;

use super::*;

#[test]
fn a_file_chosen_again_after_the_browser_was_closed_goes_on_from_where_it_stopped() {
    let Some(lab) = lab("the browser that was closed") else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), NAME, 24_000_001);
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let file = content.root.join(NAME);
    let choose = || {
        let browser = Browser::open(lab.host(1), work.path());
        browser.go(&page);
        browser.type_into("#file", file.to_str().unwrap());
        browser
    };
    let browser = choose();
    let halfway = "return document.querySelector('.upload progress').value > 0.4";
    browser.wait_for("half of the upload", PATIENCE, halfway);
    drop(browser);
    assert!(fs::read_dir(data.join("uploads")).unwrap().all(|entry| entry.unwrap().file_name() == ".part"));

    let before = lab.host(1).sent();
    let browser = choose();
    browser.wait_for("the end of the upload", LIMIT, "return document.querySelector('.upload.done') != null");
    let sent = lab.host(1).sent() - before;
    assert!(sent < content.length() * 7 / 10, "{sent} bytes were sent again of {}", content.length());
    content.compare(&data.join("uploads")).unwrap();
}

#[test]
fn folders_and_many_files_at_once_are_shared_each_by_a_name_of_its_own() {
    let Some(lab) = lab("many files at once") else { return };
    let work = folder();
    let source = work.path().join("source");
    let names = [
        "ελληνικά.txt",
        "кот.png",
        "ملف.pdf",
        "猫 & 犬.mp4",
        "e\u{301}té.txt",
        "a'b\"c<i>.txt",
        "😀.bin",
        "100%25#?.txt",
    ];
    let files = names.into_iter().chain(["deep/er/same.txt"]).map(|name| source.join("album").join(name));
    let loose = ["same.txt", "one/same.txt", "two/same.txt"].map(|name| source.join(name));
    for (number, path) in files.chain(loose.clone()).enumerate() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![number as u8; 100_000 + number]).unwrap();
    }
    fs::write(source.join("album/empty.txt"), "").unwrap();
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    browser.drop_files(&[source.join("album"), loose[0].clone()]);
    loose[1..].iter().for_each(|path| browser.drop_files(std::slice::from_ref(path)));
    let all = names.len() + 1 + loose.len();
    browser.wait_for(
        "the end of all uploads",
        LIMIT,
        &format!("return document.querySelectorAll('.upload.done').length === {all}"),
    );
    let mut shared: Vec<String> = fs::read_dir(data.join("uploads"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".part")
        .collect();
    let of_album =
        names.iter().map(|name| format!("album - {name}")).chain(["album - deep - er - same.txt".to_owned()]);
    let of_same = ["same.txt", "same (2).txt", "same (3).txt"].map(str::to_owned);
    let mut expected: Vec<String> = of_album.chain(of_same).collect();
    shared.sort();
    expected.sort();
    assert_eq!(shared, expected);
    let troubles = "return [...document.querySelectorAll('.upload .trouble')].filter(line => line.checkVisibility())\
                    .map(line => line.textContent.trim()).join('|')";
    let said = browser.run(troubles);
    assert_eq!(said, "album - empty.txt is empty: a torrent without a single byte has nothing to share");
    browser.wait_for(
        "a card for each",
        PATIENCE,
        &format!("return document.querySelectorAll('#files > article').length === {all}"),
    );
    look(&browser, "many");
    assert_eq!(own_complaints(&browser), Vec::<String>::new());
}

#[test]
fn a_folder_may_be_chosen_where_dropping_is_hard() {
    let Some(lab) = lab("a folder that is chosen") else { return };
    let work = folder();
    let album = work.path().join("album");
    fs::create_dir_all(&album).unwrap();
    ["a.txt", "b.txt"].iter().for_each(|name| fs::write(album.join(name), name).unwrap());
    let data = work.path().join("data");
    let (_tracker, page) = start_tracker(lab.host(0), &data, work.path());
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    browser.type_into("#folder", album.to_str().unwrap());
    browser.wait_for("both files", LIMIT, "return document.querySelectorAll('.upload.done').length === 2");
    for name in ["a.txt", "b.txt"] {
        assert_eq!(fs::read(data.join("uploads").join(format!("album - {name}"))).unwrap(), name.as_bytes());
    }
}

#[test]
fn a_file_without_room_is_refused_before_its_first_byte() {
    let Some(lab) = lab("the file without room") else { return };
    let work = folder();
    let huge = work.path().join("huge.img");
    // It takes no room itself: nothing was ever written to it.
    File::create(&huge).unwrap().set_len(8 << 40).unwrap();
    let (_tracker, page) = start_tracker(lab.host(0), &work.path().join("data"), work.path());
    let browser = Browser::open(lab.host(1), work.path());
    browser.go(&page);
    let before = lab.host(1).sent();
    browser.type_into("#file", huge.to_str().unwrap());
    browser.wait_for("the refusal", PATIENCE, "return document.querySelector('.upload .trouble').checkVisibility()");
    assert_eq!(
        browser.text(".upload .trouble").trim(),
        "There is no room for it on that machine: the file has 8.0 TiB."
    );
    let sent = lab.host(1).sent() - before;
    assert!(sent < 100_000, "{sent} bytes were sent for it");
    assert_eq!(own_complaints(&browser), Vec::<String>::new());
}
