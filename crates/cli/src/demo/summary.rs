//! The closing table.

use crate::{
    out::{Out, Paint},
    rig::Report,
};
use serde::Serialize;

/// What the demo measured.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// How instances ran.
    pub(super) runtime: String,
    /// From the push to the first answer of the new version at the edge, in seconds.
    pub(super) push_to_live_s: f64,
    /// From the decision to its acknowledgement by every worker of the router, in milliseconds.
    pub(super) switch_ms: Option<f64>,
    /// From the click to the first answer of the earlier version at the edge, in milliseconds.
    pub(super) wake_ms: f64,
    /// What the earlier version was woken from.
    pub(super) woken_from: String,
    /// From the restart of a killed server to the end of the deployment that it was killed in, in seconds.
    pub(super) converged_s: f64,
    /// Idle memory of the server, in MiB.
    pub(super) server_mib: f64,
    /// Idle memory of the router with its supervisor, in MiB.
    pub(super) router_mib: f64,
    /// What was not as it should be, besides what the load client found.
    pub(super) faults: Vec<String>,
    /// What the load client found.
    pub(super) load: Report,
}

impl Summary {
    /// Nothing was lost, and everything was as it should be.
    pub(super) fn is_good(&self) -> bool {
        self.load.ok && self.faults.is_empty()
    }

    /// For people.
    pub(super) fn table(&self, out: &Out) -> String {
        let load = &self.load;
        let failed = if load.failed == 0 { Paint::Good } else { Paint::Bad };
        let switch = self.switch_ms.map_or_else(|| "—".into(), |ms| format!("{ms:.0} ms"));
        let sockets = format!(
            "{} opened, {} messages, {} cut",
            load.websockets.opened, load.websockets.messages, load.websockets.cut
        );
        let streams = format!(
            "{} opened, {} events, {} cut",
            load.streams.opened, load.streams.messages, load.streams.cut
        );
        let posts = format!(
            "{} acknowledged, {} recorded exactly once",
            load.posts.acknowledged, load.posts.recorded_once
        );
        let rows = [
            ("requests", load.requests.to_string()),
            ("failed", out.paint(failed, load.failed.to_string())),
            ("old version after new", load.violations.to_string()),
            ("POSTs", posts),
            ("WebSockets", sockets),
            ("event streams", streams),
            ("p50 / p99, steady", format!("{:.1} / {:.1} ms", load.steady.p50_ms, load.steady.p99_ms)),
            ("switch: decided → served", switch),
            ("wake: click → first answer", format!("{:.0} ms (from {})", self.wake_ms, self.woken_from)),
            ("push → live", format!("{:.1} s", self.push_to_live_s)),
            ("killed server → converged", format!("{:.1} s", self.converged_s)),
            ("idle memory", format!("server {:.0} MiB, router {:.0} MiB", self.server_mib, self.router_mib)),
            ("runtime", self.runtime.clone()),
        ];
        let mut lines: Vec<String> = vec![String::new()];
        lines.extend(rows.iter().map(|(name, value)| format!("  {name:28}{value}")));
        for switch in &load.switches {
            let (p50, p99) = (switch.latency.p50_ms, switch.latency.p99_ms);
            let around =
                format!("{} requests within 1 s, p50 {p50:.1} ms, p99 {p99:.1} ms", switch.requests_around);
            lines.push(format!("  {:28}{around}", format!("around {} → {}", switch.from, switch.to)));
        }
        let mark = |text: &String| format!("  {} {text}", out.paint(Paint::Bad, "✗"));
        lines.extend(self.faults.iter().chain(&load.why_not_valid).map(mark));
        let failure =
            |f: &crate::rig::Failure| mark(&format!("{} {:?} {}: {}", f.at, f.lane, f.kind, f.detail));
        lines.extend(load.failures.iter().take(20).map(failure));
        lines.join("\n")
    }
}
