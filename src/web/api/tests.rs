//! The description that is served, held against what is really answered.

use serde_json::Value;

use crate::{
    status::report::Activity,
    web::tests::{Room, metainfo},
};

/// What is wrong with a value by a schema of the description: properties that are missing or too many, other types.
fn faults(description: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = description.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there"));
        return faults(description, schema, value, at);
    }
    if let Some(all) = schema["oneOf"].as_array() {
        let each = all.iter().map(|schema| faults(description, schema, value, at));
        return each.min_by_key(Vec::len).unwrap_or_default();
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.iter().any(|allowed| allowed == found || (allowed == "number" && found == "integer")) {
        return vec![format!("{at} is {found}, not {types:?}")];
    }
    let is_allowed = schema["enum"].as_array().is_none_or(|allowed| allowed.contains(value));
    let mut wrong: Vec<String> = (!is_allowed).then(|| format!("{at} is {value}")).into_iter().collect();
    match (value, schema["properties"].as_object()) {
        (Value::Object(object), Some(properties)) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            wrong.extend(required.filter(|name| !object.contains_key(*name)).map(|name| format!("{at} lacks {name}")));
            for (name, value) in object {
                match properties.get(name) {
                    Some(schema) => wrong.extend(faults(description, schema, value, &format!("{at}.{name}"))),
                    None => wrong.push(format!("{at}.{name} is not described")),
                }
            }
        }
        (Value::Array(items), _) => {
            for item in items {
                wrong.extend(faults(description, &schema["items"], item, &format!("{at}[]")));
            }
        }
        _ => {}
    }
    wrong
}

#[test]
fn answers_have_the_properties_that_the_description_names_and_no_others() {
    let room = Room::new();
    let description = room.get("/api/openapi.json").json();
    assert_eq!(description["openapi"], "3.1.0");
    let saved = room.put("a.iso", &[7; 1000]).json();
    let hash = saved["info_hash"].as_str().unwrap();
    let query = |port: u16, left| {
        format!("info_hash={hash}&peer_id=-TR4060-{port:012}&port={port}&uploaded=0&downloaded=0&left={left}")
    };
    for (port, left) in [(6881, 0), (6882, 500), (6882, 0)] {
        room.get(&format!("/announce?{}", query(port, left)));
    }
    let given = metainfo("given.iso", b"content");
    let given_hash = given.info_hash();
    room.board.add(given.into(), room.folder.path(), Activity::Paused);
    let registered = room.ask("POST /metainfos", "", &metainfo("b.iso", b"others").to_json());
    let done = room.order("/api/limits", "Accept: application/json\r\n", "");
    let transfers = room.get("/api/transfers");
    let view = room.get(&format!("/api/files/{hash}")).json();
    assert_eq!(view["rows"].as_array().unwrap().len(), 2);
    assert_eq!((&view["swarm"]["running"], &view["machines"], &view["done"]), (&false.into(), &2.into(), &2.into()));
    let on_board = room.get(&format!("/api/files/{given_hash}")).json();
    assert_eq!((&on_board["activity"], &on_board["swarm"]), (&"paused".into(), &Value::Null));
    for (path, method, status, answer) in [
        ("/api/state", "get", "200", room.get("/api/state").json()),
        ("/api/files", "get", "200", room.get("/api/files").json()),
        ("/api/files/{info_hash}", "get", "200", view),
        ("/api/files/{info_hash}", "get", "200", on_board),
        ("/api/transfers", "get", "200", transfers.json()),
        ("/api/limits", "post", "200", done.json()),
        ("/uploads/{name}", "put", "201", saved),
        ("/metainfos", "post", "201", registered.json()),
    ] {
        let schema = &description["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} is not described");
        assert_eq!(faults(&description, schema, &answer, path), Vec::<String>::new());
    }
}

#[test]
fn a_wrong_answer_would_be_found() {
    let description = Room::new().get("/api/openapi.json").json();
    let schema = &description["components"]["schemas"]["Limits"];
    let wrong = |value: Value| faults(&description, schema, &value, "it");
    assert_eq!(wrong(serde_json::json!({ "upload": 1, "download": 0 })), Vec::<String>::new());
    assert_eq!(wrong(serde_json::json!({ "upload": "1", "down": 0 })).len(), 3);
}

#[test]
fn a_machine_that_leaves_is_still_told_of() {
    let room = Room::new();
    let hash = room.put("a.iso", &[7; 1000]).json()["info_hash"].as_str().unwrap().to_owned();
    let announce = |port: u16, left: u64, event: &str| {
        let query = format!("info_hash={hash}&peer_id=A2-1-37-0-{port:010}&port={port}&left={left}&event={event}");
        assert!(room.get(&format!("/announce?{query}")).body.starts_with(b"d8:complete"));
    };
    for (port, left) in [(1, 500), (2, 0)] {
        announce(port, 1000, "started");
        announce(port, left, "stopped");
    }
    announce(3, 1000, "started");
    let view = room.get(&format!("/api/files/{hash}")).json();
    let rows = view["rows"].as_array().unwrap();
    let states: Vec<_> = rows.iter().map(|row| (row["state"].as_str().unwrap(), row["percent"].as_f64())).collect();
    assert_eq!(states, [("fetching", Some(0.0)), ("done", Some(100.0)), ("gone", Some(50.0))]);
    assert_eq!((&view["machines"], &view["departed"], &view["leechers"]), (&1.into(), &1.into(), &1.into()));
}

#[test]
fn a_picture_is_made_of_this_machines_addresses_alone() {
    let room = Room::new();
    let picture = room.get("/qr.svg?text=http%3A%2F%2Froom%3A5000%2Ffiles%2Fx");
    assert_eq!((picture.status, picture.field("Content-Type")), (200, Some("image/svg+xml")));
    assert!(picture.text().starts_with("<svg"));
    for other in ["http%3A%2F%2Fevil.example%2F", "http%3A%2F%2Froom%3A50001", "", "%ff"] {
        assert_eq!(room.get(&format!("/qr.svg?text={other}")).status, 400, "{other}");
    }
    let long = format!("http%3A%2F%2Froom%3A5000%2F{}", "a".repeat(512));
    assert_eq!(room.get(&format!("/qr.svg?text={long}")).status, 400);
}

#[test]
fn figures_are_told_of_the_process_and_of_each_torrent() {
    let room = Room::new();
    room.board.add(metainfo("a\"b", b"content").into(), room.folder.path(), Activity::Seeding);
    let text = room.get("/metrics").text();
    for figure in ["\nprocess_cpu_seconds_total ", "\nprocess_start_time_seconds ", "\nminitorrent_http_streams 0\n"] {
        assert!(text.contains(figure), "{figure} is missing in:\n{text}");
    }
    assert!(
        text.contains("minitorrent_torrent_length_bytes{info_hash=\"") && text.contains(",name=\"a\\\"b\"} 7\n"),
        "{text}"
    );
}

#[test]
fn a_torrent_is_added_by_its_bytes_or_by_a_url() {
    let room = Room::new();
    let metainfo = metainfo("a.iso", b"content");
    let hash = metainfo.info_hash().to_string();
    let with = |fields: &str| format!("{}{fields}", room.cookie);
    let json = with("Accept: application/json\r\n");
    let sent = room.ask_for("localhost", "POST /api/fetch", &json, &metainfo.to_torrent());
    assert_eq!((sent.status, &sent.json()["info_hash"]), (200, &hash.clone().into()), "{}", sent.text());
    let form = [
        b"--xyz\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\n\r\n".to_vec(),
        b"--xyz\r\nContent-Disposition: form-data; name=\"metainfo\"; filename=\"a\"\r\n\r\n".to_vec(),
        metainfo.to_json(),
        b"\r\n--xyz--\r\n".to_vec(),
    ]
    .concat();
    let multipart = with("Content-Type: multipart/form-data; boundary=xyz\r\n");
    let sent = room.ask_for("localhost", "POST /api/fetch", &multipart, &form);
    assert_eq!((sent.status, sent.field("Location")), (303, Some(&format!("/files/{hash}")[..])), "{}", sent.text());
    let url = "http://localhost/metainfos/a.iso.json";
    let json = "Content-Type: application/json\r\n";
    assert_eq!(room.order("/api/fetch", json, &format!("{{\"url\":\"{url}\"}}")).status, 200);
    assert_eq!(room.heard.lock().unwrap().len(), 3);
    for bad in ["file:///etc/passwd", "ftp://a/b", ""] {
        let answer = room.order("/api/fetch", json, &format!("{{\"url\":\"{bad}\"}}"));
        assert!([400, 502].contains(&answer.status), "{bad}: {}", answer.text());
    }
    for inside in ["127.0.0.1:1", &format!("127.0.0.1:{}", room.port), &format!("localhost:{}", room.port)] {
        let answer = room.order("/api/fetch", json, &format!("{{\"url\":\"http://{inside}/metainfos/a.iso.json\"}}"));
        assert_eq!(answer.status, 403, "a port of this machine is asked: {}", answer.text());
    }
    let stranger = room.ask("POST /api/fetch", json, format!("{{\"url\":\"{url}\"}}").as_bytes());
    assert_eq!(stranger.status, 421);
    assert_eq!(room.heard.lock().unwrap().len(), 3);
}
