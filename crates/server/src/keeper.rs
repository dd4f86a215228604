//! The keeper: notices what happens by itself (an instance died, a reboot) and collects what nobody wants any more. It only looks and removes
//! garbage; what to do about a dead instance is the machine's decision.

use crate::{driver::Driver, release, world::World};
use std::{collections::HashSet, time::Duration};
use teal_core::{
    deploy::{Environment, Observation, Phase, Rows, State as EnvironmentState, Step},
    engine,
    id::{AppId, EnvironmentId, InstanceId, ReleaseId},
};
use teal_runtime::{Outcome, Runtime, State};

/// From one look at all instances to the next.
const LOOK: Duration = Duration::from_secs(1);
/// From one collection to the next, in looks.
const COLLECT: u32 = 60;
/// Deployments of an app whose logs and releases are kept beyond those that are needed.
const KEPT_LOGS: u32 = 200;
const KEPT_RELEASES: u32 = 5;

/// Looks and collects until the server ends.
pub async fn keep(world: World, driver: Driver) {
    let mut until_collection = 0;
    loop {
        if until_collection == 0 {
            world.collect().await;
            until_collection = COLLECT;
        }
        until_collection -= 1;
        for app in world.store.apps().await.unwrap_or_default() {
            if look(&world, &app.id).await {
                driver.wake(&app.id);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks at one app's instances; whether there was news.
async fn look(world: &World, app: &AppId) -> bool {
    let Ok(Some(rows)) = world.store.load(app).await else { return false };
    let mut news = false;
    for environment in &rows.environments {
        for observation in observations(world, environment).await {
            match engine::observe(world, app, &observation).await {
                Ok(is_news) => news |= is_news,
                Err(error) => tracing::warn!(%app, %error, "what was observed cannot be committed yet"),
            }
        }
    }
    news
}

async fn observations(world: &World, environment: &Environment) -> Vec<Observation> {
    let runs = matches!(
        environment.state,
        EnvironmentState::Up | EnvironmentState::Memory | EnvironmentState::Draining { .. }
    );
    if !runs || environment.instances.is_empty() {
        return Vec::new();
    }
    let mut lost = Vec::new();
    let mut absent = 0;
    for instance in &environment.instances {
        match world.runtime.inspect(&instance.id).await {
            Outcome::Done(inspection) => match inspection.state {
                State::Absent => absent += 1,
                State::Exited(exit) => lost.push((instance, crate::world::exited(&exit))),
                State::Preparing { .. } | State::Running { .. } | State::Frozen => continue,
            },
            Outcome::Broke(_) | Outcome::Unknown(_) => continue,
        }
        if absent > 0 && lost.iter().all(|(known, _)| known.id != instance.id) {
            lost.push((instance, "it is not there any more".into()));
        }
    }
    if absent == environment.instances.len() {
        return vec![Observation::Vanished { environment: environment.id.clone(), epoch: environment.epoch }];
    }
    let observed = |(instance, why): (&teal_core::deploy::Instance, String)| Observation::Lost {
        environment: environment.id.clone(),
        instance: instance.id.clone(),
        epoch: instance.epoch,
        failure: world.ended(&instance.id, &why).bounded(),
    };
    lost.into_iter().filter(|(instance, _)| instance.is_good()).map(observed).collect()
}

impl World {
    /// Removes what no row names: instances, working trees, releases, logs.
    pub async fn collect(&self) {
        // The list comes first: what is started while the rows are read is not in it.
        let Outcome::Done(there) = self.runtime.list().await else { return };
        let Ok(wanted) = self.wanted().await else { return };
        for id in there.into_iter().filter(|id| !wanted.instances.contains(id)) {
            tracing::info!(instance = %id, "nobody wants this instance: it is removed");
            self.remove_instance(&id).await;
        }
        if let Err(error) = self.releases.collect(&wanted.releases, release::GRACE) {
            tracing::warn!(%error, "releases that nobody needs cannot be removed");
        }
        self.builder.collect(&wanted.builds);
        if let Ok(recent) = self.store.recent_deployments(KEPT_LOGS).await {
            self.logs.collect(&recent.into_iter().collect());
        }
    }

    /// What an aborted step may have left behind.
    pub(crate) async fn abandoned(&self, app: &AppId, step: &Step) {
        match step {
            Step::Build { deployment, .. } => self.remove_instance(&deployment.build()).await,
            Step::Raise { environment, .. } => self.abandoned_command(app, environment).await,
            _ => {}
        }
    }

    /// The release command of a deployment that is over. One that goes on is found again, and must not run twice.
    async fn abandoned_command(&self, app: &AppId, environment: &EnvironmentId) {
        let Ok(Some(rows)) = self.store.load(app).await else { return };
        let goes_on = rows.candidate().is_some_and(|d| d.environment.as_ref() == Some(environment));
        if !goes_on {
            self.remove_instance(&environment.release_command()).await;
        }
    }

    pub(crate) async fn remove_instance(&self, id: &InstanceId) {
        match self.runtime.remove(id).await {
            Outcome::Done(()) => drop(self.runtime.forget(id).await),
            Outcome::Broke(failure) => tracing::error!(instance = %id, %failure, "garbage cannot be removed"),
            Outcome::Unknown(why) => {
                tracing::warn!(instance = %id, why, "garbage is removed with the next collection")
            }
        }
    }

    async fn wanted(&self) -> Result<Wanted, crate::store::Error> {
        let mut wanted = Wanted { instances: self.hooks.instances(), ..Wanted::default() };
        for app in self.store.apps().await? {
            if let Some(rows) = self.store.load(&app.id).await? {
                wanted.add(&rows);
            }
            let recent = self.store.deployments(&app.id, KEPT_RELEASES).await?;
            wanted.releases.extend(recent.into_iter().filter_map(|deployment| deployment.release));
        }
        Ok(wanted)
    }

    /// Nothing of a deleted app is left in the runtime and the router: takes away its repository, logs and rows.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub(crate) async fn forget(&self, app: &AppId) -> Result<(), crate::store::Error> {
        let logs = self.store.deployments(app, u32::MAX).await?;
        logs.iter().for_each(|deployment| drop(self.logs.remove(&deployment.id)));
        for directory in [
            crate::platform::repository(&self.config, app),
            self.config.data.join("cache").join(app.as_str()),
        ] {
            let _ = tokio::fs::remove_dir_all(directory).await;
        }
        self.store.forget_app(app.clone()).await
    }
}

/// What rows name.
#[derive(Default)]
struct Wanted {
    instances: HashSet<InstanceId>,
    releases: HashSet<ReleaseId>,
    builds: HashSet<teal_core::id::DeploymentId>,
}

impl Wanted {
    fn add(&mut self, rows: &Rows) {
        for environment in rows.environments.iter().filter(|e| e.state != EnvironmentState::Gone) {
            self.instances.extend(environment.instance_ids());
            self.releases.insert(environment.release.clone());
        }
        for deployment in &rows.deployments {
            self.releases.extend(deployment.release.clone());
            if deployment.phase.is_candidate() {
                self.instances.extend(deployment.environment.as_ref().map(EnvironmentId::release_command));
            }
            if deployment.phase == Phase::Building {
                self.instances.insert(deployment.id.build());
                self.builds.insert(deployment.id.clone());
            }
        }
    }
}
