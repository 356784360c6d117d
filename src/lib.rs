//! minitorrent moves a file from one machine to every machine in the room.

pub mod bencode;
pub mod bitfield;
pub mod cli;
pub mod command;
pub mod downloader;
pub mod metainfo;
pub mod net;
pub mod peer;
pub mod picker;
pub mod seeder;
pub mod storage;
pub mod terminal;
pub mod text;
pub mod tracker;
pub mod web;
pub mod wire;
