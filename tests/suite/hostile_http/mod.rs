//! Hostile HTTP: what a stranger in the room, or a web page that somebody in the room has open, can send to the tracker.
//!
//! `sieges` keep the tracker busy while an honest client announces: it must be answered within a second, and memory,
//! threads and descriptors must go back to where they were. Each prints a row with what was measured. The others try what
//! must be refused.

mod announces;
mod disk;
mod framing;
mod herd;
mod honest;
mod names;
mod relays;
mod room;
mod senders;
mod siege;
mod sieges;
mod trackers;
mod weight;
