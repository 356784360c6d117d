//! Reading and writing through the store, on real files.

use std::os::unix::fs::symlink;

use proptest::prelude::{Strategy, prop, prop_assert_eq, proptest};

use super::{
    super::tests::{SmallDisk, Torrent},
    *,
};
use crate::storage::{Writing, begin, handles::MAX_OPEN_FILES};

const SPARSE: StoreAccess = StoreAccess::Write { preallocate: false };

fn read(store: &Store, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
    let mut buffer = vec![0xee; length];
    store.read(offset, &mut buffer).map(|()| buffer)
}

#[test]
fn a_write_lands_right_however_it_is_cut_into_buffers() {
    let torrent = Torrent::new(4, &[("a", 3, ""), ("pad", 1, "p"), ("e", 0, ""), ("b/c", 4, ""), ("d", 2, "")]);
    let length = torrent.content.len();
    for (start, end) in (0..length).flat_map(|start| (start + 1..=length).map(move |end| (start, end))) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        let bytes = &torrent.content[start..end];
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            store.write(start as u64, &[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)]).unwrap();
            assert_eq!(read(&store, start as u64, bytes.len()).unwrap(), bytes, "{start}..{end} cut at {cut}");
        }
    }
}

#[test]
fn empty_files_are_made_and_pads_and_links_are_not() {
    let torrent = Torrent::new(4, &[("a", 3, ""), (".pad", 1, "p"), ("deep/er/e", 0, ""), ("l", 0, "l"), ("b", 4, "")]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    store.write(0, &[IoSlice::new(&torrent.content)]).unwrap();
    store.sync().unwrap();
    let root = dir.path().join("t");
    let mut names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b", "deep"]);
    assert_eq!(fs::read(root.join("deep/er/e")).unwrap(), b"");
    assert_eq!(fs::read(root.join("b")).unwrap(), torrent.content[4..]);
}

#[test]
fn thousands_of_files_need_few_descriptors() {
    let files: Vec<_> = (0..300).map(|n| (format!("{}/{n}", n % 7), 5)).collect();
    let files: Vec<_> = files.iter().map(|(path, length)| (path.as_str(), *length)).collect();
    let torrent = Torrent::of_files(64, &files);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    store.write(0, &[IoSlice::new(&torrent.content)]).unwrap();
    store.sync().unwrap();
    assert_eq!(read(&store, 0, torrent.content.len()).unwrap(), torrent.content);
    assert_eq!(store.handles.open_count(), MAX_OPEN_FILES);
    store.close_all();
    assert_eq!(store.handles.open_count(), 0);
    assert_eq!(read(&store, 1400, 100).unwrap(), torrent.content[1400..]);
}

#[test]
fn a_file_that_is_cut_or_removed_while_it_is_fetched_is_noticed_at_the_next_write_and_in_the_end() {
    let torrent = Torrent::of_files(4, &[("a", 12)]);
    for disturb in [|path: &Path| fs::write(path, b"x").unwrap(), |path: &Path| fs::remove_file(path).unwrap()] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        store.write(0, &[IoSlice::new(&torrent.content[..8])]).unwrap();
        assert!(store.is_undisturbed().is_ok());
        disturb(&store.path_of(0));
        assert!(matches!(store.is_undisturbed(), Err(StorageError::Disturbed { .. })));
        assert!(matches!(store.write(8, &[IoSlice::new(&torrent.content[8..])]), Err(StorageError::Disturbed { .. })));
    }
}

#[test]
fn what_another_thread_writes_behind_the_end_meanwhile_is_no_disturbance() {
    let torrent = Torrent::of_files(4, &[("a", 12)]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    store.write(0, &[IoSlice::new(&torrent.content[..4])]).unwrap();
    let seen_before_it_was_written_to = || {
        let seen = fs::metadata(store.path_of(0));
        store.write(8, &[IoSlice::new(&torrent.content[8..])]).unwrap();
        seen
    };
    assert!(store.check_undisturbed(0, seen_before_it_was_written_to).is_ok());
}

#[test]
fn what_is_not_there_yet_is_an_absence() {
    let torrent = Torrent::of_files(4, &[("a", 8), ("b", 8)]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    assert!(matches!(read(&store, 0, 4), Err(StorageError::Missing { path }) if path.ends_with("t/a")));
    store.write(4, &[IoSlice::new(b"1234")]).unwrap();
    assert_eq!(read(&store, 0, 8).unwrap(), b"\0\0\0\x001234");
    store.write(8, &[IoSlice::new(b"1234")]).unwrap();
    fs::File::options().write(true).open(dir.path().join("t/a")).unwrap().set_len(7).unwrap();
    assert!(matches!(read(&store, 4, 4), Err(StorageError::Short { path }) if path.ends_with("t/a")));
    assert!(matches!(read(&store, 8, 8), Err(StorageError::Short { path }) if path.ends_with("t/b")));
}

#[test]
fn reserving_space_claims_no_size() {
    let torrent = Torrent::of_files(4, &[("a", 1 << 20)]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), StoreAccess::Write { preallocate: true }).unwrap();
    assert_eq!(fs::metadata(store.path_of(0)).unwrap().len(), 0);
    store.write(4, &[IoSlice::new(b"1234")]).unwrap();
    assert_eq!(fs::metadata(store.path_of(0)).unwrap().len(), 8);
}

#[test]
fn a_link_is_never_written_through_and_may_be_read_through() {
    let torrent = Torrent::of_files(4, &[("folder/a", 8), ("b", 4)]);
    let elsewhere = torrent.on_disk();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    symlink(elsewhere.path().join("t/folder"), dir.path().join("t/folder")).unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    assert!(matches!(store.write(0, &[IoSlice::new(b"evil")]), Err(StorageError::InTheWay { .. })));
    assert!(matches!(read(&store, 0, 4), Err(StorageError::InTheWay { .. })));

    symlink(elsewhere.path().join("t/b"), dir.path().join("t/b")).unwrap();
    let refused = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).err().unwrap();
    assert!(matches!(refused, StorageError::InTheWay { path } if path.ends_with("t/b")));
    let store = torrent.open(dir.path());
    assert_eq!(read(&store, 0, 12).unwrap(), torrent.content);
}

#[test]
fn own_files_are_served_under_the_very_name_that_we_would_not_give() {
    let torrent = Torrent::of_files(4, &[("con", 8)]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/con"), &torrent.content).unwrap();
    assert_eq!(read(&torrent.open(dir.path()), 0, 8).unwrap(), torrent.content);
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    assert!(matches!(read(&store, 0, 8), Err(StorageError::Missing { path }) if !path.ends_with("con")));
}

#[test]
fn what_cannot_become_the_file_is_refused_before_anything_is_written() {
    let torrent = Torrent::of_files(4, &[("a", 8)]);
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).err().unwrap();
    fs::create_dir_all(dir.path().join("t/a")).unwrap();
    assert!(matches!(open(), StorageError::InTheWay { .. }));
    fs::remove_dir(dir.path().join("t/a")).unwrap();
    fs::write(dir.path().join("t/a"), b"nine char").unwrap();
    assert!(matches!(open(), StorageError::TooLong { length: 9, expected: 8, .. }));
    assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), b"nine char");
    fs::remove_dir_all(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t"), b"").unwrap();
    assert!(matches!(open(), StorageError::InTheWay { .. }));
}

#[test]
fn a_full_disk_is_one_clear_error_and_what_was_written_stays() {
    let Some(disk) = SmallDisk::of(1 << 20) else { return };
    let torrent = Torrent::of_files(1 << 16, &[("a", 4 << 20)]);
    let store = Store::open(torrent.metainfo.clone(), disk.path(), SPARSE).unwrap();
    let block = &torrent.content[..1 << 16];
    store.write(0, &[IoSlice::new(block)]).unwrap();
    let full = (1..64).find_map(|n| store.write(n << 16, &[IoSlice::new(block)]).err()).unwrap();
    assert_eq!(full.to_string(), format!("no room is left on the disk for {}", store.path_of(0).display()));
    assert_eq!(read(&store, 0, 1 << 16).unwrap(), block);
    let reserving = Store::open(torrent.metainfo.clone(), disk.path(), StoreAccess::Write { preallocate: true });
    assert!(matches!(reserving, Err(StorageError::NoRoom { .. })));
}

#[test]
fn a_folder_that_cannot_be_written_is_a_clear_error_and_can_be_read() {
    let Some(disk) = SmallDisk::of(1 << 20) else { return };
    let torrent = Torrent::of_files(4, &[("a", 8)]);
    torrent.write_to(disk.path());
    disk.make_read_only();
    assert_eq!(read(&torrent.open(disk.path()), 0, 8).unwrap(), torrent.content);
    let store = Store::open(torrent.metainfo.clone(), disk.path(), SPARSE).unwrap();
    let refused = store.write(0, &[IoSlice::new(b"1")]).unwrap_err().to_string();
    assert_eq!(refused, format!("cannot open {}: Read-only file system (os error 30)", store.path_of(0).display()));
    // All of it is here, so a fetch has nothing to write.
    assert!(begin(&torrent.metainfo, disk.path(), Writing::default(), 1, &|_, _| {}).unwrap().whole.is_some());
    let other = Torrent::of_one_file(4, "b", 8);
    let refused = begin(&other.metainfo, disk.path(), Writing::default(), 1, &|_, _| {}).err().unwrap().to_string();
    assert!(refused.ends_with("Read-only file system (os error 30)"), "{refused}");
}

fn layouts() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((0..40u64, prop::bool::weighted(0.2)), 1..8)
}

proptest! {
    #[test]
    fn random_writes_to_a_random_layout_equal_a_flat_buffer(
        mut layout in layouts(),
        writes in prop::collection::vec((0..300usize, 1..200usize, 1..255u8), 1..12),
    ) {
        layout.push((1, false));
        let named: Vec<_> = layout.iter().enumerate().map(|(n, &(length, pad))| (format!("{n}"), length, pad)).collect();
        let files: Vec<_> =
            named.iter().map(|(name, length, pad)| (name.as_str(), *length, if *pad { "p" } else { "" })).collect();
        let torrent = Torrent::new(16, &files);
        let pads: Vec<bool> =
            layout.iter().flat_map(|&(length, pad)| std::iter::repeat_n(pad, length as usize)).collect();
        let mut flat = vec![0; pads.len()];
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
        store.write(0, &[IoSlice::new(&flat)]).unwrap();
        for (start, length, byte) in writes {
            let start = start % flat.len();
            let end = (start + length).min(flat.len());
            let bytes: Vec<u8> = (start..end).map(|at| byte.wrapping_add(at as u8)).collect();
            let blocks: Vec<_> = bytes.chunks(16).map(IoSlice::new).collect();
            store.write(start as u64, &blocks).unwrap();
            (start..end).filter(|at| !pads[*at]).for_each(|at| flat[at] = bytes[at - start]);
        }
        prop_assert_eq!(read(&store, 0, flat.len()).unwrap(), flat);
    }
}

#[test]
fn what_may_be_run_can_be_and_what_may_not_cannot() {
    let torrent = Torrent::new(4, &[("run", 3, "x"), ("empty", 0, "hx"), ("read", 4, "")]);
    let dir = torrent.on_disk();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o100;
    assert_eq!(["t/run", "t/empty", "t/read"].map(mode), [0o100, 0o100, 0]);
}

#[test]
fn links_are_made_where_nothing_is_in_the_way_and_the_others_are_named() {
    let torrent =
        Torrent::new(4, &[("a", 3, ""), ("l", 0, "l"), ("deep/er/l", 0, "l"), ("taken", 0, "l"), ("out/l", 0, "l")]);
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(at("t")).unwrap();
    fs::write(at("t/taken"), "mine").unwrap();
    symlink(outside.path(), at("t/out")).unwrap();
    let store = Store::open(torrent.metainfo.clone(), dir.path(), SPARSE).unwrap();
    for _ in 0..2 {
        let left_out = store.make_links();
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        assert!(left_out[0].starts_with("the link t/taken is left out: ") && left_out[1].contains("t/out/l"));
        assert!(left_out.iter().all(|line| line.contains("is in the way")), "{left_out:?}");
    }
    assert_eq!(fs::read_link(at("t/l")).unwrap(), Path::new("a"));
    assert_eq!(fs::read_link(at("t/deep/er/l")).unwrap(), Path::new("../../a"));
    assert_eq!(fs::read(at("t/taken")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "a link leads out of the folder");
}
