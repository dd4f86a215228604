//! Which effects are due. A pure look at all rows of an app; the order of the steps is the order of a pass: route, singletons, everything else.

use super::{
    app::Rows,
    deployment::{Deployment, Phase},
    environment::{Environment, Health, State},
    roles::{Level, Role},
    route,
    settings::GRACE_MS,
    step::Step,
};
use crate::{id::EnvironmentId, time::Time};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Effects that are wanted now. All of them may run at once, but for the lanes.
    pub steps: Vec<Step>,
    /// The next instant at which the clock alone changes something.
    pub next: Option<Time>,
}

/// Looks at all rows of an app and says which steps are due.
#[must_use]
pub fn plan(rows: &Rows, now: Time) -> Plan {
    let mut steps = Vec::new();
    if !rows.app.routing.is_settled() {
        steps.push(Step::Route { number: rows.app.routing.number, route: rows.app.routing.asked.clone() });
    }
    steps.extend(singletons(rows));
    for deployment in &rows.deployments {
        steps.extend(of_deployment(rows, deployment, now));
    }
    for environment in &rows.environments {
        steps.extend(of_environment(rows, environment, now));
        steps.extend(repairs(rows, environment, now));
    }
    Plan { steps, next: next(rows, now) }
}

/// The environment that is to run workers and crons: the live one, once users get it.
pub(crate) fn singletons_belong(rows: &Rows) -> Option<&Environment> {
    let running = rows.app.stopped.is_none() && rows.app.deleted.is_none() && rows.app.routing.is_settled();
    let live = rows.live().filter(|_| running)?;
    (rows.app.routing.served_environment() == Some(&live.id)).then_some(live)
}

/// Workers and crons are to be taken from where they run; only after the route without it is acknowledged, so that the gap is no
/// longer than the hand-over itself.
pub(crate) fn singletons_leave(rows: &Rows) -> bool {
    let Some(holder) = &rows.app.singletons.holder else { return false };
    let is_live = rows.live().is_some_and(|live| live.id == *holder);
    let stays = is_live && rows.app.stopped.is_none() && rows.app.deleted.is_none();
    !stays && rows.app.routing.is_settled()
}

fn singletons(rows: &Rows) -> Option<Step> {
    let holder = rows.app.singletons.holder.as_ref()?;
    if singletons_leave(rows) {
        return Some(Step::Take { environment: holder.clone() });
    }
    let runs_them = singletons_belong(rows)?.instances.first().filter(|i| i.is_good())?;
    (!rows.app.singletons.given).then(|| Step::Give { environment: holder.clone(), epoch: runs_them.epoch })
}

fn of_deployment(rows: &Rows, deployment: &Deployment, now: Time) -> Option<Step> {
    let environment = deployment.environment.as_ref().and_then(|id| rows.environment(id));
    match &deployment.phase {
        Phase::Building => Some(Step::Build {
            deployment: deployment.id.clone(),
            deadline: build_deadline(rows, deployment),
        }),
        Phase::Checking => {
            let environment = environment.filter(|e| e.is_whole())?;
            Some(Step::Check {
                deployment: deployment.id.clone(),
                environment: environment.id.clone(),
                epoch: environment.epoch,
                deadline: start_deadline(rows, deployment),
            })
        }
        Phase::Live { since, .. } => {
            let environment = environment.filter(|e| e.is_whole())?;
            let due = deployment.times.served.is_some() && deployment.retry_at.is_none_or(|at| now >= at);
            due.then(|| Step::Watch {
                deployment: deployment.id.clone(),
                environment: environment.id.clone(),
                until: since.plus(rows.app.settings.bake_ms),
            })
        }
        _ => None,
    }
}

/// When a build has taken too long.
pub(crate) fn build_deadline(rows: &Rows, deployment: &Deployment) -> Time {
    deployment.times.build.unwrap_or(deployment.times.queued).plus(rows.app.settings.build_ms)
}

/// When a start, with its check, has taken too long.
pub(crate) fn start_deadline(rows: &Rows, deployment: &Deployment) -> Time {
    deployment.times.start.unwrap_or(deployment.times.queued).plus(rows.app.settings.start_ms)
}

/// Nothing leads to it any more: the router acknowledged a route without it, and it runs no workers or crons.
pub(crate) fn is_free(rows: &Rows, environment: &EnvironmentId) -> bool {
    let routing = &rows.app.routing;
    routing.is_settled()
        && !route::mentions(routing.served.as_ref(), environment)
        && rows.app.singletons.holder.as_ref() != Some(environment)
}

fn of_environment(rows: &Rows, environment: &Environment, now: Time) -> Option<Step> {
    let (id, epoch) = (environment.id.clone(), environment.epoch);
    let level = rows.level(environment, now);
    match environment.state {
        State::Rising if level == Level::Up => {
            let deadline = environment.since.plus(rows.app.settings.start_ms);
            Some(Step::Raise { environment: id, epoch, deadline })
        }
        State::Rising | State::Up => {
            // It never had traffic: there is nothing to drain.
            let at_once = level == Level::Gone && !environment.routed && is_free(rows, &id);
            at_once.then_some(Step::Remove { environment: id, epoch })
        }
        State::Draining { deadline, cap, drained: false } if level < Level::Up => {
            Some(Step::Drain { environment: id, epoch, deadline, cap })
        }
        State::Draining { drained: true, .. } if level >= Level::Disk && level < Level::Up => {
            Some(Step::Sleep { environment: id, epoch })
        }
        State::Memory if level == Level::Disk => Some(Step::Disk { environment: id, epoch }),
        State::Draining { drained: true, .. } | State::Memory | State::Disk if level == Level::Off => {
            Some(Step::Off { environment: id, epoch })
        }
        State::Draining { drained: true, .. } | State::Memory | State::Disk | State::Off
            if level == Level::Gone =>
        {
            Some(Step::Remove { environment: id, epoch })
        }
        State::New | State::Draining { .. } | State::Memory | State::Disk | State::Off | State::Gone => None,
    }
}

/// Does the platform restart this environment's instances when they die?
pub(crate) fn is_tended(rows: &Rows, environment: &Environment) -> bool {
    // A stopped app's environment is tended again as soon as a start took it, even if the router never acknowledged the stop.
    let runs = |live: &&Environment| rows.app.stopped.is_none() || rows.role(&live.id) == Role::Candidate;
    let landed = [rows.live().filter(runs), rows.standby()];
    rows.app.deleted.is_none() && landed.into_iter().flatten().any(|e| e.id == environment.id)
}

fn repairs(rows: &Rows, environment: &Environment, now: Time) -> Vec<Step> {
    // The route without the dead instance is acknowledged first: whatever gets its address then is not sent our users.
    let tended =
        environment.state == State::Up && is_tended(rows, environment) && rows.app.routing.is_settled();
    let due = |health: Health| matches!(health, Health::Lost { retry_at, .. } if now >= retry_at);
    let dead = environment.instances.iter().filter(|i| tended && due(i.health));
    dead.map(|i| Step::Repair { environment: environment.id.clone(), instance: i.id.clone(), epoch: i.epoch })
        .collect()
}

fn next(rows: &Rows, now: Time) -> Option<Time> {
    let deployments = rows.deployments.iter().filter_map(|d| match d.phase {
        Phase::Building => Some(build_deadline(rows, d).plus(GRACE_MS)),
        Phase::Starting | Phase::Checking => Some(start_deadline(rows, d).plus(GRACE_MS)),
        Phase::Live { .. } => d.retry_at,
        _ => None,
    });
    let spares = rows.environments.iter().filter(|e| rows.role(&e.id) == Role::Spare);
    let retention = spares.flat_map(|e| rows.retention(e)).flatten();
    let retries = rows.environments.iter().flat_map(|e| &e.instances).filter_map(|i| match i.health {
        Health::Lost { retry_at, .. } => Some(retry_at),
        Health::Good => None,
    });
    deployments.chain(retention).chain(retries).filter(|at| *at > now).min()
}
