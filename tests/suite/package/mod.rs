//! How the program comes to a machine: man pages, completions, the Debian package and its service, the script that a tracker hands
//! out.

mod machine;
#[path = "../../../src/package/man.rs"]
mod man;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use argh::{ArgsInfo, CommandInfoWithArgs};
use minitorrent::cli::Arguments;

use crate::house::{
    content::Content,
    folder,
    lab::Lab,
    process::{MINITORRENT, Process},
    skip, wait_until,
};
use machine::{Machine, done};

const LIMIT: Duration = Duration::from_secs(60);

/// Everything that is asked of the hardening of the unit, in tenths, as `systemd-analyze security` counts.
const EXPOSURE: &str = "20";

/// Packages of the binary under test: one, and one to upgrade to.
struct Packages {
    old: PathBuf,
    new: PathBuf,
    /// What is in the old one.
    unpacked: PathBuf,
}

/// The packages, made once.
fn packages() -> Option<&'static Packages> {
    static PACKAGES: OnceLock<Option<Packages>> = OnceLock::new();
    let make = || {
        let tool = Command::new("cargo").args(["deb", "--version"]).env("PATH", path()).output();
        if !tool.is_ok_and(|output| output.status.success()) {
            skip("the Debian package", "cargo-deb is not installed");
            return None;
        }
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&out);
        let (old, new, unpacked) = (out.join("old.deb"), out.join("new.deb"), out.join("unpacked"));
        for (package, version) in [(&old, "0.2.0-1"), (&new, "0.2.1-1")] {
            let options = ["dev", "--fast", "--deb-version", version];
            let script = root().join("src/package/deb.sh");
            done(Command::new(script).arg("").arg(package).args(options).env("PATH", path())).unwrap();
        }
        done(Command::new("dpkg-deb").arg("-x").args([&old, &unpacked])).unwrap();
        Some(Packages { old, new, unpacked })
    };
    PACKAGES.get_or_init(make).as_ref()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where programs are, those that tests/setup.sh has built among them.
fn path() -> String {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("bin");
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default())
}

fn has(program: &str, what: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(what, &format!("{program} is missing"));
    }
    found
}

#[test]
fn every_command_has_a_man_page_with_every_flag() {
    let pages = man::pages();
    let program = Arguments::get_args_info();
    let page_of = |command: &CommandInfoWithArgs, name: &str| {
        let page = pages.iter().find(|page| page.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        let text = page.text.replace("\\-", "-");
        for flag in command.flags {
            assert!(text.contains(&format!("\\fB{}\\fR", flag.long)), "{name} lacks {}", flag.long);
            let short = flag.short.map(|short| format!("\\fB-{short}\\fR"));
            assert!(short.is_none_or(|short| text.contains(&short)), "{name} lacks {:?}", flag.short);
        }
        text
    };
    let own = page_of(&program, "minitorrent.1");
    for command in &program.commands {
        let page = page_of(&command.command, &format!("minitorrent-{}.1", command.name));
        assert!(own.contains(&format!("minitorrent-{}\\fR(1)", command.name)), "{own}");
        // What is said when somebody asks is in the page as well.
        let said = done(Command::new(MINITORRENT).args([command.name, "--help"])).unwrap();
        let flags = said.split([' ', '\n', ',']).filter(|word| word.starts_with("--") && word.len() > 2);
        for flag in flags {
            assert!(page.contains(flag), "minitorrent-{}.1 lacks {flag}", command.name);
        }
    }
    assert_eq!(pages.len(), program.commands.len() + 1);
}

#[test]
fn a_man_page_is_shown_without_a_warning() {
    if !has("groff", "the form of the man pages") {
        return;
    }
    let work = folder();
    for page in man::pages() {
        let file = work.path().join(&page.name);
        fs::write(&file, &page.text).unwrap();
        let shown = Command::new("groff").args(["-man", "-ww", "-z"]).arg(&file).output().unwrap();
        assert!(
            shown.status.success() && shown.stderr.is_empty(),
            "{}: {}",
            page.name,
            String::from_utf8_lossy(&shown.stderr)
        );
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let Some(Packages { unpacked, .. }) = packages() else { return };
    let bash = unpacked.join("usr/share/bash-completion/completions/minitorrent");
    let complete = |words: &str, count: usize| {
        let script = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD={count}; _minitorrent; echo \"${{COMPREPLY[@]}}\"",
            bash.display()
        );
        done(Command::new("bash").args(["-c", &script])).unwrap()
    };
    assert_eq!(complete("minitorrent fe", 1), "fetch\n");
    assert_eq!(complete("minitorrent fetch --ou", 2), "--out\n");
    if has("fish", "completions for fish") {
        let file = unpacked.join("usr/share/fish/vendor_completions.d/minitorrent.fish");
        let script = format!("source {}; complete -C 'minitorrent fetch --ou'", file.display());
        let completed = done(Command::new("fish").args(["--no-config", "-c", &script])).unwrap();
        assert!(completed.starts_with("--out"), "{completed}");
    }
    if has("zsh", "completions for zsh") {
        let file = unpacked.join("usr/share/zsh/vendor-completions/_minitorrent");
        done(Command::new("zsh").args(["-f", "-n"]).arg(file)).unwrap();
    }
}

#[test]
fn the_unit_is_right_and_exposes_little() {
    if !has("systemd-analyze", "the unit") {
        return;
    }
    let Some(Packages { unpacked, .. }) = packages() else { return };
    let unit = unpacked.join("usr/lib/systemd/system/minitorrent.service");
    let judged = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

#[test]
fn a_machine_with_nothing_gets_the_program_and_becomes_the_next_tracker() {
    let test = "a machine with nothing becomes the next tracker";
    let Some(lab) = Lab::or_skip(test, 2) else { return };
    if let Err(reason) = Machine::available() {
        return skip(test, &reason);
    }
    let Some(Packages { old, new, .. }) = packages() else { return };
    let work = folder();
    let content = Content::file(work.path(), "lesson.bin", 3_000_000);
    let lesson = content.root.join(&content.name);

    // A tracker with programs in its folder `dist`, and a file.
    let data = work.path().join("data");
    let sums = offer(&data);
    let mut command = lab.host(0).command(MINITORRENT);
    command.args(["tracker", "--port", "5000", "--data"]).arg(&data);
    let tracker = Process::start(command, work.path(), "tracker");
    let answers = |number: usize, port: u16| {
        let url = format!("http://{}:{port}/healthz", lab.host(number).address);
        lab.host(0).run(&format!("curl -sf -m 2 {url}")).is_ok()
    };
    assert!(wait_until(LIMIT, || answers(0, 5000)), "{}", tracker.stderr());
    let url = format!("http://{}:5000", lab.host(0).address);
    lab.host(0).run(&format!("curl -sSf -T {} {url}/", lesson.display())).unwrap();

    // A machine with nothing but curl. What does not have its sum is not kept.
    let machine = Machine::boot(lab.host(1), work.path());
    fs::write(data.join("dist/SHA256SUMS"), format!("{}{}", "0".repeat(64), &sums[64..])).unwrap();
    let refused = machine.run(&format!("curl -f {url}/get | sh")).unwrap_err();
    assert!(refused.contains("the transfer broke"), "{refused}");
    machine.run("test ! -e /srv/.local/bin/minitorrent && test -z \"$(ls -A /srv/.local/bin)\"").unwrap();
    fs::write(data.join("dist/SHA256SUMS"), sums).unwrap();
    let said = machine.run(&format!("cd /srv && curl -fo get.sh {url}/get && sh get.sh")).unwrap();
    let (before, after) = (said.find("into /srv/.local/bin").unwrap(), said.find("Done: minitorrent 0.").unwrap());
    assert!(before < after && said.contains("PATH="), "{said}");
    machine
        .run(&format!("/srv/.local/bin/minitorrent fetch {url}/metainfos/lesson.bin.json --out /srv --seed-for 0"))
        .unwrap();
    machine.same_file("/srv/lesson.bin", &lesson);

    // It becomes a tracker by the package, which starts nothing by itself.
    machine.copy(old, "/srv/old.deb");
    machine.copy(new, "/srv/new.deb");
    machine.run("dpkg -i /srv/old.deb").unwrap();
    machine.run("test \"$(systemctl is-enabled minitorrent)\" = disabled && test -s /usr/share/man/man1/minitorrent-tracker.1").unwrap();
    machine.run("systemctl enable --now minitorrent").unwrap();
    assert!(wait_until(LIMIT, || answers(1, 5000)), "{}", machine.journal());
    machine.run("curl -sSf -T /srv/lesson.bin http://127.0.0.1:5000/").unwrap();
    let serves = |port: u16, name: &str| {
        let out = work.path().join(name);
        let meta = format!("http://{}:{port}/metainfos/lesson.bin.json", lab.host(1).address);
        let mut command = lab.host(0).command(MINITORRENT);
        command.args(["fetch", &meta, "--port", "0", "--seed-for", "0", "--out"]).arg(&out);
        let ended = Process::start(command, work.path(), name).ended(LIMIT);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        content.compare(&out).unwrap();
    };
    serves(5000, "fetched");

    // It starts again with its machine, with what it had.
    let machine = machine.reboot(work.path());
    assert!(wait_until(LIMIT, || answers(1, 5000)), "{}", machine.journal());
    serves(5000, "after-the-reboot");

    // An upgrade keeps the options and the files, and restarts it.
    machine.run("echo 'MINITORRENT_OPTIONS=\"--port 5001\"' >/etc/default/minitorrent").unwrap();
    machine.run("dpkg -i /srv/new.deb && grep -q 5001 /etc/default/minitorrent").unwrap();
    assert!(wait_until(LIMIT, || answers(1, 5001)), "{}", machine.journal());
    assert!(!answers(1, 5000));
    serves(5001, "after-the-upgrade");

    // Removed it is gone, and what was shared stays.
    machine.run("dpkg -r minitorrent && test ! -e /usr/bin/minitorrent && test -e /etc/default/minitorrent").unwrap();
    assert!(!answers(1, 5001));
    let said = machine.run("dpkg -P minitorrent 2>&1 && test ! -e /etc/default/minitorrent").unwrap();
    assert!(said.contains("stays in /var/lib/private/minitorrent"), "{said}");
    machine.run("cmp /srv/lesson.bin /var/lib/private/minitorrent/uploads/lesson.bin").unwrap();
    machine.stop();
}

/// Puts the binary under test where a tracker offers programs, and gives the list of its sum.
fn offer(data: &Path) -> String {
    let dist = data.join("dist");
    fs::create_dir_all(&dist).unwrap();
    let arch = std::env::consts::ARCH;
    let name = format!("minitorrent-{}-{arch}-unknown-linux-musl", env!("CARGO_PKG_VERSION"));
    fs::copy(MINITORRENT, dist.join(&name)).unwrap();
    let Output { stdout, .. } = Command::new("sha256sum").arg(&name).current_dir(&dist).output().unwrap();
    String::from_utf8(stdout).unwrap()
}
