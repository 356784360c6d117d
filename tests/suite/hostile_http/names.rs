//! Names that would lead out of the folder of uploads, or out of a header field, in every spelling.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::room::Room;
use crate::house::say;

const SECRET: &str = "what nobody may read";

/// Ways to write `../`, percent-encoded or not.
const UPWARDS: [&str; 22] = [
    "../",
    "..%2f",
    "..%2F",
    "%2e%2e/",
    "%2e%2e%2f",
    "%2E%2E%2F",
    ".%2e/",
    "%252e%252e%252f",
    "..%252f",
    "..\\",
    "..%5c",
    "..%5C",
    "%2e%2e%5c",
    "....//",
    "..;/",
    "..%00/",
    "..%c0%af",
    "..%e0%80%af",
    "%c0%ae%c0%ae/",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8f",
    "%u002e%u002e/",
    "./../",
];

#[test]
fn no_spelling_of_a_path_leads_out_of_the_folder() {
    let room = Room::open();
    fs::write(room.work.path().join("secret"), SECRET).unwrap();
    fs::write(room.data.join("secret"), SECRET).unwrap();
    assert_eq!(room.put("fine.bin", b"fine").status, 201);
    let ours =
        |path: &Path| path.starts_with(room.data.join("uploads")) || path.starts_with(room.data.join("metainfos"));
    let around = || {
        let all = contents(room.work.path());
        all.into_iter().filter(|(path, _)| !ours(path) && path.extension().is_none()).collect::<BTreeMap<_, _>>()
    };
    let before = around();
    let mut count = 0;
    let full = room.work.path().join("secret");
    let absolute = [full.display().to_string(), full.display().to_string().replace('/', "%2f"), "/secret".into()];
    let upwards = UPWARDS.iter().flat_map(|up| (1..=4).map(move |depth| up.repeat(depth) + "secret"));
    for spelling in
        upwards.chain(absolute).chain([".".into(), "..".into(), "%2e".into(), "%00".into(), "fine.bin%00".into()])
    {
        for folder in
            ["/uploads/", "/metainfos/", "/static/", "/", "/uploads/fine.bin/", "/uploads/.part/", "//", "/uploads//"]
        {
            let answer = room.ask(&format!("GET {folder}{spelling}"), "", b"");
            assert!(!answer.text().contains(SECRET), "GET {folder}{spelling} reads what nobody may");
            assert!(
                answer.status == 404 || answer.status == 400 || answer.status == 200 && spelling.len() < 4,
                "{folder}{spelling}: {answer:?}"
            );
            count += 1;
        }
        let put = room.put(&spelling, b"from outside").status;
        // A path of too many parts leads nowhere; any other is a name, good or bad.
        assert!([201, 400, 404].contains(&put), "PUT {spelling}: {put}");
        count += 1;
    }
    for name in [
        "../secret",
        "..\\secret",
        "../../secret",
        "/etc/secret",
        "..%2fsecret",
        ".",
        "..",
        "",
        ".library.json",
        "\u{ff0e}\u{ff0e}\u{ff0f}secret",
    ] {
        let head = format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
        let body = [head.as_bytes(), b"from outside", b"\r\n--x--\r\n"].concat();
        let status = room.ask("POST /upload", "Content-Type: multipart/form-data; boundary=x\r\n", &body).status;
        assert!([201, 400].contains(&status), "a form with {name:?}: {status}");
        count += 1;
    }
    assert_eq!(around(), before, "something outside of the folders has changed");
    for name in room.names() {
        assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{name:?}");
    }
    say(&format!("hostile http: {count} spellings of a path, none led out"));
}

#[test]
fn links_that_lie_in_the_folder_are_neither_followed_nor_written_through() {
    let room = Room::open();
    let secret = room.work.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let uploads = room.data.join("uploads");
    symlink(&secret, uploads.join("link")).unwrap();
    symlink(room.work.path().join("not there"), uploads.join("dangling")).unwrap();
    symlink(room.work.path(), uploads.join("folder")).unwrap();
    for path in ["link", "folder/secret", "folder%2fsecret", "dangling", "folder", "folder/"] {
        assert_eq!(room.get(&format!("/uploads/{path}")).status, 404, "{path}");
    }
    for name in ["link", "dangling", "folder"] {
        assert_eq!(room.put(name, name.as_bytes()).status, 201);
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
    assert!(!room.work.path().join("not there").exists(), "a dangling link was written through");
    for name in room.names() {
        let encoded = name.replace(' ', "%20");
        assert!(
            ["link", "dangling", "folder"].contains(&room.get(&format!("/uploads/{encoded}")).text().as_str()),
            "{name}"
        );
    }
}

#[test]
fn no_name_adds_a_field_to_an_answer() {
    let room = Room::open();
    let injected = [
        "a%0d%0aSet-Cookie:%20x=1",
        "b%0aSet-Cookie:%20x=1",
        "c%0dSet-Cookie:%20x=1",
        "d%22;%20filename=%22e.exe",
        "e%c2%85Set-Cookie:%20x",
        "f%e2%80%a8Set-Cookie:%20x",
        "g%0d%0a%0d%0a%3Cscript%3E",
        "h%E5%98%8A%E5%98%8DSet-Cookie:%20x",
    ];
    for name in injected {
        assert_eq!(room.put(name, name.as_bytes()).status, 201, "{name}");
    }
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"i%0D%0ASet-Cookie: x=1\"\r\n\r\ni\r\n--x--\r\n";
    assert_eq!(
        room.ask("POST /upload", "Content-Type: multipart/form-data; boundary=x\r\n", form.as_bytes()).status,
        201
    );
    let names = room.names();
    assert_eq!(names.len(), injected.len() + 1);
    for name in names {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/uploads/{encoded}"),
            format!("/metainfos/{encoded}.json"),
            format!("/metainfos/{encoded}.torrent"),
        ] {
            let answer = room.get(&path);
            assert_eq!(answer.status, 200, "{path}");
            for line in answer.head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
                let field = line.split_once(": ").unwrap_or_else(|| panic!("{name:?}: {line:?} is no field")).0;
                assert!(field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name:?}: {line:?}");
                assert_ne!(field, "Set-Cookie", "{name:?}");
            }
            assert!(
                !answer.head.contains('\n') || !answer.head.replace("\r\n", "").contains(['\r', '\n']),
                "{}",
                answer.head
            );
        }
    }
    let query = "/announce?info_hash=%0d%0aSet-Cookie:%20x&peer_id=%0d%0a&port=%0d%0aX:%20y";
    assert!(!room.get(query).head.contains("Set-Cookie"));
}

/// Every file below a folder, with what it holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            // A file that is gone by now was the tracker's own, on its way to another name.
            false => match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => _ = found.insert(path, read.unwrap()),
            },
        }
    }
    found
}
