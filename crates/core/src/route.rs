//! The route table: which environment each domain's traffic goes to. A value that is computed from rows, swapped whole, never edited.

use crate::id::{AppId, EnvironmentId, InstanceId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr};

/// The role's colour. It says which of the two places an environment takes, not which environment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// One place.
    Blue,
    /// The other.
    Green,
}

impl Colour {
    /// The other place.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// The lower-case word that users see (`TEAL_COLOUR`, `--json`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

/// Everything that the router needs to know. The same value always serialises to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// Grows by one with each table or diff that the server sends; 0 is the empty table of a router that never had one.
    pub generation: u64,
    /// By app.
    pub apps: BTreeMap<AppId, AppRoute>,
}

/// Where one app's traffic goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppRoute {
    /// The app's name, for pages and logs.
    pub name: String,
    /// Domains as [`crate::domain`] has them: `example.org`, `*.example.org`, `example.org/api`.
    pub domains: Vec<String>,
    /// Requests in clear text are sent to `https`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_https: bool,
    /// A client's next request goes to the instance that had its last one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky_sessions: bool,
    /// Ordinary requests that may be in flight at a time; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_requests: u32,
    /// The same for one client's address.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_requests_per_client: u32,
    /// A public port of the router's whose streams are this app's, byte by byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
    /// The app ends TLS itself: handshakes for its domains go on to it as they came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_passthrough: bool,
    /// The live environment; `None` says why in `absent`.
    pub live: Option<Target>,
    /// The standby, while the live one bakes: takes requests that the live one refused before a byte was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Target>,
    /// Why there is no live environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An environment that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Which one.
    pub environment: EnvironmentId,
    /// The place that it takes.
    pub colour: Colour,
    /// Its instances that are up; never empty.
    pub instances: Vec<Backend>,
}

/// One instance that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// Which one.
    pub instance: InstanceId,
    /// Where it listens, as the router reaches it.
    pub address: SocketAddr,
    /// Where it listens for streams that are not looked into, if that is somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
}

impl Backend {
    /// Where streams go that are not looked into.
    #[must_use]
    pub fn streams(&self) -> SocketAddr {
        self.tcp.unwrap_or(self.address)
    }
}

/// Why an app has no live environment; the router's page says it, with the right status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Nothing was ever deployed: 404 with a sentence that says how.
    NeverDeployed,
    /// Stopped by a user: 503 without `Retry-After`.
    Stopped,
    /// It starts, or starts again after a reboot: 503 with `Retry-After`.
    Starting,
}
