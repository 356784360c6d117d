//! Uploads that would fill the disk: some is left free, whoever finds no room is told so, and everything else goes on.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use super::room::Room;
use crate::house::{say, skip};

const MEBIBYTE: usize = 1024 * 1024;

/// The disk, in MiB, and how many uploads of a quarter of it come at once.
const DISK: u64 = 64;
const UPLOADS: usize = 14;

#[test]
fn many_uploads_at_once_leave_room_on_the_disk() {
    let Some(room) = Room::open_on_small_disk(DISK) else {
        return skip("uploads that fill the disk", "a disk of its own cannot be had (unshare, mount)");
    };
    let disk = || rustix::fs::statvfs(room.disk()).unwrap();
    let all = disk().f_blocks * disk().f_frsize;
    let too_large = format!("Content-Length: {}\r\n", all * 2);
    let head = format!("PUT /uploads/huge HTTP/1.1\r\nHost: 127.0.0.1\r\n{too_large}Expect: 100-continue\r\n\r\n");
    assert!(room.exchange(head.as_bytes()).starts_with(b"HTTP/1.1 507 "), "it would never fit");

    let content = vec![7; DISK as usize * MEBIBYTE / 4];
    let statuses: Vec<u16> = thread::scope(|scope| {
        let put = |number: usize| {
            let (room, content) = (&room, &content);
            scope.spawn(move || {
                let from = Ipv4Addr::new(127, 0, 0, 2 + number as u8);
                room.put_in_chunks_from(from, &format!("file{number}"), content)
            })
        };
        let uploads: Vec<_> = (0..UPLOADS).map(put).collect();
        for _ in 0..20 {
            let free = disk().f_bavail * disk().f_frsize;
            assert!(free >= all / 20 - MEBIBYTE as u64, "only {free} bytes of {all} are left free");
            assert_eq!(room.get("/healthz").status, 200);
            thread::sleep(Duration::from_millis(20));
        }
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    let refused = statuses.iter().filter(|status| **status == 507).count();
    let free = disk().f_bavail * disk().f_frsize;
    say(&format!(
        "hostile http: {UPLOADS} uploads of a quarter of the disk at once: {refused} told that there is no room, {free} of {all} bytes free"
    ));
    assert!(statuses.iter().all(|status| [201, 507].contains(status)), "{statuses:?}");
    assert!(refused >= UPLOADS - 3 && free >= all / 20 - MEBIBYTE as u64, "{statuses:?}, {free} of {all} bytes free");
    // What broke off is kept to be gone on with, but not at the expense of who comes now.
    let after = room.put("after.bin", &content[..content.len() / 2]);
    assert_eq!(after.status, 201, "{}", after.text());
    assert!(room.get("/announce").body.starts_with(b"d14:failure reason"));
}

#[test]
fn parts_that_nobody_goes_on_with_stay_few() {
    let room = Room::open();
    let parts = room.data.join("uploads/.part");
    for number in 0..600 {
        let answer = room.ask(&format!("PUT /uploads/part{number}"), "Content-Range: bytes 0-0/1000\r\n", b"x");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let count = std::fs::read_dir(&parts).unwrap().count();
    say(&format!("hostile http: of 600 uploads that never end {count} are kept"));
    assert!(count <= 256, "{count} parts are kept");
}
