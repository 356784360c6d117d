//! Names from outside become paths that stay inside: each part is made harmless, then the whole list unambiguous.
//!
//! What libtorrent and Transmission do, together: separators and characters that only deceive the eye (BEP 3 says
//! nothing of either) are dropped, what no name can hold becomes `_`, names that other systems reserve are altered. The
//! raw bytes stay in the info dictionary, so none of it changes the info hash. Pure: nothing here looks at a disk.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use crate::text::is_deceptive;

/// Bytes that one part of a path may have: what Linux and macOS file systems hold.
pub const MAX_NAME: usize = 255;

/// The folder in which we keep our own records, beside what they are about. No part of a torrent's path is ever called so,
/// whoever made it: what lies in such a folder was put there by us, or by the user of this machine.
pub const RECORDS: &str = ".minitorrent";

/// Parts that one path may have, as in libtorrent. Paths this deep come close to what an operating system opens.
pub const MAX_DEPTH: usize = 100;

/// The longest extension, dot included, that survives the shortening of a name.
const MAX_EXTENSION: usize = 16;

/// What a number behind a name may take: a dot and the digits of every file that a torrent may have.
const MAX_SUFFIX: usize = 1 + 10;

/// Whether file systems here take `README` and `readme` for one. Where they do not, both are kept as they are.
pub(super) const FOLD_CASE: bool = cfg!(any(target_os = "macos", windows));

/// The name of a torrent: harmless as any part of a path, and visible. A name that begins with a dot would hide what
/// is fetched, and would be that of a folder of settings, such as `.ssh`, in which a stranger has nothing to write.
pub fn top_name(raw: &[u8]) -> Option<String> {
    let name = sanitise(raw)?;
    if !name.starts_with('.') {
        return Some(name);
    }
    let visible = format!("_{name}");
    Some(shorten(&visible, MAX_NAME).trim_end_matches(['.', ' ']).to_owned())
}

/// Whether a file or folder of this name is a record of ours, which is no part of what is shared: the folder of records,
/// or what earlier versions put beside what they fetched, `.INFOHASH.resume` and `.INFOHASH.torrent`.
pub fn is_record(name: &[u8]) -> bool {
    let old = || {
        let (hash, ending) = name.strip_prefix(b".")?.split_at_checked(40)?;
        Some(hash.iter().all(u8::is_ascii_hexdigit) && OLD_ENDINGS.contains(&ending))
    };
    name == RECORDS.as_bytes() || old().unwrap_or(false)
}

/// The endings of what earlier versions wrote, and of what a kill left of it.
const OLD_ENDINGS: [&[u8]; 4] = [b".resume", b".resume.new", b".torrent", b".torrent.new"];

/// One part of a path, harmless and at most [`MAX_NAME`] bytes; nothing when nothing is left of it.
pub fn sanitise(raw: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        let kept = chunk.valid().chars().filter(|c| !matches!(c, '/' | '\\') && !is_deceptive(*c));
        name.extend(kept.map(|c| if c.is_control() { '_' } else { c }));
        if !chunk.invalid().is_empty() {
            name.push('_');
        }
    }
    if has_drive(name.as_bytes()) {
        name.replace_range(1..2, "_");
    }
    if is_reserved(&name) {
        name.insert(0, '_');
    }
    let name = shorten(&name, MAX_NAME);
    let name = name.trim_end_matches(['.', ' ']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The parts of a path without those folders that mean nothing, which other clients drop: empty ones, and `.`.
pub(super) fn meant<'a>(parts: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let (file, folders) = parts.split_last().map_or((None, parts), |(file, folders)| (Some(*file), folders));
    folders.iter().copied().filter(|folder| !matches!(*folder, b"" | b".")).chain(file)
}

/// What a link at this path must hold to lead to `target`, both below the torrent's folder. Nothing where that would lead
/// out of the folder, or to the link itself or a folder around it.
pub(super) fn link(path: &str, target: &[&[u8]]) -> Option<String> {
    let target = target.iter().filter(|part| !matches!(**part, b"" | b"."));
    let target = target.map(|part| sanitise(part)).collect::<Option<Vec<String>>>()?;
    let path: Vec<&str> = path.split('/').collect();
    if path.starts_with(&target.iter().map(String::as_str).collect::<Vec<_>>()) {
        return None;
    }
    let shared =
        path[..path.len() - 1].iter().zip(&target).take_while(|(folder, part)| **folder == part.as_str()).count();
    let up = std::iter::repeat_n("..", path.len() - 1 - shared);
    Some(up.chain(target[shared..].iter().map(String::as_str)).collect::<Vec<_>>().join("/"))
}

/// The path of a file below its torrent's folder: a folder of which nothing is left becomes `_`, a file its number in the
/// torrent.
pub(super) fn join(parts: &[&[u8]], index: usize) -> String {
    let (file, folders) = parts.split_last().map_or((&b""[..], parts), |(file, folders)| (*file, folders));
    let mut path = String::new();
    for folder in folders.iter().filter(|folder| !matches!(**folder, b"" | b".")) {
        path.push_str(sanitise(folder).as_deref().unwrap_or("_"));
        path.push('/');
    }
    path.push_str(&sanitise(file).unwrap_or_else(|| index.to_string()));
    path
}

/// Whether a part of a path, in a form that people write by hand, must be a mistake or an attack.
pub(super) fn is_unsafe(part: &[u8]) -> bool {
    let bad_byte = |byte: &u8| matches!(byte, b'/' | b'\\' | 0x7f) || *byte < b' ';
    matches!(part, b"" | b"." | b"..")
        || part.iter().any(bad_byte)
        || has_drive(part)
        || std::str::from_utf8(part).is_err()
}

/// Whether this system could hold a file of that name, pretty or not.
pub(super) fn is_possible(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b"..") && part.len() <= MAX_NAME && !part.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Gives a number to each path that equals an earlier one or is a folder of another, so that all can lie side by side.
/// With `fold_case`, letters that differ in case alone are equal.
pub(super) fn disambiguate(paths: &mut [&mut String], fold_case: bool) {
    let keys: Vec<Cow<'_, str>> = paths.iter().map(|path| key(path, fold_case)).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by(|a, b| by_parts(&keys[*a], &keys[*b]).then(a.cmp(b)));
    // In this order equal paths are neighbours, and what lies in a folder follows all that equal the folder's name.
    let mut groups = order.chunk_by(|a, b| keys[*a] == keys[*b]).peekable();
    let mut clashes = Vec::new();
    while let Some(equal) = groups.next() {
        let is_folder = groups.peek().is_some_and(|next| is_within(&keys[next[0]], &keys[equal[0]]));
        clashes.extend_from_slice(&equal[usize::from(!is_folder)..]);
    }
    clashes.sort_unstable();

    let is_taken = |path: &str| {
        let at = order.partition_point(|index| by_parts(&keys[*index], path) == Ordering::Less);
        order.get(at).is_some_and(|index| keys[*index] == path || is_within(&keys[*index], path))
    };
    let mut given = HashSet::new();
    let mut tried: HashMap<String, u32> = HashMap::new();
    let mut renamed = Vec::with_capacity(clashes.len());
    for index in clashes {
        let (stem, extension) = split_for_number(paths[index]);
        let tried = tried.entry(key(&format!("{stem}{extension}"), fold_case).into_owned()).or_default();
        let path = loop {
            *tried += 1;
            let numbered = format!("{stem}.{tried}{extension}");
            let key = key(&numbered, fold_case).into_owned();
            if !is_taken(&key) && given.insert(key) {
                break numbered;
            }
        };
        renamed.push((index, path));
    }
    renamed.into_iter().for_each(|(index, path)| *paths[index] = path);
}

fn key(path: &str, fold_case: bool) -> Cow<'_, str> {
    if fold_case { path.to_lowercase().into() } else { path.into() }
}

fn by_parts(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// A path without its extension and the extension, with room for a number between them.
fn split_for_number(path: &str) -> (String, String) {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (&path[..folder.len() + 1], name));
    let name = shorten(name, MAX_NAME - MAX_SUFFIX);
    let (stem, extension) = split_extension(&name);
    (format!("{folder}{stem}"), extension.to_owned())
}

fn split_extension(name: &str) -> (&str, &str) {
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= MAX_EXTENSION);
    name.split_at(dot.unwrap_or(name.len()))
}

/// Cuts a name to `limit` bytes between two characters, and before its extension.
pub(crate) fn shorten(name: &str, limit: usize) -> Cow<'_, str> {
    if name.len() <= limit {
        return name.into();
    }
    let (stem, extension) = split_extension(name);
    let mut cut = limit - extension.len();
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{extension}", &stem[..cut]).into()
}

fn has_drive(name: &[u8]) -> bool {
    matches!(name, [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Names that DOS gave to devices, with any extension, and the name of the folder of our own records.
fn is_reserved(name: &str) -> bool {
    if name.trim_end_matches(['.', ' ']).to_lowercase() == RECORDS {
        return true;
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    match stem.as_bytes() {
        b"CON" | b"PRN" | b"AUX" | b"NUL" | b"CLOCK$" | b"CONIN$" | b"CONOUT$" => true,
        [b'C', b'O', b'M', digit] | [b'L', b'P', b'T', digit] => digit.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sanitised(raw: &str) -> String {
        sanitise(raw.as_bytes()).unwrap_or_default()
    }

    fn disambiguated(paths: &[&str], fold_case: bool) -> Vec<String> {
        let mut paths: Vec<String> = paths.iter().map(std::string::ToString::to_string).collect();
        disambiguate(&mut paths.iter_mut().collect::<Vec<_>>(), fold_case);
        paths
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in
            ["a", "Übung – 練習.txt", ".hidden", "a b", "console.log", "com10", "title: part", "...and more", "🦀"]
        {
            assert_eq!(sanitised(name), name);
        }
    }

    #[test]
    fn names_that_mean_something_else_are_altered() {
        for (raw, want) in [
            ("/etc/passwd", "etcpasswd"),
            ("..\\..\\x", "....x"),
            ("C:", "C_"),
            ("c:boot.ini", "c_boot.ini"),
            ("NUL", "_NUL"),
            ("con.txt", "_con.txt"),
            ("Lpt1 .a.b", "_Lpt1 .a.b"),
            ("a\nb\u{85}", "a_b_"),
            ("gpj\u{202e}exe", "gpjexe"),
            ("end. . ", "end"),
        ] {
            assert_eq!(sanitised(raw), want, "{raw:?}");
        }
        assert_eq!(sanitise(b"caf\xe9.txt").unwrap(), "caf_.txt");
        for nothing in ["", ".", "..", "/", "\\", " ", "\u{202e}", "./.."] {
            assert_eq!(sanitise(nothing.as_bytes()), None, "{nothing:?}");
        }
    }

    #[test]
    fn the_name_of_a_torrent_is_visible() {
        for (raw, want) in [
            (".ssh", "_.ssh"),
            ("..ssh", "_..ssh"),
            ("\u{202e}.ssh", "_.ssh"),
            ("/.ssh", "_.ssh"),
            (".0123456789012345678901234567890123456789.resume", "_.0123456789012345678901234567890123456789.resume"),
            (".minitorrent", "_.minitorrent"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(top_name(raw.as_bytes()).as_deref(), Some(want), "{raw:?}");
        }
        let long = top_name(format!(".{}", "a".repeat(300)).as_bytes()).unwrap();
        assert_eq!(long, format!("_.{}", "a".repeat(MAX_NAME - 2)));
        assert_eq!(top_name(b".."), None);
    }

    #[test]
    fn no_part_of_a_path_is_called_like_the_folder_of_our_records() {
        for raw in [".minitorrent", ".MiniTorrent", ".minitorrent. .", "\u{200f}.minitorrent/", ".\u{202e}minitorrent"]
        {
            assert_eq!(join(&[b"t", raw.as_bytes(), raw.as_bytes()], 0).matches("/_.").count(), 2, "{raw:?}");
        }
        assert_eq!(sanitised(".minitorrents"), ".minitorrents");
    }

    #[test]
    fn our_records_old_and_new_are_told_from_what_else_is_hidden() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        for ending in ["resume", "resume.new", "torrent", "torrent.new"] {
            assert!(is_record(format!(".{hash}.{ending}").as_bytes()));
        }
        assert!(is_record(b".minitorrent"));
        for other in [format!("{hash}.resume"), format!(".{hash}"), format!(".{hash}0.resume"), ".a.resume".into()] {
            assert!(!is_record(other.as_bytes()), "{other}");
        }
        assert!(!is_record(b".") && !is_record(&[b'.'; 50]));
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
        assert_eq!(sanitised(&"a".repeat(255)), "a".repeat(255));
        assert_eq!(sanitised(&"a".repeat(300)), "a".repeat(255));
        assert_eq!(sanitised(&format!("{}.torrent", "a".repeat(300))), format!("{}.torrent", "a".repeat(247)));
        assert_eq!(sanitised(&format!("{}.jpg", "é".repeat(150))), format!("{}.jpg", "é".repeat(125)));
    }

    #[test]
    fn parts_that_vanish_leave_a_neutral_name() {
        assert_eq!(join(&[b"..", b"..", b"etc", b"passwd"], 4), "_/_/etc/passwd");
        assert_eq!(join(&[b".."], 4), "4");
        assert_eq!(join(&[], 4), "4");
    }

    #[test]
    fn equal_paths_and_files_that_are_folders_get_numbers() {
        assert_eq!(disambiguated(&["t/a.x", "t/a.x", "t/a.x"], false), ["t/a.x", "t/a.1.x", "t/a.2.x"]);
        assert_eq!(disambiguated(&["t/a", "t/a.1", "t/a"], false), ["t/a", "t/a.1", "t/a.2"]);
        assert_eq!(disambiguated(&["t/a", "t/a/b", "t/a.1/c"], false), ["t/a.2", "t/a/b", "t/a.1/c"]);
        assert_eq!(disambiguated(&["t/a", "t/a", "t/a/b"], false), ["t/a.1", "t/a.2", "t/a/b"]);
        assert_eq!(disambiguated(&["t/a/b", "t/a-b", "t/a"], false), ["t/a/b", "t/a-b", "t/a.1"]);
        assert_eq!(disambiguated(&["t/A", "t/a", "t/B", "t/b/c"], true), ["t/A", "t/a.1", "t/B.1", "t/b/c"]);
        assert_eq!(disambiguated(&["t/A", "t/a"], false), ["t/A", "t/a"]);
    }

    #[test]
    fn a_hundred_thousand_equal_names_take_no_time() {
        let long = format!("t/{}", "n".repeat(255));
        let paths = disambiguated(&vec![long.as_str(); 100_000], true);
        assert_eq!(paths.iter().collect::<HashSet<_>>().len(), paths.len());
        assert!(paths.iter().all(|path| path.len() <= "t/".len() + MAX_NAME));
    }

    /// Parts of paths that are likely to clash or to break out.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let nasty = prop::sample::select(vec!["..", ".", "", "/", "a", "A", "a.1", "CON", "C:", "a/../..", "\0", "b."]);
        prop_oneof![
            nasty.prop_map(|part| part.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
            prop::collection::vec(any::<u8>(), 250..310)
        ]
    }

    proptest! {
        #[test]
        fn no_list_of_paths_escapes_or_clashes(
            files in prop::collection::vec(prop::collection::vec(part(), 0..4), 1..30), fold_case: bool,
        ) {
            let join = |(index, parts): (usize, &Vec<Vec<u8>>)| {
                join(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), index)
            };
            let mut paths: Vec<String> = files.iter().enumerate().map(join).collect();
            disambiguate(&mut paths.iter_mut().collect::<Vec<_>>(), fold_case);
            for path in &paths {
                prop_assert!(path.split('/').all(|part| {
                    !part.is_empty() && part != "." && part != ".." && part.len() <= MAX_NAME
                        && !part.contains(|c: char| c == '\\' || c.is_control())
                }), "{path:?}");
            }
            let keys: Vec<_> = paths.iter().map(|path| key(path, fold_case)).collect();
            for (at, one) in keys.iter().enumerate() {
                for (other_at, other) in keys.iter().enumerate() {
                    prop_assert!(at == other_at || (one != other && !is_within(other, one)), "{one:?} {other:?}");
                }
            }
        }
    }
}
