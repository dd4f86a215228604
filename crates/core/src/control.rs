//! The control protocol between server and router: versioned, length-prefixed JSON over a unix socket.
//!
//! A frame is a big-endian `u32` length and that many bytes of JSON, at most [`MAX_FRAME`]. The server speaks [`Request`]s, the router
//! answers each with one [`Reply`] in order. Unknown optional fields are ignored by both sides; a capability that the
//! server requires and the router does not know is refused by name. The router acknowledges a table only when it is written, fsynced,
//! renamed, the directory fsynced, and every worker uses it; a change when it is appended to what is kept, fsynced, and used. One connection may be open per server; a newer one replaces an older one.

use crate::{
    certificate::{Certificate, Proof},
    id::{AppId, EnvironmentId},
    metrics::Metrics,
    route::{AppRoute, Table},
    time::Time,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, ops::AddAssign};

/// The protocol's version. It grows only when old peers would misunderstand; new abilities are capabilities.
pub const VERSION: u32 = 1;

/// The largest frame, in bytes: a table of 10,000 apps and 100,000 domains fits many times over.
pub const MAX_FRAME: u32 = 256 * 1024 * 1024;

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// First on every connection.
    Hello {
        /// The server's [`VERSION`].
        version: u32,
        /// Capabilities that the server cannot do without.
        #[serde(default)]
        requires: Vec<String>,
    },
    /// Use this table instead of whatever there is. Answered by [`Reply::Acknowledged`].
    Replace {
        /// The whole table.
        table: Table,
    },
    /// Change these apps. Answered by [`Reply::Acknowledged`], or [`Reply::NeedTable`] if `base_generation` is not the router's.
    Change {
        /// The generation that this change starts from.
        base_generation: u64,
        /// The generation that it makes.
        generation: u64,
        /// New routes by app; `None` removes the app.
        apps: BTreeMap<AppId, Option<AppRoute>>,
    },
    /// Use these certificates and proofs instead of whatever there are: capability `certificates`. Answered by [`Reply::Acknowledged`] when they are
    /// durable and every worker uses them; the table's generation stays.
    Certificates {
        /// All of them. Where two are for the same name, the later one is used.
        certificates: Vec<Certificate>,
        /// All proofs that are asked for at present.
        proofs: Vec<Proof>,
    },
    /// How much is in flight, by environment; also those that left the table and still drain. Answered by [`Reply::Traffic`].
    Traffic,
    /// Everything that is counted: capability [`crate::metrics::CAPABILITY`]. Answered by [`Reply::Metrics`].
    Metrics,
    /// Close what is upgraded or still in flight to this environment (WebSockets with 1012), spread over a span. Answered by [`Reply::Acknowledged`].
    Cut {
        /// The environment that must be rid of connections.
        environment: EnvironmentId,
        /// Spread the closings over this many milliseconds; 0 is at once.
        spread_ms: u64,
    },
    /// Requests for these apps are to wait until the next [`Request::Change`] or [`Request::Replace`]: capability `hold`. A worker tells this the one
    /// that it follows, so that no request is routed by an older table than another one before it.
    Hold {
        /// The apps that are about to change.
        apps: Vec<AppId>,
    },
    /// Give place to the program that is installed now: capability `upgrade`. Needs no hello and does not make the peer the server. Answered by
    /// [`Reply::Acknowledged`] once the new one serves, or [`Reply::Refused`] with the reason for which nothing was changed.
    Upgrade,
}

/// What the router answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello {
        /// The router's [`VERSION`].
        version: u32,
        /// What it can do beyond the version's base.
        #[serde(default)]
        capabilities: Vec<String>,
        /// The generation that it uses at present.
        generation: u64,
        /// Where it listens for plain HTTP.
        http: Vec<SocketAddr>,
        /// Where it listens for TLS.
        #[serde(default)]
        https: Vec<SocketAddr>,
        /// Its process.
        pid: u32,
    },
    /// Durable, and used by every worker.
    Acknowledged {
        /// The generation in use.
        generation: u64,
    },
    /// The change does not start from the router's generation: send the whole table.
    NeedTable {
        /// The generation in use.
        generation: u64,
    },
    /// What is in flight.
    Traffic {
        /// When this was counted.
        at: Time,
        /// By environment.
        environments: BTreeMap<EnvironmentId, Traffic>,
        /// TCP ports that the table names and that cannot be opened at present.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        troubles: Vec<PortTrouble>,
    },
    /// Everything that is counted.
    Metrics {
        /// The counts.
        metrics: Box<Metrics>,
    },
    /// The router will not do it; the connection stays open.
    Refused {
        /// Why, in a sentence.
        reason: String,
    },
}

/// A TCP port that the router cannot open. It tries again by itself; all other routes work meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTrouble {
    /// The port.
    pub port: u16,
    /// Why, and what to do.
    pub why: String,
}

/// Counts of one environment, since the router's start unless they say "in flight".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Ordinary requests in flight (head received, response not yet finished).
    pub in_flight: u64,
    /// Upgraded streams (WebSockets) and endless responses (`text/event-stream`) in flight.
    pub upgraded: u64,
    /// Requests that were given to it.
    pub requests: u64,
    /// Connections that it refused, or that failed before a byte was sent.
    pub refused: u64,
    /// Responses that broke off, and gateway errors that clients saw.
    pub failed: u64,
    /// Answers of 5xx from the app itself.
    pub server_errors: u64,
}

impl AddAssign<&Self> for Traffic {
    fn add_assign(&mut self, more: &Self) {
        let Self { in_flight, upgraded, requests, refused, failed, server_errors } = more;
        self.in_flight += in_flight;
        self.upgraded += upgraded;
        self.requests += requests;
        self.refused += refused;
        self.failed += failed;
        self.server_errors += server_errors;
    }
}

/// Appends one frame to `buffer`.
///
/// # Errors
/// If the message does not serialise or is larger than [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) -> Result<(), Error> {
    let body = serde_json::to_vec(message).map_err(Error::Json)?;
    let length = u32::try_from(body.len()).ok().filter(|n| *n <= MAX_FRAME).ok_or(Error::TooLarge)?;
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(&body);
    Ok(())
}

/// The length that a frame's first four bytes announce.
///
/// # Errors
/// If it is larger than [`MAX_FRAME`].
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, Error> {
    let length = u32::from_be_bytes(prefix);
    if length > MAX_FRAME { Err(Error::TooLarge) } else { Ok(length as usize) }
}

/// Reads one frame's body.
///
/// # Errors
/// If it is not JSON of the expected form.
pub fn decode<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(Error::Json)
}

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than allowed.
    #[error("a control frame is longer than {MAX_FRAME} bytes")]
    TooLarge,
    /// Not the expected JSON.
    #[error("a control frame does not parse")]
    Json(#[source] serde_json::Error),
}
