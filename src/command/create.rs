//! `create`: make a metainfo of a file or folder, and write it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{Access, access};

use super::say_some;
use crate::{
    cli,
    metainfo::{
        Limits, Metainfo,
        create::{self, CreateOptions, Created, DEFAULT_PIECE_LENGTH},
        path,
    },
    node::Failure,
    terminal::{self, Progress},
    text::Size,
};

/// No file system allows fewer bytes in a name, whatever it says.
const SHORTEST_LIMIT: usize = 64;

/// Makes a metainfo and says where it is.
pub fn run(arguments: cli::Create) -> Result<ExitCode, Failure> {
    let path = &arguments.path;
    let out = Out::checked(path, arguments.out.as_deref())?;
    let options = CreateOptions {
        piece_length: arguments.piece_length.unwrap_or(DEFAULT_PIECE_LENGTH),
        trackers: arguments.tracker.into_iter().map(|url| vec![url]).collect(),
        private: arguments.private,
        comment: arguments.comment,
        creation_date: now(),
        leave_out: out.paths().to_vec(),
        ..CreateOptions::default()
    };
    let metainfo = make(path, &options, arguments.json)?.metainfo;
    out.write(&metainfo)?;
    if arguments.json {
        let written: Vec<_> = out.paths.iter().map(|path| path.to_string_lossy()).collect();
        let line = serde_json::json!({ "info_hash": metainfo.info_hash().to_string(), "written": written });
        Ok(terminal::print_json(line))
    } else {
        Ok(said(&metainfo, &out))
    }
}

/// Hashes a file or folder, with progress. What is left out of it is said.
pub fn make(path: &Path, options: &CreateOptions, quiet: bool) -> Result<Created, Failure> {
    let progress = Mutex::new(Progress::new(quiet));
    let total = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    let made = create::create(path, options, &|done| {
        // Workers share the bar; one that finds it in use has nothing to add.
        if let Ok(mut progress) = progress.try_lock() {
            progress.show(done, total.max(done), "hashed");
        }
    });
    progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    let made = made.map_err(|error| Failure::new(error.to_string()))?;
    say_some(&made.left_out, "are left out");
    Ok(made)
}

/// Where a metainfo is to be written: one form, or both.
pub struct Out {
    paths: Vec<PathBuf>,
}

impl Out {
    /// `out`, whose ending says the form; both forms, named after `what`, in this folder when none is given. Whatever
    /// speaks against writing there is an error now, before hours go into the hashes.
    pub fn checked(what: &Path, out: Option<&Path>) -> Result<Out, Failure> {
        let paths = match out {
            Some(out) => vec![out.to_owned()],
            None => {
                let name = create::safe_name(what).map_err(|error| Failure::new(error.to_string()))?;
                let name = path::shorten(&name, longest_name(Path::new(".")) - ".torrent".len());
                ["json", "torrent"].map(|form| PathBuf::from(format!("{name}.{form}"))).to_vec()
            }
        };
        paths.iter().try_for_each(|path| check_writable(path, what))?;
        Ok(Out { paths })
    }

    /// The files that are written.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Writes the metainfo: each form whole, or none at all.
    pub fn write(&self, metainfo: &Metainfo) -> Result<(), Failure> {
        let news: Vec<PathBuf> = (0..self.paths.len()).map(|number| self.new_file(number)).collect();
        let about = |path: &Path, error| {
            Failure::about(path.display(), format_args!("{error}; --out says where else to write it"))
        };
        let written = self.paths.iter().zip(&news).try_for_each(|(path, new)| {
            let bytes = if is_json(path) { metainfo.to_json() } else { metainfo.to_torrent() };
            fs::write(new, bytes).map_err(|error| about(path, error))
        });
        let renamed = written.and_then(|()| {
            let mut pairs = self.paths.iter().zip(&news);
            pairs.try_for_each(|(path, new)| fs::rename(new, path).map_err(|error| about(path, error)))
        });
        renamed.inspect_err(|_| {
            // Best effort: the reason why it could not be written is what counts.
            news.iter().for_each(|new| _ = fs::remove_file(new));
        })
    }

    /// A file beside the one that is to be, with a name as short as any.
    fn new_file(&self, number: usize) -> PathBuf {
        self.paths[number].with_file_name(format!(".{}-{number}.new", std::process::id()))
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// Bytes that a name in this folder may have.
fn longest_name(folder: &Path) -> usize {
    let limit = rustix::fs::statvfs(folder).map_or(path::MAX_NAME, |system| system.f_namemax as usize);
    limit.clamp(SHORTEST_LIMIT, path::MAX_NAME)
}

/// An older metainfo makes way and nothing else does: beside `package` may lie a `package.json`.
fn check_writable(path: &Path, what: &Path) -> Result<(), Failure> {
    let refuse = |sentence: &str| Err(Failure::about(path.display(), sentence));
    let fail = |error: io::Error| Failure::about(path.display(), error);
    if path.is_dir() {
        return refuse("is a folder; --out takes a file that ends in .json or .torrent");
    }
    if !is_json(path) && path.extension().is_none_or(|ending| ending != "torrent") {
        return refuse("a metainfo ends in .json or .torrent");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return refuse("there is no such folder; --out says where else to write it");
    }
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let error = io::Error::from(error);
        return Err(Failure::about(path.display(), format_args!("{error}; --out says where else to write it")));
    }
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    if fs::metadata(what).is_ok_and(|what| (what.dev(), what.ino()) == (found.dev(), found.ino())) {
        return refuse("is what the metainfo is made of; --out says where else to write it");
    }
    let may_be_one = found.is_file() && found.len() <= Limits::OWNER.bytes;
    if !may_be_one || Metainfo::read(&fs::read(path).map_err(fail)?).is_err() {
        return refuse("is there already and is no metainfo; --out says where else to write it");
    }
    Ok(())
}

/// Says what was made, and where it is.
pub fn said(metainfo: &Metainfo, out: &Out) -> ExitCode {
    let (size, hash) = (Size(metainfo.length()), metainfo.info_hash());
    terminal::print(format_args!("{}, {size}, info hash {hash}", metainfo.name()));
    let lines = out.paths.iter().map(|path| terminal::print(format_args!("wrote {}", path.display())));
    lines.fold(ExitCode::SUCCESS, |_, last| last)
}

/// Seconds since 1970.
pub fn now() -> Option<i64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| since.as_secs().try_into().ok())
}
