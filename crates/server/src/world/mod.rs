//! The real world behind the machine: the store, the clock, and each effect in a file of its own.
//!
//! Every effect is idempotent and may be dropped at any point; it reports failure only when it knows. Nothing here decides.

mod check;
mod drain;
mod environments;
mod hook;
mod release_command;
mod specs;
mod story;
mod task;
mod watch;

pub(crate) use check::exited;
pub use hook::Hooks;

use crate::{
    build::builder::{Builder, Job},
    config::Config,
    crash::{self, Side},
    images::Images,
    log::Logs,
    notify,
    platform::Changed,
    release::Releases,
    routerlink::RouterLink,
    store::{self, Commit, QueuedMail, Store},
};
use std::{path::PathBuf, sync::Arc};
use teal_core::{
    deploy::{Change, Deployment, Fact, Failure, Kind, Mail, Outcome, Rows, Stage, Step},
    engine::{self, Committed},
    id::{AppId, DeploymentId},
    time::Time,
};
use teal_runtime::any::Any;
use tokio::sync::{Semaphore, broadcast};

/// Everything that effects need. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Decisions.
    pub store: Store,
    /// Instances.
    pub runtime: Arc<Any>,
    /// Traffic.
    pub link: Arc<RouterLink>,
    /// What was built.
    pub releases: Arc<Releases>,
    /// Builds.
    pub builder: Arc<Builder<Any>>,
    /// What instances run on.
    pub images: Images,
    /// Logs of deployments.
    pub logs: Logs,
    /// The `teal` binary, parts of which instances may need.
    pub program: PathBuf,
    /// The operator's configuration.
    pub config: Arc<Config>,
    /// Told after every commit.
    pub changes: broadcast::Sender<Changed>,
    /// Builds that may run at once.
    pub build_slots: Arc<Semaphore>,
    /// Of these, for maintenance.
    pub maintenance_slots: Arc<Semaphore>,
    /// What runs after verdicts.
    pub hooks: Hooks,
}

/// The wall clock.
#[must_use]
pub fn now() -> Time {
    #[expect(clippy::disallowed_methods, reason = "the one place where the control plane reads the clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

impl engine::World for World {
    type Error = store::Error;

    fn now(&self) -> Time {
        now()
    }

    async fn load(&self, app: &AppId) -> Result<Option<Rows>, store::Error> {
        self.store.load(app).await
    }

    async fn commit(&self, base: u64, change: &Change) -> Result<Committed, store::Error> {
        let mails = self.written_out(change).await?;
        let what = format!("commit of {} at {base}", change.rows.app.id);
        crash::point(Side::Before, &what);
        let committed = self.store.commit(Commit { base, change: change.clone(), mails }).await?;
        crash::point(Side::After, &what);
        if committed == Committed::Ok {
            self.tell(change);
        }
        Ok(committed)
    }

    async fn perform(&self, rows: &Rows, step: &Step) -> Outcome {
        let key = step.key();
        crash::point(Side::Before, &key);
        let outcome = self.effect(rows, step).await;
        crash::point(Side::After, &key);
        outcome
    }
}

impl World {
    /// The image's version that whatever is built from now on is built and runs on.
    #[must_use]
    pub fn current_image(&self) -> String {
        self.images.current()
    }

    async fn effect(&self, rows: &Rows, step: &Step) -> Outcome {
        match step {
            Step::Route { route, .. } => match self.link.set(&rows.app.id, route.clone()).await {
                Ok(()) => engine::done(),
                Err(error) => unknown("route", &error),
            },
            Step::Build { deployment, deadline } => self.build(rows, deployment, *deadline).await,
            Step::Raise { environment, deadline, .. } => self.raise(rows, environment, *deadline).await,
            Step::Check { deployment, environment, deadline, .. } => {
                self.check(rows, deployment, environment, *deadline).await
            }
            Step::Watch { deployment, environment, until } => {
                self.watch(rows, deployment, environment, *until).await
            }
            Step::Repair { environment, instance, .. } => self.repair(rows, environment, instance).await,
            Step::Drain { environment, deadline, cap, .. } => self.drain(environment, *deadline, *cap).await,
            Step::Sleep { environment, .. } => self.sleep(rows, environment).await,
            Step::Disk { environment, .. } => self.save(rows, environment).await,
            Step::Off { environment, .. } => self.off(rows, environment).await,
            Step::Remove { environment, .. } => self.remove(rows, environment).await,
            Step::Take { environment } => self.singletons(rows, environment, false).await,
            Step::Give { environment, .. } => self.singletons(rows, environment, true).await,
        }
    }

    async fn build(&self, rows: &Rows, id: &DeploymentId, deadline: Time) -> Outcome {
        let Some(deployment) = rows.deployment(id) else { return Outcome::Unknown };
        let Some(commit) = deployment.commit.clone() else { return Outcome::Unknown };
        let snapshot = match self.store.snapshot(&rows.app.id, deployment.config).await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => {
                return broke(
                    Stage::Build,
                    "the variables of this deployment are not kept any more: push or redeploy again",
                );
            }
            Err(error) => return unknown("build", &error),
        };
        // Maintenance leaves a slot to users, where there is more than one.
        let waits = deployment.kind == Kind::Maintenance;
        let Ok(_place) = self.maintenance_slots.acquire_many(u32::from(waits)).await else {
            return Outcome::Unknown;
        };
        let Ok(_slot) = self.build_slots.acquire().await else { return Outcome::Unknown };
        self.say_note(deployment);
        let job = Job::new(&self.config, rows, deployment, commit.id, snapshot, deadline);
        match self.builder.build(job).await {
            teal_runtime::Outcome::Done(built) => {
                Outcome::Done { fact: Fact::Built { release: built.release, cached: built.cached } }
            }
            teal_runtime::Outcome::Broke(failure) => {
                let failure =
                    Failure { stage: Stage::Build, message: failure.message, details: self.tail(id) };
                Outcome::Broke { failure: failure.bounded() }
            }
            teal_runtime::Outcome::Unknown(why) => {
                tracing::warn!(deployment = %id, why, "build: not known, trying again");
                Outcome::Unknown
            }
        }
    }

    /// What it brings is in its log even if the server died right after it was asked for.
    fn say_note(&self, deployment: &Deployment) {
        let Some(note) = &deployment.note else { return };
        let said = self.logs.read(&deployment.id, 0, 100).unwrap_or_default();
        if !said.iter().any(|line| line.text.contains(note)) {
            self.say(&deployment.id, crate::log::TEAL, note);
        }
    }

    /// Writes the change's events into the deployments' logs and tells whoever looks on. Only after the commit: a log never runs ahead of the facts.
    fn tell(&self, change: &Change) {
        for event in &change.events {
            if let Some(deployment) = &event.deployment {
                self.say(
                    deployment,
                    crate::log::TEAL,
                    &story::lines(event, change.rows.deployment(deployment)),
                );
            }
        }
        let _ = self.changes.send(Changed { app: change.rows.app.id.clone() });
        self.begin_hooks(change);
    }

    /// Appends a line to a deployment's log. A full disk must not stop a deployment: the operator's log says it.
    pub(crate) fn say(&self, deployment: &DeploymentId, stage: &str, text: &str) {
        if let Err(error) = self.logs.append(deployment, now(), stage, text) {
            tracing::error!(%deployment, %error, "the deployment's log cannot be written");
        }
    }

    /// The last lines of a deployment's log, as evidence.
    fn tail(&self, deployment: &DeploymentId) -> Vec<String> {
        let lines = self.logs.tail(deployment, 50).unwrap_or_default();
        lines.into_iter().map(|line| format!("{}: {}", line.stage, line.text)).collect()
    }

    /// Everything that the change puts into the outbox.
    async fn written_out(&self, change: &Change) -> Result<Vec<QueuedMail>, store::Error> {
        let mut mails = self.mails(change).await?;
        if notify::hook::tells(change) {
            let hooks = self.store.hooks().await?;
            mails.extend(notify::hook::deliveries(change, &hooks, &self.config.public_url(), now()));
        }
        Ok(mails)
    }

    /// The change's mails, one for each recipient, keyed by deployment and recipient: never two.
    async fn mails(&self, change: &Change) -> Result<Vec<QueuedMail>, store::Error> {
        if change.mails.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.store.users().await?;
        let mut recipients: Vec<String> = users.into_iter().filter_map(|user| user.email).collect();
        recipients.extend(self.config.mail_to.iter().cloned());
        recipients.sort();
        recipients.dedup();
        let written = |mail: &Mail| {
            let facts = notify::compose::Facts::of(&change.rows.app, mail, &self.config.public_url());
            let letter = notify::compose::compose(&facts);
            let letter = move |recipient: &String| QueuedMail {
                id: format!("{}-{}", mail.deployment, short_hash(recipient)),
                recipient: recipient.clone(),
                subject: letter.subject.clone(),
                text: letter.text.clone(),
                html: letter.html.clone(),
                hook: None,
                queued_at: now(),
                attempts: 0,
            };
            recipients.iter().map(letter).collect::<Vec<_>>()
        };
        Ok(change.mails.iter().flat_map(written).collect())
    }
}

/// A few characters that tell recipients apart in a mail's id without naming them.
pub(crate) fn short_hash(text: &str) -> String {
    crate::secrets::hash(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// It is definitely broken.
fn broke(stage: Stage, message: &str) -> Outcome {
    Outcome::Broke { failure: Failure::new(stage, message) }
}

/// Not known: said in the operator's log, tried again.
fn unknown(what: &str, why: &dyn std::fmt::Display) -> Outcome {
    tracing::warn!(what, %why, "not known, trying again");
    Outcome::Unknown
}
