//! `tracker --watch`: a folder that is shared as it fills.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::Duration,
};

use crate::house::{
    content::Content,
    folder,
    process::{MINITORRENT, Process, free_port},
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The tracker with its folder.
struct Watched {
    tracker: Process,
    port: u16,
}

impl Watched {
    fn start(work: &Path, watched: &Path) -> Watched {
        let port = free_port();
        let mut command = Command::new(MINITORRENT);
        command.args(["tracker", "-v", "--port", &port.to_string(), "--seed-port", "0"]);
        command.arg("--data").arg(work.join("data")).arg("--watch").arg(watched);
        let tracker = Process::start(command, work, "tracker");
        let watched = Watched { tracker, port };
        assert!(wait_until(LIMIT, || watched.get("/healthz").is_some()), "{}", watched.tracker.stderr());
        watched
    }

    fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let output = Command::new("curl").args(["-sf", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// What is listed: name and path of the JSON metainfo.
    fn listed(&self) -> Vec<(String, String)> {
        let files: serde_json::Value = serde_json::from_str(&self.get("/api/files").unwrap()).unwrap();
        let text = |file: &serde_json::Value, key: &str| file[key].as_str().unwrap().to_owned();
        let mut files: Vec<_> =
            files.as_array().unwrap().iter().map(|file| (text(file, "name"), text(file, "json"))).collect();
        files.sort();
        files
    }

    fn lists(&self, names: &[&str]) -> bool {
        self.listed().iter().map(|(name, _)| name).eq(names)
    }

    /// Fetches what is listed under that name, and compares it.
    fn gives(&self, work: &Path, content: &Content) {
        let (_, json) = self.listed().into_iter().find(|(name, _)| *name == content.name).unwrap();
        let out = work.join(format!("out-{}", content.name));
        let mut command = Command::new(MINITORRENT);
        command.args([
            "fetch",
            &format!("http://127.0.0.1:{}{json}", self.port),
            "--port",
            "0",
            "--seed-for",
            "0",
            "--out",
        ]);
        command.arg(&out);
        let ended = Process::start(command, work, "fetch").ended(LIMIT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        content.compare(&out).unwrap();
    }
}

#[test]
fn what_is_whole_in_a_watched_folder_is_shared_and_what_disappears_is_withdrawn() {
    let work = folder();
    let shared = work.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let first = Content::file(&shared, "first.bin", 1_000_000);
    fs::write(shared.join(".hidden"), "nothing for others").unwrap();
    let tracker = Watched::start(work.path(), &shared);
    assert!(wait_until(LIMIT, || tracker.lists(&["first.bin"])), "{:?} {}", tracker.listed(), tracker.tracker.stderr());
    tracker.gives(work.path(), &first);

    // A file that grows is not shared under way, and one that is renamed is shared at once; nor is a link, wherever it lies.
    let mut growing = OpenOptions::new().create(true).append(true).open(shared.join("growing.bin")).unwrap();
    let second = Content::file(work.path(), "second.bin", 500_000);
    fs::copy(work.path().join("second.bin"), shared.join("second.bin.part")).unwrap();
    symlink("/etc/hostname", shared.join("link")).unwrap();
    fs::create_dir(shared.join("folder-with-link")).unwrap();
    symlink("/etc/hostname", shared.join("folder-with-link/link")).unwrap();
    let mut looks = 0;
    assert!(
        wait_until(LIMIT, || {
            growing.write_all(b"more").unwrap();
            looks += 1;
            // Long enough that it has been seen under its first name.
            if looks == 60 {
                fs::rename(shared.join("second.bin.part"), shared.join("second.bin")).unwrap();
            }
            tracker.lists(&["first.bin", "second.bin"])
        }),
        "{:?}",
        tracker.listed()
    );
    tracker.gives(work.path(), &second);
    drop(growing);
    assert!(wait_until(LIMIT, || tracker.lists(&["first.bin", "growing.bin", "second.bin"])), "{:?}", tracker.listed());

    // What goes is withdrawn, what changes too, until it rests again; a folder is one thing.
    fs::remove_file(shared.join("first.bin")).unwrap();
    let tree = Content::folder(work.path());
    fs::rename(work.path().join(&tree.name), shared.join("tree")).unwrap();
    fs::write(shared.join("second.bin"), "something else").unwrap();
    assert!(wait_until(LIMIT, || tracker.lists(&["growing.bin", "second.bin", "tree"])), "{:?}", tracker.listed());
    let said = tracker.tracker.stderr() + &tracker.tracker.stdout();
    assert!(said.contains("first.bin is not shared any longer") && said.contains("tree is shared"), "{said}");
}

#[test]
fn a_folder_that_the_tracker_writes_to_is_not_watched() {
    let work = folder();
    fs::create_dir_all(work.path().join("data/uploads")).unwrap();
    let data = work.path().join("data");
    for watched in [data.clone(), data.join("uploads"), work.path().to_owned(), work.path().join("nowhere")] {
        let mut command = Command::new(MINITORRENT);
        command.args(["tracker", "--port", "0", "--seed-port", "0", "--data"]).arg(&data).arg("--watch").arg(&watched);
        let ended = Process::start(command, work.path(), "tracker").ended(LIMIT);
        assert_eq!(ended.code, Some(1), "{}: {}", watched.display(), ended.stderr);
    }
}
