//! HTTP/2 towards clients: its frames begin and end here, and each request goes through the same HTTP/1.1 path as everybody's, as text. So there is one set
//! of rules about what may be forwarded, and no second way to an instance.
//!
//! ```text
//! socket ─► connection ─► session (frame, hpack, request) ─► text ─► serve::stream ─► instance
//!        ◄─            ◄─ outbound (unframe, hpack)       ◄─ text ◄─
//! ```
//!
//! Everything but `connection` is pure. Nothing that could split the text may reach it, and what comes behind trusts nothing here.

mod budget;
mod code;
mod connection;
pub(crate) mod frame;
pub(crate) mod hpack;
mod inbound;
mod outbound;
mod pipe;
pub(crate) mod request;
mod runs;
pub(crate) mod session;
mod settings;
mod stream;
mod turns;
mod unframe;
mod wakers;
mod windows;

pub(crate) use connection::connection;
pub(crate) use pipe::Pipe;
pub(crate) use runs::Desk;
