//! The deployment row: one attempt to change what is in production. It never says what an environment is for: roles are derived.

use super::{failure::Failure, words::Cause};
use crate::{
    id::{DeploymentId, EnvironmentId, ReleaseId},
    time::Time,
};
use serde::{Deserialize, Serialize};

/// A commit, as users see it. At most a few hundred bytes: the server shortens the message to its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The full hash.
    pub id: String,
    /// The first line of its message.
    pub message: String,
    /// Who wrote it.
    pub author: String,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A new commit: built, then started in an environment of its own.
    Push,
    /// The spare takes over again, as it is.
    Wake,
    /// A commit from the activity, built (or found in the cache) and started afresh: an explicit revert if it is older.
    Redeploy,
    /// The live commit's release again, in a fresh environment.
    Restart,
    /// The live commit with the newest variables.
    Config,
    /// The live commit's release with another number of instances.
    Scale,
    /// A stopped app again; or the head commit, where nothing is live.
    Start,
    /// The live commit on a newer image.
    Maintenance,
    /// Back to the standby, by the platform.
    Rollback,
}

impl Kind {
    /// Chooses another commit than the live one by a user's explicit wish: it ends every older attempt.
    #[must_use]
    pub fn is_revert(self) -> bool {
        matches!(self, Self::Wake | Self::Redeploy | Self::Start)
    }

    /// Acts on the live commit, which is fixed when it begins.
    #[must_use]
    pub fn keeps_commit(self) -> bool {
        matches!(self, Self::Restart | Self::Config | Self::Scale | Self::Maintenance)
    }
}

/// Where a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its turn to build or to start.
    Queued,
    /// Its commit is being built.
    Building,
    /// Built; waits until it may be the candidate.
    Ready,
    /// Its environment is being raised.
    Starting,
    /// Its environment runs and is being checked.
    Checking,
    /// Healthy; waits for a user's "go live".
    Held,
    /// In production and watched: the bake.
    Live {
        /// The order in which deployments went live.
        turn: u64,
        /// When the bake began.
        since: Time,
    },
    /// It went live and its bake is over. Final for the attempt; whether its environment still is live is a matter of turns.
    Baked {
        /// The order in which deployments went live.
        turn: u64,
    },
    /// It ended without staying in production. Final.
    Ended {
        /// How.
        end: End,
    },
}

impl Phase {
    /// Nothing will happen to it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Baked { .. } | Self::Ended { .. })
    }

    /// It uses an environment that has no traffic yet: the candidate.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        matches!(self, Self::Starting | Self::Checking | Self::Held)
    }

    /// Under way and not in production yet.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        matches!(self, Self::Queued | Self::Building | Self::Ready) || self.is_candidate()
    }

    /// The word for users, logs and failures.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Checking => "checking",
            Self::Held => "held",
            Self::Live { .. } => "live",
            Self::Baked { .. } => "baked",
            Self::Ended { .. } => "ended",
        }
    }
}

/// How a deployment ended without staying in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// It broke: one mail.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// A user cancelled it, stopped or deleted the app: no mail.
    Cancelled {
        /// Who and how, in a sentence.
        why: String,
    },
    /// A newer attempt took its place: no mail.
    Superseded {
        /// Which.
        by: DeploymentId,
    },
    /// It was a task, which ran to its end, and well: nothing of it was to stay.
    // The word that the store counts verdicts by.
    #[serde(rename = "ok")]
    Finished,
}

/// When each phase began, so that durations can be shown. `None`: not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// Asked for.
    pub queued: Time,
    /// The build began.
    pub build: Option<Time>,
    /// The build ended well.
    pub built: Option<Time>,
    /// The environment began to rise.
    pub start: Option<Time>,
    /// The check began.
    pub check: Option<Time>,
    /// Healthy, and held for a user.
    pub held: Option<Time>,
    /// The cut-over.
    pub live: Option<Time>,
    /// The router's acknowledgement of it.
    pub served: Option<Time>,
    /// The verdict is final: baked, failed or cancelled.
    pub ended: Option<Time>,
}

/// One attempt to change what is in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Which one; chosen by whoever asks, before anything is done.
    pub id: DeploymentId,
    /// Its place in the app's one sequence of requests.
    pub request: u64,
    /// What was asked for.
    pub kind: Kind,
    /// Why.
    pub cause: Cause,
    /// Who; the platform's own have none.
    pub author: Option<String>,
    /// Which commit. `None` until it begins for those that act on the live commit.
    pub commit: Option<Commit>,
    /// The image version to build and run on; `None` until it begins for those that keep the live one's.
    pub image: Option<String>,
    /// The snapshot of the variables, fixed when it begins. An opaque number of the store.
    pub config: u64,
    /// Instances to run, fixed when it begins.
    pub instances: u32,
    /// What was built, or is reused.
    pub release: Option<ReleaseId>,
    /// The build was not needed: the release was in the cache.
    pub cached: bool,
    /// The environment that it uses: its own once it starts, or the one that it wakes from the beginning.
    pub environment: Option<EnvironmentId>,
    /// Where it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// The turn that its environment had before this deployment took it live: where a failed wake falls back to.
    #[serde(default)]
    pub turn_before: Option<u64>,
    /// Live and standby were both found broken: the watch goes on from here.
    #[serde(default)]
    pub retry_at: Option<Time>,
    /// When what began.
    pub times: Times,
    /// What it brings besides the commit, in a sentence: the packages that a newer image changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Probes of the check and the like, for the activity; at most [`super::failure::MAX_DETAILS`] lines.
    #[serde(default)]
    pub probes: Vec<String>,
}
