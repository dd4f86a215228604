//! `teal top`: what moves through each app, by environment, every second. It asks the server, which looks at the router for a second: nothing here counts.

use crate::{
    client::Client,
    context::Context,
    error::{Error, Kind, Result},
    out::harmless,
    text,
};
use clap::Args;
use serde::Serialize;
use std::time::Duration;
use teal_core::traffic::TrafficView;

/// While the server is away: how long until it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(
    after_help = "Rates and percentiles are of the last second; latency ends when an answer begins. On a terminal the table is drawn anew each second until Ctrl-C; elsewhere, or with --once, it is printed once. With --json there is one object per line and second.

Examples:
  teal top
  teal top shop
  teal top shop --once
  teal top --json | jq -c '.environments[] | {app, colour, requests_per_s, p99_ms}'"
)]
pub(crate) struct TopArgs {
    /// The app [default: all].
    #[arg(value_name = "APP")]
    app: Option<String>,
    /// Look for one second, print it, and end.
    #[arg(long)]
    once: bool,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Second {
    environments: Vec<TrafficView>,
}

/// Shows it until it is interrupted, or once.
pub(crate) fn run(context: &Context, args: TopArgs) -> Result<()> {
    let (client, app) = (context.client()?, args.app.as_deref());
    if args.once || !(context.out.is_json() || context.out.is_live()) {
        let second = Second { environments: client.traffic(app)? };
        return context.out.stream(&second, |_| table(&second.environments));
    }
    if context.out.is_json() {
        loop {
            context.out.stream(&Second { environments: client.traffic(app)? }, |_| String::new())?;
        }
    }
    let mut drawn = 0;
    loop {
        drawn = context.out.redraw(drawn, &screen(&client, app)?)?;
    }
}

/// The next screen; a server that is away for a moment is said and waited for.
fn screen(client: &Client, app: Option<&str>) -> Result<String> {
    match client.traffic(app) {
        Ok(views) => Ok(table(&views)),
        Err(error) if may_pass(&error) => {
            std::thread::sleep(PAUSE);
            Ok(format!("{}\nAsked again each second; Ctrl-C ends this.", error.message))
        }
        Err(error) => Err(error),
    }
}

fn may_pass(error: &Error) -> bool {
    error.kind == Kind::Unreachable
}

const HEAD: [&str; 12] =
    ["APP", "COLOUR", "ROLE", "REQ/S", "4XX/S", "5XX/S", "P50", "P99", "IN FLIGHT", "WS", "IN/S", "OUT/S"];

/// One row per environment.
fn table(views: &[TrafficView]) -> String {
    if views.is_empty() {
        return "Nothing is in the router's table yet. `teal deploy` pushes this checkout.".into();
    }
    let rows: Vec<_> = views.iter().map(row).collect();
    text::table(&HEAD, &rows)
}

fn row(view: &TrafficView) -> Vec<String> {
    let rates = &view.rates;
    vec![
        harmless(&view.app),
        view.colour.word().into(),
        harmless(&view.role),
        rate(rates.requests_per_s),
        rate(rates.client_errors_per_s),
        rate(rates.server_errors_per_s),
        span(rates.p50_ms),
        span(rates.p99_ms),
        rates.in_flight.to_string(),
        rates.websockets.to_string(),
        bytes(rates.bytes_in_per_s),
        bytes(rates.bytes_out_per_s),
    ]
}

/// With one decimal where it matters.
fn rate(value: f64) -> String {
    if value > 0.0 && value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn span(ms: Option<f64>) -> String {
    match ms {
        None => "—".into(),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

fn bytes(per_s: f64) -> String {
    let units = ["B", "kB", "MB", "GB"];
    let (mut value, mut unit) = (per_s, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let number = if unit == 0 { format!("{value:.0}") } else { rate(value) };
    format!("{number} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::{route::Colour, traffic::Rates};

    #[test]
    fn a_row_says_what_moves() {
        let rates = Rates {
            requests_per_s: 1234.4,
            client_errors_per_s: 0.5,
            p50_ms: Some(1.24),
            p99_ms: Some(1500.0),
            bytes_out_per_s: 2_345_000.0,
            in_flight: 7,
            websockets: 2,
            ..Rates::default()
        };
        let environment = "e-1".parse().expect("legal");
        let view = TrafficView {
            app: "shop\u{1b}[2J".into(),
            environment,
            colour: Colour::Green,
            role: "live".into(),
            commit: "c".repeat(40),
            rates,
        };
        let expected = "\
APP   COLOUR  ROLE  REQ/S  4XX/S  5XX/S  P50     P99    IN FLIGHT  WS  IN/S  OUT/S
shop  green   live  1234   0.5    0      1.2 ms  1.5 s  7          2   0 B   2.3 MB";
        assert_eq!(table(&[view]), expected);
    }

    #[test]
    fn numbers_are_short_in_every_size() {
        assert_eq!([0.0, 0.04, 9.94, 9.96, 99_999.6].map(rate), ["0", "0.0", "9.9", "10", "100000"]);
        assert_eq!(
            [0.0, 999.0, 1000.0, 15_000_000.0, 2e15].map(bytes),
            ["0 B", "999 B", "1.0 kB", "15 MB", "2000000 GB"]
        );
        assert_eq!([None, Some(0.064), Some(48.0), Some(999.6)].map(span), ["—", "0.1 ms", "48 ms", "1.0 s"]);
    }
}
