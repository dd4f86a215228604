//! What each step does to the simulated world, and how long it takes there.

use crate::world::{Inner, Life, Sim};
use teal_core::{
    deploy::{Fact, Failure, Outcome, Rows, Stage, Step, mentions},
    engine::done,
    id::{DeploymentId, EnvironmentId, InstanceId, ReleaseId},
    route::AppRoute,
    time::Time,
};

fn broke(stage: Stage, message: &str) -> Outcome {
    Outcome::Broke { failure: Failure::new(stage, message) }
}

/// How often a probe looks, in milliseconds.
const PROBE_MS: u64 = 1_000;

impl Sim {
    /// Performs a step, with the time that it takes.
    pub(crate) async fn effect(&self, rows: &Rows, step: &Step) -> Outcome {
        match step {
            Step::Route { number, route } => {
                self.wait(5).await;
                let outcome = self.call(|w| push(w, *number, route));
                self.wait(5).await;
                outcome
            }
            Step::Take { environment } => {
                self.wait(10).await;
                self.call(|w| {
                    w.thing(environment).instances.values_mut().for_each(|i| i.workers = false);
                    done()
                })
            }
            Step::Give { environment, .. } => {
                self.wait(10).await;
                self.call(|w| give(w, environment))
            }
            Step::Build { deployment, .. } => self.build(rows, deployment).await,
            Step::Raise { environment, .. } => self.raise(rows, environment).await,
            Step::Check { environment, .. } => self.check(environment).await,
            Step::Watch { environment, until, .. } => self.watch(environment, *until).await,
            Step::Repair { environment, instance, .. } => self.repair(environment, instance).await,
            Step::Drain { environment, deadline, cap, .. } => self.drain(environment, *deadline, *cap).await,
            Step::Sleep { environment, .. } => {
                self.wait(50).await;
                self.call(|w| sleep(w, environment))
            }
            Step::Disk { environment, .. } => {
                self.lowered(environment, 500, |w| w.thing(environment).snapshot = true).await
            }
            Step::Off { environment, .. } => {
                self.lowered(environment, 300, |w| w.thing(environment).snapshot = false).await
            }
            Step::Remove { environment, .. } => {
                let gone = |w: &mut Inner| {
                    w.things.remove(environment);
                    w.removed.insert(environment.clone());
                };
                self.lowered(environment, 300, gone).await
            }
        }
    }

    async fn lowered(&self, id: &EnvironmentId, ms: u64, and: impl FnOnce(&mut Inner)) -> Outcome {
        self.wait(ms).await;
        self.call(|w| {
            w.lower(id, Life::Absent);
            and(w);
            done()
        })
    }

    async fn repair(&self, id: &EnvironmentId, instance: &InstanceId) -> Outcome {
        self.wait(2_000).await;
        self.call(|w| {
            if w.manners_of(id).repair_fails {
                return broke(Stage::Start, "it dies again");
            }
            let backend = w.start(id, instance);
            Outcome::Done { fact: Fact::Repaired { backend } }
        })
    }

    async fn drain(&self, id: &EnvironmentId, deadline: Time, cap: Time) -> Outcome {
        let left = self.lock().left.get(id).cloned();
        let (since, manners) = left.unwrap_or_default();
        self.wait_until(since.plus(manners.busy_ms).min(deadline)).await;
        self.wait_until(since.plus(manners.streams_ms).min(cap)).await;
        self.wait(20).await;
        done()
    }

    async fn build(&self, rows: &Rows, id: &DeploymentId) -> Outcome {
        let commit = rows.deployment(id).and_then(|d| d.commit.clone()).map_or_else(String::new, |c| c.id);
        let manners = self.lock().manners.get(&commit).cloned().unwrap_or_default();
        if manners.build_hangs {
            self.wait_until(Time(u64::MAX)).await;
        }
        self.wait(10_000).await;
        self.call(|_| {
            if manners.build_fails {
                return broke(Stage::Build, "`npm ci` ended with 1");
            }
            let release: ReleaseId = format!("r-{commit}").parse().expect("legal");
            Outcome::Done { fact: Fact::Built { release, cached: false } }
        })
    }

    async fn raise(&self, rows: &Rows, id: &EnvironmentId) -> Outcome {
        let ids: Vec<InstanceId> =
            rows.environment(id).map(|e| e.instance_ids().collect()).unwrap_or_default();
        // An environment that is woken, or was live before, is none.
        let own = rows.candidate().is_some_and(|d| d.id.environment() == *id);
        if own && self.lock().manners_of(id).task {
            self.wait(1_000).await;
            return self.call(|w| match w.manners_of(id).raise_fails {
                true => broke(Stage::Start, "the task exited with code 1"),
                false => Outcome::Done { fact: Fact::Ran },
            });
        }
        let mut backends = Vec::new();
        for instance in &ids {
            self.wait(1_000).await;
            let mut backend = None;
            let outcome = self.call(|w| {
                if w.manners_of(id).raise_fails {
                    return broke(Stage::Start, "it exits with 1");
                }
                backend = Some(w.start(id, instance));
                done()
            });
            match (outcome, backend) {
                (Outcome::Done { .. }, Some(backend)) => backends.push(backend),
                (other, _) => return other,
            }
        }
        Outcome::Done { fact: Fact::Raised { backends } }
    }

    async fn check(&self, id: &EnvironmentId) -> Outcome {
        if self.lock().manners_of(id).check_hangs {
            self.wait_until(Time(u64::MAX)).await;
        }
        self.wait(1_000).await;
        self.call(|w| {
            if w.things.get(id).is_none_or(|t| t.instances.is_empty()) {
                // Nothing is there to be probed, as after a reboot: that is for the look to say.
                return Outcome::Unknown;
            }
            if w.manners_of(id).check_fails || !w.is_sound(id) {
                return broke(Stage::Check, "GET / returned 500");
            }
            Outcome::Done { fact: Fact::Healthy { probes: vec!["GET / 200 in 3 ms".into()] } }
        })
    }

    async fn watch(&self, id: &EnvironmentId, until: Time) -> Outcome {
        loop {
            let (now, sick) = {
                let inner = self.lock();
                (inner.now, inner.manners_of(id).sick || !inner.is_sound(id))
            };
            if sick {
                return self.call(|_| broke(Stage::Bake, "three probes in a row failed"));
            }
            if now >= until || self.lock().hurry {
                return self.call(|_| done());
            }
            self.wait(PROBE_MS * 5).await;
        }
    }
}

fn push(w: &mut Inner, number: u64, route: &Option<AppRoute>) -> Outcome {
    if number < w.router_number {
        return Outcome::Unknown;
    }
    w.router_number = number;
    let before = w.router.take();
    for target in before.iter().flat_map(|r| [&r.live, &r.standby]).flatten() {
        if !mentions(route.as_ref(), &target.environment) {
            let manners = w.manners_of(&target.environment);
            w.left.insert(target.environment.clone(), (w.now, manners));
        }
    }
    w.router.clone_from(route);
    done()
}

fn give(w: &mut Inner, environment: &EnvironmentId) -> Outcome {
    match w.things.get_mut(environment).and_then(|t| t.instances.get_mut(&environment.instance(0))) {
        Some(inst) if inst.life == Life::Running => {
            inst.workers = true;
            done()
        }
        _ => Outcome::Unknown,
    }
}

fn sleep(w: &mut Inner, environment: &EnvironmentId) -> Outcome {
    if w.manners_of(environment).cannot_sleep || !w.is_whole_or_asleep(environment) {
        return broke(Stage::Start, "it cannot be frozen");
    }
    w.lower(environment, Life::Frozen);
    done()
}
