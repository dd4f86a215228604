//! What an app's owner may set about its deployments. All spans are milliseconds; every default is here and nowhere else.

use serde::{Deserialize, Serialize};

/// One second, in the unit of this crate.
pub const SECOND: u64 = 1_000;

/// The most instances that one environment may have.
pub const MAX_INSTANCES: u32 = 64;

/// The most environments of one app that may drain at once; past it the oldest is cut early.
pub const MAX_DRAINING: usize = 3;

/// How much later than the effect's own deadline the machine itself gives up: the effect's failure knows more, so it goes first.
pub const GRACE_MS: u64 = 15 * SECOND;

/// An app's settings. Missing fields take their defaults, so that older rows stay readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long a new live environment is watched while the one before stays up.
    pub bake_ms: u64,
    /// How long ordinary requests may still run in an environment that lost its traffic; also the span from SIGTERM to SIGKILL.
    pub drain_ms: u64,
    /// How long upgraded streams may still run in an environment that lost its traffic.
    pub upgraded_ms: u64,
    /// From memory to disk, counted from when the spare was replaced; `None` where the runtime has no disk snapshots.
    pub disk_after_ms: Option<u64>,
    /// From asleep to off, counted from when the spare was replaced.
    pub off_after_ms: u64,
    /// From off to gone, counted from when the spare was replaced; `None` keeps the way back until a newer one takes its place.
    pub gone_after_ms: Option<u64>,
    /// The longest build.
    pub build_ms: u64,
    /// The longest start, from the first instance to the last good probe.
    pub start_ms: u64,
    /// Good probes in a row that make an instance healthy.
    pub good_probes: u32,
    /// Instances of each environment.
    pub instances: u32,
    /// Wait for a user's "go live" once the candidate is healthy.
    pub hold: bool,
    /// A newer push ends a running build instead of waiting for it.
    pub cancel_on_push: bool,
    /// Requests in clear text are sent to `https`.
    pub force_https: bool,
    /// A client's next request goes to the instance that had its last one.
    pub sticky_sessions: bool,
    /// Ordinary requests that may be in flight at a time; 0 is no limit.
    pub max_requests: u32,
    /// The same for one client's address.
    pub max_requests_per_client: u32,
    /// A public port whose streams are the app's; no other app has the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
    /// The app ends TLS itself.
    pub tls_passthrough: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bake_ms: 60 * SECOND,
            drain_ms: 30 * SECOND,
            upgraded_ms: 600 * SECOND,
            disk_after_ms: None,
            off_after_ms: 900 * SECOND,
            gone_after_ms: None,
            build_ms: 1_800 * SECOND,
            start_ms: 300 * SECOND,
            good_probes: 3,
            instances: 1,
            hold: false,
            cancel_on_push: false,
            force_https: false,
            sticky_sessions: false,
            max_requests: 0,
            max_requests_per_client: 0,
            tcp_port: None,
            tls_passthrough: false,
        }
    }
}
