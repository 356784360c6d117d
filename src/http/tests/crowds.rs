//! Many clients, slow ones and silent ones: nobody waits at their expense, and every cap holds.

use super::*;

#[test]
fn bodies_that_are_announced_and_never_sent_hold_nobody_up() {
    for (count, path) in [(4, "/echo"), (200, "/echo"), (4, "/upload"), (200, "/upload")] {
        let street = Street::new(|_| ());
        let text = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let mut silent: Vec<_> = (0..count).map(|_| street.say(&text)).collect();
        street.is_alive();
        wait_until(|| street.door.stats().transfers == 0, "a transfer waits for ever");
        // The last ones met the caps on transfers and were told so; the others ran out of time.
        let mut answer = String::new();
        let _ = silent.pop().unwrap().read_to_string(&mut answer);
        let told = answer.starts_with("HTTP/1.1 503 ") || answer.starts_with("HTTP/1.1 400 ") || answer.is_empty();
        assert!(told, "{answer}");
        drop(silent);
        street.comes_to_rest();
    }
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    for (count, path) in [(4, "/long"), (10, "/long"), (4, "/file"), (40, "/file")] {
        let street = Street::new(|_| ());
        let deaf: Vec<_> = (0..count).map(|_| street.say(&get(path))).collect();
        street.is_alive();
        street.comes_to_rest();
        drop(deaf);
    }
}

#[test]
fn answers_that_are_taken_late_arrive_whole() {
    let street = Street::new(|limits| limits.grace = Duration::from_secs(60));
    for _ in 0..3 {
        // More in all than may lie in memory at once, one after the other.
        let mut late = street.say(&get("/long"));
        wait_until(|| late.peek(&mut [0; 1]).unwrap() == 1, "no answer begins");
        street.is_alive();
        assert_eq!(read_answer(&mut late).1.len(), LONG);
    }
    let late: Vec<_> = (0..4).map(|_| street.say(&get("/long"))).collect();
    wait_until(|| street.door.stats().connections == 1, "answers pile up in memory");
    drop(late);
    street.comes_to_rest();
}

#[test]
fn whoever_holds_most_memory_makes_room_and_nobody_else() {
    let street =
        Street::new(|limits| (limits.head_time, limits.grace) = (Duration::from_secs(60), Duration::from_secs(60)));
    let from = |address: [u8; 4]| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, street.port)).into()).unwrap();
        TcpStream::from(socket)
    };
    let say = |mut stream: TcpStream, text: &str| {
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let mut honest = say(from([127, 0, 0, 2]), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell");
    // 16 KiB each: 17 MiB in all, where there is room for 16.
    let head = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(16_000));
    let hoarders: Vec<_> = (0..1100).map(|_| say(from([127, 0, 0, 3]), &head)).collect();
    wait_until(|| street.door.stats().connections < 1100, "heads without an end pile up in memory");
    street.is_alive();
    honest.write_all(b"o").unwrap();
    assert_eq!(read_answer(&mut honest).1, b"hello");
    drop((honest, hoarders));
    street.comes_to_rest();
}

#[test]
fn streams_that_are_behind_hold_no_message_each() {
    let street = Street::new(|limits| limits.grace = Duration::from_secs(60));
    let behind: Vec<_> = (0..4).map(|_| street.say(&get("/versions"))).collect();
    wait_until(|| street.door.stats().streams == 1, "old messages pile up in memory");
    street.is_alive();
    drop(behind);
    street.comes_to_rest();
}

#[test]
fn connections_kept_open_and_opened_at_once_are_all_answered() {
    let street = Street::new(|_| ());
    let mut streams: Vec<_> = (0..5).map(|_| street.connect()).collect();
    for _ in 0..20 {
        for stream in &mut streams {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            assert_eq!(read_answer(stream).1, b"ok\n");
        }
    }
    drop(streams);
    street.comes_to_rest();
}

#[test]
fn who_sends_without_end_has_no_more_than_its_turn() {
    let street = Street::new(|_| ());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for text in ["\r\n".repeat(8000), "A: b\r\n".repeat(3000), "\u{ff}".repeat(8000)] {
            let (street, stop) = (&street, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = street.say("GET / HTTP/1.1\r\nA: b\r\n");
                    while !stop.load(Ordering::Relaxed) && stream.write_all(text.as_bytes()).is_ok() {}
                }
            });
        }
        let alive = catch_unwind(AssertUnwindSafe(|| (0..100).for_each(|_| street.is_alive())));
        stop.store(true, Ordering::Relaxed);
        alive.unwrap();
    });
    street.comes_to_rest();
}

#[test]
fn neither_kind_of_request_waits_for_a_crowd_of_the_other() {
    for (crowded, other) in [("/slow", "/healthz"), ("/slow-quick", "/echo")] {
        let street = Street::new(|limits| limits.handlers = 2);
        // 40 answers of 50 ms each, by two handlers, of which one looks after the others first.
        let waiting: Vec<_> = (0..40).map(|_| street.say(&get(crowded))).collect();
        let start = Instant::now();
        assert!(street.ask(&get(other)).starts_with("HTTP/1.1 200 "));
        assert!(start.elapsed() < Duration::from_millis(500), "{other} waited {:?} for {crowded}", start.elapsed());
        drop(waiting);
        street.comes_to_rest();
    }
}

#[test]
fn a_thousand_idle_connections_cost_no_thread_and_make_room_for_new_ones() {
    let street = Street::new(|limits| {
        limits.connections = 600;
        limits.head_time = Duration::from_secs(60);
    });
    let idle: Vec<_> = (0..1000).map(|_| street.connect()).collect();
    street.is_alive();
    assert!(street.door.stats().connections <= 600);
    assert_eq!(street.door.stats().transfers, 0);
    // The one that has waited longest was closed, the newest was not.
    let mut byte = [0];
    assert_eq!((&idle[0]).read(&mut byte).unwrap_or(0), 0);
    let mut newest = idle.last().unwrap();
    newest.write_all(get("/healthz").as_bytes()).unwrap();
    assert_eq!(newest.read(&mut byte).unwrap(), 1);
    drop(idle);
    street.comes_to_rest();
}

#[test]
fn one_address_cannot_take_the_places_of_others() {
    let street = Street::new(|limits| limits.connections_per_host = 10);
    let many: Vec<_> = (0..50).map(|_| street.connect()).collect();
    wait_until(|| street.door.stats().connections == 10, "the cap for one address does not hold");
    street.is_alive();
    drop(many);
    street.comes_to_rest();
}

#[test]
fn when_all_places_are_taken_whoever_has_most_makes_room_and_not_whoever_has_waited_longest() {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let street = Street::new(|limits| {
        (limits.connections, limits.connections_per_host) = (12, 9);
        (limits.head_time, limits.idle_time) = (Duration::from_secs(60), Duration::from_secs(60));
    });
    let mut lone = street.connect_from(2);
    wait_until(|| street.door.stats().connections == 1, "the first is not let in");
    let crowd: Vec<_> = (0..9)
        .map(|_| {
            let mut stream = street.connect_from(1);
            stream.write_all(REQUEST).unwrap();
            read_answer(&mut stream);
            stream
        })
        .collect();
    let others: Vec<_> = (3..9).map(|host| street.connect_from(host)).collect();
    street.is_alive();
    lone.write_all(REQUEST).unwrap();
    assert!(read_answer(&mut lone).0.starts_with("HTTP/1.1 200"));
    drop((crowd, others));
}

#[test]
fn a_door_that_stops_ends_everything_within_a_second_and_a_half() {
    let mut street = Street::new(|limits| limits.grace = Duration::from_secs(60));
    let upload = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let _busy = [street.say(upload), street.say(&get("/file")), street.say(&get("/long")), street.connect()];
    wait_until(
        || street.door.stats() == Stats { connections: 4, transfers: 2, streams: 0 },
        "the clients were not taken in",
    );
    let start = Instant::now();
    street.door.stop();
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!(street.door.stats(), Stats::default());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, street.port)).is_err());
}

#[test]
fn a_connection_that_comes_back_while_the_door_stops_is_closed() {
    // The handler takes 50 ms over the answer. In most rounds it has begun when the door stops, and gives the connection back to
    // a watcher that has gone.
    for _ in 0..20 {
        let mut street = Street::new(|_| {});
        let _client = street.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until(|| street.door.stats().connections == 1, "the client was not taken in");
        street.door.stop();
        assert_eq!(street.door.stats(), Stats::default());
    }
}

/// Runs the test below in a process of its own, because it takes all descriptors away.
#[test]
fn running_out_of_descriptors_ends_nothing() {
    let test = "http::tests::crowds::descriptors_run_out_and_come_back";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "started by running_out_of_descriptors_ends_nothing, in a process of its own"]
fn descriptors_run_out_and_come_back() {
    let street = Street::new(|limits| limits.head_time = Duration::from_secs(60));
    let open =
        || [std::fs::read_dir("/proc/self/fd"), std::fs::read_dir("/proc/self/task")].map(|dir| dir.unwrap().count());
    let at_first = open();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    // Each connection takes two; the clients' ends are made first, so the door finds none for the last of its own.
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, street.port)) {
        clients.push(stream);
    }
    assert!(clients.len() > 20, "only {} clients", clients.len());
    drop(clients);
    street.comes_to_rest();
    street.is_alive();
    let busy = ["/file", "/file", "/long"].map(|path| street.say(&get(path)));
    wait_until(|| street.door.stats().transfers == 2, "no download begins");
    drop(busy);
    street.comes_to_rest();
    wait_until(|| open() == at_first, "descriptors or threads are left");
}

#[test]
fn streams_go_on_without_a_thread_each_and_are_capped() {
    let street = Street::new(|limits| (limits.streams, limits.streams_per_host) = (9, 3));
    let mut streams = [(); 3].map(|()| street.say(&get("/stream")));
    for stream in &mut streams {
        let mut bytes = [0; 1024];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200 ") && bytes.ends_with(b"xxxx"));
    }
    assert_eq!(street.door.stats(), Stats { connections: 3, transfers: 0, streams: 3 });
    let refused = street.ask(&get("/stream"));
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    let [first, ..] = streams;
    drop(first);
    wait_until(|| street.door.stats().streams == 2, "a stream outlives its client");
    let mut again = street.say(&get("/stream"));
    again.read_exact(&mut [0; 1024]).unwrap();
    street.is_alive();
}

#[test]
fn a_stream_that_nobody_reads_is_closed_and_holds_up_no_other() {
    let street = Street::new(|_| ());
    let unread = street.say(&get("/flood"));
    wait_until(|| street.door.stats().streams == 1, "the stream has not begun");
    let mut read = street.say(&get("/stream"));
    let start = Instant::now();
    read.read_exact(&mut [0; 1024]).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    wait_until(|| street.door.stats().streams == 1, "what nobody reads is still open");
    read.read_exact(&mut [0; 64]).unwrap();
    drop((read, unread));
    street.comes_to_rest();
}
