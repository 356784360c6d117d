//! The command line as a newcomer meets it: help, mistakes, ports that are taken, and what `create`, `show` and `verify` do.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::house::content::Content;
use crate::house::lab::Lab;
use crate::house::process::{Ended, MINITORRENT, Process};
use crate::house::torrent::{PIECE_LENGTH, Torrent};
use crate::house::{folder, skip, wait_until};

const COMMANDS: [&str; 6] = ["tracker", "seed", "fetch", "create", "show", "verify"];

/// Nobody listens there.
const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn every_command_explains_itself_with_an_example() {
    let work = folder();
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let help = run(work.path(), &[command, flag]);
            assert_eq!(help.code, Some(0), "{command} {flag}: {}", help.stderr);
            assert!(help.stdout.contains(&format!("minitorrent {command}")), "{command} {flag}: {}", help.stdout);
            assert!(help.stdout.contains("xample"), "{command} {flag} shows no example: {}", help.stdout);
        }
    }
    let help = run(work.path(), &["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(COMMANDS.iter().all(|command| help.stdout.contains(command)), "{}", help.stdout);
}

#[test]
fn the_version_says_what_the_program_is_and_for_which_machine() {
    let work = folder();
    for flag in ["--version", "-V"] {
        let said = run(work.path(), &[flag]);
        assert_eq!(said.code, Some(0), "{flag}: {}", said.stderr);
        let begin = concat!("minitorrent ", env!("CARGO_PKG_VERSION"), " (");
        assert!(said.stdout.starts_with(begin) && said.stdout.ends_with(")\n"), "{flag}: {}", said.stdout);
        assert!(said.stdout.contains(std::env::consts::ARCH), "{flag} names no target: {}", said.stdout);
    }
}

#[test]
fn a_mistyped_command_line_ends_with_2_and_says_what_is_wrong() {
    let work = folder();
    let mistakes: [&[&str]; 8] = [
        &[],
        &["fly"],
        &["fetch"],
        &["seed"],
        &["fetch", "a.torrent", "--no-such-option"],
        &["fetch", "a.torrent", "--port", "many"],
        &["fetch", "a.torrent", "--port", "65536"],
        &["verify", "a.torrent", "--dir"],
    ];
    for mistake in mistakes {
        let ended = run(work.path(), mistake);
        assert_eq!(ended.code, Some(2), "{mistake:?}: {}{}", ended.stdout, ended.stderr);
        assert!(!ended.stderr.trim().is_empty(), "{mistake:?} is refused without a word");
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
    let work = folder();
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let content = Content::file(work.path(), "a file.bin", 100_000);
    Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[NO_TRACKER.into()]);
    let lines: [&[&str]; 3] =
        [&["tracker", "--port"], &["seed", "it.torrent", "--dir", ".", "--port"], &["fetch", "it.torrent", "--port"]];
    for line in lines {
        let ended = run(work.path(), &[line, &[&port]].concat());
        assert_eq!(ended.code, Some(1), "{line:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(&port), "{line:?} does not name the port: {}", ended.stderr);
    }
}

#[test]
fn a_default_port_that_is_taken_moves_on_and_says_so() {
    let Some(lab) = Lab::or_skip("a default port that is taken moves on", 1) else { return };
    let work = folder();
    let content = Content::file(work.path(), "a file.bin", 100_000);
    let torrent = Torrent::write(&work.path().join("it.torrent"), &content, PIECE_LENGTH, &[NO_TRACKER.into()]);
    let seed = |name: &str| {
        let mut command = lab.host(0).command(MINITORRENT);
        command.args(["seed", "--dir"]).arg(&content.root).arg(&torrent.path);
        Process::start(command, work.path(), name)
    };
    let listens = |port: u16| lab.host(0).run(&format!("ss -Hltn sport = {port}")).is_ok_and(|out| !out.is_empty());
    let first = seed("first");
    assert!(wait_until(LIMIT, || listens(6881)), "no default port: {}", first.stderr());
    let second = seed("second");
    assert!(wait_until(LIMIT, || listens(6882)), "it did not move on: {}", second.stderr());
    let said = || second.stdout() + &second.stderr();
    assert!(wait_until(LIMIT, || said().contains("6882")), "it does not say where it is: {}", said());
}

#[test]
fn create_show_and_verify_agree_about_a_folder() {
    let work = folder();
    let content = Content::folder(work.path());
    let created = run(work.path(), &["create", &content.name, "--tracker", "http://10.77.0.1:5000/announce"]);
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let mut hashes = Vec::new();
    for form in ["json", "torrent"] {
        let meta = format!("{}.{form}", content.name);
        let shown = run(work.path(), &["show", &meta, "--json"]);
        assert_eq!(shown.code, Some(0), "{meta}: {}", shown.stderr);
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        hashes.push(shown["info_hash"].as_str().expect("show tells the info hash").to_owned());
        let verified = run(work.path(), &["verify", &meta, "--dir", "."]);
        assert_eq!(verified.code, Some(0), "{meta}: {}{}", verified.stdout, verified.stderr);
    }
    assert_eq!(hashes[0], hashes[1], "both forms are one torrent");

    let spoilt = work.path().join(&content.files[0].0);
    let mut bytes = fs::read(&spoilt).unwrap();
    bytes[0] ^= 1;
    fs::write(&spoilt, bytes).unwrap();
    let verified = run(work.path(), &["verify", &format!("{}.torrent", content.name), "--dir", "."]);
    assert_eq!(verified.code, Some(1), "a changed byte went unseen: {}", verified.stdout);
}

#[test]
fn create_writes_the_same_info_dictionary_as_mktorrent() {
    let work = folder();
    let content = Content::file(work.path(), "a file.bin", 3_000_000);
    // 2^18 bytes a piece, which is what we take unless told.
    let mktorrent = ["--piece-length=18", "--announce=http://10.77.0.1:5000/announce", "--output=theirs.torrent"];
    let made = Command::new("mktorrent").args(mktorrent).arg(&content.name).current_dir(work.path()).output();
    if made.is_err() {
        return skip("create against mktorrent", "mktorrent is not installed");
    }
    let created = run(work.path(), &["create", &content.name, "--out", "ours.torrent"]);
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let info = |name: &str| {
        let bytes = fs::read(work.path().join(name)).unwrap();
        minitorrent::bencode::decode(&bytes).unwrap().get(b"info").unwrap().raw().to_vec()
    };
    assert!(info("ours.torrent") == info("theirs.torrent"), "the info dictionaries differ");
}

#[test]
fn a_file_of_any_name_can_be_shared_under_it() {
    let work = folder();
    let [latin, umlaut, long, cjk] =
        [b"caf\xe9".to_vec(), "größe".into(), vec![b'n'; 255], "忘".repeat(85).into()].map(OsString::from_vec);
    for name in [&latin, &umlaut, &long, &cjk] {
        fs::write(work.path().join(name), [7; 1000]).unwrap();
        let made = work.path().join("made");
        fs::create_dir(&made).unwrap();
        let mut command = Command::new(MINITORRENT);
        command.arg("create").arg(Path::new("..").join(name)).current_dir(&made);
        let created = Process::start(command, work.path(), "run").ended(LIMIT);
        assert_eq!(created.code, Some(0), "{name:?}: {}", created.stderr);
        let forms: Vec<_> = fs::read_dir(&made).unwrap().map(|form| form.unwrap().path()).collect();
        assert_eq!(forms.len(), 2, "{name:?}: {forms:?}");
        for form in forms {
            let verified = run(work.path(), &["verify", form.to_str().expect("it is made harmless")]);
            assert_eq!(verified.code, Some(0), "{form:?}: {}", verified.stderr);
        }
        fs::remove_dir_all(&made).unwrap();
    }
}

#[test]
fn a_metainfo_that_cannot_be_written_is_refused_before_a_byte_is_read() {
    let work = folder();
    // Nobody waits for a tebibyte of zeros to be hashed.
    fs::File::create(work.path().join("huge.json")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(work.path().join("there.torrent")).unwrap();
    fs::write(work.path().join("huge.json.json"), r#"{"mine": 1}"#).unwrap();
    let outs: [(&[&str], &str); 5] = [
        (&["--out", "no/such/x.torrent"], "no such folder"),
        (&["--out=x.tor"], "ends in .json or .torrent"),
        (&["--out=there.torrent"], "is a folder"),
        (&["--out=huge.json"], "is what the metainfo is made of"),
        (&[], "is there already and is no metainfo"),
    ];
    for command in ["create", "seed"] {
        for (out, why) in outs {
            let ended = run(work.path(), &[&[command, "huge.json"], out].concat());
            assert_eq!(ended.code, Some(1), "{command} {out:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(why), "{command} {out:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_file_where_a_folder_is_due_is_called_one() {
    let work = folder();
    let content = Content::file(work.path(), "a file.bin", 1000);
    assert_eq!(run(work.path(), &["create", &content.name, "--out=it.json"]).code, Some(0));
    let lines: [&[&str]; 4] = [
        &["fetch", "it.json", "--out=it.json"],
        &["verify", "it.json", "--dir=it.json"],
        &["seed", "it.json", "--dir=it.json"],
        &["tracker", "--data=it.json"],
    ];
    for line in lines {
        let ended = run(work.path(), line);
        assert_eq!(ended.code, Some(1), "{line:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("it.json: not a folder, which --"), "{line:?}: {}", ended.stderr);
    }
}

#[test]
fn verify_names_what_is_not_there() {
    let work = folder();
    let content = Content::folder(work.path());
    assert_eq!(run(work.path(), &["create", &content.name, "--out=it.json"]).code, Some(0));
    let first = content
        .files
        .iter()
        .map(|(path, _)| path)
        .find(|path| fs::metadata(work.path().join(path)).is_ok_and(|file| file.len() > 0));
    let first = first.expect("a file that is not empty");
    fs::remove_file(work.path().join(first)).unwrap();
    for line in [["verify", "it.json", "--dir=."], ["seed", "it.json", "--dir=."]] {
        let ended = run(work.path(), &line);
        let path = Path::new(".").join(first);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(&format!("{} is not there", path.display())), "{line:?}: {}", ended.stderr);
    }
}

fn run(work: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(MINITORRENT);
    command.args(arguments).current_dir(work);
    Process::start(command, work, "run").ended(LIMIT)
}
