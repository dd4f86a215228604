//! `teal logs`: what an app, its builds and its deployments wrote. Follows with questions after the last line seen, so nothing is lost or doubled.

use super::wait::patient;
use crate::{
    cli::AppName,
    client::Client,
    context::Context,
    error::{Error, Kind, Result},
    out::{Out, Paint, harmless},
};
use clap::Args;
use jiff::Timestamp;
use std::time::Duration;
use teal_core::{
    api::{DeploymentView, LogView},
    id::DeploymentId,
};

/// Between two questions for new lines.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(
    after_help = "Without --deployment it is what the live version wrote; with --build the newest build.

Examples:
  teal logs shop -f
  teal logs shop --build
  teal logs shop --since 10m --grep error
  teal logs shop --deployment d-01jx0000000000000000000000 --json"
)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    app: AppName,
    /// Go on with new lines as they are written.
    #[arg(long, short)]
    follow: bool,
    /// Only what was written before the start: the build.
    #[arg(long)]
    build: bool,
    /// This deployment's log.
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// Only the last lines.
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<usize>,
    /// Only lines since then: a span such as 30s, 10m, 2h or 1d, or an instant such as 2026-11-23T21:00:00Z.
    #[arg(long, value_name = "SPAN|INSTANT", value_parser = since)]
    since: Option<Timestamp>,
    /// Only lines with this text, in whatever case.
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

/// Which lines of a log are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Filter {
    since: Option<Timestamp>,
    /// In lower case.
    text: Option<String>,
}

impl Filter {
    fn shows(&self, line: &LogView) -> bool {
        // An instant that cannot be read is shown rather than lost.
        let old = |since: &Timestamp| line.at.parse::<Timestamp>().is_ok_and(|at| at < *since);
        let has = |text: &String| {
            line.text.to_lowercase().contains(text) || line.stage.to_lowercase().contains(text)
        };
        !self.since.as_ref().is_some_and(old) && self.text.as_ref().is_none_or(has)
    }
}

fn since(text: &str) -> std::result::Result<Timestamp, String> {
    instant(text, Timestamp::now())
}

/// `10m` before now, or the instant itself.
fn instant(text: &str, now: Timestamp) -> std::result::Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let unknown =
        || "give a span such as 30s, 10m, 2h or 1d, or an instant such as 2026-11-23T21:00:00Z".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(unknown()),
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|n| *n >= 0).ok_or_else(unknown)?;
    let span = count.checked_mul(unit).map(jiff::SignedDuration::from_secs).ok_or_else(unknown)?;
    now.checked_sub(span).map_err(|_| unknown())
}

/// A log, and up to when it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    deployment: DeploymentId,
    /// The first instant that is no longer of interest; instants of one form sort as texts.
    before: Option<String>,
}

impl Wanted {
    fn is(&self, line: &LogView) -> bool {
        self.before.as_ref().is_none_or(|before| line.at < *before)
    }
}

/// Shows it.
pub(crate) fn run(context: &Context, args: LogsArgs) -> Result<()> {
    let (client, app) = (context.client()?, context.app(args.app.given())?);
    let wanted = choose(&client, &app, &args)?;
    let filter = Filter { since: args.since, text: args.grep.as_ref().map(|text| text.to_lowercase()) };
    let (mut after, mut lines) = (0, Vec::new());
    while let Some(more) = next(context, &client, &app, &wanted.deployment, &mut after)? {
        lines.extend(more.into_iter().filter(|line| wanted.is(line) && filter.shows(line)));
        // All of it is needed only for the tail: otherwise lines go out as they come.
        if args.tail.is_none() {
            show(&context.out, std::mem::take(&mut lines))?;
        }
    }
    let skip = args.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    show(&context.out, lines.split_off(skip))?;
    if args.follow { follow(context, &client, &app, (wanted, filter), after, &args) } else { Ok(()) }
}

/// The log that is meant.
fn choose(client: &Client, app: &str, args: &LogsArgs) -> Result<Wanted> {
    let whole = |deployment| Wanted { deployment, before: None };
    if args.build {
        return build(client, app, args.deployment.as_ref());
    }
    if let Some(id) = &args.deployment {
        return Ok(whole(id.clone()));
    }
    let live = client.status(app)?.live;
    // What an environment writes goes to the log of the deployment that made it, also after a wake of it.
    let made = live.and_then(|live| live.environment.as_str().replacen("e-", "d-", 1).parse().ok());
    match made {
        Some(id) => Ok(whole(id)),
        None => client
            .activity(app, 1)?
            .into_iter()
            .next()
            .map(|row| whole(row.deployment))
            .ok_or_else(|| nothing(app)),
    }
}

/// What a deployment wrote until its instances were started: the named one, or the newest one that built something.
fn build(client: &Client, app: &str, named: Option<&DeploymentId>) -> Result<Wanted> {
    let rows = match named {
        Some(id) => vec![client.deployment(app, id)?],
        None => client.activity(app, 1000)?,
    };
    let at =
        |row: &DeploymentView, name: &str| row.phases.iter().find(|p| p.phase == name).map(|p| p.at.clone());
    let built = rows.into_iter().find(|row| at(row, "building").is_some() || named.is_some());
    built
        .map(|row| Wanted { before: at(&row, "starting"), deployment: row.deployment })
        .ok_or_else(|| nothing(app))
}

fn nothing(app: &str) -> Error {
    Error::new(Kind::Refused, format!("{app} has no such log: nothing was deployed yet"))
        .hint("push a commit first (`teal deploy`)")
}

fn next(
    context: &Context,
    client: &Client,
    app: &str,
    id: &DeploymentId,
    after: &mut u64,
) -> Result<Option<Vec<LogView>>> {
    let mut progress = context.out.progress();
    let lines = patient(&mut progress, || client.log(app, id, *after))?;
    let Some(last) = lines.last() else { return Ok(None) };
    *after = last.number;
    Ok(Some(lines))
}

/// New lines as they come. Follows the app: when another environment goes live, its log goes on.
fn follow(
    context: &Context,
    client: &Client,
    app: &str,
    (mut wanted, filter): (Wanted, Filter),
    mut after: u64,
    args: &LogsArgs,
) -> Result<()> {
    loop {
        if let Some(lines) = next(context, client, app, &wanted.deployment, &mut after)? {
            show(
                &context.out,
                lines.into_iter().filter(|line| wanted.is(line) && filter.shows(line)).collect(),
            )?;
            continue;
        }
        std::thread::sleep(PAUSE);
        if args.deployment.is_some() {
            continue;
        }
        let now = choose(client, app, args).unwrap_or_else(|_| wanted.clone());
        if now.deployment != wanted.deployment {
            context.out.say(format!("— {}", now.deployment));
            after = 0;
        }
        wanted = now;
    }
}

fn show(out: &Out, lines: Vec<LogView>) -> Result<()> {
    for line in lines {
        out.stream(&line, |out| {
            let head = format!("{} {:>7}", clock(&line.at), harmless(&line.stage));
            format!("{} {}", out.paint(Paint::Dim, head), harmless(&line.text))
        })?;
    }
    Ok(())
}

/// The time of day, UTC, of an RFC 3339 instant.
fn clock(at: &str) -> String {
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    harmless(time.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_span_counts_from_now_and_an_instant_is_itself() {
        let now = at("2026-11-23T21:30:00Z");
        for (text, expected) in [
            ("30s", "2026-11-23T21:29:30Z"),
            ("10m", "2026-11-23T21:20:00Z"),
            ("2h", "2026-11-23T19:30:00Z"),
            ("1d", "2026-11-22T21:30:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(instant(text, now), Ok(at(expected)), "{text}");
        }
        for wrong in ["", "m", "-1m", "10", "10 weeks", "99999999999999999d", "é"] {
            assert!(instant(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_are_chosen_by_time_and_by_text() {
        let line = |at: &str, text: &str| LogView {
            number: 1,
            at: at.into(),
            stage: "worker".into(),
            text: text.into(),
        };
        let filter = Filter { since: Some(at("2026-11-23T21:30:00Z")), text: Some("error".into()) };
        assert!(filter.shows(&line("2026-11-23T21:30:00.001Z", "an ERROR")));
        assert!(!filter.shows(&line("2026-11-23T21:29:59.999Z", "an error")));
        assert!(!filter.shows(&line("2026-11-23T21:31:00Z", "fine")));
        assert!(filter.shows(&line("?", "error")), "rather shown than lost");
        assert!(Filter { text: Some("worker".into()), since: None }.shows(&line("?", "x")), "stages count");
    }
}
