//! The router's series: what clients get, by app, environment and colour, and what belongs to no environment.

use super::{
    Whose,
    page::{Kind, Page},
};
use std::collections::BTreeMap;
use teal_core::{
    histogram::{BOUNDED, Histogram, bound_us, to_f64},
    id::EnvironmentId,
    metrics::{Metrics, Served},
};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const SPANS: &str = "teal_router_request_duration_seconds";

/// A family with one sample per environment: its name without the prefix, what it is, its help, and its value.
type Simple = (&'static str, Kind, &'static str, fn(&Served) -> u64);

const SIMPLE: [Simple; 8] = [
    ("requests_in_flight", Kind::Gauge, "Ordinary requests in flight.", |s| s.traffic.in_flight),
    ("streams_open", Kind::Gauge, "Upgraded streams and endless answers in flight.", |s| s.traffic.upgraded),
    ("websockets_open", Kind::Gauge, "WebSockets that are open.", |s| s.websockets),
    ("received_bytes_total", Kind::Counter, "Bytes of requests: heads and bodies.", |s| s.bytes_in),
    ("sent_bytes_total", Kind::Counter, "Bytes of answers: heads and bodies.", |s| s.bytes_out),
    ("app_server_errors_total", Kind::Counter, "Answers of 5xx by the app itself.", |s| {
        s.traffic.server_errors
    }),
    ("connections_refused_total", Kind::Counter, "Connections that instances refused.", |s| {
        s.traffic.refused
    }),
    ("failures_total", Kind::Counter, "Gateway errors, and answers that broke off.", |s| s.traffic.failed),
];

/// Writes what environments have.
pub(crate) fn environments(page: &mut Page, metrics: &Metrics, owners: &BTreeMap<&EnvironmentId, Whose>) {
    let known: Vec<(&EnvironmentId, &Whose, &Served)> =
        metrics.environments.iter().filter_map(|(id, served)| Some((id, owners.get(id)?, served))).collect();
    page.family("teal_router_requests_total", Kind::Counter, "Answers to clients, by class of their code.");
    for (id, whose, served) in &known {
        for (code, count) in CLASSES.into_iter().zip(served.answers) {
            sample(page, "teal_router_requests_total", id, whose, &[("code", code)], count);
        }
    }
    page.family("teal_router_own_answers_total", Kind::Counter, "Answers by the router itself, by reason.");
    for (id, whose, served) in &known {
        for (reason, count) in &served.own {
            sample(page, "teal_router_own_answers_total", id, whose, &[("reason", reason)], count);
        }
    }
    page.family(SPANS, Kind::Histogram, "From a request's whole head to the beginning of its answer.");
    for (id, whose, served) in &known {
        histogram(page, id, whose, &served.latency);
    }
    for (name, kind, help, value) in SIMPLE {
        let name = format!("teal_router_{name}");
        page.family(&name, kind, help);
        for (id, whose, served) in &known {
            sample(page, &name, id, whose, &[], value(served));
        }
    }
}

fn sample(
    page: &mut Page,
    name: &str,
    id: &EnvironmentId,
    whose: &Whose,
    more: &[(&'static str, &str)],
    value: impl std::fmt::Display,
) {
    let whose = [("app", whose.app.as_str()), ("environment", id.as_str()), ("colour", whose.colour)];
    page.sample(name, &[&whose, more].concat(), value);
}

/// One bound per octave: what percentiles of a graph need.
fn histogram(page: &mut Page, id: &EnvironmentId, whose: &Whose, latency: &Histogram) {
    let name = format!("{SPANS}_bucket");
    for (bucket, us) in (0..BOUNDED).step_by(2).filter_map(|bucket| Some((bucket, bound_us(bucket)?))) {
        let le = (to_f64(us) / 1_000_000.0).to_string();
        sample(page, &name, id, whose, &[("le", le.as_str())], latency.up_to(bucket));
    }
    sample(page, &name, id, whose, &[("le", "+Inf")], latency.count());
    sample(page, &format!("{SPANS}_sum"), id, whose, &[], to_f64(latency.sum_ns) / 1_000_000_000.0);
    sample(page, &format!("{SPANS}_count"), id, whose, &[], latency.count());
}

/// Writes what belongs to no environment.
pub(crate) fn edge(page: &mut Page, metrics: &Metrics) {
    let edge = &metrics.edge;
    let started = to_f64(metrics.since.0) / 1000.0;
    page.single("teal_router_start_time_seconds", Kind::Gauge, "When the router's counting began.", started);
    for (name, kind, help, value) in [
        ("connections_open", Kind::Gauge, "Clients' connections that are open.", edge.connections),
        (
            "connections_accepted_total",
            Kind::Counter,
            "Clients' connections that were accepted.",
            edge.accepted,
        ),
        (
            "unrouted_received_bytes_total",
            Kind::Counter,
            "Bytes of requests that met no environment.",
            edge.bytes_in,
        ),
        ("unrouted_sent_bytes_total", Kind::Counter, "Bytes of the answers to them.", edge.bytes_out),
        (
            "access_log_lines_total",
            Kind::Counter,
            "Lines that were handed to the access log's writer.",
            edge.log_lines,
        ),
        ("access_log_dropped_lines_total", Kind::Counter, "Lines that were dropped.", edge.log_dropped),
    ] {
        page.single(&format!("teal_router_{name}"), kind, help, value);
    }
    page.family("teal_router_tls_handshakes_total", Kind::Counter, "TLS handshakes, by outcome.");
    for (outcome, count) in [("made", edge.handshakes), ("failed", edge.handshakes_failed)] {
        page.sample("teal_router_tls_handshakes_total", &[("outcome", outcome)], count);
    }
    let help = "Answers to requests that met no environment, by reason.";
    page.family("teal_router_unrouted_requests_total", Kind::Counter, help);
    for (reason, count) in &edge.unrouted {
        page.sample("teal_router_unrouted_requests_total", &[("reason", reason)], count);
    }
}
