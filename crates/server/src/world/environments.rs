//! What is done to environments: raise, repair, sleep, off, remove, and who runs the workers.

use super::{World, broke, unknown};
use futures_util::future::join_all;
use std::time::Duration;
use teal_core::{
    deploy::{Environment, Fact, Failure, Outcome, Rows, Stage},
    engine,
    id::{EnvironmentId, InstanceId},
    route::Backend,
    time::Time,
};
use teal_runtime::{Inspection, Outcome as Effect, Runtime, State};

/// How long one start may take before it is looked at anew; the machine's own deadline is what fails it.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// Makes all instances run, whatever they were; `Done` when each has an address.
    pub(super) async fn raise(&self, rows: &Rows, id: &EnvironmentId, deadline: Time) -> Outcome {
        let Some(environment) = rows.environment(id) else { return Outcome::Unknown };
        if super::now() > deadline {
            return broke(
                Stage::Start,
                "the instances did not start in time; raise `start_deadline_s` if this host is slow",
            );
        }
        if let Some(outcome) = self.task(rows, environment, deadline).await {
            return outcome;
        }
        if let Err(outcome) = self.release_command(rows, environment, deadline).await {
            return outcome;
        }
        let numbers = 0..environment.count;
        let raised = join_all(numbers.map(|number| self.raise_one(rows, environment, number))).await;
        let mut backends = Vec::new();
        for one in raised {
            match one {
                Ok(backend) => backends.push(backend),
                Err(outcome) => return outcome,
            }
        }
        Outcome::Done { fact: Fact::Raised { backends } }
    }

    /// One instance: woken if it sleeps, started from its release if it is not there, replaced if it ended.
    async fn raise_one(
        &self,
        rows: &Rows,
        environment: &Environment,
        number: u32,
    ) -> Result<Backend, Outcome> {
        let id = environment.id.instance(number);
        let state = match self.runtime.inspect(&id).await {
            Effect::Done(inspection) => inspection.state,
            Effect::Broke(_) => State::Absent,
            Effect::Unknown(why) => return Err(unknown("raise: inspect", &why)),
        };
        if state == State::Frozen {
            match self.runtime.wake(&id).await {
                Effect::Done(inspection) => return backend(&id, &inspection),
                Effect::Unknown(why) => return Err(unknown("raise: wake", &why)),
                Effect::Broke(failure) => {
                    tracing::warn!(instance = %id, %failure, "cannot be woken, is started from its release");
                    if let Some(deployment) = rows.candidate() {
                        self.say(&deployment.id, "start", &failure.message);
                    }
                }
            }
        }
        if matches!(state, State::Exited(_) | State::Frozen)
            && let Effect::Unknown(why) = self.runtime.remove(&id).await
        {
            return Err(unknown("raise: remove", &why));
        }
        let spec = self.spec(rows, environment, number).await?;
        match tokio::time::timeout(PATIENCE, self.runtime.ensure(&spec)).await {
            Err(_) => Err(unknown("raise: ensure", &"it takes too long")),
            Ok(Effect::Done(inspection)) => backend(&id, &inspection),
            Ok(Effect::Broke(failure)) => Err(broke(Stage::Start, &failure.message)),
            Ok(Effect::Unknown(why)) => Err(unknown("raise: ensure", &why)),
        }
    }

    /// Restarts one dead instance and probes it until it is healthy.
    pub(super) async fn repair(&self, rows: &Rows, id: &EnvironmentId, instance: &InstanceId) -> Outcome {
        let Some(environment) = rows.environment(id) else { return Outcome::Unknown };
        let Some(number) = (0..environment.count).find(|n| id.instance(*n) == *instance) else {
            return Outcome::Unknown;
        };
        match self.raise_one(rows, environment, number).await {
            Err(outcome) => outcome,
            Ok(backend) => match self.until_healthy(rows, &backend).await {
                Ok(()) => Outcome::Done { fact: Fact::Repaired { backend } },
                Err(message) => broke(Stage::Start, &message),
            },
        }
    }

    pub(super) async fn sleep(&self, rows: &Rows, id: &EnvironmentId) -> Outcome {
        self.each(rows, id, |instance| async move { self.runtime.sleep(&instance).await }).await
    }

    /// From memory to disk.
    pub(super) async fn save(&self, rows: &Rows, id: &EnvironmentId) -> Outcome {
        self.each(rows, id, |instance| async move { self.runtime.save(&instance).await }).await
    }

    pub(super) async fn off(&self, rows: &Rows, id: &EnvironmentId) -> Outcome {
        let deadline = Duration::from_millis(rows.app.settings.drain_ms);
        self.each(rows, id, |instance| async move { self.runtime.stop(&instance, deadline).await }).await
    }

    pub(super) async fn remove(&self, rows: &Rows, id: &EnvironmentId) -> Outcome {
        self.each(rows, id, |instance| async move {
            match self.runtime.remove(&instance).await {
                Effect::Done(()) => self.runtime.forget(&instance).await,
                other => other,
            }
        })
        .await
    }

    /// Workers and crons run in the first instance only: they are singletons.
    pub(super) async fn singletons(&self, rows: &Rows, id: &EnvironmentId, run: bool) -> Outcome {
        let Some(environment) = rows.environment(id) else { return engine::done() };
        match self.runtime.singletons(&environment.id.instance(0), run).await {
            Effect::Done(()) => engine::done(),
            // An instance that is not there runs no workers.
            Effect::Broke(_) if !run => engine::done(),
            Effect::Broke(failure) => unknown("singletons", &failure),
            Effect::Unknown(why) => unknown("singletons", &why),
        }
    }

    /// Does the same to all instances at once; the worst answer counts.
    async fn each<F: Future<Output = Effect<()>>>(
        &self,
        rows: &Rows,
        id: &EnvironmentId,
        one: impl Fn(InstanceId) -> F,
    ) -> Outcome {
        let Some(environment) = rows.environment(id) else { return engine::done() };
        let answers = join_all(environment.instance_ids().map(one)).await;
        let mut worst = engine::done();
        for answer in answers {
            match answer {
                Effect::Done(()) => {}
                Effect::Unknown(why) => return unknown("environment", &why),
                Effect::Broke(failure) => {
                    worst = Outcome::Broke { failure: Failure::new(Stage::Start, failure.message) }
                }
            }
        }
        worst
    }
}

fn backend(id: &InstanceId, inspection: &Inspection) -> Result<Backend, Outcome> {
    let address = inspection.address.ok_or_else(|| unknown("raise", &"the instance has no address yet"))?;
    Ok(Backend { instance: id.clone(), address, tcp: inspection.tcp_address })
}
