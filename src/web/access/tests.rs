//! Who may do what, played against a whole page on a real port.

use data_encoding::BASE64;

use super::{super::address::Names, *};
use crate::{
    status::report::Activity,
    web::tests::{Answer, Room, metainfo},
};

const JSON: &str = "Accept: application/json\r\nContent-Type: application/json\r\n";

/// A room in which one torrent is given, and its info hash.
fn giving(adapt: impl FnOnce(&mut crate::web::Setup)) -> (Room, String) {
    let room = Room::set_up(adapt);
    let metainfo = metainfo("given.iso", b"content");
    let hash = metainfo.info_hash();
    room.board.add(metainfo.into(), room.folder.path(), Activity::Seeding);
    (room, hash.to_string())
}

fn with_password(setup: &mut crate::web::Setup) {
    setup.rules.password = Some("open sesame".into());
}

fn may(room: &Room, host: &str, fields: &str) -> [bool; 3] {
    let may = &room.ask_for(host, "GET /api/state", fields, b"").json()["may"];
    ["upload", "control", "login"].map(|what| may[what].as_bool().unwrap())
}

fn basic(password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64.encode(format!("me:{password}").as_bytes()))
}

fn heard(room: &Room) -> Vec<String> {
    std::mem::take(&mut room.heard.lock().unwrap())
}

#[test]
fn every_change_becomes_an_order_from_json_and_from_a_form() {
    let (room, hash) = giving(|_| ());
    for verb in ["pause", "resume", "remove"] {
        assert_eq!(room.order(&format!("/api/files/{hash}/{verb}"), JSON, "").status, 200);
    }
    let limits = room.order(&format!("/api/files/{hash}/limits"), JSON, "{\"upload\":1000}");
    assert_eq!((limits.status, &limits.json()["done"]), (200, &true.into()));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let back = room.order("/api/limits", form, "upload=500K&download=&back=%2Ffiles%2Fx");
    assert_eq!((back.status, back.field("Location")), (303, Some("/files/x")));
    for elsewhere in ["//evil.example", "http://evil.example", "/%5Cevil"] {
        let back = room.order("/api/limits", form, &format!("upload=512000&back={elsewhere}"));
        assert_eq!(back.field("Location"), Some("/"), "{elsewhere}");
    }
    for (from, to) in
        [("http://localhost/files/x", "/files/x"), ("http://localhost//b", "/"), ("http://localhost", "/")]
    {
        let back = room.order("/api/limits", &format!("{form}Referer: {from}\r\n"), "upload=512000");
        assert_eq!(back.field("Location"), Some(to), "a form comes back to the page that it was sent from");
    }
    let torrent = format!("torrent: Some({hash})");
    let told = heard(&room);
    assert_eq!(told[..3], [format!("Pause({hash})"), format!("Resume({hash})"), format!("Remove({hash})")]);
    assert_eq!(told[3], format!("Limit {{ {torrent}, upload: Some(1000), download: None }}"));
    assert_eq!(told[4], "Limit { torrent: None, upload: Some(512000), download: Some(0) }");
    assert_eq!(room.get("/api/state").json()["limits"], serde_json::json!({ "upload": 512_000, "download": 0 }));
    assert_eq!(room.order(&format!("/api/files/{hash}/limits"), JSON, "{\"upload\":\"fast\"}").status, 400);
    assert_eq!(room.order(&format!("/api/files/{}/pause", "0".repeat(40)), JSON, "").status, 404);
}

#[test]
fn an_upload_that_is_removed_takes_its_files_along() {
    let room = Room::new();
    let hash = room.put("a", b"content").json()["info_hash"].as_str().unwrap().to_owned();
    assert_eq!(room.order(&format!("/api/files/{hash}/remove"), JSON, "").status, 200);
    assert_eq!(room.get("/api/files").text(), "[]\n");
    assert!(!room.folder.path().join("uploads/a").exists() && !room.folder.path().join("metainfos/a.json").exists());
}

#[test]
fn without_a_password_control_is_by_the_printed_link_and_loopback_alone_is_no_proof() {
    let (room, hash) = giving(|_| ());
    let pause = format!("POST /api/files/{hash}/pause");
    let forwarded = "X-Forwarded-For: 10.0.0.1\r\n";
    for host in ["localhost", "127.0.0.1:5000", "[::1]:5000", "room:5000"] {
        for relayed in ["", forwarded, "Via: 1.1 proxy\r\n"] {
            assert_eq!(may(&room, host, relayed), [true, false, false], "{host}");
            assert_eq!(may(&room, host, &format!("{}{relayed}", room.cookie)), [true, true, false], "{host}");
            let refused = room.ask_for(host, &pause, relayed, b"");
            assert_eq!(refused.status, 403, "{}", refused.text());
            assert!(refused.text().contains("link that minitorrent printed"), "{}", refused.text());
        }
    }
    for verb in ["limits", "fetch"] {
        assert_eq!(room.ask_for("localhost", &format!("POST /api/{verb}"), JSON, b"{}").status, 403, "{verb}");
    }
    assert!(heard(&room).is_empty());
    let page = room.ask_for("localhost", "GET /", "", b"").text();
    assert!(page.contains("open the control link in this browser") && !page.contains("data-verb=\"fetch\""), "{page}");
    let page = room.ask_for("localhost", "GET /", &room.cookie, b"").text();
    assert!(!page.contains("open the control link") && page.contains("data-verb=\"fetch\""), "{page}");
    assert_eq!(room.order("/login", JSON, "{\"password\":\"x\"}").status, 404);
}

#[test]
fn a_link_works_once_and_the_next_one_is_told() {
    let (room, hash) = giving(|_| ());
    let link = |room: &Room| room.links.lock().unwrap().last().cloned().expect("the next link is told");
    let second = link(&room);
    let opened = |fields: &str, link: &str| room.ask_for("localhost", &format!("GET {link}"), fields, b"");
    // Whoever has no name of ours, looks without opening, or guesses does not use it up.
    assert_eq!(room.ask_for("evil.example", &format!("GET {second}"), "", b"").status, 421);
    assert_eq!(room.ask_for("localhost", &format!("HEAD {second}"), "", b"").status, 405);
    for wrong in ["/control", "/control?token=", "/control?token=0123456789abcdef0123456789abcdef"] {
        let answer = opened("", wrong);
        assert_eq!((answer.status, answer.field("Set-Cookie")), (403, None), "{wrong}");
        assert!(answer.text().contains("newest link that minitorrent printed"), "{}", answer.text());
    }
    assert_eq!(room.links.lock().unwrap().len(), 1);

    let answer = opened("", &second);
    let cookie = answer.field("Set-Cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{cookie}");
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(opened("", &second).status, 403, "it is used up");
    // A browser that has control comes back by its bookmark, and uses up nothing.
    assert_eq!((opened(&cookie, &second).status, opened(&cookie, &link(&room)).status), (303, 303));
    assert_eq!(room.links.lock().unwrap().len(), 2);
    let third = room.open_link(&link(&room));
    for browser in [&room.cookie, &cookie, &third] {
        assert_eq!(may(&room, "localhost", browser), [true, true, false]);
    }
    assert_eq!(room.ask_for("localhost", "POST /logout", &cookie, b"").status, 303);
    assert_eq!(may(&room, "localhost", &cookie), [true, false, false]);
    assert_eq!(room.order(&format!("/api/files/{hash}/pause"), "", "").status, 303, "the others keep it");
    let (with, _) = giving(with_password);
    assert!(with.cookie.is_empty() && opened_with(&with).status == 403, "with a password there is no link");
}

fn opened_with(room: &Room) -> Answer {
    room.ask_for("localhost", "GET /control?token=", "", b"")
}

#[test]
fn a_name_that_a_stranger_can_own_neither_shows_nor_changes_anything() {
    let (room, hash) = giving(|_| ());
    let (pause, file) = (format!("POST /api/files/{hash}/pause"), format!("GET /api/files/{hash}"));
    for host in ["evil.example", "room.evil.example:5000", "localhost.evil.example", "203.0.113.7"] {
        let origin = format!("Origin: http://{host}\r\n");
        for line in [&pause, &file, "GET /api/state", "GET /api/events", "GET /", "POST /api/limits", "PUT /uploads/a"]
        {
            assert_eq!(room.ask_for(host, line, &origin, b"").status, 421, "{host}: {line}");
        }
    }
    assert!(heard(&room).is_empty());
    assert_eq!(may(&room, "a", ""), [true, false, false], "nobody can own a name without a dot, nor do we");
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let (room, hash) = giving(|_| ());
    let paths = ["pause", "resume", "remove", "limits"].map(|verb| format!("/api/files/{hash}/{verb}"));
    let others = ["/api/limits", "/api/fetch", "/login", "/logout", "/upload", "/metainfos"].map(str::to_owned);
    for path in paths.iter().chain(&others) {
        for fields in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
            assert_eq!(room.order(path, fields, "").status, 403, "{path} {fields}");
        }
    }
    assert!(heard(&room).is_empty());
    assert_eq!(room.order(&paths[0], "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n", "").status, 303);
}

#[test]
fn with_a_password_whoever_knows_it_may_control_and_nobody_else() {
    let (room, hash) = giving(with_password);
    let pause = format!("/api/files/{hash}/pause");
    assert_eq!(may(&room, "localhost", ""), [true, false, true]);
    assert_eq!(room.order(&pause, JSON, "").status, 401);
    assert_eq!(may(&room, "localhost", &basic("open sesame")), [true, true, false]);
    assert_eq!(room.order(&pause, &basic("open sesame"), "").status, 303);
    assert_eq!(room.order(&pause, &basic("sesame"), "").status, 401);

    let log_in = |body: &str| room.order("/login", "Content-Type: application/x-www-form-urlencoded\r\n", body);
    assert_eq!(log_in("password=wrong").status, 401);
    let login: Answer = log_in("password=open+sesame");
    let cookie = login.field("Set-Cookie").unwrap();
    assert!(login.status == 303 && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(may(&room, "localhost", &cookie), [true, true, false]);
    assert_eq!(room.order(&pause, &cookie, "").status, 303);
    assert_eq!(room.order("/logout", &cookie, "").status, 303);
    assert_eq!(may(&room, "localhost", &cookie), [true, false, true]);
    assert_eq!(heard(&room).len(), 2);
}

#[test]
fn however_many_are_wrong_a_right_password_from_elsewhere_is_taken() {
    let (mut guesses, now) = (Allowances::new(f64::from(GUESSES), 1.0 / GUESS_TIME.as_secs_f64()), Instant::now());
    let origin = |number: u32| Origin::of(std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
    let mut status = |from, is_right, now| judge(&mut guesses, from, is_right, now).map_err(|failure| failure.status);
    for number in 0..10_000 {
        (0..GUESSES).for_each(|_| assert_eq!(status(origin(number), false, now), Err(401)));
        assert_eq!(status(origin(number), true, now), Err(429));
    }
    let honest = origin(1 << 20);
    assert_eq!([true, false, true].map(|is_right| status(honest, is_right, now)), [Ok(()), Err(401), Ok(())]);
    let later = now + GUESS_TIME + Duration::from_millis(1);
    assert_eq!([false, true].map(|is_right| status(origin(9999), is_right, later)), [Err(401), Err(429)]);
}

#[test]
fn guesses_are_rationed() {
    let (room, _) = giving(with_password);
    let guess = |password: &str| room.order("/login", JSON, &format!("{{\"password\":\"{password}\"}}")).status;
    assert_eq!([(); GUESSES as usize].map(|()| guess("wrong")), [401; GUESSES as usize]);
    assert_eq!((guess("wrong"), guess("open sesame")), (429, 429));
    assert_eq!(may(&room, "localhost", &basic("open sesame")), [true, false, true]);
}

#[test]
fn behind_a_named_proxy_each_is_counted_alone_and_nobody_counts_as_another_by_a_field() {
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n{}", basic("wrong"));
    let proxied = |proxies: &[&str]| {
        let names = Names::new(None, proxies.iter().map(|ip| ip.parse().unwrap()).collect());
        let room = Room::called(names, tempfile::tempdir().unwrap(), true, |_| Ok(()), with_password);
        for number in 0..=GUESSES {
            // Without a named proxy that field is a stranger's word: another one each time changes nothing.
            let address = if proxies.is_empty() { format!("10.0.0.{number}") } else { "10.0.0.1".to_owned() };
            let status = room.order("/api/limits", &from(&address), "").status;
            assert_eq!(status, if number < GUESSES { 401 } else { 429 }, "{proxies:?}");
        }
        let right = format!("X-Forwarded-For: 10.0.0.99\r\n{}", basic("open sesame"));
        room.order("/api/limits", &right, "").status
    };
    assert_eq!(proxied(&["127.0.0.1"]), 303, "a right password is refused because somebody else was wrong");
    assert_eq!(proxied(&[]), 429);
}

#[test]
fn one_wrong_password_costs_one_guess_wherever_it_is_sent() {
    let (room, hash) = giving(with_password);
    let pause = format!("/api/files/{hash}/pause");
    for _ in 1..GUESSES {
        assert_eq!(room.order(&pause, &basic("wrong"), "").status, 401);
    }
    assert_eq!(room.order(&pause, &basic("open sesame"), "").status, 303);
}

#[test]
fn uploads_that_are_switched_off_are_left_to_those_who_control() {
    let (room, _) = giving(|setup| {
        with_password(setup);
        setup.rules.no_upload = true;
    });
    assert_eq!(may(&room, "localhost", ""), [false, false, true]);
    assert_eq!(room.put("a", b"content").status, 403);
    assert_eq!(room.order("/upload", "Content-Type: multipart/form-data; boundary=x\r\n", "").status, 403);
    let listed = metainfo("b", b"content").to_torrent();
    assert_eq!(room.ask_for("localhost", "POST /metainfos", "", &listed).status, 403, "a listing is one too");
    let listing = room.ask_for("localhost", "POST /metainfos", &basic("open sesame"), &listed);
    assert_eq!(listing.status, 201, "{}", listing.text());
    let put = room.ask_for("localhost", "PUT /uploads/a", &basic("open sesame"), b"content");
    assert_eq!(put.status, 201, "{}", put.text());
}
