//! The app row, and all rows of one app together: what `plan` looks at.

use super::{
    deployment::{Commit, Deployment},
    environment::{Environment, State},
    settings::Settings,
};
use crate::{
    id::{AppId, DeploymentId, EnvironmentId},
    route::AppRoute,
    time::Time,
};
use serde::{Deserialize, Serialize};

/// The last pushed commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which commit.
    pub commit: Commit,
    /// The deployment that brought it.
    pub deployment: DeploymentId,
    /// The image version that it was to be built on.
    pub image: String,
}

/// What the router was asked for and what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routing {
    /// Grows whenever the computed route changes, in the very commit that changes it.
    pub number: u64,
    /// The computed route; `None`: the app is not in the table.
    pub asked: Option<AppRoute>,
    /// The number that every worker of the router acknowledged last.
    pub acknowledged: u64,
    /// The route under that number: what is *served*.
    pub served: Option<AppRoute>,
    /// Since when that is served.
    pub served_at: Option<Time>,
}

impl Routing {
    /// The router uses what the rows say.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.number == self.acknowledged
    }

    /// The environment that users get, as far as the router acknowledged.
    #[must_use]
    pub fn served_environment(&self) -> Option<&EnvironmentId> {
        self.served.as_ref()?.live.as_ref().map(|target| &target.environment)
    }
}

/// Who runs the workers and crons. Written before the effect: whoever is named here *may* run them, nobody else does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Singletons {
    /// The environment that may run them.
    pub holder: Option<EnvironmentId>,
    /// It acknowledged that they run.
    pub given: bool,
}

/// What a user deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Which one, for life.
    pub id: AppId,
    /// Its name; may change.
    pub name: String,
    /// Domains as [`crate::domain`] has them.
    pub domains: Vec<String>,
    /// Grows by one with every commit of this app's rows: the compare-and-swap.
    pub version: u64,
    /// What its owner set.
    pub settings: Settings,
    /// The number of the last request.
    pub requests: u64,
    /// The last turn that was given.
    pub turns: u64,
    /// The request that stopped it, while it is stopped.
    pub stopped: Option<u64>,
    /// The request that deleted it.
    pub deleted: Option<u64>,
    /// The last pushed commit.
    pub head: Option<Head>,
    /// The newest snapshot of the variables. An opaque number of the store.
    pub config: u64,
    /// The last deployment that got a verdict failed, and this is it.
    pub last_failed: Option<DeploymentId>,
    /// What the router was asked for and what it acknowledged.
    pub routing: Routing,
    /// Who runs workers and crons.
    pub singletons: Singletons,
}

impl App {
    /// A new app to which nothing was ever deployed.
    #[must_use]
    pub fn new(id: AppId, name: String, domains: Vec<String>, settings: Settings) -> Self {
        Self {
            id,
            name,
            domains,
            version: 0,
            settings,
            requests: 0,
            turns: 0,
            stopped: None,
            deleted: None,
            head: None,
            config: 0,
            last_failed: None,
            routing: Routing::default(),
            singletons: Singletons::default(),
        }
    }
}

/// All rows of one app that matter: deployments that are over and environments that are gone may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The app.
    pub app: App,
    /// Its deployments.
    pub deployments: Vec<Deployment>,
    /// Its environments.
    pub environments: Vec<Environment>,
}

impl Rows {
    /// The rows of an app to which nothing was ever deployed.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { app, deployments: Vec::new(), environments: Vec::new() }
    }

    /// A deployment by its id.
    #[must_use]
    pub fn deployment(&self, id: &DeploymentId) -> Option<&Deployment> {
        self.deployments.iter().find(|d| d.id == *id)
    }

    /// An environment by its id.
    #[must_use]
    pub fn environment(&self, id: &EnvironmentId) -> Option<&Environment> {
        self.environments.iter().find(|e| e.id == *id)
    }

    /// The one deployment that is in production and not yet baked.
    #[must_use]
    pub fn baking(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|d| matches!(d.phase, super::Phase::Live { .. }))
    }

    /// The one deployment whose environment is a candidate.
    #[must_use]
    pub fn candidate(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|d| d.phase.is_candidate())
    }

    /// Deleted, and nothing is left: the rows may go.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.app.deleted.is_some()
            && self.app.routing.is_settled()
            && self.environments.iter().all(|e| e.state == State::Gone)
            && self.deployments.iter().all(|d| d.phase.is_over())
    }

    pub(crate) fn deployment_mut(&mut self, id: &DeploymentId) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|d| d.id == *id)
    }

    pub(crate) fn environment_mut(&mut self, id: &EnvironmentId) -> Option<&mut Environment> {
        self.environments.iter_mut().find(|e| e.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_their_own_json() {
        let app = App::new(
            "a-shop".parse().expect("legal"),
            "shop".into(),
            vec!["shop.test".into()],
            Settings::default(),
        );
        let rows = Rows::new(app);
        let json = serde_json::to_string(&rows).expect("serialises");
        assert_eq!(serde_json::from_str::<Rows>(&json).expect("parses"), rows);
        let environment = r#"{"id":"e-1","deployment":"d-1","commit":{"id":"a","message":"m","author":"x"},"release":"r-1",
            "image":"i","config":0,"count":1,"colour":"blue","state":"draining","deadline":1,"cap":2,"drained":false,"since":0,
            "epoch":3,"turn":1,"routed":true,"replaced_at":null,"sleepless":false,"instances":[{"id":"e-1-0",
            "address":"10.0.0.2:8080","epoch":1,"health":"lost","attempts":2,"retry_at":5,"since":1}]}"#;
        let parsed: Environment = serde_json::from_str(environment).expect("parses");
        assert_eq!(parsed.state, State::Draining { deadline: Time(1), cap: Time(2), drained: false });
        let again = serde_json::to_string(&parsed).expect("serialises");
        assert_eq!(serde_json::from_str::<Environment>(&again).expect("parses"), parsed);
    }
}
