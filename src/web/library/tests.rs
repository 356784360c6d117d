//! The list on a real disk, over restarts and at its limits.

use super::{
    room::{LEAST_UNSEEN, MAX_REGISTERED, MAX_REGISTERED_OF_ADDRESS, MAX_UPLOADS, MIN_PORT},
    *,
};
use crate::metainfo::{PieceHasher, create::CreateOptions};

/// One of many origins.
fn origin(number: u16) -> Origin {
    let [high, low] = number.to_be_bytes();
    Origin::of(std::net::IpAddr::from([10, 0, high, low]))
}

fn metainfo(name: &str, bytes: &[u8]) -> Metainfo {
    let mut hasher = PieceHasher::new(16);
    hasher.update(bytes);
    Metainfo::from_hashes(name, &hasher.finish(), &CreateOptions::default()).unwrap()
}

fn upload(library: &Library, name: &str, bytes: &[u8], port: Option<u16>) -> String {
    let received = library.uploads.join(".received");
    fs::write(&received, bytes).unwrap();
    let claim = library.claim(name);
    let name = claim.name().to_owned();
    claim.list_upload(&received, &metainfo(&name, bytes), port, None).unwrap();
    name
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    assert_eq!(upload(&library, "a.iso", b"one", None), "a.iso");
    assert_eq!(upload(&library, "a.iso", b"two", None), "a (2).iso");
    fs::write(library.upload_path("a (3).iso"), b"not ours").unwrap();
    let claim = library.claim("a.iso");
    assert_eq!((claim.name(), library.claim("a.iso").name()), ("a (4).iso", "a (5).iso"));
    drop(claim);
    assert_eq!(library.claim("a.iso").name(), "a (4).iso");
}

#[test]
fn uploads_are_there_after_a_restart_and_trusted_while_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    for (name, port) in [("same", Some(6890)), ("unknown", None), ("changed", None), ("gone", Some(6891))] {
        upload(&library, name, b"content", port);
    }
    for name in ["same", "changed", "gone"] {
        library.stamp(name).unwrap();
    }
    library.claim("others").list_registered(&metainfo("others", b"elsewhere"), Some(origin(1000))).unwrap();
    fs::write(library.upload_path("changed"), b"CONTENT").unwrap();
    fs::File::open(library.upload_path("changed")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(library.upload_path("gone")).unwrap();

    let library = Library::open(folder.path()).unwrap();
    let shared = library.shared();
    let seen: Vec<_> = shared.iter().map(|it| (it.metainfo.name(), it.port, it.is_unchanged)).collect();
    assert_eq!(seen, [("changed", None, false), ("same", Some(6890), true), ("unknown", None, false)]);
    assert!(library.get("others").is_some() && library.get("gone").is_none());

    // What is away at a start is remembered, also by the next start, and comes back as what it was.
    library.stamp("same").unwrap();
    let library = Library::open(folder.path()).unwrap();
    assert!(library.returned().is_empty() && library.get("gone").is_none());
    fs::write(library.upload_path("gone"), b"content").unwrap();
    let returned = library.returned();
    assert_eq!(
        returned.iter().map(|it| (it.name.as_str(), it.port, it.is_unchanged)).collect::<Vec<_>>(),
        [("gone", Some(6891), false)]
    );
    assert!(library.returned().is_empty(), "each is told once");
    assert!(library.list_again("gone") && library.get("gone").is_some());
    fs::remove_file(library.upload_path("gone")).unwrap();

    // Without the state file, or with one that is damaged, nothing that lies there is lost, and nothing is trusted.
    for damaged in [None, Some("{\"a\":")] {
        let list = library.metainfos.join(STATE_FILE);
        fs::remove_file(&list).unwrap();
        damaged.inspect(|text| fs::write(&list, text).unwrap());
        let library = Library::open(folder.path()).unwrap();
        let shared = library.shared();
        assert_eq!(
            shared.iter().map(|it| (it.metainfo.name(), it.is_unchanged)).collect::<Vec<_>>(),
            [("changed", false), ("same", false), ("unknown", false)]
        );
        assert!(library.get("others").is_some_and(|entry| !entry.is_upload() && entry.piece_length == 16));
        fs::write(&list, "{}").unwrap();
    }
}

#[test]
fn whoever_registers_too_much_takes_his_own_places_and_those_that_nobody_uses() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    let register = |number: usize, by: Origin| {
        let name = format!("{number}");
        library.claim(&name).list_registered(&metainfo(&name, &number.to_be_bytes()), Some(by))
    };
    let flooder = origin(1);
    register(1000, origin(1000)).unwrap();
    (0..MAX_REGISTERED_OF_ADDRESS).for_each(|number| _ = register(number, flooder).unwrap());
    assert_eq!(register(2000, flooder).unwrap_err().status, 507);
    register(1001, origin(1000)).unwrap();
    for name in ["7", "1000"] {
        if let Some(LibraryEntry { origin: FileOrigin::Registered { seen, .. }, .. }) =
            library.state().entries.get_mut(name)
        {
            *seen -= LEAST_UNSEEN.as_secs() + u64::from(name == "1000");
        }
    }
    register(2000, flooder).unwrap();
    let large = origin(2);
    register(3000, large).unwrap();
    if let Some(LibraryEntry { origin: FileOrigin::Registered { bytes, .. }, .. }) =
        library.state().entries.get_mut("3000")
    {
        *bytes = room::MAX_REGISTERED_BYTES_OF_ADDRESS;
    }
    assert_eq!(register(3001, large).unwrap_err().status, 507);
    assert!(library.get("2000").is_some() && library.get("7").is_none() && library.get("1000").is_some());
    assert!(!library.metainfo_path("7", "json").exists());
}

#[test]
fn when_the_list_is_full_whoever_has_most_makes_room_and_nothing_of_ours_for_a_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    library.claim("a").list_registered(&metainfo("a", b"a"), None).unwrap();
    let entry = library.get("a").unwrap();
    let fill = |name: String, by: Option<Origin>, unseen: u64| {
        let origin = FileOrigin::Registered { bytes: 1, seen: now_seconds() - unseen, by };
        library.state().entries.insert(name, LibraryEntry { origin, ..entry.clone() });
    };
    let long = LEAST_UNSEEN.as_secs();
    // Ours and that of a lone stranger have been unseen for longest.
    fill("a".into(), None, 9 * long);
    fill("lone".into(), Some(origin(9999)), 8 * long);
    for number in 0..MAX_REGISTERED - 2 {
        let host = 1 + number / 99;
        let unseen = if host <= 2 { 2 * long + number as u64 } else { 0 };
        fill(format!("{host} {number}"), Some(origin(host as u16)), unseen);
    }
    let goes = |by| library.in_the_way_of(by).map_err(|failure| failure.status);
    let gone =
        |name: &str| library.state().entries.remove(name).is_some() && library.state().entries.len() < MAX_REGISTERED;
    for by in [Some(origin(5000)), None] {
        assert_eq!(goes(by), Ok(Some("2 197".into())), "of the two that have most unseen, the one unseen for longest");
    }
    assert!(gone("2 197"));
    assert_eq!(goes(Some(origin(5000))), Ok(None));
    // All strangers' are in use.
    fill("2 197".into(), Some(origin(2)), 0);
    for entry in library.state().entries.values_mut() {
        if let FileOrigin::Registered { seen, by: Some(_), .. } = &mut entry.origin {
            *seen = now_seconds();
        }
    }
    assert!(goes(Some(origin(5000))).unwrap().is_some_and(|name| name.contains(' ')), "whoever has most gives one up");
    assert_eq!(goes(Some(origin(1))), Err(507), "and nobody to one who has as many");
    assert!(goes(None).unwrap().is_some_and(|name| name.contains(' ')));
}

#[test]
fn of_two_forms_that_cannot_both_be_written_none_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    // What is in the way of the second form, and what is in the way of the file itself.
    fs::create_dir_all(library.metainfo_path("a", "torrent").join("x")).unwrap();
    assert_eq!(library.claim("a").list_registered(&metainfo("a", b"a"), Some(origin(1000))).unwrap_err().status, 500);
    assert!(!library.metainfo_path("a", "json").exists());
    assert!(
        library.claim("b").list_upload(&library.uploads.join("nothing"), &metainfo("b", b"b"), None, None).is_err()
    );
    assert!(!library.metainfo_path("b", "json").exists() && !library.metainfo_path("b", "torrent").exists());
    assert!(library.entries().is_empty());
}

#[test]
fn what_was_being_written_at_a_crash_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    library.claim("a").list_registered(&metainfo("a", b"a"), Some(origin(1000))).unwrap();
    let others = [".0123456789abcdef.tmp.torrent", ".mine.tmp", "0123456789abcdef.tmp"];
    for name in others.iter().chain(&[".0123456789abcdef.tmp", ".fedcba9876543210.tmp"]) {
        fs::write(library.metainfos.join(name), b"x").unwrap();
    }
    library.remove_unfinished().unwrap();
    let mut left: Vec<_> = fs::read_dir(&library.metainfos).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(
        left,
        [".0123456789abcdef.tmp.torrent", ".library.json", ".mine.tmp", "0123456789abcdef.tmp", "a.json", "a.torrent"]
    );
}

#[test]
fn ports_are_bounded_at_the_limit_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    assert_eq!(library.check_port(MIN_PORT - 1).unwrap_err().status, 400);
    for port in 0..MAX_PORTS as u16 {
        library.check_port(MIN_PORT + port).unwrap();
        upload(&library, "a", &port.to_be_bytes(), Some(MIN_PORT + port));
    }
    assert!(library.check_port(MIN_PORT).is_ok());
    assert_eq!(library.check_port(u16::MAX).unwrap_err().status, 409);
}

#[test]
fn uploads_are_bounded_at_the_limit_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    upload(&library, "a", b"a", None);
    let entry = library.get("a").unwrap();
    for number in 1..MAX_UPLOADS {
        assert!(library.check_room_for_upload(None).is_ok());
        library.state().entries.insert(number.to_string(), entry.clone());
    }
    assert_eq!(library.check_room_for_upload(None).unwrap_err().status, 507);
}

#[test]
fn however_much_some_addresses_upload_there_is_room_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    upload(&library, "a", b"a", None);
    let entry = library.get("a").unwrap();
    let fill = |by: Origin| {
        let origin = FileOrigin::Upload { port: None, stamp: None, by: Some(by) };
        let mut count = 0;
        while library.check_room_for_upload(Some(by)).is_ok() {
            library
                .state()
                .entries
                .insert(format!("{by} {count}"), LibraryEntry { origin: origin.clone(), ..entry.clone() });
            count += 1;
        }
        count
    };
    let counts: Vec<usize> = (1..=8).map(|host| fill(origin(host))).collect();
    assert_eq!(counts[..3], [1000, 500, 250]);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    let refused = library.check_room_for_upload(Some(origin(1))).unwrap_err();
    assert!(refused.status == 507 && refused.sentence.starts_with("1000 files from your address"), "{refused}");
    assert!(library.check_room_for_upload(None).is_ok());
    assert_eq!(library.quota(origin(2)).kept, 500);
}

#[test]
fn one_host_with_many_addresses_on_our_link_leaves_a_quarter_of_the_uploads() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    upload(&library, "a", b"a", None);
    let entry = library.get("a").unwrap();
    let six = |last: u16| Origin::of(std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]));
    for last in 1..=1500 {
        library.check_room_for_upload(Some(six(last))).unwrap();
        let origin = FileOrigin::Upload { port: None, stamp: None, by: Some(six(last)) };
        library.state().entries.insert(format!("{last}"), LibraryEntry { origin, ..entry.clone() });
    }
    let refused = library.check_room_for_upload(Some(six(9999))).unwrap_err();
    assert!(refused.sentence.starts_with("1500 files from the network of your address"), "{refused}");
    assert!(library.check_room_for_upload(Some(origin(1))).is_ok());
    assert_eq!(library.quota(six(1)).kept_of_network, 1500);
}

#[test]
fn a_registered_metainfo_is_forgotten_when_nobody_was_seen_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path()).unwrap();
    library.claim("a").list_registered(&metainfo("a", b"a"), Some(origin(1000))).unwrap();
    library.forget_unseen(|_| false).unwrap();
    assert!(library.get("a").is_some());
    if let Some(LibraryEntry { origin: FileOrigin::Registered { seen, .. }, .. }) = library.state().entries.get_mut("a")
    {
        *seen = 0;
    }
    library.forget_unseen(|_| true).unwrap();
    assert!(library.get("a").is_some());
    if let Some(LibraryEntry { origin: FileOrigin::Registered { seen, .. }, .. }) = library.state().entries.get_mut("a")
    {
        *seen = 0;
    }
    library.forget_unseen(|_| false).unwrap();
    assert!(library.get("a").is_none() && !library.metainfo_path("a", "json").exists());
}
