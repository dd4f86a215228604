//! The bake: the new live environment is watched. It breaks if an instance exits, three probes in a row fail, or the router is refused;
//! never for a rate of 5xx alone. It ends well only with a good probe of every instance at or after its end.

use super::{
    World,
    check::{exited, last_words},
    now,
};
use crate::instancelog;
use std::{collections::HashMap, time::Duration};
use teal_core::{
    deploy::{Environment, Failure, Outcome, Rows, Stage},
    engine,
    id::{DeploymentId, EnvironmentId, InstanceId},
    time::Time,
};
use teal_runtime::{LogLine, Outcome as Effect, Runtime, State};

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(500);
/// Bad probes in a row that break a bake.
const BAD: u32 = 3;

/// So many lines of a log are shown with a failure.
const LINES: usize = 50;

impl World {
    pub(super) async fn watch(
        &self,
        rows: &Rows,
        deployment: &DeploymentId,
        id: &EnvironmentId,
        until: Time,
    ) -> Outcome {
        let Some(environment) = rows.environment(id) else { return Outcome::Unknown };
        let health = match self.health(rows, environment).await {
            Ok(health) => health,
            Err(outcome) => return outcome,
        };
        let refused_before = self.refused(id).await;
        let mut bad: HashMap<InstanceId, u32> = HashMap::new();
        loop {
            let begun = now();
            if let Some(failure) = self.broken(environment).await {
                return self.baked_badly(deployment, failure);
            }
            let mut all_good = true;
            for backend in environment.backends() {
                let mut failed = None;
                for question in &health.questions {
                    let found = health.probe(&backend, question).await;
                    failed = failed.or((!found.finding.good(health.strict)).then_some(found));
                }
                let count = bad.entry(backend.instance.clone()).or_default();
                *count = if failed.is_some() { *count + 1 } else { 0 };
                all_good &= *count == 0;
                if let Some(found) = failed.filter(|_| *count >= BAD) {
                    let message = format!("{BAD} probes in a row failed after it went live: {found}");
                    return self.baked_badly(deployment, self.evidence(&backend.instance, message));
                }
            }
            if all_good && begun >= until {
                return engine::done();
            }
            if self.refused(id).await > refused_before.saturating_add(2) {
                let failure = Failure::new(
                    Stage::Bake,
                    "the router was refused by the new version repeatedly after it went live",
                );
                return self.baked_badly(deployment, failure);
            }
            let left = Duration::from_millis(until.since(now()).max(1));
            tokio::time::sleep(if all_good { EVERY.min(left) } else { EVERY / 5 }).await;
        }
    }

    /// The first instance that ended, as a failure.
    async fn broken(&self, environment: &Environment) -> Option<Failure> {
        for id in environment.instance_ids() {
            if let Effect::Done(inspection) = self.runtime.inspect(&id).await {
                match inspection.state {
                    State::Exited(exit) => {
                        return Some(self.ended(&id, &format!("{} after it went live", exited(&exit))));
                    }
                    State::Absent => {
                        return Some(Failure::new(
                            Stage::Bake,
                            format!("the instance {id} is not there any more"),
                        ));
                    }
                    State::Preparing { .. } | State::Running { .. } | State::Frozen => {}
                }
            }
        }
        None
    }

    /// A failure with the last lines of the instance's log.
    fn evidence(&self, id: &InstanceId, message: String) -> Failure {
        let lines = instancelog::tail(&self.runtime.log(id), LINES);
        with_lines(message, &lines)
    }

    /// A failure of an instance that ended by itself, with its last words.
    pub(crate) fn ended(&self, id: &InstanceId, how: &str) -> Failure {
        let lines = instancelog::tail(&self.runtime.log(id), LINES);
        with_lines(last_words(how, &lines), &lines)
    }

    async fn refused(&self, id: &EnvironmentId) -> u64 {
        self.link.traffic().await.ok().and_then(|all| all.get(id).map(|traffic| traffic.refused)).unwrap_or(0)
    }

    fn baked_badly(&self, deployment: &DeploymentId, failure: Failure) -> Outcome {
        self.say(deployment, "bake", &failure.message);
        Outcome::Broke { failure: failure.bounded() }
    }
}

fn with_lines(message: String, lines: &[LogLine]) -> Failure {
    let line = |line: &LogLine| format!("{}: {}", line.stage, crate::log::harmless(&line.text));
    Failure { stage: Stage::Bake, message, details: lines.iter().map(line).collect() }
}
