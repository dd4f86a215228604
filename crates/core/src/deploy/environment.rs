//! The environment row: a thing that runs or sleeps. What it is *for* is derived and never stored here.

use super::deployment::Commit;
use crate::{
    id::{DeploymentId, EnvironmentId, InstanceId, ReleaseId},
    route::{Backend, Colour},
    time::Time,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What an environment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Named, nothing exists yet.
    New,
    /// It is to run: written before the effect.
    Rising,
    /// Its instances run.
    Up,
    /// It has no traffic any more and gets rid of what is in flight.
    Draining {
        /// Ordinary requests may run until here.
        deadline: Time,
        /// Upgraded streams may run until here.
        cap: Time,
        /// Nothing is in flight any more.
        drained: bool,
    },
    /// Asleep in memory.
    Memory,
    /// Asleep on disk.
    Disk,
    /// Nothing runs; the release is kept.
    Off,
    /// Nothing is left but the row. Final.
    Gone,
}

impl State {
    /// The word for users and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Rising => "rising",
            Self::Up => "up",
            Self::Draining { .. } => "draining",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Off => "off",
            Self::Gone => "gone",
        }
    }

    /// Asleep, in memory or on disk.
    #[must_use]
    pub fn is_asleep(self) -> bool {
        matches!(self, Self::Memory | Self::Disk)
    }
}

/// How one instance of an environment that is up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum Health {
    /// It takes traffic, if its environment does.
    Good,
    /// It died; it is restarted with back-off and gets no traffic meanwhile.
    Lost {
        /// Restarts that failed in a row.
        attempts: u32,
        /// Not restarted before.
        retry_at: Time,
    },
}

/// One instance of an environment that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Which one.
    pub id: InstanceId,
    /// Where it listens, as the router reaches it.
    pub address: SocketAddr,
    /// As [`Backend::tcp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
    /// Grows with each restart, so that what was seen of the one before is not taken for news of this one.
    pub epoch: u64,
    /// How it stands.
    #[serde(flatten)]
    pub health: Health,
    /// Restarts since it last stayed up for long; decides the next back-off.
    #[serde(default)]
    pub restarts: u32,
    /// When it last came up.
    pub since: Time,
}

impl Instance {
    /// It may take traffic.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.health == Health::Good
    }

    /// As the route names it.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Backend { instance: self.id.clone(), address: self.address, tcp: self.tcp }
    }
}

/// A thing that runs or sleeps: a release with a snapshot of the variables and instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Which one; derived from the deployment that made it.
    pub id: EnvironmentId,
    /// The deployment that last used it: the maker, or a wake.
    pub deployment: DeploymentId,
    /// What runs.
    pub commit: Commit,
    /// The built artifact.
    pub release: ReleaseId,
    /// The image version that it runs on.
    pub image: String,
    /// The snapshot of the variables.
    pub config: u64,
    /// How many instances it is to have.
    pub count: u32,
    /// The place that it takes.
    pub colour: Colour,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Since when it is doing that.
    pub since: Time,
    /// Grows with each change of state: answers to effects of an earlier state are dropped.
    pub epoch: u64,
    /// The last turn at which it went live; `None`: never, or it broke while it baked.
    pub turn: Option<u64>,
    /// It was in a route at least once: it is drained before it is lowered.
    pub routed: bool,
    /// When it stopped being live; the clocks of retention count from here.
    pub replaced_at: Option<Time>,
    /// It cannot or must not sleep (sleeping failed, or it broke when it was last raised): it is turned off instead.
    pub sleepless: bool,
    /// Its instances, while it is up. Kept while it drains.
    pub instances: Vec<Instance>,
}

impl Environment {
    /// Up, with at least one good instance.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.state == State::Up && self.instances.iter().any(Instance::is_good)
    }

    /// Up, with all of its instances good.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Up && !self.instances.is_empty() && self.instances.iter().all(Instance::is_good)
    }

    /// The good instances as the route names them, in order.
    #[must_use]
    pub fn backends(&self) -> Vec<Backend> {
        self.instances.iter().filter(|i| i.is_good()).map(Instance::backend).collect()
    }

    /// The ids of all instances that it is to have.
    pub fn instance_ids(&self) -> impl Iterator<Item = InstanceId> + '_ {
        (0..self.count).map(|n| self.id.instance(n))
    }
}
