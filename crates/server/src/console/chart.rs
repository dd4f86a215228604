//! Charts as SVG, drawn on the server: pure geometry. Blue and Green differ by more than their colour (Green is hatched, its lines are dashed).

use jiff::Timestamp;
use std::fmt::Write as _;
use teal_core::api::{MetricsView, PointView, SampleView};

/// The drawing's width and height, in its own units.
pub(crate) const WIDTH: f64 = 600.0;
pub(crate) const HEIGHT: f64 = 120.0;

/// One chart.
pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What it shows, in a sentence, for those who do not see it.
    pub(crate) description: String,
    /// The value at its upper edge.
    pub(crate) top: String,
    /// Blue's and Green's outline as the path of an area or a line; empty: there is none.
    pub(crate) blue: String,
    pub(crate) green: String,
    pub(crate) stacked: bool,
}

/// A deployment on the axis.
pub(crate) struct Mark {
    pub(crate) x: String,
    pub(crate) text: String,
    pub(crate) failed: bool,
}

/// What one chart shows.
struct Plan {
    id: &'static str,
    title: &'static str,
    stacked: bool,
    unit: &'static str,
    value: fn(&SampleView) -> Option<f64>,
}

fn whole(number: u64) -> f64 {
    teal_core::histogram::to_f64(number)
}

const PLANS: [Plan; 8] = [
    Plan {
        id: "requests",
        title: "Requests per second",
        stacked: true,
        unit: "/s",
        value: |s| Some(s.requests_per_s),
    },
    Plan {
        id: "errors",
        title: "Answers of 5xx per second",
        stacked: true,
        unit: "/s",
        value: |s| Some(s.errors_per_s),
    },
    Plan {
        id: "p99",
        title: "99 of 100 answers began within",
        stacked: false,
        unit: " ms",
        value: |s| s.p99_ms,
    },
    Plan {
        id: "p50",
        title: "Half of the answers began within",
        stacked: false,
        unit: " ms",
        value: |s| s.p50_ms,
    },
    Plan {
        id: "flight",
        title: "Requests in flight",
        stacked: false,
        unit: "",
        value: |s| Some(whole(s.in_flight)),
    },
    Plan {
        id: "websockets",
        title: "WebSockets",
        stacked: true,
        unit: "",
        value: |s| Some(whole(s.websockets)),
    },
    Plan {
        id: "cpu",
        title: "Processor per instance",
        stacked: false,
        unit: " % of a core",
        value: |s| s.cpu_milli.map(|milli| whole(milli) / 10.0),
    },
    Plan {
        id: "memory",
        title: "Memory per instance",
        stacked: false,
        unit: " MiB",
        value: |s| s.memory_bytes.map(|bytes| whole(bytes) / 1_048_576.0),
    },
];

/// Where an instant is on the axis, from 0 to [`WIDTH`].
struct Axis {
    from: f64,
    until: f64,
    step: f64,
}

impl Axis {
    fn of(view: &MetricsView) -> Option<Self> {
        let (from, until) = (millis(&view.from)?, millis(&view.until)?);
        (until > from).then_some(Self { from, until, step: whole(view.step_s) * 1000.0 })
    }

    fn x(&self, at: f64) -> f64 {
        ((at - self.from) / (self.until - self.from) * WIDTH).clamp(0.0, WIDTH)
    }
}

fn millis(at: &str) -> Option<f64> {
    let at: Timestamp = at.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(whole)
}

/// All charts of a window.
pub(crate) fn charts(view: &MetricsView) -> Vec<Chart> {
    let Some(axis) = Axis::of(view) else { return Vec::new() };
    PLANS.iter().map(|plan| chart(plan, view, &axis)).collect()
}

/// The deployments on the axis.
pub(crate) fn marks(view: &MetricsView) -> Vec<Mark> {
    let Some(axis) = Axis::of(view) else { return Vec::new() };
    let mark = |mark: &teal_core::api::MarkView| {
        let commit: String = mark.commit.iter().flat_map(|commit| commit.chars().take(7)).collect();
        let text = format!("{} {} {commit} {}", mark.at, mark.what, mark.message);
        Some(Mark { x: format!("{:.1}", axis.x(millis(&mark.at)?)), text, failed: mark.what == "failed" })
    };
    view.deployments.iter().filter_map(mark).collect()
}

fn chart(plan: &Plan, view: &MetricsView, axis: &Axis) -> Chart {
    let value = |sample: &Option<SampleView>| sample.as_ref().and_then(plan.value);
    let of = |point: &PointView| (value(&point.blue), value(&point.green));
    let steps: Vec<(f64, Option<f64>, Option<f64>)> = view
        .points
        .iter()
        .filter_map(|point| {
            let (blue, green) = of(point);
            Some((millis(&point.at)?, blue, green))
        })
        .collect();
    let most = steps.iter().fold(0.0_f64, |most, (_, blue, green)| {
        let (blue, green) = (blue.unwrap_or(0.0), green.unwrap_or(0.0));
        most.max(if plan.stacked { blue + green } else { blue.max(green) })
    });
    let top = ceiling(most);
    let y = |value: f64| HEIGHT - value / top * (HEIGHT - 4.0);
    let (blue, green) = if plan.stacked {
        let blue = area(&steps, axis, |_, blue, _| (y(0.0), blue.map(y)));
        let green = area(&steps, axis, |_, blue, green| {
            (y(blue.unwrap_or(0.0)), green.map(|g| y(blue.unwrap_or(0.0) + g)))
        });
        (blue, green)
    } else {
        (line(&steps, axis, |(_, blue, _)| blue.map(y)), line(&steps, axis, |(_, _, green)| green.map(y)))
    };
    Chart {
        id: plan.id,
        title: plan.title,
        description: describe(plan, &steps),
        top: format!("{}{}", number(top), plan.unit),
        blue,
        green,
        stacked: plan.stacked,
    }
}

type Step = (f64, Option<f64>, Option<f64>);

/// Bars without gaps between them: for each step the floor and the height that it has there, if it has one.
fn area(
    steps: &[Step],
    axis: &Axis,
    of: impl Fn(f64, Option<f64>, Option<f64>) -> (f64, Option<f64>),
) -> String {
    let mut path = String::new();
    for (at, blue, green) in steps {
        let (floor, Some(height)) = of(*at, *blue, *green) else { continue };
        if floor - height < 0.05 {
            continue;
        }
        let (left, right) = (axis.x(*at), axis.x(at + axis.step));
        // Writing to a string cannot fail.
        let _ = write!(path, "M{left:.1} {floor:.1}V{height:.1}H{right:.1}V{floor:.1}Z");
    }
    path
}

/// A line through the middles of steps; a step without a value interrupts it.
fn line(steps: &[Step], axis: &Axis, of: impl Fn(&Step) -> Option<f64>) -> String {
    let (mut path, mut last) = (String::new(), None);
    for step in steps {
        let Some(y) = of(step) else {
            last = None;
            continue;
        };
        let goes_on = last.is_some_and(|at: f64| step.0 - at < axis.step * 1.5);
        let x = axis.x(step.0 + axis.step / 2.0);
        // A point of its own is a short stroke, or it would not be seen.
        let _ = if goes_on { write!(path, "L{x:.1} {y:.1}") } else { write!(path, "M{x:.1} {y:.1}h.8") };
        last = Some(step.0);
    }
    path
}

/// The next of 1, 2, 5, 10 … that is not below it.
fn ceiling(most: f64) -> f64 {
    let mut top = 0.001;
    while top < most {
        for factor in [1.0, 2.0, 5.0] {
            if top * factor >= most {
                return top * factor;
            }
        }
        top *= 10.0;
    }
    if most == 0.0 { 1.0 } else { top }
}

/// With as many places as matter.
pub(crate) fn number(value: f64) -> String {
    let text = match value {
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn describe(plan: &Plan, steps: &[Step]) -> String {
    let most = |of: fn(&Step) -> Option<f64>| steps.iter().filter_map(of).reduce(f64::max);
    let say = |colour: &str, most: Option<f64>| match most {
        Some(most) => format!("{colour} had at most {}{}.", number(most), plan.unit),
        None => format!("{colour} had none."),
    };
    format!("{} {}", say("Blue", most(|step| step.1)), say("Green", most(|step| step.2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> MetricsView {
        let sample =
            |requests_per_s, p99_ms| Some(SampleView { requests_per_s, p99_ms, ..SampleView::default() });
        let point = |second: u32, blue, green| PointView {
            at: format!("2026-11-23T04:00:{second:02}.000Z"),
            blue,
            green,
        };
        MetricsView {
            app: "shop".into(),
            window: "hour".into(),
            from: "2026-11-23T04:00:00.000Z".into(),
            until: "2026-11-23T04:01:00.000Z".into(),
            step_s: 10,
            points: vec![
                point(0, sample(4.0, Some(8.0)), None),
                point(10, sample(2.0, Some(4.0)), sample(2.0, None)),
                point(30, None, sample(4.0, Some(2.0))),
            ],
            deployments: vec![teal_core::api::MarkView {
                at: "2026-11-23T04:00:15.000Z".into(),
                deployment: "d-1".parse().expect("legal"),
                what: "live".into(),
                commit: Some("c0ffee2b4d".into()),
                message: "Add <coupons>".into(),
            }],
        }
    }

    #[test]
    fn blue_turns_green() {
        let charts = charts(&view());
        let requests = &charts[0];
        assert_eq!((requests.top.as_str(), requests.stacked), ("5/s", true));
        assert_eq!(requests.blue, "M0.0 120.0V27.2H100.0V120.0ZM100.0 120.0V73.6H200.0V120.0Z");
        // Green stands on Blue where both are.
        assert_eq!(requests.green, "M100.0 73.6V27.2H200.0V73.6ZM300.0 120.0V27.2H400.0V120.0Z");
        assert_eq!(requests.description, "Blue had at most 4/s. Green had at most 4/s.");
    }

    #[test]
    fn lines_break_where_nothing_was_measured() {
        let charts = charts(&view());
        let p99 = charts.iter().find(|chart| chart.id == "p99").expect("there");
        assert_eq!((p99.top.as_str(), p99.blue.as_str()), ("10 ms", "M50.0 27.2h.8L150.0 73.6"));
        assert_eq!(p99.green, "M350.0 96.8h.8");
        let memory = charts.iter().find(|chart| chart.id == "memory").expect("there");
        assert_eq!(memory.description, "Blue had none. Green had none.");
    }

    #[test]
    fn deployments_are_on_the_axis() {
        let marks = marks(&view());
        assert_eq!((marks[0].x.as_str(), marks[0].failed), ("150.0", false));
        assert!(marks[0].text.contains("live c0ffee2 Add <coupons>"), "{}", marks[0].text);
    }

    #[test]
    fn edges_are_round_numbers() {
        for (most, top) in
            [(0.0, "1"), (0.003, "0.005"), (1.0, "1"), (1.2, "2"), (30.0, "50"), (501.0, "1000")]
        {
            assert_eq!(number(ceiling(most)), top, "{most}");
        }
    }
}
