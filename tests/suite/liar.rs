//! Of five peers that share one piece, one lies; exactly that one is banned, and the file is right.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::house::content::Content;
use crate::house::peer::{self, CHOKE, INTERESTED, PIECE, Request, UNCHOKE, Wire};
use crate::house::process::{MINITORRENT, Process, free_port};
use crate::house::seeding_peer::Bytes;
use crate::house::torrent::Torrent;
use crate::house::tracker_stub::{Answer, TrackerStub};
use crate::house::{folder, wait_until};

const BLOCK: u32 = 16 * 1024;
const PEERS: u32 = 5;
const LIAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// After this long without a word, everything that was asked before the choke has arrived.
const QUIET: Duration = Duration::from_millis(200);

/// Which blocks of the piece have been given by anybody. While some have not, each peer gives one block and chokes, so that
/// all five have a share in the piece.
type Board = Arc<Mutex<Vec<Request>>>;

#[test]
fn of_five_peers_that_share_a_piece_exactly_the_liar_is_banned() {
    let work = folder();
    let content = Content::file(&work.path().join("source"), "one piece.bin", u64::from(PEERS * BLOCK));
    let unannounced = Torrent::write(&work.path().join("it.torrent"), &content, PEERS * BLOCK, &[]);
    let board = Board::default();
    let peers = (2..2 + PEERS as u8).map(|last| start_peer(Ipv4Addr::new(127, 0, 0, last), &unannounced, &board));
    let tracker = TrackerStub::start(Answer::Peers(peers.collect()));
    let torrent = Torrent::write(&unannounced.path, &content, PEERS * BLOCK, &[tracker.announce_url()]);

    let out = work.path().join("out");
    let mut command = Command::new(MINITORRENT);
    command.args(["fetch", "-v", "--seed-for", "600", "--port", &free_port().to_string(), "--out"]).arg(&out);
    command.arg(&torrent.path);
    let fetch = Process::start(command, work.path(), "fetch");
    let finished = wait_until(Duration::from_secs(60), || content.compare(&out).is_ok());
    let (difference, log) = (content.compare(&out), fetch.stderr());
    assert!(finished, "{difference:?}; of {PEERS} blocks {} were given; it said: {log}", board.lock().unwrap().len());
    let found = wait_until(Duration::from_secs(10), || !banned(&fetch).is_empty());
    assert!(found, "nobody was banned: {}", fetch.stderr());
    assert_eq!(banned(&fetch), [LIAR.to_string()], "{}", fetch.stderr());
}

/// The addresses that the log says were banned, without their ports.
fn banned(fetch: &Process) -> Vec<String> {
    let log = fetch.stderr();
    let after = log.lines().filter_map(|line| line.split_once("banned ")).map(|(_, after)| after);
    after.map(|after| after.split([':', ' ']).next().unwrap().to_owned()).collect()
}

fn start_peer(address: Ipv4Addr, torrent: &Torrent, board: &Board) -> SocketAddrV4 {
    let (bytes, board) = (Bytes::read(torrent), board.clone());
    peer::listen(address, move |mut wire| {
        bytes.greet(&mut wire)?;
        wire.await_message(INTERESTED)?;
        wire.send(UNCHOKE, &[])?;
        loop {
            let Some(request) = wire.receive()?.as_request() else { continue };
            let sharing = !all_have_given(&board);
            let claimed = claim(&board, request);
            if !sharing || claimed {
                give(&bytes, &mut wire, request, address == LIAR)?;
            }
            if sharing {
                // Who asked for a block that another gives may think again at once.
                choke_until(&mut wire, || !claimed || all_have_given(&board))?;
            }
        }
    })
}

/// Puts a block on the board, unless somebody has given it already.
fn claim(board: &Board, request: Request) -> bool {
    let mut board = board.lock().unwrap();
    let free = !board.contains(&request);
    board.extend(free.then_some(request));
    free
}

fn give(bytes: &Bytes, wire: &mut Wire, request: Request, lie: bool) -> io::Result<()> {
    let mut payload = bytes.piece_payload(request);
    if lie {
        payload.iter_mut().skip(8).for_each(|byte| *byte ^= 0xff);
    }
    wire.send(PIECE, &payload)
}

/// Chokes until `over`, dropping what is still asked meanwhile.
fn choke_until(wire: &mut Wire, over: impl Fn() -> bool) -> io::Result<()> {
    wire.send(CHOKE, &[])?;
    while wire.receive_within(QUIET)?.is_some() || !over() {}
    wire.send(UNCHOKE, &[])
}

fn all_have_given(board: &Board) -> bool {
    board.lock().unwrap().len() as u32 == PEERS
}
