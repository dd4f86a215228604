//! The rows of a rollout: what is stored of it, and nothing that could be computed.

use crate::{
    id::{AppId, DeploymentId, RolloutId},
    image::Change,
    time::Time,
};
use serde::{Deserialize, Serialize};

/// One move of all apps to another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Which one.
    pub id: RolloutId,
    /// Grows by one with every commit: the compare-and-swap.
    pub version: u64,
    /// The image's version that apps move to.
    pub image: String,
    /// The one that most of them came from; `None` if there was none.
    pub from: Option<String>,
    /// What differs between the two, as far as it is known.
    pub changes: Vec<Change>,
    /// Who asked for it; `None`: the platform did.
    pub author: Option<String>,
    /// It does not wait for the window.
    pub at_once: bool,
    /// When it was begun.
    pub started: Time,
    /// When nothing was left to do.
    pub ended: Option<Time>,
    /// How it stands.
    pub state: State,
    /// Failures that a resume forgave: they count to no further halt.
    pub forgiven: u32,
    /// How often it halted.
    pub halts: u32,
    /// No app begins before.
    pub next_begin: Time,
    /// Where its order and its pauses come from.
    pub seed: u64,
    /// Its apps, in the order in which they begin.
    pub apps: Vec<Member>,
}

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Apps begin as places are free.
    Running,
    /// Too many failed: no app begins until a user says so.
    Halted {
        /// Why, in a sentence.
        why: String,
    },
    /// A user ended it. Final.
    Aborted {
        /// Who.
        by: String,
    },
    /// A rollout to another image took its place. Final.
    Replaced {
        /// Which.
        by: RolloutId,
    },
    /// Every app has what it came to. Final.
    Done,
}

impl State {
    /// No app will begin any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Aborted { .. } | Self::Replaced { .. } | Self::Done)
    }

    /// The word for users.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Halted { .. } => "halted",
            Self::Aborted { .. } => "aborted",
            Self::Replaced { .. } => "replaced",
            Self::Done => "done",
        }
    }
}

/// An app of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub app: AppId,
    /// Its name when the rollout began.
    pub name: String,
    /// The image that it was live on then.
    pub from: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far an app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum Progress {
    /// Its turn has not come, or a user's deployment took the place of ours.
    Waiting,
    /// This deployment moves it. Written down before the deployment is asked for.
    UnderWay {
        /// Which.
        deployment: DeploymentId,
    },
    /// It is live on the new image, and its bake is over. Final.
    Moved {
        /// By which deployment.
        deployment: DeploymentId,
    },
    /// It broke on the new image and stays where it was. Final.
    Failed {
        /// Which deployment says why.
        deployment: DeploymentId,
    },
    /// It was left as it is. Final.
    Left {
        /// Why.
        why: Reason,
    },
}

impl Progress {
    /// Nothing will happen to it any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Moved { .. } | Self::Failed { .. } | Self::Left { .. })
    }

    /// The deployment that it is about.
    #[must_use]
    pub fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::UnderWay { deployment } | Self::Moved { deployment } | Self::Failed { deployment } => {
                Some(deployment)
            }
            Self::Waiting | Self::Left { .. } => None,
        }
    }

    /// The word for users.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::UnderWay { .. } => "under-way",
            Self::Moved { .. } => "moved",
            Self::Failed { .. } => "failed",
            Self::Left { .. } => "left",
        }
    }
}

/// Why an app was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It runs on the image already: a user's deployment brought it there.
    Already,
    /// It is pinned.
    Pinned {
        /// Until then.
        until: Time,
    },
    /// It is stopped.
    Stopped,
    /// Nothing of it is live.
    NothingLive,
    /// It was deleted.
    Deleted,
    /// Somebody cancelled its deployment.
    Cancelled {
        /// Who and how.
        why: String,
    },
    /// The rollout ended before its turn came.
    Ended,
}

impl Reason {
    /// It may move later by itself, once what stands in its way is gone.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Pinned { .. } | Self::Stopped)
    }

    /// The sentence for users, but for the date of a pin, which is an instant.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Already => "it runs on this image already".into(),
            Self::Pinned { .. } => "it is pinned".into(),
            Self::Stopped => "it is stopped".into(),
            Self::NothingLive => "nothing of it is live".into(),
            Self::Deleted => "it was deleted".into(),
            Self::Cancelled { why } => why.clone(),
            Self::Ended => "the rollout ended before its turn".into(),
        }
    }
}

/// How many apps stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is named after the progress that it counts")]
pub struct Tally {
    pub waiting: u32,
    pub under_way: u32,
    pub moved: u32,
    pub failed: u32,
    pub left: u32,
}

impl Rollout {
    /// How many apps stand where.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for member in &self.apps {
            let count = match member.progress {
                Progress::Waiting => &mut tally.waiting,
                Progress::UnderWay { .. } => &mut tally.under_way,
                Progress::Moved { .. } => &mut tally.moved,
                Progress::Failed { .. } => &mut tally.failed,
                Progress::Left { .. } => &mut tally.left,
            };
            *count += 1;
        }
        tally
    }

    /// Whoever performs it has something to do or to wait for: it is not over, or a deployment of it is still under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// An app of it.
    #[must_use]
    pub fn member(&self, app: &AppId) -> Option<&Member> {
        self.apps.iter().find(|member| member.app == *app)
    }
}
