//! What users (and the platform's own chores) may ask for, and the refusals by name.

use super::{deployment::Commit, settings::Settings, words::Cause};
use crate::id::DeploymentId;
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The id of the deployment that this request may make; chosen beforehand, so that asking twice is asking once.
    pub id: DeploymentId,
    /// Why.
    pub cause: Cause,
    /// Who; the platform's own have none.
    pub author: Option<String>,
    /// What.
    pub act: Act,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// Deploy this new commit.
    Push {
        /// Which.
        commit: Commit,
        /// The image version to build on.
        image: String,
    },
    /// "Start last pushed commit": see `wake_target`.
    Wake,
    /// Deploy this commit of the past.
    Redeploy {
        /// Which.
        commit: Commit,
        /// The image version to build on.
        image: String,
    },
    /// The live commit again.
    Restart,
    /// The variables changed.
    Config {
        /// The new snapshot's number.
        config: u64,
    },
    /// Another number of instances.
    Scale {
        /// How many.
        instances: u32,
    },
    /// End production until a start.
    Stop,
    /// Production again.
    Start,
    /// End a deployment.
    Cancel {
        /// Which.
        deployment: DeploymentId,
    },
    /// Let a held deployment go live.
    GoLive {
        /// Which.
        deployment: DeploymentId,
    },
    /// End everything.
    Delete,
    /// Run the live commit on this image.
    Maintenance {
        /// Which image version.
        image: String,
        /// What differs from the one that it runs on, in a sentence for the activity, the log and the mail.
        note: Option<String>,
    },
    /// Other settings or domains, from now on; nothing is deployed.
    Set {
        /// The settings; `instances` is left as it is: see [`Act::Scale`].
        settings: Settings,
        /// The app's name.
        name: String,
        /// The domains.
        domains: Vec<String>,
    },
}

/// Why a request is refused. Each has a sentence and a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// See the sentence.
    #[error("the app is deleted")]
    Deleted,
    /// See the sentence.
    #[error("nothing is live, so there is no commit to act on")]
    NothingLive,
    /// See the sentence.
    #[error("the app is stopped")]
    AppStopped,
    /// See the sentence.
    #[error("the app is already stopped")]
    AlreadyStopped,
    /// See the sentence.
    #[error("the app is already running")]
    AlreadyRunning,
    /// See the sentence.
    #[error("there is no other version to start: the last pushed commit is live")]
    NoSpare,
    /// See the sentence.
    #[error("nothing was ever pushed")]
    NothingPushed,
    /// See the sentence.
    #[error("this deployment is already live")]
    AlreadyLive,
    /// See the sentence.
    #[error("this deployment has already ended")]
    AlreadyEnded,
    /// See the sentence.
    #[error("there is no such deployment under way")]
    NoSuchDeployment,
    /// See the sentence.
    #[error("the standby is broken, so production cannot go back to it: traffic stays")]
    StandbyBroken,
    /// See the sentence.
    #[error("this deployment does not wait for a \"go live\"")]
    NotHeld,
    /// See the sentence.
    #[error("the number of instances must be between 1 and 64")]
    BadCount,
    /// See the sentence.
    #[error("the live environment runs on this image already")]
    SameImage,
}

impl Refusal {
    /// What to do instead.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Deleted => "create the app again",
            Self::NothingLive | Self::NothingPushed => "push a commit first",
            Self::AppStopped => "start it first",
            Self::AlreadyStopped => "start it, or push a commit",
            Self::AlreadyRunning => "restart it, or push a commit",
            Self::NoSpare => "redeploy a commit from the activity",
            Self::AlreadyLive => "wake the version before it instead",
            Self::AlreadyEnded | Self::NoSuchDeployment | Self::NotHeld => {
                "see the activity for what is under way"
            }
            Self::StandbyBroken => "push a fix, or redeploy a commit from the activity",
            Self::BadCount => "choose a number from 1 to 64",
            Self::SameImage => "nothing has to be done",
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accepted {
    /// The deployment that does it: a new one, or the one that was doing it already. `None`: nothing has to be deployed.
    pub deployment: Option<DeploymentId>,
}

impl Accepted {
    pub(crate) fn deployment(id: &DeploymentId) -> Self {
        Self { deployment: Some(id.clone()) }
    }
}
