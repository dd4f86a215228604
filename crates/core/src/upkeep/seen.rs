//! What a rollout has to know of an app at one instant, read from the machine's rows.

use crate::{
    deploy::{Deployment, End, Kind, Phase, Rows},
    id::AppId,
    time::Time,
};
use std::collections::BTreeMap;

/// Apps by their ids; one that is not in it is deleted.
pub type Apps = BTreeMap<AppId, Seen>;

/// Everything that a rollout looks at.
#[derive(Debug, Clone)]
pub struct Look<'a> {
    /// The instant.
    pub now: Time,
    /// The window is open.
    pub open: bool,
    /// All apps.
    pub apps: &'a Apps,
}

/// What is known of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// The image that its live environment runs on; `None`: nothing is live.
    pub live: Option<String>,
    /// A user stopped it.
    pub stopped: bool,
    /// Something that a user (or the platform's care for a user's instance) asked for is under way or bakes.
    pub users: bool,
    /// Of these, something is built, started or checked, and competes for the host with us.
    pub works: bool,
    /// A maintenance deployment is under way or bakes, whoever asked for it.
    pub maintained: bool,
    /// It is not to be moved before this.
    pub pinned: Option<Time>,
    /// The deployment that the rollout chose for it.
    pub ours: Ours,
}

/// What became of the deployment that a rollout chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// There is no row of it: it was not asked for yet, or the machine refused it.
    Absent,
    /// It has no verdict yet.
    UnderWay,
    /// It went live, and its bake is over.
    Landed,
    /// It broke.
    Failed,
    /// It was cancelled: who and how.
    Cancelled(String),
    /// A user's deployment took its place.
    Superseded,
}

impl Ours {
    /// The verdict of this row.
    #[must_use]
    pub fn of(deployment: Option<&Deployment>) -> Self {
        match deployment.map(|d| &d.phase) {
            None => Self::Absent,
            Some(Phase::Baked { .. } | Phase::Ended { end: End::Finished }) => Self::Landed,
            Some(Phase::Ended { end: End::Failed { .. } }) => Self::Failed,
            Some(Phase::Ended { end: End::Cancelled { why } }) => Self::Cancelled(why.clone()),
            Some(Phase::Ended { end: End::Superseded { .. } }) => Self::Superseded,
            Some(
                Phase::Queued
                | Phase::Building
                | Phase::Ready
                | Phase::Starting
                | Phase::Checking
                | Phase::Held
                | Phase::Live { .. },
            ) => Self::UnderWay,
        }
    }
}

impl Seen {
    /// What an app's rows say. `ours` is the deployment that the rollout chose, from wherever it is kept.
    #[must_use]
    pub fn of(rows: &Rows, ours: Option<&Deployment>, pinned: Option<Time>) -> Option<Self> {
        if rows.app.deleted.is_some() {
            return None;
        }
        let open = |d: &&Deployment| d.phase.is_attempt() || matches!(d.phase, Phase::Live { .. });
        let users = |d: &Deployment| d.kind != Kind::Maintenance;
        let works = |d: &Deployment| users(d) && d.phase.is_attempt() && d.phase != Phase::Held;
        let under_way: Vec<&Deployment> = rows.deployments.iter().filter(open).collect();
        Some(Self {
            name: rows.app.name.clone(),
            live: rows.live().map(|environment| environment.image.clone()),
            stopped: rows.app.stopped.is_some(),
            users: under_way.iter().any(|d| users(d)),
            works: under_way.iter().any(|d| works(d)),
            maintained: under_way.iter().any(|d| !users(d)),
            pinned,
            ours: Ours::of(ours),
        })
    }

    /// It is live on another image than this one.
    #[must_use]
    pub fn is_behind(&self, image: &str) -> bool {
        self.live.as_ref().is_some_and(|live| live != image)
    }

    /// It may move to this image now, but for what is under way.
    #[must_use]
    pub fn may_move(&self, image: &str, now: Time) -> bool {
        self.is_behind(image) && !self.stopped && self.pin(now).is_none()
    }

    /// Until when it is pinned, if it still is.
    #[must_use]
    pub fn pin(&self, now: Time) -> Option<Time> {
        self.pinned.filter(|until| *until > now)
    }
}
