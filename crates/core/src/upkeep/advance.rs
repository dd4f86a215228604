//! One step of a rollout: what the verdicts say, whether it halts, who begins. A pure function of the rows and a given instant; the same for the first
//! run, for every look after it and after a crash.

use super::{
    begin::{self, Limits},
    rollout::{Progress, Reason, Rollout, State},
    seen::{Look, Ours, Seen},
};
use crate::id::{AppId, DeploymentId};

/// What one transaction is to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The rollout after it; its version is the base's plus one.
    pub rollout: Rollout,
    /// It has just halted: one mail.
    pub halted: bool,
}

/// Looks at a rollout's apps and says what is to be stored; `None`: nothing changed. `fresh` gives ids of deployments that nobody had.
#[must_use]
pub fn advance(
    rollout: &Rollout,
    look: &Look<'_>,
    limits: &Limits,
    fresh: impl FnMut() -> DeploymentId,
) -> Option<Advance> {
    let mut next = rollout.clone();
    let mut changed = judge(&mut next, look);
    let mut halted = false;
    match next.state {
        State::Running => {
            halted = halt(&mut next, limits);
            changed |= halted || begin::begin(&mut next, look, limits, fresh);
        }
        State::Halted { .. } => {}
        State::Aborted { .. } | State::Replaced { .. } | State::Done => changed |= close(&mut next, look),
    }
    changed |= finish(&mut next, look);
    if !changed {
        return None;
    }
    next.version += 1;
    Some(Advance { rollout: next, halted })
}

/// The deployments that have to be asked for: written down, and without a row. Asking twice for one is asking once.
#[must_use]
pub fn asks(rollout: &Rollout, look: &Look<'_>) -> Vec<(AppId, DeploymentId)> {
    let mut asks = Vec::new();
    for member in rollout.apps.iter().filter(|_| rollout.state == State::Running) {
        if let Progress::UnderWay { deployment } = &member.progress
            && look.apps.get(&member.app).is_some_and(|seen| seen.ours == Ours::Absent)
        {
            asks.push((member.app.clone(), deployment.clone()));
        }
    }
    asks
}

/// Takes every verdict. Says whether there was one.
fn judge(rollout: &mut Rollout, look: &Look<'_>) -> bool {
    let (image, state) = (rollout.image.clone(), rollout.state.clone());
    let mut changed = false;
    for member in &mut rollout.apps {
        let seen = look.apps.get(&member.app);
        let progress = match (&member.progress, seen) {
            (Progress::Moved { .. } | Progress::Failed { .. } | Progress::Left { .. }, _) => continue,
            (_, None) => Some(left(Reason::Deleted)),
            (Progress::Waiting, Some(seen)) => {
                (seen.live.as_deref() == Some(&image) && !seen.users).then(|| left(Reason::Already))
            }
            (Progress::UnderWay { deployment }, Some(seen)) => {
                verdict(deployment, seen, &image, &state, look)
            }
        };
        if let Some(progress) = progress {
            member.progress = progress;
            changed = true;
        }
    }
    changed
}

/// What an app under way came to; `None`: nothing yet.
fn verdict(
    deployment: &DeploymentId,
    seen: &Seen,
    image: &str,
    state: &State,
    look: &Look<'_>,
) -> Option<Progress> {
    let deployment = deployment.clone();
    let on_it = seen.live.as_deref() == Some(image);
    match &seen.ours {
        Ours::UnderWay => None,
        Ours::Landed => Some(Progress::Moved { deployment }),
        Ours::Failed => Some(Progress::Failed { deployment }),
        Ours::Superseded => Some(Progress::Waiting),
        // The machine itself drops what is not needed any more; everything else was somebody's wish.
        Ours::Cancelled(_) if on_it => Some(left(Reason::Already)),
        Ours::Cancelled(why) => {
            Some(left(begin::obstacle(seen, look.now).unwrap_or(Reason::Cancelled { why: why.clone() })))
        }
        // Refused, or not asked for yet: whatever would have it refused again has the word.
        Ours::Absent if on_it => Some(left(Reason::Already)),
        Ours::Absent if *state != State::Running => Some(Progress::Waiting),
        Ours::Absent => begin::obstacle(seen, look.now).map(left),
    }
}

fn left(why: Reason) -> Progress {
    Progress::Left { why }
}

/// Stops beginning anything if too many failed and somebody still waits.
fn halt(rollout: &mut Rollout, limits: &Limits) -> bool {
    let tally = rollout.tally();
    let failures = tally.failed.saturating_sub(rollout.forgiven);
    if limits.halt_after == 0 || failures < limits.halt_after || tally.waiting == 0 {
        return false;
    }
    let names = rollout.apps.iter().filter(|member| matches!(member.progress, Progress::Failed { .. }));
    let names: Vec<&str> = names.map(|member| member.name.as_str()).take(10).collect();
    let why = format!("{} of its deployments failed: {}", tally.failed, names.join(", "));
    rollout.state = State::Halted { why };
    rollout.halts += 1;
    true
}

/// Nobody begins any more once it is over, not even whoever was written down and never asked for.
fn close(rollout: &mut Rollout, look: &Look<'_>) -> bool {
    let mut changed = false;
    for member in &mut rollout.apps {
        let absent = look.apps.get(&member.app).is_none_or(|seen| seen.ours == Ours::Absent);
        let never = matches!(member.progress, Progress::UnderWay { .. }) && absent;
        if never || member.progress == Progress::Waiting {
            member.progress = left(Reason::Ended);
            changed = true;
        }
    }
    changed
}

/// Notes that nothing is left to do.
fn finish(rollout: &mut Rollout, look: &Look<'_>) -> bool {
    let tally = rollout.tally();
    if tally.under_way > 0 || rollout.ended.is_some() || (!rollout.state.is_final() && tally.waiting > 0) {
        return false;
    }
    if !rollout.state.is_final() {
        rollout.state = State::Done;
    }
    rollout.ended = Some(look.now);
    true
}
