//! Teal's data plane: every socket that users reach.
//!
//! It forwards what it is told to forward: the table comes from the server over a unix socket ([`teal_core::control`]), is
//! made durable, and is used by every worker before it is acknowledged. It must never depend on the server being there, never ask
//! anything of the store, and never send a request to an address that is not in its table.
//!
//! One thread per worker, each with its own runtime and its own pool of upstream connections; one thread for the control socket.

mod access;
mod announced;
mod asked;
mod buffer;
mod busy;
mod chance;
mod changes;
mod channel;
mod child;
mod codec;
mod control;
mod crowd;
mod cut;
mod durable;
mod elder;
mod error;
mod exchange;
mod forward;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod h2;
mod headers;
mod hosts;
mod keeper;
mod kept;
mod lane;
mod listeners;
mod metrics;
mod node;
mod options;
mod pace;
mod pages;
mod patience;
mod peer;
mod pins;
mod place;
mod pool;
mod ports;
mod process;
mod router;
mod serve;
mod sni;
mod socket;
mod splice;
mod state;
mod succession;
mod supervise;
mod table;
mod tcp;
mod text;
mod timer;
mod tls;
mod traffic;
mod upgrade;
mod visit;
mod websocket;
mod wire;
mod worker;
mod workers;

pub use access::AccessLog;
pub use error::Error;
pub use options::{Announce, Limits, Options, Ready};
pub use process::run;
pub use router::Router;
pub use supervise::supervise;
pub use visit::upgrade;
