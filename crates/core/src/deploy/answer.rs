//! What an answer changes. It is applied only if the machine still wants the step; otherwise it is dropped.

use super::{
    deployment::{Kind, Phase},
    draft::Draft,
    environment::{Health, Instance, State},
    event::EventKind,
    failure::{Failure, bounded_lines},
    phases::Happening,
    plan,
    settings::SECOND,
    states::Motion,
    step::{Fact, Outcome, Step},
};
use crate::{
    id::{DeploymentId, EnvironmentId, InstanceId},
    route::Backend,
    time::Time,
};

/// How long the watch pauses after live and standby were both found broken.
const WATCH_AGAIN_MS: u64 = 5 * SECOND;

/// The longest pause between two restarts of one instance.
const MAX_BACK_OFF_MS: u64 = 60 * SECOND;

/// The pause before the next restart of an instance, after so many before it: none, 1 s, 2 s, 4 s … one minute.
#[must_use]
pub fn back_off_ms(restarts: u32) -> u64 {
    match restarts {
        0 => 0,
        n => MAX_BACK_OFF_MS.min(SECOND << (n - 1).min(10)),
    }
}

impl Draft<'_> {
    /// Applies an answer; says whether it meant anything.
    pub(crate) fn answer(&mut self, step: &Step, outcome: &Outcome) -> bool {
        if !plan::plan(&self.rows, self.now).steps.contains(step) {
            return false;
        }
        match outcome {
            Outcome::Done { fact } => self.done(step, fact),
            Outcome::Broke { failure } => self.broke(step, failure),
            Outcome::Unknown => false,
        }
    }

    fn done(&mut self, step: &Step, fact: &Fact) -> bool {
        match (step, fact) {
            (Step::Route { .. }, _) => self.acknowledged(),
            (Step::Take { environment }, _) => self.taken(environment),
            (Step::Give { environment, .. }, _) => self.given(environment),
            (Step::Build { deployment, .. }, Fact::Built { release, cached }) => {
                if let Some(row) = self.rows.deployment_mut(deployment) {
                    row.release = Some(release.clone());
                    row.cached = *cached;
                }
                self.built(deployment, *cached)
            }
            (Step::Raise { environment, .. }, Fact::Raised { backends }) => {
                self.raised(environment, backends)
            }
            (Step::Raise { environment, .. }, Fact::Ran) => self.task_done(environment),
            (Step::Check { deployment, .. }, Fact::Healthy { probes }) => self.healthy(deployment, probes),
            (Step::Watch { deployment, until, .. }, _) => self.watched(deployment, *until),
            (Step::Repair { environment, instance, .. }, Fact::Repaired { backend }) => {
                self.repaired(environment, instance, backend)
            }
            (Step::Drain { environment, .. }, _) => self.environment(environment, Motion::Drained),
            (Step::Sleep { environment, .. }, _) => {
                self.lowered(environment, Motion::Sleeps, EventKind::Asleep)
            }
            (Step::Disk { environment, .. }, _) => {
                self.lowered(environment, Motion::IsFiled, EventKind::OnDisk)
            }
            (Step::Off { environment, .. }, _) => self.lowered(environment, Motion::IsOff, EventKind::Off),
            (Step::Remove { environment, .. }, _) => {
                self.lowered(environment, Motion::IsGone, EventKind::Gone)
            }
            // An answer of the wrong form is no answer.
            (Step::Build { .. } | Step::Raise { .. } | Step::Check { .. } | Step::Repair { .. }, _) => false,
        }
    }

    fn broke(&mut self, step: &Step, failure: &Failure) -> bool {
        match step {
            Step::Build { deployment, .. } | Step::Check { deployment, .. } => {
                self.fail(deployment, failure.clone());
                true
            }
            Step::Raise { environment, .. } => self.raise_broke(environment, failure),
            Step::Watch { deployment, .. } => self.watch_broke(deployment, failure),
            Step::Repair { environment, instance, .. } => self.repair_broke(environment, instance),
            Step::Sleep { environment, .. } | Step::Disk { environment, .. } => {
                self.cannot_sleep(environment, failure)
            }
            // These have no other way than to be tried again.
            Step::Route { .. } | Step::Take { .. } | Step::Give { .. } => false,
            Step::Drain { .. } | Step::Off { .. } | Step::Remove { .. } => false,
        }
    }

    fn acknowledged(&mut self) -> bool {
        let now = self.now;
        let routing = &mut self.rows.app.routing;
        routing.acknowledged = routing.number;
        routing.served = routing.asked.clone();
        routing.served_at = Some(now);
        let served = routing.served_environment().cloned();
        let newly = self.rows.deployments.iter_mut().filter(|d| {
            let landed = matches!(d.phase, Phase::Live { .. } | Phase::Baked { .. });
            landed && d.times.served.is_none() && d.environment == served
        });
        let mut ids = Vec::new();
        for row in newly {
            row.times.served = Some(now);
            if row.phase.is_over() {
                row.times.ended.get_or_insert(now);
            }
            ids.push(row.id.clone());
        }
        for id in ids {
            self.event(
                EventKind::Served,
                Some(&id),
                served.as_ref(),
                "every worker of the router uses it".into(),
            );
        }
        true
    }

    fn taken(&mut self, environment: &EnvironmentId) -> bool {
        self.rows.app.singletons.holder = None;
        self.rows.app.singletons.given = false;
        self.event(
            EventKind::SingletonsTaken,
            None,
            Some(environment),
            "its workers and crons stopped".into(),
        );
        true
    }

    fn given(&mut self, environment: &EnvironmentId) -> bool {
        self.rows.app.singletons.given = true;
        self.event(EventKind::SingletonsGiven, None, Some(environment), "workers and crons run here".into());
        true
    }

    fn built(&mut self, id: &DeploymentId, cached: bool) -> bool {
        let text = if cached { "the release was in the cache" } else { "the release is sealed" };
        let happened = self.deployment(id, Happening::Built);
        self.event(EventKind::Built, Some(id), None, text.into());
        happened
    }

    fn raised(&mut self, id: &EnvironmentId, backends: &[Backend]) -> bool {
        let Some(row) = self.rows.environment(id) else { return false };
        let expected: Vec<InstanceId> = row.instance_ids().collect();
        if !backends.iter().map(|b| &b.instance).eq(expected.iter()) {
            return false;
        }
        let happened = self.environment(id, Motion::Raised);
        let now = self.now;
        if let Some(row) = self.rows.environment_mut(id) {
            let epoch = row.epoch << 20;
            row.instances = backends.iter().map(|b| fresh(b, epoch, now)).collect();
        }
        happened
    }

    fn healthy(&mut self, id: &DeploymentId, probes: &[String]) -> bool {
        let Some(row) = self.rows.deployment_mut(id) else { return false };
        row.probes = bounded_lines(probes.to_vec());
        let holds = matches!(row.kind, Kind::Push | Kind::Redeploy);
        if holds && self.rows.app.settings.hold {
            self.event(EventKind::Held, Some(id), None, "healthy; it waits for \"go live\"".into());
            return self.deployment(id, Happening::Holds);
        }
        self.go_live(id);
        true
    }

    fn watched(&mut self, id: &DeploymentId, until: Time) -> bool {
        // A look that ended before the bake does prove nothing.
        if self.now < until {
            return false;
        }
        self.bake(id, "it stayed healthy");
        true
    }

    pub(crate) fn watch_broke(&mut self, id: &DeploymentId, failure: &Failure) -> bool {
        if self.can_go_back() {
            self.roll_back(id, failure.clone());
            return true;
        }
        let retry_at = self.now.plus(WATCH_AGAIN_MS);
        let Some(row) = self.rows.deployment_mut(id) else { return false };
        let first = row.retry_at.replace(retry_at).is_none();
        if first {
            self.event(EventKind::BothBroken, Some(id), None, failure.message.clone());
        }
        true
    }

    /// The candidate was a task, and ended well: its deployment has its verdict, and whatever was live before still is.
    fn task_done(&mut self, environment: &EnvironmentId) -> bool {
        let of = self.rows.candidate().filter(|d| d.environment.as_ref() == Some(environment));
        let Some(id) = of.map(|d| d.id.clone()) else { return false };
        self.finish_task(&id);
        true
    }

    fn raise_broke(&mut self, environment: &EnvironmentId, failure: &Failure) -> bool {
        let of = self.rows.candidate().filter(|d| d.environment.as_ref() == Some(environment));
        let Some(id) = of.map(|d| d.id.clone()) else { return false };
        self.fail(&id, failure.clone());
        true
    }

    fn repaired(&mut self, environment: &EnvironmentId, instance: &InstanceId, backend: &Backend) -> bool {
        let now = self.now;
        if backend.instance != *instance {
            return false;
        }
        let Some(row) = self.instance_mut(environment, instance) else { return false };
        let restarts = row.restarts + 1;
        *row = Instance { restarts, ..fresh(backend, row.epoch + 1, now) };
        self.event(EventKind::InstanceBack, None, Some(environment), format!("{instance} runs again"));
        true
    }

    fn repair_broke(&mut self, environment: &EnvironmentId, instance: &InstanceId) -> bool {
        let now = self.now;
        let Some(row) = self.instance_mut(environment, instance) else { return false };
        let Health::Lost { attempts, .. } = row.health else { return false };
        let attempts = attempts + 1;
        row.health = Health::Lost { attempts, retry_at: now.plus(back_off_ms(row.restarts + attempts)) };
        true
    }

    fn instance_mut(&mut self, environment: &EnvironmentId, instance: &InstanceId) -> Option<&mut Instance> {
        self.rows.environment_mut(environment)?.instances.iter_mut().find(|i| i.id == *instance)
    }

    fn cannot_sleep(&mut self, id: &EnvironmentId, failure: &Failure) -> bool {
        let Some(row) = self.rows.environment_mut(id) else { return false };
        row.sleepless = true;
        row.epoch += 1;
        self.event(EventKind::Troubled, None, Some(id), failure.message.clone());
        true
    }

    fn lowered(&mut self, id: &EnvironmentId, motion: Motion, kind: EventKind) -> bool {
        let happened = self.environment(id, motion);
        let state = self.rows.environment(id).map_or("gone", |e: &super::Environment| State::word(e.state));
        self.event(kind, None, Some(id), format!("it is {state}"));
        happened
    }
}

fn fresh(backend: &Backend, epoch: u64, now: Time) -> Instance {
    Instance {
        id: backend.instance.clone(),
        address: backend.address,
        tcp: backend.tcp,
        epoch,
        health: Health::Good,
        restarts: 0,
        since: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_grows_to_a_minute_and_no_further() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 7, 8, u32::MAX].into_iter().map(back_off_ms).collect();
        assert_eq!(pauses, [0, 1_000, 2_000, 4_000, 60_000, 60_000, 60_000]);
    }
}
