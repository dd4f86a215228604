//! Waiting for a deployment's verdict: asks the API until it is there, shows the phases, and survives a server that restarts meanwhile.

use crate::{
    client::Client,
    error::{Error, Kind, Result},
    out::{Out, Paint, Progress, harmless},
    text,
};
use std::time::{Duration, Instant};
use teal_core::{api::DeploymentView, id::DeploymentId};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a server may be away while we wait: it continues every deployment when it is back.
const AWAY: Duration = Duration::from_secs(90);

/// Waits until the deployment has its verdict, and returns it whatever it is.
pub(crate) fn verdict(out: &Out, client: &Client, app: &str, id: &DeploymentId) -> Result<DeploymentView> {
    let mut progress = out.progress();
    loop {
        let view = patient(&mut progress, || client.deployment(app, id))?;
        if view.state != "WIP" {
            return Ok(view);
        }
        let commit =
            view.commit.as_ref().map(|commit| format!(" · {}", text::commit(commit))).unwrap_or_default();
        progress.now(&format!("{}{commit}", harmless(&view.phase)));
        std::thread::sleep(PAUSE);
    }
}

/// Asks, and asks again while the server is away.
pub(crate) fn patient<T>(progress: &mut Progress, ask: impl Fn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(error) if error.kind == Kind::Unreachable && began.elapsed() < AWAY => {
                progress.now("the server is away; the deployment goes on when it is back");
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

/// The verdict as an outcome: `Ok` only if it went well.
pub(crate) fn outcome(view: &DeploymentView) -> Result<()> {
    if view.state == "OK" {
        return Ok(());
    }
    let word = if view.state == "CANCELLED" { "was cancelled" } else { "failed" };
    let why = view.failure.as_ref().map(|f| format!("\n{}", text::failure(f))).unwrap_or_default();
    let error = Error::new(Kind::Verdict, format!("deployment {} {word}{why}", view.deployment));
    Err(error.hint(format!("what was live is still live; see `teal logs --deployment {}`", view.deployment)))
}

/// One line that says how it ended.
pub(crate) fn line(out: &Out, view: &DeploymentView) -> String {
    let commit = view.commit.as_ref().map(text::commit).unwrap_or_default();
    let colour = view.colour.map(|c| format!(" as {}", text::colour(out, c))).unwrap_or_default();
    let word = match (view.action.as_str(), view.phase.as_str()) {
        ("UNDEPLOY", _) => "Stopped",
        (_, "ended") => "Task done",
        _ => "Live",
    };
    format!("{}: {commit}{colour} ({})", out.paint(Paint::Good, word), view.deployment)
}
