//! Small requests of a stranger that could become large in memory: whatever fits the limits costs the tracker less than
//! [`MOST`] above what it holds idle.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use minitorrent::chance::Chance;
use minitorrent::metainfo::Limits;

use super::room::{Room, connect_from};
use crate::house::{say, wait_until};

/// The most memory above idle, in KiB.
const MOST: u64 = 64 * 1024;

/// How many metainfos of random shape are tried beside those of every shape.
const RANDOM: u64 = 10;

/// How many come at once.
const AT_ONCE: usize = 8;

/// How long an answer may take at most.
const LIMIT: Duration = Duration::from_secs(20);

/// What is repeated in a metainfo until one of its limits is reached, and what stands around it.
struct Shape {
    name: &'static str,
    before: Vec<u8>,
    unit: Box<dyn Fn(usize) -> Vec<u8>>,
    /// Values that the unit holds.
    values: usize,
    after: Vec<u8>,
}

impl Shape {
    /// The largest of its shape that the limits allow, or with less of each.
    fn fill(&self, share: f64) -> Vec<u8> {
        let limit = |most: usize| (most as f64 * share) as usize;
        let (bytes, values) = (limit(Limits::STRANGER.bytes as usize), limit(Limits::STRANGER.values));
        let (mut body, mut count) = (self.before.clone(), 32);
        for number in 0.. {
            let unit = (self.unit)(number);
            if body.len() + unit.len() + self.after.len() > bytes || count + self.values > values {
                break;
            }
            body.extend_from_slice(&unit);
            count += self.values;
        }
        body.extend_from_slice(&self.after);
        body
    }
}

fn bencoded(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{}:", text.len()).as_bytes(), text].concat()
}

/// A `.torrent` of many files, each `unit`, in a folder with the longest name.
fn folder(name: &'static str, values: usize, unit: impl Fn(usize) -> Vec<u8> + 'static) -> Shape {
    // One file of one byte, so that there is something to share.
    let before = [&b"d8:announce20:http://127.0.0.1:1/a4:infod5:filesld6:lengthi1e4:pathl5:firstee"[..]].concat();
    let after =
        [&b"e4:name"[..], &bencoded("n".repeat(255)), b"12:piece lengthi262144e6:pieces20:", &[b'x'; 20], b"ee"];
    Shape { name, before, unit: Box::new(unit), values, after: after.concat() }
}

/// A file of these parts: as many values as these, and three.
fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<u8> = parts.iter().flat_map(bencoded).collect();
    [&b"d6:lengthi0e4:pathl"[..], &parts, b"ee"].concat()
}

/// A `.torrent` of one file with `unit` again and again behind `key`, which comes after `info`.
fn extra(name: &'static str, key: &str, values: usize, unit: impl Fn(usize) -> Vec<u8> + 'static) -> Shape {
    let info = [&b"d4:infod6:lengthi1e4:name1:x12:piece lengthi262144e6:pieces20:"[..], &[b'x'; 20], b"e"].concat();
    let before = [&info[..], &bencoded(key), b"l"].concat();
    Shape { name, before, unit: Box::new(unit), values, after: b"ee".to_vec() }
}

/// A JSON metainfo with `unit` again and again in the list behind `key`.
fn json(name: &'static str, key: &str, values: usize, unit: impl Fn(usize) -> String + 'static) -> Shape {
    let content = if key == "files" { "" } else { r#""length":1,"# };
    let first = match key {
        "files" => r#"{"path":"first","length":1}"#,
        "pieces" | "web_seeds" => "",
        _ => "0",
    };
    let pieces = if key == "pieces" { String::new() } else { format!(r#","pieces":["{}"]"#, "78".repeat(20)) };
    let before = format!(r#"{{"name":"{}",{content}"piece_length":262144,"{key}":[{first}"#, "n".repeat(255));
    let comma = move |number: usize| if number > 0 || !first.is_empty() { "," } else { "" };
    let unit = move |number| format!("{}{}", comma(number), unit(number)).into_bytes();
    Shape {
        name,
        before: before.into_bytes(),
        unit: Box::new(unit),
        values,
        after: format!("]{pieces}}}").into_bytes(),
    }
}

/// JSON with one text, as long as may be, where no text may be: whoever repeats it makes eight bytes of three.
fn wrong_text(name: &'static str, before: &str, after: &str) -> Shape {
    let unit = Box::new(|_| "\u{202e}".repeat(1000).into_bytes());
    Shape { name, before: before.into(), unit, values: 0, after: after.into() }
}

fn shapes() -> Vec<Shape> {
    let number = |number: usize| number.to_string().into_bytes();
    let repeated = |text: &'static [u8], count: usize| vec![text.to_vec(); count];
    vec![
        folder("files of nine parts", 12, move |n| {
            file(&(0..9).map(|k| number(n / 10_usize.pow(k) % 10)).collect::<Vec<_>>())
        }),
        folder("files of one name", 4, move |_| file(&repeated(b"a", 1))),
        folder("files of one name that must be altered", 4, move |_| file(&repeated(b"AUX", 1))),
        folder("pairs of one name", 4, move |n| file(&[number(n / 2)])),
        folder("files that are folders of others", 5, move |n| file(&vec![b"a".to_vec(); n % 2 + 1])),
        folder("a hundred parts that vanish", 103, move |_| file(&repeated(b"..", 100))),
        folder("names of control characters", 4, move |n| file(&[[&number(n)[..], &[1; 60]].concat()])),
        folder("names that are no UTF-8", 4, move |n| file(&[[&number(n)[..], &[0xff; 60]].concat()])),
        folder("long names in one folder", 5, move |n| file(&[vec![b'd'; 30], [&number(n)[..], &[b'x'; 20]].concat()])),
        folder("few files of the longest names", 4, move |n| {
            file(&[[&number(n)[..], &[0xc3, 0xa9].repeat(120)].concat()])
        }),
        folder("links", 3, move |_| b"d4:attr1:l4:pathlee".to_vec()),
        folder("pads without a path", 3, move |_| b"d4:attr1:p6:lengthi0ee".to_vec()),
        folder("dictionaries full of the same key", 14, move |_| {
            [&b"d"[..], &b"0:i0e".repeat(10), b"6:lengthi0e4:pathl1:aee"].concat()
        }),
        extra("empty lists", "z", 1, |_| b"le".to_vec()),
        extra("lists in lists", "z", 60, |_| [[b'l'; 60], [b'e'; 60]].concat()),
        extra("dictionaries in dictionaries", "z", 61, |_| [&b"d0:".repeat(60)[..], b"0:", &[b'e'; 60]].concat()),
        extra("trackers", "url-list", 1, move |n| bencoded([b"http://a/", &number(n)[..], &[b'u'; 2000]].concat())),
        extra("tiers of many trackers", "announce-list", 2, move |n| [&b"l"[..], &bencoded(number(n)), b"e"].concat()),
        extra("one long text", "z", 0, |_| bencoded(vec![1; 60_000])),
        json("paths of a hundred slashes", "files", 104, |_| {
            format!(r#"{{"path":"{}a","length":0}}"#, "a/".repeat(99))
        }),
        json("paths of one text", "files", 4, |n| format!(r#"{{"path":"{n}","length":0}}"#)),
        json("paths of parts", "files", 14, |_| format!(r#"{{"path":[{}"a"],"length":0}}"#, r#""a","#.repeat(9))),
        json("hashes", "pieces", 1, |_| format!("\"{}\"", "78".repeat(20))),
        json("numbers", "unknown", 1, |_| "0".into()),
        json("objects in objects", "unknown", 61, |_| format!("{}0{}", r#"{"":"#.repeat(60), "}".repeat(60))),
        wrong_text("a length that is a text", r#"{"name":"x","length":""#, r#""}"#),
        wrong_text(
            "an unsafe name",
            r#"{"length":1,"pieces":["7878787878787878787878787878787878787878"],"name":"/"#,
            r#""}"#,
        ),
        json("web seeds", "web_seeds", 1, |n| format!("\"http://{n}\"")),
    ]
}

/// A folder of files with paths of random parts, some of them nasty.
fn random(seed: u64) -> Shape {
    const PARTS: [&[u8]; 10] = [b"a", b"A", b"..", b"", b"CON", b"b.x", b"/", b"\xff\xff\xff", b"\x01\x01", b"a.1"];
    let depth = Chance::new(seed).below(12) + 1;
    let unit = move |number: usize| {
        let mut chance = Chance::new(seed << 32 | number as u64);
        let part = |_| {
            let part = PARTS[chance.below(PARTS.len())];
            if chance.below(8) == 0 { part.repeat(chance.below(80) + 1) } else { part.to_vec() }
        };
        file(&(0..depth).map(part).collect::<Vec<_>>())
    };
    folder("files of random paths", depth + 3, unit)
}

/// What was weighed so far.
struct Scale<'a> {
    room: &'a Room,
    /// Memory before anything came, in KiB.
    idle: u64,
    worst: (u64, String),
}

impl Scale<'_> {
    fn weigh(&mut self, what: &str) {
        let above = self.room.tracker.peak_kib().unwrap().saturating_sub(self.idle);
        if above > self.worst.0 {
            self.worst = (above, what.chars().take(60).collect());
        }
        assert!(above < MOST, "{what}: {} MiB above idle", above / 1024);
    }
}

#[test]
fn no_small_request_of_a_stranger_becomes_large_in_memory() {
    let room = Room::open();
    let idle = room.tracker.usage().resident_kib;
    let mut scale = Scale { room: &room, idle, worst: (0, String::new()) };
    // Each from an address of its own: one has a share of the room alone.
    let post =
        |from: usize, body: &[u8]| room.ask_from(Ipv4Addr::new(127, 0, 1, from as u8), "POST /metainfos", "", body);

    let (mut listed, mut refused) = (0, 0);
    for (from, shape) in shapes().into_iter().chain((0..RANDOM).map(random)).enumerate() {
        let body = shape.fill(1.0);
        let answer = post(from, &body);
        match answer.status {
            201 => listed += 1,
            200 | 400 | 413 => refused += 1,
            _ => panic!("{}: {}", shape.name, answer.text()),
        }
        scale.weigh(&format!("{}, {} bytes: {}", shape.name, body.len(), answer.text().trim()));
    }
    assert!(listed > refused, "of the metainfos {listed} were listed and {refused} refused");

    // The largest at once, and more than may come in at once.
    let bodies: Vec<Vec<u8>> = shapes().iter().map(|shape| shape.fill(0.99)).collect();
    for some in bodies.chunks(AT_ONCE) {
        thread::scope(|scope| {
            some.iter().enumerate().for_each(|(from, body)| _ = scope.spawn(move || post(100 + from, body)));
        });
        scale.weigh(&format!("{AT_ONCE} metainfos at once"));
    }

    // What is listed now is shown, in every form.
    let names = room.names();
    for name in &names {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for form in ["json", "torrent"] {
            assert_eq!(room.get(&format!("/metainfos/{encoded}.{form}")).status, 200, "{name}");
            scale.weigh(&format!("{name}.{form}"));
        }
    }
    for path in ["/", "/api/state", "/api/files", "/metrics"] {
        assert_eq!(room.get(path).status, 200);
        scale.weigh(path);
    }

    // Forms of many fields and files, long queries, and bodies of the other paths.
    let field = |number: usize| {
        format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{number}\"\r\n\r\n{number}\r\n")
    };
    let form = |count: usize| (0..count).map(field).collect::<String>() + "--x--\r\n";
    for (count, status) in [(64, 201), (65, 413)] {
        let answer =
            room.ask("POST /upload", "Content-Type: multipart/form-data; boundary=x\r\n", form(count).as_bytes());
        assert_eq!(answer.status, status, "{}", answer.text());
        scale.weigh(&format!("a form of {count} files"));
    }
    let query = "info_hash=%61".repeat(600);
    for path in ["/announce", "/scrape", "/tracker", "/", "/qr.svg"] {
        room.get(&format!("{path}?{query}"));
        scale.weigh(&format!("{path} with a long query"));
    }
    let fields = "a=%01&".repeat(10_000);
    for path in ["/login", "/api/limits", "/api/fetch"] {
        for kind in ["application/x-www-form-urlencoded", "application/json"] {
            for body in [fields.as_bytes(), "[".repeat(65_000).as_bytes()] {
                room.ask(&format!("POST {path}"), &format!("Content-Type: {kind}\r\n"), body);
                scale.weigh(&format!("a body for {path}"));
            }
        }
    }
    assert_eq!(std::fs::read_dir(room.data.join("uploads/.part")).unwrap().count(), 0, "what came in is kept");
    let (above, what) = &scale.worst;
    say(&format!(
        "hostile http: {listed} metainfos of {} shapes listed, {refused} refused, {} names shown; at most {:.1} MiB above idle, with {what}",
        shapes().len() + 1,
        names.len(),
        *above as f64 / 1024.0,
    ));
}

/// How many metainfos with the longest names are listed, and from how many addresses.
const NAMES: (usize, u8) = (240, 3);

/// Connections of one address that wait for something all at once.
const CROWD: usize = 900;

/// Pages that one address has open, each under another spelling of the tracker's address.
const SPELLINGS: usize = 120;

#[test]
fn no_crowd_of_a_stranger_holds_much_memory() {
    let room = Room::open_for_crowds();
    let mut scale = Scale { room: &room, idle: room.tracker.usage().resident_kib, worst: (0, String::new()) };
    let crowd = |count: usize, text: &dyn Fn(usize) -> Vec<u8>| -> Vec<_> {
        let address = Ipv4Addr::new(127, 0, 2, 1);
        let connect = |number: usize| {
            let mut stream = connect_from(address, room.port).unwrap();
            // Who is refused is reset while it still writes.
            let _ = stream.write_all(&text(number));
            stream
        };
        (0..count).map(connect).collect()
    };
    // Whoever has sent something has a turn between two of these.
    let all_is_read = || (0..200).for_each(|_| assert_eq!(room.get("/healthz").status, 200));
    let host = format!("Host: 127.0.0.1:{}\r\n", room.port);

    let head = format!("GET / HTTP/1.1\r\n{host}A: {}", "a".repeat(16_000)).into_bytes();
    let heads = crowd(CROWD, &|_| head.clone());
    all_is_read();
    scale.weigh("heads that lack their end");
    drop(heads);
    for length in [8 * 1024, 64 * 1024] {
        let head = format!("POST /login HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; length - 1]].concat();
        let bodies = crowd(CROWD, &|_| request.clone());
        all_is_read();
        scale.weigh("bodies that lack their end");
        drop(bodies);
    }

    let (count, addresses) = NAMES;
    for number in 0..count {
        let from = Ipv4Addr::new(127, 0, 3, 1 + number as u8 % addresses);
        let name = format!("{number:03}{}", "\"".repeat(190));
        let info =
            [&b"d6:lengthi1e4:name"[..], &bencoded(&name), b"12:piece lengthi262144e6:pieces20:", &[b'x'; 20], b"e"];
        let answer = room.ask_from(from, "POST /metainfos", "", &[&b"d4:info"[..], &info.concat(), b"e"].concat());
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    scale.idle = room.tracker.usage().resident_kib;
    let page = format!("GET / HTTP/1.1\r\n{host}\r\n").into_bytes();
    let pages = crowd(60, &|_| page.clone());
    wait_until(LIMIT, || room.get("/api/files").status == 200);
    scale.weigh("pages that nobody reads");
    drop(pages);
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let stream = |number: usize| {
        let spelled = format!("{name}{}:{}", ".".repeat(number), room.port);
        format!("GET /api/events HTTP/1.1\r\nHost: {spelled}\r\n\r\n").into_bytes()
    };
    let mut streams = crowd(SPELLINGS, &stream);
    // The feeder has come round once the last has its first event.
    let mut last = BufReader::new(streams.pop().unwrap());
    let (mut line, deadline) = (String::new(), Instant::now() + LIMIT);
    while !line.starts_with("event: state") {
        line.clear();
        assert!(last.read_line(&mut line).unwrap() > 0 && Instant::now() < deadline, "no event comes");
    }
    scale.weigh("streams under as many spellings of one address");
    let (above, what) = &scale.worst;
    say(&format!("hostile http: crowds take at most {:.1} MiB above idle, with {what}", *above as f64 / 1024.0));
}
