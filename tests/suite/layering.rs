//! The map in the crate docs, held: which module may use which, and what no line of `src/` may say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::skip;

/// The modules in the order of the map in the crate docs, and what each may use of ours: a whole module by its name, single items
/// of it as `module::Item`. What is not in the left column does not belong under `src/`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("bencode", &[]),
    ("bitfield", &[]),
    ("text", &[]),
    ("net", &[]),
    ("chance", &[]),
    ("quota", &[]),
    ("metainfo", &["bencode", "text"]),
    ("wire", &["bitfield", "bencode", "metainfo", "text"]),
    ("storage", &["bitfield", "metainfo", "chance", "text"]),
    ("policy", &["bitfield", "metainfo", "chance", "net"]),
    ("session", &["policy", "storage", "wire", "bitfield", "metainfo", "net", "quota"]),
    ("tracker", &["bencode", "metainfo", "net", "quota"]),
    ("announce", &["tracker", "session", "bencode", "metainfo", "net", "quota", "text"]),
    ("status", &["session", "policy", "storage", "bitfield", "metainfo"]),
    (
        "seeder",
        &[
            "announce", "status", "tracker", "session", "policy", "storage", "wire", "bitfield", "metainfo", "net",
            "chance", "quota",
        ],
    ),
    (
        "downloader",
        &[
            "seeder", "announce", "status", "tracker", "session", "policy", "storage", "wire", "bitfield", "metainfo",
            "net", "chance",
        ],
    ),
    (
        "node",
        &[
            "downloader",
            "seeder",
            "announce",
            "status",
            "tracker",
            "session",
            "policy",
            "storage",
            "wire",
            "bitfield",
            "metainfo",
            "net",
            "quota",
            "chance",
            "text",
        ],
    ),
    ("lab", &["session", "policy", "wire", "bitfield", "metainfo", "chance"]),
    ("http", &["net", "text", "quota"]),
    (
        "web",
        &[
            "http", "node", "announce", "status", "tracker", "metainfo", "bitfield", "bencode", "net", "text", "quota",
            "chance",
        ],
    ),
    ("terminal", &["status", "text"]),
    (
        "command",
        &[
            "lab",
            "bencode",
            "bitfield",
            "metainfo",
            "tracker",
            "wire",
            "policy",
            "storage",
            "session",
            "status",
            "announce",
            "seeder",
            "downloader",
            "node",
            "http",
            "web",
            "terminal",
            "text",
            "net",
            "chance",
            "cli",
        ],
    ),
    ("cli", &["text"]),
    ("main", &["cli", "command", "terminal", "text"]),
    ("lib", &[]),
    // Not in the program: what runs when it is built, and what makes its man pages and completions.
    ("build", &[]),
    ("package", &["cli"]),
];

/// What lies at the top, apart from dotfiles.
const TOP_LEVEL: [&str; 8] = ["Cargo.lock", "Cargo.toml", "LICENSE", "Makefile", "README.md", "src", "static", "tests"];

/// What no line outside the tests may hold, and why.
const NEVER: [(&str, &str); 8] = [
    ("unsafe ", "unsafe code is forbidden"),
    (".unwrap()", "`expect` states the invariant, or the error is passed on"),
    ("unbounded(", "every channel is bounded"),
    ("unbounded::", "every channel is bounded"),
    ("static mut ", "no globals"),
    ("print!(", PRINTING),
    ("println!(", PRINTING),
    ("io::std", PRINTING),
];

const PRINTING: &str = "what is said goes through `terminal`, which makes a stranger's text in it harmless";

#[test]
fn every_module_uses_only_what_is_to_its_right() {
    let mut broken = Vec::new();
    for file in sources("src") {
        let module = module_path(&file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module[0]) else {
            broken.push(format!("{} is not on the map", file.display()));
            continue;
        };
        if is_test_code(&file) {
            continue;
        }
        let text = without_comments(&read(&file));
        for used in uses(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default(), &module) {
            if !is_allowed(&used, &module[0], allowed) {
                broken.push(format!("{} uses {}", file.display(), used.join("::")));
            }
        }
    }
    assert!(broken.is_empty(), "against the map:\n{}", broken.join("\n"));
}

#[test]
fn no_line_of_the_program_says_what_none_may_say() {
    let mut broken = Vec::new();
    for file in sources("src") {
        let text = if is_test_code(&file) { String::new() } else { without_comments(&read(&file)) };
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in program.lines().enumerate() {
            let may_print = |why: &str| why == PRINTING && ["terminal", "build"].contains(&&*module_path(&file)[0]);
            for (never, why) in NEVER.iter().filter(|(never, why)| line.contains(never) && !may_print(why)) {
                broken.push(format!("{}:{}: `{}`: {why}", file.display(), number + 1, never.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_type_name_stands_twice() {
    let mut homes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in sources("src").into_iter().filter(|file| !is_test_code(file)) {
        let text = without_comments(&read(&file));
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for name in program.lines().filter_map(defined_type) {
            homes.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    homes.retain(|_, homes| homes.len() > 1);
    assert!(homes.is_empty(), "one name for two things: {homes:#?}");
}

/// The type that a line at the top of a file defines.
fn defined_type(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        let rest = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
        rest.trim_start()
    });
    let (keyword, rest) = line.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type"].contains(&keyword);
    is_type.then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    // In two parts, so that this line is not found itself.
    let homes = [["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["/wo", "rk/"]].map(|parts| parts.concat());
    let tops = ["src", "tests", "static", "Makefile", "README.md", "Cargo.toml", ".ci"];
    let mut broken = Vec::new();
    for file in tops.into_iter().flat_map(files_below) {
        let text = String::from_utf8_lossy(&fs::read(root().join(&file)).unwrap()).into_owned();
        broken
            .extend(homes.iter().filter(|home| text.contains(*home)).map(|home| format!("{}: {home}", file.display())));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_else_lies_at_the_top() {
    // What is committed counts, not what a person has fetched into this folder.
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        return skip("what lies at the top", "this is no git clone");
    };
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tops: BTreeSet<&str> = listed.lines().map(|path| path.split('/').next().unwrap()).collect();
    let strangers: Vec<_> = tops.iter().filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(top)).collect();
    assert!(strangers.is_empty(), "{strangers:?} should not lie at the top");
}

#[test]
fn the_reader_of_definitions_sees_every_type_and_nothing_else() {
    let lines = [
        "pub(super) struct Room<'a> {",
        "enum State {",
        "pub type Place = u8;",
        "trait Role {",
        "    struct Inner;",
        "pub fn f() {",
    ];
    assert_eq!(lines.map(defined_type), [Some("Room"), Some("State"), Some("Place"), Some("Role"), None, None]);
}

#[test]
fn the_reader_of_use_lines_sees_every_path() {
    let module = ["wire".to_owned(), "message".to_owned()];
    let text = "use crate::{bitfield::{self, Bitfield}, metainfo};\nfn f() -> crate::picker::Piece {}\nuse super::super::storage::Store;\nuse super::limits;";
    let found: BTreeSet<String> = uses(text, &module).into_iter().map(|path| path.join("::")).collect();
    let expected =
        ["bitfield::Bitfield", "bitfield::self", "metainfo", "picker::Piece", "storage::Store", "wire::limits"];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert!(!is_allowed(&["metainfo".into(), "Metainfo".into()], "wire", &["metainfo::id"]));
    assert!(is_allowed(&["metainfo".into(), "id".into(), "InfoHash".into()], "wire", &["metainfo::id"]));
}

/// Whether a file holds tests alone, which may look further than the program.
fn is_test_code(file: &Path) -> bool {
    file.with_extension("").iter().any(|name| name == "tests" || name == "model" || name == "simulation")
}

fn is_allowed(used: &[String], own: &str, allowed: &[&str]) -> bool {
    let covers =
        |item: &&str| item.split("::").count() <= used.len() && item.split("::").zip(used).all(|(a, b)| a == b);
    used[0] == own || allowed.iter().any(covers)
}

/// The path of the module that a file is: `src/wire/mod.rs` is `wire`, `src/wire/message.rs` is `wire::message`.
fn module_path(file: &Path) -> Vec<String> {
    let below = file.strip_prefix("src").unwrap().with_extension("");
    let mut path: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    path.pop_if(|last| last == "mod");
    path
}

/// Every path that starts at the crate's root, from the root on, in `use` lines and anywhere else.
fn uses(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "minitorrent::", "super::"] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = text[at..].trim_start_matches("super::");
            let climbs = (text.len() - at - rest.len()) / "super::".len();
            let start = module[..module.len().saturating_sub(climbs)].to_vec();
            match root {
                "super::" if start.is_empty() => {
                    found.extend(tree(rest).into_iter().filter(|path| is_on_the_map(&path[0])));
                }
                "super::" => found.extend(tree(rest).into_iter().map(|path| [start.clone(), path].concat())),
                _ => found.extend(tree(&text[at + root.len()..])),
            }
        }
    }
    found
}

/// A test module inside a file climbs once more than it seems, so what it finds at the root counts only if it is a module.
fn is_on_the_map(name: &str) -> bool {
    MAY_USE.iter().any(|(module, _)| *module == name)
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        return items(list).into_iter().flat_map(tree).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(rest) = rest.strip_prefix("::").filter(|rest| !rest.starts_with('<')) else {
        return vec![vec![name.to_owned()]];
    };
    tree(rest).into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
}

/// The items of a list whose opening brace is behind us.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            ',' | '}' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// The text without its line comments, so that docs may name whom the code may not. Lines keep their numbers.
fn without_comments(text: &str) -> String {
    let code = |line: &str| {
        line.split_once("//")
            .filter(|(code, _)| !code.ends_with(':'))
            .map_or(line.to_owned(), |(code, _)| code.to_owned())
    };
    text.lines().map(|line| code(line) + "\n").collect()
}

fn sources(top: &str) -> Vec<PathBuf> {
    files_below(top).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Every file below a path, the path itself if it is a file, nothing if it is not there.
fn files_below(top: impl AsRef<Path>) -> Vec<PathBuf> {
    let top = top.as_ref();
    // What is built there, and what is ignored, is not committed.
    if top.ends_with("tests/fuzz/target") {
        return Vec::new();
    }
    match fs::read_dir(root().join(top)) {
        Ok(entries) => entries.flat_map(|entry| files_below(top.join(entry.unwrap().file_name()))).collect(),
        Err(_) if root().join(top).is_file() => vec![top.to_owned()],
        Err(_) => Vec::new(),
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_afternoon_of_the_readme_is_as_long_as_it_says_and_the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let afternoon = readme.split("## The afternoon").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let files: Vec<&str> =
        afternoon.lines().filter_map(|line| line.split('`').nth(1)).filter(|path| path.starts_with("src/")).collect();
    let listed: Vec<&str> = files.iter().copied().filter(|path| *path != "src/lib.rs").collect();
    let lines = |path: &&str| {
        let text = fs::read_to_string(root().join(path)).unwrap();
        text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count()
    };
    let counted: usize = listed.iter().map(lines).sum();
    let words: Vec<&str> = afternoon.split_whitespace().collect();
    let number = |unit: &str| {
        let at = words.iter().position(|word| word.trim_end_matches(',') == unit).unwrap();
        words[at - 1].replace(',', "").parse::<usize>().unwrap()
    };
    assert_eq!(number("files"), listed.len());
    assert!(
        counted.abs_diff(number("lines")) * 20 <= counted,
        "the README says {} lines; there are {counted}",
        number("lines")
    );
    assert!(readme.split_whitespace().count() < 1200, "the README has 1,200 words or more");
}
