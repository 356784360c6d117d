//! minitorrent moves a file from one machine to every machine in the room, by BitTorrent: a tracker with a page, a
//! seeder and a downloader, on plain threads and blocking sockets.
//!
//! # The map
//!
//! Read in this order; each module's header says more.
//!
//! | module | what it is |
//! |---|---|
//! | [`bencode`], [`bitfield`] | bytes ↔ values; which pieces |
//! | [`metainfo`] | 1 WHAT is shared: one validated form, JSON ↔ it ↔ `.torrent`, and how it is made |
//! | [`tracker`] | 2 WHO has it: the swarm table, announces both ways, the client of trackers |
//! | [`wire`] | 3 HOW peers talk: handshake, messages, limits |
//! | [`picker`] | 4 WHICH piece next |
//! | [`storage`] | 5 WHERE the bytes rest: positioned I/O, verifying, the resume log |
//! | [`peer`] | 6 ONE CONNECTION: a reader and a writer thread; what we take, what we send |
//! | [`seeder`] | 7 threads that GIVE: listener, upload slots, the order in which a source gives, announcing |
//! | [`downloader`] | 8 threads that TAKE: coordinator, download workers, hash workers |
//! | [`web`] | 9 the tracker over HTTP: the door, pages, uploads, downloads |
//! | [`terminal`] | 10 progress, rates, the log |
//! | [`command`], [`cli`] | the commands, which alone see every layer; the command line |
//! | [`net`], [`text`], [`chance`], [`quota`] | listening sockets, which addresses may be dialled; text made harmless; numbers from a seed; how often somebody may come: small things for any layer |
//!
//! A module uses only what stands above it here, or in the last line; of the modules 3 to 5 none knows another. A test holds this against
//! every `use` line (`tests/suite/layering.rs`).
//!
//! # The way of a piece
//!
//! [`downloader`]'s coordinator asks the picker for a piece and puts it on a session's desk. The desk turns it into
//! requests, the outbox into bytes, the writer thread sends them. The answer comes to the reader thread: `wire::decode`
//! sees the head of a block, the block's bytes go from the socket straight into a buffer, the buffer onto the desk. With
//! its last block the piece goes to a hash worker, which compares its SHA-1, notes it in the resume log, writes it with one
//! system call and tells the coordinator; the coordinator tells every peer. At the other end a request comes to a
//! reader, waits in the outbox, and its block goes out with those that follow it in one read and one write.
//!
//! # Threads
//!
//! | thread | owns | talks by |
//! |---|---|---|
//! | `door`, and a fixed few web handlers | public HTTP connections | a bounded queue of whole requests |
//! | `web-feed`; `web-hash`, one a long upload; `web-metainfo` | pages that are told what happens; nothing; nothing | bounded queues |
//! | `accept`, `utp reset`, one a port | the count of connections; nothing | – |
//! | `session reader`, `session writer` | the two halves of a socket | events to the coordinator; desk and outbox |
//! | `coordinator`, one a fetch; `seed coordinator`, one for all that is only seeded | picker, roster, slots, offers | one `select!` |
//! | `download worker`, started on demand | one dialled session | a bounded queue of addresses |
//! | `hash worker`, one a core | nothing | pieces in; right or wrong out |
//! | `journal` | resume logs | a bounded queue |
//! | `announcer`, up to 16 | nothing; the schedule's lock to look and to note | results to the coordinator |
//! | `watchman` | nothing | torrents to look at in; those whose files have changed out |
//! | `fetch`, one for each that the page asked for | nothing | waits for the disk, then for the outcome |
//! | `page`, `signals`; now and then `verify uploads`, `try again`, `web-stamp`, `web-verify` | nothing | what they find out |
//!
//! # Invariants
//!
//! - Pure cores, threads at the edges: codec, geometry, picker, swarm table, desk, outbox, request window, slots, offer,
//!   roster and the coordinator's decisions have no socket, file, thread or clock in them. `now` and chance are arguments.
//! - Waiting has one direction: reader → hash worker → coordinator, and writer → coordinator. The coordinator waits nowhere but in its `select!`.
//! - A lock is held for one pure call, never across I/O. Every queue is bounded, every limit is a named constant.
//! - Memory follows the blocks that have arrived, within a budget; a piece that exceeds it goes by way of the disk.
//! - Nothing unverified is ever given to a peer, or trusted after a restart.
//! - `unsafe` is forbidden, so the language excludes data races here, and the thread sanitizer finds none below (`make tsan`). What
//!   remains is order and deadlock; against that stand the rules above, the seeded scheduler and the soak.
//!
//! # Where this departs from the design
//!
//! - **The door** does not hand requests to a `tiny_http` server over a private socket. It parses heads with httparse,
//!   calls a plain function, and has `tiny_http` print the answer: every fault that the design lists sits in that crate's
//!   listener and body reading, and with neither in use none can be reached. See [`web::door`].
//! - **A session's desk and outbox** are pure machines behind a lock, not owned by a thread that is sent messages. Requests
//!   that are withdrawn, `have`s and chokes then take effect at once, and no queue can overflow while a peer does not
//!   read.
//! - **Blocks, not pieces, are the unit of memory**: a piece in flight is a list of 16 KiB buffers, each read into, hashed and
//!   written from without being copied.
//! - **`mio` instead of `polling`** watches idle connections: `polling`'s registration is `unsafe`, which is forbidden here.
//! - **`net`, `text` and `chance`** are three small modules more than the design's map has.

pub mod announce;
pub mod bencode;
pub mod bitfield;
pub mod chance;
pub mod cli;
pub mod command;
pub mod downloader;
pub mod http;
pub mod metainfo;
pub mod net;
pub mod node;
pub mod policy;
pub mod quota;
pub mod seeder;
pub mod session;
pub mod status;
pub mod storage;
pub mod terminal;
pub mod text;
pub mod tracker;
pub mod web;
pub mod wire;
