//! Looks every ten seconds at what the router counts and what instances use, keeps the sums, and reports each switch once the half minute after it is over.
//!
//! It only looks: it must never decide anything, hold up a deployment, or fail one. A look that does not succeed leaves a gap.

use crate::{
    log::TEAL,
    switchreport,
    world::{World, now},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};
use teal_core::{
    deploy::{Environment, Rows, State},
    id::{AppId, InstanceId},
    metrics::{Metrics, Served},
    sample::{Sample, Sampled},
};
use teal_runtime::Runtime;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(10);
/// Looks that are remembered for reports: the half minutes around a switch and the time until somebody looks.
const REMEMBERED: usize = 12;

/// Looks until the server ends.
pub(crate) async fn keep(world: World) {
    let mut sampler = Sampler::default();
    let mut clock = tokio::time::interval(LOOK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        sampler.pass(&world).await;
    }
}

/// What is remembered from look to look.
#[derive(Default)]
pub(crate) struct Sampler {
    looks: VecDeque<Metrics>,
    cpu_us: HashMap<InstanceId, u64>,
}

impl Sampler {
    /// One look.
    pub(crate) async fn pass(&mut self, world: &World) {
        let metrics = match world.link.metrics().await {
            Ok((metrics, _)) => metrics,
            Err(error) => return tracing::debug!(%error, "the router does not tell what it counts"),
        };
        let apps = match world.store.census().await {
            Ok(apps) => apps,
            Err(error) => return tracing::warn!(%error, "the apps cannot be read; this look is left out"),
        };
        let uses = self.uses(world, &apps).await;
        if let Some(last) = self.looks.back() {
            let samples = samples(&apps, last, &metrics, &uses);
            if let Err(error) = world.store.add_samples(now(), samples).await {
                tracing::warn!(%error, "what the apps did cannot be kept; this look is left out");
            }
        }
        self.looks.push_back(metrics);
        while self.looks.len() > REMEMBERED {
            self.looks.pop_front();
        }
        self.report(world, &apps).await;
    }

    /// What each instance that is up has used since the last look.
    async fn uses(&mut self, world: &World, apps: &[Rows]) -> HashMap<InstanceId, (u64, u64)> {
        let up = |environment: &&Environment| environment.state == State::Up;
        let environments = apps.iter().flat_map(|rows| rows.environments.iter().filter(up));
        let ids: Vec<InstanceId> =
            environments.flat_map(|e| e.instances.iter().map(|instance| instance.id.clone())).collect();
        let (mut uses, mut cpu_us) = (HashMap::new(), HashMap::new());
        for id in ids {
            let Some(usage) = world.runtime.usage(&id).await else { continue };
            let before = self.cpu_us.get(&id).copied().unwrap_or(usage.cpu_us);
            uses.insert(id.clone(), (usage.cpu_us.saturating_sub(before), usage.memory_bytes));
            cpu_us.insert(id, usage.cpu_us);
        }
        self.cpu_us = cpu_us;
        uses
    }

    /// Reports the switches whose time has come.
    async fn report(&self, world: &World, apps: &[Rows]) {
        for rows in apps {
            for (deployment, view) in switchreport::due(rows, &self.looks) {
                match world.store.add_switch(deployment.clone(), view.clone()).await {
                    Ok(true) => world.say(&deployment, TEAL, &view.sentence()),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%deployment, %error, "the report of a switch cannot be kept")
                    }
                }
            }
        }
    }
}

/// What every app did between two looks. Pure.
fn samples(
    apps: &[Rows],
    before: &Metrics,
    after: &Metrics,
    uses: &HashMap<InstanceId, (u64, u64)>,
) -> Vec<(AppId, Sampled)> {
    let sampled = |rows: &Rows| {
        let mut sampled: Sampled = BTreeMap::new();
        for environment in &rows.environments {
            let sample = of_environment(environment, before, after, uses);
            if !sample.is_nothing() {
                sampled.entry(environment.colour).or_default().beside(&sample);
            }
        }
        (!sampled.is_empty()).then(|| (rows.app.id.clone(), sampled))
    };
    apps.iter().filter_map(sampled).collect()
}

fn of_environment(
    environment: &Environment,
    before: &Metrics,
    after: &Metrics,
    uses: &HashMap<InstanceId, (u64, u64)>,
) -> Sample {
    let none = Served::default();
    // A router that started anew counts from nothing.
    let old = before.environments.get(&environment.id).filter(|_| before.since == after.since);
    let new = after.environments.get(&environment.id);
    let mut sample =
        Sample::between(old.unwrap_or(&none), new.or(old).unwrap_or(&none), after.at.since(before.at));
    if environment.state == State::Up {
        sample.instances = u64::try_from(environment.instances.len()).unwrap_or(u64::MAX);
    }
    for (cpu_us, memory) in environment.instances.iter().filter_map(|instance| uses.get(&instance.id)) {
        sample.cpu_us += cpu_us;
        sample.memory += memory;
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::{deploy::App, route::Colour, time::Time};

    fn shop() -> Rows {
        let settings = crate::appconfig::AppConfig::of(&BTreeMap::new()).expect("legal").machine();
        let mut rows =
            Rows::new(App::new("a-1".parse().expect("legal"), "shop".into(), Vec::new(), settings));
        for (id, colour, state) in [("e-1", "blue", "up"), ("e-2", "green", "up"), ("e-3", "green", "off")] {
            let instance = serde_json::json!({ "id": format!("{id}-0"), "address": "10.0.0.1:8080", "health": "good", "since": 1, "epoch": 1, "restarts": 0 });
            let environment = serde_json::json!({
                "id": id, "deployment": "d-1", "release": "r-1", "image": "host", "config": 1, "count": 1, "colour": colour, "state": state,
                "commit": { "id": "c".repeat(40), "message": "Sell", "author": "Ada" },
                "since": 1, "epoch": 1, "turn": 1, "routed": true, "replaced_at": null, "sleepless": false, "instances": []
            });
            let mut environment: Environment = serde_json::from_value(environment).expect("an environment");
            environment.instances.push(serde_json::from_value(instance).expect("an instance"));
            rows.environments.push(environment);
        }
        rows
    }

    fn look(at: u64, since: u64, counts: &[(&str, u64)]) -> Metrics {
        let served = |answers| Served { answers: [0, answers, 0, 0, 0], ..Served::default() };
        let environments = counts.iter().map(|(id, n)| (id.parse().expect("legal"), served(*n))).collect();
        Metrics { at: Time(at), since: Time(since), environments, ..Metrics::default() }
    }

    #[test]
    fn places_are_summed_and_a_router_that_started_anew_is_counted_from_its_start() {
        let before = look(10_000, 1, &[("e-1", 100), ("e-3", 7)]);
        let after = look(20_000, 1, &[("e-1", 150), ("e-2", 20), ("e-3", 9)]);
        let found = samples(&[shop()], &before, &after, &HashMap::new());
        let sampled = &found[0].1;
        assert_eq!((sampled[&Colour::Blue].answers, sampled[&Colour::Green].answers), (50, 22));
        assert_eq!(sampled[&Colour::Green].span_ms, 10_000);
        let anew = look(30_000, 25_000, &[("e-1", 5)]);
        assert_eq!(samples(&[shop()], &after, &anew, &HashMap::new())[0].1[&Colour::Blue].answers, 5);
    }

    #[test]
    fn an_environment_that_left_the_router_did_nothing_more() {
        let found = samples(&[shop()], &look(1, 1, &[("e-3", 9)]), &look(2, 1, &[]), &HashMap::new());
        assert!(
            found.iter().all(|(_, sampled)| sampled.values().all(|sample| sample.answers == 0)),
            "{found:?}"
        );
    }
}
