//! Tells the program what it is built from, for `--version`: its target, and in a release build the commit.
//!
//! The commit is `MINITORRENT_COMMIT` where that is set, else what git says of this folder; without either (a tarball) it is
//! left out. A debug build does not ask git, so that a commit does not build everything anew.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What changes the program, and so whether the commit describes it.
const SOURCES: [&str; 4] = ["src", "static", "Cargo.toml", "Cargo.lock"];

/// Hex digits of a commit that are shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=MINITORRENT_COMMIT");
    let variable = |name| env::var(name).ok();
    let target = variable("TARGET").unwrap_or_default();
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_default());
    let asked = || variable("PROFILE").filter(|profile| profile == "release").and_then(|_| of_git(&folder));
    let commit = variable("MINITORRENT_COMMIT").filter(|told| is_plain(told)).or_else(asked);
    let build = commit.map_or(target.clone(), |commit| format!("commit {commit}, {target}"));
    println!("cargo::rustc-env=MINITORRENT_BUILD={build}");
}

/// A word without anything that could end a line or a directive of cargo.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The commit of this folder, marked where the sources differ from it; nothing where the folder belongs to another repository.
fn of_git(folder: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").arg("--no-optional-locks").args(arguments).current_dir(folder).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let top = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if top != fs::canonicalize(folder).ok()? {
        return None;
    }
    let commit = git(&["rev-parse", &format!("--short={SHOWN}"), "HEAD"]).filter(|commit| is_plain(commit))?;
    let changed = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &SOURCES[..]].concat())?;
    let written = ["HEAD", "logs/HEAD"].iter().filter_map(|name| git(&["rev-parse", "--git-path", name]));
    for path in written.chain(SOURCES.map(str::to_owned)).filter(|path| folder.join(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    Some(if changed.is_empty() { commit } else { format!("{commit}-changed") })
}
