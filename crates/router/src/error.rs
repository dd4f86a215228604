//! What can keep a router from starting or from keeping its table. Errors of single requests are pages, not values of this type.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why the router does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listening socket could not be had.
    #[error("cannot listen on {address}: free the port or choose another address")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The supervisor's listening sockets did not arrive.
    #[error("the supervisor handed over no listening sockets: start the worker through the supervisor only")]
    Inherit(#[source] io::Error),
    /// More addresses than processes can hand to each other.
    #[error("too many addresses to listen on: give {most} at most")]
    Addresses {
        /// How many there may be.
        most: usize,
    },
    /// Nobody answers on the control socket.
    #[error("no router answers on {path}: start it with `teal router --supervise`")]
    Absent {
        /// The control socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The router goes on as before.
    #[error("the router is not upgraded, and serves as before: {0}")]
    Upgrade(String),
    /// Nothing to listen on.
    #[error("no address to listen on: give at least one")]
    NoAddress,
    /// The directory of the saved table cannot be used.
    #[error("cannot use {path}: {doing}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another router has this directory.
    #[error("another router uses {path}: stop it, or give this one a directory of its own")]
    Taken {
        /// The state directory.
        path: PathBuf,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {path}")]
    Control {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The access log's file cannot be had.
    #[error(
        "cannot append to the access log {path}: make its directory, let this user write there, or name another file"
    )]
    AccessLog {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A thread, a runtime or a signal handler could not be had.
    #[error("cannot start {part}")]
    Start {
        /// What would not start.
        part: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The table does not serialise.
    #[error("the table cannot be written as JSON")]
    Serialise(#[source] serde_json::Error),
    /// The table says something that cannot be.
    #[error("the table is refused: {0}")]
    Table(String),
    /// A thread of the router has ended.
    #[error(
        "a thread of the router ended by itself: the router must start again, the log says what the thread said last"
    )]
    Broken,
    /// A worker did not take the table in time.
    #[error("a worker did not take the new table within {seconds} s: restart the router if this goes on")]
    Worker {
        /// How long was waited.
        seconds: u64,
    },
}

pub(crate) use teal_core::error::in_full;
