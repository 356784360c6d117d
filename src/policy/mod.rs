//! WHO and WHICH, pure: which piece comes next, who is unchoked, what a source shows to whom, which addresses are dialled.
//!
//! Nothing here has a socket, a file, a thread or a clock: `now` and chance are arguments.

pub mod buffers;
pub mod candidates;
pub mod choker;
pub mod coordinator;
pub mod events;
pub mod peer;
pub mod picker;
pub mod piece;
pub mod piece_state;
pub mod roster;
pub mod super_seed;

pub use buffers::{BlockBuffer, Buffers};
pub use choker::{ChokeChange, Choker, DEFAULT_UPLOAD_SLOTS};
pub use coordinator::FetchSettings;
pub use events::{PeerEvent, SendOrder};
pub use peer::{Direction, PeerKnowledge, Remote, SessionId};
pub use piece::{Home, Payload, PieceInFlight};
pub use piece_state::{PieceState, PieceStep};
