//! The program itself, for machines that have none: static binaries that lie in `dist/` below `--data`, and a script that gets the
//! right one.
//!
//! Which names there are is fixed: those that `make dist` gives to this version, each with a line in its `SHA256SUMS`. No upload
//! and no fetch writes into that folder.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Site, download, failure::HttpFailure};
use crate::http::{Reply, Request};

/// The longest list of sums that is read, in bytes; that of `make dist` has 500.
const MAX_SUMS: u64 = 64 * 1024;

/// The list of sums, as `sha256sum` writes it.
const SUMS: &str = "SHA256SUMS";

/// The length of a SHA-256 in hex.
const SUM_DIGITS: usize = 64;

/// The script, with places for the address and the programs.
const SCRIPT: &str = include_str!("program.sh");

/// A kind of machine.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// As rustc calls it.
    triple: &'static str,
    /// What `uname -m` may print there; where several targets have a name, the first is the better one.
    machines: &'static [&'static str],
    /// What a browser there says of its machine, in small letters.
    browser: &'static [&'static str],
    /// For a person.
    label: &'static str,
}

const TARGETS: [Target; 4] = [
    Target {
        triple: "x86_64-unknown-linux-musl",
        machines: &["x86_64"],
        browser: &["x86_64", "amd64"],
        label: "PC, x86-64",
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        machines: &["aarch64"],
        browser: &["aarch64", "arm64", "armv8", "android"],
        label: "ARM, 64 bit (Raspberry Pi 3 and later)",
    },
    Target {
        triple: "armv7-unknown-linux-musleabihf",
        machines: &["armv7l", "armv8l"],
        browser: &["armv7"],
        label: "ARM, 32 bit (Raspberry Pi 2 and later)",
    },
    Target {
        triple: "arm-unknown-linux-musleabihf",
        machines: &["armv6l", "armv7l", "armv8l"],
        browser: &["armv6"],
        label: "ARM, 32 bit, old (Raspberry Pi 1 and Zero)",
    },
];

/// A binary that is here.
#[derive(Debug)]
pub struct Program {
    target: &'static Target,
    /// Of the file.
    pub name: String,
    /// The SHA-256 that it should have, in hex.
    pub sum: String,
    /// In bytes.
    pub length: u64,
}

impl Program {
    /// What kind of machine it is for.
    pub fn label(&self) -> &'static str {
        self.target.label
    }
}

/// What this machine has, the one for whoever asks first.
pub fn programs(site: &Site, request: &Request<'_>) -> Vec<Program> {
    let Some(folder) = folder(site) else { return Vec::new() };
    let Ok(sums) = sums(&folder) else { return Vec::new() };
    let programs = TARGETS.iter().filter_map(|target| {
        let name = file_name(target);
        let sum = sum_of(&sums, &name)?.to_owned();
        let file = folder.join(&name).metadata().ok().filter(Metadata::is_file)?;
        Some(Program { target, name, sum, length: file.len() })
    });
    let mut programs: Vec<Program> = programs.collect();
    let agent = request.field("user-agent").unwrap_or_default().to_ascii_lowercase();
    programs.sort_by_key(|program| !program.target.browser.iter().any(|word| agent.contains(word)));
    programs
}

/// `/get`: the script, with the address of this machine by which it was asked for.
pub fn script(site: &Site, request: &Request<'_>) -> Result<Reply, HttpFailure> {
    let programs = programs(site, request);
    if programs.is_empty() {
        return Err(nothing_here());
    }
    let text = script_of(&site.swarms.names().base_url(request), &programs);
    Ok(Reply::new(200, "text/plain; charset=utf-8", text.into_bytes()).with("Cache-Control", "no-store"))
}

/// `/dist/NAME`: one of the binaries, or their sums.
pub fn send(site: &Site, request: &Request<'_>, name: &str) -> Result<Reply, HttpFailure> {
    let folder = folder(site).ok_or_else(nothing_here)?;
    if name == SUMS && folder.join(SUMS).is_file() {
        return download::send(request, &folder.join(SUMS), SUMS, "text/plain; charset=utf-8");
    }
    let program = programs(site, request).into_iter().find(|program| program.name == name).ok_or_else(nothing_here)?;
    download::send(request, &folder.join(&program.name), &program.name, "application/octet-stream")
}

fn nothing_here() -> HttpFailure {
    let sentence = format!(
        "there is no such program here; whoever runs this tracker can put {}, which `make dist` makes, into the folder dist beside uploads",
        file_name(&TARGETS[0])
    );
    HttpFailure::new(404, sentence)
}

fn folder(site: &Site) -> Option<PathBuf> {
    site.shelf.as_ref().map(|shelf| shelf.library.dist_path())
}

/// What `make dist` calls the binary of a target.
fn file_name(target: &Target) -> String {
    format!("minitorrent-{}-{}", env!("CARGO_PKG_VERSION"), target.triple)
}

fn sums(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(folder.join(SUMS))?.take(MAX_SUMS).read_to_string(&mut text)?;
    Ok(text)
}

/// The sum on the line of that file.
fn sum_of<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    let lines = sums.lines().filter_map(|line| line.split_once(' '));
    let sum = lines.filter(|(_, file)| file.trim_start_matches([' ', '*']) == name).map(|(sum, _)| sum).next()?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (sum.len() == SUM_DIGITS && sum.bytes().all(is_hex)).then_some(sum)
}

fn script_of(address: &str, programs: &[Program]) -> String {
    // In the order of the table, whoever asks: where two fit, the better one comes first.
    let mut cases = String::new();
    for target in &TARGETS {
        let Some(program) = programs.iter().find(|program| program.target == target) else { continue };
        let machines: Vec<_> = target.machines.iter().map(|machine| quoted(&format!("Linux {machine}"))).collect();
        cases +=
            &format!("    {}) name={} sum={} ;;\n", machines.join(" | "), quoted(&program.name), quoted(&program.sum));
    }
    SCRIPT.replace("@PROGRAMS@\n", &cases).replace("@ADDRESS@", &quoted(address))
}

/// A word of a shell script that means nothing but itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{address::Names, tests::Room};

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_sum_is_on_the_line_of_its_file_and_nothing_else() {
        let name = file_name(&TARGETS[1]);
        for line in [format!("{SUM}  {name}\n"), format!("{SUM} *{name}\n"), format!("\n{SUM}  other\n{SUM}  {name}")] {
            assert_eq!(sum_of(&line, &name), Some(SUM), "{line}");
        }
        let upper = SUM.to_ascii_uppercase();
        for line in
            [format!("{SUM}  {name}x"), format!("{upper}  {name}"), format!("{}'  {name}", &SUM[1..]), name.clone()]
        {
            assert_eq!(sum_of(&line, &name), None, "{line}");
        }
    }

    /// A tracker's page, with these files in its folder `dist`.
    fn room(files: &[(&str, &str)]) -> Room {
        let room = Room::new();
        let folder = room.folder.path().join("dist");
        std::fs::create_dir(&folder).unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(folder.join(name), content).unwrap());
        room
    }

    #[test]
    fn only_what_has_a_fixed_name_and_a_sum_is_handed_out() {
        let names: Vec<String> = TARGETS.iter().map(file_name).collect();
        let sums = format!("{SUM}  {}\n{SUM}  {}\n{SUM}  secret\n", names[0], names[1]);
        let room = room(&[(&names[0], "the program"), (&names[2], "no sum"), ("secret", "x"), (SUMS, &sums)]);
        assert_eq!(room.get(&format!("/dist/{}", names[0])).text(), "the program");
        assert_eq!(room.get("/dist/SHA256SUMS").text(), sums);
        for nothing in [&names[1], &names[2], "secret", "..%2Fsecret", "%2e%2e", "minitorrent"] {
            assert_eq!(room.get(&format!("/dist/{nothing}")).status, 404, "{nothing}");
        }
        let script = room.get("/get");
        assert!(script.text().contains(&format!("name='{}' sum='{SUM}'", names[0])), "{}", script.text());
        assert!(!script.text().contains(&names[1]) && !script.text().contains(&names[2]), "{}", script.text());
    }

    #[test]
    fn no_upload_writes_among_the_programs() {
        let name = file_name(&TARGETS[0]);
        let room = room(&[(&name, "the program"), (SUMS, &format!("{SUM}  {name}\n"))]);
        for path in [format!("/dist/{name}"), "/dist/SHA256SUMS".into(), "/get".into()] {
            let answer = room.ask(&format!("PUT {path}"), "", b"x");
            assert_eq!(answer.status, 405, "{path}: {}", answer.text());
        }
        for upload in [format!("..%2Fdist%2F{name}"), format!("dist%2F{name}"), "..%2Fdist%2Fother".into()] {
            room.ask(&format!("PUT /uploads/{upload}"), "", b"x");
        }
        assert_eq!(std::fs::read_dir(room.folder.path().join("dist")).unwrap().count(), 2);
        assert_eq!(room.get(&format!("/dist/{name}")).text(), "the program");
    }

    #[test]
    fn the_right_program_for_whoever_asks_stands_first_on_the_page() {
        let names: Vec<String> = TARGETS.iter().map(file_name).collect();
        let sums: String = names.iter().map(|name| format!("{SUM}  {name}\n")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).chain([(SUMS, sums.as_str())]).collect();
        let room = room(&files);
        for (agent, first) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", 0),
            ("Mozilla/5.0 (X11; Linux aarch64)", 1),
            ("Mozilla/5.0 (X11; Linux armv7l)", 2),
            ("Mozilla/5.0 (X11; Linux armv6l)", 3),
            ("curl/8.1", 0),
        ] {
            let page = room.ask("GET /", &format!("User-Agent: {agent}\r\n"), b"").text();
            let first_of = |page: &str| {
                page.split("href=\"/dist/").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
            };
            assert_eq!(first_of(&page).as_ref(), Some(&names[first]), "{agent}");
            let plain = page.find("/get | sh").unwrap();
            assert!(
                page.find("sh get.sh").is_some_and(|two_lines| two_lines < plain),
                "the form without a pipe is first"
            );
        }
    }

    #[test]
    fn a_page_without_programs_offers_none() {
        let room = Room::new();
        assert_eq!(room.get("/get").status, 404);
        assert!(!room.get("/").text().contains("Get the program"));
    }

    #[test]
    fn the_scripts_address_is_never_a_strangers() {
        let name = file_name(&TARGETS[0]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("dist")).unwrap();
        std::fs::write(folder.path().join("dist").join(&name), "x").unwrap();
        std::fs::write(folder.path().join("dist").join(SUMS), format!("{SUM}  {name}\n")).unwrap();
        let room = Room::called(Names::new(None, Vec::new()), folder, true, |_| Ok(()), |_| ());
        let foreign = room.ask_for("evil.example:5000", "GET /get", "", b"");
        assert_eq!(foreign.status, 421, "{}", foreign.text());
        // A short name is nobody's, and may lead here; the script does not repeat it.
        let short = room.ask_for("evil", "GET /get", "", b"");
        assert!(short.status == 200 && !short.text().contains("evil"), "{}", short.text());
        assert!(short.text().contains(&format!(":{}'", room.port)), "{}", short.text());
    }

    #[test]
    fn nothing_in_the_script_is_more_than_a_word() {
        let program = Program { target: &TARGETS[0], name: "a".into(), sum: SUM.into(), length: 1 };
        let script = script_of("http://a'$(touch x)`y`\n;z", &[program]);
        assert!(script.contains("address='http://a'\\''$(touch x)`y`\n;z'\n"), "{script}");
        assert!(script.contains("    'Linux x86_64') name='a' sum='e3b0"), "{script}");
        assert!(!script.contains('@'), "{script}");
        assert_eq!(script.lines().last(), Some("get_minitorrent"));
        // Everything else is within the one function, or says something to a reader.
        let outside: Vec<_> = script.split_once("get_minitorrent() (").unwrap().0.lines().collect();
        assert!(outside.iter().all(|line| line.starts_with('#')), "{outside:?}");
    }
}
