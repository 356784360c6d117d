//! minitorrent moves a file from one machine to every machine in the room.

pub mod bencode;
pub mod bitfield;
pub mod downloader;
pub mod metainfo;
<<<<<<< .merge_file_DnoZjR
pub mod peer;
pub mod picker;
pub mod seeder;
=======
pub mod picker;
>>>>>>> .merge_file_OWRC0Z
pub mod storage;
pub mod tracker;
pub mod wire;
