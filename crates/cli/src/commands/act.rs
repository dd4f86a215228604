//! What can be asked of an app besides a push: wake, redeploy, cancel, stop, start, restart, scale. Each waits for its verdict unless told not to.

use super::wait;
use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::Result,
    out::harmless,
};
use clap::Args;
use teal_core::{api::Action, id::DeploymentId};

/// Whether to wait.
#[derive(Debug, Args)]
pub(crate) struct NoWait {
    /// Do not wait for the verdict.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The same command goes forward again. Without a spare it starts the last pushed commit from its release.
If a release command ran since that version was live, it says so: what that changed stays changed.

Example:
  teal wake shop"
)]
pub(crate) struct WakeArgs {
    #[command(flatten)]
    app: AppName,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal wake`.
pub(crate) fn wake(context: &Context, args: WakeArgs) -> Result<()> {
    let app = context.app(args.app.given())?;
    // Said before it is done: what going back does not undo.
    if let Some(note) = context.client()?.status(&app)?.button.and_then(|button| button.note) {
        context.out.say(format!("Note: {}.", harmless(&note)));
    }
    perform(context, Some(&app), Action::Wake, &args.wait)
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal redeploy a1b2c3d --app shop")]
pub(crate) struct RedeployArgs {
    /// The commit: its hash, or the first 7 characters or more.
    #[arg(value_name = "COMMIT")]
    commit: String,
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal redeploy`.
pub(crate) fn redeploy(context: &Context, args: RedeployArgs) -> Result<()> {
    perform(context, args.app.app.as_deref(), Action::Redeploy { commit: args.commit }, &args.wait)
}

#[derive(Debug, Args)]
#[command(after_help = "Once it is live and no longer watched, use `teal wake` instead.

Example:
  teal cancel shop")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    app: AppName,
    /// This one only [default: all that are under way].
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
}

/// `teal cancel`.
pub(crate) fn cancel(context: &Context, args: CancelArgs) -> Result<()> {
    let action = Action::Cancel { deployment: args.deployment };
    let app = context.app(args.app.given())?;
    let accepted = context.client()?.act(&app, &action)?;
    context.out.show(&accepted, |_| harmless(&accepted.message))
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal stop shop")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    app: AppName,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal stop`.
pub(crate) fn stop(context: &Context, args: StopArgs) -> Result<()> {
    perform(context, args.app.given(), Action::Stop, &args.wait)
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal start shop")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    app: AppName,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal start`.
pub(crate) fn start(context: &Context, args: StartArgs) -> Result<()> {
    perform(context, args.app.given(), Action::Start, &args.wait)
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal env set GREETING=hello && teal restart")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    app: AppName,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal restart`.
pub(crate) fn restart(context: &Context, args: RestartArgs) -> Result<()> {
    perform(context, args.app.given(), Action::Restart, &args.wait)
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal scale 3 --app shop")]
pub(crate) struct ScaleArgs {
    /// How many instances: 1 to 40.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=40))]
    instances: u32,
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    wait: NoWait,
}

/// `teal scale`.
pub(crate) fn scale(context: &Context, args: ScaleArgs) -> Result<()> {
    perform(context, args.app.app.as_deref(), Action::Scale { instances: args.instances }, &args.wait)
}

fn perform(context: &Context, given: Option<&str>, action: Action, no_wait: &NoWait) -> Result<()> {
    let app = context.app(given)?;
    let client = context.client()?;
    let accepted = client.act(&app, &action)?;
    let Some(id) = accepted.deployment.as_ref().filter(|_| !no_wait.no_wait) else {
        return context.out.show(&accepted, |_| harmless(&accepted.message));
    };
    context.out.say(harmless(&accepted.message));
    let view = wait::verdict(&context.out, &client, &app, id)?;
    if context.out.is_json() {
        context.out.show(&view, |_| String::new())?;
        return wait::outcome(&view);
    }
    wait::outcome(&view)?;
    context.out.show(&view, |out| wait::line(out, &view))
}
