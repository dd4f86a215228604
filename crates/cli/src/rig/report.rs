//! What a run found, as JSON and as a verdict. A run is *valid* only if it saw enough to mean something, and *good* only if nothing was lost.

use super::{
    Options,
    ledger::{Failure, Ledger, Posts, Second, Streams},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Around a switch: this many microseconds before and after it.
const AROUND_US: u64 = 1_000_000;
/// Requests that a valid run has at least.
const LEAST: u64 = 1_000;
/// Requests that a valid run has around each switch.
const LEAST_AROUND: usize = 50;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Valid, and nothing was lost.
    pub(crate) ok: bool,
    /// Saw enough to mean something.
    pub(crate) valid: bool,
    /// Why it is not valid.
    pub(crate) why_not_valid: Vec<String>,
    /// When the run began, RFC 3339.
    pub(crate) began: String,
    /// Requests that were answered or lost.
    pub(crate) requests: u64,
    /// Of these on kept connections.
    pub(crate) kept: u64,
    /// Of these on connections of their own.
    pub(crate) fresh: u64,
    /// Of these over HTTP/2.
    pub(crate) h2: u64,
    /// Everything that went wrong.
    pub(crate) failed: u64,
    /// Of these: an old version after a new one.
    pub(crate) violations: u64,
    /// Arrivals for which the rig itself had no connection left.
    pub(crate) overrun: u64,
    /// Answers by version.
    pub(crate) versions: BTreeMap<String, u64>,
    /// Changes of the version, in order.
    pub(crate) switches: Vec<Switch>,
    /// Latency of all answers, from the instant at which the request was due.
    pub(crate) latency: Latency,
    /// Latency away from switches.
    pub(crate) steady: Latency,
    /// POSTs and what the app recorded.
    pub(crate) posts: Posts,
    /// WebSockets.
    pub(crate) websockets: Streams,
    /// Server-sent events.
    pub(crate) streams: Streams,
    /// The first failures, with their instants.
    pub(crate) failures: Vec<Failure>,
    /// Second by second.
    pub(crate) seconds: Vec<Second>,
}

/// A change of the version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Switch {
    /// The version before.
    pub(crate) from: String,
    /// The version after.
    pub(crate) to: String,
    /// The colour after, if the app says it.
    pub(crate) colour: Option<String>,
    /// The first answer of the new version, in milliseconds since the run began.
    pub(crate) at_ms: f64,
    /// From that first answer to the beginning of the last request that the old version still answered; negative: there was none after.
    pub(crate) overlap_ms: f64,
    /// Requests within a second of it.
    pub(crate) requests_around: usize,
    /// Latency within a second of it.
    pub(crate) latency: Latency,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50_ms: f64,
    /// One in a hundred is slower.
    pub(crate) p99_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

impl Latency {
    fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |percent: usize| {
            let index = (micros.len() * percent).div_ceil(100).max(1) - 1;
            micros.get(index).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self { p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// Makes the report of a run that has ended.
pub(super) fn make(ledger: &Ledger, options: &Options) -> Report {
    let mut versions = BTreeMap::new();
    for (version, count) in ledger.seconds.iter().flat_map(|second| &second.versions) {
        *versions.entry(version.clone()).or_default() += count;
    }
    let posts = ledger.audit();
    let switches = switches(ledger);
    let unsound = posts.missing + posts.repeated;
    let why_not_valid = why_not_valid(ledger, options, &switches, &posts);
    let (valid, failed) = (why_not_valid.is_empty(), ledger.failed + unsound);
    Report {
        ok: valid && failed == 0,
        valid,
        why_not_valid,
        began: format!("{:.3}", ledger.wall),
        requests: ledger.requests,
        kept: ledger.by_lane[0],
        fresh: ledger.by_lane[1],
        h2: ledger.by_lane[2],
        failed,
        violations: ledger.violations,
        overrun: ledger.overrun,
        versions,
        latency: Latency::of(ledger.samples.iter().map(|(_, us)| *us).collect()),
        steady: steady(ledger),
        switches,
        posts,
        websockets: ledger.websockets.clone(),
        streams: ledger.streams.clone(),
        failures: ledger.failures.clone(),
        seconds: ledger.seconds.clone(),
    }
}

fn switches(ledger: &Ledger) -> Vec<Switch> {
    let pairs = ledger.epochs.iter().zip(ledger.epochs.iter().skip(1));
    let switch = |(old, new): (&super::ledger::Epoch, &super::ledger::Epoch)| {
        let near = |ended: u64| ended.abs_diff(new.first) <= AROUND_US;
        let around: Vec<u32> =
            ledger.samples.iter().filter(|(ended, _)| near(*ended)).map(|(_, us)| *us).collect();
        let overlap = new.last_old_began.map_or(-1.0, |began| (began as f64 - new.first as f64) / 1000.0);
        Switch {
            from: old.version.clone(),
            to: new.version.clone(),
            colour: new.colour.clone(),
            at_ms: new.first as f64 / 1000.0,
            overlap_ms: overlap,
            requests_around: around.len(),
            latency: Latency::of(around),
        }
    };
    pairs.map(switch).collect()
}

fn steady(ledger: &Ledger) -> Latency {
    let switch =
        |ended: u64| ledger.epochs.iter().skip(1).any(|epoch| ended.abs_diff(epoch.first) <= AROUND_US);
    Latency::of(ledger.samples.iter().filter(|(ended, _)| !switch(*ended)).map(|(_, us)| *us).collect())
}

fn why_not_valid(ledger: &Ledger, options: &Options, switches: &[Switch], posts: &Posts) -> Vec<String> {
    let mut why = Vec::new();
    if ledger.requests < LEAST {
        why.push(format!("{} requests are fewer than {LEAST}", ledger.requests));
    }
    for switch in switches.iter().filter(|switch| switch.requests_around < LEAST_AROUND) {
        why.push(format!(
            "{} requests around the switch to {} are fewer than {LEAST_AROUND}",
            switch.requests_around, switch.to
        ));
    }
    if ledger.overrun > 0 {
        why.push(format!("the rig could not keep its rate: {} arrivals found no connection", ledger.overrun));
    }
    if options.posts > 0 && options.streams > 0 && posts.acknowledged == 0 {
        why.push("no POST was acknowledged: nothing could be audited".into());
    }
    if ledger.unversioned > 0 && !ledger.epochs.is_empty() {
        why.push(format!("{} answers named no version", ledger.unversioned));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latency = Latency::of((1..=200).map(|n| n * 1000).collect());
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (100.0, 198.0, 200.0));
        assert_eq!(Latency::of(Vec::new()).max_ms, 0.0);
    }
}
