//! `teal metrics`: what an app did over the last hour, day or week, by colour. The server keeps it; nothing here counts.

use crate::{cli::AppName, context::Context, error::Result, out::harmless, text};
use clap::Args;
use std::str::FromStr;
use teal_core::{
    api::{MarkView, MetricsView, SampleView},
    sample::Window,
};

#[derive(Debug, Args)]
#[command(
    after_help = "An hour is kept by 10 s, a day by 2 min, a week by 15 min. CPU (of one core) and memory are per instance. All of the window is in --json, and drawn in the console.

Examples:
  teal metrics shop
  teal metrics shop --window day --last 60
  teal metrics shop --json | jq -r '.points[] | [.at, .blue.requests_per_s, .green.requests_per_s] | @tsv'"
)]
pub(crate) struct MetricsArgs {
    #[command(flatten)]
    app: AppName,
    /// `hour`, `day` or `week`.
    #[arg(long, short = 'w', value_name = "WINDOW", default_value = "hour", value_parser = Window::from_str)]
    window: Window,
    /// How many of the newest steps are shown.
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: u32,
}

/// Shows it.
pub(crate) fn run(context: &Context, args: MetricsArgs) -> Result<()> {
    let view = context.client()?.metrics(&context.app(args.app.given())?, args.window.word())?;
    context.out.show(&view, |_| table(&view, args.last as usize))
}

const HEAD: [&str; 11] =
    ["FROM (UTC)", "COLOUR", "REQ/S", "5XX/S", "P50", "P95", "P99", "IN FLIGHT", "WS", "CPU", "MEMORY"];

fn table(view: &MetricsView, last: usize) -> String {
    if view.points.is_empty() {
        return "Nothing was seen in this window yet. The first look is ten seconds after the server's start, and needs a router.".into();
    }
    let shown = &view.points[view.points.len().saturating_sub(last)..];
    let since = shown.first().map_or("", |point| point.at.as_str());
    let mut marks = view.deployments.iter().filter(|mark| mark.at.as_str() >= since).peekable();
    let mut rows = Vec::new();
    for point in shown {
        // Both are RFC 3339 in UTC with milliseconds: as texts they sort like the instants.
        while let Some(mark) = marks.next_if(|mark| mark.at <= point.at) {
            rows.push(mark_row(mark));
        }
        for (colour, sample) in [("blue", &point.blue), ("green", &point.green)] {
            rows.extend(sample.as_ref().map(|sample| row(&point.at, colour, sample)));
        }
    }
    rows.extend(marks.map(mark_row));
    text::table(&HEAD, &rows)
}

/// `2026-11-23 04:05:06`.
fn instant(at: &str) -> String {
    harmless(at).chars().take(19).collect::<String>().replace('T', " ")
}

fn row(at: &str, colour: &str, sample: &SampleView) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "—".into(), |ms| format!("{ms:.1} ms"));
    let or = |text: Option<String>| text.unwrap_or_else(|| "—".into());
    vec![
        instant(at),
        colour.into(),
        format!("{:.1}", sample.requests_per_s),
        format!("{:.1}", sample.errors_per_s),
        ms(sample.p50_ms),
        ms(sample.p95_ms),
        ms(sample.p99_ms),
        sample.in_flight.to_string(),
        sample.websockets.to_string(),
        or(sample.cpu_milli.map(|milli| format!("{} %", milli / 10))),
        or(sample.memory_bytes.map(|bytes| format!("{} MiB", bytes / 1_048_576))),
    ]
}

fn mark_row(mark: &MarkView) -> Vec<String> {
    let commit = mark.commit.as_deref().map(text::short).unwrap_or_default();
    vec![instant(&mark.at), format!("— {} {commit} {}", harmless(&mark.what), harmless(&mark.message))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::api::PointView;

    #[test]
    fn deployments_stand_between_the_steps() {
        let sample = SampleView {
            requests_per_s: 4.25,
            p99_ms: Some(12.04),
            cpu_milli: Some(155),
            ..SampleView::default()
        };
        let point = |at: &str, green: bool| PointView {
            at: at.into(),
            blue: (!green).then(|| sample.clone()),
            green: green.then(|| sample.clone()),
        };
        let mark = |at: &str, what: &str| MarkView {
            at: at.into(),
            deployment: "d-1".parse().expect("legal"),
            what: what.into(),
            commit: Some("c0ffee2b4d".into()),
            message: "Sell\u{1b}[2J".into(),
        };
        let view = MetricsView {
            app: "shop".into(),
            window: "hour".into(),
            from: String::new(),
            until: String::new(),
            step_s: 10,
            points: ["04:00:00", "04:00:10", "04:00:20"]
                .map(|at| point(&format!("2026-11-23T{at}.000Z"), at > "04:00:10"))
                .into(),
            deployments: vec![
                mark("2026-11-23T03:00:00.000Z", "live"),
                mark("2026-11-23T04:00:15.000Z", "live"),
            ],
        };
        let shown = table(&view, 2);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "{shown}");
        assert!(
            lines[1].contains("blue") && lines[1].contains("12.0 ms") && lines[1].contains("15 %"),
            "{shown}"
        );
        assert!(lines[2].contains("— live c0ffee2 Sell") && lines[3].contains("green"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
