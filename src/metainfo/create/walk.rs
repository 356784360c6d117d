//! Which files a folder holds, in the order in which they enter the torrent.

use std::{
    fmt, fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{CreateError, MetainfoError};
use crate::metainfo::{
    FileKind, MAX_FILES,
    error::Problem,
    outline::OutlineEntry,
    path::{MAX_DEPTH, is_record},
};

/// A file on the disk, as it was when it was found.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub path: PathBuf,
    /// The parts of its path below the folder; none for a file that stands alone.
    pub parts: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// What the system said of it then.
    pub metadata: fs::Metadata,
}

impl FoundFile {
    fn new(path: PathBuf, parts: Vec<Vec<u8>>, metadata: fs::Metadata) -> FoundFile {
        FoundFile { path, parts, length: metadata.len(), metadata }
    }

    /// Its place in the info dictionary.
    pub fn entry(&self) -> OutlineEntry<'_> {
        let path = self.parts.iter().map(Vec::as_slice).collect();
        // Its owner may run it.
        let is_executable = self.metadata.mode() & 0o100 != 0;
        OutlineEntry { path, length: self.length, kind: FileKind::Normal, is_executable }
    }

    /// Whether the file is still the one that was found.
    pub fn is_unchanged(&self, metadata: &fs::Metadata) -> bool {
        let times = |of: &fs::Metadata| [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()];
        metadata.len() == self.length && times(metadata) == times(&self.metadata)
    }
}

/// Something in the folder that does not enter the torrent.
#[derive(Debug)]
pub struct LeftOut {
    path: PathBuf,
    why: &'static str,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left out: {}", self.path.display(), self.why)
    }
}

/// The file itself, or every file below the folder but those of `but`, sorted by the bytes of their paths; and what is left
/// out.
pub(super) fn walk(path: &Path, but: &[PathBuf]) -> Result<(Vec<FoundFile>, Vec<LeftOut>), CreateError> {
    let metadata = metadata(path)?;
    if metadata.is_file() {
        return Ok((vec![FoundFile::new(path.to_owned(), Vec::new(), metadata)], Vec::new()));
    }
    if !metadata.is_dir() {
        return Err(CreateError::NotAFile(path.to_owned()));
    }
    // What is not there need not be left out.
    let but = but.iter().filter_map(|path| fs::metadata(path).ok().as_ref().map(identity)).collect();
    let mut walk = Walk { found: Vec::new(), left_out: Vec::new(), parts: Vec::new(), around: Vec::new(), but };
    walk.folder(path, &metadata)?;
    walk.found.sort_by_cached_key(|file| file.parts.join(&b'/'));
    if walk.found.is_empty() { Err(CreateError::Empty(path.to_owned())) } else { Ok((walk.found, walk.left_out)) }
}

struct Walk {
    found: Vec<FoundFile>,
    left_out: Vec<LeftOut>,
    /// The parts of the path to the current folder.
    parts: Vec<Vec<u8>>,
    /// Device and inode of the current folder and of all around it.
    around: Vec<(u64, u64)>,
    /// Those of files that are no part of it.
    but: Vec<(u64, u64)>,
}

impl Walk {
    fn folder(&mut self, path: &Path, metadata: &fs::Metadata) -> Result<(), CreateError> {
        let identity = identity(metadata);
        if self.around.contains(&identity) {
            self.leave_out(path, "it links to a folder that it lies in");
            return Ok(());
        }
        self.around.push(identity);
        let failed = |error| CreateError::Io(path.to_owned(), error);
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_record(entry.file_name().as_bytes()) {
                continue;
            }
            self.parts.push(entry.file_name().as_bytes().to_vec());
            self.entry(entry.path())?;
            self.parts.pop();
        }
        self.around.pop();
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, why: &'static str) {
        self.left_out.push(LeftOut { path: path.to_owned(), why });
    }

    fn entry(&mut self, path: PathBuf) -> Result<(), CreateError> {
        let metadata = match fs::metadata(&path) {
            // A link to nothing, to itself, or to something below a file.
            Err(error) if path.is_symlink() && error.kind() != io::ErrorKind::PermissionDenied => {
                self.leave_out(&path, "it is a link that leads nowhere");
                return Ok(());
            }
            looked => looked.map_err(|error| CreateError::Io(path.clone(), error))?,
        };
        if self.parts.len() > MAX_DEPTH {
            let problem = Problem::TooDeep(self.parts.len());
            return Err(MetainfoError::field(format!("path {path:?}"), problem).into());
        }
        if metadata.is_dir() {
            return self.folder(&path, &metadata);
        }
        if self.but.contains(&identity(&metadata)) {
            self.leave_out(&path, "the metainfo is written there");
        } else if metadata.is_file() {
            self.found.push(FoundFile::new(path, self.parts.clone(), metadata));
        } else {
            self.leave_out(&path, "it is neither a file nor a folder");
        }
        if self.found.len() > MAX_FILES { Err(MetainfoError::TooManyFiles(self.found.len()).into()) } else { Ok(()) }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What a path leads to, through links.
fn metadata(path: &Path) -> Result<fs::Metadata, CreateError> {
    fs::metadata(path).map_err(|error| CreateError::Io(path.to_owned(), error))
}
