//! `teal maintenance`: apps that move to a newer image, a few at a time. Shows how far it is; starts, resumes and ends it; pins apps.

use crate::{
    cli::AppName,
    client::Client,
    context::Context,
    error::{Error, Kind, Result},
    out::{Out, Paint, harmless},
    text,
};
use clap::{Args, Subcommand};
use std::time::Duration;
use teal_core::api::{
    MaintenanceAction, MaintenanceView, PackageView, PatchView, RolloutAppView, RolloutView,
};

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(1);
/// Packages that a person is shown; `--json` has all.
const PACKAGES: usize = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Show the image, how it is kept patched, the window, and how far the rollout is.
    Status(StatusArgs),
    /// Move every app that is on another image now, without waiting for the window.
    Start(OrderArgs),
    /// Go on after a halt; the apps that failed stay on their image.
    Resume(OrderArgs),
    /// End the rollout: what is under way goes on to its verdict, nobody else begins.
    #[command(after_help = "Example:\n  teal maintenance abort")]
    Abort,
    /// Leave an app alone until a date.
    Pin(PinArgs),
    /// Let maintenance move an app again.
    #[command(after_help = "Example:\n  teal maintenance unpin shop")]
    Unpin(AppName),
}

#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal --watch draws it anew each second; elsewhere it prints a line for each change. It ends with the rollout: with 0 if every app moved or
was left, with 1 if one failed or the rollout halted or was ended. With --json there is one object per change and line.

Examples:
  teal maintenance status
  teal maintenance status --watch
  teal maintenance status --json | jq '.rollout.apps[] | select(.state == \"failed\")'"
)]
pub(crate) struct StatusArgs {
    /// Follow it until the rollout is over.
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  teal maintenance start\n  teal maintenance start --watch\n  teal maintenance resume --watch"
)]
pub(crate) struct OrderArgs {
    /// Follow it until the rollout is over.
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal maintenance pin shop --until 2026-12-24")]
pub(crate) struct PinArgs {
    #[command(flatten)]
    app: AppName,
    /// A date (its beginning, UTC) or an instant (RFC 3339), at most a year ahead.
    #[arg(long, value_name = "DATE")]
    until: String,
}

/// Does it.
pub(crate) fn run(context: &Context, command: MaintenanceCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        MaintenanceCommand::Status(args) if args.watch => watch(context, &client),
        MaintenanceCommand::Status(_) => show(context, &client.maintenance()?),
        MaintenanceCommand::Start(args) => order(context, &client, MaintenanceAction::Start, args.watch),
        MaintenanceCommand::Resume(args) => order(context, &client, MaintenanceAction::Resume, args.watch),
        MaintenanceCommand::Abort => order(context, &client, MaintenanceAction::Abort, false),
        MaintenanceCommand::Pin(args) => {
            let pin = client.pin(&context.app(args.app.given())?, &args.until)?;
            let line = format!("{} is left alone until {}.", harmless(&pin.app), harmless(&pin.until));
            context.out.show(&pin, |_| line)
        }
        MaintenanceCommand::Unpin(app) => {
            let answer = client.unpin(&context.app(app.given())?)?;
            context.out.show(&answer, |_| harmless(&answer.message))
        }
    }
}

fn order(context: &Context, client: &Client, action: MaintenanceAction, follow: bool) -> Result<()> {
    let view = client.maintain(action)?;
    if follow { watch(context, client) } else { show(context, &view) }
}

fn show(context: &Context, view: &MaintenanceView) -> Result<()> {
    context.out.show(view, |out| screen(out, view))
}

/// Follows the rollout; a server that is away for a moment is waited for.
fn watch(context: &Context, client: &Client) -> Result<()> {
    let (mut drawn, mut last) = (0, None);
    loop {
        match client.maintenance() {
            Ok(view) => {
                if context.out.is_live() {
                    drawn = context.out.redraw(drawn, &screen(&context.out, &view))?;
                } else if last.as_ref() != Some(&view) {
                    context.out.stream(&view, |_| line(&view))?;
                }
                if is_over(&view) {
                    return outcome(&view);
                }
                last = Some(view);
            }
            Err(error) if error.kind == Kind::Unreachable => {
                context.out.say("the server is away; the rollout goes on when it is back");
            }
            Err(error) => return Err(error),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Nothing will happen any more without a person.
fn is_over(view: &MaintenanceView) -> bool {
    view.rollout.as_ref().is_none_or(|rollout| rollout.state != "running" && rollout.under_way == 0)
}

fn outcome(view: &MaintenanceView) -> Result<()> {
    let Some(rollout) = &view.rollout else { return Ok(()) };
    if rollout.state == "done" && rollout.failed == 0 {
        return Ok(());
    }
    let message = format!(
        "the rollout is {}: {} of {} apps failed",
        harmless(&rollout.state),
        rollout.failed,
        rollout.apps.len()
    );
    let hint = match rollout.state.as_str() {
        "halted" => "look at what failed (`teal activity APP`), then `teal maintenance resume` or `abort`",
        _ => "`teal activity APP` says why; what failed stays on its image and serves as before",
    };
    Err(Error::new(Kind::Verdict, message).hint(hint))
}

/// Everything, for people.
fn screen(out: &Out, view: &MaintenanceView) -> String {
    let opens = view.window_opens_at.as_deref().map(|at| format!(", opens {}", text::age(at)));
    let mut lines = vec![
        format!("image    {}", harmless(&view.image)),
        format!("patches  {}", patches(out, &view.check)),
        format!("window   {}{}", harmless(&view.window), opens.unwrap_or_default()),
        format!("behind   {}", view.behind),
    ];
    for pin in &view.pins {
        lines.push(format!("pinned   {} until {}", harmless(&pin.app), harmless(&pin.until)));
    }
    match &view.rollout {
        Some(rollout) => lines.extend(rollout_lines(out, rollout)),
        None => lines.push("No app was moved yet.".into()),
    }
    lines.join("\n")
}

/// `daily · a rebuilt image would be the same, asked 3 h ago · next in 17 h`
fn patches(out: &Out, check: &PatchView) -> String {
    let paint = match check.state.as_str() {
        "failed" => Paint::Bad,
        "differs" | "building" => Paint::Warn,
        _ => Paint::Dim,
    };
    let when = |before: &str, at: &Option<String>| {
        at.as_deref().map(|at| format!("{before}{}", text::age(at))).unwrap_or_default()
    };
    let detail = out.paint(paint, harmless(&check.detail));
    let (last, next) = (when(", asked ", &check.last_at), when(" · next ", &check.next_at));
    format!("{} · {detail}{last}{next}", harmless(&check.every))
}

fn rollout_lines(out: &Out, rollout: &RolloutView) -> Vec<String> {
    let paint = match rollout.state.as_str() {
        "done" if rollout.failed == 0 => Paint::Good,
        "halted" => Paint::Bad,
        "running" => Paint::Bold,
        _ => Paint::Warn,
    };
    let why = rollout.why.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
    let state = out.paint(paint, harmless(&rollout.state));
    let mut lines = vec![
        String::new(),
        format!("rollout  {} · {state}{why}", harmless(&rollout.image)),
        format!("         {} · began {}", counts(rollout), text::age(&rollout.started_at)),
    ];
    if !rollout.changes.is_empty() {
        let named: Vec<String> = rollout.changes.iter().take(PACKAGES).map(package).collect();
        let more = rollout.changes.len().saturating_sub(PACKAGES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let count = rollout.changes.len();
        lines.push(format!(
            "         {count} packages, {} for security: {}{more}",
            rollout.security,
            named.join(", ")
        ));
    }
    if !rollout.apps.is_empty() {
        lines.push(String::new());
        let rows: Vec<_> = rollout.apps.iter().map(row).collect();
        lines.push(text::table(&["APP", "STATE", "FROM", "DEPLOYMENT"], &rows));
    }
    lines
}

fn counts(rollout: &RolloutView) -> String {
    format!(
        "{} moved, {} failed, {} left, {} under way, {} waiting",
        rollout.moved, rollout.failed, rollout.left, rollout.under_way, rollout.waiting
    )
}

fn package(view: &PackageView) -> String {
    let security = if view.security { " (security)" } else { "" };
    let text = match (&view.from, &view.to) {
        (Some(from), Some(to)) => format!("{} {from} → {to}{security}", view.package),
        (None, Some(to)) => format!("{} {to} is new{security}", view.package),
        (_, None) => format!("{} is gone", view.package),
    };
    harmless(&text)
}

fn row(app: &RolloutAppView) -> Vec<String> {
    let last = app.deployment.as_ref().map(ToString::to_string).or_else(|| app.why.clone());
    vec![harmless(&app.app), harmless(&app.state), harmless(&app.from), harmless(&last.unwrap_or_default())]
}

/// One line, where no terminal reads.
fn line(view: &MaintenanceView) -> String {
    view.rollout.as_ref().map_or_else(
        || "No app was moved yet.".into(),
        |rollout| format!("{} {}: {}", harmless(&rollout.image), harmless(&rollout.state), counts(rollout)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, failed: u32, under_way: u32) -> MaintenanceView {
        let app = RolloutAppView {
            app: "shop\u{1b}[2J".into(),
            from: "host".into(),
            state: "left".into(),
            deployment: None,
            why: Some("it is stopped".into()),
        };
        let rollout = RolloutView {
            id: "m-1".into(),
            image: "debian-12-b".into(),
            from: Some("host".into()),
            state: state.into(),
            why: None,
            author: None,
            started_at: "2026-11-23T04:05:06.000Z".into(),
            ended_at: None,
            waiting: 0,
            under_way,
            moved: 2,
            failed,
            left: 1,
            security: 1,
            changes: vec![PackageView {
                package: "openssl".into(),
                from: Some("1".into()),
                to: Some("2".into()),
                security: true,
            }],
            apps: vec![app],
        };
        MaintenanceView {
            image: "debian-12-b".into(),
            window: "always".into(),
            window_opens_at: None,
            check: PatchView {
                every: "daily".into(),
                state: "failed".into(),
                detail: "it failed 2 times: no mirror\u{1b}[2J".into(),
                last_at: Some("2026-11-23T04:05:06.000Z".into()),
                next_at: None,
                packages: 0,
                security: 0,
            },
            behind: 1,
            rollout: Some(rollout),
            pins: Vec::new(),
        }
    }

    #[test]
    fn it_is_over_only_once_nothing_happens_by_itself() {
        assert!(!is_over(&view("running", 0, 0)) && !is_over(&view("aborted", 0, 1)));
        assert!(is_over(&view("done", 0, 0)) && is_over(&view("halted", 2, 0)));
        assert!(outcome(&view("done", 0, 0)).is_ok());
        for (state, failed) in [("done", 1), ("halted", 2), ("aborted", 0), ("replaced", 0)] {
            assert_eq!(
                outcome(&view(state, failed, 0)).expect_err("a verdict").kind,
                Kind::Verdict,
                "{state}"
            );
        }
    }

    #[test]
    fn people_read_what_changes_and_where_every_app_stands() {
        let text = screen(&Out::new(false), &view("done", 0, 0));
        for words in [
            "1 packages, 1 for security: openssl 1 → 2 (security)",
            "patches  daily · it failed 2 times: no mirror, asked ",
            "2 moved, 0 failed, 1 left",
            "shop  left   host  it is stopped",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
