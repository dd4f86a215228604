//! Metrics over time as users see them: steps with rates and percentiles, and the deployments among them.

use super::{Error, Platform, Result};
use crate::{log::rfc3339, world::now};
use std::collections::BTreeMap;
use teal_core::{
    api::{DeploymentView, MarkView, MetricsView, PointView, SampleView, SwitchView},
    deploy::{Deployment, End, Phase},
    histogram::to_f64,
    id::AppId,
    route::Colour,
    sample::{Sample, Sampled, Window},
    time::Time,
};

/// The newest deployments that are looked at for marks, and the most marks.
const MARKS: u32 = 300;

impl Platform {
    /// What the app did during a window that ends now.
    ///
    /// # Errors
    /// If there is no such app, or no such window.
    pub async fn metrics(&self, app: &AppId, window: &str) -> Result<MetricsView> {
        let window: Window = window
            .parse()
            .map_err(|why: String| Error::invalid(format!("the window {why}"), "say window=hour"))?;
        let (name, now) = (self.rows(app).await?.app.name, now());
        let steps = self.store().samples(app, window, now).await?;
        let deployments = self.store().deployments(app, MARKS).await?;
        Ok(view(name, window, now, &steps, &deployments))
    }

    /// Adds what users noticed of its switch to a deployment.
    pub(super) async fn with_switches(
        &self,
        app: &AppId,
        mut views: Vec<DeploymentView>,
    ) -> Result<Vec<DeploymentView>> {
        let limit = u32::try_from(views.len()).unwrap_or(u32::MAX);
        let mut switches: BTreeMap<String, SwitchView> =
            self.store().switches(app, limit).await?.into_iter().collect();
        for view in &mut views {
            view.switch = switches.remove(view.deployment.as_str());
        }
        Ok(views)
    }
}

fn view(
    app: String,
    window: Window,
    now: Time,
    steps: &[(Time, Sampled)],
    deployments: &[Deployment],
) -> MetricsView {
    let until = (now.0 / window.step_ms() + 1) * window.step_ms();
    let from = Time(until.saturating_sub(window.step_ms() * window.steps()));
    let mut marks: Vec<(Time, MarkView)> =
        deployments.iter().filter_map(mark).filter(|(at, _)| *at >= from).collect();
    marks.sort_by_key(|(at, _)| *at);
    MetricsView {
        app,
        window: window.word().into(),
        from: rfc3339(from),
        until: rfc3339(Time(until)),
        step_s: window.step_ms() / 1000,
        points: steps.iter().map(point).collect(),
        deployments: marks.into_iter().map(|(_, mark)| mark).collect(),
    }
}

fn point((at, sampled): &(Time, Sampled)) -> PointView {
    let of = |colour| sampled.get(&colour).map(sample);
    PointView { at: rfc3339(*at), blue: of(Colour::Blue), green: of(Colour::Green) }
}

fn sample(sample: &Sample) -> SampleView {
    let span_s = to_f64(sample.span_ms.max(1)) / 1000.0;
    // To the thousandth: more is noise, and much to send.
    let rate = |count: u64| (to_f64(count) / span_s * 1000.0).round() / 1000.0;
    let ms = |share| sample.latency.quantile_us(share).map(|us| us.round() / 1000.0);
    let each = |all: u64| (sample.memory > 0).then(|| all / sample.instances.max(1));
    SampleView {
        requests_per_s: rate(sample.answers),
        errors_per_s: rate(sample.errors),
        p50_ms: ms(0.5),
        p95_ms: ms(0.95),
        p99_ms: ms(0.99),
        in_flight: sample.in_flight,
        websockets: sample.websockets,
        instances: sample.instances,
        cpu_milli: each(sample.cpu_us / sample.span_ms.max(1)),
        memory_bytes: each(sample.memory),
    }
}

/// When a deployment went live, or failed.
fn mark(deployment: &Deployment) -> Option<(Time, MarkView)> {
    let failed = matches!(deployment.phase, Phase::Ended { end: End::Failed { .. } });
    let (at, what) = match deployment.times.served {
        Some(served) => (served, "live"),
        None => (deployment.times.ended.filter(|_| failed)?, "failed"),
    };
    let commit = deployment.commit.as_ref();
    let view = MarkView {
        at: rfc3339(at),
        deployment: deployment.id.clone(),
        what: what.into(),
        commit: commit.map(|commit| commit.id.clone()),
        message: commit.map(|commit| commit.message.clone()).unwrap_or_default(),
    };
    Some((at, view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_what_was_seen_and_use_is_per_instance() {
        let seen = Sample {
            span_ms: 5_000,
            answers: 50,
            errors: 1,
            cpu_us: 5_000_000,
            memory: 300,
            instances: 2,
            ..Sample::default()
        };
        let view = sample(&seen);
        assert_eq!((view.requests_per_s, view.errors_per_s, view.p99_ms), (10.0, 0.2, None));
        assert_eq!((view.cpu_milli, view.memory_bytes), (Some(500), Some(150)));
        assert_eq!(sample(&Sample { memory: 0, ..seen }).cpu_milli, None, "nobody could tell");
    }

    #[test]
    fn the_window_ends_with_the_step_that_goes_on() {
        let view = view("shop".into(), Window::Hour, Time(3_600_000 * 10 + 5), &[], &[]);
        assert_eq!(
            (view.from.as_str(), view.until.as_str()),
            ("1970-01-01T09:00:10.000Z", "1970-01-01T10:00:10.000Z")
        );
    }
}
