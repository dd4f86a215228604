//! What a router counts, as it is told over the control protocol (capability `metrics`) and shown by the server.
//!
//! Everything counts from the router's start, unless it says "open" or "in flight": then it is how many there are now. Unknown fields are ignored and missing ones
//! are nothing, so that either side may be the older one.

use crate::{control::Traffic, histogram::Histogram, id::EnvironmentId, time::Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The capability of a router that answers [`crate::control::Request::Metrics`].
pub const CAPABILITY: &str = "metrics";

/// Everything that one router counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// When this was counted.
    pub at: Time,
    /// When counting began: another instant than before means another router process.
    pub since: Time,
    /// What belongs to no environment.
    pub edge: Edge,
    /// By environment: those in the table, and those that left it a short while ago.
    pub environments: BTreeMap<EnvironmentId, Served>,
}

/// What clients got from one environment, and from the router in its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Served {
    /// What is in flight, and what went wrong.
    pub traffic: Traffic,
    /// Final answers by class: 1xx (a switch to another protocol), 2xx, 3xx, 4xx, 5xx. The router's own are among them.
    pub answers: [u64; 5],
    /// The router's own answers in its name, by reason.
    pub own: BTreeMap<String, u64>,
    /// Whole requests in bytes, heads and bodies, as HTTP/1.1 has them; upgraded streams too.
    pub bytes_in: u64,
    /// Whole answers in bytes, in the same way.
    pub bytes_out: u64,
    /// WebSockets that are open.
    pub websockets: u64,
    /// From a whole request head to the answer's head being handed to the client's connection.
    pub latency: Histogram,
}

/// What a router counts beside environments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// Clients' connections that are open.
    pub connections: u64,
    /// Clients' connections that were accepted.
    pub accepted: u64,
    /// TLS handshakes that were made.
    pub handshakes: u64,
    /// TLS handshakes that failed, or took too long.
    pub handshakes_failed: u64,
    /// Answers to requests that met no environment, by reason.
    pub unrouted: BTreeMap<String, u64>,
    /// Bytes of such requests.
    pub bytes_in: u64,
    /// Bytes of the answers to them.
    pub bytes_out: u64,
    /// Lines of the access log that were handed on to be written.
    pub log_lines: u64,
    /// Lines of the access log that were dropped, because whoever takes it did not keep up or could not write.
    pub log_dropped: u64,
}

impl Metrics {
    /// Adds what a router counted that served before this one: to the reader both are one.
    pub fn add(&mut self, elder: &Self) {
        if elder.since != Time::default() {
            self.since = self.since.min(elder.since);
        }
        self.edge.add(&elder.edge);
        for (environment, served) in &elder.environments {
            self.environments.entry(environment.clone()).or_default().add(served);
        }
    }

    /// The router that counted this is gone: its sums stay.
    pub fn nothing_is_open(&mut self) {
        self.edge.connections = 0;
        for served in self.environments.values_mut() {
            (served.traffic.in_flight, served.traffic.upgraded, served.websockets) = (0, 0, 0);
        }
    }
}

fn add_all(to: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (reason, count) in more {
        *to.entry(reason.clone()).or_default() += count;
    }
}

impl Edge {
    fn add(&mut self, more: &Self) {
        add_all(&mut self.unrouted, &more.unrouted);
        for (count, more) in [
            (&mut self.connections, more.connections),
            (&mut self.accepted, more.accepted),
            (&mut self.handshakes, more.handshakes),
            (&mut self.handshakes_failed, more.handshakes_failed),
            (&mut self.bytes_in, more.bytes_in),
            (&mut self.bytes_out, more.bytes_out),
            (&mut self.log_lines, more.log_lines),
            (&mut self.log_dropped, more.log_dropped),
        ] {
            *count = count.saturating_add(more);
        }
    }
}

impl Served {
    fn add(&mut self, more: &Self) {
        self.traffic += &more.traffic;
        self.answers
            .iter_mut()
            .zip(more.answers)
            .for_each(|(count, more)| *count = count.saturating_add(more));
        add_all(&mut self.own, &more.own);
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
        self.websockets = self.websockets.saturating_add(more.websockets);
        self.latency.add(&more.latency);
    }

    /// All final answers.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answers.iter().fold(0, |all, count| all.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_begins_no_count_anew_and_what_is_gone_has_nothing_open() {
        let counted = |since, answers| {
            let latency = Histogram::new(vec![answers], answers);
            let served =
                Served { answers: [0, answers, 0, 0, 0], websockets: 2, latency, ..Served::default() };
            let edge = Edge { connections: 3, accepted: answers, ..Edge::default() };
            Metrics {
                at: Time(9),
                since: Time(since),
                edge,
                environments: [("e-1".parse().expect("legal"), served)].into(),
            }
        };
        let (mut own, mut elder) = (counted(5, 10), counted(1, 100));
        elder.nothing_is_open();
        own.add(&elder);
        let served = own.environments.values().next().expect("one");
        assert_eq!((served.answered(), served.latency.count(), served.websockets), (110, 110, 2));
        assert_eq!((own.edge.accepted, own.edge.connections, own.since), (110, 3, Time(1)));
        own.add(&Metrics::default());
        assert_eq!(own.since, Time(1));
    }

    #[test]
    fn what_a_newer_or_an_older_router_says_is_understood() {
        let newer: Metrics =
            serde_json::from_str(r#"{"at": 5, "planet": 3, "edge": {"connections": 2, "moons": 1}}"#)
                .expect("reads");
        assert_eq!((newer.at, newer.edge.connections, newer.environments.len()), (Time(5), 2, 0));
    }
}
