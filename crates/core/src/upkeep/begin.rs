//! Which apps begin now: as many as the cap lets, users first, each after a pause of chance, nobody who is pinned or stopped.

use super::{
    chance,
    rollout::{Progress, Reason, Rollout},
    seen::{Look, Seen},
};
use crate::{id::DeploymentId, time::Time};

/// How long users' deployments may keep a rollout from beginning anything: patches may not wait for ever either.
const PATIENCE_MS: u64 = 600_000;

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maintenance deployments under way at a time.
    pub concurrency: u32,
    /// Failures after which it halts; 0: never.
    pub halt_after: u32,
    /// On average half of this passes from one beginning to the next.
    pub spread_ms: u64,
}

/// Begins what may begin. Says whether anything changed.
pub(super) fn begin(
    rollout: &mut Rollout,
    look: &Look<'_>,
    limits: &Limits,
    mut fresh: impl FnMut() -> DeploymentId,
) -> bool {
    if !(look.open || rollout.at_once) {
        return false;
    }
    let mut changed = leave(rollout, look);
    let mut free = places(rollout, look, limits);
    for place in 0..rollout.apps.len() {
        if free == 0 || look.now < rollout.next_begin {
            break;
        }
        let member = &mut rollout.apps[place];
        let seen = look.apps.get(&member.app);
        let idle = seen.is_some_and(|seen| !seen.users && !seen.maintained);
        if member.progress == Progress::Waiting && idle {
            member.progress = Progress::UnderWay { deployment: fresh() };
            rollout.next_begin = look.now.plus(pause(rollout, limits));
            free -= 1;
            changed = true;
        }
    }
    changed
}

/// Whoever may not be moved is left. Looked at only while others may begin: until then it can change.
fn leave(rollout: &mut Rollout, look: &Look<'_>) -> bool {
    let mut changed = false;
    for member in rollout.apps.iter_mut().filter(|member| member.progress == Progress::Waiting) {
        let why = look.apps.get(&member.app).and_then(|seen| obstacle(seen, look.now));
        if let Some(why) = why {
            member.progress = Progress::Left { why };
            changed = true;
        }
    }
    changed
}

/// Why an app cannot be moved, whatever is under way.
pub(super) fn obstacle(seen: &Seen, now: Time) -> Option<Reason> {
    if seen.live.is_none() && !seen.users {
        return Some(Reason::NothingLive);
    }
    if seen.stopped && !seen.users {
        return Some(Reason::Stopped);
    }
    seen.pin(now).map(|until| Reason::Pinned { until })
}

/// How many may begin: what is under way counts, also of a rollout before this one, and so do users' deployments.
fn places(rollout: &Rollout, look: &Look<'_>, limits: &Limits) -> u32 {
    let ours = rollout.tally().under_way;
    let is_ours =
        |app| rollout.member(app).is_some_and(|member| matches!(member.progress, Progress::UnderWay { .. }));
    let others = look.apps.iter().filter(|(app, seen)| seen.maintained && !is_ours(app)).count();
    let users = look.apps.values().filter(|seen| seen.works).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let busy = ours.saturating_add(count(others));
    let left = limits.concurrency.saturating_sub(busy).saturating_sub(count(users));
    let starved = busy == 0 && limits.concurrency > 0 && look.now.since(rollout.next_begin) >= PATIENCE_MS;
    left.max(u32::from(starved))
}

fn pause(rollout: &Rollout, limits: &Limits) -> u64 {
    let begun = rollout.apps.iter().filter(|member| member.progress != Progress::Waiting).count();
    match limits.spread_ms {
        0 => 0,
        spread => chance::draw(rollout.seed ^ 0x5EED, begun as u64) % spread,
    }
}
