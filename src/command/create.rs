//! `create`: make a metainfo of a file or folder, and write it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Failure;
use crate::{
    cli,
    metainfo::{
        Metainfo,
        create::{self, DEFAULT_PIECE_LENGTH, Options},
    },
    terminal::{self, Progress},
    text::escape,
};

/// Makes a metainfo and says where it is.
pub fn run(arguments: cli::Create) -> Result<ExitCode, Failure> {
    let path = Path::new(&arguments.path);
    let options = Options {
        piece_length: arguments.piece_length.unwrap_or(DEFAULT_PIECE_LENGTH),
        trackers: arguments.tracker.into_iter().map(|url| vec![url]).collect(),
        private: arguments.private,
        comment: arguments.comment,
        creation_date: now(),
        ..Options::default()
    };
    let metainfo = make(path, &options, arguments.json)?;
    let written = write(&metainfo, arguments.out.as_deref())?;
    let text = if arguments.json {
        let written: Vec<_> = written.iter().map(|path| path.to_string_lossy()).collect();
        serde_json::json!({ "info_hash": metainfo.info_hash().to_string(), "written": written }).to_string() + "\n"
    } else {
        said(&metainfo, &written)
    };
    Ok(terminal::print(&text))
}

/// Hashes a file or folder, with progress.
pub fn make(path: &Path, options: &Options, quiet: bool) -> Result<Metainfo, Failure> {
    let progress = Mutex::new(Progress::new(quiet));
    let total = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    let made = create::create(path, options, &|done| {
        // Workers share the bar; one that finds it in use has nothing to add.
        if let Ok(mut progress) = progress.try_lock() {
            progress.show(done, total.max(done), "hashed");
        }
    });
    progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    made.map_err(|error| Failure::new(error.to_string()))
}

/// Writes a metainfo to `out`, whose ending says the form; both forms, named after it, in this folder when none is given.
pub fn write(metainfo: &Metainfo, out: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
    let both = || ["json", "torrent"].map(|form| PathBuf::from(format!("{}.{form}", metainfo.name()))).to_vec();
    let paths = out.map_or_else(both, |out| vec![PathBuf::from(out)]);
    paths.iter().try_for_each(|path| check_replaceable(path))?;
    for path in &paths {
        let bytes = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => metainfo.to_json(),
            Some("torrent") => metainfo.to_torrent(),
            _ => return Err(Failure::about(path.display(), "a metainfo ends in .json or .torrent")),
        };
        replace(path, &bytes)?;
    }
    Ok(paths)
}

/// An older metainfo makes way and nothing else does: beside `package` may lie a `package.json`.
fn check_replaceable(path: &Path) -> Result<(), Failure> {
    match fs::read(path) {
        Ok(bytes) if Metainfo::read(&bytes).is_err() => {
            let sentence = "is there already and is no metainfo; --out says where else to write it";
            Err(Failure::about(path.display(), sentence))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::about(path.display(), error)),
        _ => Ok(()),
    }
}

/// Writes a metainfo whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, path)).map_err(|error| {
        // Best effort: the reason why it could not be written is what counts.
        let _ = fs::remove_file(&new);
        Failure::about(path.display(), format_args!("{error}; --out says where else to write it"))
    })
}

/// What was made, and where it is.
pub fn said(metainfo: &Metainfo, written: &[PathBuf]) -> String {
    let mut text = format!(
        "{}, {}, info hash {}\n",
        escape(metainfo.name()),
        crate::text::Size(metainfo.length()),
        metainfo.info_hash()
    );
    for path in written {
        text += &format!("wrote {}\n", escape(&path.to_string_lossy()));
    }
    text
}

/// Seconds since 1970.
pub fn now() -> Option<i64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| since.as_secs().try_into().ok())
}
