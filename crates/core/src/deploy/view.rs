//! What users are told, derived from the rows. It speaks of what the router acknowledged, not of what was decided.

use super::{
    app::{Head, Rows},
    deployment::{Deployment, End, Phase},
    environment::Environment,
    request::Refusal,
    words::{Status, Verdict},
};
use crate::time::Time;

impl Deployment {
    /// Nothing will happen to it any more, and its verdict is final. Rows that are over need not be loaded, unless an environment that
    /// still exists names them.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase.is_over() && self.times.ended.is_some()
    }

    /// How it stands, in one word. "OK" is said once the router serves it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.phase {
            Phase::Live { .. } | Phase::Baked { .. } if self.times.served.is_some() => Verdict::Ok,
            Phase::Baked { .. } if self.times.ended.is_some() => Verdict::Ok,
            Phase::Ended { end: End::Finished } => Verdict::Ok,
            Phase::Ended { end: End::Failed { .. } } => Verdict::Fail,
            Phase::Ended { end: End::Cancelled { .. } | End::Superseded { .. } } => Verdict::Cancelled,
            _ => Verdict::Wip,
        }
    }
}

impl Rows {
    /// The deployment that users would call "deploying": the oldest attempt, or one that went live and is not served yet.
    #[must_use]
    pub fn deploying(&self) -> Option<&Deployment> {
        let candidates = self.deployments.iter().filter(|d| d.verdict() == Verdict::Wip);
        candidates.min_by_key(|d| (!d.phase.is_candidate(), d.request))
    }

    /// The environment that users get, as far as the router acknowledged.
    #[must_use]
    pub fn served(&self) -> Option<&Environment> {
        self.environment(self.app.routing.served_environment()?)
    }

    /// How the app stands, in one word.
    #[must_use]
    pub fn status(&self) -> Status {
        let under_way = self.deploying().is_some();
        match (self.app.routing.served_environment().is_some(), under_way) {
            (true, true) => Status::Restarting,
            (true, false) if self.app.last_failed.is_some() => Status::RestartFailed,
            (true, false) => Status::Running,
            (false, true) => Status::Starting,
            (false, false) if self.app.deleted.is_some() => Status::Stopped,
            (false, false) if self.live().is_some() && self.app.stopped.is_none() => Status::Starting,
            (false, false) if self.app.last_failed.is_some() => Status::StartFailed,
            (false, false) => Status::Stopped,
        }
    }

    /// When the spare will be turned off; `None` if there is none.
    #[must_use]
    pub fn off_at(&self) -> Option<Time> {
        self.retention(self.spare()?)[1]
    }
}

/// What "Start last pushed commit" starts. The button names it before the click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeTarget<'a> {
    /// This environment, as it is.
    Environment(&'a Environment),
    /// The last pushed commit, from its release.
    Head(&'a Head),
}

/// What "Start last pushed commit" would start now.
///
/// # Errors
/// If there is nothing to start.
pub fn wake_target(rows: &Rows) -> Result<WakeTarget<'_>, Refusal> {
    let head = rows.app.head.as_ref();
    let Some(live) = rows.live() else {
        return head.map(WakeTarget::Head).ok_or(Refusal::NothingPushed);
    };
    if rows.app.stopped.is_some() {
        let is_head = |e: &&Environment| head.is_none_or(|head| head.commit.id == e.commit.id);
        let kept = [Some(live), rows.way_back()].into_iter().flatten().find(is_head);
        let target = kept.map(WakeTarget::Environment).or(head.map(WakeTarget::Head));
        return Ok(target.unwrap_or(WakeTarget::Environment(live)));
    }
    if let Some(spare) = rows.way_back() {
        return Ok(WakeTarget::Environment(spare));
    }
    head.filter(|head| head.commit.id != live.commit.id).map(WakeTarget::Head).ok_or(Refusal::NoSpare)
}
