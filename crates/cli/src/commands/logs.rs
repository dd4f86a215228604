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
use std::time::Duration;
use teal_core::{api::LogView, id::DeploymentId};

/// Between two questions for new lines.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = "Without --deployment it is the live one's log; with --build the newest one's build.

Examples:
  teal logs shop -f
  teal logs shop --build
  teal logs shop --deployment d-01jx0000000000000000000000 --json")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    app: AppName,
    /// Go on with new lines as they are written.
    #[arg(long, short)]
    follow: bool,
    /// Only what the build wrote.
    #[arg(long)]
    build: bool,
    /// This deployment's log.
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// Only the last lines.
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<usize>,
}

/// Shows it.
pub(crate) fn run(context: &Context, args: LogsArgs) -> Result<()> {
    let (client, app) = (context.client()?, context.app(args.app.given())?);
    let deployment = match &args.deployment {
        Some(id) => id.clone(),
        None => choose(&client, &app, args.build)?,
    };
    let wanted = |line: &LogView| !args.build || line.stage == "build";
    let (mut after, mut lines) = (0, Vec::new());
    while let Some(more) = next(context, &client, &app, &deployment, &mut after)? {
        lines.extend(more.into_iter().filter(wanted));
        // All of it is needed only for the tail: otherwise lines go out as they come.
        if args.tail.is_none() {
            show(&context.out, std::mem::take(&mut lines))?;
        }
    }
    let skip = args.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    show(&context.out, lines.split_off(skip))?;
    if args.follow { follow(context, &client, &app, deployment, after, &args) } else { Ok(()) }
}

/// The deployment whose log is meant when none is named.
fn choose(client: &Client, app: &str, build: bool) -> Result<DeploymentId> {
    let status = client.status(app)?;
    let live = status.live.map(|live| live.deployment).filter(|_| !build);
    let newest = || client.activity(app, 1).map(|rows| rows.into_iter().next().map(|row| row.deployment));
    match live {
        Some(id) => Ok(id),
        None => newest()?.ok_or_else(|| {
            Error::new(Kind::Refused, format!("{app} has no log: nothing was deployed yet"))
                .hint("push a commit first (`teal deploy`)")
        }),
    }
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

/// New lines as they come. Follows the app: when another deployment goes live, its log goes on.
fn follow(
    context: &Context,
    client: &Client,
    app: &str,
    mut id: DeploymentId,
    mut after: u64,
    args: &LogsArgs,
) -> Result<()> {
    loop {
        if let Some(lines) = next(context, client, app, &id, &mut after)? {
            let wanted = |line: &LogView| !args.build || line.stage == "build";
            show(&context.out, lines.into_iter().filter(wanted).collect())?;
            continue;
        }
        std::thread::sleep(PAUSE);
        if args.deployment.is_none() {
            let now = choose(client, app, args.build).unwrap_or_else(|_| id.clone());
            if now != id {
                context.out.say(format!("— {now}"));
                (id, after) = (now, 0);
            }
        }
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
