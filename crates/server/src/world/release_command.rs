//! The release command: run once per deployment, in an instance of its own with the new environment's release and variables, before that starts.
//!
//! Its row is in the store before it is started, and its end before anybody hears of it. A server that comes back finds the instance by its
//! id and goes on with it. Where nobody can know whether it ran, it is not run again: the deployment fails and says so.

use super::{World, broke, now, unknown};
use crate::{instancelog::Follower, release, store::ReleaseCommand};
use std::time::Duration;
use teal_core::{
    deploy::{Deployment, Environment, Failure, Outcome, Rows, Stage, runs_release_command},
    id::{AppId, DeploymentId, InstanceId},
    time::Time,
};
use teal_runtime::{Exit, InstanceSpec, Outcome as Effect, Runtime, State};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);
/// One look waits for an answer so long.
const ANSWER: Duration = Duration::from_secs(5);

/// What is run once, and what the log calls it.
pub(super) struct Once {
    pub(super) spec: InstanceSpec,
    pub(super) what: &'static str,
}

/// What is known of a command before anything is done.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// It was never started.
    Fresh,
    /// Its instance may be there: go on with it.
    Begun,
    /// It ran in a boot that is over, and its end was not seen.
    Lost,
    /// How it ended.
    Ended(Result<(), String>),
}

/// Pure: what the row and the runtime's list say together. What was started stays in the list until its end is in the row.
fn known(row: Option<&ReleaseCommand>, boot: &str, listed: bool) -> Known {
    match row {
        None => Known::Fresh,
        Some(ReleaseCommand { ended: Some(end), .. }) => Known::Ended(end.clone()),
        Some(row) if row.boot != boot => Known::Lost,
        Some(_) if listed => Known::Begun,
        // The server ended after it wrote the row and before it asked the runtime.
        Some(_) => Known::Fresh,
    }
}

impl World {
    /// Runs the release command of the deployment that raises this environment, if it has one that did not run yet.
    pub(super) async fn release_command(
        &self,
        rows: &Rows,
        environment: &Environment,
        deadline: Time,
    ) -> Result<(), Outcome> {
        let of = |d: &&Deployment| d.environment.as_ref() == Some(&environment.id);
        let Some(deployment) = rows.candidate().filter(of) else { return Ok(()) };
        if !runs_release_command(rows, deployment) {
            return Ok(());
        }
        let (release, facts) = self.facts(rows, environment).await?;
        let id = environment.id.release_command();
        let Some(spec) = release::release_spec(&release, &facts, id) else { return Ok(()) };
        let once = Once { spec, what: "the release command" };
        self.run_once(&rows.app.id, &deployment.id, &once, deadline).await
    }

    /// Runs it, unless it ran; a server that comes back goes on with it.
    pub(super) async fn run_once(
        &self,
        app: &AppId,
        deployment: &DeploymentId,
        once: &Once,
        deadline: Time,
    ) -> Result<(), Outcome> {
        let (spec, what) = (&once.spec, once.what);
        let row = self.store.release_command(deployment).await.map_err(|e| unknown("release command", &e))?;
        let listed = match self.runtime.list().await {
            Effect::Done(ids) => ids.contains(&spec.id),
            Effect::Broke(failure) => return Err(unknown("release command: list", &failure)),
            Effect::Unknown(why) => return Err(unknown("release command: list", &why)),
        };
        let boot = boot();
        let end = match known(row.as_ref(), &boot, listed) {
            Known::Ended(end) => end,
            Known::Lost => Err(lost(what)),
            Known::Begun => self.to_its_end(deployment, once, deadline).await?,
            Known::Fresh => {
                if row.is_none() {
                    let row =
                        ReleaseCommand { deployment: deployment.clone(), boot, begun: now(), ended: None };
                    let begun = self.store.begin_release_command(app, row).await;
                    begun.map_err(|error| unknown("release command", &error))?;
                    self.say(deployment, crate::log::TEAL, &begins(what));
                }
                self.begin(spec).await?;
                self.to_its_end(deployment, once, deadline).await?
            }
        };
        let failure = end.as_ref().err().cloned();
        let noted = self.store.end_release_command(deployment, now(), failure).await;
        noted.map_err(|error| unknown("release command", &error))?;
        self.remove_instance(&spec.id).await;
        end.map_err(|message| {
            let details = self.tail(deployment);
            Outcome::Broke { failure: Failure { stage: Stage::Start, message, details }.bounded() }
        })
    }

    pub(super) async fn begin(&self, spec: &InstanceSpec) -> Result<(), Outcome> {
        match self.runtime.ensure(spec).await {
            Effect::Done(_) => Ok(()),
            Effect::Broke(failure) => Err(broke(Stage::Start, &failure.message)),
            Effect::Unknown(why) => Err(unknown("run once: ensure", &why)),
        }
    }

    /// Waits until it has ended, whatever the reason; its lines go into the deployment's log as they come.
    pub(super) async fn to_its_end(
        &self,
        deployment: &DeploymentId,
        Once { spec, what }: &Once,
        deadline: Time,
    ) -> Result<Result<(), String>, Outcome> {
        let mut lines = Lines::new(self, deployment, spec);
        loop {
            let state = self.look(&spec.id).await?;
            lines.pass_on(self);
            match state {
                Some(State::Exited(exit)) if exit.code == 0 => {
                    self.say(deployment, crate::log::TEAL, &capital(&format!("{what} succeeded")));
                    return Ok(Ok(()));
                }
                Some(State::Exited(exit)) => return Ok(Err(failed(what, &exit))),
                Some(State::Absent) => return Ok(Err(lost(what))),
                // Its end is noted before it is made to end: in between, nobody may take it for one that was never started.
                _ if now() > deadline => return Ok(Err(late(what))),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// What it does; `None` if the runtime did not answer in time.
    async fn look(&self, id: &InstanceId) -> Result<Option<State>, Outcome> {
        match tokio::time::timeout(ANSWER, self.runtime.inspect(id)).await {
            Ok(Effect::Done(inspection)) => Ok(Some(inspection.state)),
            Ok(Effect::Broke(failure)) => Err(unknown("release command: inspect", &failure)),
            Ok(Effect::Unknown(_)) | Err(_) => Ok(None),
        }
    }
}

fn begins(what: &str) -> String {
    capital(&format!("{what} runs, once, before anything of this version starts"))
}

fn lost(what: &str) -> String {
    format!(
        "{what} was interrupted (the host restarted, or something ended its instance), and nobody saw how far it came: look at what it changes, then redeploy the commit, which runs it again"
    )
}

fn late(what: &str) -> String {
    format!(
        "{what} took too long and was ended: find out in the log what it waits for, or raise the app's setting `start_deadline_s`, which counts it in"
    )
}

fn failed(what: &str, exit: &Exit) -> String {
    if exit.out_of_memory {
        return format!("{what} ran out of memory: raise the app's setting `memory_mib`");
    }
    format!("{what} exited with code {}: the lines before it say why", exit.code)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The lines that it wrote, on their way into the deployment's log.
struct Lines<'a> {
    deployment: &'a DeploymentId,
    follower: Follower,
    /// Passed on before the server was restarted.
    skip: usize,
}

impl<'a> Lines<'a> {
    fn new(world: &World, deployment: &'a DeploymentId, spec: &InstanceSpec) -> Self {
        let passed = world.logs.read(deployment, 0, usize::MAX).unwrap_or_default();
        let its = |stage: &str| spec.commands.iter().any(|command| command.stage == stage);
        let skip = passed.iter().filter(|line| its(&line.stage)).count();
        Self { deployment, follower: Follower::at_begin(world.runtime.log(&spec.id)), skip }
    }

    fn pass_on(&mut self, world: &World) {
        for line in self.follower.more().unwrap_or_default() {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            // An empty line is a line: how far it came is counted in them.
            let text =
                if line.text.is_empty() { "\n".to_owned() } else { line.text.replace(['\n', '\r'], " ") };
            let appended = world.logs.append(self.deployment, Time(line.at), &line.stage, &text);
            if let Err(error) = appended {
                tracing::error!(deployment = %self.deployment, %error, "the deployment's log cannot be written");
            }
        }
    }
}

/// The kernel's id of this boot; one text for all where there is none.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(boot: &str, ended: Option<Result<(), String>>) -> ReleaseCommand {
        ReleaseCommand { deployment: "d-1".parse().expect("legal"), boot: boot.into(), begun: Time(1), ended }
    }

    #[test]
    fn it_is_started_only_where_it_surely_never_ran() {
        assert_eq!(known(None, "b", false), Known::Fresh);
        assert_eq!(known(Some(&row("b", None)), "b", false), Known::Fresh);
        assert_eq!(known(Some(&row("b", None)), "b", true), Known::Begun);
        for listed in [false, true] {
            assert_eq!(known(Some(&row("before", None)), "b", listed), Known::Lost);
            let failed = Some(Err("no".to_owned()));
            assert_eq!(known(Some(&row("before", failed)), "b", listed), Known::Ended(Err("no".into())));
            assert_eq!(known(Some(&row("b", Some(Ok(())))), "b", listed), Known::Ended(Ok(())));
        }
    }
}
