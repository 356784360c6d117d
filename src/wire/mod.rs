//! HOW peers talk: the peer wire protocol of BEP 3, the extension protocol of BEP 10, the encrypted handshake that may come
//! first, and the uTP that is turned down, as bytes and nothing else.
//!
//! Everything here is a pure function of bytes: no socket, no clock, no state between calls. A reader shows
//! [`decode`] what it has and is told what that begins with; what exceeds a limit is an error before any memory is
//! taken for it. Whether a message makes sense (was this block asked for? is that bit within the torrent?) is for
//! `peer` to judge.

mod extension;
mod handshake;
mod message;
pub mod mse;
pub mod utp;

pub use extension::{EXTENDED_HANDSHAKE, ExtendedHandshake, ExtensionError};
pub use handshake::{HANDSHAKE_LENGTH, Handshake, HandshakeError, Reserved};
pub use message::{DecodeStep, Message, MessageError, MessageLimits, RawBlock, decode, encode, piece_head};
