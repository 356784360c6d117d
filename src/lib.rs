//! minitorrent moves a file from one machine to every machine in the room.

pub mod bencode;
pub mod bitfield;
pub mod metainfo;
pub mod tracker;
pub mod web;
