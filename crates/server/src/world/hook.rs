//! What an app wants run after the verdict of a deployment: `CC_RUN_SUCCEEDED_HOOK`, `CC_RUN_FAILED_HOOK`. Each runs in an instance of its own,
//! with the release and the variables that the verdict is about, at most once. How it ends changes nothing: it must never hold up a deployment.

use super::{World, now, release_command::Once};
use crate::release;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};
use teal_core::{
    deploy::{Change, Deployment, Event, EventKind, Kind, Rows},
    id::InstanceId,
};
use tokio::sync::Semaphore;

/// Hooks that run at once on this host; the others wait.
const AT_ONCE: usize = 4;

/// The hooks that run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks {
    running: Arc<Mutex<HashSet<InstanceId>>>,
    slots: Arc<Semaphore>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { running: Arc::default(), slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Hooks {
    /// Their instances: no row names them, and they are no garbage.
    pub(crate) fn instances(&self) -> HashSet<InstanceId> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that it runs; `false`: it does already.
    fn begin(&self, id: &InstanceId) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    fn end(&self, id: &InstanceId) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// The hook that this event is for. A return of the platform's own has none: the version that failed had its verdict.
fn hook_of(event: &Event, deployment: &Deployment) -> Option<&'static str> {
    match event.kind {
        EventKind::Served | EventKind::TaskDone if deployment.kind != Kind::Rollback => {
            Some(release::SUCCEEDED_HOOK)
        }
        // Without an environment there is nothing to run it in: its build failed.
        EventKind::Failed if deployment.environment.is_some() => Some(release::FAILED_HOOK),
        _ => None,
    }
}

impl World {
    /// Begins the hooks that a change brings. Only after its commit.
    pub(super) fn begin_hooks(&self, change: &Change) {
        for event in &change.events {
            let deployment = event.deployment.as_ref().and_then(|id| change.rows.deployment(id));
            let Some((deployment, hook)) = deployment.and_then(|d| Some((d, hook_of(event, d)?))) else {
                continue;
            };
            let (world, rows, deployment) = (self.clone(), change.rows.clone(), deployment.clone());
            tokio::spawn(async move { world.hook(&rows, &deployment, hook).await });
        }
    }

    async fn hook(&self, rows: &Rows, deployment: &Deployment, hook: &'static str) {
        let Some(environment) = deployment.environment.as_ref().and_then(|id| rows.environment(id)) else {
            return;
        };
        let Ok((release, facts)) = self.facts(rows, environment).await else { return };
        let id = deployment.id.hook();
        let Some(spec) = release::hook_spec(&release, &facts, id.clone(), hook) else { return };
        let Ok(_slot) = self.hooks.slots.acquire().await else { return };
        if !self.hooks.begin(&id) {
            return;
        }
        self.say(&deployment.id, crate::log::TEAL, &format!("{hook} runs; how it ends changes nothing"));
        let deadline = now().plus(rows.app.settings.start_ms);
        let once = Once { spec, what: hook };
        let ended = match self.begin(&once.spec).await {
            Ok(()) => self.to_its_end(&deployment.id, &once, deadline).await,
            Err(outcome) => Err(outcome),
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.say(&deployment.id, crate::log::TEAL, &format!("Ignored: {why}")),
            Err(outcome) => {
                let why = format!("Ignored: {hook} could not be run ({outcome:?})");
                self.say(&deployment.id, crate::log::TEAL, &why);
            }
        }
        self.remove_instance(&id).await;
        self.hooks.end(&id);
    }
}
