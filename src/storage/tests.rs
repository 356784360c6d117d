//! Torrents with content for the tests of this module, and a disk that is soon full.

use std::{path::Path, process::Command, sync::Arc};

use sha1::{Digest, Sha1};
use tempfile::TempDir;

use super::{Store, StoreAccess};
use crate::metainfo::{Metainfo, PieceIndex};

/// A torrent called `t`, and its bytes.
pub(super) struct Torrent {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) content: Vec<u8>,
}

impl Torrent {
    /// Files with their lengths and BEP 47 attributes: `p` for a pad, `l` for a link.
    pub(super) fn new(piece_length: u32, files: &[(&str, u64, &str)]) -> Torrent {
        let mut content = Vec::new();
        let mut list = String::new();
        for (path, length, attributes) in files {
            let byte = |at: u64| if *attributes == "p" { 0 } else { (content.len() as u64 + at) as u8 ^ 0x5a };
            let bytes: Vec<u8> = (0..*length).map(byte).collect();
            content.extend(bytes);
            let text = |text: &str| format!("{}:{text}", text.len());
            let path: String = path.split('/').map(text).collect();
            let target = if *attributes == "l" { "12:symlink pathl1:ae" } else { "" };
            list += &format!("d4:attr{}6:lengthi{length}e4:pathl{path}e{target}e", text(attributes));
        }
        let hashes: Vec<u8> = content.chunks(piece_length as usize).flat_map(Sha1::digest).collect();
        let mut torrent = format!("d4:infod5:filesl{list}e4:name1:t12:piece lengthi{piece_length}e").into_bytes();
        torrent.extend(format!("6:pieces{}:", hashes.len()).bytes());
        torrent.extend(hashes);
        torrent.extend(b"ee");
        Torrent { metainfo: Arc::new(Metainfo::read(&torrent).unwrap()), content }
    }

    /// Plain files with their lengths.
    pub(super) fn of_files(piece_length: u32, files: &[(&str, u64)]) -> Torrent {
        let files: Vec<_> = files.iter().map(|(path, length)| (*path, *length, "")).collect();
        Torrent::new(piece_length, &files)
    }

    /// One file that lies in no folder.
    pub(super) fn of_one_file(piece_length: u32, name: &str, length: u64) -> Torrent {
        Torrent::of_content(piece_length, name, (0..length).map(|at| at as u8 ^ 0xa5).collect())
    }

    /// The same, of these bytes.
    pub(super) fn of_content(piece_length: u32, name: &str, content: Vec<u8>) -> Torrent {
        let hashes: Vec<u8> = content.chunks(piece_length as usize).flat_map(Sha1::digest).collect();
        let mut torrent = format!("d4:infod6:lengthi{}e4:name{}:{name}", content.len(), name.len()).into_bytes();
        torrent.extend(format!("12:piece lengthi{piece_length}e6:pieces{}:", hashes.len()).bytes());
        torrent.extend(hashes);
        torrent.extend(b"ee");
        Torrent { metainfo: Arc::new(Metainfo::read(&torrent).unwrap()), content }
    }

    pub(super) fn piece(&self, piece: PieceIndex) -> &[u8] {
        let range = self.metainfo.geometry().range_of(piece);
        &self.content[range.start as usize..range.end as usize]
    }

    /// A folder that has all of it.
    pub(super) fn on_disk(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        self.write_to(dir.path());
        dir
    }

    pub(super) fn write_to(&self, dir: &Path) {
        let store = Store::open(self.metainfo.clone(), dir, StoreAccess::Write { preallocate: false }).unwrap();
        store.write(0, &[std::io::IoSlice::new(&self.content)]).unwrap();
    }

    /// A store that only reads.
    pub(super) fn open(&self, dir: &Path) -> Store {
        Store::open(self.metainfo.clone(), dir, StoreAccess::Read).unwrap()
    }
}

/// A file system in memory, for users who may mount one.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(super) fn of(bytes: u64) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            eprintln!("skipped: this user may not mount a small disk");
            return None;
        }
        Some(SmallDisk(dir))
    }

    pub(super) fn make_read_only(&self) {
        let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(remount.unwrap().success());
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
