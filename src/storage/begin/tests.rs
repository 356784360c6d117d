//! Fetches that begin, are killed, end in order and begin again, among files of whatever origin.

use std::{
    io::IoSlice,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{super::tests::Torrent, *};
use crate::{metainfo::path::RECORDS, storage::Ledger};

const SPARSE: Writing = Writing { preallocate: false, overwrite: false };
const OVERWRITE: Writing = Writing { preallocate: false, overwrite: true };

/// A fetch of a torrent of 6 pieces in two files, which can be killed.
struct Fetch {
    ledger: Arc<Ledger>,
    have: Vec<u32>,
    /// How many pieces were hashed to find that out.
    hashed: u32,
}

fn torrent() -> Torrent {
    Torrent::of_files(4, &[("a", 10), ("b", 12)])
}

/// A process that another test starts holds a copy of the locks until it has become the program that it is to be.
fn begin_once_free(torrent: &Torrent, dir: &Path, writing: Writing) -> Result<(Begun, u32), StorageError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let hashed = AtomicU32::new(0);
        match begin(&torrent.metainfo, dir, writing, 2, &|_, of| hashed.store(of, Relaxed)) {
            Err(StorageError::InUse { .. }) if Instant::now() < deadline => {}
            begun => return begun.map(|begun| (begun, hashed.into_inner())),
        }
    }
}

fn start(torrent: &Torrent, dir: &Path) -> Fetch {
    let (begun, hashed) = begin_once_free(torrent, dir, SPARSE).unwrap();
    let have = begun.have.iter().collect();
    Fetch { ledger: Ledger::without_journal(begun), have, hashed }
}

fn refusal(torrent: &Torrent, dir: &Path, writing: Writing) -> StorageError {
    begin_once_free(torrent, dir, writing).err().expect("it is refused")
}

fn log_of(torrent: &Torrent, dir: &Path) -> PathBuf {
    dir.join(RECORDS).join(format!("{}.resume", torrent.metainfo.info_hash()))
}

impl Fetch {
    fn commit(&self, torrent: &Torrent, pieces: impl IntoIterator<Item = u32>) {
        for piece in pieces {
            let piece = torrent.metainfo.geometry().piece(piece).unwrap();
            self.ledger.commit(piece, &[(0, vec![IoSlice::new(torrent.piece(piece))])]).unwrap();
        }
    }

    /// Ends as a kill would: nothing is synced or closed, and the lock goes.
    fn kill(self) {}

    fn close(self) {
        self.ledger.close().unwrap();
    }
}

#[test]
fn a_fetch_begins_with_nothing_and_hashes_nothing() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, &dir.path().join("new/folder"));
    assert!(fetch.have.is_empty() && fetch.hashed == 0);
}

#[test]
fn after_a_kill_no_complete_piece_is_lost_and_only_unsynced_ones_are_hashed() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, [0, 4]);
    fetch.ledger.sync().unwrap();
    fetch.commit(&torrent, [1, 2]);
    fetch.kill();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 4], 2));
    again.kill();
    let third = start(&torrent, dir.path());
    assert_eq!((third.have.clone(), third.hashed), (vec![0, 1, 2, 4], 0), "what was proved is a fact");
}

#[test]
fn a_piece_that_was_noted_and_not_written_is_not_believed() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, [0, 1, 5]);
    let piece = torrent.metainfo.geometry().piece(3).unwrap();
    fetch.ledger.commit(piece, &[]).unwrap();
    fetch.kill();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have, again.hashed), (vec![0, 1, 5], 4));
}

#[test]
fn after_an_orderly_end_nothing_is_hashed_unless_a_file_changed() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, 0..5);
    fetch.close();
    for _ in 0..2 {
        let again = start(&torrent, dir.path());
        assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 3, 4], 0));
        again.close();
    }
    let path = dir.path().join("t/a");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have, again.hashed), (vec![0, 2, 3, 4], 5));
}

#[test]
fn a_log_that_goes_on_after_an_orderly_end_still_survives_a_kill() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, [0]);
    fetch.close();
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, [3]);
    fetch.kill();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have, again.hashed), (vec![0, 3], 1));
}

#[test]
fn facts_about_files_that_went_or_shrank_or_were_touched_since_are_not_believed() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, 0..6);
    fetch.ledger.sync().unwrap();
    fetch.kill();
    fs::remove_file(dir.path().join("t/b")).unwrap();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have.clone(), again.hashed), (vec![0, 1], 0));
    again.kill();
    let a = fs::File::options().write(true).open(dir.path().join("t/a")).unwrap();
    a.set_len(7).unwrap();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have.clone(), again.hashed), (vec![0], 0));
    again.kill();
    let later = a.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(2 * 600);
    fs::write(dir.path().join("t/a"), b"other byte").unwrap();
    a.set_modified(later).unwrap();
    assert!(matches!(refusal(&torrent, dir.path(), SPARSE), StorageError::NotOurs { .. }));
}

#[test]
fn without_a_log_of_use_everything_present_is_hashed() {
    let torrent = torrent();
    let dir = torrent.on_disk();
    fs::write(dir.path().join("t/b"), &torrent.content[10..16]).unwrap();
    let copied = start(&torrent, dir.path());
    assert_eq!((copied.have.clone(), copied.hashed), (vec![0, 1, 2, 3], 4));
    copied.kill();
    let log = log_of(&torrent, dir.path());
    for useless in [&b""[..], b"something else", &[0; 4096]] {
        fs::write(&log, useless).unwrap();
        let again = start(&torrent, dir.path());
        assert_eq!((again.have.clone(), again.hashed), (vec![0, 1, 2, 3], 4));
        again.kill();
    }
}

#[test]
fn a_log_cut_at_any_byte_never_claims_a_piece_that_is_not_there() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, [0, 5]);
    fetch.ledger.sync().unwrap();
    fetch.commit(&torrent, [2]);
    fetch.close();
    let fetch = start(&torrent, dir.path());
    fetch.ledger.commit(torrent.metainfo.geometry().piece(1).unwrap(), &[]).unwrap();
    fetch.kill();
    let path = log_of(&torrent, dir.path());
    let log = fs::read(&path).unwrap();
    for cut in 0..log.len() {
        fs::write(&path, &log[..cut]).unwrap();
        let again = start(&torrent, dir.path());
        assert!(again.have.iter().all(|piece| [0, 2, 5].contains(piece)), "cut at {cut}: {:?}", again.have);
        again.kill();
    }
}

#[test]
fn two_fetches_that_would_write_to_one_file_are_refused() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let first = start(&torrent, dir.path());
    first.commit(&torrent, [0]);
    let other = Torrent::of_files(4, &[("a", 10), ("c", 1)]);
    for second in [&torrent, &other] {
        assert!(matches!(
            begin(&second.metainfo, dir.path(), OVERWRITE, 1, &|_, _| {}),
            Err(StorageError::InUse { .. })
        ));
    }
    first.close();
    begin_once_free(&torrent, dir.path(), SPARSE).unwrap();
}

#[test]
fn what_is_complete_is_here_already_also_while_it_is_in_use() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let first = start(&torrent, dir.path());
    first.commit(&torrent, 0..6);
    let begun = begin(&torrent.metainfo, dir.path(), SPARSE, 1, &|_, _| {}).unwrap();
    assert!(begun.have.is_full() && begun.whole.is_some());
}

#[test]
fn what_was_complete_and_is_changed_while_it_is_served_is_not_believed_at_the_next_start() {
    for kill in [true, false] {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, 0..6);
        fetch.ledger.settle().unwrap();
        let path = dir.path().join("t/a");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        match kill {
            true => fetch.kill(),
            false => {
                assert!(matches!(fetch.ledger.close(), Err(StorageError::Changed { .. })));
                fetch.kill();
            }
        }
        let again = start(&torrent, dir.path());
        assert_eq!((again.have, again.hashed), (vec![1, 2, 3, 4, 5], 6));
    }
}

#[test]
fn a_log_and_files_that_were_copied_are_not_believed_though_sizes_and_times_agree() {
    for close in [true, false] {
        let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, 0..6);
        fetch.ledger.sync().unwrap();
        if close {
            fetch.close();
        } else {
            fetch.kill();
        };
        // As somebody would give them away, with another content.
        fs::write(dir.path().join("t/a"), b"wrong byte").unwrap();
        let copy = dir.path().join("copy");
        fs::create_dir(&copy).unwrap();
        let source = |name: &str| dir.path().join(name);
        let args = [&source("t"), &source(RECORDS), &copy];
        assert!(std::process::Command::new("cp").arg("-a").args(args).status().unwrap().success());
        assert!(matches!(refusal(&torrent, &copy, SPARSE), StorageError::NotOurs { path } if path.ends_with("t/a")));
    }
}

#[test]
fn a_log_that_lies_where_a_torrent_can_put_one_is_not_read() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, 0..6);
    fetch.close();
    let old = dir.path().join(format!(".{}.resume", torrent.metainfo.info_hash()));
    fs::rename(log_of(&torrent, dir.path()), &old).unwrap();
    fs::write(dir.path().join("t/a"), b"wrong byte").unwrap();
    assert!(matches!(refusal(&torrent, dir.path(), SPARSE), StorageError::NotOurs { .. }));
    assert!(old.exists(), "it may be a stranger's file");
}

#[test]
fn somebody_elses_file_stays_as_it_is_whatever_its_length_until_it_is_said_that_it_may_go() {
    let torrent = Torrent::of_one_file(4, "a", 10);
    for diary in ["diary", "my diaries", "all my diaries of many years"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, diary).unwrap();
        let sentence = refusal(&torrent, dir.path(), SPARSE).to_string();
        assert!(sentence.contains("--overwrite") && sentence.contains("/a "), "{sentence}");
        assert_eq!(fs::read_to_string(&path).unwrap(), diary);
        assert!(!dir.path().join(RECORDS).exists());
        let (begun, _) = begin_once_free(&torrent, dir.path(), OVERWRITE).unwrap();
        assert!(begun.have.is_empty());
        let ledger = Ledger::without_journal(begun);
        Fetch { ledger: ledger.clone(), have: vec![], hashed: 0 }.commit(&torrent, 0..3);
        assert_eq!(fs::read(&path).unwrap(), torrent.content);
        assert!(matches!(
            begin(&torrent.metainfo, dir.path(), SPARSE, 1, &|_, _| {}),
            Ok(Begun { whole: Some(_), .. })
        ));
    }
}

#[test]
fn one_foreign_file_among_right_ones_keeps_all_as_they_are() {
    let torrent = torrent();
    for (name, content) in [("b", &b"my own"[..]), ("b", b"my own book."), ("b", b"it is my own book"), ("a", b"mine")]
    {
        let dir = torrent.on_disk();
        let path = dir.path().join("t").join(name);
        fs::write(&path, content).unwrap();
        assert!(
            matches!(refusal(&torrent, dir.path(), SPARSE), StorageError::NotOurs { path: found } if found == path)
        );
        assert_eq!(fs::read(&path).unwrap(), content);
        let (begun, _) = begin_once_free(&torrent, dir.path(), OVERWRITE).unwrap();
        assert!(!begun.have.is_empty() && !path.exists());
    }
}

#[test]
fn a_folder_of_somebody_else_is_not_added_to_until_that_is_said() {
    let torrent = torrent();
    for (what, beside) in [
        ("a file", "t/diary"),
        ("an empty file", "t/.keep"),
        ("deep within", "t/my/own/b"),
        ("a record", "t/.minitorrent/x"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let beside = dir.path().join(beside);
        fs::create_dir_all(beside.parent().unwrap()).unwrap();
        fs::write(&beside, if what == "an empty file" { "" } else { "mine" }).unwrap();
        // Reserved space under a name of the torrent shows nothing.
        fs::write(dir.path().join("t/b"), [0; 12]).unwrap();
        let refused = refusal(&torrent, dir.path(), SPARSE);
        assert!(matches!(&refused, StorageError::FolderNotOurs { path } if *path == beside), "{what}: {refused}");
        assert!(refused.to_string().contains("--overwrite"), "{refused}");
        assert!(!dir.path().join("t/a").exists() && !dir.path().join(RECORDS).exists(), "{what}");
        let (begun, _) = begin_once_free(&torrent, dir.path(), OVERWRITE).unwrap();
        assert!(begun.have.is_empty() && beside.exists(), "{what}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("t/x")).unwrap();
    symlink("/etc", dir.path().join("t/x/link")).unwrap();
    assert!(matches!(refusal(&torrent, dir.path(), SPARSE), StorageError::FolderNotOurs { .. }));
}

#[test]
fn a_folder_with_nothing_but_folders_is_added_to() {
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    fs::create_dir_all(dir.path().join("t/some/empty/folders")).unwrap();
    assert!(start(&torrent, dir.path()).have.is_empty());
}

#[test]
fn what_somebody_keeps_beside_right_pieces_or_beside_what_our_log_tells_of_stays_and_holds_nothing_up() {
    let (torrent, right) = (torrent(), tempfile::tempdir().unwrap());
    let notes = |dir: &Path| fs::write(dir.join("t/notes"), "mine").unwrap();
    // One right piece, without a log.
    fs::create_dir(right.path().join("t")).unwrap();
    fs::write(right.path().join("t/b"), [&[0; 2], &torrent.content[12..16], &[0; 6]].concat()).unwrap();
    notes(right.path());
    assert_eq!(start(&torrent, right.path()).have, [3]);
    assert_eq!(fs::read(right.path().join("t/notes")).unwrap(), b"mine");
    // A log, and no piece yet.
    let logged = tempfile::tempdir().unwrap();
    start(&torrent, logged.path()).kill();
    fs::create_dir_all(logged.path().join("t")).unwrap();
    notes(logged.path());
    assert!(start(&torrent, logged.path()).have.is_empty());
    fs::remove_file(log_of(&torrent, logged.path())).unwrap();
    assert!(matches!(refusal(&torrent, logged.path(), SPARSE), StorageError::FolderNotOurs { .. }));
}

#[test]
fn pads_and_links_of_the_torrent_that_are_there_already_are_nobody_elses() {
    let torrent = Torrent::new(4, &[("a", 6, ""), (".pad/2", 2, "p"), ("link", 0, "l"), ("c", 5, "")]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("t/.pad")).unwrap();
    fs::write(dir.path().join("t/.pad/2"), [0; 2]).unwrap();
    symlink("a", dir.path().join("t/link")).unwrap();
    assert!(start(&torrent, dir.path()).have.is_empty());
    fs::remove_file(dir.path().join("t/link")).unwrap();
    fs::write(dir.path().join("t/link"), "mine").unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::rename(dir.path().join("t"), other.path().join("t")).unwrap();
    assert!(matches!(refusal(&torrent, other.path(), SPARSE), StorageError::FolderNotOurs { .. }));
}

#[test]
fn a_partial_copy_of_another_program_is_gone_on_with() {
    let torrent = torrent();
    let (a, b) = torrent.content.split_at(10);
    let copies: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("a beginning", a[..9].to_vec(), Vec::new()),
        ("an empty file", a.to_vec(), Vec::new()),
        ("reserved space", vec![0; 10], vec![0; 12]),
        ("a middle in reserved space", [&[0; 4], &a[4..8], &[0; 2]].concat(), vec![0; 12]),
        ("an end", vec![0; 3], [&[0; 2], &b[2..]].concat()),
    ];
    for (what, a, b) in copies {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t")).unwrap();
        fs::write(dir.path().join("t/a"), a).unwrap();
        fs::write(dir.path().join("t/b"), b).unwrap();
        let fetch = start(&torrent, dir.path());
        fetch.commit(&torrent, (0..6).filter(|piece| !fetch.have.contains(piece)).collect::<Vec<_>>());
        fetch.close();
        assert!(start(&torrent, dir.path()).have.len() == 6, "{what}");
    }
}

#[test]
fn zeros_that_are_right_do_not_make_a_file_ours() {
    let content = [&[0; 8][..], b"abcd", &[0; 2]].concat();
    let torrent = Torrent::of_content(4, "a", content);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), [&[0; 8][..], b"mine", &[0; 2]].concat()).unwrap();
    assert!(matches!(refusal(&torrent, dir.path(), SPARSE), StorageError::NotOurs { .. }));
    fs::write(dir.path().join("a"), [0; 14]).unwrap();
    assert_eq!(start(&torrent, dir.path()).have, [0, 1, 3]);
}

#[test]
fn a_file_with_another_name_elsewhere_is_not_changed_under_it() {
    let torrent = Torrent::of_one_file(4, "a", 10);
    let dir = tempfile::tempdir().unwrap();
    let archived = dir.path().join("archived");
    fs::write(&archived, [&torrent.content[..8], b"??"].concat()).unwrap();
    fs::hard_link(&archived, dir.path().join("a")).unwrap();
    let sentence = refusal(&torrent, dir.path(), SPARSE).to_string();
    assert!(sentence.contains("hard link") && sentence.contains("--overwrite"), "{sentence}");
    let (begun, _) = begin_once_free(&torrent, dir.path(), OVERWRITE).unwrap();
    Ledger::without_journal(begun)
        .commit(torrent.metainfo.geometry().piece(0).unwrap(), &[(0, vec![IoSlice::new(b"0123")])])
        .unwrap();
    assert_eq!(fs::read(&archived).unwrap(), [&torrent.content[..8], b"??"].concat());
}

#[test]
fn a_right_file_that_somebody_has_added_to_is_cut_only_when_that_is_said() {
    let torrent = Torrent::of_one_file(4, "a", 10);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, [&torrent.content[..], b" and more"].concat()).unwrap();
    let sentence = refusal(&torrent, dir.path(), SPARSE).to_string();
    assert!(sentence.contains("19 bytes") && sentence.contains("--overwrite"), "{sentence}");
    let (begun, _) = begin_once_free(&torrent, dir.path(), OVERWRITE).unwrap();
    assert!(begun.have.is_full());
    assert_eq!(fs::read(&path).unwrap(), torrent.content);
}

#[test]
fn a_link_in_the_place_of_a_file_or_folder_is_refused_and_what_it_leads_to_stays() {
    let (torrent, elsewhere) = (torrent(), tempfile::tempdir().unwrap());
    fs::create_dir(elsewhere.path().join("t")).unwrap();
    for (link, target) in [("t", "t"), ("t/a", "file"), ("t/a", "missing")] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "mine").unwrap();
        fs::create_dir_all(dir.path().join(link).parent().unwrap()).unwrap();
        symlink(elsewhere.path().join(target), dir.path().join(link)).unwrap();
        assert!(
            matches!(refusal(&torrent, dir.path(), OVERWRITE), StorageError::InTheWay { .. }),
            "{link} -> {target}"
        );
        assert_eq!(fs::read_to_string(elsewhere.path().join("file")).unwrap(), "mine");
    }
}

#[test]
fn a_folder_of_records_that_somebody_else_can_write_to_costs_the_log_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt;
    let (torrent, dir) = (torrent(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join(RECORDS)).unwrap();
    fs::set_permissions(dir.path().join(RECORDS), fs::Permissions::from_mode(0o777)).unwrap();
    let fetch = start(&torrent, dir.path());
    fetch.commit(&torrent, 0..6);
    fetch.close();
    let again = start(&torrent, dir.path());
    assert_eq!((again.have.len(), again.hashed), (6, 6));
    assert_eq!(fs::read_dir(dir.path().join(RECORDS)).unwrap().count(), 0);
}
