//! WHAT is shared: one validated form of a metainfo.

pub mod geometry;
pub mod id;

pub use geometry::{BLOCK_LENGTH, Block, Geometry, PieceIndex};
pub use id::{InfoHash, PeerId};
