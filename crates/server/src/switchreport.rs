//! What users noticed of a switch: computed from looks at the router's counts around it. Pure.

use std::collections::VecDeque;
use teal_core::{
    api::SwitchView,
    deploy::{Deployment, Rows},
    histogram::{Histogram, to_f64},
    id::DeploymentId,
    metrics::{Metrics, Served},
    sample::Sample,
    time::Time,
};

/// So long before and after the switch is looked at, in milliseconds.
const AROUND_MS: u64 = 30_000;

/// The reports of an app's switches whose time has come and that the looks still cover. The same may come again: the store keeps the first.
pub(crate) fn due(rows: &Rows, looks: &VecDeque<Metrics>) -> Vec<(DeploymentId, SwitchView)> {
    rows.deployments.iter().filter_map(|d| Some((d.id.clone(), report(rows, d, looks)?))).collect()
}

fn report(rows: &Rows, deployment: &Deployment, looks: &VecDeque<Metrics>) -> Option<SwitchView> {
    let (served, new) = (deployment.times.served?, deployment.environment.as_ref()?);
    let after = looks.iter().position(|look| look.at >= served.plus(AROUND_MS))?;
    // As far back as was looked, if the server has not run for so long; but not if it was not there at the switch.
    let wanted = Time(served.0.saturating_sub(AROUND_MS));
    let before = looks
        .iter()
        .rposition(|look| look.at <= wanted)
        .or_else(|| looks.iter().position(|look| look.at <= served))?;
    let mut view = SwitchView {
        span_s: to_f64(looks[after].at.since(looks[before].at)) / 1000.0,
        requests: 0,
        requests_new: 0,
        errors: 0,
        failed: 0,
        retried: 0,
        p99_before_ms: None,
        p99_after_ms: None,
    };
    let (mut latency_before, mut latency_after) = (Histogram::default(), Histogram::default());
    for number in before..after {
        for environment in &rows.environments {
            let sample = between(&looks[number], &looks[number + 1], &environment.id);
            view.requests += sample.answers;
            view.errors += sample.errors;
            view.failed += sample.failed;
            view.retried += sample.retried;
            let is_new = environment.id == *new;
            view.requests_new += if is_new { sample.answers } else { 0 };
            (if is_new { &mut latency_after } else { &mut latency_before }).add(&sample.latency);
        }
    }
    let p99 = |latency: &Histogram| latency.quantile_us(0.99).map(|us| us.round() / 1000.0);
    (view.p99_before_ms, view.p99_after_ms) = (p99(&latency_before), p99(&latency_after));
    Some(view)
}

fn between(old: &Metrics, new: &Metrics, id: &teal_core::id::EnvironmentId) -> Sample {
    let none = Served::default();
    let earlier = old.environments.get(id).filter(|_| old.since == new.since).unwrap_or(&none);
    new.environments.get(id).map_or_else(Sample::default, |served| Sample::between(earlier, served, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use teal_core::{deploy::App, histogram::bucket_of};

    fn rows() -> Rows {
        let settings = crate::appconfig::AppConfig::of(&BTreeMap::new()).expect("legal").machine();
        let mut rows =
            Rows::new(App::new("a-1".parse().expect("legal"), "shop".into(), Vec::new(), settings));
        for (id, colour) in [("e-1", "blue"), ("e-2", "green")] {
            let environment = serde_json::json!({
                "id": id, "deployment": "d-1", "release": "r-1", "image": "host", "config": 1, "count": 1, "colour": colour, "state": "up",
                "commit": { "id": "c".repeat(40), "message": "Sell", "author": "Ada" },
                "since": 1, "epoch": 1, "turn": 1, "routed": true, "replaced_at": null, "sleepless": false, "instances": []
            });
            rows.environments.push(serde_json::from_value(environment).expect("an environment"));
        }
        let deployment = serde_json::json!({
            "id": "d-1", "request": 1, "kind": "push", "cause": "Git", "author": null, "commit": null, "image": null, "config": 1, "instances": 1,
            "release": null, "cached": false, "environment": "e-2", "phase": "live", "turn": 2, "since": 99_000, "times": { "queued": 1, "served": 100_000 }
        });
        rows.deployments.push(serde_json::from_value(deployment).expect("a deployment"));
        rows
    }

    /// Answers so far of Blue (1 ms each) and Green (4 ms each).
    fn look(at: u64, blue: u64, green: u64) -> Metrics {
        let served = |answers: u64, us: u64| {
            let mut counts = vec![0; bucket_of(us) + 1];
            counts[bucket_of(us)] = answers;
            let mut served = Served {
                answers: [0, answers, 0, 0, answers / 100],
                latency: Histogram::new(counts, 0),
                ..Served::default()
            };
            (served.traffic.refused, served.traffic.failed) = (answers / 50, answers / 100);
            served
        };
        let environments = [("e-1", served(blue, 1_000)), ("e-2", served(green, 4_000))];
        let environments = environments.map(|(id, served)| (id.parse().expect("legal"), served));
        Metrics { at: Time(at), since: Time(1), environments: environments.into(), ..Metrics::default() }
    }

    #[test]
    fn a_switch_is_reported_once_the_half_minute_after_it_is_over() {
        let mut looks: VecDeque<Metrics> =
            [(50_000, 0, 0), (60_000, 100, 0), (70_000, 200, 0), (105_000, 300, 50), (120_000, 300, 200)]
                .map(|(at, blue, green)| look(at, blue, green))
                .into();
        assert!(due(&rows(), &looks).is_empty(), "too early");
        looks.push_back(look(131_000, 300, 400));
        let (id, view) = due(&rows(), &looks).remove(0);
        assert_eq!((id.as_str(), view.span_s), ("d-1", 61.0));
        assert_eq!((view.requests, view.requests_new), (100 + 400 + 1 + 4, 404));
        assert_eq!((view.errors, view.failed, view.retried), (5, 5, 10));
        assert!(
            view.p99_before_ms.is_some_and(|ms| ms <= 1.1) && view.p99_after_ms.is_some_and(|ms| ms > 3.0)
        );
        let said = view.sentence();
        assert!(
            said.contains("505 requests in the 61 s around the switch, 404 by the new version")
                && said.contains("10 retried"),
            "{said}"
        );
    }

    #[test]
    fn whoever_was_not_there_reports_nothing() {
        let looks: VecDeque<Metrics> = [look(101_000, 0, 0), look(140_000, 10, 10)].into();
        assert!(due(&rows(), &looks).is_empty());
        let looks: VecDeque<Metrics> = [look(95_000, 0, 0), look(140_000, 10, 10)].into();
        assert_eq!(due(&rows(), &looks)[0].1.span_s, 45.0, "as far back as was looked");
    }
}
