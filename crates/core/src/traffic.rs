//! What users see of traffic: rates and percentiles of a span of time, computed from two looks at a router's counts. Pure.

use crate::{
    histogram::{Histogram, to_f64},
    id::EnvironmentId,
    metrics::{Metrics, Served},
    route::Colour,
};
use serde::{Deserialize, Serialize};

/// One environment's traffic during a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TrafficView {
    /// The app's name.
    pub app: String,
    /// The environment.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub environment: EnvironmentId,
    /// The place that it takes.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub colour: Colour,
    /// What it is for: `live`, `standby`, `candidate`, `spare`, `parked`, or `unwanted` while it drains.
    pub role: String,
    /// The commit that it runs.
    pub commit: String,
    /// What moved.
    #[serde(flatten)]
    pub rates: Rates,
}

/// What moved during a span of time, and what is there at its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rates {
    /// The span, in seconds.
    pub span_s: f64,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Answers of 4xx per second.
    pub client_errors_per_s: f64,
    /// Answers of 5xx per second, the router's own among them.
    pub server_errors_per_s: f64,
    /// The router's own answers per second.
    pub own_per_s: f64,
    /// Half of the answers began within this many milliseconds; nothing if there were none.
    pub p50_ms: Option<f64>,
    /// Nine of ten.
    pub p90_ms: Option<f64>,
    /// All but one in a hundred.
    pub p99_ms: Option<f64>,
    /// Bytes per second from clients.
    pub bytes_in_per_s: f64,
    /// Bytes per second to clients.
    pub bytes_out_per_s: f64,
    /// Ordinary requests in flight at the end.
    pub in_flight: u64,
    /// Upgraded streams and endless answers in flight at the end.
    pub streams: u64,
    /// WebSockets that were open at the end.
    pub websockets: u64,
    /// All answers since the router's start.
    pub answers: u64,
}

/// What moved between two looks. An environment that is new, or a router that started anew, has all of its counts from in between.
#[must_use]
pub fn rates(before: &Metrics, after: &Metrics, environment: &EnvironmentId) -> Rates {
    let none = Served::default();
    let same = before.since == after.since;
    let old = before.environments.get(environment).filter(|_| same).unwrap_or(&none);
    let new = after.environments.get(environment).unwrap_or(&none);
    let begun = if same { before.at } else { before.at.max(after.since) };
    between(old, new, to_f64(after.at.since(begun).max(1)) / 1000.0)
}

fn between(old: &Served, new: &Served, span_s: f64) -> Rates {
    let rate = |old: u64, new: u64| to_f64(new.saturating_sub(old)) / span_s;
    let class = |class: usize| rate(old.answers[class], new.answers[class]);
    let own = |served: &Served| served.own.values().fold(0, |all: u64, count| all.saturating_add(*count));
    let latency = new.latency.since(&old.latency);
    Rates {
        span_s,
        requests_per_s: rate(old.answered(), new.answered()),
        client_errors_per_s: class(3),
        server_errors_per_s: class(4),
        own_per_s: rate(own(old), own(new)),
        p50_ms: percentile(&latency, 0.5),
        p90_ms: percentile(&latency, 0.9),
        p99_ms: percentile(&latency, 0.99),
        bytes_in_per_s: rate(old.bytes_in, new.bytes_in),
        bytes_out_per_s: rate(old.bytes_out, new.bytes_out),
        in_flight: new.traffic.in_flight,
        streams: new.traffic.upgraded,
        websockets: new.websockets,
        answers: new.answered(),
    }
}

/// In milliseconds, to the microsecond.
fn percentile(latency: &Histogram, share: f64) -> Option<f64> {
    latency.quantile_us(share).map(|us| us.round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{histogram::bucket_of, time::Time};

    fn environment() -> EnvironmentId {
        "e-1".parse().expect("legal")
    }

    fn look(at: u64, since: u64, answers: u64, us: u64) -> Metrics {
        let mut counts = vec![0; bucket_of(us) + 1];
        counts[bucket_of(us)] = answers;
        let served = Served {
            answers: [0, answers / 2, 0, answers / 4, answers / 4],
            bytes_out: answers * 1000,
            latency: Histogram::new(counts, answers * us * 1000),
            ..Served::default()
        };
        let environments = [(environment(), served)].into();
        Metrics { at: Time(at), since: Time(since), environments, ..Metrics::default() }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let rates = rates(&look(10_000, 1, 100, 1000), &look(12_000, 1, 300, 1000), &environment());
        assert_eq!(
            (rates.span_s, rates.requests_per_s, rates.client_errors_per_s, rates.server_errors_per_s),
            (2.0, 100.0, 25.0, 25.0)
        );
        assert_eq!((rates.bytes_out_per_s, rates.answers), (100_000.0, 300));
        assert!(rates.p50_ms.is_some_and(|ms| (0.768..=1.024).contains(&ms)), "{rates:?}");
        assert!(rates.p99_ms >= rates.p50_ms);
    }

    #[test]
    fn a_router_that_started_anew_is_counted_from_its_start() {
        let rates = rates(&look(10_000, 1, 1000, 1000), &look(12_000, 11_000, 40, 1000), &environment());
        assert_eq!((rates.span_s, rates.requests_per_s), (1.0, 40.0));
    }

    #[test]
    fn nothing_is_no_percentile() {
        let rates = rates(&look(10_000, 1, 8, 1000), &look(11_000, 1, 8, 1000), &environment());
        assert_eq!((rates.requests_per_s, rates.p50_ms, rates.p99_ms), (0.0, None, None));
        let unknown = super::rates(&look(1, 1, 8, 1), &look(1, 1, 8, 1), &"e-2".parse().expect("legal"));
        assert_eq!(unknown.answers, 0);
    }
}
