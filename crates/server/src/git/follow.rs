//! Follows one deployment for a push: its log as it is written, then its verdict. It only reads; whoever follows may go away.

use super::{Gate, session::Voice};
use crate::{
    log::{Logs, PROBE},
    platform,
};
use std::{io, time::Duration};
use teal_core::{
    api::{DeploymentView, FailureView, LogView},
    id::{AppId, DeploymentId},
};
use tokio::sync::{broadcast, watch};

/// Lines that are read at once.
const BATCH: usize = 500;
/// How long new lines are gathered before they are read.
const GATHER: Duration = Duration::from_millis(30);
/// Looks at the deployment at least this often: a notice may be missed.
const LOOK: Duration = Duration::from_secs(1);
/// How long the log must be quiet after the verdict, and how often it may break that silence.
const LAST: Duration = Duration::from_millis(100);
const LAST_ROUNDS: usize = 20;
/// The longest reason in git's report, in characters.
const MAX_REASON: usize = 160;

/// How the push ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The commit is served, or waits for a person to let it.
    Well,
    /// It is not; in a few words, for git's report.
    Not(String),
}

/// A deployment to follow.
pub(super) struct Follow<'a, G> {
    pub(super) gate: &'a G,
    pub(super) app: &'a AppId,
    pub(super) deployment: &'a DeploymentId,
    /// The app's name, for sentences.
    pub(super) name: &'a str,
    /// The commit, shortened.
    pub(super) commit: &'a str,
}

impl<G: Gate> Follow<'_, G> {
    /// Says each line as it comes, and returns the verdict. An error: the listener is gone.
    pub(super) async fn to_the_end(&self, voice: &mut Voice) -> io::Result<Verdict> {
        let mut changes = self.gate.changes();
        let mut lines = self.gate.logs().follow(self.deployment);
        let mut said = 0;
        loop {
            // The deployment is looked at before the log is read: whatever was logged before the verdict is said before it.
            let ended = self.look().await;
            said = self.say_new(voice, said, &mut lines).await?;
            if let Some(ended) = ended {
                self.say_last(voice, said, &mut lines).await?;
                return self.close(voice, ended).await;
            }
            let changed = wait(self.app, &mut changes, &mut lines);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK) => {}
                () = voice.gone() => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// The deployment, once it has a verdict.
    async fn look(&self) -> Option<Result<DeploymentView, String>> {
        match self.gate.deployment(self.app, self.deployment).await {
            Ok(view) if view.state == "WIP" && view.phase != "held" => None,
            Ok(view) => Some(Ok(view)),
            Err(platform::Error::NotFound(why)) => Some(Err(why)),
            // The platform's own trouble is no verdict.
            Err(_) => None,
        }
    }

    async fn say_new(
        &self,
        voice: &mut Voice,
        mut said: u64,
        lines: &mut watch::Receiver<u64>,
    ) -> io::Result<u64> {
        loop {
            lines.borrow_and_update();
            let views = read(self.gate.logs().clone(), self.deployment.clone(), said).await?;
            for view in &views {
                said = view.number;
                if view.stage != PROBE {
                    voice.say(&view.text).await?;
                }
            }
            if views.len() < BATCH {
                return Ok(said);
            }
        }
    }

    /// A log never runs ahead of the facts: the last lines may be written just after the verdict was.
    async fn say_last(
        &self,
        voice: &mut Voice,
        mut said: u64,
        lines: &mut watch::Receiver<u64>,
    ) -> io::Result<()> {
        for _ in 0..LAST_ROUNDS {
            match tokio::time::timeout(LAST, lines.changed()).await {
                Ok(Ok(())) => said = self.say_new(voice, said, lines).await?,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(())
    }

    async fn close(&self, voice: &mut Voice, ended: Result<DeploymentView, String>) -> io::Result<Verdict> {
        let (sentences, verdict) = self.words(ended);
        for sentence in sentences {
            voice.say(&sentence).await?;
        }
        Ok(verdict)
    }

    fn words(&self, ended: Result<DeploymentView, String>) -> (Vec<String>, Verdict) {
        let (name, commit) = (self.name, self.commit);
        let view = match ended {
            Ok(view) => view,
            Err(why) => return (vec![why.clone()], Verdict::Not(reason(&why))),
        };
        match view.state.as_str() {
            "OK" if view.phase == "ended" => {
                (vec![format!("{name}: the task of {commit} ran to its end.")], Verdict::Well)
            }
            "OK" => {
                let colour = view.colour.map(|colour| format!(" ({})", colour.word())).unwrap_or_default();
                (vec![format!("{name} is live with {commit}{colour}.")], Verdict::Well)
            }
            "WIP" => (
                vec![format!(
                    "{name}: {commit} is held. Nothing is switched until somebody lets it go live."
                )],
                Verdict::Well,
            ),
            "CANCELLED" => cancelled(name, commit, view.failure),
            _ => failed(name, commit, view.failure),
        }
    }
}

fn failed(name: &str, commit: &str, failure: Option<FailureView>) -> (Vec<String>, Verdict) {
    let Some(failure) = failure else {
        return (
            vec![format!("{name}: {commit} did not go live.")],
            Verdict::Not("deployment failed".into()),
        );
    };
    let sentences = vec![
        format!("{name}: {commit} did not go live. It failed at {}: {}", failure.stage, failure.message),
        "What was live before is untouched. Mend it and push again; pushing the same commit tries again."
            .into(),
    ];
    (sentences, Verdict::Not(reason(&format!("deployment failed at {}: {}", failure.stage, failure.message))))
}

fn cancelled(name: &str, commit: &str, failure: Option<FailureView>) -> (Vec<String>, Verdict) {
    let why = failure.map_or_else(|| "cancelled, or superseded by a newer push".into(), |f| f.message);
    (
        vec![format!("{name}: {commit} did not go live: {why}")],
        Verdict::Not(reason(&format!("not deployed: {why}"))),
    )
}

/// A reason that fits into one line of git's report.
fn reason(text: &str) -> String {
    let line = crate::log::harmless(text.lines().next().unwrap_or_default());
    let short: String = line.chars().take(MAX_REASON).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

async fn read(logs: Logs, deployment: DeploymentId, after: u64) -> io::Result<Vec<LogView>> {
    let read = tokio::task::spawn_blocking(move || logs.read(&deployment, after, BATCH));
    read.await.map_err(io::Error::other)?
}

/// Returns when there may be something new. Lines are gathered for a moment: a reading costs as much as the log is long.
async fn wait(
    app: &AppId,
    changes: &mut broadcast::Receiver<platform::Changed>,
    lines: &mut watch::Receiver<u64>,
) {
    let changed = async {
        loop {
            match changes.recv().await {
                Ok(changed) if changed.app != *app => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    };
    let line = async {
        if lines.changed().await.is_err() {
            std::future::pending().await
        }
        tokio::time::sleep(GATHER).await;
    };
    tokio::select! {
        () = changed => {}
        () = line => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("no\nyes"), "no");
        assert_eq!(reason(&"x".repeat(500)).chars().count(), MAX_REASON + 1);
    }
}
