//! Certificates for all domains of all apps: obtained from an authority (ACME, RFC 8555), read from files, or, until there is a real one, made here.
//!
//! ```text
//! rows + names + time ─► plan ─► keeper ─► issue ─► authority (orders, challenges)
//!                                  │         │
//!                                  └──► shelf ◄┘ proofs        shelf ─► router (one set, acknowledged)
//! ```
//!
//! The store holds everything that must not be lost: the account, each order with the key of its certificate, each certificate. A server that is
//! killed goes on with the order where the authority says it is. Traffic needs none of this: the router keeps what it was given.

mod authority;
mod facts;
mod failure;
mod files;
mod forge;
mod http;
mod issue;
mod keeper;
mod names;
mod pause;
mod plan;
mod shelf;
mod view;

pub use keeper::keep;
pub(crate) use names::check;
pub use view::{passed, view};
