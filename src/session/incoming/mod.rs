//! What a session receives: socket → protocol → requests in flight → piece → hash workers.

pub mod chatter;
pub mod hash;
pub mod pipeline;
pub mod protocol;
pub mod requests;
pub mod socket;
