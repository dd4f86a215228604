//! What the machine asks of the world, and what the world answers. Effects are idempotent and keyed by ids that were chosen beforehand.

use super::failure::Failure;
use crate::{
    id::{DeploymentId, EnvironmentId, InstanceId, ReleaseId},
    route::{AppRoute, Backend},
    time::Time,
};
use serde::{Deserialize, Serialize};

/// An effect that is due. Equal steps are the same effect; a step that `plan` no longer wants is to be aborted and its answer dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Make the router use this route of the app. Done when every worker acknowledged it durably; a lower number never follows a higher one.
    Route {
        /// Its number.
        number: u64,
        /// The route; `None` takes the app out of the table.
        route: Option<AppRoute>,
    },
    /// Stop the workers and crons of this environment; done when none of them runs (also: when the instances are not there).
    Take {
        /// Of which environment.
        environment: EnvironmentId,
    },
    /// Run workers and crons, once, in this environment.
    Give {
        /// In which environment.
        environment: EnvironmentId,
        /// The instance that runs them, by its epoch: a restarted instance has to be told again.
        epoch: u64,
    },
    /// Build the commit of a deployment, or find its release in the cache: [`Fact::Built`].
    Build {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Broke after this.
        deadline: Time,
    },
    /// Make all instances of an environment run, whatever they were (asleep, half-started, absent: then from the release): [`Fact::Raised`].
    Raise {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
        /// Broke after this.
        deadline: Time,
    },
    /// Probe a candidate until it is healthy: [`Fact::Healthy`].
    Check {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Its environment.
        environment: EnvironmentId,
        /// The environment's epoch.
        epoch: u64,
        /// Broke after this.
        deadline: Time,
    },
    /// Watch the live environment while it bakes. Done by a successful check *at or after* `until`; broke as soon as it breaks.
    Watch {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Its environment.
        environment: EnvironmentId,
        /// When the bake may end.
        until: Time,
    },
    /// Restart one dead instance of an environment that is up, and probe it until it is healthy: [`Fact::Repaired`].
    Repair {
        /// Which environment.
        environment: EnvironmentId,
        /// Which instance.
        instance: InstanceId,
        /// Its epoch.
        epoch: u64,
    },
    /// Wait until nothing is in flight: ordinary requests until `deadline`, upgraded streams until `cap`, then cut the rest.
    Drain {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
        /// For ordinary requests.
        deadline: Time,
        /// For upgraded streams; may come nearer while it drains.
        cap: Time,
    },
    /// Put a drained environment to sleep in memory; no SIGTERM. Broke: it is turned off instead.
    Sleep {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
    },
    /// From memory to disk. Broke: it is turned off instead.
    Disk {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
    },
    /// Nothing of it runs any more: SIGTERM, deadline, SIGKILL. Its release stays.
    Off {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
    },
    /// Nothing of it is left: instances, writable layers, snapshots, addresses. The release is collected elsewhere.
    Remove {
        /// Which environment.
        environment: EnvironmentId,
        /// Its epoch.
        epoch: u64,
    },
}

/// What must not run at once: two steps of one lane exclude each other, also if one of them is being aborted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// The app's route.
    Route,
    /// The app's build.
    Build(DeploymentId),
    /// What is done *to* an environment.
    Environment(EnvironmentId),
    /// One instance of an environment that is up.
    Instance(InstanceId),
    /// Workers and crons.
    Singletons,
    /// What only looks.
    Probe(DeploymentId),
}

impl Lane {
    /// Must they wait for each other? What is done to an environment excludes what is done to one of its instances.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Environment(environment), Self::Instance(instance))
            | (Self::Instance(instance), Self::Environment(environment)) => {
                instance.environment().as_ref() == Some(environment)
            }
            _ => self == other,
        }
    }
}

impl Step {
    /// A short, unique and stable text: the key of the task that performs it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Route { number, .. } => format!("route-{number}"),
            Self::Take { environment } => format!("take-{environment}"),
            Self::Give { environment, epoch } => format!("give-{environment}-{epoch}"),
            Self::Build { deployment, .. } => format!("build-{deployment}"),
            Self::Raise { environment, epoch, .. } => format!("raise-{environment}-{epoch}"),
            Self::Check { deployment, epoch, .. } => format!("check-{deployment}-{epoch}"),
            Self::Watch { deployment, .. } => format!("watch-{deployment}"),
            Self::Repair { instance, epoch, .. } => format!("repair-{instance}-{epoch}"),
            Self::Drain { environment, epoch, cap, .. } => format!("drain-{environment}-{epoch}-{}", cap.0),
            Self::Sleep { environment, epoch } => format!("sleep-{environment}-{epoch}"),
            Self::Disk { environment, epoch } => format!("disk-{environment}-{epoch}"),
            Self::Off { environment, epoch } => format!("off-{environment}-{epoch}"),
            Self::Remove { environment, epoch } => format!("remove-{environment}-{epoch}"),
        }
    }

    /// What it must not run beside.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Route { .. } => Lane::Route,
            Self::Take { .. } | Self::Give { .. } => Lane::Singletons,
            Self::Build { deployment, .. } => Lane::Build(deployment.clone()),
            Self::Check { deployment, .. } | Self::Watch { deployment, .. } => {
                Lane::Probe(deployment.clone())
            }
            Self::Repair { instance, .. } => Lane::Instance(instance.clone()),
            Self::Raise { environment, .. }
            | Self::Drain { environment, .. }
            | Self::Sleep { environment, .. }
            | Self::Disk { environment, .. }
            | Self::Off { environment, .. }
            | Self::Remove { environment, .. } => Lane::Environment(environment.clone()),
        }
    }
}

/// What an effect learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// It is so; nothing to add.
    Plain,
    /// The release is there.
    Built {
        /// Which one.
        release: ReleaseId,
        /// It was there before.
        cached: bool,
    },
    /// All instances run, in order of their numbers.
    Raised {
        /// Where.
        backends: Vec<Backend>,
    },
    /// It was a task: it ran once, to its end, and nothing of it runs any more.
    Ran,
    /// The candidate is healthy.
    Healthy {
        /// The probes, for the activity.
        probes: Vec<String>,
    },
    /// The instance runs again and is healthy.
    Repaired {
        /// Where.
        backend: Backend,
    },
}

/// What an effect answers. It reports failure only when it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is so.
    Done {
        /// What was learnt.
        fact: Fact,
    },
    /// It is definitely broken.
    Broke {
        /// Why.
        failure: Failure,
    },
    /// Not known; it is tried again.
    Unknown,
}

/// What the world noticed by itself. Applied like an answer: dropped if it is not news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "observation", rename_all = "snake_case")]
pub enum Observation {
    /// An instance exited, or is beyond reach for good.
    Lost {
        /// Of which environment.
        environment: EnvironmentId,
        /// Which instance.
        instance: InstanceId,
        /// The epoch of the instance that was looked at.
        epoch: u64,
        /// Why: exit code, out of memory, the log's tail.
        failure: Failure,
    },
    /// None of an environment's instances exists any more, nor a snapshot of them, as after a reboot.
    Vanished {
        /// Which environment.
        environment: EnvironmentId,
        /// The epoch of the environment that was looked at.
        epoch: u64,
    },
}
