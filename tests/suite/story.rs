//! The story of two devices: one runs the tracker and takes an upload, the others fetch it by the links that the page gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::house::content::Content;
use crate::house::lab::{Host, Lab};
use crate::house::process::{MINITORRENT, Process};
use crate::house::{folder, wait_until};

const NAME: &str = "A file für alle.bin";
const NAME_IN_URL: &str = "A%20file%20f%C3%BCr%20alle.bin";

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_file_crosses_the_room_by_the_page_of_the_tracker() {
    let Some(lab) = Lab::or_skip("the story of two devices", 3) else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), NAME, 30_000_001);
    let data = work.path().join("data");
    let _tracker = start_tracker(lab.host(0), &data, work.path());
    let page = format!("http://{}:5000", lab.host(0).address);

    // A browser on the second device chooses the file, and a port to seed it from.
    let file = content.root.join(NAME);
    let mut upload = lab.host(1).command("curl");
    upload.args(["-sS", "--fail-with-body", "-F", &format!("file=@\"{}\"", file.display()), "-F", "port=6890"]);
    upload.arg(format!("{page}/upload"));
    let uploaded = Process::start(upload, work.path(), "upload").ended(LIMIT);
    assert_eq!(uploaded.code, Some(0), "{}{}", uploaded.stdout, uploaded.stderr);

    content.compare(&data.join("uploads")).unwrap();
    for form in ["json", "torrent"] {
        assert!(data.join(format!("metainfos/{NAME}.{form}")).is_file(), "no metainfo as .{form}");
    }
    let shown = String::from_utf8(lab.host(1).run(&format!("curl -sS {page}/")).unwrap()).unwrap();
    for link in ["uploads/", "metainfos/"] {
        assert!(shown.contains(link), "the page shows no link to {link}: {shown}");
    }

    // One device fetches by the JSON, the other by the .torrent, both by URL.
    for (device, form) in [(1, "json"), (2, "torrent")] {
        let meta = format!("{page}/metainfos/{NAME_IN_URL}.{form}");
        let out = work.path().join(form);
        fetch(lab.host(device), &meta, &out, work.path());
        content.compare(&out).unwrap();
    }
    let listened = lab.host(0).run("ss -Hltn sport = 6890").unwrap();
    assert!(!listened.is_empty(), "nothing listens on the port that the form asked for");

    let direct = work.path().join("direct");
    fs::create_dir(&direct).unwrap();
    let line = format!("curl -sS --fail -o {} {page}/uploads/{NAME_IN_URL}", direct.join("it").display());
    lab.host(2).run(&line).unwrap();
    fs::rename(direct.join("it"), direct.join(NAME)).unwrap();
    content.compare(&direct).unwrap();
}

#[test]
fn a_seeder_registers_its_file_with_the_page_and_another_device_fetches_it() {
    let Some(lab) = Lab::or_skip("make seed beside a tracker", 2) else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "big.iso", 20_000_000);
    let data = work.path().join("data");
    let _tracker = start_tracker(lab.host(0), &data, work.path());
    let tracker = format!("http://{}:5000/announce", lab.host(0).address);
    let mut command = lab.host(0).command(MINITORRENT);
    command.args(["seed", "big.iso", "--tracker", &tracker]).current_dir(&content.root);
    let seed = Process::start(command, work.path(), "seed");

    let listed = || data.join("metainfos/big.iso.json").is_file();
    assert!(wait_until(LIMIT, listed), "the tracker's page never heard of it: {}", seed.stderr());
    let meta = format!("http://{}:5000/metainfos/big.iso.json", lab.host(0).address);
    let out = work.path().join("out");
    fetch(lab.host(1), &meta, &out, work.path());
    content.compare(&out).unwrap();
}

#[test]
fn an_upload_is_seeded_again_after_a_restart() {
    let Some(lab) = Lab::or_skip("an upload after a restart", 2) else { return };
    let work = folder();
    let content = Content::file(&work.path().join("source"), "kept.bin", 10_000_000);
    let data = work.path().join("data");
    let page = format!("http://{}:5000", lab.host(0).address);
    let before = start_tracker(lab.host(0), &data, work.path());
    let file = content.root.join("kept.bin");
    lab.host(1).run(&format!("curl -sS --fail -F file=@{} {page}/upload", file.display())).unwrap();
    drop(before);
    let _after = start_tracker(lab.host(0), &data, work.path());
    let out = work.path().join("out");
    fetch(lab.host(1), &format!("{page}/metainfos/kept.bin.torrent"), &out, work.path());
    content.compare(&out).unwrap();
}

fn start_tracker(host: &Host, data: &Path, logs: &Path) -> Process {
    fs::create_dir_all(data).unwrap();
    let mut command = host.command(MINITORRENT);
    command.args(["tracker", "--data"]).arg(data);
    let tracker = Process::start(command, logs, "tracker");
    let healthy = || host.run(&format!("curl -s --fail http://{}:5000/healthz", host.address)).is_ok();
    assert!(wait_until(LIMIT, healthy), "it does not answer: {}", tracker.stderr());
    let page = format!("http://{}:5000", host.address);
    let said = || tracker.stdout() + &tracker.stderr();
    let shown = wait_until(LIMIT, || said().contains(&page));
    assert!(shown, "it does not print its address as another device would type it: {}", said());
    tracker
}

/// Fetches to the end, and holds the fetch to exit code 0.
fn fetch(host: &Host, meta: &str, out: &Path, logs: &Path) {
    let mut command = host.command(MINITORRENT);
    command.args(["fetch", meta, "--seed-for", "0", "--out"]).arg(out);
    let ended = Process::start(command, logs, &PathBuf::from(out).file_name().unwrap().to_string_lossy()).ended(LIMIT);
    assert_eq!(ended.code, Some(0), "{meta}: {}", ended.stderr);
}
