//! What a session receives: socket → protocol → requests in flight → arrival → hash workers.

pub mod arrival;
pub mod chatter;
pub mod hash;
pub mod pipeline;
pub mod protocol;
pub mod requests;
pub mod socket;
