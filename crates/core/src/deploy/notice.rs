//! What the world noticed by itself: an instance that died, an environment whose instances are all missing.

use super::{
    answer::back_off_ms,
    deployment::Phase,
    draft::Draft,
    environment::{Health, State},
    event::EventKind,
    failure::{Failure, Stage},
    phases::Happening,
    plan,
    roles::Role,
    settings::SECOND,
    states::Motion,
    step::Observation,
    words::Cause,
};
use crate::id::{EnvironmentId, InstanceId};

/// An instance that stayed up this long starts its back-off anew.
const STEADY_MS: u64 = 600 * SECOND;

impl Draft<'_> {
    /// Applies an observation; says whether it was news.
    pub(crate) fn observe(&mut self, observation: &Observation) -> bool {
        match observation {
            Observation::Lost { environment, instance, epoch, failure } => {
                self.lost(environment, instance, *epoch, failure)
            }
            Observation::Vanished { environment, epoch } => self.vanished(environment, *epoch),
        }
    }

    fn lost(&mut self, id: &EnvironmentId, instance: &InstanceId, epoch: u64, failure: &Failure) -> bool {
        let Some(row) = self.rows.environment(id).filter(|e| e.state == State::Up) else { return false };
        let is_news = |i: &super::Instance| i.id == *instance && i.epoch == epoch && i.is_good();
        if !row.instances.iter().any(is_news) {
            return false;
        }
        let tended = plan::is_tended(&self.rows, row);
        let candidate =
            self.rows.candidate().filter(|d| d.environment.as_ref() == Some(id)).map(|d| d.id.clone());
        if !tended && candidate.is_none() {
            return false;
        }
        self.mark_lost(id, instance, epoch);
        self.event(
            EventKind::InstanceLost,
            None,
            Some(id),
            format!("{}: {}", Cause::MonitoringUnreachable, failure.message),
        );
        if let Some(candidate) = candidate {
            let held = self.rows.deployment(&candidate).is_some_and(|d| d.phase == Phase::Held);
            let stage = if held { Stage::Held } else { Stage::Check };
            self.fail(&candidate, Failure { stage, ..failure.clone() });
        }
        let baking = self.rows.baking().filter(|d| d.environment.as_ref() == Some(id)).map(|d| d.id.clone());
        if let Some(baking) = baking {
            self.watch_broke(&baking, &Failure { stage: Stage::Bake, ..failure.clone() });
        }
        true
    }

    /// No traffic for it, and a restart after its back-off.
    fn mark_lost(&mut self, id: &EnvironmentId, instance: &InstanceId, epoch: u64) {
        let now = self.now;
        let Some(environment) = self.rows.environment_mut(id) else { return };
        let Some(place) = environment.instances.iter().position(|i| i.id == *instance && i.epoch == epoch)
        else {
            return;
        };
        let row = &mut environment.instances[place];
        if now.since(row.since) >= STEADY_MS {
            row.restarts = 0;
        }
        row.health = Health::Lost { attempts: 0, retry_at: now.plus(back_off_ms(row.restarts)) };
        let ran_singletons = place == 0 && self.rows.app.singletons.holder.as_ref() == Some(id);
        if ran_singletons {
            self.rows.app.singletons.given = false;
        }
    }

    fn vanished(&mut self, id: &EnvironmentId, epoch: u64) -> bool {
        let Some(row) = self.rows.environment(id).filter(|e| e.epoch == epoch) else { return false };
        let (state, tended, sleepless) = (row.state, plan::is_tended(&self.rows, row), row.sleepless);
        match state {
            // There is nothing to wake any more; turning it off clears what may be left (a half-written snapshot).
            State::Draining { .. } | State::Memory if !sleepless => self.cannot_wake(id),
            State::Up if tended => {
                let instances: Vec<_> =
                    row.instances.iter().filter(|i| i.is_good()).map(|i| (i.id.clone(), i.epoch)).collect();
                if instances.is_empty() {
                    return false;
                }
                instances.iter().for_each(|(instance, epoch)| self.mark_lost(id, instance, *epoch));
                self.start_again(id);
            }
            // While users still get it, it is not raised anew: the next look comes after the acknowledgement.
            State::Up if self.role(id) == Role::Candidate && plan::is_free(&self.rows, id) => {
                self.environment(id, Motion::Vanishes);
                self.start_again(id);
            }
            State::New | State::Rising | State::Up | State::Draining { .. } => return false,
            State::Memory | State::Disk | State::Off | State::Gone => return false,
        }
        self.event(EventKind::Vanished, None, Some(id), "none of its instances was found".into());
        true
    }

    fn cannot_wake(&mut self, id: &EnvironmentId) {
        if self
            .rows
            .environment(id)
            .is_some_and(|e| matches!(e.state, State::Draining { drained: false, .. }))
        {
            self.environment(id, Motion::Drained);
        }
        if let Some(row) = self.rows.environment_mut(id) {
            row.sleepless = true;
            row.epoch += 1;
        }
    }

    /// The candidate of a vanished environment goes one phase back instead of failing.
    fn start_again(&mut self, id: &EnvironmentId) {
        let candidate = self.rows.candidate().filter(|d| d.environment.as_ref() == Some(id));
        let Some(row) = candidate.filter(|d| d.phase != Phase::Starting) else { return };
        let deployment = row.id.clone();
        self.deployment(&deployment, Happening::StartsAgain);
    }
}
