//! The info dictionary (BEP 3), the part of a metainfo that its info hash covers, checked in this one place: paths made
//! safe, lengths added up, hashes counted. Its raw bytes are kept and never written anew.

use std::{
    ffi::OsStr,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sha1::{Digest, Sha1};

use super::{
    File, FileKind, Geometry, InfoHash, MetainfoError,
    outline::{Outline, OutlineContent, OutlineEntry},
    path,
};
use crate::bencode::{self, BencodeNode};

/// An info dictionary that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub raw: Vec<u8>,
    /// Where in `raw` the piece hashes lie.
    pub pieces: Range<usize>,
    pub hash: InfoHash,
    pub name: String,
    /// The name that was asked for, where it is another one.
    pub asked_name: Option<String>,
    pub geometry: Geometry,
    pub files: Vec<File>,
    pub is_single_file: bool,
    pub private: bool,
    /// By the file's number: where links lead that stay in the folder, as the link has to say it.
    pub links: Vec<(usize, PathBuf)>,
    spelled: Spelled,
}

/// The paths as they are spelled of those files where they had to be altered but could lie on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Spelled {
    name: PathBuf,
    /// By the file's number: the path below the name.
    below: Vec<(usize, PathBuf)>,
}

impl Info {
    /// Checks a dictionary and keeps its bytes.
    pub fn read(node: BencodeNode<'_>) -> Result<Info, MetainfoError> {
        let raw = node.raw();
        let outline = Outline::read(node)?;
        let hash = InfoHash(Sha1::digest(raw).into());
        let name = path::top_name(outline.name).unwrap_or_else(|| hash.to_string());
        let asked_name = (name.as_bytes() != outline.name).then(|| String::from_utf8_lossy(outline.name).into_owned());
        let paths = safe_paths(&outline);
        let spelled = altered_paths(&outline, &name, &paths);
        let files = lay_out(&outline, &name, paths)?;
        let target = |(index, target): &(usize, Vec<&[u8]>)| {
            Some((*index, path::link(files[*index].path.strip_prefix(&name).ok()?.to_str()?, target)?.into()))
        };
        let links = outline.links.iter().filter_map(target).collect();
        let length = files.last().map_or(0, |file| file.offset + file.length);
        let geometry = Geometry::new(length, outline.piece_length)?;
        if outline.pieces.len() as u64 != u64::from(geometry.piece_count()) * 20 {
            return Err(MetainfoError::PieceCount { got: outline.pieces.len(), want: geometry.piece_count() });
        }
        // The outline borrows from the dictionary, so the distance of the two is where the hashes lie in it.
        let start = outline.pieces.as_ptr() as usize - raw.as_ptr() as usize;
        Ok(Info {
            pieces: start..start + outline.pieces.len(),
            raw: raw.to_vec(),
            hash,
            name,
            asked_name,
            geometry,
            files,
            is_single_file: matches!(outline.content, OutlineContent::File(..)),
            private: outline.private,
            links,
            spelled,
        })
    }
}

impl Info {
    /// The path of a file as it is spelled, where it had to be altered but could lie on a disk.
    pub fn spelled_path(&self, index: usize) -> Option<PathBuf> {
        let Spelled { name, below } = &self.spelled;
        let at = below.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        let below = &below[at].1;
        Some(if below.as_os_str().is_empty() { name.clone() } else { name.join(below) })
    }

    /// The files whose paths had to be altered: the path that is asked for, below the name, and the one that is taken.
    pub fn renamed_files(&self) -> Vec<(String, &Path)> {
        let node = bencode::decode(&self.raw).expect("an info dictionary was decoded before it was kept");
        let outline = Outline::read(node).expect("an info dictionary was checked before it was kept");
        let files = outline.entries().iter().zip(&self.files).filter(|(_, file)| file.kind != FileKind::Pad);
        let renamed = files.filter_map(|(entry, file)| {
            let asked = path::meant(&entry.path).collect::<Vec<_>>().join(&b'/');
            let taken = file.path.strip_prefix(&self.name).ok()?;
            (taken.as_os_str().as_bytes() != asked)
                .then(|| (String::from_utf8_lossy(&asked).into_owned(), file.path.as_path()))
        });
        renamed.collect()
    }
}

/// A path below the name for each file of a folder, though two may still be equal. The name, which every file would
/// repeat, comes before them at last.
fn safe_paths(outline: &Outline<'_>) -> Vec<String> {
    outline.entries().iter().enumerate().map(|(index, entry)| path::join(&entry.path, index)).collect()
}

/// The paths in the torrent's own bytes, of those files where it is another one and a disk could hold it.
fn altered_paths(outline: &Outline<'_>, name: &str, safe: &[String]) -> Spelled {
    if !path::is_possible(outline.name) {
        return Spelled::default();
    }
    let is_name_kept = outline.name == name.as_bytes();
    let spell = |parts: &[&[u8]]| -> Option<PathBuf> {
        path::meant(parts).map(|part| path::is_possible(part).then(|| OsStr::from_bytes(part))).collect()
    };
    let below = match &outline.content {
        OutlineContent::File(..) if is_name_kept => Vec::new(),
        OutlineContent::File(..) => vec![(0, PathBuf::new())],
        OutlineContent::Folder(entries) => {
            let altered = entries.iter().zip(safe).enumerate().filter(|(_, (entry, safe))| {
                let is_kept = is_name_kept && safe.split('/').map(str::as_bytes).eq(path::meant(&entry.path));
                !entry.path.is_empty() && !is_kept
            });
            altered.filter_map(|(index, (entry, _))| Some((index, spell(&entry.path)?))).collect()
        }
    };
    Spelled { name: OsStr::from_bytes(outline.name).into(), below }
}

/// All files one behind the other, no two of them in each other's way.
fn lay_out(outline: &Outline<'_>, name: &str, mut paths: Vec<String>) -> Result<Vec<File>, MetainfoError> {
    let entries = match &outline.content {
        OutlineContent::File(length, is_executable) => {
            let (kind, is_executable) = (FileKind::Normal, *is_executable);
            return Ok(vec![File { path: name.into(), length: *length, offset: 0, kind, is_executable }]);
        }
        OutlineContent::Folder(entries) => entries,
    };
    // Pad files are never written, and many share one name.
    let written = paths.iter_mut().zip(entries).filter(|(_, entry)| entry.kind != FileKind::Pad).map(|(path, _)| path);
    path::disambiguate(&mut written.collect::<Vec<_>>(), path::FOLD_CASE);

    let mut offset: u64 = 0;
    let mut files = Vec::with_capacity(paths.len());
    for (path, OutlineEntry { length, kind, is_executable, .. }) in paths.into_iter().zip(entries) {
        let path = format!("{name}/{path}").into();
        files.push(File { path, length: *length, offset, kind: *kind, is_executable: *is_executable });
        offset = offset.checked_add(*length).ok_or(MetainfoError::LengthOverflow)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{decode, decode_prefix};
    use crate::metainfo::{MAX_FILES, path::MAX_DEPTH};

    const HASH: &str = "HHHHHHHHHHHHHHHHHHHH";

    /// Reads an info dictionary of one piece that has these further entries.
    fn read(entries: &str) -> Result<Info, MetainfoError> {
        let raw = format!("d12:piece lengthi1048576e6:pieces20:{HASH}{entries}e");
        Info::read(decode(raw.as_bytes()).unwrap())
    }

    /// Reads a folder `t` with these files.
    fn read_files(files: &str) -> Result<Info, MetainfoError> {
        read(&format!("4:name1:t5:filesl{files}e"))
    }

    fn paths(info: &Info) -> Vec<&str> {
        info.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn the_hash_and_the_paths_are_those_of_the_raw_bytes() {
        let raw = format!(
            "d5:filesld6:lengthi3e4:pathl3:sub5:x.txteed6:lengthi0e4:pathl5:emptyeee\
             4:name1:t12:piece lengthi16384e6:pieces20:{HASH}7:privatei1ee"
        );
        let info = Info::read(decode(raw.as_bytes()).unwrap()).unwrap();
        assert_eq!(info.hash.to_string(), "17a316af80b65a59bdab5b7c4f4f225b8b618d81");
        assert_eq!(paths(&info), ["t/sub/x.txt", "t/empty"]);
        assert_eq!((&info.raw[..], &info.raw[info.pieces.clone()]), (raw.as_bytes(), HASH.as_bytes()));
        assert!(info.private && !info.is_single_file);
    }

    #[test]
    fn names_in_utf_8_go_before_those_of_unknown_encoding() {
        let info = read("4:name1:x10:name.utf-81:y5:filesld6:lengthi1e4:pathl1:ae10:path.utf-8l2:\u{e9}eee");
        assert_eq!(paths(&info.unwrap()), ["y/é"]);
    }

    #[test]
    fn pads_and_links_are_known_with_and_without_a_path() {
        let info = read_files(
            "d6:lengthi1e4:pathl1:aee\
             d4:attr1:p6:lengthi5ee\
             d4:attr1:p6:lengthi5e4:pathl4:.pad1:5ee\
             d4:attr2:hp6:lengthi5e4:pathl4:.pad1:5ee\
             d6:lengthi5e4:pathl30:_____padding_file_0_if you seeee\
             d4:attr1:l6:lengthi7e4:pathl4:linke12:symlink pathl1:aee",
        );
        let info = info.unwrap();
        let kinds: Vec<_> = info.files.iter().map(|file| (file.kind, file.offset, file.length)).collect();
        let pad = |offset| (FileKind::Pad, offset, 5);
        let want = [(FileKind::Normal, 0, 1), pad(1), pad(6), pad(11), pad(16), (FileKind::Symlink, 21, 0)];
        assert_eq!(kinds, want);
        assert_eq!(info.geometry.length(), 21);
        assert_eq!(info.files[2].path, info.files[3].path);
    }

    #[test]
    fn unsafe_names_are_altered_and_remembered_where_a_disk_could_hold_them() {
        let info = read_files(
            "d6:lengthi1e4:pathl2:..4:evilee\
             d6:lengthi1e4:pathl5:aux.cee\
             d6:lengthi1e4:pathl1:aee\
             d6:lengthi1e4:pathl1:aee\
             d6:lengthi1e4:pathl2:a/ee\
             d6:lengthi1e4:pathl0:ee",
        );
        let info = info.unwrap();
        assert_eq!(paths(&info), ["t/_/evil", "t/_aux.c", "t/a", "t/a.1", "t/a.2", "t/5"]);
        let spelled: Vec<_> = (0..6).filter_map(|index| Some((index, info.spelled_path(index)?))).collect();
        assert_eq!(spelled, [(1, PathBuf::from("t/aux.c"))]);
    }

    #[test]
    fn parts_that_mean_nothing_are_dropped_as_other_clients_do() {
        let info = read_files(
            "d6:lengthi1e4:pathl0:8:file.wmvee\
             d6:lengthi1e4:pathl1:.1:a0:1:bee\
             d6:lengthi1e4:pathl0:5:aux.cee",
        );
        let info = info.unwrap();
        assert_eq!(paths(&info), ["t/file.wmv", "t/a/b", "t/_aux.c"]);
        assert_eq!(info.spelled_path(2), Some("t/aux.c".into()));
        assert_eq!(info.renamed_files(), [("aux.c".to_owned(), Path::new("t/_aux.c"))]);
    }

    #[test]
    fn files_that_may_be_run_are_known() {
        let info = read_files(
            "d4:attr2:hx6:lengthi1e4:pathl1:aee\
             d4:attr1:h6:lengthi1e4:pathl1:bee\
             d4:attr2:px6:lengthi1e4:pathl1:cee",
        );
        assert_eq!(info.unwrap().files.iter().map(|file| file.is_executable).collect::<Vec<_>>(), [true, false, false]);
        assert!(read("4:attr1:x6:lengthi1e4:name1:t").unwrap().files[0].is_executable);
    }

    #[test]
    fn links_that_stay_in_the_folder_are_known_with_where_they_lead() {
        let link = |path: &str, target: &str| format!("d4:attr1:l6:lengthi0e4:path{path}12:symlink path{target}e");
        let info = read_files(
            &[
                "d6:lengthi1e4:pathl3:lib6:so.1.2ee".to_owned(),
                link("l3:lib2:soe", "l3:lib6:so.1.2e"),
                link("l3:bin1:xe", "l3:lib2:soe"),
                link("l1:ue", "l2:..6:passwde"),
                link("l3:lib3:upse", "l3:libe"),
                link("l4:selfe", "l4:selfe"),
                link("l4:nonee", "le"),
                link("l1:fe", "l0:3:lib1:.e"),
                link("l1:ge", "l6:/a/../e"),
                "d4:attr1:l6:lengthi0e4:pathl1:hee".to_owned(),
            ]
            .concat(),
        );
        let links = info.unwrap().links;
        let want = [(1, "so.1.2"), (2, "../lib/so"), (7, "lib"), (8, "a")];
        assert_eq!(links, want.map(|(index, target)| (index, PathBuf::from(target))));
    }

    #[test]
    fn a_torrent_whose_name_vanishes_is_called_by_its_info_hash() {
        for name in ["0:", "1:.", "2:..", "3:../"] {
            let info = read(&format!("4:name{name}6:lengthi1e")).unwrap();
            assert_eq!(info.name, info.hash.to_string(), "{name}");
            assert_eq!(info.files[0].path.to_str(), Some(info.name.as_str()));
        }
    }

    #[test]
    fn a_torrent_whose_name_begins_with_a_dot_gets_another_and_is_found_where_it_lies() {
        let info = read("4:name4:.ssh5:filesld6:lengthi1e4:pathl15:authorized_keyseee").unwrap();
        assert_eq!((info.name.as_str(), info.asked_name.as_deref()), ("_.ssh", Some(".ssh")));
        assert_eq!(paths(&info), ["_.ssh/authorized_keys"]);
        assert_eq!(info.spelled_path(0), Some(PathBuf::from(".ssh/authorized_keys")));
        let file = read("4:name4:.ssh6:lengthi1e").unwrap();
        assert_eq!((file.files[0].path.to_str(), file.spelled_path(0)), (Some("_.ssh"), Some(PathBuf::from(".ssh"))));
        assert_eq!(read("4:name1:a6:lengthi1e").unwrap().asked_name, None);
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_named() {
        let sentence = |entries: &str| read(entries).unwrap_err().to_string();
        assert_eq!(sentence("6:lengthi1e"), "`info.name` is missing or is not a string");
        assert_eq!(sentence("4:name1:t"), "`info.length` is missing or is not an integer");
        assert!(sentence("4:name1:t6:lengthi-1e").starts_with("`info.length` is -1"));
        assert_eq!(sentence("4:name1:t6:lengthi0e"), "a torrent without a single byte has nothing to share");
        assert!(sentence("4:name1:t6:lengthi1048577e").contains("2 pieces of 20 bytes, 40, are needed"));
        assert!(sentence("4:name1:t6:lengthi9223372036854775807e").contains("8796093022208 pieces"));
        assert_eq!(sentence("4:name1:t5:filesle"), MetainfoError::NoFiles.to_string());
        assert!(sentence("4:name1:t5:filesldee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesli1ee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesld6:lengthi1e4:pathli1eeee").starts_with("`info.files[0].path`"));
        assert!(sentence("4:name1:t5:filesld4:pathl1:aeee").starts_with("`info.files[0].length`"));
    }

    #[test]
    fn lengths_that_overflow_when_added_are_an_error() {
        let file = "d6:lengthi9223372036854775807e4:pathl1:aee";
        assert_eq!(read_files(&file.repeat(3)), Err(MetainfoError::LengthOverflow));
    }

    #[test]
    fn paths_and_lists_of_files_are_bounded_at_the_limit_and_not_before() {
        let deep = |depth: usize| read_files(&format!("d6:lengthi1e4:pathl{}ee", "1:d".repeat(depth)));
        assert!(deep(MAX_DEPTH).is_ok());
        assert!(deep(MAX_DEPTH + 1).unwrap_err().to_string().contains("101 parts"));
        let many = |count: usize| {
            read_files(&format!("{}d6:lengthi1e4:pathl1:bee", "d6:lengthi0e4:pathl1:aee".repeat(count - 1)))
        };
        assert!(many(MAX_FILES + 1).is_err_and(|error| error == MetainfoError::TooManyFiles(MAX_FILES + 1)));
        assert_eq!(many(MAX_FILES).unwrap().files.len(), MAX_FILES);
    }

    #[test]
    fn a_v2_torrent_is_refused_and_a_hybrid_loads_as_v1() {
        let v2 = b"d9:file treed1:ad0:d6:lengthi1eeee12:meta versioni2e4:name1:a12:piece lengthi16384ee";
        let error = Info::read(decode_prefix(v2).unwrap().0).unwrap_err();
        assert_eq!(error, MetainfoError::V2Only);
        assert!(error.to_string().contains("BitTorrent v2 only"));
        let hybrid = read("9:file treed1:ad0:d6:lengthi1eeee6:lengthi1e12:meta versioni2e4:name1:a");
        assert_eq!(paths(&hybrid.unwrap()), ["a"]);
    }
}
