//! Webhooks: the outbox's second carrier. A delivery is signed, is given few seconds, follows nothing, and reads no more than an answer's head.
//!
//! Whoever may make a webhook chooses where this server connects to: addresses of this host, of its networks and of instances are refused unless the
//! operator allows them, and what was checked is what is connected to. It must never log an address's path, a secret or a body.

mod address;
mod courier;
mod letter;
mod ranges;
mod sign;

pub use address::Address;
pub use courier::Courier;
pub(crate) use letter::{deliveries, tells, test};
pub use ranges::Ranges;
