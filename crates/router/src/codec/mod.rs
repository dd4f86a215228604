//! HTTP/1.1, and what may come before it, as pure functions: bytes in, decisions out. No socket, no clock, no task, so that every rule can be tested and fuzzed alone.
//!
//! The one question decided here is whether two parsers could read the same bytes differently. If they could, the answer is a
//! [`Refusal`] and never a guess: nothing ambiguous may leave this module.

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod client_hello;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod name;
pub(crate) mod path;
pub(crate) mod proxy_protocol;
pub(crate) mod refusal;
pub(crate) mod scan;
pub(crate) mod target;

#[cfg(test)]
mod against_hyper;
#[cfg(test)]
mod malformed;

pub(crate) use body::Body;
pub(crate) use framing::Framing;
pub(crate) use name::Name;
pub(crate) use refusal::Refusal;
