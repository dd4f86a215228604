//! The page of an app's metrics: charts drawn on the server, and the same as a table.

use super::{
    chart::{self, Chart, Mark},
    pages::{Frame, html},
    visitor::{Refusal, Visitor},
};
use crate::api::{TheApp, Web};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Html,
};
use serde::Deserialize;
use teal_core::api::{MetricsView, SampleView};

/// Rows of the table: the newest.
const ROWS: usize = 60;

#[derive(Template)]
#[template(path = "metrics.html")]
pub(crate) struct MetricsPage {
    pub(crate) frame: Frame,
    pub(crate) now: Metrics,
}

/// The part of it that is drawn anew as time goes by.
#[derive(Template)]
#[template(path = "metrics_now.html")]
pub(crate) struct Metrics {
    pub(crate) app: String,
    pub(crate) window: String,
    pub(crate) windows: [&'static str; 3],
    pub(crate) charts: Vec<Chart>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) begin: String,
    pub(crate) end: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// What one place did in one step, in words.
pub(crate) struct Row {
    pub(crate) at: String,
    pub(crate) class: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) cells: [String; 9],
}

/// The page's words, from what the platform says. Pure.
pub(crate) fn metrics_of(view: MetricsView) -> Metrics {
    let (charts, marks) = (chart::charts(&view), chart::marks(&view));
    let mut rows = Vec::new();
    for point in view.points.iter().rev() {
        for (class, colour, sample) in [("blue", "Blue", &point.blue), ("green", "Green", &point.green)] {
            if let Some(sample) = sample {
                rows.push(Row { at: short(&point.at), class, colour, cells: cells(sample) });
            }
        }
    }
    rows.truncate(ROWS);
    Metrics {
        begin: short(&view.from),
        end: short(&view.until),
        app: view.app,
        window: view.window,
        windows: ["hour", "day", "week"],
        charts,
        marks,
        rows,
        width: chart::WIDTH,
        height: chart::HEIGHT,
    }
}

/// `23 Nov 04:05:06`, as all servers say it: in UTC.
fn short(at: &str) -> String {
    at.parse::<jiff::Timestamp>()
        .map_or_else(|_| at.to_owned(), |at| at.strftime("%-d %b %H:%M:%S").to_string())
}

fn cells(sample: &SampleView) -> [String; 9] {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "—".into(), |ms| format!("{} ms", chart::number(ms)));
    let or = |text: Option<String>| text.unwrap_or_else(|| "—".into());
    [
        chart::number(sample.requests_per_s),
        chart::number(sample.errors_per_s),
        ms(sample.p50_ms),
        ms(sample.p95_ms),
        ms(sample.p99_ms),
        sample.in_flight.to_string(),
        sample.websockets.to_string(),
        or(sample.cpu_milli.map(|milli| format!("{} %", milli / 10))),
        or(sample.memory_bytes.map(|bytes| format!("{} MiB", bytes / 1_048_576))),
    ]
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default = "hour")]
    window: String,
}

fn hour() -> String {
    "hour".into()
}

/// `/apps/{name}/metrics`.
pub(crate) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    Query(Asked { window }): Query<Asked>,
) -> Result<Html<String>, Refusal> {
    let now = metrics_of(web.platform.metrics(&app, &window).await?);
    Ok(html(&MetricsPage { frame: Frame::of(format!("{}: metrics", now.app), &visitor), now }))
}

/// The part of it that is drawn anew.
pub(crate) async fn page_now(
    State(web): State<Web>,
    _: Visitor,
    TheApp(app): TheApp,
    Query(Asked { window }): Query<Asked>,
) -> Result<Html<String>, Refusal> {
    Ok(html(&metrics_of(web.platform.metrics(&app, &window).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{assets, samples::checked};
    use askama::Template;
    use teal_core::api::{MarkView, PointView};

    /// An hour in which Blue served, both did for a moment, and Green does.
    fn hour() -> MetricsView {
        let begin: jiff::Timestamp = "2026-11-23T04:00:00Z".parse().expect("instant");
        let at = |step: u32| {
            let at =
                begin.checked_add(jiff::SignedDuration::from_secs(i64::from(step) * 10)).expect("in range");
            format!("{at:.3}")
        };
        let sample = |step: u32, share: f64| {
            let wave = (f64::from(step) / 20.0).sin() * 12.0 + 40.0;
            SampleView {
                requests_per_s: wave * share,
                errors_per_s: if step == 200 { 0.4 } else { 0.0 },
                p50_ms: Some(4.0 + share),
                p95_ms: Some(11.0),
                p99_ms: Some(12.0 + f64::from(step % 7)),
                in_flight: u64::from(step % 5),
                websockets: 3,
                instances: 1,
                cpu_milli: Some(180),
                memory_bytes: Some(96 << 20),
            }
        };
        let point = |step: u32| PointView {
            at: at(step),
            blue: (step < 201).then(|| sample(step, if step == 200 { 0.5 } else { 1.0 })),
            green: (step >= 200).then(|| sample(step, if step == 200 { 0.5 } else { 1.0 })),
        };
        let mark = |step: u32, what: &str, message: &str| MarkView {
            at: at(step),
            deployment: "d-1".parse().expect("legal"),
            what: what.into(),
            commit: Some("c0ffee2b4d".into()),
            message: message.into(),
        };
        MetricsView {
            app: "shop".into(),
            window: "hour".into(),
            from: at(0),
            until: at(360),
            step_s: 10,
            points: (0..360).map(point).collect(),
            deployments: vec![mark(120, "failed", "Break <b>it</b>"), mark(200, "live", "Add coupons")],
        }
    }

    #[test]
    fn the_switch_is_seen_read_and_heard() {
        let frame = Frame {
            title: "shop: metrics".into(),
            user: Some("ada".into()),
            csrf: "csrf-1".into(),
            assets: assets::base(),
        };
        let page = MetricsPage { frame, now: metrics_of(hour()) }.render().expect("renders");
        let page = checked("metrics", page);
        for part in [
            "role=\"img\" aria-labelledby=\"title-requests desc-requests\"",
            "class=\"area green\" fill=\"url(#hatch)\"",
            "class=\"line green\" stroke-dasharray",
            "Break &#60;b&#62;it&#60;/b&#62;",
            "class=\"mark-failed\"",
            "scope=\"col\">p95<",
            "</span>Green</td>",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<tr><td>").count(), ROWS, "a table is no book");
        assert_eq!(page.matches("role=\"img\"").count(), 8);
    }
}
