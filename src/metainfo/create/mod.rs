//! From a file or a folder to its metainfo; the info dictionary is, byte for byte, the one that mktorrent 1.1 makes, but
//! for the mark of files that may be run (BEP 47), which mktorrent does not know.
//!
//! As there, files come in the order of their paths' bytes, hidden ones included; links are followed, and what is
//! neither file nor folder is left out. Unlike there, our own records are left out ([`path::is_record`]), a file that
//! cannot be read or that changes meanwhile is an error, and what is left out is told.

mod hash;
mod walk;

pub use walk::LeftOut;

use std::{
    fmt, fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use self::walk::FoundFile;
use super::{
    Geometry, Hashes, Metainfo, MetainfoError,
    info::Info,
    outer::{Extra, Outer, Trackers},
    outline::{Outline, OutlineContent},
    path,
};
use crate::bencode;

/// Bytes in a piece unless told otherwise.
pub const DEFAULT_PIECE_LENGTH: u32 = 256 * 1024;

/// What a metainfo shall say beyond its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// Bytes in every piece but the last.
    pub piece_length: u32,
    /// URLs to announce to, in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs of HTTP servers that have the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Whether peers may come from the trackers alone (BEP 27).
    pub private: bool,
    /// Anything for people to read.
    pub comment: Option<String>,
    /// The name, where it shall not be that of the file or folder.
    pub name: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// Files that are no part of a folder: those that the metainfo is to be written to.
    pub leave_out: Vec<PathBuf>,
}

/// Why a file or folder did not become a metainfo.
#[derive(Debug)]
pub enum CreateError {
    /// A path that cannot be read.
    Io(PathBuf, io::Error),
    /// A file that had another length or time of change afterwards.
    Changed(PathBuf),
    /// A folder in which there is no file.
    Empty(PathBuf),
    /// A file, or a folder of files, without a single byte.
    NoBytes(PathBuf),
    /// Neither a file nor a folder.
    NotAFile(PathBuf),
    /// A name that is no name of a file.
    BadName(String),
    /// What was found makes no torrent.
    Metainfo(MetainfoError),
}

impl Default for CreateOptions {
    fn default() -> CreateOptions {
        CreateOptions {
            piece_length: DEFAULT_PIECE_LENGTH,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            private: false,
            comment: None,
            name: None,
            creation_date: None,
            leave_out: Vec::new(),
        }
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Io(path, error) => write!(f, "{path:?} cannot be read: {error}"),
            CreateError::Changed(path) => write!(f, "{path:?} changed while it was read; try again when it is at rest"),
            CreateError::Empty(path) => write!(f, "{} contains no files", path.display()),
            CreateError::NoBytes(path) => write!(f, "{} is empty; there is nothing to share", path.display()),
            CreateError::NotAFile(path) => write!(f, "{path:?} is neither a file nor a folder"),
            CreateError::BadName(name) => write!(f, "{name:?} is no name for a file or folder"),
            CreateError::Metainfo(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for CreateError {}

impl From<MetainfoError> for CreateError {
    fn from(error: MetainfoError) -> CreateError {
        CreateError::Metainfo(error)
    }
}

/// What was made of a file or folder.
#[derive(Debug)]
pub struct Created {
    /// What describes it.
    pub metainfo: Metainfo,
    /// What the system said of each file before it was read, in the metainfo's order.
    pub found: Vec<fs::Metadata>,
    /// What was found in the folder and is not in the metainfo.
    pub left_out: Vec<LeftOut>,
}

/// Hashes the file, or all files in the folder, on every core. `progress` is told on the calling thread how many bytes
/// are hashed so far; the last time, all of them.
pub fn create(path: &Path, options: &CreateOptions, progress: &dyn Fn(u64)) -> Result<Created, CreateError> {
    let name = match &options.name {
        Some(name) => name.as_bytes().to_vec(),
        None => own_name(path)?,
    };
    if !path::is_possible(&name) {
        return Err(CreateError::BadName(String::from_utf8_lossy(&name).into_owned()));
    }
    let (found, left_out) = walk::walk(path, &options.leave_out)?;
    let length = found.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.length));
    let length = length.ok_or(MetainfoError::LengthOverflow)?;
    if length == 0 {
        return Err(CreateError::NoBytes(path.to_owned()));
    }
    let geometry = Geometry::new(length, options.piece_length.into()).map_err(MetainfoError::Geometry)?;
    let pieces = hash::hash(&found, &geometry, progress)?;
    let is_folder = found.iter().any(|file| !file.parts.is_empty());
    let content = match &found[..] {
        [file] if !is_folder => OutlineContent::File(length, file.entry().is_executable),
        files => OutlineContent::Folder(files.iter().map(FoundFile::entry).collect()),
    };
    let metainfo = assemble(&name, content, &pieces, options)?;
    Ok(Created { metainfo, left_out, found: found.into_iter().map(|file| file.metadata).collect() })
}

impl Metainfo {
    /// The metainfo of one file whose bytes were hashed elsewhere; `name` counts where `options` has none, and the
    /// piece length is that of the hashes.
    pub fn from_hashes(name: &str, hashes: &Hashes, options: &CreateOptions) -> Result<Metainfo, MetainfoError> {
        let name = options.name.as_deref().unwrap_or(name);
        let options = CreateOptions { piece_length: hashes.piece_length, ..options.clone() };
        assemble(name.as_bytes(), OutlineContent::File(hashes.length, false), &hashes.pieces, &options)
    }
}

fn assemble(
    name: &[u8],
    content: OutlineContent<'_>,
    pieces: &[u8],
    options: &CreateOptions,
) -> Result<Metainfo, MetainfoError> {
    let piece_length = options.piece_length.into();
    let raw = Outline { name, piece_length, pieces, private: options.private, content, links: Vec::new() }.encode();
    let outer = Outer {
        trackers: Trackers::new(None, options.trackers.clone()),
        web_seeds: options.web_seeds.clone(),
        comment: options.comment.clone(),
        created_by: Some(concat!("minitorrent ", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: options.creation_date,
        extra: Extra::new(),
    };
    Ok(Metainfo { info: Info::read(bencode::decode(&raw)?)?, outer })
}

/// What the metainfo of this file or folder is called, as [`Metainfo::name`] says it.
pub fn safe_name(path: &Path) -> Result<String, CreateError> {
    // Nothing is left of some names, and then it is the info hash, which is not known yet.
    Ok(path::top_name(&own_name(path)?).unwrap_or_else(|| "_".to_owned()))
}

/// The last part of a path; that of the folder it means, for `.` and the like.
fn own_name(path: &Path) -> Result<Vec<u8>, CreateError> {
    let absolute = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().map_err(|error| CreateError::Io(path.to_owned(), error))?,
    };
    let name = absolute.file_name().ok_or_else(|| CreateError::BadName(path.display().to_string()))?;
    Ok(name.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        fs,
        os::unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
        process::Command,
    };

    use tempfile::TempDir;

    use super::*;
    use crate::metainfo::PieceHasher;

    /// Bytes that repeat in no piece.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn write(folder: &TempDir, path: &str, content: &[u8]) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn create_quietly(path: &Path, options: &CreateOptions) -> Result<Metainfo, CreateError> {
        create(path, options, &|_| ()).map(|created| created.metainfo)
    }

    /// Names whose order depends on how they are compared, with links, hidden files and nothing in some.
    fn nasty_folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        write(&folder, "t/a/b.txt", &bytes(300_000));
        write(&folder, "t/a-b", &bytes(1));
        write(&folder, "t/a.txt", &bytes(262_143));
        write(&folder, "t/B/deep/er/still/x", &bytes(70_000));
        write(&folder, "t/empty", b"");
        write(&folder, "t/zz-empty-at-the-end", b"");
        write(&folder, "t/größe – 練習.bin", &bytes(12_345));
        write(&folder, "t/.hidden/.file", &bytes(5));
        write(&folder, "outside/linked", &bytes(99));
        symlink("../outside", folder.path().join("t/folder-link")).unwrap();
        symlink("a.txt", folder.path().join("t/file-link")).unwrap();
        fs::write(folder.path().join("t").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), b"latin").unwrap();
        folder
    }

    /// The info dictionary that mktorrent makes, unless it is not installed.
    fn mktorrent(path: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out.torrent");
        let mut command = Command::new("mktorrent");
        match command.args(["-a", "http://a/"]).args(arguments).arg("-o").arg(&out).arg(path).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                eprintln!("SKIPPED: not compared with mktorrent, which does not run here: {error}");
                return None;
            }
        }
        Some(Metainfo::read(&fs::read(out).unwrap()).unwrap().info_bytes().to_vec())
    }

    #[test]
    fn the_info_dictionary_is_byte_for_byte_that_of_mktorrent() {
        let folder = nasty_folder();
        write(&folder, "größe.bin", &bytes(1_000_000));
        for (path, arguments, options) in [
            ("t", &["-l", "18"][..], CreateOptions::default()),
            (
                "t",
                &["-l", "15", "-p"],
                CreateOptions { piece_length: 1 << 15, private: true, ..CreateOptions::default() },
            ),
            (
                "t",
                &["-l", "24", "-n", "other"],
                CreateOptions { piece_length: 1 << 24, name: Some("other".into()), ..CreateOptions::default() },
            ),
            ("größe.bin", &["-l", "18"], CreateOptions::default()),
            (
                "größe.bin",
                &["-l", "16", "-p"],
                CreateOptions { piece_length: 1 << 16, private: true, ..CreateOptions::default() },
            ),
            ("t/file-link", &["-l", "18"], CreateOptions::default()),
        ] {
            let path = folder.path().join(path);
            let ours = create_quietly(&path, &options).unwrap();
            if let Some(theirs) = mktorrent(&path, arguments) {
                assert_eq!(ours.info_bytes().escape_ascii().to_string(), theirs.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn an_upload_gets_the_metainfo_of_the_same_file_on_disk() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a.bin", &bytes(600_000));
        let options = CreateOptions {
            trackers: vec![vec!["http://a".into()]],
            creation_date: Some(7),
            ..CreateOptions::default()
        };
        let from_disk = create_quietly(&folder.path().join("a.bin"), &options).unwrap();
        let mut hasher = PieceHasher::new(options.piece_length);
        bytes(600_000).chunks(1_000).for_each(|part| hasher.update(part));
        assert_eq!(Metainfo::from_hashes("a.bin", &hasher.finish(), &options), Ok(from_disk.clone()));
        assert_eq!(from_disk.trackers(), [["http://a"]]);
        assert_eq!((from_disk.creation_date(), from_disk.is_single_file()), (Some(7), true));
    }

    #[test]
    fn progress_only_grows_and_ends_at_the_length() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a.bin", &bytes(9_000_000));
        let seen = RefCell::new(Vec::new());
        create(&folder.path().join("a.bin"), &CreateOptions::default(), &|hashed| seen.borrow_mut().push(hashed))
            .unwrap();
        let seen = seen.into_inner();
        assert!(seen.is_sorted() && seen.last() == Some(&9_000_000), "{seen:?}");
    }

    #[test]
    fn a_folder_is_named_after_itself_even_when_it_is_called_a_dot() {
        let folder = nasty_folder();
        let direct = create_quietly(&folder.path().join("t"), &CreateOptions::default()).unwrap();
        assert_eq!(direct.name(), "t");
        let roundabout = create_quietly(&folder.path().join("t/a/.."), &CreateOptions::default()).unwrap();
        assert_eq!(roundabout, direct);
    }

    #[test]
    fn files_whose_names_had_to_be_altered_are_found_under_their_own() {
        let folder = nasty_folder();
        write(&folder, "t/aux.c", b"on Linux a name like any other");
        write(&folder, "t/end.", b"so is this");
        let metainfo = create_quietly(&folder.path().join("t"), &CreateOptions::default()).unwrap();
        let spelled = |index| metainfo.spelled_path(index);
        for (index, file) in metainfo.files().iter().enumerate() {
            let path = spelled(index).unwrap_or_else(|| file.path.clone());
            assert_eq!(fs::metadata(folder.path().join(&path)).unwrap().len(), file.length, "{path:?}");
        }
        assert_eq!((0..metainfo.files().len()).filter_map(spelled).count(), 3);
    }

    #[test]
    fn our_own_records_are_no_part_of_a_folder_that_was_fetched_into() {
        let folder = TempDir::new().unwrap();
        let hash = "0123456789abcdef0123456789abcdef01234567";
        for record in
            ["t/.minitorrent/x", "t/sub/.minitorrent/x", &format!("t/.{hash}.resume"), &format!("t/.{hash}.torrent")]
        {
            write(&folder, record, b"ours");
        }
        write(&folder, "t/sub/.resume", b"theirs");
        let metainfo = create_quietly(&folder.path().join("t"), &CreateOptions::default()).unwrap();
        let paths: Vec<_> = metainfo.files().iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["t/sub/.resume"]);
    }

    #[test]
    fn what_the_metainfo_is_written_to_is_no_part_of_it_and_files_are_told_as_they_were_found() {
        let folder = TempDir::new().unwrap();
        write(&folder, "t/a", b"first");
        let options = CreateOptions {
            leave_out: vec![folder.path().join("t/t.json"), folder.path().join("t/./b")],
            ..CreateOptions::default()
        };
        let first = create(&folder.path().join("t"), &options, &|_| ()).unwrap();
        write(&folder, "t/t.json", b"{}");
        write(&folder, "t/b", b"{}");
        let second = create(&folder.path().join("t"), &options, &|_| ()).unwrap();
        assert_eq!(first.metainfo.info_hash(), second.metainfo.info_hash());
        assert_eq!(second.found.iter().map(fs::Metadata::len).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn what_holds_no_byte_is_refused_with_a_sentence() {
        let folder = TempDir::new().unwrap();
        write(&folder, "t/empty", b"");
        fs::create_dir(folder.path().join("none")).unwrap();
        let sentence =
            |path: &str| create_quietly(&folder.path().join(path), &CreateOptions::default()).unwrap_err().to_string();
        assert!(sentence("t").ends_with("/t is empty; there is nothing to share"));
        assert!(sentence("t/empty").ends_with("/t/empty is empty; there is nothing to share"));
        assert!(sentence("none").ends_with("/none contains no files"));
        assert!(sentence("missing").contains("missing\" cannot be read: No such file"));
    }

    #[test]
    fn files_that_may_be_run_stay_so_in_every_form() {
        let folder = nasty_folder();
        let plain = create_quietly(&folder.path().join("t"), &CreateOptions::default()).unwrap();
        fs::set_permissions(folder.path().join("t/a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        for path in ["t", "t/a.txt"] {
            let metainfo = create_quietly(&folder.path().join(path), &CreateOptions::default()).unwrap();
            let runs = metainfo.files().iter().filter(|file| file.is_executable).map(|file| file.path.file_name());
            // The link to it is the file itself here.
            assert!(
                runs.eq([Some("a.txt"), Some("file-link")]
                    .into_iter()
                    .take(metainfo.files().len())
                    .map(|name| name.map(std::ffi::OsStr::new)))
            );
            for form in [metainfo.to_json(), metainfo.to_torrent()] {
                assert_eq!(Metainfo::read(&form).unwrap(), metainfo);
            }
            assert_ne!(metainfo.info_hash(), plain.info_hash());
        }
        let json = create_quietly(&folder.path().join("t/a.txt"), &CreateOptions::default()).unwrap().to_json();
        let json = String::from_utf8(json).unwrap();
        assert!(json.contains(r#""executable": true"#) && !json.contains(r#""info":"#), "{json}");
        // A form of an earlier version has it in the raw dictionary alone.
        let early = json.replace("\"executable\": true,", "").replace(
            "\"pieces\"",
            &format!(
                "\"info\": \"{}\", \"pieces\"",
                data_encoding::BASE64.encode(Metainfo::read(json.as_bytes()).unwrap().info_bytes())
            ),
        );
        assert_eq!(Metainfo::read(early.as_bytes()).unwrap().to_json(), json.as_bytes());
    }

    #[test]
    fn options_that_make_no_torrent_are_refused() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a", b"x");
        for name in ["", "..", "a/b"] {
            let options = CreateOptions { name: Some(name.into()), ..CreateOptions::default() };
            assert!(
                matches!(create_quietly(&folder.path().join("a"), &options), Err(CreateError::BadName(_))),
                "{name}"
            );
        }
        let options = CreateOptions { piece_length: 0, ..CreateOptions::default() };
        assert!(
            create_quietly(&folder.path().join("a"), &options).unwrap_err().to_string().contains("piece length of 0")
        );
    }

    #[test]
    fn links_that_lead_nowhere_or_in_circles_and_what_is_no_file_are_left_out_and_named() {
        let folder = nasty_folder();
        let all = create_quietly(&folder.path().join("t"), &CreateOptions::default()).unwrap();
        for (link, target) in [("a/up", ".."), ("lock", "nowhere"), ("me", "me"), ("under", "a.txt/x")] {
            symlink(target, folder.path().join("t").join(link)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("t/socket")).unwrap();
        let created = create(&folder.path().join("t"), &CreateOptions::default(), &|_| ()).unwrap();
        assert_eq!(created.metainfo, all);
        let mut said: Vec<_> = created.left_out.iter().map(std::string::ToString::to_string).collect();
        said.sort();
        let prefix = folder.path().join("t").display().to_string();
        assert_eq!(
            said.iter().map(|line| line.strip_prefix(&prefix).unwrap()).collect::<Vec<_>>(),
            [
                "/a/up is left out: it links to a folder that it lies in",
                "/lock is left out: it is a link that leads nowhere",
                "/me is left out: it is a link that leads nowhere",
                "/socket is left out: it is neither a file nor a folder",
                "/under is left out: it is a link that leads nowhere",
            ]
        );
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_an_error() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.bin");
        for length in [0, 1_000_000, 9_999_999, 10_000_001] {
            fs::write(&path, bytes(10_000_000)).unwrap();
            let resize = |_| fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let error = create(&path, &CreateOptions::default(), &resize).unwrap_err();
            assert!(matches!(error, CreateError::Changed(_)), "{length}: {error}");
        }
    }
}
