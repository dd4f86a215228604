//! An app's settings as its owner sees them: every one documented here, defaults here and nowhere else, unknown ones refused by name.
//! Those that concern the machine become its [`Settings`]; the others go into the specification of instances and builds.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use teal_core::deploy::settings::{MAX_INSTANCES, SECOND, Settings};

/// The port that web applications listen on, inside.
pub(crate) const PORT: u16 = 8080;

/// The settings that differ from the defaults, by name.
pub type Overrides = BTreeMap<String, serde_json::Value>;

/// All settings of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppConfig {
    /// `node`, `python`, `ruby`, `php`, `go`, `rust`, `java`, `static` or `linux`; without it the type is detected from the files.
    pub r#type: Option<String>,
    /// The branch that deploys; without it `main` and `master` do.
    pub branch: Option<String>,
    /// Instances of each environment, 1 to 64.
    pub instances: u32,
    /// Memory of each instance, in MiB.
    pub memory_mib: u64,
    /// CPU of each instance, in thousandths of a core.
    pub cpu_milli: u64,
    /// Processes and threads of each instance.
    pub pids: u64,
    /// The writable layer of each instance, in MiB.
    pub disk_mib: u64,
    /// Memory of a build, in MiB.
    pub build_memory_mib: u64,
    /// How long a new version is watched while the one before stands by, in seconds.
    pub bake_s: u64,
    /// How long requests in flight, and the app after SIGTERM, are waited for, in seconds.
    pub drain_s: u64,
    /// How long WebSockets and event streams live on in the old version, in seconds; at most 24 h.
    pub upgraded_s: u64,
    /// When the old version goes from asleep to off, in seconds since it was replaced.
    pub off_after_s: u64,
    /// When the old version's memory goes to disk, in seconds since it was replaced. Without it: after two minutes in virtual machines; never
    /// elsewhere, where there is no memory that could be saved alone: there it is turned off instead.
    pub disk_after_s: Option<u64>,
    /// The longest build, in seconds.
    pub build_deadline_s: u64,
    /// The longest start, from the first instance to the last good probe, in seconds.
    pub start_deadline_s: u64,
    /// Good probes in a row that make an instance healthy.
    pub good_probes: u32,
    /// Only a 200 is healthy, not 200–299.
    pub strict_health: bool,
    /// Wait for a user's word once the new version is healthy.
    pub hold: bool,
    /// A newer push ends a running build instead of waiting for it.
    pub cancel_on_push: bool,
    /// Requests in clear text are sent to `https`.
    pub force_https: bool,
    /// A client's next request goes to the instance that had its last one, by a cookie, as long as that instance is live and takes requests.
    pub sticky_sessions: bool,
    /// Requests in flight at a time; more are answered with 503. 0 is no limit.
    pub max_requests: u32,
    /// Requests in flight at a time for one client's address; more are answered with 429. 0 is no limit.
    pub max_requests_per_client: u32,
    /// A public TCP port whose streams are the app's; `auto` takes a free one, `off` gives it up.
    pub tcp_port: Option<u16>,
    /// The port inside that streams go to (of `tcp_port` and `tls_passthrough`), 1024 to 65535; the app finds it in `TCP_PORT`. Without it they go
    /// where HTTP goes.
    pub tcp_instance_port: Option<u16>,
    /// The app ends TLS itself: handshakes for its domains go on to it as they came. Needs `health=tcp`.
    pub tls_passthrough: bool,
    /// What makes an instance healthy: `http` (its paths answer well) or `tcp` (its port accepts connections).
    pub health: HealthKind,
}

/// What makes an instance healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// Its paths answer well.
    #[default]
    Http,
    /// Its port accepts connections: for what speaks no HTTP.
    Tcp,
}

impl Default for AppConfig {
    fn default() -> Self {
        let machine = Settings::default();
        Self {
            r#type: None,
            branch: None,
            instances: machine.instances,
            memory_mib: 512,
            cpu_milli: 1000,
            pids: 512,
            disk_mib: 1024,
            build_memory_mib: 2048,
            bake_s: machine.bake_ms / SECOND,
            drain_s: machine.drain_ms / SECOND,
            upgraded_s: machine.upgraded_ms / SECOND,
            off_after_s: machine.off_after_ms / SECOND,
            disk_after_s: None,
            build_deadline_s: machine.build_ms / SECOND,
            start_deadline_s: machine.start_ms / SECOND,
            good_probes: machine.good_probes,
            strict_health: false,
            hold: machine.hold,
            cancel_on_push: machine.cancel_on_push,
            force_https: machine.force_https,
            sticky_sessions: machine.sticky_sessions,
            max_requests: machine.max_requests,
            max_requests_per_client: machine.max_requests_per_client,
            tcp_port: machine.tcp_port,
            tcp_instance_port: None,
            tls_passthrough: machine.tls_passthrough,
            health: HealthKind::default(),
        }
    }
}

impl AppConfig {
    /// The settings with these overrides.
    ///
    /// # Errors
    /// A sentence that names the setting that is unknown or out of range.
    pub fn of(overrides: &Overrides) -> Result<Self, String> {
        let object = serde_json::Value::Object(overrides.clone().into_iter().collect());
        let config: Self = serde_json::from_value(object).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        const DAY: u64 = 24 * 60 * 60;
        let ranges = [
            ("instances", u64::from(self.instances), 1, u64::from(MAX_INSTANCES)),
            ("memory_mib", self.memory_mib, 16, 1024 * 1024),
            ("cpu_milli", self.cpu_milli, 10, 1024 * 1000),
            ("pids", self.pids, 16, 1024 * 1024),
            ("disk_mib", self.disk_mib, 16, 1024 * 1024),
            ("build_memory_mib", self.build_memory_mib, 64, 1024 * 1024),
            ("bake_s", self.bake_s, 0, DAY),
            ("drain_s", self.drain_s, 0, DAY),
            ("upgraded_s", self.upgraded_s, 0, DAY),
            ("off_after_s", self.off_after_s, 0, 365 * DAY),
            ("disk_after_s", self.disk_after_s.unwrap_or(0), 0, 365 * DAY),
            ("build_deadline_s", self.build_deadline_s, 1, DAY),
            ("start_deadline_s", self.start_deadline_s, 1, DAY),
            ("good_probes", u64::from(self.good_probes), 1, 100),
            ("max_requests", u64::from(self.max_requests), 0, 1_000_000),
            ("max_requests_per_client", u64::from(self.max_requests_per_client), 0, 1_000_000),
        ];
        if self.tcp_port == Some(0) {
            return Err("`tcp_port` is 0, but must be from 1 to 65535, `auto` or `off`".into());
        }
        if let Some(port) = self.tcp_instance_port.filter(|port| *port < 1024 || *port == PORT) {
            return Err(format!(
                "`tcp_instance_port` is {port}, but must be from 1024 to 65535, and not {PORT}, where HTTP goes"
            ));
        }
        if self.tls_passthrough && self.health == HealthKind::Http {
            return Err(
                "`tls_passthrough` needs `health=tcp`: the health check by HTTP does not speak TLS".into()
            );
        }
        match ranges.into_iter().find(|(_, value, low, high)| value < low || value > high) {
            Some((name, value, low, high)) => {
                Err(format!("`{name}` is {value}, but must be from {low} to {high}"))
            }
            None => Ok(()),
        }
    }

    /// What the machine needs of it.
    #[must_use]
    pub fn machine(&self) -> Settings {
        Settings {
            bake_ms: self.bake_s * SECOND,
            drain_ms: self.drain_s * SECOND,
            upgraded_ms: self.upgraded_s * SECOND,
            disk_after_ms: self.disk_after_s.map(|seconds| seconds * SECOND),
            off_after_ms: self.off_after_s * SECOND,
            build_ms: self.build_deadline_s * SECOND,
            start_ms: self.start_deadline_s * SECOND,
            good_probes: self.good_probes,
            instances: self.instances,
            hold: self.hold,
            cancel_on_push: self.cancel_on_push,
            force_https: self.force_https,
            sticky_sessions: self.sticky_sessions,
            max_requests: self.max_requests,
            max_requests_per_client: self.max_requests_per_client,
            tcp_port: self.tcp_port,
            tls_passthrough: self.tls_passthrough,
            ..Settings::default()
        }
    }

    /// All settings by name, as `teal config list` shows them.
    #[must_use]
    pub fn listed(&self) -> BTreeMap<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_absurd_settings_are_refused_by_name() {
        let one =
            |name: &str, value: serde_json::Value| AppConfig::of(&BTreeMap::from([(name.to_owned(), value)]));
        assert!(one("bake", 3.into()).expect_err("unknown").contains("bake"));
        assert!(one("instances", 0.into()).expect_err("range").contains("from 1 to"));
        assert_eq!(one("bake_s", 3.into()).expect("legal").machine().bake_ms, 3000);
        assert!(one("max_requests", (-1).into()).is_err() && one("max_requests", 1_000_001.into()).is_err());
        assert_eq!(
            one("max_requests_per_client", 7.into()).expect("legal").machine().max_requests_per_client,
            7
        );
        assert!(one("sticky_sessions", true.into()).expect("legal").machine().sticky_sessions);
        assert_eq!(one("tcp_port", 5432.into()).expect("legal").machine().tcp_port, Some(5432));
        assert!(one("tcp_port", 0.into()).is_err() && one("tcp_port", 65_536.into()).is_err());
        assert!(one("tls_passthrough", true.into()).expect_err("unhealthy").contains("health=tcp"));
        assert!(one("health", "udp".into()).is_err());
        assert_eq!(one("tcp_instance_port", 5432.into()).expect("legal").tcp_instance_port, Some(5432));
        for port in [0, 1023, 8080, 65_536] {
            assert!(one("tcp_instance_port", port.into()).is_err(), "{port}");
        }
        assert_eq!(AppConfig::of(&Overrides::new()).expect("legal").machine(), Settings::default());
    }
}
