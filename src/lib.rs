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
//! | [`net`], [`text`], [`chance`], [`quota`] | listening sockets, which addresses may be dialled; text made harmless; numbers from a seed; who counts as one origin, and what it may have: small things for any layer |
//! | [`metainfo`] | 1 WHAT is shared: one validated form, JSON ↔ it ↔ `.torrent`, and how it is made |
//! | [`wire`] | 2 HOW peers talk: handshake, messages, the encrypted handshake (MSE), a reset to uTP: bytes ↔ values |
//! | [`storage`] | 3 WHERE the bytes rest: positioned I/O, verifying, the ledger that alone writes pieces, the resume log, whose the files are |
//! | [`policy`] | 4 WHO and WHICH, pure: picker, choker, super-seeding, roster, candidates, coordinator |
//! | [`session`] | 5 ONE CONNECTION: `incoming` (socket → protocol → requests → arrival → hash workers), `outgoing` (outbox → queue → writer) |
//! | [`tracker`] | 6 the tracker's memory and its answers, over HTTP and UDP; pure |
//! | [`announce`] | 7 finding peers: trackers over HTTP and UDP (tiers, schedule), local discovery |
//! | [`status`] | 8 what a person is told of a torrent, filled by the coordinators |
//! | [`seeder`] | 9 threads that UPLOAD: listener, admission, the coordinator of all that is only seeded, file watch |
//! | [`downloader`] | 10 threads that DOWNLOAD: the fetch loop, the worker pool that dials |
//! | [`node`] | 11 the torrents of one machine: what runs, what is remembered, orders; the UDP ports |
//! | [`lab`] | 12 a room in virtual time: the code of `policy` and the queues of `session` on simulated links |
//! | [`http`] | 13 the door: an HTTP port that cannot be stopped. It knows no torrent |
//! | [`web`] | 14 the page on it: uploads, library, live figures, control, the API |
//! | [`terminal`] | 15 progress, summaries, the log: the only place that prints |
//! | [`command`], [`cli`] | the commands, which alone see every layer; the command line |
//!
//! Beside the modules lie `build.rs`, which tells `--version` what was built, and `package/`: static binaries, man pages, completions, the
//! Debian package and its service.
//!
//! A module uses only what has a smaller number, and what stands above 1. A test holds the table against every `use` line
//! (`tests/suite/layering.rs`).
//!
//! # The way of a block
//!
//! The [`downloader`]'s coordinator asks the picker for a piece and assigns it to a session. `session::incoming::requests` turns it
//! into requests, the outbox into bytes, the writer thread sends them. The answer comes to the reader thread: `wire::decode`
//! sees the head of a block, the block's bytes go from the socket straight into a buffer, the buffer into its piece. With
//! its last block the piece goes to a hash worker, which compares its SHA-1, has the ledger note it in the resume log and write
//! it with one system call, and tells the coordinator; the coordinator tells every peer. At the other end a request comes to a
//! reader, waits in the outbox, and its block goes out with those that follow it in one read and one write.
//!
//! # Threads
//!
//! | thread | owns | talks by |
//! |---|---|---|
//! | `door`, and a fixed few web handlers | public HTTP connections | a bounded queue of whole requests |
//! | `web-feed`; `web-hash`, one a long upload; `web-metainfo` | pages that are told what happens; nothing; nothing | bounded queues |
//! | `accept`, `utp reset`, one a port; `udp tracker` | the count of connections; nothing; nothing | – |
//! | `session reader`, `session writer` | the two halves of a socket | events to the coordinator; requests and outbox |
//! | `coordinator`, one a fetch; `seed coordinator`, one for all that is only seeded | picker, roster, choker, super-seeding | one `select!` |
//! | `download worker`, started on demand | one dialled session | a bounded queue of addresses |
//! | `hash worker`, one a core | nothing | pieces in; right or wrong out |
//! | `journal` | resume logs | a bounded queue |
//! | `local discovery` | a socket for each interface; its schedule's lock to look and to note | peers that are heard to the coordinators |
//! | `announcer`, up to 16 | nothing; the schedule's lock to look and to note | results to the coordinator |
//! | `file watch` | nothing | torrents to look at in; those whose files have changed out |
//! | `fetch`, one for each that the page asked for | nothing | waits for the disk, then for the outcome |
//! | `watch`, `watch hash`, with `--watch` | what was seen of the folder; nothing | one task at a time; what became of it |
//! | `page`, `signals`; now and then `verify uploads`, `try again`, `web-stamp`, `web-verify` | nothing | what they find out |
//!
//! # Invariants
//!
//! - Pure cores, threads at the edges: codec, geometry, picker, swarm table, requests, outbox, pipeline, choker, super-seeding,
//!   roster and the coordinator's decisions have no socket, file, thread or clock in them. `now` and chance are arguments.
//! - Waiting has one direction: reader → hash worker → coordinator, and writer → coordinator. The coordinator waits nowhere but in its `select!`.
//! - A lock is held for one pure call, never across I/O. Every queue is bounded, every limit is a named constant.
//! - Memory follows the blocks that have arrived, within a budget; a piece that exceeds it goes to the disk block by block.
//! - A torrent's `storage::Ledger` is the only writer of piece bytes: noted in the resume log, then written, then synced, then marked.
//! - Nothing unverified is ever given to a peer, or trusted after a restart.
//! - `unsafe` is forbidden, so the language excludes data races here, and the thread sanitizer finds none below (`make tsan`). What
//!   remains is order and deadlock; against that stand the rules above, the seeded scheduler and the soak.
//!
//! # Where this departs from the design
//!
//! - **The door** does not hand requests to a `tiny_http` server over a private socket. It parses heads with httparse,
//!   calls a plain function, and has `tiny_http` print the answer: every fault that the design lists sits in that crate's
//!   listener and body reading, and with neither in use none can be reached. See [`http`].
//! - **A session's requests and outbox** are pure machines behind a lock, not owned by a thread that is sent messages. Requests
//!   that are withdrawn, `have`s and chokes then take effect at once, and no queue can overflow while a peer does not
//!   read.
//! - **Blocks, not pieces, are the unit of memory**: a piece in flight is a list of 16 KiB buffers, each read into, hashed and
//!   written from without being copied.
//! - **`mio` instead of `polling`** watches idle connections: `polling`'s registration is `unsafe`, which is forbidden here.
//! - **`net`, `text`, `chance` and `quota`** are four small modules more than the design's map has.

pub mod announce;
pub mod bencode;
pub mod bitfield;
pub mod chance;
pub mod cli;
pub mod command;
pub mod downloader;
pub mod http;
pub mod lab;
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
